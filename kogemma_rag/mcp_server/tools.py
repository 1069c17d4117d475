"""Questions of an assistant in, passages and answers in the shapes that it expects out.

Knows no transport; every text of a document comes quoted and bounded.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from unicodedata import normalize

from langchain_core.documents import Document
from langchain_core.exceptions import ModelError
from mcp.server.fastmcp.exceptions import ToolError
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from kogemma_rag.citations import Citation
from kogemma_rag.error_sentences import explain
from kogemma_rag.mcp_server.quoting import place, quoted, title
from kogemma_rag.neighbours import joined
from kogemma_rag.storage_errors import StorageError
from kogemma_rag.web.answering import Answering, Finished, Found
from kogemma_rag.web.document_states import file_id
from kogemma_rag.web.indexed_files import library_folder, open_files
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.sources import place_url
from kogemma_rag.web.turns import BusyError

if TYPE_CHECKING:
    from kogemma_rag.engines import EngineIndex
    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.web.document_library import DocumentLibrary

_MOST_RESULTS = 10
_MOST_QUESTION = 2000  # characters, as the others below
_MOST_PASSAGE = 2000
_MOST_TEXT = 20_000
_EMPTY = "내용이 비어 있습니다. 찾거나 물을 말을 적으세요."
_TOO_LONG = f"너무 깁니다. {_MOST_QUESTION:,}자 안으로 줄이세요."
_UNKNOWN = "그런 문단이 없습니다. 문서가 바뀌었을 수 있으니 search로 다시 찾으세요."
_BUSY = "지금은 기다리는 질문이 많습니다. {}초 뒤에 다시 하세요."
_TOO_LATE = "제때 답하지 못해, 찾은 문단을 대신 돌려줍니다."
_INSTEAD = "{} 찾은 문단을 대신 돌려줍니다."

Query = Annotated[str, Field(description=f"찾을 말이나 질문, {_MOST_QUESTION}자까지")]
Question = Annotated[str, Field(description=f"문서에 물을 질문 하나, {_MOST_QUESTION}자까지")]
PassageId = Annotated[str, Field(description="search나 ask의 결과에 있는 id")]


class Result(TypedDict):
    """A passage; `url` opens it in the page of `kogemma-rag serve`."""

    id: str
    title: str
    url: str
    text: str


class Results(TypedDict):
    """Passages, best first."""

    results: list[Result]


class Fetched(Result):
    """A passage with the text around it; `metadata` tells where it stands."""

    metadata: dict[str, Any]


class CitedResult(Result):
    """A passage that an answer may name as [n]; `quote` is the sentence that it rests on."""

    n: int
    quote: str


class Answer(TypedDict):
    """An answer and the passages that it names; with `note`, the passages found in its place."""

    answer: str
    answered: bool
    note: str
    sources: list[CitedResult]


class Tools:
    """What assistants may do.

    Args:
        index: Where passages are found.
        answers: A chat model over it.
        options: How many passages to find, and where the server of the page keeps uploads.
        page_url: Where that page is.
    """

    def __init__(
        self,
        index: "DocumentIndex | EngineIndex",
        answers: Answering,
        options: ServeOptions,
        page_url: str,
    ) -> None:
        self._index = index
        self._answers = answers
        self._k = min(options.k, _MOST_RESULTS)
        self._page_url = page_url.rstrip("/")
        self._files = open_files(index)
        self._library = _library(index, options)

    async def search(self, query: Query) -> Results:
        """The passages nearest to a query.

        Raises:
            ToolError: If it is no query, or cannot be answered now.
        """
        wanted = _checked(query)
        with _errors_told(), self._answers.turns.place():
            hits = await self._answers.search(wanted, self._k)
            documents = [document for document, _ in hits]
            return {"results": await run_in_threadpool(self._results, documents)}

    async def fetch(self, id: PassageId) -> Fetched:
        """A passage with the text around it.

        Raises:
            ToolError: If there is none of that id.
        """
        with _errors_told():
            return await run_in_threadpool(self._fetched, id.strip())

    async def ask(self, question: Question) -> Answer:
        """An answer with its sources; passages, where there is none in time.

        Raises:
            ToolError: If it is no question, or the index cannot be searched.
        """
        asked = _checked(question)
        found, note = Found([], {}), _TOO_LATE
        with _errors_told(), self._answers.turns.place():
            try:
                async with aclosing(self._answers.stream(asked)) as parts:
                    async for part in parts:
                        if isinstance(part, Found):
                            found = part
                        elif isinstance(part, Finished):
                            return await run_in_threadpool(self._answer, found, part)
            except TimeoutError:
                pass
            except ModelError as error:
                note = _INSTEAD.format(explain(error))
            documents = found.documents
            if not documents:  # its turn did not come
                hits = await run_in_threadpool(self._index.search, asked, k=self._k)
                documents = [document for document, _ in hits]
            sources = await run_in_threadpool(self._sources, documents)
            return {"answer": "", "answered": False, "note": note, "sources": sources}

    def _answer(self, found: Found, finished: Finished) -> Answer:
        named = {citation.number for citation in finished.citations}
        sources = self._sources(found.documents, finished.citations)
        return {
            "answer": quoted(finished.answer, _MOST_TEXT),
            "answered": finished.answered,
            "note": "",
            "sources": [source for source in sources if source["n"] in named],
        }

    def _sources(
        self, documents: Sequence[Document], citations: Sequence[Citation] = ()
    ) -> list[CitedResult]:
        quotes: dict[int, str] = {}
        for citation in citations:
            quotes.setdefault(citation.number, citation.quote)
        return [
            {**result, "n": n, "quote": quoted(quotes.get(n, ""), _MOST_PASSAGE)}
            for n, result in enumerate(self._results(documents[:_MOST_RESULTS]), start=1)
        ]

    def _results(
        self, documents: Sequence[Document], most_characters: int = _MOST_PASSAGE
    ) -> list[Result]:
        document_ids = self._document_ids([str(document.id) for document in documents])
        return [
            {
                "id": str(document.id),
                "title": title(document.metadata),
                "url": self._url(document_ids.get(str(document.id), ""), str(document.id)),
                "text": quoted(document.page_content, most_characters),
            }
            for document in documents
        ]

    def _fetched(self, chunk_id: str) -> Fetched:
        found = self._files.chunks([chunk_id])
        if not found:
            raise ToolError(_UNKNOWN)
        path = self._files.paths([chunk_id]).get(chunk_id)
        siblings = [] if path is None else self._files.documents(path, chunk_id)
        passage = joined(found[0], siblings, "section", most_characters=_MOST_TEXT)
        [result] = self._results([passage.document], _MOST_TEXT)
        return {**result, "metadata": place(passage.document.metadata)}

    def _document_ids(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        if self._library is not None:
            return self._library.document_ids(chunk_ids)
        paths = self._files.paths(chunk_ids)
        return {chunk: file_id(path) for chunk, path in paths.items() if path is not None}

    def _url(self, document_id: str, chunk_id: str) -> str:
        return self._page_url + place_url(document_id, chunk_id, None, None)


def _library(
    index: "DocumentIndex | EngineIndex", options: ServeOptions
) -> "DocumentLibrary | None":
    """What knows of uploads; None where there is no folder of them, or it can only be read."""
    from kogemma_rag.web.document_library import DocumentLibrary

    if options.data is None and library_folder(index) is None:
        return None
    try:
        return DocumentLibrary(index, options)
    except (OSError, StorageError):
        return None


@contextmanager
def _errors_told() -> Iterator[None]:
    """Errors that are foreseen become sentences without their own texts."""
    try:
        yield
    except BusyError as error:
        raise ToolError(_BUSY.format(error.retry_after)) from error
    except (StorageError, OSError) as error:
        raise ToolError(explain(error)) from error


def _checked(text: str) -> str:
    text = normalize("NFC", text).strip()
    if not text:
        raise ToolError(_EMPTY)
    if len(text) > _MOST_QUESTION:
        raise ToolError(_TOO_LONG)
    return text
