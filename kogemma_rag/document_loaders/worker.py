"""The other end of the sandbox: paths in on stdin, documents out on stdout, as frames of JSON.

One request brings a frame for each document and one that ends: {"done": true} or
{"error": reason}. Run by `sandbox.py` only.
"""

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from kogemma_rag.document_loaders import LOADERS
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.formats import true_suffix
from kogemma_rag.document_loaders.frames import MEMORY_LIMIT, TIME_LIMIT, read_frame, write_frame

OUT_OF_MEMORY = f"읽는 데 메모리가 {MEMORY_LIMIT >> 20}MB 넘게 듭니다. 나누어 저장하세요"


def main() -> None:
    """Serve documents until stdin ends."""
    serve(_documents)


def serve(
    messages: Callable[[dict[str, Any]], Iterator[dict[str, Any]]], *, memory: int = MEMORY_LIMIT
) -> None:
    """Answer requests until stdin ends.

    Args:
        messages: Answers one; it may take `TIME_LIMIT` for each message.
        memory: Bytes of address space that are allowed.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a parser prints must not get between the frames.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory(memory)
    with Path(os.devnull).open("w") as nowhere:
        while request := read_frame(sys.stdin.buffer):
            # A watchdog in C: it ends the process even when a parser hangs in native code.
            faulthandler.dump_traceback_later(TIME_LIMIT, exit=True, file=nowhere)
            for message in _answers(messages, request):
                # The reader may take its time.
                faulthandler.cancel_dump_traceback_later()
                write_frame(replies, message)
                faulthandler.dump_traceback_later(TIME_LIMIT, exit=True, file=nowhere)
            faulthandler.cancel_dump_traceback_later()


def load(request: dict[str, Any]) -> Iterator[Document]:
    """The documents of the file that a request names."""
    path = Path(request["path"])
    return LOADERS[true_suffix(path)](path, source=request["source"]).lazy_load()


def _documents(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for document in load(request):
        yield {"text": document.page_content, "metadata": document.metadata}


def _answers(
    messages: Callable[[dict[str, Any]], Iterator[dict[str, Any]]], request: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    try:
        yield from messages(request)
    except DocumentLoadError as error:
        yield {"error": error.reason}
    except MemoryError:
        yield {"error": OUT_OF_MEMORY}
    except OSError as error:
        yield {"error": f"파일을 열 수 없습니다: {error.strerror or error}"}
    except Exception as error:  # noqa: BLE001 - the outer edge of a process: parsers raise anything
        yield {"error": f"{DAMAGED} ({type(error).__name__}: {error})"[:500]}
    else:
        yield {"done": True}


def _limit_memory(memory: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
