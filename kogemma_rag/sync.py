"""A folder in, its chunks in a vector store out, kept in step: only what changed is read again.

Knows no lexical index; whoever keeps one is told after each commit.
"""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray
from tqdm import tqdm

from kogemma_rag import __version__
from kogemma_rag.document_loaders import DocumentLoadError, find_files, load_file, source_name
from kogemma_rag.storage import IndexedFile, Storage, document_id
from kogemma_rag.text_splitters import KoreanTextSplitter
from kogemma_rag.vectorstores import FaissVectorStore, fingerprint_of, with_id

# What is read before it is embedded and committed together: bounds memory and lost work.
_BATCH_CHUNKS = 256
_BATCH_FILES = 64
# A change within the resolution of a file system's clock leaves the times as they were, so times
# this close to the moment of reading prove nothing (2 s: FAT). Git calls such files racy.
_CLOCK_RESOLUTION_NS = 2_000_000_000
_READ_SIZE = 1 << 20  # bytes
_KEPT = "이전에 읽은 내용은 그대로 검색됩니다"


@dataclass(frozen=True)
class SyncReport:
    """What a sync did. Numbers are of files but for `chunks` (written) and `seconds`.

    `failed` holds (source, reason) of every file that cannot be read; where an earlier version
    of it was read, that version stays and the reason says so.
    """

    added: int
    updated: int
    deleted: int
    unchanged: int
    failed: tuple[tuple[str, str], ...]
    chunks: int
    seconds: float


@dataclass
class _File:
    """A file under way: what it was, what it is, and what was read from it."""

    path: Path
    source: str
    before: IndexedFile | None
    now: IndexedFile
    chunks: Sequence[Document] = ()


