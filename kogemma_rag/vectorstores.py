"""Documents in, the nearest documents out: LangChain's VectorStore over storage and FAISS.

Storage is the truth; the FAISS index follows it. Knows no lexical search and no files.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray

from kogemma_rag.embedder import Embedder
from kogemma_rag.filter_cache import FilterCache
from kogemma_rag.similarity import cosines, diverse, relevance, unit_vectors
from kogemma_rag.storage import Storage, with_id
from kogemma_rag.vector_index import VectorIndex, VectorView

logger = logging.getLogger(__name__)

STORAGE_FILE = "index.sqlite3"
VECTORS_FOLDER = "vectors"

# FAISS adds in float32; its products differ from the true cosines by less than this.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Batch:
    """Documents ready to be committed."""

    ids: list[str]
    """Of the documents as they were given."""
    documents: list[Document]
    """No two with one id."""
    vectors: NDArray[np.float32]
    """Shape (len(documents), dim), unit length."""


class FaissVectorStore(VectorStore):
    """Nearest-neighbour search by cosine, in memory or in a folder.

    Exact up to about 100,000 documents; past that, candidates come from a compressed index and
    their scores are exact. Scores are (1 + cosine) / 2: 1 is the same direction, 0.5 nothing in
    common, 0 the opposite; ties are in the order of the ids. Documents with the id of one that is
    there replace it. Filters are those of `kogemma_rag.filters.compile_filter`; k results come
    whenever k match. Threads may share one object and search at once; several processes may open
    one folder, and one writes at a time.

    Args:
        embedding: Any LangChain embeddings; vectors are brought to unit length here.
        folder: Where to keep the index, made when absent; None keeps all in memory.

    Raises:
        ImportError: If FAISS is not installed.
        EmbedderMismatchError: If the folder was made with another embedding model.
        StorageError: If the folder cannot be read.
    """

    def __init__(self, embedding: Embeddings, folder: str | Path | None = None) -> None:
        self.embedder = Embedder(embedding)
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.storage = Storage(self.folder and self.folder / STORAGE_FILE)
        self._following = threading.Lock()
        self._dimension: int | None = None
        self._filters = FilterCache(self.storage)
        try:
            self.storage.check_embedder(self.embedder.fingerprint)
            self.vector_index = VectorIndex(self.folder and self.folder / VECTORS_FOLDER)
        except BaseException:
            self.storage.close()
            raise

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
            StorageLockedError: If another process keeps writing.
        """
        _refuse(kwargs)
        batch = self.prepare(documents, ids=ids, batch_size=batch_size)
        with self.storage.writing("adding documents"):
            self.write(batch)
            self.follow()
        return batch.ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, all of them when ids is None; unknown ids are no error."""
        _refuse(kwargs)
        with self.storage.writing("deleting documents"):
            with self.storage.transaction():
                self.storage.delete(ids)
            self.follow()
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
        return self._nearest(self.query_vector(query), k, filter)

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
        found = self._nearest(self._checked(unit_vectors([embedding], 1)[0]), k, filter)
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
        _refuse(kwargs)
        query = self._checked(unit_vectors([embedding], 1)[0])
        _check_count(k)
        with self.reading() as view:
            keys, to_query = self.search_keys(
                view, query, max(k, fetch_k), keys=self.matching_keys(filter)
            )
            chosen = diverse(to_query, self._vectors(view, keys), k, lambda_mult)
            documents = self.storage.documents(keys[chosen].tolist())
        return [
            (document, relevance(cosine))
            for document, cosine in zip(documents, to_query[chosen], strict=True)
        ]

    def prepare(
        self,
        documents: Sequence[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> "Batch":
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
            self.storage.check_embedder(self.embedder.fingerprint, vectors.shape[1])
        return Batch([str(document.id) for document in identified], latest, vectors)

    def write(self, batch: "Batch") -> None:
        """Commit what was prepared; the caches do not follow yet."""
        if batch.documents:
            with self.storage.transaction():
                self.storage.bind_embedder(self.embedder.fingerprint, batch.vectors.shape[1])
                self.storage.add(batch.documents, batch.vectors)

    @contextmanager
    def reading(self) -> Iterator[VectorView]:
        """One committed generation, for all that this thread reads of storage and vectors."""
        while True:
            with self.storage.snapshot() as generation:
                view = self.view_at(generation)
                if view is not None:
                    yield view
                    return

    def view_at(self, generation: int) -> VectorView | None:
        """The vectors of the generation of this thread's snapshot, without embedding anything.

        Returns:
            None when another thread has gone past it: a new snapshot is needed.
        """
        if self.vector_index.view.generation < generation:
            with self._following:
                self._advance(generation)
        view = self.vector_index.view
        return view if view.generation == generation else None

    def search_keys(
        self,
        view: VectorView,
        query_vector: NDArray[np.float32],
        k: int,
        *,
        keys: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The keys of the k chunks nearest to a query vector.

        Args:
            view: What to search, of the running `reading`.
            query_vector: Shape (dim,), unit length.
            k: At most so many.
            keys: Only these, when given; sorted.

        Returns:
            Keys and cosines, best first, ties in the order of the documents' ids.

        Raises:
            ValueError: If k is not positive.
        """
        _check_count(k)
        fetch = view.fetch_count(k)
        while True:
            found, products = view.search(query_vector, fetch, keys=keys)
            to_query = cosines(query_vector, self._vectors(view, found))
            order = np.argsort(-to_query, kind="stable")
            last = to_query[order[:k]][-1] if len(order) else 0.0
            # Whatever was not fetched must score below the last of the k, not the same.
            if len(found) < fetch or not view.exact or products[-1] < last - _TOLERANCE:
                break
            fetch *= 4
        order = order[to_query[order] >= last]
        if (np.diff(to_query[order]) == 0).any():
            ids = self.storage.ids(found[order].tolist())
            order = order[sorted(range(len(order)), key=lambda i: (-to_query[order[i]], ids[i]))]
        return found[order[:k]], to_query[order[:k]]

    def cosines(
        self, view: VectorView, query_vector: NDArray[np.float32], keys: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Cosines of a query vector with the chunks of keys, in their order."""
        return cosines(query_vector, self._vectors(view, keys))

    def matching_keys(self, filter: Mapping[str, Any] | None) -> NDArray[np.int64] | None:
        """Keys, ascending, of the chunks a filter holds for; None when there is no filter.

        Keys of chunks that are no more may be among them.

        Raises:
            FilterError: If the filter is not understood.
        """
        return self._filters.keys(filter) if filter else None

    def query_vector(self, query: str) -> NDArray[np.float32]:
        """The vector of a query, shape (dim,), unit length.

        Raises:
            ValueError: If the vector cannot be used.
            EmbedderMismatchError: If it has another dimension than those here.
        """
        return self._checked(self.embedder.query(query))

    def follow(self) -> None:
        """Bring the vectors to the last commit, and to disk when enough changed.

        Called by whoever holds the writer lock.
        """
        with self.reading():
            if self.vector_index.worth_saving():
                self.save()

    def save(self) -> bool:
        """Write the vectors' files, a cache: a disk that is full costs time at opening, no more.

        Called by whoever holds the writer lock, after `follow`.

        Returns:
            Whether they are written.
        """
        try:
            self.vector_index.save(self.storage.vector_blocks)
        except OSError as error:
            logger.warning("the vectors' files are not written: %s", error)
            return False
        return True

    def rebuild(self) -> None:
        """Make the FAISS files anew from storage, without embedding anything."""
        with (
            self.storage.writing("rebuilding the vector index"),
            self.storage.snapshot() as generation,
            self._following,
        ):
            self.vector_index.rebuild(
                self.storage.vector_blocks, self.storage.counts()["chunks"], generation
            )

    def close(self) -> None:
        """Let go of the files. The object cannot be used afterwards."""
        self.storage.close()

    def _nearest(
        self, query: NDArray[np.float32], k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[Document, float]]:
        with self.reading() as view:
            keys, to_query = self.search_keys(view, query, k, keys=self.matching_keys(filter))
            documents = self.storage.documents(keys.tolist())
        return [(doc, relevance(cosine)) for doc, cosine in zip(documents, to_query, strict=True)]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return self.similarity_search_with_score(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await self.asimilarity_search_with_score(query, k, **kwargs)

    def _advance(self, generation: int) -> None:
        """Apply what was committed since, up to the generation of this thread's snapshot."""
        storage, index = self.storage, self.vector_index
        if index.view.generation >= generation:
            return
        if index.worth_saving() or index.view.generation < storage.first_generation:
            index.reload()  # another process has written files, perhaps
            if index.view.generation > generation:
                return
        if index.view.generation < storage.first_generation:
            index.clear()
        since = index.view.generation
        index.advance(
            added=storage.added_vectors(since, generation),
            deleted=storage.deleted_keys(since, generation),
            generation=generation,
        )

    def _vectors(self, view: VectorView, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """The true vectors of keys, in their order: from memory, where they are, or storage."""
        known, vectors = view.exact_vectors(keys)
        if not known.all():
            vectors[~known] = self.storage.vectors(keys[~known].tolist())
        return vectors

    def _checked(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(vector) != self._dimension:
            self.storage.check_embedder(self.embedder.fingerprint, len(vector))
            self._dimension = self.storage.dimension  # which does not change once it is there
        return vector


def _check_count(k: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more")


def _refuse(unknown: Mapping[str, Any]) -> None:
    if unknown:
        raise TypeError(f"unknown arguments: {', '.join(unknown)}")
