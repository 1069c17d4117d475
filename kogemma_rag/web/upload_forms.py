"""A request with files in, its form out: files go to disk as they come. Keeps none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from kogemma_rag.web.errors_api import ApiError
from kogemma_rag.web.pacing import ClientGoneError

MOST_FILES = 200  # of one request
FORM = "multipart/form-data"
_MOST_FIELDS = 10


@asynccontextmanager
async def upload_form(request: Request) -> AsyncIterator[FormData]:
    """The form of a request; its files are temporary ones, gone when it is left.

    Args:
        request: Whose body was not read yet; how much of it may come is for the guard to say.

    Raises:
        ApiError: If it is no form.
        ClientGoneError: If the client went away.
    """
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        raise ApiError(415, f"파일은 {FORM}으로 보내세요.", code="unsupported_media_type")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=MOST_FILES, max_fields=_MOST_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(
            400, f"보낸 양식을 읽을 수 없습니다: {error.message}", code="invalid_value"
        ) from error
    except ClientDisconnect as error:
        raise ClientGoneError from error
    try:
        yield form
    finally:
        await form.close()
