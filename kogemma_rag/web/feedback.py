"""What users think of answers in, a set of questions for an evaluation out. Knows no HTTP."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

from langchain_core.documents import Document

from kogemma_rag.database import Database
from kogemma_rag.evaluation.question_sets import Answer, Question, QuestionSet
from kogemma_rag.evaluation.squad import squad_json

_FORMAT_VERSION = 1
_SCHEMA = """
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
    rating TEXT NOT NULL, note TEXT NOT NULL, sources TEXT NOT NULL
);
"""
_COLUMNS = "number, at, question, answer, rating, note, sources"

Rating = Literal["up", "down"]


@dataclass(frozen=True)
class Passage:
    """A passage that an answer came with.

    Attributes:
        quote: What was cited of it; None where nothing was.
    """

    title: str
    text: str
    quote: str | None = None


@dataclass(frozen=True)
class Feedback:
    """What a user thinks of an answer; `at` is when it was given, ISO 8601."""

    number: int
    at: str
    question: str
    answer: str
    rating: Rating
    note: str
    passages: tuple[Passage, ...]


class FeedbackStore:
    """Feedback in a SQLite file.

    Args:
        path: The file, made when absent.

    Raises:
        StorageError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema=_SCHEMA, format_version=_FORMAT_VERSION)

    def add(
        self,
        question: str,
        answer: str,
        rating: Rating,
        *,
        note: str = "",
        passages: Sequence[Passage] = (),
    ) -> None:
        """Keep one."""
        now = datetime.now(timezone.utc).isoformat()
        told = json.dumps([(one.title, one.text, one.quote) for one in passages])
        row = [now, question, answer, rating, note, told]
        with self._database.transaction():
            self._database.run(
                "INSERT INTO feedback (at, question, answer, rating, note, sources) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )

    def all(self) -> list[Feedback]:
        """Everything, as it came."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM feedback ORDER BY number")  # noqa: S608
        return [
            Feedback(number, at, question, answer, rating, note, _passages(told))
            for number, at, question, answer, rating, note, told in rows
        ]

    def question_set(self) -> str:
        """The answers that were found good, as SQuAD JSON that `read_question_set` reads.

        What an answer cites is relevant and, word for word, right; an answer that cites nothing is
        right as it stands. One without passages says that no document answers. A bad answer tells
        no right one: its questions are left out.
        """
        documents: dict[str, Document] = {}
        questions = []
        for one in self.all():
            if one.rating == "up" and (asked := normalize("NFC", one.question).strip()):
                texts = [passage for passage in map(_nfc, one.passages) if passage.text.strip()]
                for passage in texts:
                    documents.setdefault(_id(passage), _document(passage))
                questions.append(_question(f"feedback-{one.number}", asked, one.answer, texts))
        if not documents:  # questions stand under documents
            questions = []
        found = QuestionSet("feedback", tuple(documents.values()), tuple(questions), "")
        return squad_json(found)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _passages(told: str) -> tuple[Passage, ...]:
    return tuple(Passage(*one) for one in json.loads(told))


def _question(id_: str, text: str, answer: str, passages: Sequence[Passage]) -> Question:
    cited = [passage for passage in passages if passage.quote and passage.quote in passage.text]
    relevant: Mapping[str, Any] = {_id(passage): 1 for passage in cited or passages}
    answers = [Answer(one.quote, one.text.index(one.quote)) for one in cited if one.quote]
    if not answers and relevant and answer.strip():
        answers = [Answer(normalize("NFC", answer).strip())]
    return Question(id_, text, relevant, tuple(answers))


def _nfc(passage: Passage) -> Passage:
    quote = None if passage.quote is None else normalize("NFC", passage.quote)
    return Passage(normalize("NFC", passage.title), normalize("NFC", passage.text), quote)


def _document(passage: Passage) -> Document:
    metadata = {"title": passage.title} if passage.title else {}
    return Document(passage.text, id=_id(passage), metadata=metadata)


def _id(passage: Passage) -> str:
    """Of its text alone: a set holds no text twice, and what clients call it proves nothing."""
    return hashlib.sha256(passage.text.encode()).hexdigest()[:32]
