"""What the fault tests share: cheap embeddings, made-up documents, and answers to compare."""

import hashlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss  # noqa: F401 - loaded once here, not in every forked child
import numpy as np
import tantivy  # noqa: F401
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from kogemma_rag.index import DocumentIndex
from kogemma_rag.lexical import LexicalIndex

LexicalIndex.prepare(["서울"])  # loads the analyzer
WORDS = (
    *("서울", "부산", "학교", "도서관", "규정", "계약", "연구", "바다", "기차", "사과"),
    *("회의", "예산", "휴가", "직원", "보고서", "건물", "시장", "병원", "농장", "강물"),
)


class HashEmbeddings(Embeddings):
    """The same vector for the same text, 64 numbers; means nothing, costs nothing."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        digest = hashlib.blake2b(text.encode(), digest_size=64).digest()
        return (np.frombuffer(digest, np.uint8) - 127.5).tolist()


def open_index(folder: Path) -> DocumentIndex:
    return DocumentIndex.open(folder, HashEmbeddings())


def sentence(*numbers: int) -> str:
    """Korean words that depend on the numbers, and the numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=12).digest()
    words = " ".join(WORDS[byte % len(WORDS)] for byte in digest)
    return f"{words} 그리고 {'번과 '.join(map(str, numbers))}번의 글입니다."


def group(number: int, version: int, size: int) -> list[Document]:
    """Documents that are always written together."""
    return [
        Document(
            id=f"group-{number}-{part}",
            page_content=sentence(number, version, part),
            metadata={"group": number, "version": version, "source": f"group-{number}"},
        )
        for part in range(size)
    ]


def in_a_child(work: Callable[[], Any], *, say: Callable[[str], None] = lambda _: None) -> int:
    """Run something in a forked process.

    Returns:
        0, 1 after an exception (told to `say`), or the negative number of the signal it died of.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, it is told
            with os.fdopen(writing, "w") as out:
                out.write(traceback.format_exc())
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    if text:
        say(text)
    return os.waitstatus_to_exitcode(status)
