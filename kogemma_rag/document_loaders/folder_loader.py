"""A file or folder in, documents out, parsed in worker processes. Knows no format."""

import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from tqdm import tqdm

from kogemma_rag.document_loaders.errors import (
    DocumentLoadError,
    SkippedPart,
    UnsupportedFormatError,
)
from kogemma_rag.document_loaders.file_loader import source_name
from kogemma_rag.document_loaders.parser_pool import ParserPool
from kogemma_rag.read_ahead import ReadAhead

# So many files for each process are read, or wait, ahead of the one whose documents are taken...
_FILES_AHEAD = 2
# ...and of each at most so many documents.
_DOCUMENTS_AHEAD = 64
_MOST_WORKERS = 8


@dataclass
class FileReport:
    """What came of a file.

    Attributes:
        source: What metadata["source"] of its documents says.
        outcome: "read"; "skipped" where no loader reads its format; "failed" where it cannot be
            read for another reason.
        reason: A Korean sentence, where it was not read.
        parts: Its parts, such as attachments, that could not be read.
        documents: How many there are.
        size: Bytes.
        seconds: What reading took.
    """

    source: str
    outcome: Literal["read", "skipped", "failed"] = "read"
    reason: str | None = None
    parts: list[SkippedPart] = field(default_factory=list)
    documents: int = 0
    size: int = 0
    seconds: float = 0.0


@dataclass
class LoadReport:
    """What came of the files that were read, in their order."""

    files: list[FileReport] = field(default_factory=list)

    def count(self, outcome: Literal["read", "skipped", "failed"]) -> int:
        """How many files there are of an outcome."""
        return sum(file.outcome == outcome for file in self.files)

    def __str__(self) -> str:
        """A line of counts, and one for each file or part that was not read."""
        lines = [
            f"읽음 {self.count('read')}, 건너뜀 {self.count('skipped')}, "
            f"실패 {self.count('failed')} · 문서 {sum(file.documents for file in self.files)}개"
        ]
        for file in self.files:
            source = _one_line(file.source)
            if file.reason is not None:
                word = "건너뜀" if file.outcome == "skipped" else "실패"
                lines.append(f"  {word}: {source}: {_one_line(file.reason)}")
            lines += [
                f"  일부 빠짐: {source} › {_one_line(part)}: {_one_line(why)}"
                for part, why in file.parts
            ]
        return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


