"""Documents in, the nearest documents out: LangChain's VectorStore over storage and FAISS.

Storage is the truth; the FAISS index follows it. Knows no lexical search and no files.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from kogemma_rag.cosine_vectorstore import (
    Batch,
    CosineVectorStore,
    Nearest,
    check_count,
    refuse_unknown,
)
from kogemma_rag.filter_cache import FilterCache
from kogemma_rag.similarity import cosines
from kogemma_rag.storage import Storage
from kogemma_rag.vector_index import VectorIndex, VectorView

logger = logging.getLogger(__name__)

STORAGE_FILE = "index.sqlite3"
VECTORS_FOLDER = "vectors"

# FAISS adds in float32; its products differ from the true cosines by less than this.
_TOLERANCE = 1e-5
# So many more than the best k are fetched, of which true cosines choose. Eight bits a number lost
# none of the best 10 or 50 of 100,000 real vectors with 4 more, of the best 100 with 8 more.
_SPARE = 8


class FaissVectorStore(CosineVectorStore):
    """Nearest-neighbour search by cosine, in memory or in a folder.

    Exact up to about 100,000 documents; past that, candidates come from a compressed index and
    their scores are exact. For scores, ties, ids and filters see `CosineVectorStore`. Threads may
    search at once; several processes may open one folder, and one writes at a time.

    Args:
        embedding: Any LangChain embeddings; vectors are brought to unit length here.
        folder: Where to keep the index, made when absent; None keeps all in memory.

    Raises:
        ImportError: If FAISS is not installed.
        EmbedderMismatchError: If the folder was made with another embedding model.
        StorageError: If the folder cannot be read.
    """

    def __init__(self, embedding: Embeddings, folder: str | Path | None = None) -> None:
        super().__init__(embedding)
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
            if self.vector_index.view.generation > self.storage.generation:
                # Files are written after the commit that they show: storage was put back.
                logger.warning("the vectors' files are of a later state than storage; made anew")
                self.vector_index.clear()
        except BaseException:
            self.storage.close()
            raise

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

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, all of them when ids is None; unknown ids are no error."""
        refuse_unknown(kwargs)
        with self.storage.writing("deleting documents"):
            with self.storage.transaction():
                self.storage.delete(ids)
            self.follow()
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of ids, in their order, each once; unknown ids are left out."""
        return self.storage.documents_by_id(ids)

    def write(self, batch: Batch) -> None:
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
        check_count(k)
        fetch = k + _SPARE
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

    def check_dimension(self, dimension: int) -> None:
        """See `CosineVectorStore.check_dimension`."""
        if dimension != self._dimension:
            self.storage.check_embedder(self.embedder.fingerprint, dimension)
            self._dimension = self.storage.dimension  # which does not change once it is there

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

    def _write(self, batch: Batch) -> None:
        with self.storage.writing("adding documents"):
            self.write(batch)
            self.follow()

    def _nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        filter: Mapping[str, Any] | None,
        *,
        with_vectors: bool = False,
    ) -> Nearest:
        with self.reading() as view:
            keys, to_query = self.search_keys(view, query, k, keys=self.matching_keys(filter))
            vectors = self._vectors(view, keys) if with_vectors else None
            return Nearest(self.storage.documents(keys.tolist()), to_query, vectors)

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
