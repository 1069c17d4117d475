"""Keys and unit vectors in, nearest keys out, by inner product (FAISS).

A cache of the vectors in storage: a checked, memory-mapped file plus what came after it, in memory.
Knows no documents and no text.
"""

import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Block = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Keys, shape (n,), and their vectors, shape (n, dim), unit length."""

# The file is what FAISS writes, then this: magic, generation, length of the FAISS part, CRC-32.
_TRAILER = struct.Struct("<8sQQI")
_MAGIC = b"KOGEMMA1"
# Below this many changes a new file is not worth writing: they are read from storage on opening.
_FEW = 256
_BLOCK = 16_384


class VectorIndex:
    """Exact search over unit vectors under integer keys that are never used twice.

    Args:
        path: Where the file is kept; None keeps all in memory. A file that is missing, damaged or
            cut is left aside: `generation` is then 0 and the vectors must be given again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.generation = 0
        self._base: Any = None  # read only: FAISS aborts when a mapped index is added to
        self._tail: Any = None
        self._buffer: NDArray[np.uint8] | None = None
        self._live: NDArray[np.uint8] = np.zeros(0, np.uint8)  # one bit for each key
        self._dead = 0
        if path is not None and path.exists():
            self._load(path)

    def __len__(self) -> int:
        return sum(int(part.ntotal) for part in self._parts()) - self._dead

    @property
    def kind(self) -> str:
        """The FAISS index in use, as it would be named there."""
        return "IDMap,Flat"

    def update(
        self,
        *,
        added: Iterable[Block],
        deleted: NDArray[np.int64],
        generation: int,
    ) -> None:
        """Apply changes.

        Args:
            added: Blocks of keys that are not there yet.
            deleted: Keys to drop; unknown ones are no error.
            generation: What `generation` is from now on.
        """
        gone = np.unique(deleted[deleted < len(self._live) * 8])
        gone = gone[self._is_live(gone)]
        self._live &= ~_bitmap(gone, len(self._live))
        self._dead += len(gone)
        for keys, vectors in added:
            if self._tail is None:
                self._tail = _empty_index(vectors.shape[1])
            self._tail.add_with_ids(vectors, keys)
            self._mark_live(keys)
        self.generation = generation

    def search(
        self, query: NDArray[np.float32], k: int, *, keys: NDArray[np.int64] | None = None
    ) -> Block:
        """The keys nearest to a query.

        Args:
            query: Shape (dim,), unit length.
            k: At most so many.
            keys: Only these, when given.

        Returns:
            Keys and inner products, best first; the products are FAISS's, right to about 1e-6.
        """
        found, products = [], []
        options = self._search_options(keys)
        for part in self._parts():
            row_products, row_keys = part.search(query[None], min(k, part.ntotal), params=options)
            found.append(row_keys[0])
            products.append(row_products[0])
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        all_keys, all_products = np.concatenate(found), np.concatenate(products)
        best = np.argsort(-all_products, kind="stable")
        best = best[all_keys[best] >= 0][:k]
        return all_keys[best], all_products[best]

    def blocks(self) -> Iterator[Block]:
        """All live keys with their vectors, in the order of adding."""
        faiss = _faiss()
        for part in self._parts():
            keys = faiss.vector_to_array(part.id_map)
            live = self._is_live(keys)
            flat = faiss.downcast_index(part.index)
            for start in range(0, len(keys), _BLOCK):
                chosen = live[start : start + _BLOCK]
                vectors = flat.reconstruct_n(start, len(chosen))
                yield keys[start : start + _BLOCK][chosen], vectors[chosen]

    def worth_saving(self) -> bool:
        """Whether so much changed since the file was written that a new one pays."""
        tail = 0 if self._tail is None else int(self._tail.ntotal)
        return self._path is not None and tail + self._dead > max(_FEW, len(self) // 4)

    def save(self) -> None:
        """Write all into a new file that takes the old one's place at once, and map it.

        The caller sees to it that nobody else writes meanwhile.
        """
        if self._path is None or not len(self):
            return
        faiss = _faiss()
        whole: Any = None
        for keys, vectors in self.blocks():
            whole = whole or _empty_index(vectors.shape[1])
            whole.add_with_ids(vectors, keys)
        temporary = self._path.with_name(self._path.name + ".tmp")
        with temporary.open("wb") as file:
            checksum = _Checksum(file)
            faiss.write_index(whole, faiss.PyCallbackIOWriter(checksum.write))
            file.write(_trailer(self.generation, file.tell(), checksum.value))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        _sync_directory(self._path.parent)
        del whole
        self.clear()
        self._load(self._path)

    def check_file(self) -> str | None:
        """What is wrong with the file, or None; that there is none is not wrong."""
        if self._path is None or not self._path.exists():
            return None
        try:
            _mapped(self._path)
        except ValueError as error:
            return str(error)
        return None

    def clear(self) -> None:
        """Forget every vector; `generation` is 0 afterwards. The file stays until the next save."""
        self.generation = 0
        self._base = self._tail = self._buffer = None
        self._live = np.zeros(0, np.uint8)
        self._dead = 0

    def _load(self, path: Path) -> None:
        faiss = _faiss()
        try:
            self._buffer, length, generation = _mapped(path)
            # FAISS looks into the mapped memory itself, so the buffer must outlive the index.
            reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(self._buffer), length)
            self._base = faiss.read_index(reader)
        except (ValueError, OSError, RuntimeError) as error:
            logger.warning("%s; the vectors are taken from storage again", error)
            self.clear()
            return
        self.generation = generation
        self._mark_live(faiss.vector_to_array(self._base.id_map))

    def _parts(self) -> list[Any]:
        return [part for part in (self._base, self._tail) if part is not None]

    def _mark_live(self, keys: NDArray[np.int64]) -> None:
        if not len(keys):
            return
        missing = int(keys.max()) // 8 + 1 - len(self._live)
        if missing > 0:
            self._live = np.pad(self._live, (0, max(missing, len(self._live) // 2)))
        self._live |= _bitmap(keys, len(self._live))

    def _is_live(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        bits: NDArray[np.uint8] = self._live[keys >> 3] >> (keys & 7).astype(np.uint8) & 1
        return bits.astype(np.bool_)

    def _search_options(self, keys: NDArray[np.int64] | None) -> Any:
        """The pushed-down choice of keys: dropped ones never take a place among the best k."""
        faiss = _faiss()
        if keys is None and not self._dead:
            return None
        chosen = self._live
        if keys is not None:
            chosen = chosen & _bitmap(keys[keys < len(chosen) * 8], len(chosen))
        return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(chosen))


class _Checksum:
    """Passes what is written on to a file and keeps its CRC-32."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.value = 0

    def write(self, data: bytes) -> int:
        self.value = zlib.crc32(data, self.value)
        return int(self._file.write(data))


def _faiss() -> Any:
    """FAISS, which comes in a build for CPUs and one for GPUs and so cannot simply be required.

    Raises:
        ImportError: If neither is installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "FAISS is not installed; run pip install 'kogemma-rag[cpu]', or 'kogemma-rag[gpu]' "
            "on a machine with an NVIDIA GPU"
        ) from error
    return faiss


def _empty_index(dimension: int) -> Any:
    faiss = _faiss()
    # IndexIDMap2 would add only the way from key to vector. Vectors by key come from storage, and
    # its hash table would have to be built each time an index is opened.
    return faiss.IndexIDMap(faiss.IndexFlatIP(dimension))


def _bitmap(keys: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """One bit for each key, lowest bit first; shape (size,) in bytes."""
    marks = np.zeros(size * 8, np.bool_)
    marks[keys] = True
    return np.packbits(marks, bitorder="little")


def _trailer(generation: int, length: int, checksum: int) -> bytes:
    head = _TRAILER.pack(_MAGIC, generation, length, 0)[: -struct.calcsize("<I")]
    return head + struct.pack("<I", zlib.crc32(head, checksum))


def _mapped(path: Path) -> tuple[NDArray[np.uint8], int, int]:
    """The file's bytes, memory-mapped, the length of their FAISS part, and their generation.

    Raises:
        ValueError: If the file is cut or its checksum is wrong.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _TRAILER.size:
            raise ValueError(f"{path} is cut off: {size} bytes")
        buffer = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    length = size - _TRAILER.size
    trailer = buffer[length:].tobytes()
    _, generation, _, _ = _TRAILER.unpack(trailer)
    if trailer != _trailer(generation, length, zlib.crc32(buffer[:length].data)):
        raise ValueError(f"{path} is damaged: its checksum is wrong")
    return buffer, length, generation


def _sync_directory(folder: Path) -> None:
    """Make a rename in the folder last through a power cut."""
    if os.name != "posix":  # Windows cannot open a folder, and needs no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
