"""An index in, what it holds of each file out: of ours on disk, or of an engine. Knows no HTTP."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from langchain_core.documents import Document

from kogemma_rag.engines import EngineIndex
from kogemma_rag.engines.engine_store import EngineVectorStore
from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage import FileSummary, IndexedFile
from kogemma_rag.sync import Ingest, SyncReport

# What puts the chunks of one file in reading order.
_IN_ORDER = ("page", "slide", "row", "line", "start_index")


class SyncedIndex(Protocol):
    """An index that files are synced into."""

    def sync(
        self,
        path: str | Path,
        *,
        progress: bool = True,
        ingest: Ingest | None = None,
        sources: Mapping[str, str] | None = None,
        leave_out: Iterable[str | Path] = (),
    ) -> SyncReport:
        """See `DocumentIndex.sync`."""

    def forget(self, paths: Sequence[str]) -> None:
        """See `DocumentIndex.forget`."""


class IndexedFiles(Protocol):
    """What is read of files and their chunks."""

    def files(self) -> dict[str, IndexedFile]:
        """What is remembered of every file, by path."""

    def summaries(self) -> Mapping[str, FileSummary]:
        """What the chunks of files say of them, by path; not of files without."""

    def documents(self, path: str, near: str | None = None) -> list[Document]:
        """The chunks of a file in its order; an engine may know those near a chunk alone."""

    def paths(self, ids: Iterable[str]) -> dict[str, str | None]:
        """The files that chunks came from; unknown ids are left out."""

    def chunks(self, ids: Sequence[str]) -> list[Document]:
        """Chunks by id; unknown ids are left out."""


class LocalFiles:
    """The files of a `DocumentIndex`."""

    def __init__(self, index: DocumentIndex) -> None:
        self._storage = index.vectorstore.storage
        self._summaries: tuple[int, dict[str, FileSummary]] = (-1, {})

    def files(self) -> dict[str, IndexedFile]:
        """See `IndexedFiles.files`."""
        return self._storage.files()

    def summaries(self) -> Mapping[str, FileSummary]:
        """See `IndexedFiles.summaries`; read again when something changed."""
        generation = self._storage.generation
        if self._summaries[0] != generation:
            self._summaries = (generation, self._storage.file_summaries())
        return self._summaries[1]

    def documents(self, path: str, near: str | None = None) -> list[Document]:
        """See `IndexedFiles.documents`."""
        return self._storage.file_documents(path)

    def paths(self, ids: Iterable[str]) -> dict[str, str | None]:
        """See `IndexedFiles.paths`."""
        return self._storage.paths(ids)

    def chunks(self, ids: Sequence[str]) -> list[Document]:
        """See `IndexedFiles.chunks`."""
        return self._storage.documents_by_id(ids)


class EngineFiles:
    """The files of an `EngineIndex`. An engine counts no chunks, and knows those of one's file."""

    def __init__(self, index: EngineIndex) -> None:
        self._index = index
        store = index.vectorstore
        self._table = store.table if isinstance(store, EngineVectorStore) else None

    def files(self) -> dict[str, IndexedFile]:
        """See `IndexedFiles.files`."""
        return self._index.files()

    def summaries(self) -> Mapping[str, FileSummary]:
        """See `IndexedFiles.summaries`."""
        return {}

    def documents(self, path: str, near: str | None = None) -> list[Document]:
        """See `IndexedFiles.documents`."""
        chunks = self.chunks([near]) if near is not None else []
        if self._table is None or not chunks:
            return chunks
        with self._table.reading() as view:
            return sorted(view.siblings(chunks[0]), key=_place)

    def paths(self, ids: Iterable[str]) -> dict[str, str | None]:
        """See `IndexedFiles.paths`."""
        return {} if self._table is None else self._table.paths(list(ids))

    def chunks(self, ids: Sequence[str]) -> list[Document]:
        """See `IndexedFiles.chunks`."""
        return self._index.vectorstore.get_by_ids(list(ids))


def open_files(index: DocumentIndex | EngineIndex) -> IndexedFiles:
    """What an index holds of each file."""
    return LocalFiles(index) if isinstance(index, DocumentIndex) else EngineFiles(index)


def library_folder(index: DocumentIndex | EngineIndex) -> Path | None:
    """Where uploads to an index are kept: in its folder; None for one without."""
    folder = index.vectorstore.folder if isinstance(index, DocumentIndex) else None
    return None if folder is None else folder.resolve() / "web"


def _place(document: Document) -> tuple[int, ...]:
    numbers = (document.metadata.get(name) for name in _IN_ORDER)
    return tuple(number if isinstance(number, int) else 0 for number in numbers)
