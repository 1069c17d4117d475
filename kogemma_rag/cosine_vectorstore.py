"""LangChain's VectorStore, once, over whatever keeps unit vectors and finds the nearest of them.

Knows neither where vectors are kept nor how they are found.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray

from kogemma_rag.document_identity import with_id
from kogemma_rag.embedder import Embedder
from kogemma_rag.similarity import diverse, relevance, unit_vectors


@dataclass(frozen=True)
class Batch:
    """Documents ready to be written."""

    ids: list[str]
    """Of the documents as they were given."""
    documents: list[Document]
    """No two with one id."""
    vectors: NDArray[np.float32]
    """Shape (len(documents), dim), unit length."""


@dataclass(frozen=True)
class Nearest:
    """Documents nearest to a vector, best first, ties in the order of the ids."""

    documents: list[Document]
    cosines: NDArray[np.float32]
    vectors: NDArray[np.float32] | None = None
    """Shape (len(documents), dim), when they were asked for."""


class CosineVectorStore(VectorStore):
    """Scores are (1 + cosine) / 2: 1 is the same direction, 0.5 nothing in common, 0 the opposite.

    Ties are in the order of the ids. Documents with the id of one that is there replace it. Filters
    are those of `kogemma_rag.filters.compile_filter`; k results come whenever k match. Threads may
    share one object.

    Args:
        embedding: Any LangChain embeddings; vectors are brought to unit length here.
    """

    def __init__(self, embedding: Embeddings) -> None:
        self.embedder = Embedder(embedding)

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model."""
        return self.embedder.embeddings

    @abstractmethod
    def _write(self, batch: Batch) -> None:
        """Make documents durable together, each in the place of one with its id."""

    @abstractmethod
    def _nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        filter: Mapping[str, Any] | None,
        *,
        with_vectors: bool = False,
    ) -> Nearest:
        """The k documents nearest to a unit vector, k at least 1."""

    @abstractmethod
    def check_dimension(self, dimension: int) -> None:
        """Refuse vectors that cannot be compared with those here.

        Raises:
            EmbedderMismatchError: If those are of another model or dimension.
        """

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
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add documents as they are, each in the place of one with the same id.

        Everything is looked at and embedded before anything changes; then all are on disk, or,
        after an error, none. Of several with one id the last counts.

        Args:
            documents: A document without an id gets a hash of its text and metadata.
            ids: Instead of the documents' own; None among them asks for the hash.
            batch_size: How many texts are given to the embedding model at a time; all by default.
            **kwargs: None are known; any is a TypeError.

        Returns:
            The ids, in the order of the documents.

        Raises:
            ValueError: If a document cannot be stored, or the vectors cannot be used.
            EmbedderMismatchError: If the vectors have another dimension than those here.
            StorageError: If they cannot be written.
        """
        refuse_unknown(kwargs)
        batch = self.prepare(documents, ids=ids, batch_size=batch_size)
        if batch.documents:
            self._write(batch)
        return batch.ids

    def prepare(
        self,
        documents: Sequence[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> Batch:
        """What `add_documents` does before anything changes; its errors too."""
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(documents)} documents but {len(ids)} ids")
        given = [document.id for document in documents] if ids is None else ids
        identified = [
            with_id(document, id_) for document, id_ in zip(documents, given, strict=True)
        ]
        latest = list({str(document.id): document for document in identified}.values())
        vectors = self.embedder.passages(latest, batch_size=batch_size)
        if latest:
            self.check_dimension(vectors.shape[1])
        return Batch([str(document.id) for document in identified], latest, vectors)

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The k documents nearest to a query, best first."""
        found = self.similarity_search_with_score(query, k, filter=filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The k documents nearest to a query, best first, with scores in [0, 1]."""
        refuse_unknown(kwargs)
        check_count(k)
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
        refuse_unknown(kwargs)
        check_count(k)
        return self._nearest(self._unit_vector(embedding), k, filter).documents

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
        """Of the fetch_k nearest documents, k that are unlike each other, in the order chosen.

        Each next one has the largest `lambda_mult` * cosine to the query less
        (1 - `lambda_mult`) * its largest cosine to one already chosen.
        """
        return self.max_marginal_relevance_search_by_vector(
            self.query_vector(query), k, fetch_k, lambda_mult, filter=filter, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float] | NDArray[np.float32],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector of any length."""
        found = self.max_marginal_relevance_search_with_score_by_vector(
            embedding, k, fetch_k, lambda_mult, filter=filter, **kwargs
        )
        return [document for document, _ in found]

    def max_marginal_relevance_search_with_score_by_vector(
        self,
        embedding: Sequence[float] | NDArray[np.float32],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """As `max_marginal_relevance_search_by_vector`, with each document's score in [0, 1]."""
        refuse_unknown(kwargs)
        check_count(k)
        vector = self._unit_vector(embedding)
        found = self._nearest(vector, max(k, fetch_k), filter, with_vectors=True)
        if found.vectors is None:
            raise AssertionError("vectors were asked for")
        return [
            (found.documents[row], relevance(found.cosines[row]))
            for row in diverse(found.cosines, found.vectors, k, lambda_mult)
        ]

    def query_vector(self, query: str) -> NDArray[np.float32]:
        """The vector of a query, shape (dim,), unit length.

        Raises:
            ValueError: If the vector cannot be used.
            EmbedderMismatchError: If it has another dimension than those here.
        """
        vector = self.embedder.query(query)
        self.check_dimension(len(vector))
        return vector

    def _unit_vector(self, embedding: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = unit_vectors([embedding], 1)[0]
        self.check_dimension(len(vector))
        return vector

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return self.similarity_search_with_score(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await self.asimilarity_search_with_score(query, k, **kwargs)


def check_count(k: int) -> None:
    """Refuse a number of results that is not positive.

    Raises:
        ValueError: If it is not.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more")


def refuse_unknown(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that are not known.

    Raises:
        TypeError: If there is any.
    """
    if arguments:
        raise TypeError(f"unknown arguments: {', '.join(sorted(arguments))}")
