"""An async iterator in, its items out in time: signs of life between them, an end at the limit."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request

Item = TypeVar("Item")
_END = object()


class ClientGoneError(Exception):
    """Nobody is there any more to answer to."""


async def paced(
    items: AsyncIterator[Item], *, every: float, limit: float
) -> AsyncGenerator[Item | None, None]:
    """Items as they come, and None after every `every` seconds in which none came.

    The items are made in one task of their own, which is cancelled when this iterator is closed.

    Raises:
        TimeoutError: If the items do not end within `limit` seconds.
    """
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def fill() -> None:
        async for item in items:
            queue.put_nowait(item)

    task = asyncio.create_task(asyncio.wait_for(fill(), limit))
    task.add_done_callback(lambda _: queue.put_nowait(_END))
    try:
        while True:
            item: Any = None
            with suppress(asyncio.TimeoutError):
                item = await asyncio.wait_for(queue.get(), every)
            if item is _END:
                break
            yield item
        try:
            await task
        except asyncio.TimeoutError as error:  # its own type until Python 3.11
            raise TimeoutError(f"the answer did not end within {limit:g} s") from error
    finally:
        task.cancel()


async def unless_gone(request: Request, work: Coroutine[Any, Any, Item]) -> Item:
    """The result of some work, which is cancelled when the client goes away.

    The body of the request must have been read.

    Raises:
        ClientGoneError: If the client went away.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError("the client went away before it was answered")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
