"""An index out into JSON Lines and Parquet with checksums, and in again, equal to the last bit.

LangChain's own FAISS folders come in too, on request: they hold a pickle. Knows storage, no caches.
"""

import hashlib
import json
import os
import shutil
import sys
import uuid
import warnings
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray
from tqdm import tqdm

from kogemma_rag.document_identity import encoded_metadata
from kogemma_rag.langchain_faiss import is_langchain_folder, read_langchain_folder
from kogemma_rag.similarity import unit_vectors
from kogemma_rag.storage import IndexedFile, Storage
from kogemma_rag.storage_errors import EmbedderMismatchError, StorageError

_Page = tuple[list[Document], NDArray[np.float32], list[str | None]]

DOCUMENTS, VECTORS, FILES = "documents.jsonl", "vectors.parquet", "files.jsonl"
MANIFEST = "manifest.json"
_FORMAT, _VERSION = "kogemma-rag export", 1
_PAGE = 1024  # chunks in memory at a time
_READ_SIZE = 1 << 20  # bytes


class TransferError(StorageError, ValueError):
    """What is to be imported cannot be trusted or used; nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    """What an export holds; `sha256` is of its files, by name."""

    format: str
    version: int
    chunks: int
    files: int
    embedder: dict[str, Any] | None
    dimension: int | None
    sha256: dict[str, str]


def export_index(storage: Storage, folder: str | Path, *, progress: bool = True) -> Manifest:
    """Write one committed state into a new folder, complete or not at all.

    `documents.jsonl` holds id, text, metadata and path (of the synced file) of each chunk in the
    order they were added, `vectors.parquet` id and vector in the same order, `files.jsonl` what is
    remembered of each synced file, `manifest.json` counts, embedder, dimension and checksums.

    Args:
        storage: May be written to meanwhile.
        folder: Absent or empty.
        progress: Whether to draw a bar on stderr.

    Raises:
        ImportError: If pyarrow is not installed.
        FileExistsError: If there is something in the folder.
        StorageDamagedError: If the index cannot be trusted.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not an empty folder; export into a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        manifest = _write(storage, temporary, progress)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
        _sync_to_disk(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return manifest


def import_index(
    storage: Storage,
    folder: str | Path,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
    progress: bool = True,
) -> int:
    """Add what was exported, all or nothing; chunks of the same id or synced file are replaced.

    A folder that LangChain's FAISS store saved (`index.faiss`, `index.pkl`) holds a pickle. It is
    read only with `allow_pickle`, by an unpickler that knows documents and plain values and
    refuses all else. Which embeddings made its vectors stands nowhere in it: they must be those of
    `fingerprint`, or searches give nonsense.

    Args:
        storage: Of the same embedder and dimension, or empty.
        folder: Of an export.
        fingerprint: Of the embedder; needed for a LangChain folder and an empty index.
        allow_pickle: Whether to read LangChain's folders.
        progress: Whether to draw a bar on stderr.

    Returns:
        How many chunks came in.

    Raises:
        ImportError: If pyarrow (FAISS, for a LangChain folder) is not installed.
        FileNotFoundError: If there is no export in the folder.
        TransferError: If the export is damaged, or its chunks belong to other files here.
        EmbedderMismatchError: If the index was made with another embedder.
    """
    folder = Path(folder)
    if is_langchain_folder(folder):
        if not allow_pickle:
            raise TransferError(
                f"{folder} was saved by LangChain's FAISS store and holds a pickle, which can be "
                "made to run any program; if you trust where it comes from, import it with "
                "allow_pickle=True"
            )
        return _import_langchain(storage, folder, fingerprint or storage.embedder, progress)
    manifest = _checked_manifest(folder)
    if manifest.embedder is not None:
        _check_embedder(storage, manifest, fingerprint)
    known = [_indexed_file(folder, row) for row in _rows(folder / FILES)]
    if len(known) != manifest.files:
        raise _damaged(folder, f"{FILES} holds {len(known)} files, not {manifest.files}")
    with storage.transaction(), _bar("가져오기", manifest.chunks, progress) as bar:
        for file in known:
            storage.delete_file_chunks(file.path)
            storage.record_file(file)
        if manifest.embedder is not None:
            storage.bind_embedder(manifest.embedder, manifest.dimension or 0)
        for documents, vectors, paths in _checked_pages(folder, manifest):
            _refuse_chunks_of_other_files(storage, documents, paths)
            storage.add(documents, vectors, path=paths)
            bar.update(len(documents))
    return manifest.chunks


def _write(storage: Storage, folder: Path, progress: bool) -> Manifest:
    pyarrow, parquet = _parquet()
    with (
        storage.snapshot(),
        (folder / DOCUMENTS).open("w", encoding="utf-8", newline="\n") as lines,
    ):
        dimension, counts = storage.dimension, storage.counts()
        schema = _schema(pyarrow, dimension or 1)
        with (
            parquet.ParquetWriter(folder / VECTORS, schema, use_dictionary=False) as writer,
            _bar("내보내기", counts["chunks"], progress) as bar,
        ):
            for keys, documents, paths in storage.chunk_pages(_PAGE):
                ids = [str(document.id) for document in documents]
                vectors = storage.vectors(keys)
                flat = pyarrow.array(vectors.ravel(), pyarrow.float32())
                column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
                writer.write_table(pyarrow.table([ids, column], schema=schema))
                for document, path in zip(documents, paths, strict=True):
                    lines.write(_json_line(_row(document, path)))
                bar.update(len(ids))
        files = storage.files().values()
        with _new_lines(folder / FILES) as file_lines:
            file_lines.writelines(_json_line(asdict(file)) for file in files)
        manifest = Manifest(
            format=_FORMAT,
            version=_VERSION,
            chunks=counts["chunks"],
            files=len(files),
            embedder=storage.embedder,
            dimension=dimension,
            sha256={},
        )
    for name in (DOCUMENTS, VECTORS, FILES):
        _sync_to_disk(folder / name)
        manifest.sha256[name] = _sha256(folder / name)
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
    _sync_to_disk(folder / MANIFEST)
    _sync_to_disk(folder)
    return manifest


def _import_langchain(
    storage: Storage, folder: Path, fingerprint: Mapping[str, Any] | None, progress: bool
) -> int:
    if fingerprint is None:
        raise TransferError(
            f"{folder} does not say which embeddings made its vectors; give their fingerprint"
        )
    warnings.warn(
        f"reading the pickle of {folder}: only documents are taken from it. Its vectors must have "
        f"been made by {dict(fingerprint)}: nothing in it says so",
        UserWarning,
        stacklevel=3,
    )
    count = 0
    try:
        with storage.transaction(), _bar("가져오기", None, progress) as bar:
            for documents, vectors in read_langchain_folder(folder):
                storage.bind_embedder(fingerprint, vectors.shape[1])
                for document in documents:
                    encoded_metadata(document)
                _refuse_twins(folder, documents)
                paths: list[str | None] = [None] * len(documents)
                _refuse_chunks_of_other_files(storage, documents, paths)
                storage.add(documents, unit_vectors(vectors, len(documents)))
                count += len(documents)
                bar.update(len(documents))
    except StorageError:
        raise
    except ValueError as error:
        raise TransferError(f"{error}; nothing was changed") from error
    return count


def _checked_manifest(folder: Path) -> Manifest:
    """The manifest, after a look at all checksums."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"there is no export in {folder}: {MANIFEST} is missing")
    try:
        manifest = Manifest(**json.loads(path.read_bytes()))
        counts = (manifest.chunks, manifest.files)
        sound = (
            all(type(count) is int and count >= 0 for count in counts)
            and isinstance(manifest.embedder, dict | None)
            and (type(manifest.dimension) is int and manifest.dimension > 0)
            == (manifest.embedder is not None)
            and set(manifest.sha256) == {DOCUMENTS, VECTORS, FILES}
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read: {error}") from error
    if not sound:
        raise _damaged(folder, f"{MANIFEST} is not sound")
    if (manifest.format, manifest.version) != (_FORMAT, _VERSION):
        raise TransferError(
            f"{folder} is a {manifest.format!r} of version {manifest.version!r}; this version of "
            f"kogemma-rag reads version {_VERSION}. Use the version that wrote it, or a newer one"
        )
    for name, expected in manifest.sha256.items():
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing")
        if _sha256(folder / name) != expected:
            raise _damaged(folder, f"{name} is not what was written")
    return manifest


def _check_embedder(
    storage: Storage, manifest: Manifest, fingerprint: Mapping[str, Any] | None
) -> None:
    if fingerprint is not None and dict(fingerprint) != manifest.embedder:
        raise EmbedderMismatchError(
            f"the export was made with the embedding model {manifest.embedder}, not with "
            f"{dict(fingerprint)}; import it into an index of that model"
        )
    storage.check_embedder(manifest.embedder or {}, manifest.dimension)


def _checked_pages(folder: Path, manifest: Manifest) -> Iterator[_Page]:
    """Documents, vectors and paths; what does not fit together raises."""
    from xxhash import xxh3_64_intdigest

    rows, count, hashes = _rows(folder / DOCUMENTS), 0, array("Q")  # eight bytes for each id
    for ids, vectors in _vector_pages(folder, manifest):
        chunks = [_chunk(folder, row) for row in islice(rows, len(ids))]
        documents = [document for document, _ in chunks]
        if [document.id for document in documents] != ids:
            raise _damaged(folder, f"the ids of {DOCUMENTS} and {VECTORS} differ")
        hashes.extend(xxh3_64_intdigest(id_.encode()) for id_ in ids)
        count += len(ids)
        yield documents, vectors, [path for _, path in chunks]
    if count != manifest.chunks or next(rows, None) is not None:
        raise _damaged(folder, f"it does not hold {manifest.chunks} chunks")
    if len(np.unique(np.frombuffer(hashes, np.uint64))) != count:
        raise _damaged(folder, "several chunks have one id")


def _vector_pages(
    folder: Path, manifest: Manifest
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    pyarrow, parquet = _parquet()
    dimension = manifest.dimension or 1
    try:
        with parquet.ParquetFile(folder / VECTORS) as file:
            if not file.schema_arrow.equals(_schema(pyarrow, dimension)):
                raise _damaged(folder, f"{VECTORS} does not hold ids and {dimension} numbers each")
            for batch in file.iter_batches(_PAGE):
                if batch["vector"].null_count or batch["id"].null_count:
                    raise _damaged(folder, f"{VECTORS} has gaps")
                flat = batch["vector"].flatten().to_numpy(zero_copy_only=False)
                vectors = flat.astype(np.float32, copy=False).reshape(len(batch), dimension)
                if not np.isfinite(vectors).all():
                    raise _damaged(folder, f"{VECTORS} holds a number that is not finite")
                yield batch["id"].to_pylist(), vectors
    except pyarrow.ArrowException as error:
        raise _damaged(folder, f"{VECTORS} cannot be read: {error}") from error


def _refuse_twins(folder: Path, documents: Sequence[Document]) -> None:
    if len({document.id for document in documents}) != len(documents):
        raise _damaged(folder, "several documents have one id")


def _refuse_chunks_of_other_files(
    storage: Storage, documents: Sequence[Document], paths: Sequence[str | None]
) -> None:
    here = storage.paths([str(document.id) for document in documents])
    for document, path in zip(documents, paths, strict=True):
        other = here.get(str(document.id))
        if other is not None and other != path:
            raise TransferError(
                f"chunk {document.id} belongs to the file {other} here, to {path} in what is to be "
                "imported; import into an index of its own"
            )


def _row(document: Document, path: str | None) -> dict[str, Any]:
    return {
        "id": document.id,
        "text": document.page_content,
        "metadata": document.metadata,
        "path": path,
    }


def _chunk(folder: Path, row: Any) -> tuple[Document, str | None]:
    if not isinstance(row, dict) or set(row) != {"id", "text", "metadata", "path"}:
        raise _damaged(folder, f"a line of {DOCUMENTS} is no chunk")
    id_, text, metadata, path = row["id"], row["text"], row["metadata"], row["path"]
    if not (isinstance(id_, str) and id_ and isinstance(text, str) and isinstance(metadata, dict)):
        raise _damaged(folder, f"a chunk of {DOCUMENTS} has no id, text or metadata")
    if not isinstance(path, str | None):
        raise _damaged(folder, f"the path of chunk {id_} is no text")
    document = Document(id=id_, page_content=text, metadata=metadata)
    try:
        encoded_metadata(document)
    except ValueError as error:
        raise _damaged(folder, str(error)) from error
    return document, path


def _indexed_file(folder: Path, row: Any) -> IndexedFile:
    try:
        file = IndexedFile(**row)
    except TypeError as error:
        raise _damaged(folder, f"a line of {FILES} is no file: {error}") from error
    texts, numbers = (file.path, file.sha256, file.version), astuple(file)[1:5]
    sound = all(isinstance(text, str) for text in texts) and isinstance(file.error, str | None)
    if not sound or not all(type(number) is int for number in numbers):
        raise _damaged(folder, f"a line of {FILES} has values of the wrong types")
    return file


def _rows(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        try:
            for line in lines:
                yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _damaged(path.parent, f"{path.name} has a line that is no JSON") from error


def _new_lines(path: Path) -> TextIO:
    return path.open("x", encoding="utf-8", newline="\n")


def _json_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _schema(pyarrow: Any, dimension: int) -> Any:
    vector = pyarrow.list_(pyarrow.float32(), dimension)
    return pyarrow.schema([("id", pyarrow.string()), ("vector", vector)])


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "exports hold their vectors as Parquet: pip install 'kogemma-rag[parquet]'"
        ) from error
    return pyarrow, parquet


def _bar(description: str, total: int | None, progress: bool) -> "tqdm[None]":
    return tqdm(total=total, desc=description, unit="문단", file=sys.stderr, disable=not progress)


def _damaged(folder: Path, what: str) -> TransferError:
    return TransferError(f"the export in {folder} is damaged: {what}. Nothing was changed")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()


def _sync_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
