"""The other end of the sandbox: paths in on stdin, documents out on stdout, as frames of JSON.

One request brings a frame for each document, one for each part that was left out (name and
reason), and one that ends: {"done": true} or {"error": reason, "unsupported": whether its format
is}. Run by `sandbox.py` only.
"""

import faulthandler
import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from kogemma_rag.document_loaders import LOADERS
from kogemma_rag.document_loaders.errors import (
    DAMAGED,
    TOO_SLOW,
    DocumentLoadError,
    UnsupportedFormatError,
)
from kogemma_rag.document_loaders.formats import true_suffix
from kogemma_rag.document_loaders.frames import MEMORY_LIMIT, TIME_LIMIT, read_frame, write_frame

_LEAST_SECONDS = 0.1  # the watchdog takes no zero
OUT_OF_MEMORY = f"읽는 데 메모리가 {MEMORY_LIMIT >> 20}MB 넘게 듭니다. 나누어 저장하세요"


def main() -> None:
    """Serve documents until stdin ends."""
    serve(_documents)


def serve(
    messages: Callable[[dict[str, Any]], Iterator[dict[str, Any]]], *, memory: int = MEMORY_LIMIT
) -> None:
    """Answer requests until stdin ends.

    Args:
        messages: Answers one; it may take `TIME_LIMIT` for each message, and what `_seconds` says
            for all.
        memory: Bytes of address space that are allowed.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a parser prints must not get between the frames.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory(memory)
    with Path(os.devnull).open("w") as nowhere:
        while request := read_frame(sys.stdin.buffer):
            left = _seconds(request)
            asked = time.monotonic()
            # A watchdog in C: it ends the process even when a parser hangs in native code.
            faulthandler.dump_traceback_later(min(TIME_LIMIT, left), exit=True, file=nowhere)
            with closing(_answers(messages, request)) as answers:
                for message in answers:
                    # The reader may take its time.
                    faulthandler.cancel_dump_traceback_later()
                    left -= time.monotonic() - asked
                    if left <= 0 and not message.keys() & {"done", "error"}:
                        write_frame(replies, _failure(TOO_SLOW))
                        break
                    write_frame(replies, message)
                    asked = time.monotonic()
                    watched = min(TIME_LIMIT, max(left, _LEAST_SECONDS))
                    faulthandler.dump_traceback_later(watched, exit=True, file=nowhere)
            faulthandler.cancel_dump_traceback_later()


def _seconds(request: dict[str, Any]) -> float:
    """What a file may take in all: the time limit, and once more for each megabyte."""
    if request["ocr"]:
        return math.inf
    try:
        return TIME_LIMIT * (1 + Path(request["path"]).stat().st_size / 2**20)
    except OSError:
        return TIME_LIMIT


def read(
    request: dict[str, Any], messages: Callable[[Document, float], Iterator[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """What is to be said of the file that a request names.

    Args:
        request: Its "path", "source" and whether to read images of text ("ocr").
        messages: Of each document, and of the share of the file that was read by then, 0 if
            unknown.
    """
    path = Path(request["path"])
    loader = LOADERS[true_suffix(path)](path, source=request["source"], ocr=request["ocr"])
    size = path.stat().st_size
    for document in loader.lazy_load():
        yield from messages(document, loader.bytes_read / size)
    for part, reason in loader.skipped:
        yield {"part": part, "reason": reason}


def _documents(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    def messages(document: Document, _: float) -> Iterator[dict[str, Any]]:
        yield {"text": document.page_content, "metadata": document.metadata}

    return read(request, messages)


def _answers(
    messages: Callable[[dict[str, Any]], Iterator[dict[str, Any]]], request: dict[str, Any]
) -> Generator[dict[str, Any], None, None]:
    try:
        yield from messages(request)
    except DocumentLoadError as error:
        yield _failure(error.reason, unsupported=isinstance(error, UnsupportedFormatError))
    except MemoryError:
        yield _failure(OUT_OF_MEMORY)
    except ImportError as error:
        yield _failure(str(error))
    except OSError as error:
        yield _failure(f"파일을 열 수 없습니다: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - the outer edge of a process: parsers raise anything
        yield _failure(f"{DAMAGED} ({type(error).__name__}: {error})"[:500])
    else:
        yield {"done": True}


def _failure(reason: str, *, unsupported: bool = False) -> dict[str, Any]:
    return {"error": reason, "unsupported": unsupported}


def _limit_memory(memory: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
