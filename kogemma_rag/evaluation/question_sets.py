"""Files of questions in, documents and questions with their answers out. Knows no retriever."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from langchain_core.documents import Document

from kogemma_rag.evaluation.errors import EvaluationDataError


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

    def described(self, ids: Collection[str]) -> dict[str, dict[str, str]]:
        """Title and text by id, of some of its documents, as a run holds them."""
        return {
            str(document.id): {
                "title": document.metadata.get("title", ""),
                "text": document.page_content,
            }
            for document in self.documents
            if document.id in ids
        }


def read_question_set(path: str | Path, *, split: str | None = None) -> QuestionSet:
    """The question set of a file or folder, told by its content.

    JSON is SQuAD or KorQuAD (see `squad`), a folder is BEIR (see `beir`), other text is a table
    (see `question_tables`), in UTF-8 or CP949.

    Args:
        path: A file or folder.
        split: Of a BEIR folder; None takes "test", or the only one there is.

    Raises:
        EvaluationDataError: If it is empty, in no such form, or contradicts itself.
        OSError: If it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        from kogemma_rag.evaluation import beir

        files = (path / beir.CORPUS, path / beir.QUERIES, beir.qrels_file(path, split))
        documents, questions = beir.read_beir(*((file, _text(file, digest)) for file in files))
    else:
        text = _text(path, digest)
        if text.lstrip().startswith(("{", "[")):
            from kogemma_rag.evaluation.squad import read_squad as read
        else:
            from kogemma_rag.evaluation.question_tables import read_table as read
        documents, questions = read(text, str(path))
    if not questions:
        raise EvaluationDataError(f"{path}: 질문이 하나도 없습니다. 질문을 넣으세요")
    return QuestionSet(path.name, tuple(documents), tuple(questions), digest.hexdigest())


def write_question_set(question_set: QuestionSet, path: str | Path) -> None:
    """Write a question set as SQuAD JSON, which `read_question_set` reads back alike.

    Raises:
        FileExistsError: If there is a file at the path already; it is left as it is.
    """
    from kogemma_rag.evaluation.squad import squad_json

    text = squad_json(question_set)
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except FileExistsError as error:
        raise FileExistsError(
            f"{path}: 이미 있는 파일입니다. 다른 이름을 대거나 그 파일을 지우세요"
        ) from error


def _text(file: Path, digest: "hashlib._Hash") -> str:
    """The text of a file, whose bytes go into a digest."""
    from kogemma_rag.document_loaders.text import decode_text

    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise EvaluationDataError(f"{file}: 파일이 없습니다. 이름과 자리를 확인하세요") from error
    digest.update(hashlib.sha256(content).digest())
    try:
        text = decode_text(content)
    except UnicodeError as error:
        raise EvaluationDataError(
            f"{file}: 글자 인코딩을 알 수 없습니다. UTF-8로 다시 저장하세요"
        ) from error
    if not text.strip():
        raise EvaluationDataError(f"{file}: 빈 파일입니다. 질문을 넣으세요")
    return text
