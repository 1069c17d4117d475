"""Passages of any retriever in, the documents of a question set that they are out: one rule."""

from collections.abc import Collection

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig


def document_of(passage: Document, known: Collection[str]) -> str:
    """Id of the document that a passage is, or is a chunk of.

    The first of metadata "document_id", the passage's own id and metadata "source" that is known;
    where none is, the first that there is, "" without any.

    Args:
        passage: Of any retriever.
        known: Ids of the documents of the question set.
    """
    metadata = passage.metadata
    names = [metadata.get("document_id"), passage.id, metadata.get("source")]
    told = [str(name) for name in names if name is not None]
    return next((name for name in told if name in known), told[0] if told else "")


class EvaluatedRetriever(BaseRetriever):
    """What a retriever finds, each passage with its document's id in metadata "document_id".

    Args:
        retriever: Any LangChain retriever.
        known: Ids of the documents of the question set.
        k: At most so many; None for as many as the retriever finds by itself.
        without: Ids of documents that are left out. A retriever that has a `k` is asked for more
            until enough others are found; where it has none, fewer may be left.
    """

    retriever: BaseRetriever
    known: frozenset[str]
    k: int | None = None
    without: frozenset[str] = frozenset()

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        asked = _own_k(self.retriever)
        wanted = self.k or asked
        found = self.retriever.invoke(query, config=config)
        others = self._others(found)
        # A retriever that found less than it was asked for has no more.
        while asked and wanted and len(others) < wanted and len(found) >= asked:
            asked += max(asked, len(self.without))
            found = self.retriever.invoke(query, config=config, k=asked)
            others = self._others(found)
        return others[:wanted]

    def _others(self, found: list[Document]) -> list[Document]:
        named = [(passage, document_of(passage, self.known)) for passage in found]
        return [
            passage.model_copy(update={"metadata": {**passage.metadata, "document_id": id_}})
            for passage, id_ in named
            if id_ not in self.without
        ]


def _own_k(retriever: BaseRetriever) -> int | None:
    """How many documents a retriever finds, where it tells and can be asked for more."""
    k = getattr(retriever, "k", None) or getattr(retriever, "search_kwargs", {}).get("k")
    return k if isinstance(k, int) else None
