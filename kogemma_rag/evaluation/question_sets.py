"""Files of questions in, documents and questions with their answers out. Knows no retriever."""

from collections.abc import Mapping
from dataclasses import dataclass

from langchain_core.documents import Document


@dataclass(frozen=True)
class Answer:
    """A right answer, in NFC.

    Attributes:
        text: As it stands in the document, where `start` tells where.
        start: Offset in the document's text, in characters; None where the data does not tell.
    """

    text: str
    start: int | None = None


@dataclass(frozen=True)
class Question:
    """A question, in NFC.

    Attributes:
        relevant: Grade by the id of a document of the set, higher is better, above 0; empty where
            no document answers it.
        answers: All that are right; empty where the data has none.
    """

    id: str
    text: str
    relevant: Mapping[str, int]
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class QuestionSet:
    """Documents and questions about them.

    Attributes:
        name: Of the file or folder.
        documents: Each with an id of its own and its title, if any, in `metadata["title"]`.
        fingerprint: SHA-256 of the files, in hexadecimal: two runs with the same one can be
            compared.
    """

    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    fingerprint: str
