"""Documents in, the nearest documents out: LangChain's VectorStore over the chunks in a database.

Means what `FaissVectorStore` means: the same scores, filters, ids and errors.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray

from kogemma_rag.database import StorageError
from kogemma_rag.embedder import Embedder
from kogemma_rag.embeddings import MultilingualEmbeddings
from kogemma_rag.engines.chunk_table import Chunk, ChunkTable
from kogemma_rag.engines.words import words_of
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.similarity import cosines, diverse, relevance, unit_vectors
from kogemma_rag.storage import EmbedderMismatchError, with_id

# An engine's cosines differ in the last bits from those by which results are put in order.
_MORE = 16


@dataclass(frozen=True)
class _Nearest:
    """Documents with their cosines, best first, and their vectors."""

    documents: list[Document]
    cosines: NDArray[np.float32]
    vectors: NDArray[np.float32]


class EngineVectorStore(VectorStore):
    """Nearest-neighbour search by cosine in a database.

    Exact, unless the database was told to `build_vector_index`. Scores are (1 + cosine) / 2: 1 is
    the same direction, 0.5 nothing in common, 0 the opposite. Documents with the id of one that is
    there replace it. Threads may share one object.

    Args:
        embedding: Any LangChain embeddings; vectors are brought to unit length here.
        table: Of the database.

    Raises:
        EmbedderMismatchError: If the collection was made with another embedding model.
    """

    def __init__(self, embedding: Embeddings, table: ChunkTable) -> None:
        self.embedder = Embedder(embedding)
        self.table = table
        self._check_embedder(None)

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model."""
        return self.embedder.embeddings

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        table: ChunkTable | None = None,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> "EngineVectorStore":
        """A store that holds the texts, and what the table held. See `add_texts`."""
        if table is None:
            raise ValueError("tell the table of a database: from_texts(…, table=…)")
        store = cls(embedding, table)
        store.add_texts(texts, metadatas, ids=ids, **kwargs)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts. See `add_documents`.

        Raises:
            ValueError: If the numbers of texts, metadatas and ids differ.
        """
        contents = list(texts)
        if metadatas is not None and len(metadatas) != len(contents):
            raise ValueError(f"{len(contents)} texts but {len(metadatas)} metadatas")
        documents = [
            Document(page_content=content, metadata=metadata)
            for content, metadata in zip(contents, metadatas or [{} for _ in contents], strict=True)
        ]
        return self.add_documents(documents, ids=ids, **kwargs)

    def add_documents(
        self,
        documents: Sequence[Document],
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add documents as they are, each in the place of one with the same id.

        Args:
            documents: A document without an id gets a hash of its text and metadata.
            ids: Instead of the documents' own; None among them asks for the hash.
            **kwargs: None are known; any is a TypeError.

        Returns:
            The ids, in the order of the documents.

        Raises:
            ValueError: If a document cannot be stored, or the vectors cannot be used.
            EmbedderMismatchError: If the vectors have another dimension than those here.
            StorageError: If the database cannot be written to.
        """
        _refuse(kwargs)
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(documents)} documents but {len(ids)} ids")
        given = [document.id for document in documents] if ids is None else ids
        identified = [
            with_id(document, id_) for document, id_ in zip(documents, given, strict=True)
        ]
        latest = list({str(document.id): document for document in identified}.values())
        if latest:
            chunks = self.chunks(latest)
            with self.table.writing("adding documents"):
                self.bind(chunks[0].vector.shape[0])
                self.table.put(chunks)
        return [str(document.id) for document in identified]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, all of them when ids is None; unknown ids are no error."""
        _refuse(kwargs)
        self.table.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of ids, in their order, each once; unknown ids are left out."""
        wanted = list(dict.fromkeys(ids))
        with self.table.reading() as view:
            found = view.fetch(wanted)
        return [found[id_][0] for id_ in wanted if id_ in found]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The k documents nearest to a query, best first."""
        found = self.similarity_search_with_score(query, k, filter=filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The k documents nearest to a query, best first, ties by id, with scores in [0, 1]."""
        _refuse(kwargs)
        found = self._nearest(self.query_vector(query), k, filter)
        return [
            (document, relevance(cosine))
            for document, cosine in zip(found.documents, found.cosines, strict=True)
        ]

    def similarity_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        *,
        filter: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The k documents nearest to a vector of any length, best first."""
        _refuse(kwargs)
        return self._nearest(self._checked(unit_vectors([embedding], 1)[0]), k, filter).documents

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """See `FaissVectorStore.max_marginal_relevance_search`."""
        return self.max_marginal_relevance_search_by_vector(
            self.query_vector(query).tolist(), k, fetch_k, lambda_mult, filter=filter, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector of any length."""
        _refuse(kwargs)
        query = self._checked(unit_vectors([embedding], 1)[0])
        _check_count(k)
        found = self._nearest(query, max(k, fetch_k), filter)
        chosen = diverse(found.cosines, found.vectors, k, lambda_mult)
        return [found.documents[row] for row in chosen]

    def chunks(self, documents: Sequence[Document]) -> list[Chunk]:
        """Documents with their vectors and words; nothing is written."""
        vectors = self.embedder.passages(documents)
        analyzed = LexicalIndex.prepare([indexed_text(document) for document in documents])
        return [
            Chunk(document, vector, words_of(text))
            for document, vector, text in zip(documents, vectors, analyzed, strict=True)
        ]

    def query_vector(self, query: str) -> NDArray[np.float32]:
        """The vector of a query, shape (dim,), unit length.

        Raises:
            ValueError: If the vector cannot be used.
            EmbedderMismatchError: If it has another dimension than those here.
        """
        return self._checked(self.embedder.query(query))

    def bind(self, dimension: int) -> None:
        """Record what makes the vectors, or check it when that is done. Inside `writing`.

        Raises:
            EmbedderMismatchError: If another fingerprint or dimension is recorded.
        """
        if not self._check_embedder(dimension):
            self.table.bind(self.embedder.fingerprint, dimension)

    def _nearest(
        self, query: NDArray[np.float32], k: int, filter: Mapping[str, Any] | None
    ) -> _Nearest:
        _check_count(k)
        with self.table.reading() as view:
            found = view.fetch(view.nearest(query, k + _MORE, filter))
        vectors = _stacked([vector for _, vector in found.values()])
        to_query = cosines(query, vectors)
        ids = list(found)
        order = sorted(range(len(ids)), key=lambda row: (-to_query[row], ids[row]))[:k]
        return _Nearest([found[ids[row]][0] for row in order], to_query[order], vectors[order])

    def _checked(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        self._check_embedder(len(vector))
        return vector

    def _check_embedder(self, dimension: int | None) -> bool:
        """Whether an embedding model is recorded; it is ours."""
        facts, fingerprint = self.table.facts(), self.embedder.fingerprint
        if not facts:
            return False
        if facts["embedder"] != fingerprint:
            raise EmbedderMismatchError(
                f"{self.table.address} was made with the embedding model {facts['embedder']}, "
                f"not with {fingerprint}; open it with the model it was made with, or index the "
                "documents again into another collection"
            )
        if dimension is not None and facts["dimension"] != dimension:
            raise EmbedderMismatchError(
                f"{self.table.address} holds vectors of dimension {facts['dimension']}, the "
                f"embedding model gives {dimension}; open it with the model it was made with"
            )
        return True

    def _select_relevance_score_fn(self) -> Any:
        return lambda score: score


def _stacked(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def _check_count(k: int) -> None:
    if k <= 0:
        raise ValueError(f"k is {k}; it must be 1 or more")


def _refuse(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"unknown arguments: {', '.join(sorted(kwargs))}")


def recorded_embeddings(table: ChunkTable) -> Embeddings:
    """The model that a collection was made with; `MultilingualEmbeddings()` for a new one.

    Raises:
        StorageError: If it cannot be made from its name.
    """
    recorded = table.facts().get("embedder")
    if recorded is None:
        return MultilingualEmbeddings()
    if "name" not in recorded:
        raise StorageError(
            f"{table.address} was made with the embedding model {recorded}, which cannot be made "
            "from its name; give it: open_engine(url, embeddings)"
        )
    return MultilingualEmbeddings(recorded["name"])
