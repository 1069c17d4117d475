"""A file in, its chunks out, by as many parser processes as there is work for. Knows no index."""

import atexit
import math
import queue
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from langchain_core.documents import Document

from kogemma_rag.document_loaders.sandbox import ParserProcess
from kogemma_rag.lexical import PreparedText

# About what the start of a process takes: a job that is done by then needs no other.
_START_SECONDS = 0.5

# Kept for the next sync of this process.
_idle: list[ParserProcess] = []
_lock = threading.Lock()


class ReadChunk(NamedTuple):
    """A chunk of a file."""

    document: Document
    words: PreparedText | None
    """Of its indexed text, if they were asked for."""


class ChunkReaders:
    """Parser processes, started one after another while there is work; a context manager.

    Args:
        most: How many files are read at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: queue.LifoQueue[ParserProcess] = queue.LifoQueue()
        self._processes: list[ParserProcess] = []
        self._next_start = 0.0
        self._closed = False

    def read(self, path: Path, source: str, *, analyze: bool) -> Generator[ReadChunk, None, None]:
        """The chunks of a file, in its order, as they are read.

        Raises:
            DocumentLoadError: If the file cannot be read, for whatever reason.
        """
        request = {"path": str(path.absolute()), "source": source, "analyze": analyze}
        with self._process() as process, closing(process.answers(request)) as answers:
            for answer in answers:
                yield ReadChunk(
                    Document(page_content=answer["text"], metadata=answer["metadata"]),
                    PreparedText(answer["morphemes"], answer["characters"]) if analyze else None,
                )

    def __enter__(self) -> "ChunkReaders":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with _lock:
            processes, self._closed = self._processes, True
            if kind is None and processes and not _idle:
                _idle.append(processes.pop())
        for process in processes:
            process.interrupt()

    @contextmanager
    def _process(self) -> Iterator[ParserProcess]:
        process = self._take()
        try:
            yield process
        finally:
            with _lock:
                if not self._closed:
                    self._free.put(process)
            if self._closed:
                process.close()  # begun while the pool was being closed

    def _take(self) -> ParserProcess:
        while True:
            wait = min(self._next_start - time.monotonic(), _START_SECONDS)
            try:
                return self._free.get(timeout=max(wait, 0.0))
            except queue.Empty:
                pass
            with _lock:
                if self._closed:
                    raise CancelledError
                if time.monotonic() >= self._next_start:
                    return self._started()

    def _started(self) -> ParserProcess:
        process = _idle.pop() if _idle else ParserProcess("kogemma_rag.chunk_worker")
        self._processes.append(process)
        full = len(self._processes) == self._most
        self._next_start = math.inf if full else time.monotonic() + _START_SECONDS
        return process


def _close_idle() -> None:
    while _idle:
        _idle.pop().close()


atexit.register(_close_idle)
