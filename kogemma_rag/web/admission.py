"""What routes ask for: the service, and a place in the queue for as long as they are answered."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from kogemma_rag.web.service import Service


def served(request: Request) -> Service:
    """The service of the application."""
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(served)]


async def _admitted(service: ServiceDependency) -> AsyncIterator[None]:
    """Keep a place until the response is sent or its client is gone."""
    with service.answers.turns.place():
        yield


AdmissionDependency = Depends(_admitted)