class FolderSync:
    """Brings the chunks of one file or folder up to date.

    Args:
        store: Where the chunks are kept.
        path: A file or folder. Files indexed from elsewhere are left alone.
        committed: Called after every change on disk.

    Raises:
        FileNotFoundError: If there is nothing at the path.
    """

    def __init__(
        self, store: FaissVectorStore, path: str | Path, committed: Callable[[], None]
    ) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no file or folder at {path}")
        self._store = store
        self._storage: Storage = store.storage
        self._path = Path(path).resolve()
        self._root = self._path if self._path.is_dir() else self._path.parent
        self._committed = committed
        self._splitter = KoreanTextSplitter()
        self._counts = dict.fromkeys(("added", "updated", "deleted", "unchanged", "chunks"), 0)
        self._failed: dict[str, str] = {}
        self._touched: list[IndexedFile] = []

    def run(self, *, progress: bool) -> SyncReport:
        """Do it.

        Args:
            progress: Whether to draw a bar on stderr while there is something to do.
        """
        start = time.monotonic()
        known = self._known()
        files = {_key(file): file for file in self._files()}
        self._drop([path for path in known if path not in files and self._is_gone(path)])
        changed = [
            file for path, found in files.items() if (file := self._look(found, known.get(path)))
        ]
        self._record_touched()
        with tqdm(
            total=len(changed),
            desc="색인",
            unit="파일",
            file=sys.stderr,
            disable=not (progress and changed),
        ) as bar:
            for batch in self._batches(changed, bar):
                self._commit(batch)
        return SyncReport(
            **self._counts,
            failed=tuple(sorted(self._failed.items())),
            seconds=time.monotonic() - start,
        )

    def _known(self) -> dict[str, IndexedFile]:
        """What is remembered of the files at or below the path."""
        top = _key(self._path)
        below = top.rstrip("/") + "/"
        files = self._storage.files()
        return {path: file for path, file in files.items() if f"{path}/".startswith(below)}

    def _files(self) -> Iterator[Path]:
        index = self._store.folder
        index = None if index is None else index.resolve()
        for file in find_files(self._path):
            if index is None or index not in file.parents:
                yield file

    def _is_gone(self, path: str) -> bool:
        """Whether a file that was not found is really no more, not merely out of reach."""
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return True
            reason = "폴더의 목록을 읽을 수 없습니다. 권한을 확인하세요"
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            reason = str(error.strerror)
        self._failed[self._source(Path(path))] = f"{reason} ({_KEPT})"
        return False

    def _drop(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        known = self._storage.files()
        with self._storage.transaction():
            for path in paths:
                self._storage.delete_file_chunks(path)
                self._storage.forget_file(path)
        self._counts["deleted"] += sum(known[path].loaded for path in paths)
        self._committed()

    def _record_touched(self) -> None:
        """Remember the new times of files with the old content, so as not to read them again."""
        if self._touched:
            with self._storage.transaction():
                for file in self._touched:
                    self._storage.record_file(file)

    def _look(self, path: Path, before: IndexedFile | None) -> _File | None:
        """The file if it must be read; else it is counted, and None."""
        source = self._source(path)
        try:
            now = _stated(path)
            if before is not None and _same_times(before, now):
                same = True
            else:
                now = replace(now, sha256=_sha256(path))
                same = before is not None and before.sha256 == now.sha256
        except OSError as error:
            self._fail(source, f"파일을 열 수 없습니다: {error.strerror}", before)
            return None
        if before is None or not same:
            return _File(path, source, before, now)
        untouched = (before.mtime_ns, before.ctime_ns) == (now.mtime_ns, now.ctime_ns)
        if before.error is not None:
            # Another version of ours, or a touch, asks for another try.
            if not untouched or before.version != __version__:
                return _File(path, source, before, replace(now, sha256=before.sha256))
            self._fail(source, before.error, before)
            return None
        self._counts["unchanged"] += 1
        if not untouched:
            self._touched.append(replace(now, sha256=before.sha256, loaded=True))
        return None

    def _batches(self, files: Sequence[_File], bar: "tqdm[None]") -> Iterator[list[_File]]:
        batch: list[_File] = []
        for file in files:
            # A name may hold what steers a terminal.
            bar.set_postfix_str("".join(filter(str.isprintable, file.path.name)))
            self._read(file)
            bar.update()
            batch.append(file)
            if sum(len(one.chunks) for one in batch) >= _BATCH_CHUNKS or len(batch) >= _BATCH_FILES:
                yield batch
                batch = []
        if batch:
            yield batch

    def _read(self, file: _File) -> None:
        loaded = file.before is not None and file.before.loaded
        try:
            documents = load_file(file.path, root=self._root)
        except DocumentLoadError as error:
            file.now = replace(file.now, loaded=loaded, error=error.reason)
            return
        file.chunks = self._splitter.split_documents(documents)
        file.now = replace(file.now, loaded=True)

    def _commit(self, batch: Sequence[_File]) -> None:
        vectors = self._store.embed([chunk for file in batch for chunk in file.chunks])
        with self._storage.transaction():
            if len(vectors):
                fingerprint = fingerprint_of(self._store.embeddings)
                self._storage.bind_embedder(fingerprint, vectors.shape[1])
            first = 0
            for file in batch:
                last = first + len(file.chunks)
                if file.now.error is None:
                    self._replace_chunks(file, vectors[first:last])
                self._storage.record_file(file.now)
                first = last
        for file in batch:
            self._count(file)
        self._committed()

    def _replace_chunks(self, file: _File, vectors: NDArray[np.float32]) -> None:
        self._storage.delete_file_chunks(file.now.path)
        ids = [document_id(chunk) for chunk in file.chunks]
        taken = self._storage.paths(ids)
        rows: dict[str, int] = {}
        for row, (chunk, id_) in enumerate(zip(file.chunks, ids, strict=True)):
            # The same text at the same place of a file of the same name elsewhere is another one.
            rows[document_id(chunk, salt=file.now.path) if id_ in taken else id_] = row
        documents = [with_id(file.chunks[row], id_) for id_, row in rows.items()]
        self._storage.add(documents, vectors[list(rows.values())], path=file.now.path)
        self._counts["chunks"] += len(documents)

    def _count(self, file: _File) -> None:
        if file.now.error is not None:
            self._fail(file.source, file.now.error, file.before)
            return
        updated = file.before is not None and file.before.loaded
        self._counts["updated" if updated else "added"] += 1

    def _fail(self, source: str, reason: str, before: IndexedFile | None) -> None:
        kept = before is not None and before.loaded
        self._failed[source] = f"{reason} ({_KEPT})" if kept else reason

    def _source(self, path: Path) -> str:
        return source_name(path, self._root)


def _key(path: Path) -> str:
    """The path as text that any database can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


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


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()
