"""An index of one's own in, a retriever whose passages are documents of a question set out."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from unicodedata import normalize

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from kogemma_rag.evaluation.question_sets import QuestionSet


class Searchable(Protocol):
    """A `DocumentIndex` or an index in an engine."""

    def search(
        self, query: str, k: int = 4, filter: Mapping[str, Any] | None = None
    ) -> list[tuple[Document, float]]:
        """The k best passages with their scores, best first."""
        ...


class IndexedDocuments(BaseRetriever):
    """Finds passages of an index and tells which document of a question set each of them is.

    A passage is the document of the same text; else one whose text it holds, or that holds its
    text; else one whose id is the passage's source or title, as where the set only names documents.
    Among several it is the one whose title is the passage's source or title. The document's id
    stands in `metadata["document_id"]`, the passage's offset in it in "start_index", the score in
    "relevance_score". A passage that is none of the set's keeps a name of its own, and is wrong.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    index: Any
    """A `Searchable`."""
    documents: Sequence[Document]
    """Those of the question set, each with an id."""
    k: int = Field(default=4, gt=0)
    _known: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, index: Searchable, question_set: QuestionSet, *, k: int) -> "IndexedDocuments":
        """The retriever of an index for a question set."""
        return cls(index=index, documents=question_set.documents, k=k)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
    ) -> list[Document]:
        found = self.index.search(query, k=k or self.k)
        return [
            passage.model_copy(
                update={
                    "metadata": {
                        **passage.metadata,
                        **self._place(passage),
                        "relevance_score": score,
                    }
                }
            )
            for passage, score in found
        ]

    def _place(self, passage: Document) -> dict[str, Any]:
        """Which document a passage is, and where in it the passage begins."""
        id_ = str(passage.id)
        if id_ not in self._known:
            self._known[id_] = self._matched(passage) or {
                "document_id": f"{passage.metadata.get('source')}#{id_}"
            }
        return self._known[id_]

    def _matched(self, passage: Document) -> dict[str, Any] | None:
        text = normalize("NFC", passage.page_content)
        told = (passage.metadata.get(key) for key in ("source", "title"))
        names = {normalize("NFC", str(name)) for name in told if name}

        def likeness(document: Document) -> tuple[bool, bool, bool, bool]:
            other = document.page_content
            return (
                text == other,
                bool(text and other) and (text in other or other in text),
                document.id in names,
                document.metadata.get("title") in names,
            )

        best = max(self.documents, key=likeness, default=None)
        if best is None:
            return None
        _, is_part, is_named, _ = likeness(best)
        if not is_part:
            return {"document_id": str(best.id)} if is_named else None
        start = best.page_content.find(text)
        # A passage that holds the document begins before it.
        start = start if start >= 0 else -text.find(best.page_content)
        return {"document_id": str(best.id), "start_index": start}
