"""Filters in, the keys they hold for out, asked of storage once and then only for what is new."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.storage import Storage

_KEPT_KEYS = 8_000_000  # of all filters together: 64 MB
_KEPT_FILTERS = 1_000


class FilterCache:
    """Keys are never used again and a chunk's metadata never changes under one key.

    So what a filter held for it holds for, and only later keys are asked for. Keys of chunks that
    are no more stay among the answers: whoever searches leaves them out.

    Args:
        storage: What is asked.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        # By filter: how far keys were looked at, and which of them match, ascending.
        self._known: OrderedDict[str, tuple[int, NDArray[np.int64]]] = OrderedDict()

    def keys(self, condition: Mapping[str, Any]) -> NDArray[np.int64]:
        """Keys, ascending, of the chunks the filter holds for, in this thread's snapshot.

        Raises:
            FilterError: If the filter is not understood.
        """
        name = repr(condition)
        with self._lock:
            until, known = self._known.get(name, (-1, np.empty(0, np.int64)))
        last = self._storage.last_key()
        if last > until:  # of an empty index too, so that what is not understood is refused
            later = self._storage.matching_keys(condition, after_key=max(until, 0))
            known = np.concatenate([known, later]) if len(known) else later
        with self._lock:
            self._known[name] = (max(last, until), known)
            self._known.move_to_end(name)
            kept = sum(len(keys) for _, keys in self._known.values())
            while kept > _KEPT_KEYS or len(self._known) > _KEPT_FILTERS:
                kept -= len(self._known.popitem(last=False)[1][1])
        return known
