"""The program of a sync's parser processes: paths in, chunks out, with the words in them.

Reading, splitting and the analyzer hold the interpreter; in processes they run on all cores.
Run by `chunk_readers.py` only.
"""

import faulthandler
from collections.abc import Iterator
from typing import Any

from langchain_core.documents import Document

from kogemma_rag.document_loaders.frames import MEMORY_LIMIT
from kogemma_rag.document_loaders.worker import read, serve
from kogemma_rag.morphemes import bare_characters, content_morphemes
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.text_splitters import KoreanTextSplitter

_ANALYZER_MEMORY = 2**27  # bytes of address space; its dictionary takes 100 MB


def main() -> None:
    """Serve chunks until stdin ends."""
    serve(_chunks, memory=MEMORY_LIMIT + _ANALYZER_MEMORY)


def _chunks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    splitter = KoreanTextSplitter()

    def messages(document: Document, share: float) -> Iterator[dict[str, Any]]:
        # The limit of a single step is for parsers; a large text takes its time to split.
        faulthandler.cancel_dump_traceback_later()
        for chunk in splitter.split_documents([document]):
            message: dict[str, Any] = {
                "text": chunk.page_content,
                "metadata": chunk.metadata,
                "share": share,
            }
            if request["analyze"]:
                text = indexed_text(chunk)
                message["morphemes"] = " ".join(content_morphemes(text))
                message["characters"] = bare_characters(text)
            yield message

    return read(request, messages)
