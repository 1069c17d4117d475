"""Where a sync puts chunks in a database, and where a search finds them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.document_identity import document_id, with_id
from kogemma_rag.embedder import Embedder
from kogemma_rag.engines.chunk_table import (
    FORMAT_VERSION,
    Chunk,
    ChunkTable,
    FileChunks,
    TableView,
)
from kogemma_rag.engines.engine_store import EngineVectorStore
from kogemma_rag.engines.words import words_of
from kogemma_rag.ingest import Prepared
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.similarity import cosines
from kogemma_rag.storage import IndexedFile
from kogemma_rag.sync import FileChange


class TableTarget:
    """A `SyncTarget` and a `CandidateSource` over a database that holds vectors and words."""

    folder: Path | None = None
    analyzes = True

    def __init__(self, store: EngineVectorStore) -> None:
        self._store = store
        self._table: ChunkTable = store.table
        self.embedder: Embedder | None = store.embedder

    def files(self) -> dict[str, IndexedFile]:
        """See `SyncTarget.files`."""
        return self._table.files()

    def write(self, changes: Sequence[FileChange], prepared: Prepared) -> dict[str, int]:
        """See `SyncTarget.write`; one commit where the database has transactions."""
        given = zip(prepared.vectors, prepared.analyzed, strict=True)
        with self._table.writing("syncing files"):
            if len(prepared.vectors):
                self._store.bind(prepared.vectors.shape[1])
            known = self._table.files([change.file.path for change in changes])
            taken = self._table.paths(
                [document_id(chunk) for change in changes for chunk in change.documents or ()]
            )
            files = []
            for change in changes:
                computed = [next(given) for _ in change.documents or ()]
                if known.get(change.file.path) != change.before:
                    continue
                chunks = None
                if change.documents is not None:
                    chunks = _chunks(change, computed, taken)
                    taken |= {str(chunk.document.id): chunk.path for chunk in chunks}
                files.append(FileChunks(change.file, chunks))
            self._table.put_files(files)
        return {file.file.path: len(file.chunks or ()) for file in files}

    def forget(self, paths: Sequence[str]) -> None:
        """See `SyncTarget.forget`."""
        self._table.forget(paths)

    @contextmanager
    def candidates(
        self, query: str, fetch_k: int, filter: Mapping[str, Any] | None
    ) -> Iterator["TableCandidates"]:
        """See `CandidateSource.candidates`."""
        vector = self._store.query_vector(query)
        words = words_of(LexicalIndex.prepare([query])[0])
        with self._table.reading() as view:
            ids = {
                *view.nearest(vector, fetch_k, filter),
                *view.best_by_words(words, fetch_k, filter),
            }
            found = view.fetch(sorted(ids))
            vectors = [chunk_vector for _, chunk_vector in found.values()]
            scores = np.zeros((len(found), 3), np.float32)
            if found:
                scores[:, 0] = cosines(vector, np.stack(vectors))
                scores[:, 1:] = view.word_scores(words, list(found))
            yield TableCandidates(scores, [document for document, _ in found.values()], view)

    def info(self) -> dict[str, Any]:
        """What is in the collection."""
        facts = self._table.facts()
        embedder = facts.get("embedder", {})
        return {
            "address": self._table.address,
            "collection": self._table.collection,
            "files": sum(file.loaded for file in self._table.files().values()),
            **self._table.info(),
            "embeddings": embedder.get("name") or embedder.get("model") or embedder.get("class"),
            "dimension": facts.get("dimension"),
            "format_version": FORMAT_VERSION,
        }

    def close(self) -> None:
        """Let go of connections."""
        self._table.close()


@dataclass
class TableCandidates:
    """See `kogemma_rag.retrievers.Candidates`."""

    scores: NDArray[np.float32]
    found: Sequence[Document]
    view: TableView

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """See `Candidates.documents`."""
        return [self.found[row] for row in rows]

    def siblings(self, document: Document) -> list[Document]:
        """See `Candidates.siblings`."""
        if not isinstance(document.metadata.get("source"), str):
            return [document]
        return sorted(self.view.siblings(document), key=_place)


def _place(document: Document) -> tuple[Any, ...]:
    """What puts the chunks of one source in reading order."""
    names = ("page", "slide", "row", "line", "start_index")
    numbers = (document.metadata.get(name) for name in names)
    return (*(number if isinstance(number, int) else 0 for number in numbers), str(document.id))


def _chunks(
    change: FileChange, computed: Sequence[tuple[Any, Any]], taken: Mapping[str, str | None]
) -> list[Chunk]:
    """The chunks of a file, no two with one id."""
    path = change.file.path
    found: dict[str, Chunk] = {}
    for document, (vector, text) in zip(change.documents or (), computed, strict=True):
        id_ = document_id(document)
        if taken.get(id_, path) != path:
            # The same text at the same place of a file of the same name elsewhere is another one.
            id_ = document_id(document, salt=path)
        found[id_] = Chunk(with_id(document, id_), vector, words_of(text), path)
    return list(found.values())
