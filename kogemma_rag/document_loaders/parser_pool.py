"""Parser processes, as many as there is work for; each reads one file at a time."""

import atexit
import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from kogemma_rag.document_loaders.sandbox import DOCUMENTS, ParserProcess

# About what the start of a process takes: a job that is done by then needs no other.
_START_SECONDS = 0.5

_KEPT = 2  # of each program, for the next pool of this process: a pool of few files needs no more
_idle: defaultdict[str, list[ParserProcess]] = defaultdict(list)
_lock = threading.Lock()

Pool = TypeVar("Pool", bound="ParserPool")


class ParserPool:
    """Parser processes, started one after another while there is work; a context manager.

    Args:
        most: How many files are read at once.
        program: What they run; see `ParserProcess`.
    """

    def __init__(self, most: int, program: str = DOCUMENTS) -> None:
        self._most = most
        self._program = program
        self._free: queue.LifoQueue[ParserProcess] = queue.LifoQueue()
        self._processes: list[ParserProcess] = []
        self._next_start = 0.0
        self._closed = False

    def answers(self, request: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """See `ParserProcess.answers`; waits until a process is free.

        Raises:
            DocumentLoadError: If the file cannot be read, for whatever reason.
        """
        with self._process() as process, closing(process.answers(request)) as answers:
            yield from answers

    def __enter__(self: Pool) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with _lock:
            processes, self._closed = self._processes, True
            idle = _idle[self._program]
            while kind is None and processes and len(idle) < _KEPT:
                idle.append(processes.pop(0))
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
        idle = _idle[self._program]
        process = idle.pop() if idle else ParserProcess(self._program)
        self._processes.append(process)
        if len(self._processes) == self._most:
            self._next_start = math.inf
        elif not idle:
            self._next_start = time.monotonic() + _START_SECONDS
        return process


def _close_idle() -> None:
    for processes in _idle.values():
        while processes:
            processes.pop().close()


atexit.register(_close_idle)
