"""One SQLite file: threads read it side by side, one writes, and what its errors mean.

Knows no tables but `meta`, in which names have values.
"""

import errno
import os
import shutil
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kogemma_rag.storage_errors import (
    StorageDamagedError,
    StorageError,
    StorageFullError,
    StorageLockedError,
    StorageReadOnlyError,
)
from kogemma_rag.writer_lock import LockHeldError, WriterLock

LOCK_TIMEOUT = 30.0  # seconds a writer waits for another one

_META = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) "
    "WITHOUT ROWID"
)
# Of a new file. A vector of 512 numbers is 2,048 bytes: smaller pages would hold one each.
_PAGE_SIZE = 16_384
_CACHE_KIB = 4_096  # of each connection for reading; the operating system keeps the rest
# Of the one for writing: ids are spread over all of their index, and what does not fit is written
# again and again. At a million chunks the parts that every batch touches are about this large.
_WRITER_CACHE_KIB = 131_072
_CHECKPOINT_PAGES = 4_096  # of the journal, before they are brought home

_MOST_JOURNAL = 64 << 20  # bytes that the journal keeps after a large transaction
_LEAST_SPACE = 1 << 20  # bytes; with less, an I/O error is taken for that of a full disk
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Databases of this process, of which a forked child must let go.
_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()


