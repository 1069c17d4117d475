"""A folder in, its chunks in an index out, kept in step: only what changed is read again.

Says which files are read, and what is told of them; `ingest` reads them, a `SyncTarget` keeps them.
"""

import os
import stat
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from langchain_core.documents import Document
from tqdm import tqdm

from kogemma_rag import __version__
from kogemma_rag.document_loaders import find_files, source_name
from kogemma_rag.embedder import Embedder
from kogemma_rag.ingest import Batch, FileToRead, Prepared, ReadFile, sha256_of
from kogemma_rag.ingest import ingest as ingest_here
from kogemma_rag.storage import IndexedFile

# A change within the resolution of a file system's clock leaves the times as they were, so times
# this close to the moment of reading prove nothing (2 s: FAT). Git calls such files racy.
_CLOCK_RESOLUTION_NS = 2_000_000_000
_KEPT = "이전에 읽은 내용은 그대로 검색됩니다"


@dataclass(frozen=True)
class SyncReport:
    """What a sync did. Numbers are of files but for `chunks` (written) and `seconds`.

    `failed` holds (source, reason) of every file that cannot be read; where an earlier version
    of it was read, that version stays and the reason says so. `skipped` holds ("file › part",
    reason) of the parts, such as attachments, that could not be read of the files read now. A file
    that another sync recorded meanwhile counts as unchanged.
    """

    added: int
    updated: int
    deleted: int
    unchanged: int
    failed: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    chunks: int
    seconds: float


@dataclass(frozen=True)
class FileChange:
    """A file whose record changes, and its chunks with it or not.

    Attributes:
        before: What was remembered when it was looked at; None for a new file.
        file: What is to be remembered.
        documents: Its chunks, in the place of its earlier ones; None leaves those. Of a very
            large file they are on disk: take them in slices.
    """

    before: IndexedFile | None
    file: IndexedFile
    documents: Sequence[Document] | None


class SyncTarget(Protocol):
    """Where the chunks of files go, and where the files are remembered."""

    @property
    def folder(self) -> Path | None:
        """The target's own, left out when files are looked for."""

    @property
    def embedder(self) -> Embedder | None:
        """Makes the vectors that `write` wants; None where the target makes its own."""

    @property
    def analyzes(self) -> bool:
        """Whether `write` wants the words of chunks."""

    def files(self) -> dict[str, IndexedFile]:
        """Every file that is remembered, by its path."""

    def write(self, changes: Sequence[FileChange], prepared: Prepared) -> dict[str, int]:
        """Make changes durable together.

        A file whose record is no longer `before` was synced by somebody else: it is left alone.

        Args:
            changes: Of files, none twice.
            prepared: Of all their documents, one after another.

        Returns:
            How many chunks were written of each file, by path, without those left alone.
        """

    def forget(self, paths: Sequence[str]) -> None:
        """Drop files and their chunks, together."""


class Ingest(Protocol):
    """Reads and embeds files; see `kogemma_rag.ingest.ingest`."""

    def __call__(
        self, files: Sequence[FileToRead], *, embedder: Embedder | None, analyze: bool
    ) -> Generator[Batch, None, None]:
        """Batches; each file is in one, as they were given."""


@dataclass(frozen=True)
class _File:
    """A file to be read: what it was, and what it is, but for its content."""

    to_read: FileToRead
    before: IndexedFile | None
    now: IndexedFile


