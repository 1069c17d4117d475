"""Who may ask, from where, how often and how much; what browsers may do with the answers.

Stands before every route, knows none but by the beginning of its path.
"""

import asyncio
import hmac
import re

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kogemma_rag.web.errors_api import error_response
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.rate_limit import RateLimit

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?", re.IGNORECASE)
_MOST_BODY = 1024 * 1024  # bytes of a request that brings no document
_BODY_SECONDS = 30.0  # between two pieces of a body
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_WRONG_HOST = "이 서버의 이름이 아닙니다. --allowed-host로 이름을 더하세요."
_WRONG_ORIGIN = "다른 사이트의 페이지는 이 서버에 물을 수 없습니다."
_NO_TOKEN = "토큰이 없거나 틀립니다. Authorization: Bearer 뒤에 서버의 토큰을 적으세요."  # noqa: S105
_TOO_OFTEN = "요청이 너무 잦습니다. {}초 뒤에 다시 하세요."
_TOO_LARGE = "보낸 것이 너무 큽니다. 한 번에 {:,}바이트까지 받으니 나누어 보내세요."
_SILENT = "보내다가 멈추었습니다. 다시 보내세요."
_CLOSE = {"Connection": "close"}  # the rest is not read


class Guard:
    """Refuses what may not be asked, limits bodies, and adds security headers to every answer."""

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app = app
        self._hosts = options.hosts
        self._origins = frozenset(options.allowed_origins)
        self._token = None if options.token is None else options.token.encode()
        self._upload = options.max_upload_bytes
        self._rate = RateLimit(options.rate_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = self._refusal(scope)
            limited = _LimitedBody(receive, self._body_limit(scope))
            await (refusal or self._app)(scope, limited, with_security_headers(send))
        else:  # there is no websocket here
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> Response | None:
        if not self._right_host(scope):
            return error_response(403, _WRONG_HOST, code="wrong_host")
        if not self._right_origin(scope):
            return error_response(403, _WRONG_ORIGIN, code="wrong_origin")
        if scope["path"].startswith("/v1/") and (wait := self._rate.wait(_address(scope))):
            headers = {"Retry-After": str(wait)}
            return error_response(429, _TOO_OFTEN.format(wait), code="too_often", headers=headers)
        if not self._right_token(scope):
            headers = {"WWW-Authenticate": "Bearer"}
            return error_response(401, _NO_TOKEN, code="invalid_api_key", headers=headers)
        limit = self._body_limit(scope)
        if _announced_length(scope) > limit:
            message = _TOO_LARGE.format(limit)
            return error_response(413, message, code="too_large", headers=_CLOSE)
        return None

    def _right_host(self, scope: Scope) -> bool:
        given = _values(scope, b"host")
        match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        return match is not None and match[1].lower().strip("[]") in self._hosts

    def _right_origin(self, scope: Scope) -> bool:
        """Whether no page of another site is behind a request, as far as browsers tell."""
        origins = _values(scope, b"origin")
        if origins:
            host = _values(scope, b"host")[0]
            own = {f"http://{host}", f"https://{host}"}
            return len(origins) == 1 and origins[0] in own | self._origins
        # Without Origin come links, images and scripts; a link may lead to the page.
        site = _values(scope, b"sec-fetch-site")
        return set(site) <= {"same-origin", "none"} or (
            _is_page(scope) and _values(scope, b"sec-fetch-mode") == ["navigate"]
        )

    def _right_token(self, scope: Scope) -> bool:
        if self._token is None or _is_page(scope) or _is_open(scope) or self._preflight(scope):
            return True
        given = _values(scope, b"authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        # Compared first, so that the time is the same whatever the scheme.
        right = hmac.compare_digest(token.encode("latin-1"), self._token)
        return right and scheme.lower() == "bearer"

    def _preflight(self, scope: Scope) -> bool:
        """Whether a browser asks before asking, which the CORS layer answers and no route."""
        return (
            scope["method"] == "OPTIONS"
            and bool(self._origins & set(_values(scope, b"origin")))
            and bool(_values(scope, b"access-control-request-method"))
        )

    def _body_limit(self, scope: Scope) -> int:
        brings_documents = scope["path"] == "/v1/documents" and scope["method"] == "POST"
        return self._upload if brings_documents else _MOST_BODY


class _LimitedBody:
    """A body as it comes, until it is too large or stops coming."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._length = 0
        self._ended = False

    async def __call__(self) -> Message:
        if self._ended:  # what comes now is that the client goes away
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), _BODY_SECONDS)
        except asyncio.TimeoutError:
            raise HTTPException(408, _SILENT, headers=_CLOSE) from None
        self._length += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._length > self._limit:
            raise HTTPException(413, _TOO_LARGE.format(self._limit), headers=_CLOSE)
        return message


def with_security_headers(send: Send) -> Send:
    """Add to an answer what keeps browsers from doing more with it than show it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_SECURITY_HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def _is_page(scope: Scope) -> bool:
    """The page's own files hold nothing of the documents; a browser asks for them without token."""
    return scope["method"] in ("GET", "HEAD") and (
        scope["path"] == "/" or scope["path"].startswith("/static/")
    )


def _is_open(scope: Scope) -> bool:
    return bool(scope["method"] == "GET" and scope["path"] == "/health")


def _announced_length(scope: Scope) -> int:
    lengths = _values(scope, b"content-length")
    # Of a number of any length the first digits tell enough.
    return int(lengths[0][:20]) if lengths and lengths[0].isdecimal() else 0


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""
