"""Options in, the application out: routers, guard, errors and log put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from kogemma_rag import __version__
from kogemma_rag.web import (
    chat_api,
    documents_api,
    feedback_api,
    health_api,
    page,
    pages_api,
    search_api,
)
from kogemma_rag.web.errors_api import ERROR_RESPONSES, handle_errors
from kogemma_rag.web.guard import Guard
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.request_log import RequestLog
from kogemma_rag.web.service import open_service

_ROUTERS = (chat_api, search_api, documents_api, pages_api, feedback_api, health_api)


def create_app(options: ServeOptions) -> FastAPI:
    """The application; its index is open and its chat model loaded.

    Raises:
        StorageError: If the index cannot be opened.
        ModelError: If the chat model cannot be reached.
    """
    service = open_service(options)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await run_in_threadpool(service.close)

    # The documentation pages of FastAPI load scripts from elsewhere; the schema itself stays.
    app = FastAPI(
        title="kogemma-rag", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    for module in _ROUTERS:
        app.include_router(module.router, responses=ERROR_RESPONSES)
    app.include_router(page.router, include_in_schema=False)
    handle_errors(app)
    # The last one added is the first one asked.
    if options.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(Guard, options=options)
    app.add_middleware(RequestLog, metrics=service.metrics)
    return app
