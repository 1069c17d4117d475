"""Documents in, the nearest documents out: LangChain's VectorStore over storage and FAISS.

Storage is the truth; the FAISS index follows it. Knows no lexical search and no files.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray

from kogemma_rag.database import StorageLockedError
from kogemma_rag.filters import nfc
from kogemma_rag.storage import Storage, document_id, encoded_metadata, indexed_text
from kogemma_rag.vector_index import VectorIndex

STORAGE_FILE = "index.sqlite3"
VECTORS_FILE = "vectors.faiss"

# More than k are fetched, so that those that score the same as the last can be put in order.
_SPARE = 16
# FAISS adds in float32; its products differ from the true cosines by less than this.
_TOLERANCE = 1e-5
# What other embedding classes call the model and what else changes their vectors.
_SETTINGS = (
    *("model", "model_name", "model_id", "repo_id", "deployment"),
    *("dimension", "dimensions", "size", "output_dimensionality"),
)


class FaissVectorStore(VectorStore):
    """Exact nearest-neighbour search by cosine, in memory or in a folder.

    Scores are (1 + cosine) / 2: 1 is the same direction, 0.5 nothing in common, 0 the opposite;
    ties are in the order of the ids. Documents with the id of one that is there replace it.
    Filters are those of `kogemma_rag.filters.compile_filter`; k results come whenever k match.

    Args:
        embedding: Any LangChain embeddings; vectors are brought to unit length here.
        folder: Where to keep the index, made when absent; None keeps all in memory.

    Raises:
        ImportError: If FAISS is not installed.
        EmbedderMismatchError: If the folder was made with another embedding model.
        StorageError: If the folder cannot be read.
    """

    def __init__(self, embedding: Embeddings, folder: str | Path | None = None) -> None:
        self._embedding = embedding
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.storage = Storage(self.folder and self.folder / STORAGE_FILE)
        try:
            self.storage.check_embedder(fingerprint_of(embedding))
            self.vector_index = VectorIndex(self.folder and self.folder / VECTORS_FILE)
            self.catch_up()
        except BaseException:
            self.storage.close()
            raise

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model."""
        return self._embedding

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        folder: str | Path | None = None,
        **kwargs: Any,
    ) -> "FaissVectorStore":
        """A store that holds the texts. See `add_texts`; `folder` as in the constructor."""
        store = cls(embedding, folder)
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
        """
        _refuse(kwargs)
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(documents)} documents but {len(ids)} ids")
        given = [document.id for document in documents] if ids is None else ids
        identified = [
            with_id(document, id_) for document, id_ in zip(documents, given, strict=True)
        ]
        latest = {str(document.id): document for document in identified}
        if latest:
            unique, size = list(latest.values()), batch_size or len(latest)
            starts = range(0, len(unique), size)
            vectors = np.concatenate([self.embed(unique[at : at + size]) for at in starts])
            with self.storage.transaction():
                self.storage.bind_embedder(fingerprint_of(self._embedding), vectors.shape[1])
                self.storage.add(unique, vectors)
            self.catch_up()
        return [str(document.id) for document in identified]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, all of them when ids is None; unknown ids are no error."""
        _refuse(kwargs)
        with self.storage.transaction():
            self.storage.delete(ids)
        self.catch_up()
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of ids, in their order, each once; unknown ids are left out."""
        return self.storage.documents_by_id(ids)

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
        _refuse(kwargs)
        return self._nearest(self.embed_query_vector(query), k, filter)

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
        found = self._nearest(self._unit_row(embedding), k, filter)
        return [document for document, _ in found]

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
            self.embed_query_vector(query), k, fetch_k, lambda_mult, filter=filter, **kwargs
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
        _refuse(kwargs)
        query = self._unit_row(embedding)
        _check_count(k)
        with self.storage.lock:
            keys, cosines = self.search_keys(
                query, max(k, fetch_k), keys=self.matching_keys(filter)
            )
            chosen = _diverse(cosines, self.storage.vectors(keys.tolist())[1], k, lambda_mult)
            documents = self.documents_by_key(keys[chosen].tolist())
        return [
            (document, _score(cosine))
            for document, cosine in zip(documents, cosines[chosen], strict=True)
        ]

    def search_keys(
        self, query_vector: NDArray[np.float32], k: int, *, keys: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The keys of the k chunks nearest to a query vector.

        Args:
            query_vector: Shape (dim,), unit length.
            k: At most so many.
            keys: Only these, when given.

        Returns:
            Keys and cosines, best first, ties in the order of the documents' ids.

        Raises:
            ValueError: If k is not positive.
        """
        _check_count(k)
        fetch = k + _SPARE
        with self.storage.lock:
            self.catch_up()
            while True:
                found, products = self.vector_index.search(query_vector, fetch, keys=keys)
                ids, vectors = self.storage.vectors(found.tolist())
                cosines = _cosines(query_vector, vectors)
                order = sorted(range(len(found)), key=lambda i: (-cosines[i], ids[i]))[:k]
                # Whatever was not fetched must score below the last of the k, not the same.
                if len(found) < fetch or products[-1] < cosines[order[-1]] - _TOLERANCE:
                    return found[order], cosines[order]
                fetch *= 4

    def cosines(
        self, query_vector: NDArray[np.float32], keys: Sequence[int]
    ) -> NDArray[np.float32]:
        """Cosines of a query vector with the chunks of keys, in their order.

        Raises:
            KeyError: If there is no chunk of that key (any more).
        """
        return _cosines(query_vector, self.storage.vectors(keys)[1])

    def documents_by_key(self, keys: Sequence[int]) -> list[Document]:
        """The documents of keys, in their order, with their ids.

        Raises:
            KeyError: If there is no chunk of that key (any more).
        """
        return self.storage.documents(keys)

    def matching_keys(self, filter: Mapping[str, Any] | None) -> NDArray[np.int64] | None:
        """Keys, ascending, of the chunks a filter holds for; None when there is no filter.

        Raises:
            FilterError: If the filter is not understood.
        """
        return self.storage.matching_keys(filter) if filter else None

    def embed_query_vector(self, query: str) -> NDArray[np.float32]:
        """The vector of a query, shape (dim,), unit length.

        Raises:
            ValueError: If the vector cannot be used.
            EmbedderMismatchError: If it has another dimension than those here.
        """
        text = nfc(query)
        if hasattr(self._embedding, "embed_query_array"):
            return self._unit_row(self._embedding.embed_query_array(text))
        return self._unit_row(self._embedding.embed_query(text))

    def embed(self, documents: Sequence[Document]) -> NDArray[np.float32]:
        """The vectors of documents, shape (len(documents), dim), unit length.

        Raises:
            ValueError: If the vectors cannot be used.
            EmbedderMismatchError: If they have another dimension than those here.
        """
        texts = [indexed_text(document) for document in documents]
        if not texts:
            return np.empty((0, self.storage.dimension or 0), np.float32)
        if hasattr(self._embedding, "embed_documents_array"):
            return self._unit(self._embedding.embed_documents_array(texts), len(texts))
        return self._unit(self._embedding.embed_documents(texts), len(texts))

    def catch_up(self) -> None:
        """Bring the FAISS index to the generation of storage, without embedding anything."""
        storage, index = self.storage, self.vector_index
        with storage.lock:
            now = storage.generation
            if index.generation == now:
                return
            if not storage.first_generation <= index.generation <= now:
                index.clear()
            index.update(
                added=storage.added_vectors(index.generation, now),
                deleted=storage.deleted_keys(index.generation, now),
                generation=now,
            )
            if index.worth_saving():
                self._save()

    def rebuild(self) -> None:
        """Make the FAISS index and its file anew from storage, without embedding anything."""
        with self.storage.lock:
            self.vector_index.clear()
            self.catch_up()
            self._save()

    def close(self) -> None:
        """Let go of the files. The object cannot be used afterwards."""
        self.storage.close()

    def _save(self) -> None:
        try:
            with self.storage.transaction():  # so that two processes do not write one file
                self.vector_index.save()
        except StorageLockedError:
            pass  # the process that writes now will save: the file only shortens opening

    def _nearest(
        self, query: NDArray[np.float32], k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[Document, float]]:
        with self.storage.lock:
            keys, cosines = self.search_keys(query, k, keys=self.matching_keys(filter))
            documents = self.documents_by_key(keys.tolist())
        return [(doc, _score(cosine)) for doc, cosine in zip(documents, cosines, strict=True)]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return self.similarity_search_with_score(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await self.asimilarity_search_with_score(query, k, **kwargs)

    def _unit_row(self, vector: Any) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self._unit([vector], 1)[0]
        return row

    def _unit(self, vectors: Any, count: int) -> NDArray[np.float32]:
        """Vectors as they are stored: checked, float32, unit length (or zero)."""
        try:
            matrix = np.asarray(vectors, np.float64)
        except ValueError as error:
            raise ValueError("the embedding model gave vectors of different lengths") from error
        if matrix.ndim != 2 or len(matrix) != count or not matrix.shape[1]:
            raise ValueError(
                f"the embedding model gave an array of shape {matrix.shape} for {count} texts"
            )
        if not np.isfinite(matrix).all():
            raise ValueError("the embedding model gave a vector that is not finite (NaN or inf)")
        self.storage.check_embedder(fingerprint_of(self._embedding), matrix.shape[1])
        # The largest part first, so that neither squares nor lengths leave the range of floats.
        matrix = matrix / np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-300)
        lengths = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
        unit: NDArray[np.float32] = (matrix / np.maximum(lengths, 1e-300)).astype(np.float32)
        return unit


