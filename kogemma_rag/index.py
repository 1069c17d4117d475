"""A folder with documents in, a searchable index folder out: storage, FAISS and BM25 in step.

SQLite is the truth. The other files are caches that catch up with it when the index is opened,
changed or searched; a cache that is missing or damaged is made anew, without embedding again.
Knows no chat model.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from kogemma_rag.database import StorageDamagedError, StorageError
from kogemma_rag.embeddings import MultilingualEmbeddings
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.retrievers import HybridRetriever
from kogemma_rag.storage import FORMAT_VERSION, Storage
from kogemma_rag.sync import FolderSync, SyncReport
from kogemma_rag.vectorstores import STORAGE_FILE, VECTORS_FILE, FaissVectorStore

__all__ = ["DocumentIndex", "SyncReport"]

logger = logging.getLogger(__name__)

_LEXICAL_FOLDER = "lexical"
_TRIES = 5
# What tells the texts of one source apart, of those that can be filtered by.
_PLACES = ("source", "title", "page", "slide", "sheet", "row")


class DocumentIndex:
    """Documents in a folder, found by meaning and by words together.

    Open it with `DocumentIndex.open`, best in a `with` statement. Many threads may share one
    object; several processes may open one folder, and one writes at a time.

    Attributes:
        vectorstore: The same documents as a LangChain VectorStore.
        lexical: BM25 over the same documents.
    """

    def __init__(self, vectorstore: FaissVectorStore, lexical: LexicalIndex) -> None:
        self.vectorstore = vectorstore
        self.lexical = lexical
        self._storage = vectorstore.storage
        self._closed = False
        self._retriever = self.as_retriever()

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether there is an index in a folder."""
        return (Path(folder) / STORAGE_FILE).is_file()

    @classmethod
    def recorded_embedder(cls, folder: str | Path) -> dict[str, Any] | None:
        """Fingerprint of the model that an index was made with; None where none holds a vector."""
        if not cls.exists(folder):
            return None
        storage = Storage(Path(folder) / STORAGE_FILE)
        try:
            return storage.embedder
        finally:
            storage.close()

    @classmethod
    def open(
        cls, folder: str | Path, embeddings: Embeddings | None = None, *, create: bool = True
    ) -> "DocumentIndex":
        """Open the index in a folder.

        Args:
            folder: Of the index, not of the documents.
            embeddings: Any LangChain embeddings. None takes the model that the index was made
                with, and for a new one `MultilingualEmbeddings()`.
            create: Whether to make an index where there is none.

        Raises:
            FileNotFoundError: If there is no index and none is to be made.
            EmbedderMismatchError: If the index was made with another embedding model.
            StorageLockedError: If another process keeps writing to the index.
            StorageDamagedError: If the index cannot be trusted.
            StorageError: If it cannot be opened otherwise, or needs `embeddings`.
        """
        folder = Path(folder)
        if not create and not cls.exists(folder):
            raise FileNotFoundError(
                f"there is no index in {folder}; DocumentIndex.open(folder).sync(path) makes one"
            )
        if embeddings is None:
            embeddings = _embeddings_of(cls.recorded_embedder(folder))
        vectorstore = FaissVectorStore(embeddings or MultilingualEmbeddings(), folder)
        try:
            index = cls(vectorstore, LexicalIndex(folder / _LEXICAL_FOLDER))
            index._catch_up()
        except BaseException:
            vectorstore.close()
            raise
        return index

    def sync(self, path: str | Path, *, progress: bool = True) -> SyncReport:
        """Bring the index to the state of a file or folder: add, replace, drop what changed.

        Only files that changed are read, and files that were indexed from elsewhere are left
        alone. What was committed stays when this is interrupted; the next sync goes on from there.

        Args:
            path: A file or folder of documents.
            progress: Whether to draw a bar on stderr, when there is something to do.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            StorageError: If the index cannot be written to.
        """
        return FolderSync(self.vectorstore, path, self._catch_up).run(progress=progress)

    def add_documents(self, documents: Sequence[Document]) -> list[str]:
        """Add documents as they are, without splitting; see `FaissVectorStore.add_documents`."""
        ids = self.vectorstore.add_documents(documents)
        self._catch_up()
        return ids

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents by id; unknown ids are no error.

        A chunk of a synced file stays away until the file changes.
        """
        self.vectorstore.delete(list(ids))
        self._catch_up()

    def search(
        self, query: str, k: int = 4, filter: Mapping[str, Any] | None = None
    ) -> list[tuple[Document, float]]:
        """The k best documents by meaning and words together; see `HybridRetriever.search`.

        Args:
            query: A question or words, in any Unicode form.
            k: At most so many.
            filter: On metadata; see `kogemma_rag.filters.compile_filter`.

        Returns:
            Best first, with scores that are comparable within one query only.
        """
        return self._retriever.search(query, k=k, filter=filter)

    def as_retriever(
        self, k: int = 4, filter: Mapping[str, Any] | None = None, **options: Any
    ) -> HybridRetriever:
        """A LangChain retriever over this index; `options` are those of `HybridRetriever`."""
        return HybridRetriever(
            index=self,
            k=k,
            filter=None if filter is None else dict(filter),
            **options,
        )

    @contextmanager
    def candidates(
        self, query: str, fetch_k: int, filter: Mapping[str, Any] | None
    ) -> Iterator["_Candidates"]:
        """Candidates of one state of the index, the latest; see `CandidateSource.candidates`.

        Raises:
            FilterError: If the filter is not understood.
        """
        vector = self.vectorstore.embed_query_vector(query)
        with self._storage.lock:
            for attempt in range(_TRIES):
                self._catch_up()
                try:
                    found = self._scored(query, vector, fetch_k, filter)
                    break
                except KeyError:  # another process deleted a chunk after it was found
                    if attempt == _TRIES - 1:
                        raise
            yield found

    def _scored(
        self,
        query: str,
        vector: NDArray[np.float32],
        fetch_k: int,
        filter: Mapping[str, Any] | None,
    ) -> "_Candidates":
        allowed = self.vectorstore.matching_keys(filter)
        by_meaning, _ = self.vectorstore.search_keys(vector, fetch_k, keys=allowed)
        by_words = self.lexical.search(
            query, fetch_k, keys=None if allowed is None else allowed.tolist()
        )
        keys = list(dict.fromkeys([*by_meaning.tolist(), *by_words]))
        cosines = self.vectorstore.cosines(vector, keys)
        scores = np.column_stack([cosines, self.lexical.scores(query, keys)])
        return _Candidates(scores, keys, self._storage)

    def info(self) -> dict[str, Any]:
        """What is in the index and how large it is; sizes in bytes."""
        storage, folder = self._storage, self._folder
        embedder = storage.embedder or {}
        return {
            "folder": str(folder),
            **storage.counts(),
            "embeddings": embedder.get("name") or embedder.get("model") or embedder.get("class"),
            "dimension": storage.dimension,
            "vector_index": self.vectorstore.vector_index.kind,
            "format_version": FORMAT_VERSION,
            "generation": storage.generation,
            "storage_bytes": _size(*folder.glob(f"{STORAGE_FILE}*")),
            "vector_bytes": _size(folder / VECTORS_FILE),
            "lexical_bytes": _size(*(folder / _LEXICAL_FOLDER).rglob("*")),
        }

    def verify(self) -> None:
        """Read everything on disk and compare it with its checksums and with each other.

        Raises:
            StorageDamagedError: If anything is not what was written. Where only a cache is at
                fault the message says so: `rebuild` mends it.
        """
        with self._storage.lock:
            self._storage.verify()
            self._catch_up()
            fault = self.vectorstore.vector_index.check_file() or self._vector_fault()
        if fault:
            raise StorageDamagedError(f"{fault}; the documents are sound: rebuild() makes it anew")

    def rebuild(self) -> None:
        """Make all caches anew from storage, without embedding again."""
        with self._storage.lock:
            self.vectorstore.rebuild()
            self.lexical.clear()
            self._catch_up()

    def close(self) -> None:
        """Let go of the files. The object cannot be used afterwards."""
        if not self._closed:
            self._closed = True
            self.vectorstore.close()
            self.lexical.close()

    def __enter__(self) -> "DocumentIndex":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _folder(self) -> Path:
        return self.vectorstore.folder or Path()

    def _catch_up(self) -> None:
        """Bring both caches to the generation of storage."""
        storage, lexical = self._storage, self.lexical
        with storage.lock:
            self.vectorstore.catch_up()
            lexical.reload()
            if lexical.generation == storage.generation:
                return
            with storage.transaction():  # one process at a time may write the lexical files
                lexical.reload()
                if lexical.generation == storage.generation:
                    return
                if not storage.first_generation <= lexical.generation <= storage.generation:
                    lexical.clear()
                try:
                    self._update_lexical()
                except OSError as error:  # files that tantivy cannot go on with
                    logger.warning("the lexical index is made anew: %s", error)
                    lexical.clear()
                    self._update_lexical()

    def _update_lexical(self) -> None:
        since, now = self.lexical.generation, self._storage.generation
        self.lexical.update(
            added=self._storage.added_texts(since, now),
            deleted=self._storage.deleted_keys(since, now).tolist(),
            generation=now,
        )

    def _vector_fault(self) -> str | None:
        """How the FAISS index differs from storage."""
        total = 0
        for keys, vectors in self.vectorstore.vector_index.blocks():
            total += len(keys)
            try:
                stored = self._storage.vectors(keys.tolist())[1]
            except KeyError as error:
                return f"{VECTORS_FILE} holds chunk number {error}, which storage does not"
            if not np.array_equal(stored, vectors):
                return f"{VECTORS_FILE} does not hold the vectors of storage"
        chunks = self._storage.counts()["chunks"]
        return None if total == chunks else f"{VECTORS_FILE} holds {total} of {chunks} vectors"


@dataclass(frozen=True)
class _Candidates:
    """See `kogemma_rag.retrievers.Candidates`; a row of `scores` for each key."""

    scores: NDArray[np.float32]
    keys: Sequence[int]
    storage: Storage

    def documents(self, rows: Sequence[int]) -> list[Document]:
        return self.storage.documents([self.keys[row] for row in rows])

    def siblings(self, document: Document) -> list[Document]:
        places = {name: document.metadata.get(name) for name in _PLACES}
        places = {name: value for name, value in places.items() if isinstance(value, str | int)}
        if "source" not in places:
            return [document]
        found = self.storage.documents(self.storage.matching_keys(places).tolist())
        paths = self.storage.paths([str(one.id) for one in found])
        own = paths.get(str(document.id))
        return [one for one in found if paths[str(one.id)] == own]


def _embeddings_of(recorded: Mapping[str, Any] | None) -> Embeddings | None:
    """The model of a fingerprint; None for none."""
    if recorded is None:
        return None
    if "name" not in recorded:
        raise StorageError(
            f"the index was made with the embedding model {recorded}, which cannot be made from "
            "its name; give it: DocumentIndex.open(folder, embeddings=...)"
        )
    return MultilingualEmbeddings(recorded["name"])


def _size(*paths: Path) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
