"""Files parsed in a process of their own: a hang, a crash or a bomb ends that process only.

A worker serves one file after another, and is started again after it died. Nothing is pickled, and
the caller's main script is not imported again (`multiprocessing` would do both).
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from kogemma_rag.document_loaders.errors import (
    TOO_SLOW,
    DocumentLoadError,
    UnsupportedFormatError,
)
from kogemma_rag.document_loaders.frames import read_frame, write_frame

DOCUMENTS = "kogemma_rag.document_loaders.worker"
"""The program that reads documents."""

# Modules are found where this process finds them; never in the working directory alone. A Ctrl-C
# goes to all processes of a terminal: it is this one that ends its workers.
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "import importlib, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "importlib.import_module(sys.argv[1]).main()"
)
# Threads that parsers start would each reserve address space.
_ONE_THREAD = {
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
}

_WAIT_SECONDS = 5.0  # for the end of a process that said nothing more


class ParserProcess:
    """A worker process that reads one file at a time; safe to use from many threads.

    Args:
        program: The module whose `main` it runs; see `worker.serve`.
    """

    def __init__(self, program: str = DOCUMENTS) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._scratch: str | None = None

    def answers(self, request: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """What the worker has to say to a request, message by message; others wait meanwhile.

        Closed before the end, it ends the worker. The worker waits while nobody takes its answers.

        Args:
            request: Holds the "path" of a file and what else the program wants.

        Raises:
            UnsupportedFormatError: If no loader reads its format.
            DocumentLoadError: If the file cannot be read, for whatever reason.
        """
        path = Path(request["path"])
        with self._lock:
            try:
                yield from self._exchange(path, request)
            except DocumentLoadError:
                raise
            except (EOFError, BrokenPipeError) as error:
                if self._timed_out():
                    reason = TOO_SLOW
                else:
                    reason = "읽는 프로그램이 이 파일에서 죽었습니다. 파일이 손상되었을 수 있습니다"
                self._stop()
                raise DocumentLoadError(path, reason) from error
            except BaseException:
                self._stop()  # what is still to come would be taken for the next file's
                raise

    def close(self) -> None:
        """End the worker; the next file starts another."""
        with self._lock:
            self._stop()

    def interrupt(self) -> None:
        """End the worker at once; a file that is being read fails. Waits for nobody."""
        process = self._process
        if process is not None and self._owner == os.getpid():
            process.kill()
        if self._lock.acquire(blocking=False):
            try:
                self._stop()
            finally:
                self._lock.release()

    def _exchange(self, path: Path, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        write_frame(process.stdin, request)
        while (reply := read_frame(process.stdout)) is not None:
            if "error" in reply:
                kind = UnsupportedFormatError if reply["unsupported"] else DocumentLoadError
                raise kind(path, reply["error"])
            if "done" in reply:
                return
            yield reply
        raise EOFError

    def _timed_out(self) -> bool:
        """Whether the worker's watchdog ended it, which exits with 1; a crash is a signal."""
        process = self._process
        try:
            return process is not None and process.wait(_WAIT_SECONDS) == 1
        except subprocess.TimeoutExpired:
            return False

    def _running(self) -> subprocess.Popen[bytes]:
        # After a fork the pipes would be shared with the parent.
        if self._owner != os.getpid():
            self._process = None
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            # What a parser that dies leaves behind goes with it. No TemporaryDirectory, which would
            # go with any process that was forked from this one.
            self._scratch = mkdtemp(prefix="kogemma-rag-")
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _START, self._program, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD, "TMPDIR": self._scratch},
            )
            self._owner = os.getpid()
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            # Closes the pipes and waits.
            process.__exit__(None, None, None)
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)
