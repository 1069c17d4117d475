"""One structured line a request, with an id. No document text, query, address or token is in it."""

import logging
import time
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kogemma_rag.web.errors_api import INTERNAL, error_response
from kogemma_rag.web.guard import with_security_headers
from kogemma_rag.web.log_lines import failure_fields
from kogemma_rag.web.metrics import Metrics

logger = logging.getLogger("kogemma_rag.web.requests")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """The outermost layer: counts, logs and answers what nothing else has caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        began = time.monotonic()
        status = 0

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, identified)
        except Exception as error:  # noqa: BLE001 - the outer edge; messages may hold document text
            fields = {"request": request_id, **failure_fields(error)}
            logger.error("request failed", extra={"fields": fields})
            if not status:
                answer = error_response(500, INTERNAL, code="internal_error")
                await answer(scope, receive, with_security_headers(identified))
        finally:
            self._note(scope, request_id, status, time.monotonic() - began)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # The path as it was asked may hold anything; the route's own pattern does not.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.request(route, method, status, seconds)
        milliseconds = round(seconds * 1000, 1)
        fields = {"request": request_id, "method": method, "route": route, "status": status}
        logger.info("request", extra={"fields": {**fields, "ms": milliseconds}})