class FolderSync:
    """Brings the chunks of one file or folder up to date.

    Args:
        target: Where the chunks are kept.
        path: A file or folder. Files indexed from elsewhere are left alone.
        follow_symlinks: Whether to go where symbolic links point, out of the folder too.
        ocr: Whether to read scanned pages; needs the extra `ocr`. Files that were read before are
            not read again for it.
        workers: How many files are read at once; see `kogemma_rag.ingest.ingest`.
        ingest: Reads and embeds files, in the place of that function and its workers.
        sources: What metadata["source"] says of files of a folder, by resolved path; others of the
            folder are then left alone. By default each is called by its path in the folder.
        leave_out: Files that are not to be in the index, though they are in the folder.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If there is to be no worker, or both are given; or sources of other files.
    """

    def __init__(
        self,
        target: SyncTarget,
        path: str | Path,
        *,
        follow_symlinks: bool = False,
        ocr: bool = False,
        workers: int | None = None,
        ingest: Ingest | None = None,
        sources: Mapping[str, str] | None = None,
        leave_out: Iterable[str | Path] = (),
    ) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no file or folder at {path}")
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; it must be 1 or more")
        if workers is not None and ingest is not None:
            raise ValueError("workers are those of this machine; give them or ingest, not both")
        self._target = target
        self._path = Path(path).resolve()
        self._root = self._path if self._path.is_dir() else self._path.parent
        self._sources = None
        if sources is not None:
            self._sources = {Path(file): source for file, source in sources.items()}
            if others := [str(file) for file in self._sources if self._path not in file.parents]:
                raise ValueError(f"sources names files that are not in {self._path}: {others[:10]}")
        self._left_out = {Path(file) for file in leave_out}
        self._follow_symlinks = follow_symlinks
        self._ocr = ocr
        self._bar = _Bar()
        self._ingest = ingest or partial(ingest_here, workers=workers, progress=self._bar.partly)
        self._counts = dict.fromkeys(("added", "updated", "deleted", "unchanged", "chunks"), 0)
        self._failed: dict[str, str] = {}
        self._skipped: list[tuple[str, str]] = []
        self._touched: list[FileChange] = []

    def run(self, *, progress: bool) -> SyncReport:
        """Do it.

        Args:
            progress: Whether to draw a bar on stderr while there is something to do.
        """
        start = time.monotonic()
        known = self._known()
        files = {_key(file): file for file in self._files()}
        self._drop([file for path, file in known.items() if path not in files])
        changed = [
            file for path, found in files.items() if (file := self._look(found, known.get(path)))
        ]
        if self._touched:
            self._target.write(self._touched, Prepared(np.empty((0, 0), np.float32), ()))
        if changed:
            self._bring(changed, progress=progress)
        return SyncReport(
            **self._counts,
            failed=tuple(sorted(self._failed.items())),
            skipped=tuple(self._skipped),
            seconds=time.monotonic() - start,
        )

    def _bring(self, changed: Sequence[_File], *, progress: bool) -> None:
        """Read and write files, in order."""
        files = iter(changed)
        read = self._ingest(
            [file.to_read for file in changed],
            embedder=self._target.embedder,
            analyze=self._target.analyzes,
        )
        with self._bar.drawn(changed, progress=progress), closing(read) as batches:
            for batch in batches:
                written = [next(files) for _ in batch.files]
                self._commit(written, batch)
                self._bar.wholly(written, self._counts["chunks"])

    def _known(self) -> dict[str, IndexedFile]:
        """What is remembered of the files at or below the path."""
        files = self._target.files()
        if self._sources is not None:
            return {path: files[path] for path in map(_key, self._files()) if path in files}
        known = {path: file for path, file in files.items() if _is_below(path, _key(self._path))}
        index = self._foreign_folder()
        if index is None:
            return known
        return {path: file for path, file in known.items() if not _is_below(path, _key(index))}

    def _files(self) -> Iterator[Path]:
        if self._sources is not None:
            yield from self._sources
            return
        index = self._foreign_folder()
        for file in find_files(self._path, follow_symlinks=self._follow_symlinks):
            if (index is None or index not in file.parents) and file not in self._left_out:
                yield file

    def _foreign_folder(self) -> Path | None:
        """The target's folder, whose files are not a folder's around it; they can be named."""
        index = None if self._target.folder is None else self._target.folder.resolve()
        return None if index in self._path.parents else index

    def _is_gone(self, path: str) -> bool:
        """Whether a file that was not found is really no more, not merely out of reach."""
        try:
            linked = not self._follow_symlinks and os.path.realpath(path) != path
            if linked or not stat.S_ISREG(Path(path).stat().st_mode):
                return True
            reason = "폴더의 목록을 읽을 수 없습니다. 권한을 확인하세요"
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            reason = str(error.strerror)
        self._failed[self._source(Path(path))] = f"{reason} ({_KEPT})"
        return False

    def _drop(self, missing: Sequence[IndexedFile]) -> None:
        gone = [
            file
            for file in missing
            if Path(file.path) in self._left_out or self._is_gone(file.path)
        ]
        if gone:
            self._target.forget([file.path for file in gone])
            self._counts["deleted"] += sum(file.loaded for file in gone)

    def _look(self, path: Path, before: IndexedFile | None) -> _File | None:
        """The file if it must be read; else it is counted, and None."""
        source = self._source(path)
        file = FileToRead(path, source, self._ocr)
        try:
            now = _stated(path)
            if before is None:
                return _File(file, None, now)
            same = _same_times(before, now) or before.sha256 == sha256_of(path)
        except OSError as error:
            self._fail(source, f"파일을 열 수 없습니다: {error.strerror}", before)
            return None
        if not same:
            return _File(file, before, now)
        untouched = (before.mtime_ns, before.ctime_ns) == (now.mtime_ns, now.ctime_ns)
        if before.error is not None:
            # Another version of ours, a touch, or another way to read asks for another try.
            if not untouched or before.version != __version__ or self._ocr:
                return _File(file, before, now)
            self._fail(source, before.error, before)
            return None
        self._counts["unchanged"] += 1
        if not untouched:
            touched = replace(now, sha256=before.sha256, loaded=True)
            self._touched.append(FileChange(before, touched, None))
        return None

    def _commit(self, files: Sequence[_File], batch: Batch) -> None:
        pairs = list(zip(files, batch.files, strict=True))
        changes = [_change(file, read) for file, read in pairs if read.sha256]
        written = self._target.write(changes, batch.prepared) if changes else {}
        self._counts["chunks"] += sum(written.values())
        for file, read in pairs:
            source = file.to_read.source
            self._skipped += [(f"{source} › {part}", why) for part, why in read.skipped]
            if read.error is not None:
                self._fail(source, read.error, file.before)
            elif file.now.path not in written:
                self._counts["unchanged"] += 1
            else:
                updated = file.before is not None and file.before.loaded
                self._counts["updated" if updated else "added"] += 1

    def _fail(self, source: str, reason: str, before: IndexedFile | None) -> None:
        kept = before is not None and before.loaded
        self._failed[source] = f"{reason} ({_KEPT})" if kept else reason

    def _source(self, path: Path) -> str:
        return source_name(path, self._root) if self._sources is None else self._sources[path]