def fingerprint_of(embedding: Embeddings) -> dict[str, Any]:
    """What tells an embedding model from others: its own `fingerprint`, or class and settings."""
    own = getattr(embedding, "fingerprint", None)
    if isinstance(own, Mapping):
        fingerprint: dict[str, Any] = json.loads(json.dumps(dict(own)))
        return fingerprint
    settings = {name: getattr(embedding, name, None) for name in _SETTINGS}
    known = {name: value for name, value in settings.items() if isinstance(value, str | int)}
    return {"class": type(embedding).__name__, **known}


def with_id(document: Document, id_: str | None) -> Document:
    """A copy of a document under an id, the hash of its text and metadata when that is None.

    Raises:
        ValueError: If the document cannot be stored.
    """
    if id_ is not None and not (isinstance(id_, str) and id_):
        raise ValueError(f"an id is a text that is not empty, not {id_!r}")
    copy = Document(
        id=id_ or document_id(document),
        page_content=document.page_content,
        metadata=document.metadata,
    )
    encoded_metadata(copy)
    return copy


def _cosines(query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines, computed row by row in one fixed way: the same to the last bit every time."""
    if not len(vectors):
        return np.zeros(0, np.float32)
    one, many = query.astype(np.float64), vectors.astype(np.float64)
    products = (many * one).sum(axis=1)
    lengths = np.sqrt((many * many).sum(axis=1) * (one * one).sum())
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    rounded: NDArray[np.float32] = np.clip(cosines, -1.0, 1.0).astype(np.float32)
    return rounded


def _diverse(
    cosines: NDArray[np.float32], vectors: NDArray[np.float32], k: int, lambda_mult: float
) -> list[int]:
    """Rows chosen by maximal marginal relevance (Carbonell and Goldstein, 1998), in order."""
    relevance = lambda_mult * cosines.astype(np.float64)
    nearest_chosen = np.full(len(cosines), -np.inf)
    chosen: list[int] = []
    while len(chosen) < min(k, len(cosines)):
        penalty = (1 - lambda_mult) * nearest_chosen if chosen else 0.0
        values = relevance - penalty
        values[chosen] = -np.inf
        chosen.append(int(np.argmax(values)))
        nearest_chosen = np.maximum(nearest_chosen, _cosines(vectors[chosen[-1]], vectors))
    return chosen


def _score(cosine: np.float32) -> float:
    return (1.0 + float(cosine)) / 2.0


def _check_count(k: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more")


def _refuse(unknown: Mapping[str, Any]) -> None:
    if unknown:
        raise TypeError(f"unknown arguments: {', '.join(unknown)}")
