"""A file in, its chunks out, by parser processes. Knows no index."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from langchain_core.documents import Document

from kogemma_rag.document_loaders import SkippedPart
from kogemma_rag.document_loaders.parser_pool import ParserPool
from kogemma_rag.lexical import PreparedText


class ReadChunk(NamedTuple):
    """A chunk of a file."""

    document: Document
    words: PreparedText | None
    """Of its indexed text, if they were asked for."""
    share: float = 0.0
    """How much of the file was read by then, from 0 to 1; 0 if unknown."""


class ChunkReaders(ParserPool):
    """Reads, splits and analyzes files.

    Args:
        most: How many files are read at once.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most, "kogemma_rag.chunk_worker")

    def read(
        self, path: Path, source: str, *, analyze: bool, ocr: bool = False
    ) -> Generator[ReadChunk | SkippedPart, None, None]:
        """The chunks of a file, in its order, as they are read; last, the parts it could not read.

        Raises:
            DocumentLoadError: If the file cannot be read, for whatever reason.
        """
        request = {"path": str(path.absolute()), "source": source, "analyze": analyze, "ocr": ocr}
        with closing(self.answers(request)) as answers:
            for answer in answers:
                if "part" in answer:
                    yield SkippedPart(answer["part"], answer["reason"])
                    continue
                yield ReadChunk(
                    Document(page_content=answer["text"], metadata=answer["metadata"]),
                    PreparedText(answer["morphemes"], answer["characters"]) if analyze else None,
                    answer["share"],
                )
