"""A thread of its own for work that must not run on the caller's.

Starts with the first piece of work, waits when there is none, and never keeps anything alive: not
the process at exit, not a forked child, not the worker whose owner is gone. Knows nothing of what
the work is.
"""

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Taken = TypeVar("Taken", contravariant=True)


class Worker(Protocol[Taken]):
    """Does the work, on the thread."""

    def step(self, arrived: Sequence[Taken]) -> bool:
        """Take what has arrived and do a little; whether there is more to do."""
        ...

    def abandon(self, error: BaseException, arrived: Sequence[Taken]) -> None:
        """Drop everything, what has arrived too, because of `error`; must not fail itself."""
        ...


class WorkerThread(Generic[Item]):
    """Hands items to a worker on a thread.

    Args:
        worker: What does the work; it is not kept alive.
    """

    def __init__(self, worker: Worker[Item]) -> None:
        self._worker = weakref.ref(worker)
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False
        _threads.add(self)
        weakref.finalize(worker, self.close).atexit = False

    @property
    def pending(self) -> int:
        """How many items the worker has not seen yet."""
        return len(self._items)

    def put(self, item: Item) -> None:
        """Give the worker an item.

        Raises:
            RuntimeError: If the interpreter is exiting.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the interpreter is exiting, so no more work is taken")
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="kogemma", daemon=True)
                thread.start()
                self._thread = thread
            self._items.append(item)
            self._changed.notify()

    def close(self) -> None:
        """Take no more work and end the thread after its step."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _after_fork(self) -> None:
        self._changed = threading.Condition()  # someone in the parent may have held the old one
        items, self._items = self._items, deque()
        self._thread = None
        if (worker := self._worker()) is not None:
            error = RuntimeError("the process was forked, and its work goes on in the parent only")
            worker.abandon(error, list(items))

    def _run(self) -> None:
        while True:
            self._wait()
            worker = self._worker()
            if worker is None:
                return
            if self._closed:
                worker.abandon(RuntimeError("the interpreter is exiting"), self._drain())
                return
            self._work(worker)
            del worker  # held while there is work, and not while waiting

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)

    def _work(self, worker: Worker[Item]) -> None:
        try:
            while not self._closed and worker.step(self._drain()):
                pass
        except BaseException as error:  # noqa: BLE001 - handed on: nobody may wait for ever
            worker.abandon(error, self._drain())

    def _drain(self) -> list[Item]:
        with self._changed:
            items = list(self._items)
            self._items.clear()
        return items


_threads: weakref.WeakSet[WorkerThread[Any]] = weakref.WeakSet()


def _renew_in_child() -> None:
    for thread in list(_threads):
        thread._after_fork()


def _end_at_exit() -> None:
    # A thread inside torch while the interpreter is taken down would crash it.
    threads = list(_threads)
    for thread in threads:
        thread.close()
    for thread in threads:
        thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
atexit.register(_end_at_exit)
