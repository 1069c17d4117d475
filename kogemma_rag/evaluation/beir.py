"""A BEIR folder in (corpus.jsonl, queries.jsonl, qrels/*.tsv), documents and questions out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple
from unicodedata import normalize

from langchain_core.documents import Document
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kogemma_rag.evaluation.checked_json import checked_json
from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.question_sets import Question

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_FIRST_SPLIT = "test"
_COLUMNS = 3

_NFC = AfterValidator(lambda text: normalize("NFC", text))


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str = Field(alias="_id", min_length=1)
    title: Annotated[str, _NFC] = ""
    text: Annotated[str, _NFC]


class Grade(NamedTuple):
    """How well a document answers a question, by their ids; `line` of the file says so."""

    question: str
    document: str
    value: int
    line: int


def qrels_file(folder: Path, split: str | None) -> Path:
    """The file of a split's grades.

    Args:
        folder: Of the data.
        split: Its name; None takes "test", or the only one there is.

    Raises:
        EvaluationDataError: If it is not there, or nobody says which.
    """
    splits = sorted(file.stem for file in (folder / QRELS).glob("*.tsv"))
    if split is None:
        split = _FIRST_SPLIT if _FIRST_SPLIT in splits or len(splits) != 1 else splits[0]
    if split not in splits:
        there = ", ".join(splits) or "없음"
        raise EvaluationDataError(
            f"{folder / QRELS}: {split}.tsv가 없습니다(있는 것: {there}). 있는 것의 이름을 대거나 "
            f"파일을 넣으세요. BEIR 폴더에는 {CORPUS}, {QUERIES}, {QRELS}/{split}.tsv가 있습니다"
        )
    return folder / QRELS / f"{split}.tsv"


def read_beir(
    corpus: tuple[Path, str], queries: tuple[Path, str], qrels: tuple[Path, str]
) -> tuple[list[Document], list[Question]]:
    """All documents, and the questions that have a grade, each file given with its text.

    Grades of 0 and below say that a document does not answer.

    Raises:
        EvaluationDataError: If a line is not in its form, an id stands twice, or a grade names
            what is not there.
    """
    documents = {
        record.id: Document(
            record.text or record.title,
            id=record.id,
            metadata={"title": record.title} if record.title else {},
        )
        for record in _records(*corpus)
    }
    texts = {record.id: record.text for record in _records(*queries)}
    relevant: dict[str, dict[str, int]] = {}
    for grade in _grades(*qrels):
        place = f"{qrels[0]}: {grade.line}번째 줄"
        for id_, known, file in (
            (grade.question, texts, queries[0]),
            (grade.document, documents, corpus[0]),
        ):
            if id_ not in known:
                raise EvaluationDataError(
                    f"{place}: {id_!r}이(가) {file.name}에 없습니다. 그 줄을 지우거나 "
                    f"{file.name}에 넣으세요"
                )
        grades = relevant.setdefault(grade.question, {})
        if grade.value > 0:
            grades[grade.document] = grade.value
    questions = [
        Question(id_, text, relevant[id_]) for id_, text in texts.items() if id_ in relevant
    ]
    return list(documents.values()), questions


def _records(file: Path, text: str) -> Iterator[_Record]:
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        record = checked_json(line, _Record, str(file), line=number)
        if not (record.text or record.title).strip():
            raise EvaluationDataError(
                f"{file}: {number}번째 줄: text가 비어 있습니다. 글을 넣으세요"
            )
        if record.id in lines:
            raise EvaluationDataError(
                f"{file}: {number}번째 줄: _id {record.id!r}이(가) {lines[record.id]}번째 줄에도 "
                "있습니다. 서로 다른 _id를 주세요"
            )
        lines[record.id] = number
        yield record


def _grades(file: Path, text: str) -> Iterator[Grade]:
    """The rows of a file, with a header or without: its last column is no number."""
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != _COLUMNS:
            raise EvaluationDataError(
                f"{file}: {number}번째 줄: 칸이 {len(cells)}개입니다. query-id, corpus-id, score "
                "세 칸을 탭으로 나누어 적으세요"
            )
        question, document, score = cells
        try:
            grade = Grade(question, document, int(score), number)
        except ValueError as error:
            if number == 1:
                continue
            raise EvaluationDataError(
                f"{file}: {number}번째 줄: 점수 {score!r}은(는) 정수가 아닙니다. 0, 1, 2 같은 "
                "정수를 적으세요"
            ) from error
        if (before := seen.setdefault((question, document), number)) != number:
            raise EvaluationDataError(
                f"{file}: {number}번째 줄: 같은 질문과 문서가 {before}번째 줄에도 있습니다. "
                "한 줄만 남기세요"
            )
        yield grade
