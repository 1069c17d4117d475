"""Uploads and a served folder in, an index in step with them out, by one thread. Knows no HTTP."""

import json
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from kogemma_rag.error_sentences import explain
from kogemma_rag.ingest import ReadFile
from kogemma_rag.web.document_jobs import Ingestion, JobThread, Underway, WorkStoppedError
from kogemma_rag.web.document_records import DocumentRecords, Record
from kogemma_rag.web.indexed_files import IndexedFiles, SyncedIndex
from kogemma_rag.web.upload_files import UploadFiles

logger = logging.getLogger(__name__)

_END_SECONDS = 10.0  # that closing waits for a file that is being read
# Uploads that are read side by side and ready together: a large one would keep small ones waiting.
_TOGETHER = 8
_BYTES_TOGETHER = 1 << 20
_STILL_ANSWERS = "앞서 올린 내용은 그대로 검색됩니다"


class Indexing:
    """Brings uploads, as they came, and a served folder into an index.

    Args:
        index: Where they answer.
        files: Of that index.
        records: Say which uploads wait.
        uploads: Their files.
        served: A folder that is read again on `sync`, or None.
        watched: Whether it is also read again whenever something in it changes.

    Attributes:
        changing: Held while a record is looked at and changed.
    """

    def __init__(
        self,
        index: SyncedIndex,
        files: IndexedFiles,
        records: DocumentRecords,
        uploads: UploadFiles,
        *,
        served: Path | None,
        watched: bool,
    ) -> None:
        self._index, self._files = index, files
        self._records, self._uploads = records, uploads
        self._served, self._watched = served, watched
        self.changing = threading.RLock()
        self._stopping = threading.Event()
        self._sync_wanted = threading.Event()
        self._ingestion = Ingestion(self._stopping)
        self._thread = JobThread(self._step, self._stopping)

    def start(self) -> None:
        """Begin, with what was under way when the server ended and with the served folder."""
        self._recover()
        if self._served is not None:
            self._sync_wanted.set()
        self._thread.start()
        if self._watched:
            threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def close(self) -> None:
        """End; what is not done yet is begun again by the next start."""
        self._thread.close(_END_SECONDS)

    def wake(self) -> None:
        """There is a new record."""
        self._thread.wake()

    def sync(self) -> None:
        """Read the served folder again, soon."""
        self._sync_wanted.set()
        self._thread.wake()

    def underway(self) -> dict[str, Underway]:
        """The files that are being read, by path."""
        return self._ingestion.underway()

    def forget(self, names: Iterable[str]) -> None:
        """Let uploaded files answer no more, and delete them."""
        names = list(names)
        self._index.forget([self._uploads.path(name) for name in names])
        self._uploads.drop(names)

    def finish_deleting(self, record: Record) -> None:
        """Drop an upload that counts as deleted already, whatever is under way."""
        self.forget(record.names)
        self._records.remove(record.id)

    def _step(self) -> bool:
        """Index some uploads, else the served folder; whether there was anything to do."""
        if records := self._records.queued(_TOGETHER):
            sizes = accumulate(record.size for record in records)
            few = sum(size < _BYTES_TOGETHER for size in sizes)
            self._index_uploads(records[: max(few, 1)])
            return True
        if self._sync_wanted.is_set():
            self._sync_wanted.clear()
            self._sync_served()
            return True
        return False

    def _index_uploads(self, records: Sequence[Record]) -> None:
        waiting = {self._uploads.path(record.stored): record for record in records}

        def written(read: ReadFile) -> None:
            path = str(read.file.path)
            self._finish(waiting[path], read.error, json.dumps(read.skipped, ensure_ascii=False))
            del waiting[path]

        self._ingestion.workers = None if len(records) > 1 else 1
        self._ingestion.written = written
        try:
            report = self._index.sync(
                self._uploads.folder,
                progress=False,
                sources={path: record.title for path, record in waiting.items()},
                ingest=self._ingestion,
            )
        except WorkStoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - embedding models raise anything
            if len(records) > 1:  # again, so that only the culprit fails
                for record in list(waiting.values()):
                    self._index_uploads([record])
                return
            logger.error("a document was not indexed: %s", type(error).__name__)
            failed = {record.title: explain(error) for record in waiting.values()}
        else:
            failed = dict(report.failed)
        for record in waiting.values():  # what was not read: it is gone, or indexed already
            self._finish(record, failed.get(record.title), "[]")

    def _finish(self, record: Record, reason: str | None, skipped: str) -> None:
        """Keep what came of an upload, unless it was deleted or replaced meanwhile."""
        with self.changing:
            is_current = self._records.get(record.id) == record
            if is_current:
                self._records.put(self._outcome(record, reason, skipped))
        if not is_current:
            self.forget([record.stored])
        elif reason is None and record.earlier is not None:
            self._uploads.drop([record.earlier])

    def _outcome(self, record: Record, reason: str | None, skipped: str) -> Record:
        """The record of an upload that was read; what it replaces answers no more, if it can."""
        if reason is not None:
            kept = "" if record.earlier is None else f" ({_STILL_ANSWERS})"
            return replace(record, state="failed", reason=f"{reason}{kept}", skipped=skipped)
        if record.earlier is not None:
            self._index.forget([self._uploads.path(record.earlier)])
        return replace(record, state="ready", reason=None, skipped=skipped, earlier=None)

    def _sync_served(self) -> None:
        if self._served is None:
            return
        self._ingestion.workers, self._ingestion.written = None, lambda _: None
        known = self._files.files().keys()
        left_out = self._records.left_out()
        for path in left_out & known:  # indexed again by somebody else
            self._records.take_back(path)
        self._index.sync(
            self._served, progress=False, leave_out=left_out - known, ingest=self._ingestion
        )

    def _recover(self) -> None:
        records = self._records.all()
        for record in records:
            if record.state == "deleting":
                self.finish_deleting(record)
        names = {name for record in records for name in record.names}
        # Of an index that was moved, with its uploads.
        moved = [
            path
            for path in self._files.files()
            if Path(path).name in names and not self._uploads.holds(path)
        ]
        if moved:
            self._index.forget(moved)
        # Records may be older than the index, too.
        known = self._files.files()
        for record in self._records.all():
            if record.state == "ready" and not any(
                self._uploads.path(name) in known for name in record.names
            ):
                self._records.put(replace(record, state="queued"))
        self._uploads.drop_others(names)

    def _watch(self) -> None:
        from watchfiles import watch

        if self._served is None:
            return
        for _ in watch(self._served, stop_event=self._stopping, raise_interrupt=False):
            self.sync()
