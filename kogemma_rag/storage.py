"""Chunks, their vectors and the files they came from, in one SQLite file: the only truth.

Everything else in an index folder is a cache made from it. Knows no FAISS, no lexical index and no
embedding model, only vectors and the fingerprint of what made them.
"""

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.database import Database, meta_checksum
from kogemma_rag.document_identity import encoded_metadata
from kogemma_rag.filters import ascending, compile_filter, field_rows, nfc
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.storage_errors import EmbedderMismatchError

FORMAT_VERSION = 2
_PAGE = 4096  # rows read at a time
_CHUNK = "key, id, generation, path, metadata, text, checksum"  # columns
_FILE = "path, size, mtime_ns, ctime_ns, checked_ns, sha256, loaded, error, version"
_SUMMARIES = (
    "SELECT path, COUNT(*), json_extract(metadata, '$.source'), "
    "json_extract(metadata, '$.media_type'), MAX(json_extract(metadata, '$.page')) "
    "FROM chunks WHERE path IS NOT NULL GROUP BY path"
)
_MOST_PARAMETERS = 500  # of one query

# Keys are never used twice (AUTOINCREMENT), so a cache can tell a new chunk from a replaced one.
# `fields` holds what can be searched of the metadata. `deletions` lets a cache catch up.
_SCHEMA = """
CREATE TABLE chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL,
    path TEXT, checksum INTEGER NOT NULL, metadata TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX chunks_by_generation ON chunks (generation);
CREATE INDEX chunks_by_path ON chunks (path) WHERE path IS NOT NULL;
CREATE TABLE vectors (key INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, vector BLOB NOT NULL);
CREATE TABLE fields (
    name TEXT NOT NULL, kind INTEGER NOT NULL, value NOT NULL, key INTEGER NOT NULL,
    PRIMARY KEY (name, kind, value, key)
) WITHOUT ROWID;
CREATE TABLE deletions (generation INTEGER NOT NULL, key INTEGER NOT NULL,
    PRIMARY KEY (generation, key)) WITHOUT ROWID;
CREATE TABLE files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, checked_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
    loaded INTEGER NOT NULL, error TEXT, version TEXT NOT NULL
) WITHOUT ROWID;
"""
# Queries that find nothing in a sound file, by what it means when they do.
_FAULTS = {
    "there are vectors of chunks that do not exist": (
        "SELECT 1 FROM vectors WHERE key NOT IN (SELECT key FROM chunks) LIMIT 1"
    ),
    "there are chunks that count as deleted": (
        "SELECT 1 FROM deletions WHERE key IN (SELECT key FROM chunks) LIMIT 1"
    ),
    "numbers of chunks would be used again": (
        "SELECT 1 FROM chunks WHERE key > (SELECT MAX(seq) FROM sqlite_sequence) LIMIT 1"
    ),
    "there are chunks of changes that were never made": (
        "SELECT 1 FROM chunks WHERE generation > "
        "(SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'generation') LIMIT 1"
    ),
}
# What makes a file of a version one of the next.
_MIGRATIONS = {
    1: """
ALTER TABLE meta ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET checksum = meta_checksum(name, value);
UPDATE chunks
    SET checksum = newer_checksum(key, id, generation, path, metadata, text, checksum);
UPDATE fields SET kind = kind + 5 WHERE EXISTS (
    SELECT 1 FROM chunks, json_each(chunks.metadata) AS field
    WHERE chunks.key = fields.key AND field.type = 'array' AND nfc(field.key) = fields.name
);
"""
}


@dataclass(frozen=True)
class IndexedFile:
    """What is remembered of a file since it was last read.

    Times are nanoseconds; `checked_ns` is when reading began. `loaded` tells whether some version
    of the file is in the index, `error` why its present version is not, `version` which version
    of this package said so.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    checked_ns: int
    sha256: str
    loaded: bool
    error: str | None
    version: str


class FileSummary(NamedTuple):
    """What the chunks of a file say of it; `pages` is the last page's number."""

    chunks: int
    source: str | None
    media_type: str | None
    pages: int | None


