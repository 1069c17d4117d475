"""One writer at a time over threads and processes, and a word on who it is. Knows no database."""

import json
import os
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock

_POLL = 0.01  # seconds between two looks at a lock that another process holds


# Locks of this process. A forked child begins anew with each: what they hold is its parent's.
_locks: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


class LockHeldError(TimeoutError):
    """Another writer held the lock for longer than the time-out; the message says who."""


@dataclass(frozen=True)
class Holder:
    """Who writes, what for and since when (local time, ISO 8601)."""

    pid: int
    host: str
    purpose: str
    since: str

    def __str__(self) -> str:
        where = "this process" if self.is_here else f"process {self.pid} on {self.host}"
        return f"{where} ({self.purpose}, since {self.since})"

    @property
    def is_here(self) -> bool:
        """Whether it is this process."""
        return (self.pid, self.host) == (os.getpid(), socket.gethostname())


class WriterLock:
    """A lock that a thread may take again while it has it. The system frees it when a holder dies.

    Args:
        path: The lock file; beside it, in a file of the same name and `.json`, stands the latest
            holder. None locks out only the other threads that share this object.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._begin()
        _locks.add(self)

    def _begin(self) -> None:
        self.turn = threading.RLock()
        self._holder: Holder | None = None
        self._thread: int | None = None
        self._depth = 0
        self._file = (
            None if self._path is None else filelock.FileLock(self._path, thread_local=False)
        )

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._thread == threading.get_ident()

    @contextmanager
    def held(self, purpose: str, timeout: float) -> Iterator[None]:
        """Hold the lock.

        Args:
            purpose: A few words for those who wait.
            timeout: Seconds to wait for other writers.

        Raises:
            LockHeldError: If another writer kept it for longer.
            OSError: If the lock file cannot be written.
        """
        deadline = time.monotonic() + timeout
        turn, pid = self.turn, os.getpid()
        if not turn.acquire(timeout=timeout):
            raise self._timed_out(timeout, self._holder)
        try:
            if not self._depth:
                self._acquire(purpose, timeout, deadline)
            self._depth += 1
            try:
                yield
            finally:
                if os.getpid() == pid:
                    self._depth -= 1
                    if not self._depth:
                        self._release()
        finally:
            if os.getpid() == pid:
                turn.release()

    def _acquire(self, purpose: str, timeout: float, deadline: float) -> None:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder = Holder(os.getpid(), socket.gethostname(), purpose, since)
        if self._file is not None:
            try:
                self._file.acquire(max(0.0, deadline - time.monotonic()), poll_interval=_POLL)
            except filelock.Timeout as error:
                raise self._timed_out(timeout, self._recorded()) from error
            try:
                self._record(holder)
            except BaseException:
                self._file.release()
                raise
        self._holder, self._thread = holder, threading.get_ident()

    def _release(self) -> None:
        self._holder = self._thread = None
        if self._file is not None:
            self._file.release()

    def _timed_out(self, timeout: float, holder: Holder | None) -> LockHeldError:
        who = "another process" if holder is None else str(holder)
        return LockHeldError(f"{who} is writing")

    @property
    def _record_path(self) -> Path:
        return Path(f"{self._path}.json")

    def _record(self, holder: Holder) -> None:
        text = json.dumps(asdict(holder), ensure_ascii=True)
        handle, name = tempfile.mkstemp(dir=self._record_path.parent, prefix=".writer-")
        try:
            with open(handle, "w", encoding="ascii") as file:  # noqa: PTH123 - it is a descriptor
                file.write(text)
            Path(name).replace(self._record_path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _recorded(self) -> Holder | None:
        """The holder that the file names; None when nothing sound stands there."""
        try:
            known: Any = json.loads(self._record_path.read_bytes())
            names = ("host", "purpose", "since")
            texts = (ascii(str(known[name]))[1:-1] for name in names)  # nothing steers a terminal
            return Holder(int(known["pid"]), *texts)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def _begin_in_child() -> None:
    for lock in _locks:
        lock._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
