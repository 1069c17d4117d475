"""A PostgreSQL address in, transactions out, and what the database's errors mean."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kogemma_rag.database import LOCK_TIMEOUT
from kogemma_rag.storage_errors import (
    StorageError,
    StorageFullError,
    StorageLockedError,
    StorageReadOnlyError,
)

if TYPE_CHECKING:
    import psycopg

_CONNECT_TIMEOUT = 10  # seconds
_MOST_CONNECTIONS = 8


class PostgresConnections:
    """Connections to one database, shared by threads.

    Args:
        url: `postgresql://…`, as libpq takes it.
        lock: What one writer at a time is for.

    Attributes:
        address: The URL's host, port and database.

    Raises:
        ImportError: If psycopg is not installed.
        StorageError: If the database does not answer.
    """

    def __init__(self, url: str, lock: str) -> None:
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
            from psycopg_pool import ConnectionPool
        except ImportError as error:
            raise ImportError(
                "PostgreSQL needs a package that is not there: pip install 'kogemma-rag[pgvector]'"
            ) from error
        try:
            known = conninfo_to_dict(url)
        except psycopg.Error:  # whose message holds the URL, its password among it
            raise StorageError(
                "the PostgreSQL address cannot be read; it looks like "
                "postgresql://user:password@host:5432/database"
            ) from None
        host, port = known.get("host") or "localhost", known.get("port") or 5432
        self.address = f"postgresql://{host}:{port}/{known.get('dbname') or ''}"
        digest = hashlib.sha256(lock.encode()).digest()
        self._lock_number = int.from_bytes(digest[:8], "big", signed=True)
        self._local = threading.local()
        options: dict[str, Any] = {
            "application_name": f"kogemma-rag {socket.gethostname()} {os.getpid()}"[:63],
            "connect_timeout": _CONNECT_TIMEOUT,
        }
        with self._errors_told():
            psycopg.connect(url, **options).close()  # whose error says more than the pool's
        self._pool: Any = ConnectionPool(
            url,
            min_size=0,
            max_size=_MOST_CONNECTIONS,
            timeout=LOCK_TIMEOUT,
            kwargs=options,
            check=ConnectionPool.check_connection,
            open=True,
        )

    @contextmanager
    def transaction(self) -> "Iterator[psycopg.Connection[Any]]":
        """The running transaction of this thread, else one that is committed when it ends."""
        running = getattr(self._local, "connection", None)
        if running is not None:
            yield running
            return
        with self._errors_told(), self._pool.connection() as connection:
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    @contextmanager
    def reading(self) -> "Iterator[psycopg.Connection[Any]]":
        """A transaction that sees one state of the database."""
        nested = getattr(self._local, "connection", None) is not None
        with self.transaction() as connection:
            if not nested:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextmanager
    def writing(self, purpose: str) -> "Iterator[psycopg.Connection[Any]]":
        """A transaction that no other writer of the same collection runs beside.

        Raises:
            StorageLockedError: If another one writes for longer than `LOCK_TIMEOUT`.
        """
        import psycopg

        nested = getattr(self._local, "connection", None) is not None
        with self.transaction() as connection:
            if not nested:
                name = f"kogemma-rag {purpose} ({socket.gethostname()}, {os.getpid()})"
                set_up = "SELECT set_config('application_name', %s, true), set_config(%s, %s, true)"
                connection.execute(
                    set_up, [name[:63], "lock_timeout", f"{int(LOCK_TIMEOUT * 1000)}ms"]
                )
                try:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", [self._lock_number])
                except psycopg.errors.LockNotAvailable as error:
                    connection.rollback()
                    raise StorageLockedError(
                        f"{self._holder(connection)} has been writing to {self.address} for more "
                        f"than {LOCK_TIMEOUT:g} s; try again when it is done"
                    ) from error
            yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self._pool.close()

    def _holder(self, connection: "psycopg.Connection[Any]") -> str:
        # A bigint lock is shown as its two halves.
        number = self._lock_number % 2**64
        row = connection.execute(
            "SELECT application_name, xact_start FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            "AND classid::bigint = %s AND objid::bigint = %s",
            [number >> 32, number % 2**32],
        ).fetchone()
        return "another writer" if row is None else f"{row[0]!a} (since {row[1]:%H:%M:%S})"

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        import psycopg
        from psycopg import errors
        from psycopg_pool import PoolTimeout

        try:
            yield
        except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
            raise StorageReadOnlyError(
                f"the user may not do this in {self.address}: {_told(error)}; grant the right, or "
                "open it as another user"
            ) from error
        except errors.DiskFull as error:
            raise StorageFullError(f"the disk of {self.address} is full: {_told(error)}") from error
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise StorageError(
                f"PostgreSQL at {self.address} does not answer: {_told(error)}; see that it runs "
                "and that address, user and password are right"
            ) from error
        except psycopg.Error as error:
            raise StorageError(f"PostgreSQL at {self.address}: {_told(error)}") from error


def _told(error: BaseException) -> str:
    return " ".join(str(error).split())
