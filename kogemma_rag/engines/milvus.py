"""Chunks in Milvus: vectors by cosine, words by its BM25 function, files in a collection beside.

The fields of chunks are those of langchain-milvus with `metadata_field="metadata"`. Milvus knows no
transactions: files are announced, their chunks written, old ones deleted, and then recorded, so
that what was cut off is done again by the next sync. Knows no embedding model and no files.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any

from kogemma_rag.document_identity import encoded_metadata
from kogemma_rag.engines.chunk_table import (
    FORMAT_VERSION,
    Chunk,
    FileChunks,
    checked_collection,
    in_batches,
)
from kogemma_rag.engines.ledger import unfinished
from kogemma_rag.engines.milvus_connection import MilvusConnection
from kogemma_rag.engines.milvus_filters import facets, id_list
from kogemma_rag.engines.milvus_view import MilvusView, key_of
from kogemma_rag.engines.words import K1, B
from kogemma_rag.storage import IndexedFile
from kogemma_rag.storage_errors import StorageError

_MAX_BYTES = 65_535  # of a text in Milvus
_MAX_FACETS = 4_096
_PAGE = 1_000
_FACTS = "facts"  # the row of the files' collection that is no file


class MilvusTable:
    """See `ChunkTable`. One process at a time may write to a collection; its user sees to that.

    Args:
        url: `milvus://user:password@host:port/database`, or `milvus+https://…`.
        collection: Name of the collection of chunks; that of files begins with it.

    Raises:
        ImportError: If pymilvus is not installed.
        StorageError: If the server does not answer or holds another format.
        ValueError: If that is no name of a collection.
    """

    def __init__(self, url: str, collection: str) -> None:
        self.collection = checked_collection(collection)
        self._files = f"{collection}_files"
        self._connection = MilvusConnection(url)
        self.address = self._connection.address
        self._lock = threading.RLock()
        recorded = self._facts().get("format", FORMAT_VERSION)
        if recorded != FORMAT_VERSION:
            raise StorageError(
                f"{self.address}, collection {collection}, is of format {recorded}, this version "
                f"of kogemma-rag reads {FORMAT_VERSION}; install the version that made it"
            )

    def facts(self) -> dict[str, Any]:
        """See `ChunkTable.facts`."""
        facts = self._facts()
        return {name: facts[name] for name in ("embedder", "dimension") if name in facts}

    @contextmanager
    def writing(self, purpose: str) -> Iterator[None]:
        """See `ChunkTable.writing`; alone in this process."""
        with self._lock:
            yield

    def bind(self, embedder: Mapping[str, Any], dimension: int) -> None:
        """See `ChunkTable.bind`."""
        self._make_files()
        with self._connection.client() as client:
            if client.has_collection(self.collection):
                raise StorageError(
                    f"{self.address} has a collection {self.collection} that is not ours; choose "
                    "another name"
                )
        facts = {"format": FORMAT_VERSION, "embedder": dict(embedder), "dimension": dimension}
        self._record([(_FACTS, facts)])
        self._make_chunks(dimension)

    def put(self, chunks: Sequence[Chunk]) -> None:
        """See `ChunkTable.put`."""
        rows = [_row(chunk) for chunk in chunks]
        with self._lock, self._connection.client() as client:
            if rows and not client.has_collection(self.collection):  # cut off in `bind`
                self._make_chunks(len(chunks[0].vector))
            for batch in in_batches(rows):
                client.upsert(self.collection, list(batch))

    def put_files(self, files: Sequence[FileChunks]) -> None:
        """See `ChunkTable.put_files`."""
        with self._lock:
            self._make_files()
            known = self.files([file.file.path for file in files])
            replaced = [file for file in files if file.chunks is not None]
            announced = [unfinished(file.file, known.get(file.file.path)) for file in replaced]
            self._record((file.path, astuple(file)) for file in announced)
            chunks = [chunk for file in replaced for chunk in file.chunks or ()]
            self.put(chunks)
            self._drop(
                [file.file.path for file in replaced],
                but=[key_of(str(chunk.document.id)) for chunk in chunks],
            )
            self._record((file.file.path, astuple(file.file)) for file in files)

    def forget(self, paths: Sequence[str]) -> None:
        """See `ChunkTable.forget`."""
        with self._lock, self._connection.client() as client:
            self._drop(paths, but=())
            if paths and client.has_collection(self._files):
                client.delete(self._files, filter=f"pk in {id_list([*map(key_of, paths)])}")

    def delete(self, ids: Sequence[str] | None) -> None:
        """See `ChunkTable.delete`."""
        with self._lock, self._connection.client() as client:
            if not client.has_collection(self.collection):
                return
            if ids is None:
                client.delete(self.collection, filter='pk != ""')
            elif ids:
                client.delete(self.collection, filter=f"pk in {id_list([*map(key_of, ids)])}")

    def files(self, paths: Sequence[str] | None = None) -> dict[str, IndexedFile]:
        """See `ChunkTable.files`."""
        records = self._records(None if paths is None else [key_of(path) for path in paths])
        files = (IndexedFile(*record) for record in records if isinstance(record, list))
        return {file.path: file for file in files}

    def paths(self, ids: Sequence[str]) -> dict[str, str | None]:
        """See `ChunkTable.paths`."""
        with self._connection.client() as client:
            if not ids or not client.has_collection(self.collection):
                return {}
            rows: list[Any] = []
            for start in range(0, len(ids), _PAGE):
                keys = [key_of(id_) for id_ in ids[start : start + _PAGE]]
                found = client.query(
                    self.collection,
                    filter=f"pk in {id_list(keys)}",
                    output_fields=["id", "path"],
                )
                rows += found
        return {row["id"]: row["path"] or None for row in rows}

    @contextmanager
    def reading(self) -> Iterator[MilvusView]:
        """See `ChunkTable.reading`; each search sees the state of its own moment."""
        with self._connection.client() as client:
            there = client.has_collection(self.collection)
            yield MilvusView(client, self.collection if there else None)

    def info(self) -> dict[str, Any]:
        """See `ChunkTable.info`."""
        with self._connection.client() as client:
            if not client.has_collection(self.collection):
                return {"chunks": 0, "vector_index": "flat"}
            [count] = client.query(self.collection, filter="", output_fields=["count(*)"])
            index = client.describe_index(self.collection, "vector")
        return {"chunks": count["count(*)"], "vector_index": index["index_type"].lower()}

    def build_vector_index(self) -> None:
        """See `ChunkTable.build_vector_index`.

        Raises:
            StorageError: If there are no vectors yet.
        """
        with self._lock, self._connection.client() as client:
            if not client.has_collection(self.collection):
                raise StorageError("there are no vectors yet; index documents first")
            client.release_collection(self.collection)
            client.drop_index(self.collection, "vector")
            index = client.prepare_index_params()
            parameters = {"M": 16, "efConstruction": 200}
            index.add_index("vector", index_type="HNSW", metric_type="COSINE", params=parameters)
            client.create_index(self.collection, index)
            client.load_collection(self.collection)

    def close(self) -> None:
        """See `ChunkTable.close`."""
        self._connection.close()

    def _drop(self, paths: Sequence[str], *, but: Sequence[str]) -> None:
        """Delete the chunks of files but for some keys."""
        with self._connection.client() as client:
            if not paths or not client.has_collection(self.collection):
                return
            which = f"path_key in {id_list([*map(key_of, paths)])}"
            if but:
                which += f" and pk not in {id_list(but)}"
            client.delete(self.collection, filter=which)

    def _facts(self) -> dict[str, Any]:
        [facts] = [*self._records([key_of(_FACTS)]), {}][:1]
        return dict(facts)

    def _records(self, keys: Sequence[str] | None) -> list[Any]:
        with self._connection.client() as client:
            if not client.has_collection(self._files):
                return []
            rows: list[Any] = []
            for start in range(0, len(keys or ()), _PAGE):
                which = f"pk in {id_list((keys or ())[start : start + _PAGE])}"
                rows += client.query(self._files, filter=which, output_fields=["record"])
            if keys is None:
                pages = client.query_iterator(
                    self._files, filter='pk != ""', output_fields=["record"], batch_size=_PAGE
                )
                while page := pages.next():
                    rows += page
                pages.close()
        return [json.loads(row["record"]) for row in rows]

    def _record(self, records: Iterable[tuple[str, Any]]) -> None:
        rows = [
            {"pk": key_of(name), "record": json.dumps(record), "vector": [0.0, 0.0]}
            for name, record in records
        ]
        with self._connection.client() as client:
            for start in range(0, len(rows), _PAGE):
                client.upsert(self._files, rows[start : start + _PAGE])

    def _make_files(self) -> None:
        from pymilvus import DataType

        with self._connection.client() as client:
            if client.has_collection(self._files):
                return
            schema = client.create_schema(auto_id=False)
            schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=64)
            schema.add_field("record", DataType.VARCHAR, max_length=_MAX_BYTES)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)  # Milvus wants one
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="COSINE")
            client.create_collection(
                self._files, schema=schema, index_params=index, consistency_level="Strong"
            )

    def _make_chunks(self, dimension: int) -> None:
        from pymilvus import DataType, Function, FunctionType

        with self._connection.client() as client:
            schema = client.create_schema(auto_id=False)
            schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=64)
            for name in ("id", "text", "path"):
                schema.add_field(name, DataType.VARCHAR, max_length=_MAX_BYTES)
            schema.add_field("path_key", DataType.VARCHAR, max_length=64)
            schema.add_field("metadata", DataType.JSON)
            schema.add_field(
                "facets",
                DataType.ARRAY,
                element_type=DataType.VARCHAR,
                max_capacity=_MAX_FACETS,
                max_length=64,
            )
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="COSINE")
            for name in ("morphemes", "bigrams"):
                schema.add_field(
                    name,
                    DataType.VARCHAR,
                    max_length=_MAX_BYTES,
                    enable_analyzer=True,
                    # Of spaces and marks, of which our words have none; lite knows no "whitespace".
                    analyzer_params={"tokenizer": "standard"},
                )
                schema.add_field(f"{name}_sparse", DataType.SPARSE_FLOAT_VECTOR)
                schema.add_function(
                    Function(
                        name=name,
                        function_type=FunctionType.BM25,
                        input_field_names=[name],
                        output_field_names=[f"{name}_sparse"],
                    )
                )
                index.add_index(
                    f"{name}_sparse",
                    index_type="SPARSE_INVERTED_INDEX",
                    metric_type="BM25",
                    params={"bm25_k1": K1, "bm25_b": B},
                )
            client.create_collection(
                self.collection, schema=schema, index_params=index, consistency_level="Strong"
            )


def _row(chunk: Chunk) -> dict[str, Any]:
    document, words = chunk.document, chunk.words
    encoded_metadata(document)
    row = {
        "pk": key_of(str(document.id)),
        "id": str(document.id),
        "text": document.page_content,
        "path": chunk.path or "",
        "path_key": key_of(chunk.path) if chunk.path else "",
        "metadata": document.metadata,
        "facets": facets(document.metadata),
        "morphemes": " ".join(words.morphemes.elements()),
        "bigrams": " ".join(words.bigrams.elements()),
        "vector": chunk.vector.tolist(),
    }
    for name, value in row.items():
        size = len(json.dumps(value) if name == "metadata" else value)
        size = len(value.encode()) if isinstance(value, str) else size
        most = _MAX_FACETS if name == "facets" else _MAX_BYTES
        if size > most:
            raise ValueError(
                f"{name} of the document {document.id!r} has {size} bytes, of which Milvus takes "
                f"{most}; split it into smaller documents"
            )
    return row
