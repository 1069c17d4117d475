"""Where a sync of a local index puts chunks: storage, together with what is known of the files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.embedder import Embedder
from kogemma_rag.ingest import Prepared
from kogemma_rag.lexical import PreparedText
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.storage import IndexedFile, document_id, with_id
from kogemma_rag.sync import FileChange
from kogemma_rag.vectorstores import FaissVectorStore


class LocalTarget:
    """A `SyncTarget` over storage. The writer lock is held only while it writes.

    Args:
        store: Whose storage it is, and whose embedding model.
        follow: Called after each commit, under the writer lock, with what is analyzed already, by
            indexed text.
    """

    def __init__(
        self, store: FaissVectorStore, follow: Callable[[Mapping[str, PreparedText]], None]
    ) -> None:
        self._storage = store.storage
        self._follow = follow
        self.folder: Path | None = store.folder
        self.embedder: Embedder | None = store.embedder
        self.analyzes = True

    def files(self) -> dict[str, IndexedFile]:
        """See `SyncTarget.files`."""
        return self._storage.files()

    def write(self, changes: Sequence[FileChange], prepared: Prepared) -> dict[str, int]:
        """See `SyncTarget.write`."""
        written: dict[str, int] = {}
        first = 0
        with self._storage.writing("syncing files"):
            with self._storage.transaction():
                if self.embedder is not None and len(prepared.vectors):
                    fingerprint = self.embedder.fingerprint
                    self._storage.bind_embedder(fingerprint, prepared.vectors.shape[1])
                for change in changes:
                    last = first + len(change.documents or ())
                    if self._storage.file(change.file.path) == change.before:
                        written[change.file.path] = self._write(
                            change, prepared.vectors[first:last]
                        )
                    first = last
            self._follow(_by_text(changes, prepared.analyzed))
        return written

    def forget(self, paths: Sequence[str]) -> None:
        """See `SyncTarget.forget`."""
        with self._storage.writing("forgetting files"):
            with self._storage.transaction():
                for path in paths:
                    self._storage.delete_file_chunks(path)
                    self._storage.forget_file(path)
            self._follow({})

    def _write(self, change: FileChange, vectors: NDArray[np.float32]) -> int:
        self._storage.record_file(change.file)
        if change.documents is None:
            return 0
        path, chunks = change.file.path, change.documents
        self._storage.delete_file_chunks(path)
        ids = [document_id(chunk) for chunk in chunks]
        taken = self._storage.paths(ids)
        rows: dict[str, int] = {}
        for row, (chunk, id_) in enumerate(zip(chunks, ids, strict=True)):
            # The same text at the same place of a file of the same name elsewhere is another one.
            rows[document_id(chunk, salt=path) if id_ in taken else id_] = row
        documents = [with_id(chunks[row], id_) for id_, row in rows.items()]
        self._storage.add(documents, vectors[list(rows.values())], path=path)
        return len(documents)


def _by_text(
    changes: Sequence[FileChange], analyzed: Sequence[PreparedText]
) -> dict[str, PreparedText]:
    documents = [document for change in changes for document in change.documents or ()]
    return dict(zip(map(indexed_text, documents), analyzed, strict=True))
