"""One SQLite file: threads read it side by side, one writes, and what its errors mean.

Knows no tables but `meta`, in which names have values.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from kogemma_rag.writer_lock import LockHeldError, WriterLock

LOCK_TIMEOUT = 30.0  # seconds a writer waits for another one

_META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
# Of a new file. A vector of 512 numbers is 2,048 bytes: smaller pages would hold one each.
_PAGE_SIZE = 16_384
_CACHE_KIB = 4_096  # of each connection; the operating system keeps the rest

# Connections of a parent process, kept so that a fork never closes, and so unlocks, its files.
_inherited: list[sqlite3.Connection] = []


class StorageError(Exception):
    """The index cannot be read or written; the message says why and what to do."""


class StorageLockedError(StorageError, TimeoutError):
    """Somebody else kept writing to the index for longer than the time-out."""


class StorageReadOnlyError(StorageError, PermissionError):
    """The index may be read here, not written."""


class StorageFullError(StorageError):
    """The disk is full; nothing of the change was kept, all that was there is."""


class StorageDamagedError(StorageError):
    """What is on disk is not what was written."""


class _Connection:
    """A connection, under a lock against being closed while it is used."""

    def __init__(self, connection: sqlite3.Connection, *, immutable: bool = False) -> None:
        self.connection = connection
        self.immutable = immutable
        self.lock = threading.RLock()
        self.depth = 0  # of nested snapshots
        self.thread = threading.current_thread()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self.lock:
            return self.connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self.lock:
            self.connection.close()


class Database:
    """Changes are durable when `transaction` ends; readers never wait for a writer.

    Args:
        path: The file, made when absent; None keeps all in memory.
        schema: The tables of a new file, statements ended by semicolons.
        format_version: Of the schema; a file of a newer one is refused.
        migrations: SQL that makes a file of the version it is listed under one of the next.
        functions: By name, functions of one argument that the SQL may call.
        start: Names and values that `meta` begins with.

    Raises:
        StorageError: If the file cannot be opened or has another format version.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        schema: str,
        format_version: int,
        migrations: Mapping[int, str],
        functions: Mapping[str, Callable[[Any], Any]],
        start: Mapping[str, str],
    ) -> None:
        self.path = path
        self._functions = functions
        self.read_only = path is not None and _is_read_only(path)
        self._lock = WriterLock(None if path is None else path.with_name(f"{path.name}.lock"))
        self._closed = False
        self._forget_connections()
        try:
            if not self.read_only:
                self._writer()  # makes the file, and sees to its journal
            if not self._has_tables():
                self._create(schema, format_version, start)
            self._migrate(format_version, migrations)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def writing(self, purpose: str, *, timeout: float | None = None) -> Iterator[None]:
        """Be the only writer, of all threads and processes, within.

        Args:
            purpose: What for, told to those who wait in vain.
            timeout: Seconds to wait for another writer; None is `LOCK_TIMEOUT`.

        Raises:
            StorageLockedError: If another one keeps writing; it says who.
            StorageReadOnlyError: If the folder may not be written to.
        """
        if self.read_only:
            raise self._read_only_error()
        self._check_usable()
        wait = LOCK_TIMEOUT if timeout is None else timeout
        with self._checked_lock(purpose, wait):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes within it together, durably, or, when it raises, not at all.

        Raises:
            StorageLockedError: If another one writes for longer than `LOCK_TIMEOUT`.
            StorageReadOnlyError: If the folder may not be written to.
            StorageFullError: If the disk is full.
        """
        with self.writing("changing the index"):
            writer = self._writer()
            with writer.lock:
                with self._typed_errors():
                    writer.rows("BEGIN IMMEDIATE")
                self._in_transaction = True
                try:
                    yield
                    with self._typed_errors():
                        writer.rows("COMMIT")
                except BaseException:
                    # SQLite itself rolls back after some errors, such as a full disk.
                    if writer.connection.in_transaction:
                        writer.connection.execute("ROLLBACK")
                    raise
                finally:
                    self._in_transaction = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one committed state within, whatever others commit meanwhile; may be nested."""
        if self._is_writing_here():
            yield
            return
        reader = self._reader()
        with reader.lock if self.path is None else nullcontext():
            if not reader.depth:
                with self._typed_errors():
                    reader.rows("BEGIN")
            reader.depth += 1
            try:
                yield
            finally:
                reader.depth -= 1
                if not reader.depth and not self._closed and reader.connection.in_transaction:
                    with self._typed_errors():
                        reader.rows("ROLLBACK")

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, in the running transaction or snapshot of this thread."""
        with self._typed_errors():
            connection = self._writer() if self._is_writing_here() else self._reader()
            return connection.rows(sql, parameters)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Execute a statement. In a transaction."""
        self.rows(sql, parameters)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row of parameters. In a transaction."""
        with self._typed_errors():
            self._writer().connection.executemany(sql, rows)

    def get(self, name: str) -> str | None:
        """A value of `meta`."""
        rows = self.rows("SELECT value FROM meta WHERE name = ?", [name])
        return rows[0][0] if rows else None

    def set(self, name: str, value: str) -> None:
        """Give a name of `meta` a value. In a transaction."""
        self.run("REPLACE INTO meta VALUES (?, ?)", [name, value])

    def vacuum(self) -> None:
        """Write the file anew without its gaps; needs as much free space as it is large."""
        with self.writing("compacting the index"), self._typed_errors():
            writer = self._writer()
            writer.rows("VACUUM")
            writer.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        """Bytes on disk, journal included; 0 in memory."""
        if self.path is None:
            return 0
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

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
            f"{self.path} is damaged: {what}. Bring it back from a backup or an export, or index "
            "the documents again into a new folder"
        )

    def close(self) -> None:
        """Let go of the file. The object cannot be used afterwards."""
        with self._guard:
            self._closed = True
            connections = self._connections()
            self._readers.clear()
            self._write_connection = None
        for connection in connections:
            connection.close()

    def _forget_connections(self) -> None:
        self._pid = os.getpid()
        self._guard = threading.RLock()
        self._local = threading.local()
        self._readers: list[_Connection] = []
        self._write_connection: _Connection | None = None
        self._in_transaction = False

    def _connections(self) -> list[_Connection]:
        writer = [] if self._write_connection is None else [self._write_connection]
        return [*self._readers, *writer]

    def _is_writing_here(self) -> bool:
        return self._in_transaction and self._lock.is_mine

    def _reader(self) -> _Connection:
        """This thread's connection for reading."""
        if self.path is None:
            return self._writer()
        self._check_usable()
        reader: _Connection | None = getattr(self._local, "reader", None)
        if reader is not None and reader.immutable and not reader.depth and self._has_wal():
            reader.close()  # somebody began to write
            reader = None
        if reader is None:
            with self._typed_errors():
                reader = self._local.reader = self._connect_to_read()
            with self._guard:
                gone = [one for one in self._readers if not one.thread.is_alive()]
                self._readers = [one for one in self._readers if one not in gone] + [reader]
            for one in gone:
                one.close()
        return reader

    def _writer(self) -> _Connection:
        self._check_usable()
        with self._guard:
            if self._write_connection is None:
                with self._typed_errors():
                    self._write_connection = self._connect_to_write()
            return self._write_connection

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            # SQLite's connections must not be used, nor closed, beyond a fork.
            _inherited.extend(one.connection for one in self._connections())
            if self.path is None:
                raise StorageError("an index in memory cannot be used by a forked process")
            self._forget_connections()
        if self._closed:
            raise StorageError(f"the index {self.path or 'in memory'} is closed; open it again")

    def _connect_to_write(self) -> _Connection:
        connection = sqlite3.connect(
            self.path or ":memory:", LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        for pragma in (f"page_size={_PAGE_SIZE}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        return self._prepared(_Connection(connection))

    def _connect_to_read(self) -> _Connection:
        mode, immutable = "mode=rw", False
        if self.read_only:
            # Without a journal nobody writes, and SQLite need not make one to read.
            immutable = not self._has_wal()
            mode = "immutable=1" if immutable else "mode=ro"
        connection = sqlite3.connect(
            f"{(self.path or Path()).absolute().as_uri()}?{mode}",
            LOCK_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.execute("PRAGMA query_only=ON")
        return self._prepared(_Connection(connection, immutable=immutable))

    def _prepared(self, connection: _Connection) -> _Connection:
        connection.rows("PRAGMA trusted_schema=OFF")
        connection.rows(f"PRAGMA cache_size=-{_CACHE_KIB}")
        for name, function in self._functions.items():
            connection.connection.create_function(name, 1, function, deterministic=True)
        return connection

    def _has_wal(self) -> bool:
        path = self.path or Path()
        wal = path.with_name(f"{path.name}-wal")
        return wal.exists() and wal.stat().st_size > 0

    def _has_tables(self) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master LIMIT 1"))

    def _create(self, schema: str, format_version: int, start: Mapping[str, str]) -> None:
        with self.transaction():
            if self._has_tables():  # another process was faster
                return
            for statement in (_META, *filter(str.strip, schema.split(";"))):
                self.run(statement)
            for name, value in start.items():
                self.set(name, value)
            self.run(f"PRAGMA user_version = {format_version}")

    def _migrate(self, format_version: int, migrations: Mapping[int, str]) -> None:
        if self._version() == format_version:
            return
        if self.read_only and self._version() in migrations:
            raise StorageReadOnlyError(
                f"{self.path} is of an older version of kogemma-rag and cannot be brought up to "
                "date here; open it once where it can be written to"
            )
        with self.transaction():
            for version in range(self._version(), format_version):
                if version not in migrations:
                    break
                for statement in filter(str.strip, migrations[version].split(";")):
                    self.run(statement)
                self.run(f"PRAGMA user_version = {version + 1}")
            if (found := self._version()) != format_version:
                raise StorageError(
                    f"{self.path} has format version {found}; this version of kogemma-rag reads "
                    f"{format_version}. Use the version of kogemma-rag that made it, or index the "
                    "documents again into a new folder"
                )

    def _version(self) -> int:
        [(found,)] = self.rows("PRAGMA user_version")
        return int(found)

    def _read_only_error(self) -> StorageReadOnlyError:
        return StorageReadOnlyError(
            f"{self.path} cannot be written to: its folder or file is read-only. Copy the index to "
            "a folder that may be written to, or ask for the permission"
        )

    @contextmanager
    def _checked_lock(self, purpose: str, timeout: float) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lock.held(purpose, timeout))
            except LockHeldError as error:
                raise StorageLockedError(
                    f"{self.path or 'the index'} could not be written to within {timeout:g} s: "
                    f"{error}; try again when it has ended"
                ) from error
            except PermissionError as error:
                raise self._read_only_error() from error
            except OSError as error:
                raise StorageError(
                    f"{self.path} cannot be locked for writing: {error}; see that its folder "
                    "exists and that the disk is not full"
                ) from error
            yield

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Say what SQLite's errors mean here."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._typed(str(error)) from error
        except sqlite3.ProgrammingError as error:
            if "closed" not in str(error):
                raise
            raise StorageError(f"the index {self.path} is closed; open it again") from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(str(error)) from error

    def _typed(self, message: str) -> StorageError:
        if "locked" in message or "busy" in message:
            return StorageLockedError(
                f"another program has kept {self.path} locked for over {LOCK_TIMEOUT:.0f} s; try "
                "again when it has ended"
            )
        if "full" in message:
            return StorageFullError(
                f"the disk of {self.path} is full; nothing of this change was kept. Make space and "
                "try again"
            )
        if "readonly" in message or "read-only" in message:
            return self._read_only_error()
        return StorageError(
            f"{self.path} cannot be read or written: {message}; see that its folder exists and may "
            "be written to, and that the disk is not full"
        )


def _is_read_only(path: Path) -> bool:
    """Whether a file, or one to be made, can be read only."""
    if not path.parent.exists():
        return False
    existing = [path.parent, *([path] if path.exists() else [])]
    return not all(os.access(one, os.W_OK) for one in existing)
