"""What a database must be able to do to hold the chunks of an index, and what is put there.

Knows no database: `postgres.py` and `milvus.py` are the ones there are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.engines.words import Words
from kogemma_rag.storage import IndexedFile

FORMAT_VERSION = 1
BATCH = 256  # chunks that are sent at a time
Row = TypeVar("Row")

# Part of the names of tables and indexes, of which PostgreSQL keeps 63 characters.
_COLLECTION = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Chunk:
    """A document ready to be written."""

    document: Document
    """With an id."""
    vector: NDArray[np.float32]
    """Shape (dim,), unit length."""
    words: Words
    path: str | None = None
    """The file it came from, when that is kept in step."""


@dataclass(frozen=True)
class FileChunks:
    """What is to be remembered of a file, and its chunks; None leaves those that are there."""

    file: IndexedFile
    chunks: Sequence[Chunk] | None


class TableView(Protocol):
    """What is read for one query."""

    def nearest(
        self, vector: NDArray[np.float32], k: int, filter: Mapping[str, Any] | None
    ) -> list[str]:
        """Ids of the k chunks nearest to a vector; fewer only when there are no more."""
        ...

    def best_by_words(self, words: Words, k: int, filter: Mapping[str, Any] | None) -> list[str]:
        """Ids of the best chunks that share a word with a query, k of each kind of word at most."""
        ...

    def word_scores(self, words: Words, ids: Sequence[str]) -> NDArray[np.float32]:
        """BM25 over morphemes and over bigrams, shape (len(ids), 2); 0 where nothing is shared."""
        ...

    def fetch(self, ids: Sequence[str]) -> dict[str, tuple[Document, NDArray[np.float32]]]:
        """Documents and vectors of ids; unknown ones are left out."""
        ...

    def siblings(self, document: Document) -> list[Document]:
        """The chunks of the same file and source as a document with one, in no order."""
        ...


class ChunkTable(Protocol):
    """The chunks of one collection in a database, with what is known of their files.

    Changes are made inside `writing`: together, where the database can; else in an order that
    leaves nothing behind for good when it is cut off.
    """

    address: str
    """Where it is, without a password."""
    collection: str

    def facts(self) -> dict[str, Any]:
        """What is recorded of the vectors: `embedder`, `dimension`; empty before the first."""
        ...

    def writing(self, purpose: str) -> AbstractContextManager[None]:
        """Be the only writer within; may be nested."""
        ...

    def bind(self, embedder: Mapping[str, Any], dimension: int) -> None:
        """Make room for vectors, and record what makes them. When nothing is recorded."""
        ...

    def put(self, chunks: Sequence[Chunk]) -> None:
        """Write chunks, no two with one id, each in the place of one with the same id."""
        ...

    def put_files(self, files: Sequence[FileChunks]) -> None:
        """Write files, none twice: chunks in the place of those of the same path, and records."""
        ...

    def forget(self, paths: Sequence[str]) -> None:
        """Drop files and their chunks."""
        ...

    def delete(self, ids: Sequence[str] | None) -> None:
        """Delete chunks by id, None for all; unknown ids are no error."""
        ...

    def files(self, paths: Sequence[str] | None = None) -> dict[str, IndexedFile]:
        """What is remembered of files, by path; of all when paths is None."""
        ...

    def paths(self, ids: Sequence[str]) -> dict[str, str | None]:
        """The files that known ids came from; unknown ids are left out."""
        ...

    def reading(self) -> AbstractContextManager[TableView]:
        """What one query reads; one state of the database, where it can."""
        ...

    def info(self) -> dict[str, Any]:
        """How many `chunks`, and what `vector_index`."""
        ...

    def build_vector_index(self) -> None:
        """Search for vectors by a graph (HNSW) from now on: faster, and no longer exact."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def checked_collection(name: str) -> str:
    """The name of a collection, if it can be one.

    Raises:
        ValueError: If it cannot.
    """
    if not _COLLECTION.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a collection; use small letters a to z, digits and _, 40 "
            "at most, no digit first"
        )
    return name


def in_batches(chunks: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Chunks, so many at a time."""
    for start in range(0, len(chunks), BATCH):
        yield chunks[start : start + BATCH]
