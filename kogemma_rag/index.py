"""A folder with documents in, a searchable index folder out: storage, FAISS and BM25 in step.

SQLite is the truth. The other files are caches that catch up with it when the index is opened,
changed or searched; a cache that is missing or damaged is made anew, without embedding again.
Knows no chat model.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from kogemma_rag.database import LOCK_TIMEOUT
from kogemma_rag.embeddings import recorded_embeddings
from kogemma_rag.lexical import LexicalIndex, LexicalView, PreparedText
from kogemma_rag.local_target import LocalTarget
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.retrievers import HybridRetriever
from kogemma_rag.storage import FORMAT_VERSION, IndexedFile, Storage
from kogemma_rag.storage_errors import (
    StorageDamagedError,
    StorageLockedError,
    StorageReadOnlyError,
)
from kogemma_rag.sync import FolderSync, Ingest, SyncReport
from kogemma_rag.transfer import export_index, import_index
from kogemma_rag.vector_index import VectorView
from kogemma_rag.vectorstores import STORAGE_FILE, VECTORS_FOLDER, FaissVectorStore

__all__ = ["DocumentIndex", "SyncReport"]

logger = logging.getLogger(__name__)

_LEXICAL_FOLDER = "lexical"
_PAUSE = 0.001  # seconds between two looks at what a writer is about to finish
# What tells the texts of one source apart, of those that can be filtered by.
_PLACES = ("source", "title", "attachment", "page", "slide", "sheet", "row", "line")


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
            embeddings = recorded_embeddings(cls.recorded_embedder(folder))
        vectorstore = FaissVectorStore(embeddings, folder)
        try:
            index = cls(vectorstore, LexicalIndex(folder / _LEXICAL_FOLDER))
            with index._reading():
                pass  # the caches are there, or made
        except BaseException:
            vectorstore.close()
            raise
        return index

    def sync(
        self,
        path: str | Path,
        *,
        progress: bool = True,
        follow_symlinks: bool = False,
        ocr: bool = False,
        workers: int | None = None,
        ingest: Ingest | None = None,
        sources: Mapping[str, str] | None = None,
        leave_out: Iterable[str | Path] = (),
    ) -> SyncReport:
        """Bring the index to the state of a file or folder: add, replace, drop what changed.

        Only files that changed are read, and files that were indexed from elsewhere are left
        alone. What was committed stays when this is interrupted; the next sync goes on from there.

        Args:
            path: A file or folder of documents.
            progress: Whether to draw a bar on stderr, when there is something to do.
            follow_symlinks: Whether to go where symbolic links point; see `FolderSync`.
            ocr: Whether to read scanned pages; see `FolderSync`.
            workers: How many files are read at once; see `FolderSync`.
            ingest: Reads and embeds elsewhere, such as `kogemma_rag.distributed.RayIngest`.
            sources: See `FolderSync`.
            leave_out: Files that are not to be in the index, though they are in the folder.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            StorageError: If the index cannot be written to.
        """
        target = LocalTarget(self.vectorstore, self._follow)
        sync = FolderSync(
            target,
            path,
            follow_symlinks=follow_symlinks,
            ocr=ocr,
            workers=workers,
            ingest=ingest,
            sources=sources,
            leave_out=leave_out,
        )
        return sync.run(progress=progress)

    def files(self) -> dict[str, IndexedFile]:
        """What is remembered of every synced file, by its path."""
        return self._storage.files()

    def forget(self, paths: Sequence[str]) -> None:
        """Drop synced files and their chunks, together; unknown paths are no error.

        A sync of their folder brings those back that are still there.
        """
        LocalTarget(self.vectorstore, self._follow).forget(paths)

    def add_documents(self, documents: Sequence[Document]) -> list[str]:
        """Add documents as they are, without splitting; see `FaissVectorStore.add_documents`."""
        batch = self.vectorstore.prepare(documents)
        texts = [indexed_text(document) for document in batch.documents]
        analyzed = dict(zip(texts, self.lexical.prepare(texts), strict=True))
        with self._storage.writing("adding documents"):
            self.vectorstore.write(batch)
            self._follow(analyzed)
        return batch.ids

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents by id; unknown ids are no error.

        A chunk of a synced file stays away until the file changes.
        """
        with self._storage.writing("deleting documents"):
            self.vectorstore.delete(list(ids))
            self._follow()

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
        vector = self.vectorstore.query_vector(query)
        with self._reading() as (view, words):
            allowed = self.vectorstore.matching_keys(filter)
            near, cosines = self.vectorstore.search_keys(view, vector, fetch_k, keys=allowed)
            by_words = np.array(words.search(query, fetch_k, keys=allowed), np.int64)
            others = by_words[~np.isin(by_words, near)]
            keys = np.concatenate([near, others])
            cosines = np.append(cosines, self.vectorstore.cosines(view, vector, others))
            scores = np.column_stack([cosines, words.scores(query, keys)])
            yield _Candidates(scores, keys.tolist(), self._storage)

    def info(self) -> dict[str, Any]:
        """What is in the index and how large it is; sizes in bytes."""
        storage, folder = self._storage, self._folder
        embedder = storage.embedder or {}
        return {
            "folder": str(folder),
            **storage.counts(),
            "embeddings": embedder.get("name") or embedder.get("model") or embedder.get("class"),
            "dimension": storage.dimension,
            "vector_index": self.vectorstore.vector_index.view.kind,
            "format_version": FORMAT_VERSION,
            "generation": storage.generation,
            "storage_bytes": _size(*folder.glob(f"{STORAGE_FILE}*")),
            "vector_bytes": _size(*(folder / VECTORS_FOLDER).rglob("*")),
            "lexical_bytes": _size(*(folder / _LEXICAL_FOLDER).rglob("*")),
        }

    def verify(self) -> None:
        """Read everything on disk and compare it with its checksums and with each other.

        Raises:
            StorageDamagedError: If anything is not what was written. Where only a cache is at
                fault the message says so: `rebuild` mends it.
        """
        with self._reading() as (view, words):
            self._storage.verify()
            fault = (
                self.vectorstore.vector_index.check_files()
                or self._vector_fault(view)
                or self._lexical_fault(words)
            )
        if fault:
            raise StorageDamagedError(f"{fault}; the documents are sound: rebuild() makes it anew")

    def rebuild(self) -> None:
        """Make all caches anew from storage, without embedding again."""
        with self._storage.writing("rebuilding the index"):
            self.vectorstore.rebuild()
            self.lexical.clear()
            self._follow()

    def compact(self) -> int:
        """Give back the space of what was deleted and replaced.

        For a while it takes as much again as the index is large.

        Returns:
            How many bytes of storage were freed.

        Raises:
            StorageFullError: If there is not enough free space; nothing is lost.
        """
        with self._storage.writing("compacting the index"):
            self._follow()
            # A cache on disk that is older than what is remembered of deletions is made anew.
            if self.vectorstore.save():
                with self._storage.transaction():
                    self._storage.prune(self._storage.generation)
            return self._storage.compact()

    def export(self, folder: str | Path) -> None:
        """Write all documents, vectors and known files into a new folder; see `export_index`."""
        export_index(self._storage, folder)

    def import_from(self, folder: str | Path, *, allow_pickle: bool = False) -> int:
        """Add what another index exported, without embedding; see `import_index`.

        Args:
            folder: Made by `export`, or by `save_local` of LangChain's own FAISS.
            allow_pickle: Whether to read the latter, whose documents are a pickle. Its vectors
                must be those of the embedding model of this index.

        Returns:
            How many documents there were.
        """
        with self._storage.writing("importing documents"):
            count = import_index(
                self._storage,
                folder,
                fingerprint=self.vectorstore.embedder.fingerprint,
                allow_pickle=allow_pickle,
            )
            self._follow()
        return count

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

    @contextmanager
    def _reading(self) -> Iterator[tuple[VectorView, LexicalView]]:
        """One committed generation of all three, the latest that there is of all."""
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            with self._storage.snapshot() as generation:
                view = self.vectorstore.view_at(generation)
                self.lexical.reload()
                words = self.lexical.view
                if view is not None and words.generation == generation:
                    yield view, words
                    return
            if words.generation != generation:
                self._catch_up(deadline)

    def _catch_up(self, deadline: float) -> None:
        """See to words of another generation than storage's.

        A writer is between its two commits, or died there; or storage was put back to an earlier
        state.
        """
        try:
            with self._storage.writing("catching up", timeout=0.0):
                self._follow()
        except StorageReadOnlyError as error:
            logger.warning("the words are indexed in memory: %s", error)
            self._keep_words_in_memory()
        except StorageLockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)

    def _follow(self, analyzed: Mapping[str, PreparedText] | None = None) -> None:
        """Bring both caches to the last commit. Called by whoever holds the writer lock.

        Args:
            analyzed: By indexed text, what is analyzed already.
        """
        lexical, storage = self.lexical, self._storage
        with storage.snapshot() as now:
            lexical.reload()
            if not storage.first_generation <= lexical.generation <= now:
                lexical.clear()
            if lexical.generation < now:
                try:
                    self._update_lexical(lexical.generation, now, analyzed or {})
                except OSError as error:
                    # What was committed is found all the same, and when there is space, on disk.
                    logger.warning("the words are indexed in memory: %s", error)
                    self._keep_words_in_memory()
        self.vectorstore.follow()

    def _update_lexical(self, since: int, now: int, analyzed: Mapping[str, PreparedText]) -> None:
        self.lexical.update(
            added=(
                (key, analyzed.get(text, text))
                for key, text in self._storage.added_texts(since, now)
            ),
            deleted=self._storage.deleted_keys(since, now).tolist(),
            generation=now,
        )

    def _keep_words_in_memory(self) -> None:
        with self._storage.snapshot() as now:
            self.lexical = LexicalIndex()
            self._update_lexical(0, now, {})

    def _vector_fault(self, view: VectorView) -> str | None:
        """How the FAISS index differs from storage."""
        for keys, stored in self._storage.vector_blocks():
            known, vectors = view.exact_vectors(keys)
            if not np.array_equal(stored[known], vectors[known]):
                return f"{VECTORS_FOLDER} does not hold the vectors of storage"
        chunks = self._storage.counts()["chunks"]
        return _difference(VECTORS_FOLDER, len(view), chunks)

    def _lexical_fault(self, words: LexicalView) -> str | None:
        return _difference(_LEXICAL_FOLDER, len(words), self._storage.counts()["chunks"])


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


def _difference(name: str, found: int, chunks: int) -> str | None:
    return None if found == chunks else f"{name} holds {found} of {chunks} chunks"


def _size(*paths: Path) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