class Storage:
    """One SQLite file; many threads may share one object, one process writes at a time.

    Changes are made inside `transaction`, all or nothing, on disk when it ends. `generation` grows
    with each of them; chunks and deletions carry the generation they came with.

    Args:
        path: The file, made when absent; None keeps all in memory.

    Raises:
        StorageError: If the file cannot be opened or its format is another one.
    """

    def __init__(self, path: Path | None = None) -> None:
        # The clock, so that a file made in the place of another begins after that one's end.
        start = str(time.time_ns() // 1000)
        self._database = Database(
            path,
            schema=_SCHEMA,
            format_version=FORMAT_VERSION,
            migrations=_MIGRATIONS,
            functions={
                "meta_checksum": meta_checksum,
                "newer_checksum": _newer_checksum,
                "nfc": nfc,
            },
            start={"first_generation": start, "generation": start},
        )
        self._writing: int | None = None

    @property
    def read_only(self) -> bool:
        """Whether the file can be read only."""
        return self._database.read_only

    @property
    def generation(self) -> int:
        """Of the last committed change; never below `first_generation`."""
        return int(self._recorded("generation"))

    @property
    def first_generation(self) -> int:
        """Where this file began. A cache of an earlier generation belongs to another file."""
        return int(self._recorded("first_generation"))

    @property
    def embedder(self) -> dict[str, Any] | None:
        """Fingerprint of what made the vectors; None before the first one."""
        recorded = self._database.get("embedder")
        return None if recorded is None else json.loads(recorded)

    @property
    def dimension(self) -> int | None:
        """Of the vectors; None before the first one."""
        recorded = self._database.get("dimension")
        return None if recorded is None else int(recorded)

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """Read one committed state within, whatever others commit meanwhile; may be nested.

        Yields:
            Its generation.
        """
        with self._database.snapshot():
            yield self.generation

    @contextmanager
    def writing(self, purpose: str, *, timeout: float | None = None) -> Iterator[None]:
        """Be the only writer, of all threads and processes, within; may be nested.

        Args:
            purpose: What for, told to those who wait in vain.
            timeout: Seconds to wait for another writer; None is `LOCK_TIMEOUT`.

        Raises:
            StorageLockedError: If another one keeps writing; it says who.
            StorageReadOnlyError: If the folder may not be written to.
        """
        with self._database.writing(purpose, timeout=timeout):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes within it together, durably, or, when it raises, not at all.

        Raises:
            StorageLockedError: If another one writes for longer than `LOCK_TIMEOUT`.
            StorageReadOnlyError: If the folder may not be written to.
            StorageFullError: If the disk is full.
        """
        with self._database.transaction():
            try:
                yield
            finally:
                self._writing = None

    def check_embedder(self, fingerprint: Mapping[str, Any], dimension: int | None = None) -> None:
        """Refuse vectors that cannot be compared with those here.

        Raises:
            EmbedderMismatchError: If another fingerprint or dimension is recorded.
        """
        recorded, known = self.embedder, self.dimension
        if recorded is not None and recorded != json.loads(json.dumps(fingerprint)):
            raise EmbedderMismatchError(
                f"the index was made with the embedding model {recorded}, not with "
                f"{dict(fingerprint)}; open it with the model it was made with, or index the "
                "documents again into a new folder"
            )
        if known is not None and dimension is not None and known != dimension:
            raise EmbedderMismatchError(
                f"the index holds vectors of dimension {known}, the embedding model gives "
                f"{dimension}; open it with the model it was made with, or index the documents "
                "again into a new folder"
            )

    def bind_embedder(self, fingerprint: Mapping[str, Any], dimension: int) -> None:
        """Record what makes the vectors, or check it when that is done. In a transaction.

        Raises:
            EmbedderMismatchError: If another fingerprint or dimension is recorded.
        """
        self.check_embedder(fingerprint, dimension)
        if self.embedder is None:
            self._database.set("embedder", json.dumps(fingerprint, ensure_ascii=False))
            self._database.set("dimension", str(dimension))

    def add(
        self,
        documents: Sequence[Document],
        vectors: NDArray[np.float32],
        *,
        path: str | Sequence[str | None] | None = None,
    ) -> None:
        """Add documents, each in the place of one with the same id. In a transaction.

        Args:
            documents: With ids, no two the same.
            vectors: Shape (len(documents), dim), unit length.
            path: The file they came from, when it is one that is kept in step; or that of each.
        """
        paths = [path] * len(documents) if path is None or isinstance(path, str) else path
        self.delete([str(document.id) for document in documents])
        first = self.last_key() + 1
        generation = self._changed()
        chunks, fields, blobs = [], [], []
        rows = zip(documents, vectors, paths, strict=True)
        for key, (document, vector, from_path) in enumerate(rows, first):
            metadata = encoded_metadata(document)
            blob = np.asarray(vector, "<f4").tobytes()
            text = document.page_content
            checksum = _checksum(key, str(document.id), generation, from_path, metadata, text)
            chunks.append((key, document.id, generation, from_path, checksum, metadata, text))
            blobs.append((key, zlib.crc32(blob), blob))
            fields += [(*row, key) for row in field_rows(document.metadata)]
        self._database.run_many("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", chunks)
        self._database.run_many("INSERT INTO vectors VALUES (?, ?, ?)", blobs)
        self._database.run_many("INSERT INTO fields VALUES (?, ?, ?, ?)", fields)

    def delete(self, ids: Iterable[str] | None) -> int:
        """Delete chunks by id, None for all; unknown ids are no error. In a transaction.

        Returns:
            How many there were.
        """
        if ids is None:
            return self._delete_all()
        return self._delete(list(self._by_id(_CHUNK, ids)))

    def delete_file_chunks(self, path: str) -> int:
        """Delete the chunks of a file. In a transaction.

        Returns:
            How many there were.
        """
        return self._delete(
            self._database.rows(f"SELECT {_CHUNK} FROM chunks WHERE path = ?", [path])  # noqa: S608
        )

    def record_file(self, file: IndexedFile) -> None:
        """Remember a file, in the place of what was remembered of it. In a transaction."""
        self._database.run("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(file))

    def forget_file(self, path: str) -> None:
        """Forget a file; its chunks stay. In a transaction."""
        self._database.run("DELETE FROM files WHERE path = ?", [path])

    def files(self) -> dict[str, IndexedFile]:
        """Every file that is kept in step, by path."""
        rows = self._database.rows(f"SELECT {_FILE} FROM files")  # noqa: S608 - ours
        return {row[0]: _indexed_file(*row) for row in rows}

    def file(self, path: str) -> IndexedFile | None:
        """What is remembered of a file; None if nothing is."""
        rows = self._database.rows(f"SELECT {_FILE} FROM files WHERE path = ?", [path])  # noqa: S608
        return _indexed_file(*rows[0]) if rows else None

    def file_documents(self, path: str) -> list[Document]:
        """The chunks of a file, in its order.

        Raises:
            StorageDamagedError: If a chunk is not what was written.
        """
        rows = self._database.rows(
            f"SELECT {_CHUNK} FROM chunks WHERE path = ? ORDER BY key",  # noqa: S608 - ours
            [path],
        )
        return [self._document(*row) for row in rows]

    def file_summaries(self) -> dict[str, FileSummary]:
        """What the chunks of each file say of it, by path; of files that have chunks."""
        rows = self._database.rows(_SUMMARIES)
        return {path: FileSummary(*facts) for path, *facts in rows}

    def paths(self, ids: Iterable[str]) -> dict[str, str | None]:
        """The files that known ids came from; unknown ids are left out."""
        return dict(self._by_id("id, path", ids))

    def documents(self, keys: Sequence[int]) -> list[Document]:
        """The documents of keys, in their order.

        Raises:
            KeyError: If there is no chunk of that key.
            StorageDamagedError: If a chunk is not what was written.
        """
        rows = self._database.rows(
            f"SELECT {_CHUNK} FROM chunks WHERE key IN (SELECT value FROM json_each(?))",  # noqa: S608
            [_json_list(keys)],
        )
        documents = {row[0]: self._document(*row) for row in rows}
        return [documents[int(key)] for key in keys]

    def documents_by_id(self, ids: Iterable[str]) -> list[Document]:
        """The documents of ids, in their order, each once; unknown ids are left out.

        Raises:
            StorageDamagedError: If a chunk is not what was written.
        """
        wanted = list(dict.fromkeys(ids))
        found = {row[1]: self._document(*row) for row in self._by_id(_CHUNK, wanted)}
        return [found[id_] for id_ in wanted if id_ in found]

    def chunk_pages(
        self, size: int
    ) -> Iterator[tuple[list[int], list[Document], list[str | None]]]:
        """Keys, documents and paths of all chunks, ascending by key, so many at a time.

        Raises:
            StorageDamagedError: If a chunk is not what was written.
        """
        last = 0
        sql = f"SELECT {_CHUNK} FROM chunks WHERE key > ? ORDER BY key LIMIT ?"  # noqa: S608
        while page := self._database.rows(sql, [last, size]):
            keys, paths = [row[0] for row in page], [row[3] for row in page]
            yield keys, [self._document(*row) for row in page], paths
            last = keys[-1]

    def ids(self, keys: Sequence[int]) -> list[str]:
        """The ids of keys, in their order.

        Raises:
            KeyError: If there is no chunk of that key.
        """
        rows = self._database.rows(
            "SELECT key, id FROM chunks WHERE key IN (SELECT value FROM json_each(?))",
            [_json_list(keys)],
        )
        found = dict(rows)
        return [found[int(key)] for key in keys]

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        """The vectors of keys, in their order, shape (len(keys), dim).

        Raises:
            KeyError: If there is no chunk of that key.
            StorageDamagedError: If a vector is not what was written.
        """
        rows = self._database.rows(
            "SELECT key, checksum, vector FROM vectors "
            "WHERE key IN (SELECT value FROM json_each(?))",
            [_json_list(keys)],
        )
        found = {key: (checksum, blob) for key, checksum, blob in rows}
        return self._stacked((int(key), *found[int(key)]) for key in keys)

    def last_key(self) -> int:
        """The largest key that was ever given; 0 before the first."""
        return int((self._database.rows("SELECT seq FROM sqlite_sequence") or [(0,)])[0][0])

    def matching_keys(
        self, condition: Mapping[str, Any], *, after_key: int = 0
    ) -> NDArray[np.int64]:
        """The keys of the chunks whose metadata a filter holds for, ascending.

        Args:
            condition: See `kogemma_rag.filters.compile_filter`.
            after_key: Only keys above it.

        Raises:
            FilterError: If the filter is not understood.
        """
        return compile_filter(condition)(self._keys, after_key)

    def _keys(self, sql: str, parameters: Sequence[Any]) -> NDArray[np.int64]:
        """The keys that a query selects, ascending, none twice."""
        # One text of all keys is read four times as fast as a row for each.
        [(text,)] = self._database.rows(f"SELECT group_concat(key) FROM ({sql})", parameters)  # noqa: S608 - filters' own
        return ascending(np.fromstring(text or "", np.int64, sep=","))

    def added_vectors(
        self, since: int, until: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Blocks of keys and vectors of the chunks that came after a generation, up to another.

        Raises:
            StorageDamagedError: If a vector is not what was written.
        """
        sql = (
            "SELECT generation, key, key, vectors.checksum, vector "
            "FROM chunks INDEXED BY chunks_by_generation JOIN vectors USING (key)"
        )
        for page in self._added(sql, since, until):
            yield np.array([row[0] for row in page], np.int64), self._stacked(page)

    def vector_blocks(
        self, after_key: int = 0, until_key: int | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Blocks of keys and vectors of all chunks past a key, up to another, ascending by key.

        Raises:
            StorageDamagedError: If a vector is not what was written.
        """
        last, until = after_key, 2**63 - 1 if until_key is None else until_key
        sql = (
            "SELECT key, checksum, vector FROM vectors WHERE key > ? AND key <= ? "
            "ORDER BY key LIMIT ?"
        )
        while page := self._database.rows(sql, [last, until, _PAGE]):
            yield np.array([row[0] for row in page], np.int64), self._stacked(page)
            last = page[-1][0]

    def added_texts(self, since: int, until: int) -> Iterator[tuple[int, str]]:
        """Keys and indexed texts of the chunks that came after a generation, up to another.

        Raises:
            StorageDamagedError: If a chunk is not what was written.
        """
        sql = f"SELECT generation, key, {_CHUNK} FROM chunks INDEXED BY chunks_by_generation"  # noqa: S608
        for page in self._added(sql, since, until):
            for row in page:
                yield row[0], indexed_text(self._document(*row))

    def deleted_keys(self, since: int, until: int) -> NDArray[np.int64]:
        """Keys that went after a generation, up to another."""
        rows = self._database.rows(
            "SELECT key FROM deletions WHERE generation > ? AND generation <= ?", [since, until]
        )
        return np.array([key for (key,) in rows], np.int64)

    def prune(self, generation: int) -> None:
        """Forget the deletions up to a generation; caches that are older must be made anew.

        In a transaction.
        """
        if generation > self.first_generation:
            self._database.run("DELETE FROM deletions WHERE generation <= ?", [generation])
            self._database.set("first_generation", str(generation))

    def compact(self) -> int:
        """Write the file anew without its gaps.

        Returns:
            How many bytes it is smaller.

        Raises:
            StorageFullError: If there is not as much free space as the file is large.
        """
        before = self._database.size()
        self._database.vacuum()
        return before - self._database.size()

    def counts(self) -> dict[str, int]:
        """How many chunks, different `source` values among them, and files kept in step."""
        [row] = self._database.rows(
            "SELECT (SELECT COUNT(*) FROM chunks), (SELECT COUNT(DISTINCT value) FROM fields "
            "WHERE name = 'source'), (SELECT COUNT(*) FROM files WHERE loaded)"
        )
        return dict(zip(("chunks", "sources", "files"), row, strict=True))

    def verify(self) -> None:
        """Read everything and compare it with its checksums.

        Raises:
            StorageDamagedError: If anything is not what was written.
        """
        with self.snapshot():
            self._database.check_integrity()
            chunks = vectors = fields = 0
            expected = found = 0  # sums of hashes
            for keys, documents, _ in self.chunk_pages(_PAGE):
                chunks += len(keys)
                for key, document in zip(keys, documents, strict=True):
                    rows = [hash((*row, key)) for row in field_rows(document.metadata)]
                    expected, fields = expected + sum(rows), fields + len(rows)
            for keys_of_vectors, _ in self.vector_blocks():
                vectors += len(keys_of_vectors)
            for rows in self._field_pages():
                found, fields = found + sum(map(hash, rows)), fields - len(rows)
            if vectors != chunks:
                raise self._database.damaged(f"{chunks} chunks but {vectors} vectors")
            if fields or found != expected:
                raise self._database.damaged("what filters look at is not the chunks' metadata")
            for fault, sql in _FAULTS.items():
                if self._database.rows(sql):
                    raise self._database.damaged(fault)

    def _field_pages(self) -> Iterator[list[Any]]:
        last: Sequence[Any] = ("", -1, -1, -1)
        sql = (
            "SELECT name, kind, value, key FROM fields WHERE (name, kind, value, key) > "
            "(?, ?, ?, ?) ORDER BY name, kind, value, key LIMIT ?"
        )
        while page := self._database.rows(sql, [*last, _PAGE]):
            yield page
            last = page[-1]

    def close(self) -> None:
        """Let go of the file. The object cannot be used afterwards."""
        self._database.close()

    def _recorded(self, name: str) -> str:
        value = self._database.get(name)
        if value is None:
            raise self._database.damaged(f"{name} is missing")
        return value

    def _by_id(self, columns: str, ids: Iterable[str]) -> Iterator[Any]:
        """Columns of the chunks of ids, in no order."""
        wanted = list(dict.fromkeys(ids))
        # As parameters, not as JSON: SQLite ends a JSON text at a NUL.
        for start in range(0, len(wanted), _MOST_PARAMETERS):
            some = wanted[start : start + _MOST_PARAMETERS]
            marks = ",".join("?" * len(some))
            yield from self._database.rows(
                f"SELECT {columns} FROM chunks WHERE id IN ({marks})",  # noqa: S608 - ours
                some,
            )

    def _changed(self) -> int:
        """The generation of the running transaction, begun with its first change."""
        if self._writing is None:
            self._writing = self.generation + 1
            self._database.set("generation", str(self._writing))
        return self._writing

    def _delete(self, rows: Sequence[Any]) -> int:
        if not rows:
            return 0
        generation = self._changed()
        documents = {row[0]: self._document(*row) for row in rows}
        keys = [(key,) for key in documents]
        fields = [
            (*row, key)
            for key, document in documents.items()
            for row in field_rows(document.metadata)
        ]
        self._database.run_many(
            "DELETE FROM fields WHERE name = ? AND kind = ? AND value = ? AND key = ?", fields
        )
        self._database.run_many("DELETE FROM vectors WHERE key = ?", keys)
        self._database.run_many("DELETE FROM chunks WHERE key = ?", keys)
        gone = [(generation, key) for key in documents]
        self._database.run_many("INSERT INTO deletions VALUES (?, ?)", gone)
        return len(documents)

    def _delete_all(self) -> int:
        [(count,)] = self._database.rows("SELECT COUNT(*) FROM chunks")
        if count:
            self._database.run("INSERT INTO deletions SELECT ?, key FROM chunks", [self._changed()])
            for table in ("fields", "vectors", "chunks"):
                self._database.run(f"DELETE FROM {table}")  # noqa: S608 - ours
        return int(count)

    def _added(self, sql: str, since: int, until: int) -> Iterator[list[Any]]:
        # In the order of the index by generation, which is that of the keys too: a page costs no
        # more than its rows.
        where = (
            "WHERE (generation, key) > (?, ?) AND generation <= ? ORDER BY generation, key LIMIT ?"
        )
        last = (since, 2**63 - 1)
        while page := self._database.rows(f"{sql} {where}", [*last, until, _PAGE]):
            yield [row[2:] for row in page]
            last = page[-1][:2]

    def _document(
        self,
        key: int,
        id_: str,
        generation: int,
        path: str | None,
        metadata: str,
        text: str,
        checksum: int,
    ) -> Document:
        if _checksum(key, id_, generation, path, metadata, text) != checksum:
            raise self._database.damaged(f"the text of chunk {id_} is not what was written")
        return Document(id=id_, page_content=text, metadata=json.loads(metadata))

    def _stacked(self, rows: Iterable[tuple[int, int, bytes]]) -> NDArray[np.float32]:
        blobs = []
        for key, checksum, blob in rows:
            if not isinstance(blob, bytes) or zlib.crc32(blob) != checksum:
                raise self._database.damaged(
                    f"the vector of chunk number {key} is not what was written"
                )
            blobs.append(blob)
        return np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), self.dimension or 0)


def _indexed_file(*row: Any) -> IndexedFile:
    file = IndexedFile(*row)
    return replace(file, loaded=bool(file.loaded))


def _checksum(
    key: int, id_: str, generation: int, path: str | None, metadata: str, text: str
) -> int:
    content = f"{key}\0{id_}\0{generation}\0{path or ''}\0{metadata}\0{text}"
    return zlib.crc32(content.encode())


def _newer_checksum(
    key: int, id_: str, generation: int, path: str | None, metadata: str, text: str, old: int
) -> int:
    """The checksum of a chunk of format version 1, where it covered less; -1 if it was wrong."""
    if zlib.crc32(f"{id_}\0{metadata}\0{text}".encode()) != old:
        return -1
    return _checksum(key, id_, generation, path, metadata, text)


def _json_list(keys: Sequence[int]) -> str:
    return json.dumps([int(key) for key in keys])