class _Connection:
    """A connection, closed when nobody refers to it. Used, and closed, by one thread at a time.

    Args:
        connection: Of SQLite.
        state: What a file opened as unchangeable looked like; None for others.
        lock: Held while it is used.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: threading.RLock,
        *,
        state: tuple[int, ...] | None = None,
    ) -> None:
        self.connection = connection
        self.state = state
        self.lock = lock
        self.depth = 0  # of nested snapshots

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self.lock:
            return self.connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        with self.lock:
            self.connection.close()

    def close_after_fork(self) -> None:
        """Close it in a forked child, where only a connection at rest can be closed.

        One that was in use stays open for good: closing it would wait for a thread that does not
        exist here, or undo what the parent is writing.
        """
        if self.lock.acquire(blocking=False) and not self._is_writing():
            self.connection.close()
        else:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _is_writing(self) -> bool:
        return self.connection.in_transaction and not self.depth

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """Changes are durable when `transaction` ends; readers never wait for a writer.

    Args:
        path: The file, made when absent; None keeps all in memory.
        schema: The tables of a new file, statements ended by semicolons.
        format_version: Of the schema; a file of a newer one is refused.
        migrations: SQL that makes a file of the version it is listed under one of the next.
        functions: By name, functions that the SQL may call.
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
        migrations: Mapping[int, str] = MappingProxyType({}),
        functions: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
        start: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.path = path
        self._functions = functions
        self.read_only = path is not None and _is_read_only(path)
        self._lock = WriterLock(None if path is None else path.with_name(f"{path.name}.lock"))
        self._begin()
        _databases.add(self)
        try:
            if path is None or not path.exists():
                self._writer()  # makes the file
            if not self._has_tables():
                self._create(schema, format_version, start)
            self._migrate(format_version, migrations)
            self._check_header()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._guard = threading.Lock()  # of the next three
        self._closed = False
        self._write_connection: _Connection | None = None
        self._readers: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._local = threading.local()  # holds each thread's reader, and ends with the thread
        self._in_transaction = False

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
        self._check_open()
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
        if self._is_writing_here():
            raise RuntimeError("a transaction cannot begin within another one")
        with self.writing("changing the index"):
            writer, pid = self._writer(), os.getpid()
            with writer.lock:
                with self._typed_errors():
                    writer.rows("BEGIN IMMEDIATE")
                self._in_transaction = True
                try:
                    yield
                    if os.getpid() == pid:
                        with self._typed_errors():
                            writer.rows("COMMIT")
                except BaseException:
                    if os.getpid() == pid:
                        self._roll_back(writer)
                    raise
                finally:
                    self._in_transaction = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one committed state within, whatever others commit meanwhile; may be nested.

        It is that of the first reading. In memory, others wait.
        """
        if self._is_writing_here():
            yield
            return
        reader = self._reader()
        if self.path is None:
            with reader.lock:
                yield
            return
        if not reader.depth:
            with self._typed_errors():
                reader.rows("BEGIN")
        reader.depth += 1
        try:
            yield
        finally:
            reader.depth -= 1
            if not reader.depth:
                self._end_reading(reader)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, in the running transaction or snapshot of this thread."""
        connection = self._writer() if self._is_writing_here() else self._reader()
        try:
            with self._typed_errors():
                rows = connection.rows(sql, parameters)
        except StorageDamagedError:
            self._check_unchanged(connection)
            raise
        self._check_unchanged(connection)
        return rows

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Execute a statement. In a transaction."""
        self.rows(sql, parameters)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row of parameters. In a transaction."""
        with self._typed_errors():
            self._writer().connection.executemany(sql, rows)

    def get(self, name: str) -> str | None:
        """A value of `meta`.

        Raises:
            StorageDamagedError: If it is not what was written.
        """
        rows = self.rows("SELECT value, checksum FROM meta WHERE name = ?", [name])
        if not rows:
            return None
        [(value, checksum)] = rows
        if meta_checksum(name, value) != checksum:
            raise self.damaged(f"the value of {name} is not what was written")
        return str(value)

    def set(self, name: str, value: str) -> None:
        """Give a name of `meta` a value. In a transaction."""
        self.run("REPLACE INTO meta VALUES (?, ?, ?)", [name, value, meta_checksum(name, value)])

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
        return self.path.stat().st_size + self._wal_size()

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

    def begin_in_child(self) -> None:
        """Let go of what was inherited by a fork; connections cannot be shared with the parent."""
        for connection in self._connections():
            connection.close_after_fork()
        closed = self._closed or self.path is None
        self._begin()
        self._closed = closed

    def _connections(self) -> list[_Connection]:
        writer = self._write_connection
        return [*self._readers, *([] if writer is None else [writer])]

    def _is_writing_here(self) -> bool:
        return self._in_transaction and self._lock.is_mine

    def _reader(self) -> _Connection:
        """This thread's connection for reading."""
        if self.path is None:
            return self._writer()
        self._check_open()
        reader: _Connection | None = getattr(self._local, "reader", None)
        if reader is not None and not reader.depth and self._was_changed(reader):
            reader = None  # somebody began to write
        if reader is None:
            with self._typed_errors():
                reader = self._connect_to_read()
            with self._guard:
                self._readers.add(reader)
            self._local.reader = reader
        return reader

    def _writer(self) -> _Connection:
        self._check_open()
        with self._guard:
            if self._write_connection is None:
                with self._typed_errors():
                    self._write_connection = self._connect_to_write()
            return self._write_connection

    def _roll_back(self, writer: _Connection) -> None:
        try:
            # SQLite itself rolls back after some errors, such as a full disk.
            if writer.connection.in_transaction:
                writer.rows("ROLLBACK")
        except sqlite3.Error:
            writer.close()  # which rolls back too
            with self._guard:
                self._write_connection = None

    def _end_reading(self, reader: _Connection) -> None:
        if not self._closed and reader is getattr(self._local, "reader", None):
            with self._typed_errors():
                reader.rows("ROLLBACK")

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"the index {self.path or 'in memory'} is closed; open it again")

    def _check_unchanged(self, connection: _Connection) -> None:
        """Refuse what was read of a file that was opened as unchangeable and did change."""
        if self._was_changed(connection):
            raise StorageError(
                f"{self.path} was changed by another process while it was read from a folder that "
                "may not be written to; read again"
            )

    def _was_changed(self, connection: _Connection) -> bool:
        """Whether a file that was opened as unchangeable did change."""
        return connection.state is not None and connection.state != self._state()

    def _state(self) -> tuple[int, ...]:
        """What changes when anybody writes to the file, or begins to."""
        found = (self.path or Path()).stat()
        return (found.st_ino, found.st_size, found.st_mtime_ns, self._wal_size())

    def _connect_to_write(self) -> _Connection:
        connection = sqlite3.connect(
            self.path or ":memory:", LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")
        if connection.execute("PRAGMA journal_mode").fetchone() not in (("wal",), ("memory",)):
            with self._checked_lock("making the index", LOCK_TIMEOUT):
                connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={_MOST_JOURNAL}")
        lock = self._lock.turn if self.path is None else threading.RLock()
        return self._prepared(_Connection(connection, lock), _WRITER_CACHE_KIB)

    def _connect_to_read(self) -> _Connection:
        mode, state = "mode=rw", None
        if self.read_only:
            # Without a journal nobody writes, and SQLite need not make one to read.
            state = None if self._wal_size() else self._state()
            mode = "mode=ro" if state is None else "immutable=1"
        connection = sqlite3.connect(
            f"{(self.path or Path()).absolute().as_uri()}?{mode}",
            LOCK_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.execute("PRAGMA query_only=ON")
        return self._prepared(_Connection(connection, threading.RLock(), state=state), _CACHE_KIB)

    def _prepared(self, connection: _Connection, cache: int) -> _Connection:
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", f"cache_size=-{cache}"):
            connection.rows(f"PRAGMA {pragma}")
        for name, function in self._functions.items():
            connection.connection.create_function(name, -1, function, deterministic=True)
        return connection

    def _wal_size(self) -> int:
        path = self.path or Path()
        try:
            return path.with_name(f"{path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

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

    def _check_header(self) -> None:
        """Refuse a header that would make SQLite read, or write, all else in another way."""
        [(encoding,)], [(vacuum,)] = self.rows("PRAGMA encoding"), self.rows("PRAGMA auto_vacuum")
        if (encoding, vacuum) != ("UTF-8", 0):
            raise self.damaged("its header is not what was written")
        [(pages,)], [(size,)] = self.rows("PRAGMA page_count"), self.rows("PRAGMA page_size")
        # SQLite reads what a page that was cut off lacks as zeros. With a journal the file may
        # be shorter: the rest of it is there.
        if self.path is not None and not self._wal_size():
            found = self.path.stat().st_size
            if found != pages * size:
                raise self.damaged(f"it is {found} bytes long, not {pages * size}")

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
            except OSError as error:
                if error.errno in _FULL:
                    raise self._full_error() from error
                if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise self._read_only_error() from error
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
        if "is full" in message or ("I/O error" in message and self._has_no_space()):
            return self._full_error()
        if "readonly" in message:
            return self._read_only_error()
        if "decode" in message or "no such" in message:
            return self.damaged(message)
        return StorageError(
            f"{self.path} cannot be read or written: {message}; see that its folder exists and may "
            "be written to, and that the disk is not full"
        )

    def _full_error(self) -> StorageFullError:
        return StorageFullError(
            f"the disk of {self.path} is full; nothing of this change was kept. Make space and "
            "try again"
        )

    def _has_no_space(self) -> bool:
        return self.path is not None and shutil.disk_usage(self.path.parent).free < _LEAST_SPACE


def meta_checksum(name: str, value: str) -> int:
    """Of a row of `meta`."""
    return zlib.crc32(f"{name}\0{value}".encode())


def _is_read_only(path: Path) -> bool:
    """Whether a file, or one to be made, can be read only."""
    if not path.parent.exists():
        return False
    existing = [path.parent, *([path] if path.exists() else [])]
    return not all(os.access(one, os.W_OK) for one in existing)


def _begin_in_child() -> None:
    for database in list(_databases):
        database.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
