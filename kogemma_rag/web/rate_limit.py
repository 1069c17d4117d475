"""Addresses in, whether they may ask now out. Knows no HTTP."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

# Addresses that are remembered; past that the one that has not asked for longest is forgotten.
_MOST_ADDRESSES = 10_000


class RateLimit:
    """So many requests a minute from one address; a minute's worth may come at once.

    Args:
        a_minute: Requests; None: any number.
        clock: Seconds that only grow.
    """

    def __init__(self, a_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute = a_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until an address may ask; 0, and the request is counted, where it may now."""
        if self._a_minute is None:
            return 0
        now = self._clock()
        left, at = self._left.pop(address, (float(self._a_minute), now))
        left = min(self._a_minute, left + (now - at) * self._a_minute / 60)
        allowed = left >= 1
        self._left[address] = (left - allowed, now)
        if len(self._left) > _MOST_ADDRESSES:
            self._left.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) * 60 / self._a_minute)
