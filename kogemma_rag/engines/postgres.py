"""Chunks in PostgreSQL: vectors by pgvector, words by BM25 in SQL, files, all in one transaction.

The table of chunks has the columns of langchain-postgres, so that its `PGVectorStore` can read it.
Knows no embedding model and no files.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from kogemma_rag.document_identity import encoded_metadata
from kogemma_rag.engines.chunk_table import (
    FORMAT_VERSION,
    Chunk,
    FileChunks,
    checked_collection,
    in_batches,
)
from kogemma_rag.engines.postgres_connections import PostgresConnections
from kogemma_rag.engines.postgres_filters import facets, storable, storable_ids, stored
from kogemma_rag.engines.postgres_view import PostgresView, vector_text
from kogemma_rag.storage import IndexedFile
from kogemma_rag.storage_errors import StorageError

if TYPE_CHECKING:
    from psycopg.sql import Composed

_MAX_ID = 2_000  # bytes; PostgreSQL's indexes take no longer keys
_NO_TOTALS = {"chunks": 0, "morphemes": 0, "bigrams": 0}

# `terms` counts the chunks that have a word. A path may be longer than a key: files have its hash.
_SMALL_TABLES = """
CREATE TABLE {facts} (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE {files} (key TEXT PRIMARY KEY, path TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE {terms} (term TEXT PRIMARY KEY, chunks BIGINT NOT NULL);
"""
_CHUNKS = """
CREATE TABLE {chunks} (
    langchain_id TEXT COLLATE "C" PRIMARY KEY, content TEXT NOT NULL,
    embedding vector({dimension}) NOT NULL, langchain_metadata JSON NOT NULL, path TEXT,
    facets JSONB NOT NULL, words JSONB NOT NULL,
    morpheme_count INTEGER NOT NULL, bigram_count INTEGER NOT NULL
);
CREATE INDEX ON {chunks} USING hash (path);
CREATE INDEX ON {chunks} USING gin (facets jsonb_path_ops);
CREATE INDEX ON {chunks} USING gin (words);
"""
_DELETE = """
WITH gone AS (
    DELETE FROM {chunks} WHERE {which} RETURNING words, morpheme_count, bigram_count
), fewer AS (
    SELECT term, count(*) AS chunks FROM gone, jsonb_object_keys(words) AS term GROUP BY term
), changed AS (
    UPDATE {terms} AS terms SET chunks = terms.chunks - fewer.chunks
    FROM fewer WHERE terms.term = fewer.term
)
SELECT count(*), coalesce(sum(morpheme_count), 0), coalesce(sum(bigram_count), 0) FROM gone
"""
_COUNT_TERMS = """
INSERT INTO {terms} AS terms
SELECT term, count(*) FROM {chunks}, jsonb_object_keys(words) AS term
WHERE langchain_id = ANY(%s) GROUP BY term
ON CONFLICT (term) DO UPDATE SET chunks = terms.chunks + excluded.chunks
"""


class PostgresTable:
    """See `ChunkTable`. Tables are made with the first write, in the first schema of the path.

    Args:
        url: `postgresql://user:password@host:port/database`.
        collection: Name of the table of chunks; the other tables begin with it.

    Raises:
        ImportError: If psycopg is not installed.
        StorageError: If the database does not answer or holds another format.
        ValueError: If that is no name of a collection.
    """

    def __init__(self, url: str, collection: str) -> None:
        self.collection = checked_collection(collection)
        self._connections = PostgresConnections(url, lock=f"kogemma-rag {collection}")
        self.address = self._connections.address
        try:
            recorded = self._facts().get("format", FORMAT_VERSION)
            if recorded != FORMAT_VERSION:
                raise StorageError(
                    f"{self.address}, collection {collection}, is of format {recorded}, this "
                    f"version of kogemma-rag reads {FORMAT_VERSION}; install the version that made "
                    "it"
                )
        except BaseException:
            self.close()
            raise

    def facts(self) -> dict[str, Any]:
        """See `ChunkTable.facts`."""
        facts = self._facts()
        return {name: facts[name] for name in ("embedder", "dimension") if name in facts}

    @contextmanager
    def writing(self, purpose: str) -> Iterator[None]:
        """See `ChunkTable.writing`; all of it is committed when it ends, or nothing."""
        with self._connections.writing(purpose):
            yield

    def bind(self, embedder: Mapping[str, Any], dimension: int) -> None:
        """See `ChunkTable.bind`."""
        with self._connections.writing("making tables") as connection:
            self._make_small_tables()
            self._make_extension()
            connection.execute(self._sql(_CHUNKS, dimension=int(dimension)))
            self._record("embedder", dict(embedder))
            self._record("dimension", dimension)
            self._record("totals", _NO_TOTALS)

    def put(self, chunks: Sequence[Chunk]) -> None:
        """See `ChunkTable.put`."""
        with self._connections.writing("adding documents"):
            for batch in in_batches(chunks):
                self._put(batch)

    def put_files(self, files: Sequence[FileChunks]) -> None:
        """See `ChunkTable.put_files`."""
        with self._connections.writing("syncing files") as connection:
            self._make_small_tables()
            replaced = [file for file in files if file.chunks is not None]
            self._delete("path = ANY(%s)", [file.file.path for file in replaced])
            for batch in in_batches([chunk for file in replaced for chunk in file.chunks or ()]):
                self._put(batch)
            sql = self._sql(
                "INSERT INTO {files} VALUES (%s, %s, %s) "
                "ON CONFLICT (key) DO UPDATE SET record = excluded.record"
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    sql,
                    [
                        (_key(file.file.path), file.file.path, json.dumps(astuple(file.file)))
                        for file in files
                    ],
                )

    def forget(self, paths: Sequence[str]) -> None:
        """See `ChunkTable.forget`."""
        with self._connections.writing("forgetting files") as connection:
            self._delete("path = ANY(%s)", paths)
            if self._has("files"):
                sql = self._sql("DELETE FROM {files} WHERE key = ANY(%s)")
                connection.execute(sql, [[_key(path) for path in paths]])

    def delete(self, ids: Sequence[str] | None) -> None:
        """See `ChunkTable.delete`."""
        with self._connections.writing("deleting documents") as connection:
            if ids is not None:
                self._delete("langchain_id = ANY(%s)", storable_ids(ids))
            elif self._has("chunks"):
                for table in ("chunks", "terms"):  # TRUNCATE would keep readers waiting
                    connection.execute(self._sql(f"DELETE FROM {{{table}}}"))  # noqa: S608 - ours
                self._record("totals", _NO_TOTALS)

    def files(self, paths: Sequence[str] | None = None) -> dict[str, IndexedFile]:
        """See `ChunkTable.files`."""
        with self._connections.transaction() as connection:
            if not self._has("files"):
                return {}
            sql = self._sql("SELECT record FROM {files} WHERE %s OR key = ANY(%s)")
            keys = [_key(path) for path in paths or ()]
            rows = connection.execute(sql, [paths is None, keys])
            files = [IndexedFile(*json.loads(record)) for (record,) in rows]
        return {file.path: file for file in files}

    def paths(self, ids: Sequence[str]) -> dict[str, str | None]:
        """See `ChunkTable.paths`."""
        with self._connections.transaction() as connection:
            if not self._has("chunks"):
                return {}
            sql = self._sql("SELECT langchain_id, path FROM {chunks} WHERE langchain_id = ANY(%s)")
            return {stored(id_): path for id_, path in connection.execute(sql, [storable_ids(ids)])}

    @contextmanager
    def reading(self) -> Iterator[PostgresView]:
        """See `ChunkTable.reading`; one state of the database."""
        with self._connections.reading() as connection:
            facts = self._facts()
            yield PostgresView(
                connection,
                self._names(),
                facts.get("totals", _NO_TOTALS),
                approximate=facts.get("vector_index") == "hnsw",
            )

    def info(self) -> dict[str, Any]:
        """See `ChunkTable.info`."""
        facts = self._facts()
        return {
            "chunks": facts.get("totals", _NO_TOTALS)["chunks"],
            "vector_index": facts.get("vector_index", "flat"),
        }

    def build_vector_index(self) -> None:
        """See `ChunkTable.build_vector_index`.

        Raises:
            StorageError: If there are no vectors yet, or they are too long for an HNSW index.
        """
        with self._connections.writing("building an index") as connection:
            if not self._has("chunks"):
                raise StorageError("there are no vectors yet; index documents first")
            name = f"{self.collection}_hnsw"
            connection.execute(
                self._sql(
                    "CREATE INDEX IF NOT EXISTS {name} ON {chunks} "
                    "USING hnsw (embedding vector_cosine_ops)",
                    name=name,
                )
            )
            self._record("vector_index", "hnsw")

    def close(self) -> None:
        """See `ChunkTable.close`."""
        self._connections.close()

    def _put(self, chunks: Sequence[Chunk]) -> None:
        rows = [_row(chunk) for chunk in chunks]
        ids = [row[0] for row in rows]
        self._delete("langchain_id = ANY(%s)", ids)
        with self._connections.transaction() as connection:
            sql = self._sql("INSERT INTO {chunks} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)")
            with connection.cursor() as cursor:
                cursor.executemany(sql, rows)
            connection.execute(self._sql(_COUNT_TERMS), [ids])
        self._count(len(rows), sum(row[-2] for row in rows), sum(row[-1] for row in rows))

    def _delete(self, which: str, values: Sequence[str]) -> None:
        if not values or not self._has("chunks"):
            return
        with self._connections.transaction() as connection:
            sql = self._sql(_DELETE.replace("{which}", which))
            [gone] = connection.execute(sql, [list(values)])
        self._count(*(-int(number) for number in gone))

    def _count(self, chunks: int, morphemes: int, bigrams: int) -> None:
        totals = self._facts()["totals"]
        more = {"chunks": chunks, "morphemes": morphemes, "bigrams": bigrams}
        self._record("totals", {name: totals[name] + more[name] for name in totals})

    def _make_small_tables(self) -> None:
        if not self._has("facts"):
            with self._connections.transaction() as connection:
                connection.execute(self._sql(_SMALL_TABLES))
            self._record("format", FORMAT_VERSION)

    def _make_extension(self) -> None:
        from psycopg import errors

        with self._connections.transaction() as connection:
            known = "SELECT 1 FROM pg_extension WHERE extname = 'vector'"
            if connection.execute(known).fetchone():
                return
            # Two that make it at once hinder each other, IF NOT EXISTS or not.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('kogemma-rag extension'))")
            try:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except (errors.InsufficientPrivilege, errors.FeatureNotSupported) as error:
                raise StorageError(
                    f"the database at {self.address} is without pgvector ({error}); install it on "
                    "the server, then let an administrator run: CREATE EXTENSION vector"
                ) from error
            except errors.UndefinedFile as error:
                raise StorageError(
                    f"the server at {self.address} is without pgvector; install it there: "
                    "https://github.com/pgvector/pgvector"
                ) from error

    def _has(self, table: str) -> bool:
        with self._connections.transaction() as connection:
            name = '"' + self._names()[table] + '"'
            [(found,)] = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        return bool(found)

    def _facts(self) -> dict[str, Any]:
        with self._connections.transaction() as connection:
            if not self._has("facts"):
                return {}
            rows = connection.execute(self._sql("SELECT name, value FROM {facts}"))
            return {name: json.loads(value) for name, value in rows}

    def _record(self, name: str, value: Any) -> None:
        sql = self._sql(
            "INSERT INTO {facts} VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        with self._connections.transaction() as connection:
            connection.execute(sql, [name, json.dumps(value)])

    def _names(self) -> dict[str, str]:
        others = {name: f"{self.collection}_{name}" for name in ("facts", "files", "terms")}
        return {"chunks": self.collection, **others}

    def _sql(self, text: str, **more: Any) -> "Composed":
        from psycopg.sql import SQL, Identifier, Literal

        given = {**self._names(), **more}
        return SQL(text).format(
            **{
                name: Identifier(value) if isinstance(value, str) else Literal(value)
                for name, value in given.items()
            }
        )


def _row(chunk: Chunk) -> tuple[Any, ...]:
    document, words = chunk.document, chunk.words
    id_ = storable(str(document.id))
    if len(id_.encode()) > _MAX_ID:
        raise ValueError(f"an id of {len(id_)} characters is too long for PostgreSQL")
    metadata = json.dumps(json.loads(encoded_metadata(document)))  # \0 as an escape
    return (
        id_,
        storable(document.page_content),
        vector_text(chunk.vector),
        metadata,
        chunk.path,
        facets(document.metadata),
        json.dumps(words.terms, ensure_ascii=False),
        words.morphemes.total(),
        words.bigrams.total(),
    )


def _key(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()
