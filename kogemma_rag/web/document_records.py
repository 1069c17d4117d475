"""Which documents were uploaded and how far they are, in a SQLite file. Knows no index."""

import json
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from kogemma_rag.database import Database

_FORMAT_VERSION = 1
_SCHEMA = """
CREATE TABLE documents (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, stored TEXT NOT NULL, size INTEGER NOT NULL,
    state TEXT NOT NULL, updated TEXT NOT NULL, reason TEXT, earlier TEXT, skipped TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE left_out (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_COLUMNS = "id, title, stored, size, state, updated, reason, earlier, skipped"

Kept = Literal["queued", "ready", "failed", "deleting"]


@dataclass(frozen=True)
class Record:
    """An uploaded document.

    Attributes:
        stored: Name of its file.
        updated: When its state changed, ISO 8601.
        reason: Why it failed.
        earlier: Name of the file that it replaces, which answers until this one is indexed.
        skipped: Parts that could not be read, each with the reason, as JSON.
    """

    id: str
    title: str
    stored: str
    size: int
    state: Kept
    updated: str = ""
    reason: str | None = None
    earlier: str | None = None
    skipped: str = "[]"

    @property
    def names(self) -> list[str]:
        """Of all its files, the one that is to be indexed first."""
        return [self.stored] if self.earlier is None else [self.stored, self.earlier]

    def skipped_parts(self) -> list[tuple[str, str]]:
        """What could not be read of it, and why."""
        return [(part, reason) for part, reason in json.loads(self.skipped)]


class DocumentRecords:
    """The records, and the files of a served folder that are to stay out of the index.

    Args:
        path: The SQLite file, made when absent.

    Raises:
        StorageError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema=_SCHEMA, format_version=_FORMAT_VERSION)

    def all(self) -> list[Record]:
        """Every document, the one that changed last first."""
        return self._records("ORDER BY updated DESC, id")

    def get(self, id_: str) -> Record | None:
        """One document; None for an unknown id."""
        return next(iter(self._records("WHERE id = ?", id_)), None)

    def count(self) -> int:
        """How many there are."""
        return int(self._database.rows("SELECT COUNT(*) FROM documents")[0][0])

    def titles(self) -> dict[str, str]:
        """What each document is called, by its id."""
        return dict(self._database.rows("SELECT id, title FROM documents"))

    def owner(self, name: str) -> str | None:
        """The id of the document of a stored file; None for a file of no document."""
        rows = self._database.rows("SELECT id FROM documents WHERE ? IN (stored, earlier)", [name])
        return rows[0][0] if rows else None

    def queued(self, most: int) -> list[Record]:
        """The documents that have waited longest."""
        return self._records("WHERE state = 'queued' ORDER BY updated, id LIMIT ?", most)

    def put(self, record: Record) -> Record:
        """Keep a record, in the place of one with its id; told when that was."""
        record = replace(record, updated=datetime.now(timezone.utc).isoformat())
        with self._database.transaction():
            marks = ", ".join("?" * len(astuple(record)))
            self._database.run(
                f"REPLACE INTO documents ({_COLUMNS}) VALUES ({marks})",  # noqa: S608 - ours
                astuple(record),
            )
        return record

    def remove(self, id_: str) -> None:
        """Drop a record."""
        with self._database.transaction():
            self._database.run("DELETE FROM documents WHERE id = ?", [id_])

    def left_out(self) -> set[str]:
        """Files of a served folder that are not to be indexed."""
        return {path for (path,) in self._database.rows("SELECT path FROM left_out")}

    def leave_out(self, path: str) -> None:
        """Remember that a file is not to be indexed."""
        with self._database.transaction():
            self._database.run("REPLACE INTO left_out VALUES (?)", [path])

    def take_back(self, path: str) -> None:
        """Forget that a file was not to be indexed."""
        with self._database.transaction():
            self._database.run("DELETE FROM left_out WHERE path = ?", [path])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _records(self, which: str, *parameters: Any) -> list[Record]:
        sql = f"SELECT {_COLUMNS} FROM documents {which}"  # noqa: S608 - ours
        return [Record(*row) for row in self._database.rows(sql, parameters)]
