"""Where a sync puts chunks in any LangChain VectorStore, and where a search finds them.

The store embeds; files are remembered in a ledger beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray

from kogemma_rag.document_identity import document_id, with_id
from kogemma_rag.embedder import Embedder
from kogemma_rag.engines.ledger import Ledger, unfinished
from kogemma_rag.ingest import Prepared
from kogemma_rag.storage import IndexedFile
from kogemma_rag.sync import FileChange


class StoreTarget:
    """A `SyncTarget` and a `CandidateSource` over a store.

    One process at a time may sync with one ledger; others wait.

    Args:
        store: Must take `ids` in `add_documents`, each in the place of the one with the same id.
        folder: Of the ledger; without one there is no sync.
    """

    analyzes = False

    def __init__(self, store: VectorStore, folder: str | Path | None) -> None:
        self._store = store
        self.folder = None if folder is None else Path(folder)
        self._known_ledger = None if self.folder is None else Ledger(self.folder)
        self.embedder: Embedder | None = None

    def files(self) -> dict[str, IndexedFile]:
        """See `SyncTarget.files`."""
        return self._ledger.files()

    def write(self, changes: Sequence[FileChange], prepared: Prepared) -> dict[str, int]:
        """See `SyncTarget.write`; cut off, it leaves what the next sync replaces."""
        written: dict[str, int] = {}
        with self._ledger.writing("syncing files"):
            known = self._ledger.files()
            for change in changes:
                if known.get(change.file.path) == change.before:
                    written[change.file.path] = self._write(change)
        return written

    def forget(self, paths: Sequence[str]) -> None:
        """See `SyncTarget.forget`."""
        with self._ledger.writing("forgetting files"):
            for path in paths:
                self._delete(self._ledger.ids(path))
            self._ledger.forget(paths)

    @contextmanager
    def candidates(
        self, query: str, fetch_k: int, filter: Mapping[str, Any] | None
    ) -> Iterator["StoreCandidates"]:
        """See `CandidateSource.candidates`; a filter is the store's own."""
        options = {} if filter is None else {"filter": dict(filter)}
        found = self._store.similarity_search(query, k=fetch_k, **options)
        # Only their order is the same in all stores: some tell distances, some no relevance.
        scores = -np.arange(len(found), dtype=np.float32).reshape(-1, 1)
        yield StoreCandidates(scores, found)

    def info(self) -> dict[str, Any]:
        """What is known of the store."""
        files = {} if self._known_ledger is None else self.files()
        return {
            "address": type(self._store).__name__,
            "files": sum(file.loaded for file in files.values()),
        }

    def close(self) -> None:
        """Let go of the ledger; the store is its owner's."""
        if self._known_ledger is not None:
            self._known_ledger.close()

    @property
    def _ledger(self) -> Ledger:
        if self._known_ledger is None:
            raise ValueError(
                "files are remembered in a folder of yours: EngineIndex(vectorstore, ledger=folder)"
            )
        return self._known_ledger

    def _write(self, change: FileChange) -> int:
        if change.documents is None:
            self._ledger.record([change.file])
            return 0
        path = change.file.path
        chunks: dict[str, Document] = {}
        for document in change.documents:
            id_ = document_id(document)
            if self._ledger.path(id_) not in (None, path):
                id_ = document_id(document, salt=path)
            chunks[id_] = with_id(document, id_)
        # All that may be in the store is known before it is there.
        self._ledger.record(
            [unfinished(change.file, change.before)], [(id_, path) for id_ in chunks]
        )
        if chunks:
            self._store.add_documents(list(chunks.values()), ids=list(chunks))
        gone = [id_ for id_ in self._ledger.ids(path) if id_ not in chunks]
        self._delete(gone)
        self._ledger.forget_chunks(gone)
        self._ledger.record([change.file])
        return len(chunks)

    def _delete(self, ids: Sequence[str]) -> None:
        if ids:
            self._store.delete(list(ids))


@dataclass
class StoreCandidates:
    """See `kogemma_rag.retrievers.Candidates`; one column, in the order of the store."""

    scores: NDArray[np.float32]
    found: Sequence[Document]

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """See `Candidates.documents`."""
        return [self.found[row] for row in rows]

    def siblings(self, document: Document) -> list[Document]:
        """The document alone: stores agree on no way to ask for its neighbours."""
        return [document]