class _Bar:
    """Progress on stderr by bytes: a file that is read and embedded counts by its size."""

    def __init__(self) -> None:
        self._bar = tqdm(disable=True)
        self._sizes: dict[Path, int] = {}
        self._counted: dict[Path, int] = {}
        self._files = 0
        self._started = 0.0

    @contextmanager
    def drawn(self, files: Sequence[_File], *, progress: bool) -> Iterator[None]:
        self._sizes = {file.to_read.path: file.now.size for file in files}
        self._bar = tqdm(
            total=sum(self._sizes.values()),
            desc="색인",
            unit="B",
            unit_scale=True,
            file=sys.stderr,
            disable=not progress,
        )
        self._started = time.monotonic()
        with self._bar:
            yield

    def partly(self, file: FileToRead, share: float) -> None:
        """So much of the work on a file is done; from any thread."""
        self._count(file.path, int(share * self._sizes[file.path]))

    def wholly(self, files: Sequence[_File], chunks: int) -> None:
        """Files are done; so many chunks were written of all."""
        self._files += len(files)
        rate = chunks / max(time.monotonic() - self._started, 1e-9)
        told = f"파일 {self._files}/{len(self._sizes)}, 문단 {rate:.0f}개/초"
        self._bar.set_postfix_str(told, refresh=False)
        for file in files:
            self._count(file.to_read.path, file.now.size)

    def _count(self, path: Path, done: int) -> None:
        with self._bar.get_lock():
            before = self._counted.get(path, 0)
            self._counted[path] = done
        self._bar.update(done - before)


def _change(file: _File, read: ReadFile) -> FileChange:
    if read.error is None:
        now = replace(file.now, sha256=read.sha256, loaded=True)
        return FileChange(file.before, now, read.documents)
    loaded = file.before is not None and file.before.loaded
    now = replace(file.now, sha256=read.sha256, loaded=loaded, error=read.error)
    return FileChange(file.before, now, None)


def _key(path: Path) -> str:
    """The path as text that any database can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_below(path: str, top: str) -> bool:
    return f"{path}/".startswith(top.rstrip("/") + "/")


def _stated(path: Path) -> IndexedFile:
    """A file as it is now, its content not looked at yet."""
    checked_ns = time.time_ns()
    now = path.stat()
    return IndexedFile(
        path=_key(path),
        size=now.st_size,
        mtime_ns=now.st_mtime_ns,
        ctime_ns=now.st_ctime_ns,
        checked_ns=checked_ns,
        sha256="",
        loaded=False,
        error=None,
        version=__version__,
    )


def _same_times(before: IndexedFile, now: IndexedFile) -> bool:
    """Whether size and times prove that the content is the same.

    The time of the last status change (ctime) cannot be set back, as that of the content can.
    """
    facts = (before.size, before.mtime_ns, before.ctime_ns)
    latest = max(before.mtime_ns, before.ctime_ns)
    return (
        facts == (now.size, now.mtime_ns, now.ctime_ns)
        and latest + _CLOCK_RESOLUTION_NS < before.checked_ns
    )
