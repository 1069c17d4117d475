"""Documents in a database or any LangChain VectorStore, used as a `DocumentIndex` is.

Knows no database: a target writes and finds.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from kogemma_rag.document_identity import with_id
from kogemma_rag.engines.engine_store import EngineVectorStore
from kogemma_rag.engines.store_target import StoreTarget
from kogemma_rag.engines.table_target import TableTarget
from kogemma_rag.retrievers import Candidates, CandidateSource, HybridRetriever
from kogemma_rag.storage import IndexedFile
from kogemma_rag.sync import FolderSync, Ingest, SyncReport


class EngineIndex:
    """Documents in an engine that many machines share. `open_engine` opens one by its URL.

    Args:
        vectorstore: Any LangChain VectorStore that takes `ids` in `add_documents` and `delete`.
            With one that is not of `open_engine`, words are not searched, chunks are embedded by
            the store itself, and filters are the store's own.
        ledger: A folder to remember files in, needed with such a store and made when absent.

    Attributes:
        vectorstore: The same documents as a LangChain VectorStore.
    """

    def __init__(self, vectorstore: VectorStore, *, ledger: str | Path | None = None) -> None:
        self.vectorstore = vectorstore
        if isinstance(vectorstore, EngineVectorStore):
            if ledger is not None:
                raise ValueError("this store remembers files itself; leave ledger out")
            self._target: TableTarget | StoreTarget = TableTarget(vectorstore)
        else:
            self._target = StoreTarget(vectorstore, ledger)
        self._retriever = self.as_retriever()

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
        """Bring the index to the state of a file or folder; see `DocumentIndex.sync`.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            StorageError: If the engine cannot be written to.
        """
        sync = FolderSync(
            self._target,
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
        return self._target.files()

    def forget(self, paths: Sequence[str]) -> None:
        """Drop synced files and their chunks; see `DocumentIndex.forget`."""
        self._target.forget(paths)

    def add_documents(self, documents: Sequence[Document]) -> list[str]:
        """Add documents as they are, each in the place of one with the same id.

        Returns:
            Their ids, hashes of text and metadata where they had none.
        """
        identified = [with_id(document, document.id) for document in documents]
        latest = list({str(document.id): document for document in identified}.values())
        if latest:
            self.vectorstore.add_documents(latest, ids=[str(document.id) for document in latest])
        return [str(document.id) for document in identified]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents by id; unknown ids are no error."""
        if ids:
            self.vectorstore.delete(list(ids))

    def search(
        self, query: str, k: int = 4, filter: Mapping[str, Any] | None = None
    ) -> list[tuple[Document, float]]:
        """The k best documents, best first; see `HybridRetriever.search`."""
        return self._retriever.search(query, k=k, filter=filter)

    def as_retriever(
        self, k: int = 4, filter: Mapping[str, Any] | None = None, **options: Any
    ) -> HybridRetriever:
        """A LangChain retriever over this index; `options` are those of `HybridRetriever`."""
        chosen = None if filter is None else dict(filter)
        return HybridRetriever(index=self, k=k, filter=chosen, **options)

    def candidates(
        self, query: str, fetch_k: int, filter: Mapping[str, Any] | None
    ) -> AbstractContextManager[Candidates]:
        """See `CandidateSource.candidates`."""
        target: CandidateSource = self._target
        return target.candidates(query, fetch_k, filter)

    def info(self) -> dict[str, Any]:
        """What is in the index; nothing secret of its address."""
        return self._target.info()

    def build_vector_index(self) -> None:
        """Search for vectors by a graph (HNSW) from now on: much faster past about 100,000.

        Results are then the nearest but for a few that are missed; with a filter they stay exact
        in PostgreSQL. What is added later is in the graph too.

        Raises:
            TypeError: If the engine is a plain VectorStore, whose own ways there are.
            StorageError: If there are no documents yet.
        """
        if not isinstance(self.vectorstore, EngineVectorStore):
            raise TypeError("a store of your own is told in its own way how to search")
        self.vectorstore.table.build_vector_index()

    def close(self) -> None:
        """Let go of connections and files. The object cannot be used afterwards."""
        self._target.close()

    def __enter__(self) -> "EngineIndex":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
