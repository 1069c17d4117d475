"""Looks at pages in, so many at a time let through: pictures, sizes, boxes over what is cited."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from kogemma_rag.document_loaders.errors import DocumentLoadError
from kogemma_rag.storage_errors import StorageError
from kogemma_rag.web.document_library import DocumentNotFoundError
from kogemma_rag.web.places import NoPageError, Places
from kogemma_rag.web.sources import Source
from kogemma_rag.web.turns import Turns

_AT_ONCE = 4  # a page that takes long must not keep all threads waiting
# Boxes nobody has asked for yet: they leave a process to those who look, and are given up in time.
_BOXED_AT_ONCE = 1
_BOX_SECONDS = 2.0

Asked = ParamSpec("Asked")
Seen = TypeVar("Seen")


class PageLooks:
    """Who looks at pages.

    Args:
        places: Where passages stand.
        most_waiting: Looks that wait for their turn; one more is a `BusyError`.
    """

    def __init__(self, places: Places, *, most_waiting: int) -> None:
        self._places = places
        self._turns = Turns(at_once=_AT_ONCE, most_waiting=most_waiting)
        self._box_turns = asyncio.Semaphore(_BOXED_AT_ONCE)
        # A task that nothing holds may be collected before it is done.
        self._boxing: set[asyncio.Task[list[dict[str, float]]]] = set()

    async def look(
        self, look: Callable[Asked, Seen], *args: Asked.args, **kwargs: Asked.kwargs
    ) -> Seen:
        """Call a method of `Places`, in turn."""
        with self._turns.place():
            async with self._turns.turn():
                return await run_in_threadpool(look, *args, **kwargs)

    async def add_boxes(self, sources: Sequence[Source]) -> None:
        """Fill in where cited sentences stand on their pages, as far as that is told in time."""
        deadline = time.monotonic() + _BOX_SECONDS
        boxing = {
            asyncio.create_task(self._boxes(source, page, deadline)): source
            for source in sources
            if source["quote"] is not None and (page := source["page"]) is not None
        }
        if not boxing:
            return
        for task in boxing:
            self._boxing.add(task)
            task.add_done_callback(self._boxing.discard)
        done, _ = await asyncio.wait(boxing, timeout=_BOX_SECONDS)
        for task in done:
            boxing[task]["boxes"] = task.result()

    async def _boxes(self, source: Source, page: int, deadline: float) -> list[dict[str, float]]:
        place = (source["document_id"], page, source["chunk_id"], source["start"], source["end"])
        async with self._box_turns:
            if time.monotonic() > deadline:
                return []
            try:
                return list((await run_in_threadpool(self._places.page, *place)).boxes)
            except (NoPageError, DocumentNotFoundError, DocumentLoadError, OSError, StorageError):
                return []  # the answer stands without; who asks for the page is told why
