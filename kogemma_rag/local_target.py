"""Where a sync of a local index puts chunks: storage, together with what is known of the files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.document_identity import document_id, with_id
from kogemma_rag.embedder import Embedder
from kogemma_rag.ingest import Prepared
from kogemma_rag.lexical import PreparedText
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.storage import IndexedFile
from kogemma_rag.sync import FileChange
from kogemma_rag.vectorstores import FaissVectorStore

_SLICE = 1024  # chunks that are in memory together


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
            self._follow(_WordsByText(changes, prepared.analyzed))
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
        self._storage.delete_file_chunks(change.file.path)
        return sum(
            self._add(
                change.documents[start : start + _SLICE],
                vectors[start : start + _SLICE],
                change.file.path,
            )
            for start in range(0, len(change.documents), _SLICE)
        )

    def _add(self, chunks: Sequence[Document], vectors: NDArray[np.float32], path: str) -> int:
        ids = [document_id(chunk) for chunk in chunks]
        taken = self._storage.paths(ids)
        rows: dict[str, int] = {}
        for row, (chunk, id_) in enumerate(zip(chunks, ids, strict=True)):
            # The same text at the same place of a file of the same name elsewhere is another one.
            of_another = taken.get(id_, path) != path
            rows[document_id(chunk, salt=path) if of_another else id_] = row
        documents = [with_id(chunks[row], id_) for id_, row in rows.items()]
        self._storage.add(documents, vectors[list(rows.values())], path=path)
        return len(documents)


class _WordsByText(Mapping[str, PreparedText]):
    """What was analyzed, by indexed text, of which the hashes alone are kept in memory."""

    def __init__(self, changes: Sequence[FileChange], analyzed: Sequence[PreparedText]) -> None:
        self._changes = changes
        self._analyzed = analyzed
        self._rows = {hash(text): row for row, text in enumerate(self)}

    def __getitem__(self, text: str) -> PreparedText:
        return self._analyzed[self._rows[hash(text)]]

    def __iter__(self) -> Iterator[str]:
        for change in self._changes:
            yield from map(indexed_text, change.documents or ())

    def __len__(self) -> int:
        return len(self._rows)
