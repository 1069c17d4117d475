"""HTTP in, feedback kept; and out again, as a set of questions for an evaluation."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from kogemma_rag.web.admission import ServiceDependency
from kogemma_rag.web.feedback import Passage, Rating

router = APIRouter(prefix="/v1/feedback", tags=["feedback"])


class RatedSource(BaseModel):
    """A source as an answer brought it; other fields of it are not kept."""

    model_config = ConfigDict(extra="ignore")

    title: str = Field(default="", max_length=1_000)
    text: str = Field(default="", max_length=100_000)
    quote: str | None = Field(default=None, max_length=100_000)


class FeedbackRequest(BaseModel):
    """What a user thinks of an answer."""

    question: str = Field(min_length=1, max_length=10_000)
    answer: str = Field(max_length=100_000)
    rating: Rating
    note: str = Field(default="", max_length=4_000)
    sources: list[RatedSource] = Field(default=[], max_length=100)


class FeedbackKept(BaseModel):
    """It is kept."""

    status: str = "kept"


@router.post("", status_code=201)
def give_feedback(body: FeedbackRequest, service: ServiceDependency) -> FeedbackKept:
    """Keep what a user thinks of an answer."""
    passages = [Passage(one.title, one.text, one.quote) for one in body.sources]
    service.feedback.add(body.question, body.answer, body.rating, note=body.note, passages=passages)
    return FeedbackKept()


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "SQuAD JSON"}},
)
def export_feedback(service: ServiceDependency) -> Response:
    """The answers that were found good, as a question set of `kogemma-rag eval`."""
    headers = {"Content-Disposition": 'attachment; filename="feedback.json"'}
    questions = service.feedback.question_set()
    return Response(questions, media_type="application/json", headers=headers)
