"""A request with files in, its form out: files go to disk as they come, to a limit. Keeps none."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from kogemma_rag.web.errors_api import ApiError
from kogemma_rag.web.pacing import ClientGoneError

MOST_FILES = 200  # of one request
FORM = "multipart/form-data"
_MOST_FIELDS = 10
_PAUSE_SECONDS = 60.0  # that a client may send nothing for
# Nobody reads what the client still sends: the connection is of no more use.
_CLOSE = {"Connection": "close"}


class TooLargeError(ApiError):
    """More was sent than may be; what is left of it is not read."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            413,
            f"보낸 것이 너무 큽니다(최대 {limit:,}바이트). 나누어 올리세요.",
            code="too_large",
        )
        self.headers = _CLOSE


@asynccontextmanager
async def upload_form(request: Request, limit: int) -> AsyncIterator[FormData]:
    """The form of a request; its files are temporary ones, gone when it is left.

    Args:
        request: Whose body was not read yet.
        limit: Bytes that the body may have.

    Raises:
        TooLargeError: As soon as it has more.
        ApiError: If it is no form, or the client falls silent.
        ClientGoneError: If the client went away.
    """
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        raise ApiError(415, f"파일은 {FORM}으로 보내세요.", code="unsupported_media_type")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise TooLargeError(limit)
    parser = MultiPartParser(
        request.headers, _limited(request, limit), max_files=MOST_FILES, max_fields=_MOST_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"보낸 양식을 읽을 수 없습니다: {error.message}") from error
    except ClientDisconnect as error:
        raise ClientGoneError from error
    try:
        yield form
    finally:
        await form.close()


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    received = 0
    blocks = request.stream()
    while True:
        try:
            block = await asyncio.wait_for(anext(blocks), _PAUSE_SECONDS)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as error:
            raise ApiError(408, "파일이 오다가 멈추었습니다. 다시 올리세요.") from error
        received += len(block)
        if received > limit:
            raise TooLargeError(limit)
        yield block
