"""Files on their way into the index: one thread that works, and how far each file is.

Knows no records and no HTTP.
"""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.embedder import Embedder
from kogemma_rag.ingest import Batch, FileToRead, ReadFile, ingest

logger = logging.getLogger(__name__)

_SLICE = 256  # chunks that are embedded between two words about progress
_EMBEDDING_FROM = 0.5  # the share of the work that comes before embedding, about

Stage = Literal["queued", "parsing", "embedding"]


class WorkStoppedError(Exception):
    """The server is closing; what was under way is begun again when it starts."""


@dataclass(frozen=True)
class Underway:
    """How far a file is; progress from 0 to 1."""

    source: str
    stage: Stage = "queued"
    progress: float = 0.0


class Ingestion:
    """`kogemma_rag.ingest.ingest`, and what it is doing.

    Args:
        stopping: Set, it makes the work raise `WorkStoppedError` soon.

    Attributes:
        workers: How many files are read at once; see `ingest`.
        written: Is told of each file when what came of it is in the index.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._underway: dict[str, Underway] = {}
        self.workers: int | None = 1
        self.written: Callable[[ReadFile], None] = lambda _: None

    def underway(self) -> dict[str, Underway]:
        """The files that are being read, by path."""
        with self._lock:
            return dict(self._underway)

    def __call__(
        self, files: Sequence[FileToRead], *, embedder: Embedder | None, analyze: bool
    ) -> Generator[Batch, None, None]:
        """See `kogemma_rag.sync.Ingest`."""
        stage: Stage = "parsing" if len(files) == 1 else "queued"
        with self._lock:
            self._underway = {str(file.path): Underway(file.source, stage) for file in files}
        told = None if embedder is None else _ToldEmbedder(embedder, self._embedded)
        read = ingest(
            files, embedder=told, analyze=analyze, workers=self.workers, progress=self._read
        )
        try:
            with closing(read) as batches:
                for batch in batches:
                    yield batch
                    for file in batch.files:
                        self.written(file)
                        with self._lock:
                            self._underway.pop(str(file.file.path), None)
                    self._check()
        finally:
            with self._lock:
                self._underway = {}

    def _read(self, file: FileToRead, share: float) -> None:
        self._check()
        self._move([str(file.path)], "parsing" if share < _EMBEDDING_FROM else "embedding", share)

    def _embedded(self, documents: Sequence[Document], share: float) -> None:
        self._check()
        sources = {document.metadata.get("source") for document in documents}
        with self._lock:
            paths = [path for path, one in self._underway.items() if one.source in sources]
        self._move(paths, "embedding", _EMBEDDING_FROM + (1 - _EMBEDDING_FROM) * share)

    def _move(self, paths: Iterable[str], stage: Stage, progress: float) -> None:
        with self._lock:
            for path in paths:
                # Two threads tell: what one of them knows late must not turn the other's back.
                if path in self._underway and progress >= self._underway[path].progress:
                    told = replace(self._underway[path], stage=stage, progress=progress)
                    self._underway[path] = told

    def _check(self) -> None:
        if self._stopping.is_set():
            raise WorkStoppedError


class _ToldEmbedder(Embedder):
    """Embeds some at a time, and tells how many are done."""

    def __init__(
        self, embedder: Embedder, tell: Callable[[Sequence[Document], float], None]
    ) -> None:
        super().__init__(embedder.embeddings)
        self._tell = tell

    def passages(
        self, documents: Sequence[Document], *, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """See `Embedder.passages`."""
        self._tell(documents[:_SLICE], 0.0)
        vectors = []
        for start in range(0, len(documents), _SLICE):
            some = documents[start : start + _SLICE]
            vectors.append(super().passages(some, batch_size=batch_size))
            self._tell(some, (start + len(some)) / len(documents))
        return np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32)


class JobThread:
    """A thread that does one piece of work after another while there is one.

    Args:
        step: Does one; returns whether there was any.
        stopping: Set by `close`.
    """

    def __init__(self, step: Callable[[], bool], stopping: threading.Event) -> None:
        self._step = step
        self._stopping = stopping
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="documents", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._wanted.set()

    def wake(self) -> None:
        """There is something to do."""
        self._wanted.set()

    def close(self, timeout: float) -> None:
        """End soon; the thread may still be busy when the time, in seconds, is up."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            self._wanted.clear()
            while not self._stopping.is_set() and self._step_safely():
                pass

    def _step_safely(self) -> bool:
        try:
            return self._step()
        except WorkStoppedError:
            return False
        except Exception as error:  # noqa: BLE001 - the outer edge of a thread, which must not die
            # Its words may be those of a document.
            logger.error("a job on the documents failed: %s", type(error).__name__)
            return False
