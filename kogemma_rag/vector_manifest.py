"""Which files make up the vector index: one checked file, replaced at once by the next."""

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.vector_segments import SegmentError

MANIFEST = "manifest"
# Magic, length of the JSON text; the text, the dead keys, XXH3-64 of all.
_HEADER = struct.Struct("<8sI")
_MAGIC = b"KGRMAN02"
_CHECKSUM = struct.Struct("<Q")


@dataclass(frozen=True)
class Manifest:
    """Which files make up the index: names and checksums, ascending by key, and keys not alive."""

    generation: int
    segments: Sequence[tuple[str, str]]
    dead: NDArray[np.int64] = field(compare=False)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put it in the place of the earlier one, on disk when this returns.

    Raises:
        OSError: If it cannot be written; the earlier one stays.
    """
    from xxhash import xxh3_64_intdigest

    text = json.dumps({"generation": manifest.generation, "segments": manifest.segments}).encode()
    content = _HEADER.pack(_MAGIC, len(text)) + text + manifest.dead.tobytes()
    temporary = folder / f"{MANIFEST}.tmp"
    with temporary.open("wb") as file:
        file.write(content + _CHECKSUM.pack(xxh3_64_intdigest(content)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / MANIFEST)
    _sync_directory(folder)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, None where there is none.

    Raises:
        SegmentError: If it is not what was written.
    """
    from xxhash import xxh3_64_intdigest

    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SegmentError(f"{path} cannot be read: {error.strerror}") from error
    body, stated = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if len(body) < _HEADER.size or stated != _CHECKSUM.pack(xxh3_64_intdigest(body)):
        raise SegmentError(f"{path} is damaged: its checksum is wrong")
    magic, length = _HEADER.unpack(body[: _HEADER.size])
    if magic != _MAGIC:
        raise SegmentError(f"{path} is of another version")
    start = _HEADER.size + length
    stored: Any = json.loads(body[_HEADER.size : start])
    segments = tuple((str(name), str(checksum)) for name, checksum in stored["segments"])
    return Manifest(stored["generation"], segments, np.frombuffer(body[start:], np.int64))


def _sync_directory(folder: Path) -> None:
    """Make a rename in the folder last through a power cut."""
    if os.name != "posix":  # Windows cannot open a folder, and needs no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