class FolderLoader(BaseLoader):
    """Everything under a folder, or one file, read by several processes at once.

    Documents come in the order of the files' names, however many processes there are. A file of a
    folder that cannot be read is named by a warning and in the report, and the rest goes on.

    Args:
        path: A file or folder.
        root: metadata["source"] is relative to it; without it, it is the path as given.
        follow_symlinks: Whether to go where symbolic links point, out of the folder too.
        ocr: Whether to read scanned pages; needs the extra `ocr`.
        workers: How many files are read at once; None is one for each core, at most eight.
        progress: Whether to draw a bar on stderr, of a folder.

    Attributes:
        report: Of the last reading, as far as it got.

    Raises:
        ValueError: If there is to be no worker.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        root: Path | None = None,
        follow_symlinks: bool = False,
        ocr: bool = False,
        workers: int | None = None,
        progress: bool = False,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; it must be 1 or more")
        self._path = Path(path)
        self._root = root
        self._follow_symlinks = follow_symlinks
        self._ocr = ocr
        self._workers = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
        self._progress = progress
        self.report = LoadReport()

    def lazy_load(self) -> Iterator[Document]:
        """Read, document by document.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            DocumentLoadError: If the path is a file that cannot be read.
        """
        report = self.report = LoadReport()
        failure: DocumentLoadError | None = None
        found = find_files(self._path, follow_symlinks=self._follow_symlinks)
        files = iter(found)
        is_folder = self._path.is_dir()
        most = self._workers if is_folder else 1
        waiting: deque[tuple[FileReport, ReadAhead[Document]]] = deque()
        # The parsers end first: a thread may wait for one.
        with (
            ThreadPoolExecutor(most) as threads,
            ParserPool(most) as parsers,
            tqdm(
                total=len(found),
                desc="읽기",
                unit="파일",
                file=sys.stderr,
                disable=not (self._progress and is_folder),
            ) as bar,
        ):
            try:
                while True:
                    for file in islice(files, _FILES_AHEAD * most - len(waiting)):
                        told = FileReport(source_name(file, self._root))
                        read = self._read(file, told, parsers)
                        waiting.append((told, ReadAhead(read, threads, most=_DOCUMENTS_AHEAD)))
                    if not waiting:
                        break
                    told, documents = waiting[0]
                    report.files.append(told)
                    failure = yield from self._taken(told, documents)
                    waiting.popleft()
                    bar.update()
                    if failure is not None and is_folder:
                        warnings.warn(str(failure), stacklevel=2)
            finally:
                for _, documents in waiting:
                    documents.close()
        if failure is not None and not is_folder:
            raise failure  # the parsers live on: nothing is wrong with them

    def _taken(
        self, told: FileReport, documents: ReadAhead[Document]
    ) -> Generator[Document, None, DocumentLoadError | None]:
        """The documents of a file; returns what was wrong with it."""
        try:
            for document in documents:
                told.documents += 1
                yield document
        except DocumentLoadError as error:
            unsupported = isinstance(error, UnsupportedFormatError)
            told.outcome, told.reason = "skipped" if unsupported else "failed", error.reason
            return error
        return None

    def _read(
        self, path: Path, told: FileReport, parsers: ParserPool
    ) -> Generator[Document, None, None]:
        started = time.monotonic()
        request = {"path": str(path.absolute()), "source": told.source, "ocr": self._ocr}
        with closing(parsers.answers(request)) as answers:
            try:
                told.size = path.stat().st_size
                for answer in answers:
                    if "part" in answer:
                        told.parts.append(SkippedPart(answer["part"], answer["reason"]))
                    else:
                        yield Document(page_content=answer["text"], metadata=answer["metadata"])
            except OSError as error:
                raise DocumentLoadError(path, f"파일을 열 수 없습니다: {error.strerror}") from error
            finally:
                told.seconds = time.monotonic() - started


def find_files(path: str | Path, *, follow_symlinks: bool = False) -> list[Path]:
    """Every regular file under a folder, in the order of their names; a file gives itself.

    Files of unsupported formats are among them, so that they can be reported. Hidden files and
    folders and the lock files of Office ("~$…") are left out.

    Args:
        path: A file or folder.
        follow_symlinks: Whether symbolic links count as what they point to; else they are left
            out. A folder that is reached twice is read once.

    Raises:
        FileNotFoundError: If there is nothing at the path.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder at {path}")
    if not path.is_dir():
        return [path]
    found = []
    visited = {path.resolve()}
    walk = os.walk(path, onerror=_warn_unreadable, followlinks=follow_symlinks)
    for folder, subfolders, names in walk:
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if follow_symlinks:
            subfolders[:] = [name for name in subfolders if _is_new(Path(folder, name), visited)]
        files = (Path(folder, name) for name in names if not name.startswith((".", "~$")))
        found += [
            file for file in files if file.is_file() and (follow_symlinks or not file.is_symlink())
        ]
    return sorted(found)


def _is_new(folder: Path, visited: set[Path]) -> bool:
    resolved = folder.resolve()
    if resolved in visited:
        return False
    visited.add(resolved)
    return True


def _warn_unreadable(error: OSError) -> None:
    warnings.warn(f"{error.filename}: {error.strerror}", stacklevel=2)


def load_file(path: str | Path, *, root: Path | None = None, ocr: bool = False) -> list[Document]:
    """Read one file in a worker process.

    Args:
        path: The file.
        root: metadata["source"] is relative to it; without it, it is the path as given.
        ocr: Whether to read scanned pages; needs the extra `ocr`.

    Returns:
        Documents in the order of the file; for their metadata see `FileLoader`.

    Raises:
        DocumentLoadError: If the file cannot be read: locked, damaged, without text, not supported,
            too large, or over the limits of time and memory.
    """
    return FolderLoader(path, root=root, ocr=ocr).load()


def load_documents(
    path: str | Path, *, follow_symlinks: bool = False, ocr: bool = False
) -> Iterator[Document]:
    """Read a file or everything under a folder; see `FolderLoader`, which also tells what it did.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        DocumentLoadError: If the path is a file that cannot be read.
    """
    return FolderLoader(path, follow_symlinks=follow_symlinks, ocr=ocr).lazy_load()
