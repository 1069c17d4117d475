"""Chunks of a very large file, on disk until they are written. Knows no index."""

import json
import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from tempfile import TemporaryFile
from typing import Generic, TypeVar, overload

from langchain_core.documents import Document

from kogemma_rag.chunk_readers import ReadChunk
from kogemma_rag.lexical import PreparedText

Part = TypeVar("Part")


class Spool:
    """Chunks in a temporary file without a name, as JSON; `documents` and `words` read them."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - gone with the last of what reads it
        self._starts = array("Q", [0])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def extend(self, chunks: Iterable[ReadChunk]) -> None:
        """Append chunks; all of them have words, or none."""
        self._file.seek(0, os.SEEK_END)
        for document, words, _ in chunks:
            line = json.dumps([document.page_content, document.metadata, words]).encode()
            self._file.write(line)
            self._starts.append(self._starts[-1] + len(line))

    def chunk(self, row: int) -> ReadChunk:
        """One of them."""
        self._file.seek(self._starts[row])
        text, metadata, words = json.loads(
            self._file.read(self._starts[row + 1] - self._starts[row])
        )
        document = Document(page_content=text, metadata=metadata)
        return ReadChunk(document, None if words is None else PreparedText(*words))

    @property
    def documents(self) -> Sequence[Document]:
        """Of the chunks."""
        return _Column(self, lambda chunk: chunk.document)

    @property
    def words(self) -> Sequence[PreparedText]:
        """Of the chunks, where they have some."""
        if not len(self) or self.chunk(0).words is None:
            return ()
        return _Column(self, lambda chunk: chunk.words or PreparedText("", ""))


class _Column(Sequence[Part], Generic[Part]):
    """One part of every chunk, read when it is asked for."""

    def __init__(self, spool: Spool, part: Callable[[ReadChunk], Part]) -> None:
        self._spool = spool
        self._part = part

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, place: int) -> Part: ...
    @overload
    def __getitem__(self, place: slice) -> list[Part]: ...
    def __getitem__(self, place: int | slice) -> Part | list[Part]:
        rows = range(len(self))[place]
        if isinstance(rows, range):
            return [self._part(self._spool.chunk(row)) for row in rows]
        return self._part(self._spool.chunk(rows))
