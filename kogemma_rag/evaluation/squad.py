"""JSON of SQuAD and KorQuAD (versions 1 and 2) in, documents and questions out, and back.

Beside SQuAD's own fields a paragraph may have an `id`, and a question `relevant`: the grades of all
documents that answer it, where that is more than its paragraph with grade 1.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any
from unicodedata import normalize

from langchain_core.documents import Document
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kogemma_rag.evaluation.checked_json import checked_json
from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.question_sets import Answer, Question, QuestionSet

_Filled = Annotated[str, Field(min_length=1)]
_NFC = AfterValidator(lambda text: normalize("NFC", text))
_Text = Annotated[_Filled, _NFC]


class _Json(BaseModel):
    model_config = ConfigDict(strict=True)


class _Answer(_Json):
    text: _Text
    answer_start: int | None = Field(default=None, ge=0)


class _Qa(_Json):
    id: _Filled
    question: _Text
    answers: list[_Answer] = []
    is_impossible: bool = False
    relevant: dict[str, Annotated[int, Field(gt=0)]] | None = None


class _Paragraph(_Json):
    id: _Filled | None = None
    context: _Filled  # as written: offsets count its characters
    qas: list[_Qa]


class _Article(_Json):
    title: Annotated[str, _NFC] = ""
    paragraphs: list[_Paragraph]


class _File(_Json):
    data: list[_Article]


def read_squad(text: str, where: str) -> tuple[list[Document], list[Question]]:
    """Documents and questions of a file.

    Paragraphs of equal text are one document. Its id is the paragraph's, else its number, from 0.
    A question that is impossible has no relevant document and no answer.

    Args:
        text: Of the file.
        where: The file, as errors name it.

    Raises:
        EvaluationDataError: If the file is not in this form, or contradicts itself.
    """
    documents: dict[str, Document] = {}  # by text
    questions: dict[str, Question] = {}
    places: dict[str, str] = {}  # of documents and questions, by id
    for place, article, paragraph in _paragraphs(checked_json(text, _File, where)):
        at = f"{where}: {place}"
        content = normalize("NFC", paragraph.context)
        if (document := documents.get(content)) is None:
            document = _document(content, paragraph.id or str(len(documents)), article.title)
            documents[content] = document
            _remember(places, f"문단 {document.id}", at)
        for number, qa in enumerate(paragraph.qas):
            at_question = f"{at}.qas[{number}]"
            _remember(places, f"질문 {qa.id}", at_question)
            questions[qa.id] = _question(qa, paragraph.context, str(document.id), at_question)
    _check_grades(questions, documents, places)
    return list(documents.values()), list(questions.values())


def _paragraphs(file: _File) -> Iterator[tuple[str, _Article, _Paragraph]]:
    for row, article in enumerate(file.data):
        for number, paragraph in enumerate(article.paragraphs):
            yield f"data[{row}].paragraphs[{number}]", article, paragraph


def _document(content: str, id_: str, title: str) -> Document:
    return Document(content, id=id_, metadata={"title": title} if title else {})


def _remember(places: dict[str, str], name: str, place: str) -> None:
    if name in places:
        raise EvaluationDataError(
            f"{place}.id: {name}이(가) 이미 있습니다({places[name]}). 서로 다른 id를 주세요"
        )
    places[name] = place


def _question(qa: _Qa, context: str, document_id: str, place: str) -> Question:
    if qa.is_impossible:
        if qa.answers:
            raise EvaluationDataError(
                f"{place}.answers: is_impossible이 true인데 정답이 있습니다. 둘 중 하나를 지우세요"
            )
        return Question(qa.id, qa.question, {})
    answers = tuple(
        _answer(answer, context, f"{place}.answers[{number}].answer_start")
        for number, answer in enumerate(qa.answers)
    )
    # Its own paragraph first: the offsets are of that one.
    return Question(qa.id, qa.question, {document_id: 1, **(qa.relevant or {})}, answers)


def _answer(answer: _Answer, context: str, place: str) -> Answer:
    """The answer with its offset in the NFC text: composing shortens what stands before it."""
    if answer.answer_start is None:
        return Answer(answer.text)
    content = normalize("NFC", context)
    start = len(normalize("NFC", context[: answer.answer_start]))
    if not content.startswith(answer.text, start):
        found = context.find(answer.text)
        remedy = f"{found}(으)로 고치거나" if found >= 0 else "정답이나 문단의 글을 고치거나"
        there = content[start : start + len(answer.text)]
        raise EvaluationDataError(
            f"{place}: {answer.answer_start}번째 글자에는 정답 {answer.text!r} 대신 "
            f"{there!r}이(가) 있습니다. {remedy} answer_start를 지우세요"
        )
    return Answer(answer.text, start)


def _check_grades(
    questions: dict[str, Question], documents: dict[str, Document], places: dict[str, str]
) -> None:
    known = {document.id for document in documents.values()}
    for question in questions.values():
        if unknown := [id_ for id_ in question.relevant if id_ not in known]:
            raise EvaluationDataError(
                f"{places[f'질문 {question.id}']}.relevant: {unknown[0]!r}은(는) 이 파일에 없는 "
                "문단의 id입니다. 문단의 id를 확인하세요"
            )


def squad_json(question_set: QuestionSet) -> str:
    """A question set in the form that `read_squad` reads, indented, to be edited by hand.

    A question stands under the first of its relevant documents; one that has none, under the
    document of the question before it.
    """
    under: dict[str | None, list[Question]] = {one.id: [] for one in question_set.documents}
    home = question_set.documents[0].id if question_set.documents else None
    for question in question_set.questions:
        home = next(iter(question.relevant), home)
        under[home].append(question)
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "id": document.id,
                    "context": document.page_content,
                    "qas": [_qa(question, str(document.id)) for question in under[document.id]],
                }
                for document in documents
            ],
        }
        for title, documents in _articles(question_set.documents)
    ]
    return json.dumps({"version": "kogemma-rag", "data": data}, ensure_ascii=False, indent=1)


def _articles(documents: Sequence[Document]) -> Iterator[tuple[str, Iterator[Document]]]:
    return groupby(documents, key=lambda document: document.metadata.get("title", ""))


def _qa(question: Question, document_id: str) -> dict[str, Any]:
    answers: list[dict[str, Any]] = [
        {"text": answer.text}
        if answer.start is None
        else {"text": answer.text, "answer_start": answer.start}
        for answer in question.answers
    ]
    qa: dict[str, Any] = {"id": question.id, "question": question.text, "answers": answers}
    if not question.relevant:
        qa["is_impossible"] = True
    elif dict(question.relevant) != {document_id: 1}:
        qa["relevant"] = dict(question.relevant)
    return qa
