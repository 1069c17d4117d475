"""HTTP in, the place of a passage out: in the text of its document, and on the page."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from kogemma_rag.web.admission import ServiceDependency
from kogemma_rag.web.document_states import DocumentState
from kogemma_rag.web.documents_api import DocumentId, refusals
from kogemma_rag.web.places import Mark, PageView, Section

router = APIRouter(prefix="/v1/documents", tags=["documents"])

PageNumber = Annotated[int, Path(ge=1, le=1_000_000)]
ChunkId = Annotated[str | None, Query(max_length=200, description="Of the passage to mark")]
Offset = Annotated[
    int | None, Query(ge=0, le=10_000_000, description="Of what is cited in the passage")
]


class DocumentText(BaseModel):
    """The text around a passage; offsets count code points."""

    document: DocumentState
    sections: list[Section]
    marks: list[Mark]
    more_before: bool
    more_after: bool


@router.get("/{document_id}/text")
def text(
    document_id: DocumentId,
    service: ServiceDependency,
    chunk: ChunkId = None,
    start: Offset = None,
    end: Offset = None,
) -> DocumentText:
    """The text of a document around a passage, or from its beginning."""
    with refusals():
        found = service.places.text(document_id, chunk, start, end)
        return DocumentText(
            document=service.documents.document(document_id),
            sections=list(found.sections),
            marks=list(found.marks),
            more_before=found.more_before,
            more_after=found.more_after,
        )


# Before the page itself, whose path would match it.
@router.get(
    "/{document_id}/pages/{number}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The page"}},
)
async def picture(
    document_id: DocumentId,
    number: PageNumber,
    service: ServiceDependency,
    chunk: ChunkId = None,
) -> Response:
    """A page of a PDF as a picture."""
    with refusals():
        png = await service.pages.look(service.places.picture, document_id, number, chunk)
    return Response(png, media_type="image/png")


@router.get("/{document_id}/pages/{number}")
async def page(
    document_id: DocumentId,
    number: PageNumber,
    service: ServiceDependency,
    chunk: ChunkId = None,
    start: Offset = None,
    end: Offset = None,
) -> PageView:
    """The size of a page of a PDF, and boxes over the passage as shares of it."""
    with refusals():
        page_of = service.places.page
        return await service.pages.look(page_of, document_id, number, chunk, start, end)
