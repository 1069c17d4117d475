"""What is known of a document here and there in, one state that users can watch out."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from kogemma_rag.storage import FileSummary, IndexedFile
from kogemma_rag.web.document_jobs import Underway
from kogemma_rag.web.document_records import Record

State = Literal["queued", "parsing", "embedding", "ready", "failed"]


@dataclass(frozen=True)
class SkippedPart:
    """A part of a document, such as an attachment, that could not be read, and why."""

    part: str
    reason: str


@dataclass(frozen=True)
class DocumentState:
    """A document.

    Attributes:
        title: The name of its file, with its folders.
        media_type: As its content says; null until it was read.
        size: In bytes.
        progress: From 0 to 1.
        reason: Why it failed; an earlier version may answer all the same.
        chunks: How many answer.
        pages: How many it has; null for formats without.
        updated: When its state changed, ISO 8601.
        uploaded: Whether it can be replaced; else its file is in a folder.
        skipped: Parts that could not be read.
    """

    id: str
    title: str
    media_type: str | None
    size: int
    state: State
    progress: float
    reason: str | None
    chunks: int
    pages: int | None
    updated: str
    uploaded: bool
    skipped: tuple[SkippedPart, ...] = ()


def file_id(path: str) -> str:
    """The id of the document of a file that was not uploaded."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def record_state(
    record: Record, underway: Underway | None, summary: FileSummary | None
) -> DocumentState:
    """The state of an uploaded document.

    Args:
        record: What is kept of it; it is not being deleted.
        underway: How far it is, where it is being read.
        summary: Of the chunks that answer, of this version or the one before.
    """
    state: State = "ready" if record.state == "ready" else "failed"
    progress = 1.0
    if record.state == "queued":
        state, progress = (underway.stage, underway.progress) if underway else ("queued", 0.0)
    return DocumentState(
        id=record.id,
        title=record.title,
        media_type=summary.media_type if summary else None,
        size=record.size,
        state=state,
        progress=progress,
        reason=record.reason,
        chunks=summary.chunks if summary else 0,
        pages=summary.pages if summary else None,
        updated=record.updated,
        uploaded=True,
        skipped=tuple(SkippedPart(*part) for part in record.skipped_parts()),
    )


def file_state(
    path: str, file: IndexedFile | None, underway: Underway | None, summary: FileSummary | None
) -> DocumentState:
    """The state of a document whose file is in a folder.

    Args:
        path: Of the file.
        file: What the index remembers of it, if anything.
        underway: How far it is, where it is being read.
        summary: Of its chunks.
    """
    state: State = "failed" if file and file.error else "ready"
    progress = 1.0
    if underway:
        state, progress = underway.stage, underway.progress
    source = summary.source if summary else None
    return DocumentState(
        id=file_id(path),
        title=source or (underway.source if underway else Path(path).name),
        media_type=summary.media_type if summary else None,
        size=file.size if file else 0,
        state=state,
        progress=progress,
        reason=file.error if file and not underway else None,
        chunks=summary.chunks if summary else 0,
        pages=summary.pages if summary else None,
        updated=_time(file.checked_ns if file else 0),
        uploaded=False,
    )


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc).isoformat()
