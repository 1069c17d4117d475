"""A folder of tantivy's files in, whether they are what was written out. Knows no texts.

tantivy ends each file of a segment with its CRC-32, but looks at it only when asked, which its
Python package cannot: damaged files would give wrong answers, or end the process. So the XXH3 of
every file stands in a file of our own, and is compared before tantivy opens them.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

META_FILE = "meta.json"
_RECORD_FILE = "checksums.json"
_BLOCK = 2**20
_FOOTER_END = struct.Struct("<II")  # length of the footer before it, magic
_FOOTER_MAGIC = 1337


@dataclass(frozen=True)
class _Record:
    """What was on disk after an update: checksums as hexadecimal digits."""

    meta: str
    opstamp: int
    segments: list[str]
    files: dict[str, str]


@dataclass(frozen=True)
class _Commit:
    """What tantivy's `meta.json` says."""

    checksum: str
    opstamp: int
    deletions: dict[str, int | None]
    """Of each segment, in whose names the dashes are left out, the number in its file's name."""


def record_checksums(folder: Path) -> None:
    """Write down what is in the folder, after an update and before the next one.

    Files do not change once they are written: those recorded earlier are not read again, the
    others are compared with tantivy's own checksums.

    Raises:
        ValueError: If a new file is not what tantivy wrote.
    """
    try:
        known = _read_record(folder).files
    except ValueError:
        known = {}
    commit = _read_commit(folder)
    files = {
        path.name: known.get(path.name) or _checked(path) for path in _live_files(folder, commit)
    }
    record = _Record(commit.checksum, commit.opstamp, list(commit.deletions), files)
    text = json.dumps(asdict(record)).encode()
    temporary = folder / f"{_RECORD_FILE}.new"
    with temporary.open("wb") as file:
        file.write(f"{_xxh3(text)}\n".encode() + text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / _RECORD_FILE)


def check_files(folder: Path) -> None:
    """Read every file that the last commit is made of.

    Raises:
        ValueError: If one is missing or not what was written.
    """
    record, commit = _read_record(folder), _read_commit(folder)
    if commit.checksum != record.meta:
        # A kill after tantivy's commit leaves the record one behind: then there is a new segment.
        new = set(commit.deletions) - set(record.segments)
        if not new or commit.opstamp < record.opstamp:
            raise ValueError(f"{META_FILE} is not what was written")
    live = {path.name for path in _live_files(folder, commit)}
    for name in record.files:
        stem, _, ending = name.partition(".")
        if stem in commit.deletions and not ending.endswith("del") and name not in live:
            raise ValueError(f"{name} is missing")
    for name in live:
        if name not in record.files:
            _checked(folder / name)
        elif _file_xxh3(folder / name) != record.files[name]:
            raise ValueError(f"{name} is not what was written")


def _read_record(folder: Path) -> _Record:
    try:
        checksum, _, text = (folder / _RECORD_FILE).read_bytes().partition(b"\n")
    except FileNotFoundError as error:
        raise ValueError(f"{_RECORD_FILE} is missing") from error
    if checksum.decode("ascii", "replace") != _xxh3(text):
        raise ValueError(f"{_RECORD_FILE} is not what was written")
    return _Record(**json.loads(text))


def _read_commit(folder: Path) -> _Commit:
    try:
        text = (folder / META_FILE).read_bytes()
        meta = json.loads(text)
        deletions = {
            str(segment["segment_id"]).replace("-", ""): _deletion(segment)
            for segment in meta["segments"]
        }
        return _Commit(_xxh3(text), int(meta["opstamp"]), deletions)
    except FileNotFoundError as error:
        raise ValueError(f"{META_FILE} is missing") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{META_FILE} is not what was written") from error


def _deletion(segment: dict[str, Any]) -> int | None:
    return int(segment["deletes"]["opstamp"]) if segment["deletes"] else None


def _live_files(folder: Path, commit: _Commit) -> Iterator[Path]:
    """The files of the commit; others, which a kill may leave, are of no interest."""
    for path in sorted(folder.iterdir()):
        stem, _, ending = path.name.partition(".")
        if stem not in commit.deletions:
            continue
        if not ending.endswith("del") or ending == f"{commit.deletions[stem]}.del":
            yield path


def _checked(path: Path) -> str:
    """The XXH3 of a file whose CRC-32 is what its footer says."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _FOOTER_END.size))
        end = file.read()
        length, magic = _FOOTER_END.unpack(end) if len(end) == _FOOTER_END.size else (0, 0)
        body = size - _FOOTER_END.size - length
        if magic != _FOOTER_MAGIC or body < 0:
            raise ValueError(f"{path.name} is cut")
        file.seek(body)
        footer = json.loads(file.read(length))
        file.seek(0)
        crc = 0
        for start in range(0, body, _BLOCK):
            crc = zlib.crc32(file.read(min(_BLOCK, body - start)), crc)
    if not isinstance(footer, dict) or footer.get("crc") != crc:
        raise ValueError(f"{path.name} is not what was written")
    return _file_xxh3(path)


def _file_xxh3(path: Path) -> str:
    from xxhash import xxh3_64

    digest = xxh3_64()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _xxh3(data: bytes) -> str:
    from xxhash import xxh3_64

    return xxh3_64(data).hexdigest()
