"""One immutable file of keys and unit vectors: written, checked, mapped and searched by FAISS.

Knows no other segment, no deletion and no document.
"""

import math
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Block = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Keys, shape (n,), ascending, and their vectors, shape (n, dim), unit length."""

# Magic, number of keys, dimension, whether compressed; the keys; what FAISS writes; XXH3-64 of all.
_HEADER = struct.Struct("<8sQII40x")
_MAGIC = b"KGRVEC02"
_CHECKSUM = struct.Struct("<Q")
_READ = 1 << 22  # bytes

# Lists of a compressed segment for the square root of its vectors, and vectors for each list that
# training looks at: 2,000 lists and 80,000 vectors for a million.
_LISTS = 2.0
_TRAINED_ON = 40
_ROUNDS = 8
_ROOM = 1.2  # lists are so much longer than the sample says, at times
# Lists searched. Recall at 10 of 100,000 paragraphs of Wikipedia, as the static embedder sees them:
# 0.968 with 16 lists of 631, 0.990 with 32, 0.998 with 64; eight bits lose nothing that is found.
_LEAST_PROBED = 32
_PROBED = 1 / 64
# With a filter, more, but at most twice the usual time at a million: passing over a vector takes
# about a tenth of the time of its product there. So many products are made at least.
_PASSED_IN_ONE = 6
_LEAST_SCORED = 2500
_MOST_ON_GPU = 2048  # results and lists, by FAISS


class SegmentError(ValueError):
    """A file that is not what was written."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A mapped file; several threads may search it at once.

    Attributes:
        path: Where it is, or was: what is mapped stays readable.
        checksum: Of the file.
        keys: Shape (n,), ascending.
        exact: Whether its vectors are kept as they are, not compressed.
    """

    path: Path
    checksum: str
    keys: NDArray[np.int64]
    exact: bool
    _index: Any
    _on_gpu: Any  # a copy, where there is one
    _memory: NDArray[np.uint8]  # must outlive the index, which looks into it
    _turn: threading.Lock = field(default_factory=threading.Lock)  # of the threads on the GPU

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        """Of its vectors."""
        return int(self._index.d)

    @property
    def lists(self) -> int:
        """Of a compressed segment; 0 for an exact one."""
        return 0 if self.exact else int(self._index.nlist)

    def search(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> Block:
        """Keys and inner products of the best k, best first; approximate where compressed.

        Args:
            query: Shape (dim,).
            k: At most so many, fewer only when there are no more.
            allowed: By key, longer than the largest, False for keys that are nowhere; None allows
                all.
        """
        faiss = load_faiss()
        k = min(k, len(self))
        selector, share = None, 1.0
        if allowed is not None:
            first, past = int(self.keys[0]), int(self.keys[-1]) + 1
            count = int(np.count_nonzero(allowed[first:past]))
            k, share = min(k, count), count / len(self)
            if not self.exact:
                marks = allowed[:past]
            elif past - first == len(self):
                marks = allowed[first:past]
            else:
                marks = allowed[self.keys]
            selector = faiss.IDSelectorBitmap(np.packbits(marks, bitorder="little"))
        if not k:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if self.exact:
            options = None if selector is None else faiss.SearchParameters(sel=selector)
            products, rows = self._find(query, k, options, on_gpu=selector is None)
            return self.keys[rows[0]], products[0]
        probed = self._probed(share)
        while True:
            lists = min(probed, self.lists)
            options = faiss.SearchParametersIVF(nprobe=lists, sel=selector)
            on_gpu = selector is None and lists <= _MOST_ON_GPU
            products, keys = self._find(query, k, options, on_gpu=on_gpu)
            if keys[0][-1] >= 0 or probed >= self.lists:
                found = keys[0] >= 0
                return keys[0][found], products[0][found]
            probed *= 4

    def _find(
        self, query: NDArray[np.float32], k: int, options: Any, *, on_gpu: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Products and what FAISS finds, from a GPU if that is possible: it knows no selectors."""
        if self._on_gpu is None or not on_gpu or k > _MOST_ON_GPU:
            found = self._index.search(query[None], k, params=options)
        else:
            with self._turn:  # FAISS's GPU indexes are not for several threads, even to search
                found = self._on_gpu.search(query[None], k, params=options)
        return found[0], found[1]

    def _probed(self, share: float) -> int:
        """How many lists to search when a share of the vectors is allowed.

        The fewer are allowed, the further apart are the best of them; and passing over one that
        is not allowed takes a fraction of the time of its product.
        """
        usual = max(_LEAST_PROBED, self.lists * _PROBED)
        usual *= (_PASSED_IN_ONE + 1) / (_PASSED_IN_ONE * share + 1)
        least = _LEAST_SCORED / (share * len(self) / self.lists)
        return math.ceil(max(usual, least))

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those of an exact segment, shape (len(rows), dim)."""
        return self._matrix()[rows]

    def _matrix(self) -> NDArray[np.float32]:
        flat: NDArray[np.float32] = load_faiss().rev_swig_ptr(
            self._index.get_xb(), len(self) * self._index.d
        )
        return flat.reshape(len(self), self._index.d)


def write_segment(
    path: Path, blocks: Callable[[], Iterator[Block]], count: int, *, compressed: bool
) -> str:
    """Write a file, on disk when this returns.

    Args:
        path: Of a file that is not there yet.
        blocks: The vectors, ascending by key; called twice for a compressed segment, to train it
            and to fill it.
        count: How many there are in all; only the compression is chosen by it.
        compressed: Whether to keep eight bits for each number, in lists (IVF).

    Returns:
        Its checksum.

    Raises:
        OSError: If it cannot be written.
    """
    faiss = load_faiss()
    index: Any = _trained(blocks, count) if compressed else None
    keys = []
    for some, vectors in blocks():
        keys.append(some)
        if index is None:
            index = faiss.IndexFlatIP(vectors.shape[1])
        if compressed:
            index.add_with_ids(vectors, some)
        else:
            index.add(vectors)
    if compressed and faiss_has_gpu():
        index = faiss.index_gpu_to_cpu(index)
    with path.open("xb") as file:
        writer = _Writer(file)
        writer.write(_HEADER.pack(_MAGIC, index.ntotal, index.d, compressed))
        writer.write(np.concatenate(keys).tobytes())
        faiss.write_index(index, faiss.PyCallbackIOWriter(writer.write))
        checksum = writer.digest()
        file.write(_CHECKSUM.pack(checksum))
        file.flush()
        os.fsync(file.fileno())
    return f"{checksum:016x}"


def open_segment(path: Path, checksum: str) -> Segment:
    """Map a file after comparing all of it with its checksum.

    Raises:
        SegmentError: If it is missing, cut, changed or another file.
    """
    try:
        found = _checksum(path)
    except OSError as error:
        raise SegmentError(f"{path} cannot be read: {error.strerror}") from error
    if found != checksum:
        raise SegmentError(f"{path} is damaged: its checksum is wrong")
    with path.open("rb") as file:
        memory = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    magic, count, _, compressed = _HEADER.unpack(memory[: _HEADER.size].tobytes())
    if magic != _MAGIC:
        raise SegmentError(f"{path} is of another version")
    start = _HEADER.size + 8 * count
    keys = memory[_HEADER.size : start].view(np.int64)
    faiss = load_faiss()
    rest = memory[start : -_CHECKSUM.size]
    # FAISS looks into the mapped memory itself.
    index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(rest), len(rest)))
    on_gpu = faiss.index_cpu_to_all_gpus(index, ngpu=1) if faiss_has_gpu() else None
    return Segment(path, checksum, keys, not compressed, index, on_gpu, memory)


def load_faiss() -> Any:
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


def faiss_has_gpu() -> bool:
    """Whether FAISS is the build for GPUs and finds one."""
    faiss = load_faiss()
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def _trained(blocks: Callable[[], Iterator[Block]], count: int) -> Any:
    """An empty compressed index with lists made of a sample, on the GPU where there is one."""
    faiss = load_faiss()
    lists = max(1, round(_LISTS * math.sqrt(count)))
    sample = _every(blocks(), max(1, count // (lists * _TRAINED_ON)))
    quantizer = faiss.IndexFlatIP(sample.shape[1])
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, sample.shape[1], lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.max_points_per_centroid = _ROUNDS, 2 * _TRAINED_ON
    if faiss_has_gpu():
        index = faiss.index_cpu_to_all_gpus(index, ngpu=1)
    index.train(sample)
    if not faiss_has_gpu():
        _reserve(index, sample, count)
    return index


def _reserve(index: Any, sample: NDArray[np.float32], count: int) -> None:
    """Give the lists the room that they will need: doubling it as they grow takes twice as much."""
    _, lists = index.quantizer.search(sample, 1)
    shares = np.bincount(lists[:, 0], minlength=index.nlist) / len(sample)
    for number, size in enumerate((shares * count * _ROOM).astype(int).tolist()):
        index.invlists.resize(number, size)
        index.invlists.resize(number, 0)  # the room stays


def _every(blocks: Iterable[Block], step: int) -> NDArray[np.float32]:
    """Every step-th vector."""
    chosen, seen = [], 0
    for _, vectors in blocks:
        chosen.append(vectors[(-seen) % step :: step].copy())  # a view would keep all of the block
        seen += len(vectors)
    return np.concatenate(chosen)


def _checksum(path: Path) -> str:
    """Of a file up to its own at its end; read, not mapped, so that it takes no memory."""
    from xxhash import xxh3_64

    digest = xxh3_64()
    left = path.stat().st_size - _CHECKSUM.size
    if left < _HEADER.size:
        raise SegmentError(f"{path} is cut off: {left + _CHECKSUM.size} bytes")
    with path.open("rb", buffering=0) as file:
        buffer = memoryview(bytearray(_READ))
        while left > 0 and (read := file.readinto(buffer[: min(left, _READ)])):
            digest.update(buffer[:read])
            left -= read
        stated = file.read(_CHECKSUM.size)
    if stated != _CHECKSUM.pack(digest.intdigest()):
        raise SegmentError(f"{path} is damaged: its checksum is wrong")
    return f"{digest.intdigest():016x}"


class _Writer:
    """Passes what is written on to a file and keeps its checksum."""

    def __init__(self, file: BinaryIO) -> None:
        from xxhash import xxh3_64

        self._file, self._digest = file, xxh3_64()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def digest(self) -> int:
        return int(self._digest.intdigest())
