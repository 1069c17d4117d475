"""A Milvus address in, a client out, and what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from kogemma_rag.storage_errors import StorageError, StorageReadOnlyError

_TIMEOUT = 10.0  # seconds, of connecting
_PORT = 19530


class MilvusConnection:
    """One client, shared by threads.

    Args:
        url: `milvus://user:password@host:port/database`, or `milvus+https://…`.

    Attributes:
        address: The URL's scheme, host, port and database.

    Raises:
        ImportError: If pymilvus is not installed.
        StorageError: If the server does not answer.
        ValueError: If that is no URL.
    """

    def __init__(self, url: str) -> None:
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise ImportError(
                "Milvus needs a package that is not there: pip install 'kogemma-rag[milvus]'"
            ) from error
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "localhost", parts.port or _PORT
        except ValueError:  # whose message may hold the password
            raise ValueError(
                "the Milvus address cannot be read; it looks like milvus://user:password@host:19530"
            ) from None
        database = parts.path.strip("/")
        self.address = f"{parts.scheme}://{host}:{port}/{database}".rstrip("/")
        secure = parts.scheme == "milvus+https"
        self._client: Any = None
        with self._errors_told():
            self._client = MilvusClient(
                uri=f"{'https' if secure else 'http'}://{host}:{port}",
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                db_name=database,
                timeout=_TIMEOUT,
            )

    @contextmanager
    def client(self) -> Iterator[Any]:
        """The client, of pymilvus; its errors become ours."""
        with self._errors_told():
            yield self._client

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            told = " ".join(str(error.message).split())
            if "permission deny" in told or "auth check failure" in told:
                raise StorageReadOnlyError(
                    f"the user may not do this in {self.address}: {told}"
                ) from error
            if self._client is None or "connect" in told:
                raise StorageError(
                    f"Milvus at {self.address} does not answer: {told}; see that it runs and that "
                    "address, user and password are right"
                ) from error
            raise StorageError(f"Milvus at {self.address}: {told}") from error
