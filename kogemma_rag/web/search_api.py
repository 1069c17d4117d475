"""Passages for a query, and what answers: POST /v1/search, GET /v1/models."""

import json
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, field_validator
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from kogemma_rag.web.admission import AdmissionDependency, ServiceDependency
from kogemma_rag.web.errors_api import ApiError
from kogemma_rag.web.pacing import unless_gone
from kogemma_rag.web.sources import Source

router = APIRouter(prefix="/v1", tags=["search"])


class SearchRequest(BaseModel):
    """What to look for."""

    query: str = Field(min_length=1, max_length=4000)
    k: int | None = Field(default=None, ge=1, le=100)
    filter: dict[str, Any] | None = Field(
        default=None,
        max_length=100,
        description="On metadata, in the operators of LangChain's vector stores",
    )

    @field_validator("filter")
    @classmethod
    def _encodable(cls, filter: dict[str, Any] | None) -> dict[str, Any] | None:
        """Half a surrogate pair is JSON, and no text that an index can be asked for."""
        json.dumps(filter, ensure_ascii=False).encode()
        return filter


class SearchResults(TypedDict):
    """The passages, best first."""

    object: Literal["list"]
    data: list[Source]


class ServedIndex(TypedDict):
    """The index that is asked."""

    name: str
    chunks: int
    documents: int
    embeddings: str | None


class ServedModel(TypedDict):
    """The chat model; `quotes`: it writes nothing of its own."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    quotes: bool


class Models(TypedDict):
    """The one chat model, and the index that it answers from."""

    object: Literal["list"]
    data: list[ServedModel]
    index: ServedIndex


@router.post("/search", dependencies=[AdmissionDependency])
async def search(
    body: SearchRequest, request: Request, service: ServiceDependency
) -> SearchResults:
    """The passages nearest to a query by meaning and words."""
    if not (query := body.query.strip()):
        raise ApiError(
            400, "query가 비어 있습니다. 찾을 말을 적으세요.", param="query", code="invalid_value"
        )
    hits = await unless_gone(request, service.answers.search(query, body.k, body.filter))
    scores = {str(document.id): score for document, score in hits}
    sources = await service.sources([document for document, _ in hits], scores)
    return {"object": "list", "data": sources}


@router.get("/models")
async def list_models(service: ServiceDependency) -> Models:
    """The chat model and the index."""
    facts = await run_in_threadpool(service.index.info)
    answers = service.answers
    model: ServedModel = {
        "id": answers.model_name,
        "object": "model",
        "created": 0,
        "owned_by": "kogemma-rag",
        "quotes": answers.quotes,
    }
    index: ServedIndex = {
        "name": service.index_name,
        "chunks": int(facts.get("chunks") or 0),
        "documents": int(facts.get("files") or facts.get("sources") or 0),
        "embeddings": facts.get("embeddings"),
    }
    return {"object": "list", "data": [model], "index": index}


@router.get("/models/{model}")
async def get_model(model: str, service: ServiceDependency) -> ServedModel:
    """The chat model by its id."""
    models = await list_models(service)
    if model != service.answers.model_name:
        raise ApiError(404, f"'{model}' 모델이 없습니다.", param="model", code="model_not_found")
    return models["data"][0]
