"""Files parsed in a process of their own: a hang, a crash or a bomb ends that process only.

One worker serves all files of this process, and is started again after it died. Nothing is
pickled, and the caller's main script is not imported again (`multiprocessing` would do both).
"""

import atexit
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from langchain_core.documents import Document

from kogemma_rag.document_loaders.errors import DocumentLoadError
from kogemma_rag.document_loaders.frames import TIME_LIMIT, read_frame, write_frame

# Modules are found where this process finds them; never in the working directory alone.
_START = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from kogemma_rag.document_loaders import worker; worker.main()"
)
# Threads that parsers start would each reserve address space.
_ONE_THREAD = {
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
}


class ParserProcess:
    """A worker process that loads one file at a time; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._last_reply = 0.0

    def load(self, path: Path, source: str) -> list[Document]:
        """The documents of a file.

        Raises:
            DocumentLoadError: If the file cannot be read, for whatever reason.
        """
        with self._lock:
            try:
                return self._exchange(path, source)
            except DocumentLoadError:
                raise
            except (EOFError, BrokenPipeError) as error:
                self._stop()
                if time.monotonic() - self._last_reply >= TIME_LIMIT:
                    reason = f"읽는 데 {TIME_LIMIT:.0f}초가 넘게 걸려 멈추었습니다"
                else:
                    reason = "읽는 프로그램이 이 파일에서 죽었습니다. 파일이 손상되었을 수 있습니다"
                raise DocumentLoadError(path, reason) from error
            except BaseException:
                self._stop()  # what is still to come would be taken for the next file's
                raise

    def close(self) -> None:
        """End the worker; the next file starts another."""
        with self._lock:
            self._stop()

    def _exchange(self, path: Path, source: str) -> list[Document]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        write_frame(process.stdin, {"path": str(path.absolute()), "source": source})
        documents = []
        self._last_reply = time.monotonic()
        while (reply := read_frame(process.stdout)) is not None:
            self._last_reply = time.monotonic()
            if "text" in reply:
                documents.append(Document(page_content=reply["text"], metadata=reply["metadata"]))
            elif "error" in reply:
                raise DocumentLoadError(path, reply["error"])
            elif "done" in reply:
                return documents
        raise EOFError

    def _running(self) -> subprocess.Popen[bytes]:
        # After a fork the pipes would be shared with the parent.
        if self._owner != os.getpid():
            self._process = None
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _START, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
            )
            self._owner = os.getpid()
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            # Closes the pipes and waits.
            process.__exit__(None, None, None)


parser_process = ParserProcess()
atexit.register(parser_process.close)
