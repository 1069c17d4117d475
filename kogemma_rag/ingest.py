"""Files in, batches of their chunks with vectors and words out: a pipeline on one machine.

Parser processes read, a thread gathers a batch, another embeds the one before, and whoever takes
the batches writes. Each is ahead of the next by little, so memory is bounded, and files come out in
the order in which they went in. Knows no index and no storage.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.chunk_readers import ChunkReaders, ReadChunk
from kogemma_rag.document_loaders import DocumentLoadError, SkippedPart
from kogemma_rag.embedder import Embedder
from kogemma_rag.lexical import PreparedText
from kogemma_rag.read_ahead import ReadAhead
from kogemma_rag.spool import Spool

# What is embedded and written together: bounds memory and lost work.
_BATCH_CHUNKS = 512
_BATCH_FILES = 256
# So many files for each parser process are read, or wait, ahead of what is gathered...
_FILES_AHEAD = 4
# ...and of each at most two slices of so many chunks.
_SLICE_CHUNKS = 256
_HASHED = 1 << 20  # bytes at a time
# Of one file; what is more waits on disk: a file of 256 MB has 300,000, with vectors over 1 GB.
_MOST_IN_MEMORY = 16_384
# Of the time that a file takes that is not embedded in one go, about.
_READING_SHARE = 0.5
_MOST_WORKERS = 8  # by default; one that embeds and one that writes keep up with no more


@dataclass(frozen=True)
class FileToRead:
    """A file, and what metadata["source"] of its chunks says.

    `ocr` asks for the text of scanned pages.
    """

    path: Path
    source: str
    ocr: bool = False


Progress = Callable[[FileToRead, float], None]
"""Is told of a file how much of the work is done, from 0 to 1."""


@dataclass
class ReadFile:
    """What came of a file: chunks, or the reason why there are none.

    `skipped` holds its parts that could not be read. `sha256` is empty where not even its bytes
    could be read. The documents and words of a very large file are on disk: take them in slices.
    """

    file: FileToRead
    sha256: str = ""
    error: str | None = None
    skipped: list[SkippedPart] = field(default_factory=list)
    documents: Sequence[Document] = ()
    words: Sequence[PreparedText] = ()


@dataclass(frozen=True)
class Prepared:
    """What was computed of documents before they are written.

    Attributes:
        vectors: Shape (n, dim), unit length, on disk where there are very many; (0, 0) for no
            documents or no embedder.
        analyzed: Of the `indexed_text` of each, where it was asked for; else empty.
    """

    vectors: NDArray[np.float32]
    analyzed: Sequence[PreparedText]


@dataclass(frozen=True)
class Batch:
    """Files to be written together, and what was computed of all their chunks in order."""

    files: Sequence[ReadFile]
    prepared: Prepared


def ingest(
    files: Sequence[FileToRead],
    *,
    embedder: Embedder | None,
    analyze: bool,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Generator[Batch, None, None]:
    """Read, split, analyze and embed files.

    Args:
        files: Read in this order.
        embedder: Makes the vectors, if any are wanted; used in one thread.
        analyze: Whether words are wanted.
        workers: How many files are read at once, each in a process; None is one for each core, at
            most eight. The result does not depend on it.
        progress: Is told, in threads, of what was done of files that take long.

    Yields:
        Batches; each file is in one, as they were given.
    """
    workers = workers or min(_cores(), _MOST_WORKERS)
    with (
        ChunkReaders(workers) as readers,
        _threads(workers) as reading,
        _threads(2) as behind,
    ):
        waiting = _FILES_AHEAD * workers
        read = _read_all(files, readers, reading, progress, analyze=analyze, ahead=waiting)
        gathered = ReadAhead(_gathered(read), behind, most=1)
        embedded = _embedded(gathered, embedder, progress)
        with closing(ReadAhead(embedded, behind, most=1)) as batches:
            yield from batches


def _gathered(files: Generator[ReadFile, None, None]) -> Generator[list[ReadFile], None, None]:
    with closing(files):
        yield from in_batches(files)


def _embedded(
    batches: ReadAhead[list[ReadFile]], embedder: Embedder | None, progress: Progress | None
) -> Generator[Batch, None, None]:
    with closing(batches):
        for batch in batches:
            documents, words = batch[0].documents, batch[0].words
            if len(batch) > 1:
                documents = [document for file in batch for document in file.documents]
                words = [words for file in batch for words in file.words]
            alone = partial(progress, batch[0].file) if progress and len(batch) == 1 else None
            yield Batch(batch, Prepared(_vectors(documents, embedder, alone), words))


def _vectors(
    documents: Sequence[Document],
    embedder: Embedder | None,
    progress: Callable[[float], None] | None,
) -> NDArray[np.float32]:
    if embedder is None:
        return np.empty((0, 0), np.float32)
    if len(documents) <= _MOST_IN_MEMORY:
        return embedder.passages(documents)
    with TemporaryFile() as file:
        for start in range(0, len(documents), _BATCH_CHUNKS):
            vectors = embedder.passages(documents[start : start + _BATCH_CHUNKS])
            file.write(vectors.tobytes())
            if progress:
                done = min(start + _BATCH_CHUNKS, len(documents)) / len(documents)
                progress(_READING_SHARE + (1 - _READING_SHARE) * done)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(len(documents), vectors.shape[1]))


AnyFile = TypeVar("AnyFile", bound=ReadFile)


def in_batches(files: Iterable[AnyFile]) -> Iterator[list[AnyFile]]:
    """Files as they are to be written together; one that fills a batch is alone in it."""
    batch: list[AnyFile] = []
    chunks = 0
    for file in files:
        if batch and len(file.documents) >= _BATCH_CHUNKS:
            yield batch
            batch, chunks = [], 0
        batch.append(file)
        chunks += len(file.documents)
        if chunks >= _BATCH_CHUNKS or len(batch) >= _BATCH_FILES:
            yield batch
            batch, chunks = [], 0
    if batch:
        yield batch


def _read_all(
    files: Sequence[FileToRead],
    readers: ChunkReaders,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
    *,
    analyze: bool,
    ahead: int,
) -> Generator[ReadFile, None, None]:
    to_read = (ReadFile(file) for file in files)
    waiting: deque[tuple[ReadFile, ReadAhead[list[ReadChunk]]]] = deque()
    try:
        while True:
            for file in islice(to_read, ahead - len(waiting)):
                read = slices(file, readers, analyze=analyze)
                waiting.append((file, ReadAhead(read, pool, most=1)))
            if not waiting:
                return
            file, chunks = waiting[0]
            _gather(file, chunks, progress)
            yield file
            waiting.popleft()
    finally:
        for _, chunks in waiting:
            chunks.close()


def slices(
    file: ReadFile, readers: ChunkReaders, *, analyze: bool
) -> Generator[list[ReadChunk], None, None]:
    """The chunks of a file, some at a time; its hash and what is wrong with it are noted."""
    path = file.file.path
    try:
        file.sha256 = sha256_of(path)
    except OSError as error:
        file.error = f"파일을 열 수 없습니다: {error.strerror}"
        return
    read = readers.read(path, file.file.source, analyze=analyze, ocr=file.file.ocr)
    with closing(read) as answers:
        try:
            chunks = _chunks(answers, file.skipped)
            while some := list(islice(chunks, _SLICE_CHUNKS)):
                yield some
        except DocumentLoadError as error:
            file.error = error.reason


def _chunks(
    answers: Iterable[ReadChunk | SkippedPart], skipped: list[SkippedPart]
) -> Iterator[ReadChunk]:
    for answer in answers:
        if isinstance(answer, SkippedPart):
            skipped.append(answer)
        else:
            yield answer


def _gather(file: ReadFile, read: Iterable[list[ReadChunk]], progress: Progress | None) -> None:
    spool: Spool | None = None
    chunks: list[ReadChunk] = []
    for some in read:
        chunks += some
        if progress and some[-1].share:
            progress(file.file, _READING_SHARE * some[-1].share)
        if len(chunks) > _MOST_IN_MEMORY:
            spool = spool or Spool()
            spool.extend(chunks)
            chunks = []
    if file.error is not None:
        return
    if spool is not None:
        spool.extend(chunks)
        file.documents, file.words = spool.documents, spool.words
        return
    file.documents = [chunk.document for chunk in chunks]
    file.words = [chunk.words for chunk in chunks if chunk.words is not None]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        # What still runs was told to end; a model in the middle of a batch is not waited for.
        pool.shutdown(wait=False, cancel_futures=True)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
