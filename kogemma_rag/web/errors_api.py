"""An error in, an OpenAI error object out: what happened in Korean, no more than its type told."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kogemma_rag.error_sentences import explain
from kogemma_rag.filters import FilterError
from kogemma_rag.storage_errors import StorageError
from kogemma_rag.web.pacing import ClientGoneError
from kogemma_rag.web.turns import BusyError

_TOO_LATE = "제때 답하지 못했습니다. 질문을 줄이거나 잠시 뒤에 다시 하세요."
_BUSY = "지금은 기다리는 질문이 많습니다. {}초 뒤에 다시 하세요."
INTERNAL = "서버에 오류가 났습니다. 서버의 기록에서 X-Request-ID로 찾으세요."
_SENTENCES = {
    400: "요청의 본문을 읽을 수 없습니다. JSON으로 적으세요.",
    401: "토큰이 없거나 틀립니다. Authorization: Bearer 뒤에 서버의 토큰을 적으세요.",
    404: "그런 것이 없습니다. 주소를 확인하세요.",
    405: "이 주소는 그 방법으로 부를 수 없습니다.",
}
_CODES = {
    400: "invalid_value",
    404: "not_found",
    405: "not_allowed",
    408: "timeout",
    413: "too_large",
}
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
# The client has closed the connection; nobody reads this status but the log.
_CLIENT_GONE = 499


class ErrorObject(BaseModel):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorObject


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "The request cannot be answered"},
    "5XX": {"model": ErrorResponse, "description": "The server or its model failed"},
}


class ApiError(Exception):
    """A request that cannot be answered; the message is for users, in Korean.

    Attributes:
        param: The field that is at fault.
        code: For programs.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def handle_errors(app: FastAPI) -> None:
    """Answer every error that is foreseen with an error object."""
    kinds = (ApiError, BusyError, ClientGoneError, TimeoutError, ModelError, StorageError)
    for kind in (*kinds, FilterError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)


def error_response(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error object as a response."""
    return JSONResponse(_object(status, message, param, code), status, headers=headers)


def error_object(error: Exception) -> dict[str, Any]:
    """The error object alone, for what fails in the middle of a stream."""
    return _object(*_told(error))


async def _answer(request: Request, error: Exception) -> Response:
    status, message, param, code = _told(error)
    headers = dict(getattr(error, "headers", None) or {})
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(error.retry_after)
    return error_response(status, message, param=param, code=code, headers=headers)


def _told(error: Exception) -> tuple[int, str, str | None, str | None]:
    """Status, message, param and code. The texts of errors from within are not told."""
    if isinstance(error, ApiError):
        return error.status, str(error), error.param, error.code
    if isinstance(error, BusyError):
        return 429, _BUSY.format(error.retry_after), None, "busy"
    if isinstance(error, ClientGoneError):
        return _CLIENT_GONE, "", None, None
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, FilterError):
        return 400, f"filter를 이해하지 못했습니다: {error}", "filter", "invalid_filter"
    if isinstance(error, HTTPException):
        status = error.status_code
        return status, _SENTENCES.get(status, error.detail), None, _CODES.get(status)
    if isinstance(error, ContextOverflowError):
        return 400, explain(error), "messages", "context_length_exceeded"
    if isinstance(error, ModelRateLimitError):
        return 429, explain(error), None, "model_busy"
    if isinstance(error, ModelTimeoutError):
        return 504, explain(error), None, "timeout"
    if isinstance(error, ModelError):
        return 502, explain(error), None, "model_failed"
    if isinstance(error, StorageError):  # some of them are a TimeoutError too
        return 503, explain(error), None, "index_unavailable"
    if isinstance(error, TimeoutError):
        return 504, _TOO_LATE, None, "timeout"
    return 500, INTERNAL, None, "internal_error"


def _invalid(error: RequestValidationError) -> tuple[int, str, str | None, str | None]:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    message = f"요청의 {place or '본문'}을(를) 쓸 수 없습니다: {first['msg']}"
    return 400, message, place or None, "invalid_value"


def _object(status: int, message: str, param: str | None, code: str | None) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
