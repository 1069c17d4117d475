"""CSV and TSV in, documents and questions out: a question, an answer, its passage in each row."""

import csv
from collections.abc import Iterator, Mapping
from io import StringIO
from types import MappingProxyType
from typing import NamedTuple
from unicodedata import normalize

from langchain_core.documents import Document

from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.question_sets import Answer, Question

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "question": ("question", "query", "질문"),
        "answer": ("answer", "정답", "답"),
        "context": ("context", "passage", "문단", "지문", "본문"),
        "document_id": ("document_id", "doc_id", "문서", "문서번호"),
        "title": ("title", "제목"),
        "id": ("id", "번호"),
    }
)
"""Names that a column may have, in capitals and with spaces also."""
_DELIMITERS = ",\t;|"


class _Row(NamedTuple):
    line: int
    cells: Mapping[str, str]


def read_table(text: str, where: str) -> tuple[list[Document], list[Question]]:
    """Documents and questions of a table; see `COLUMNS`.

    There is a column of questions, and one of passages or of document ids. Rows of one id, without
    a column of ids those of one question, are one question with all their answers and documents.
    A row without passage and document is a question that no document answers. Passages of equal
    text are one document; its id is that of the table, else its number, from 0. A document that is
    only named has no text: its retriever must come with an index of its own.

    Args:
        text: Of the file.
        where: The file, as errors name it.

    Raises:
        EvaluationDataError: If a column is missing or a row contradicts another.
    """
    documents = _Documents(where)
    questions: dict[str, Question] = {}
    for line, cells in _rows(text, where):
        asked = cells.get("question", "")
        if not asked:
            raise EvaluationDataError(
                f"{where}: {line}번째 줄: 질문이 비어 있습니다. 질문을 적으세요"
            )
        document = documents.add(line, cells)
        id_ = cells.get("id") or asked
        known = questions.get(id_, Question(id_, asked, {}))
        if known.text != asked:
            raise EvaluationDataError(
                f"{where}: {line}번째 줄: 번호 {id_!r}에 다른 질문({known.text!r})이 이미 "
                "있습니다. 다른 번호를 주세요"
            )
        answer = Answer(cells["answer"]) if cells.get("answer") else None
        added = () if answer is None or answer in known.answers else (answer,)
        relevant = {**known.relevant, **({} if document is None else {document: 1})}
        questions[id_] = Question(id_, asked, relevant, known.answers + added)
    return documents.all(), list(questions.values())


class _Documents:
    """The documents of the rows so far."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._by_text: dict[str, str] = {}
        self._texts: dict[str, str] = {}  # by id; "" where none was told yet
        self._titles: dict[str, str] = {}

    def add(self, line: int, cells: Mapping[str, str]) -> str | None:
        """The id of a row's document."""
        text, id_ = cells.get("context", ""), cells.get("document_id", "")
        if not text and not id_:
            return None
        id_ = id_ or self._by_text.setdefault(text, str(len(self._by_text)))
        known = self._texts.get(id_, "")
        if text and known and text != known:
            raise EvaluationDataError(
                f"{self._where}: {line}번째 줄: 문서 {id_!r}의 글이 앞의 줄과 다릅니다. 같은 글을 "
                "적거나 다른 문서 번호를 주세요"
            )
        self._texts[id_] = known or text
        if cells.get("title"):
            self._titles.setdefault(id_, cells["title"])
        return id_

    def all(self) -> list[Document]:
        return [
            Document(
                text, id=id_, metadata={"title": self._titles[id_]} if id_ in self._titles else {}
            )
            for id_, text in self._texts.items()
        ]


def _rows(text: str, where: str) -> Iterator[_Row]:
    """The rows under the header that are not empty, their cells by the names of `COLUMNS`."""
    # A quote that nobody closes would take all the rest as one cell: strict tells.
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    names: list[str | None] | None = None
    line = 1
    try:
        for cells in reader:
            stripped = [normalize("NFC", cell).strip() for cell in cells]
            if any(stripped) and names is None:
                names = _names(stripped, f"{where}: {line}번째 줄")
            elif any(stripped) and names is not None:
                if len(stripped) > len(names):
                    raise EvaluationDataError(
                        f"{where}: {line}번째 줄: 칸이 {len(stripped)}개로 첫 줄의 "
                        f"{len(names)}개보다 많습니다. 쉼표가 든 칸을 따옴표로 묶으세요"
                    )
                named = zip(names, stripped, strict=False)
                yield _Row(line, {name: cell for name, cell in named if name is not None})
            line = reader.line_num + 1
    except csv.Error as error:
        raise EvaluationDataError(
            f"{where}: {line}번째 줄: 표로 읽을 수 없습니다({error}). 따옴표를 확인하세요"
        ) from error


def _names(header: list[str], place: str) -> list[str | None]:
    """The name of each column; None for one that is of no use."""
    bare = ["".join(cell.lower().split()) for cell in header]
    names = [
        next((name for name, known in COLUMNS.items() if cell in known), None) for cell in bare
    ]
    there = ", ".join(filter(None, header))
    if "question" not in names:
        raise EvaluationDataError(
            f"{place}: 질문이 있는 열이 없습니다(있는 열: {there}). 열 이름을 "
            f"{' 또는 '.join(COLUMNS['question'])}(으)로 하세요"
        )
    if "context" not in names and "document_id" not in names:
        raise EvaluationDataError(
            f"{place}: 문단이나 문서가 있는 열이 없습니다(있는 열: {there}). 열 이름을 "
            f"{' 또는 '.join(COLUMNS['context'] + COLUMNS['document_id'])}(으)로 하세요"
        )
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise EvaluationDataError(
            f"{place}: {twice[0]} 열이 둘 이상입니다(있는 열: {there}). 하나만 남기세요"
        )
    return names


def _delimiter(text: str) -> str:
    """What stands most often in the header; a comma where nothing does."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=header.count)
