"""One SQLite file that many threads share: its transactions, its lock, and what its errors mean.

Knows no tables but `meta`, in which names have values.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK_TIMEOUT = 30.0  # seconds a writer waits for another one

_META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


class StorageError(Exception):
    """The index cannot be read or written; the message says why and what to do."""


class StorageLockedError(StorageError, TimeoutError):
    """Another process kept writing to the index for longer than the time-out."""


class StorageDamagedError(StorageError):
    """What is on disk is not what was written."""


class Database:
    """A connection under a lock. Changes are durable when `transaction` ends.

    Args:
        path: The file, made when absent; None keeps all in memory.
        schema: The tables of a new file, statements ended by semicolons.
        format_version: Of the schema; a file of another one is refused.
        start: Names and values that `meta` begins with.

    Raises:
        StorageError: If the file cannot be opened or has another format version.
    """

    def __init__(
        self, path: Path | None, *, schema: str, format_version: int, start: dict[str, str]
    ) -> None:
        self.path = path
        self.lock = threading.RLock()
        with self._typed_errors():
            self._connection = sqlite3.connect(
                path or ":memory:", LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "trusted_schema=OFF"):
                self.run(f"PRAGMA {pragma}")
            if not self._has_tables():
                self._create(schema, format_version, start)
            self._check_version(format_version)
        except StorageError:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes within it together, durably, or, when it raises, not at all.

        Raises:
            StorageLockedError: If another process writes for longer than `LOCK_TIMEOUT`.
        """
        with self.lock:
            self.run("BEGIN IMMEDIATE")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                # SQLite itself rolls back after some errors, such as a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        with self.lock, self._typed_errors():
            return self._connection.execute(sql, parameters).fetchall()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Execute a statement."""
        self.rows(sql, parameters)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row of parameters."""
        with self.lock, self._typed_errors():
            self._connection.executemany(sql, rows)

    def get(self, name: str) -> str | None:
        """A value of `meta`."""
        rows = self.rows("SELECT value FROM meta WHERE name = ?", [name])
        return rows[0][0] if rows else None

    def set(self, name: str, value: str) -> None:
        """Give a name of `meta` a value."""
        self.run("REPLACE INTO meta VALUES (?, ?)", [name, value])

    def check_integrity(self) -> None:
        """Have SQLite look through the structure of the whole file.

        Raises:
            StorageDamagedError: If it finds anything wrong.
        """
        [(verdict,), *_] = self.rows("PRAGMA integrity_check")
        if verdict != "ok":
            raise self.damaged(verdict)

    def damaged(self, what: str) -> StorageDamagedError:
        """The error to raise when what was read is not what was written."""
        return StorageDamagedError(
            f"{self.path} is damaged: {what}. Bring it back from a backup, or index the documents "
            "again into a new folder"
        )

    def close(self) -> None:
        """Let go of the file. The object cannot be used afterwards."""
        with self.lock:
            self._connection.close()

    def _has_tables(self) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master LIMIT 1"))

    def _create(self, schema: str, format_version: int, start: dict[str, str]) -> None:
        with self.transaction():
            if self._has_tables():  # another process was faster
                return
            for statement in (_META, *filter(str.strip, schema.split(";"))):
                self.run(statement)
            for name, value in start.items():
                self.set(name, value)
            self.run(f"PRAGMA user_version = {format_version}")

    def _check_version(self, format_version: int) -> None:
        [(found,)] = self.rows("PRAGMA user_version")
        if found != format_version:
            raise StorageError(
                f"{self.path} has format version {found}; this version of kogemma-rag reads "
                f"{format_version}. Use the version of kogemma-rag that made it, or index the "
                "documents again into a new folder"
            )

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Say what SQLite's errors mean here."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StorageLockedError(
                    f"another process has been writing to {self.path} for over "
                    f"{LOCK_TIMEOUT:.0f} s; try again when it has ended"
                ) from error
            raise StorageError(
                f"{self.path} cannot be read or written: {error}; see that its folder exists and "
                "may be written to, and that the disk is not full"
            ) from error
        except sqlite3.ProgrammingError as error:
            raise StorageError(f"the index {self.path} is closed; open it again") from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(str(error)) from error
