"""Whether the server lives and is ready, and its metrics."""

from typing import Literal

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from typing_extensions import TypedDict

from kogemma_rag import __version__
from kogemma_rag.web.admission import ServiceDependency

router = APIRouter(tags=["health"])


class Health(TypedDict):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(TypedDict):
    """The index can be searched."""

    status: Literal["ready"]


@router.get("/health")
async def health() -> Health:
    """Whether the process lives; asks for no token."""
    return {"status": "ok", "version": __version__}


@router.get("/health/ready")
async def ready(service: ServiceDependency) -> Readiness:
    """Whether questions can be answered: 503 where the index cannot be read."""
    await run_in_threadpool(service.index.info)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
async def metrics(service: ServiceDependency) -> Response:
    """Requests, queue, tokens and latency in Prometheus' text format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
