"""Iterators that run ahead of their reader in threads, a few items at most. Knows no items."""

import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import closing
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Seconds between looks at whether the other side is still there; nothing that is ready waits.
_POLL = 0.1


class ReadAhead(Generic[Item]):
    """The items of a generator, made ahead in a thread; to be closed.

    What the generator raises comes out in its place, behind the items before it.

    Args:
        items: Runs in the thread, and is closed there.
        pool: Gives the thread.
        most: So many items wait to be taken; the generator waits then, one item further.
    """

    def __init__(self, items: Generator[Item, None, None], pool: Executor, *, most: int) -> None:
        self._items = items
        self._ready: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
        self._room = threading.Semaphore(most)
        self._closed = threading.Event()
        self._future = pool.submit(self._run)

    def __iter__(self) -> Iterator[Item]:
        while True:
            try:
                item = self._ready.get(timeout=_POLL)
            except queue.Empty:
                if self._closed.is_set() or self._future.cancelled():
                    raise CancelledError from None
                continue
            if not isinstance(item, _End):
                self._room.release()
                yield item
            elif item.error is None:
                return
            else:
                raise item.error

    def close(self) -> None:
        """Let the generator end at its next item; does not wait for it."""
        self._closed.set()
        self._future.cancel()

    def _run(self) -> None:
        end = _End(None)
        try:
            with closing(self._items):
                for item in self._items:
                    if not self._has_room():
                        return
                    self._ready.put(item)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the items
            end = _End(error)
        self._ready.put(end)

    def _has_room(self) -> bool:
        """Wait for room for an item; False when it is closed."""
        while not self._closed.is_set():
            if self._room.acquire(timeout=_POLL):
                return True
        return False


class _End:
    """Comes after the last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
