"""Requests in, so many at a time let through, in their order; who finds the queue full is told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

# Seconds after which one who was turned away may ask again.
_RETRY_AFTER = 5


class BusyError(Exception):
    """As many wait as may.

    Attributes:
        retry_after: Seconds to wait before asking again.
    """

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} requests wait already; ask again in {_RETRY_AFTER} s")
        self.retry_after = _RETRY_AFTER


class Turns:
    """A place in the queue first, at once or never; then a turn, when there is one.

    Attributes:
        active: Requests whose turn it is.
    """

    def __init__(self, *, at_once: int, most_waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._most = at_once + most_waiting
        self._placed = 0
        self.active = 0

    @property
    def waiting(self) -> int:
        """Requests that have a place and no turn."""
        # One that leaves gives up its place before what it began has ended.
        return max(0, self._placed - self.active)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keep a place in the queue.

        Raises:
            BusyError: If there is none.
        """
        if self._placed >= self._most:
            raise BusyError(self.waiting)
        self._placed += 1
        try:
            yield
        finally:
            self._placed -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and keep it. Taken by those who have a place."""
        async with self._free:
            self.active += 1
            try:
                yield
            finally:
                self.active -= 1
