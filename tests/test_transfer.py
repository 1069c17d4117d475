"""Export and import: equal to the last bit, nothing believed that is damaged, no pickle run."""

import datetime
import json
import os
import pickle
import sys
import types
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document

from kogemma_rag import transfer
from kogemma_rag.storage import IndexedFile, Storage
from kogemma_rag.storage_errors import EmbedderMismatchError, StorageDamagedError
from kogemma_rag.transfer import TransferError, export_index, import_index

FINGERPRINT = {"name": "m", "prompts": ["질문: ", ""]}


def random_vectors(count: int, dimension: int = 5) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def documents(count: int) -> list[Document]:
    text = "줄\r\n\0바꿈\u2028 😀 " + unicodedata.normalize("NFD", "각")
    metadata = {"f": 0.1, "i": 2**62, "b": True, "none": None, "l": ["a", 1], "d": {"x": {}}}
    return [
        Document(id=f"가\0{n}", page_content=f"{text} {n}", metadata={**metadata, "n": n})
        for n in range(count)
    ]


def filled(path: Path | None = None, count: int = 7) -> Storage:
    storage = Storage(path)
    with storage.transaction():
        storage.bind_embedder(FINGERPRINT, 5)
        storage.add(documents(count), random_vectors(count), path=["/a.txt", None] * 3 + ["/b.txt"])
        storage.record_file(IndexedFile("/a.txt", 1, 2**62, 3, 4, "ff", True, None, "0.1"))
        storage.record_file(IndexedFile("/c.txt", 1, 2, 3, 4, "ee", False, "손상", "0.1"))
    return storage


def content(storage: Storage) -> tuple:
    ids, vectors, chunks = [], [], []
    for keys, found, paths in storage.chunk_pages(3):
        chunks += [
            (d.id, d.page_content, json.dumps(d.metadata), path)
            for d, path in zip(found, paths, strict=True)
        ]
        vectors.append(storage.vectors(keys).tobytes())
        ids += [document.id for document in found]
    return chunks, b"".join(vectors), storage.files(), storage.embedder, storage.dimension


@pytest.fixture
def export(tmp_path) -> Path:
    storage = filled()
    export_index(storage, tmp_path / "export", progress=False)
    return tmp_path / "export"


@pytest.mark.parametrize("page", [2, 1024])
def test_a_round_trip_is_equal_to_the_last_bit(tmp_path, monkeypatch, page) -> None:
    monkeypatch.setattr(transfer, "_PAGE", page)
    storage, other = filled(), Storage(tmp_path / "index.sqlite3")
    manifest = export_index(storage, tmp_path / "new" / "export", progress=False)
    assert (manifest.chunks, manifest.files, manifest.dimension) == (7, 2, 5)
    assert import_index(other, tmp_path / "new" / "export", progress=False) == 7
    assert content(other) == content(storage)
    other.verify()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["export"]


def test_an_export_can_be_read_without_us(export) -> None:
    from pyarrow import parquet

    rows = [json.loads(line) for line in (export / "documents.jsonl").open(encoding="utf-8")]
    table = parquet.read_table(export / "vectors.parquet")
    assert [row["id"] for row in rows] == [f"가\0{n}" for n in range(7)] == table["id"].to_pylist()
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist()), random_vectors(7))
    assert [row["path"] for row in rows] == ["/a.txt", None] * 3 + ["/b.txt"]
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["embedder"] == FINGERPRINT


def test_importing_twice_changes_nothing_and_replaces_the_chunks_of_a_file(export) -> None:
    other = Storage()
    stale = Document(id="stale", page_content="옛 글", metadata={})
    own = Document(id="own", page_content="남는 글", metadata={})
    with other.transaction():
        other.bind_embedder(FINGERPRINT, 5)
        other.add([stale, own], random_vectors(2), path=["/a.txt", "/own.txt"])
    for _ in range(2):
        import_index(other, export, progress=False)
        ids = [document.id for _, found, _ in other.chunk_pages(100) for document in found]
        assert sorted(ids) == sorted(["own", *(f"가\0{n}" for n in range(7))])
    other.verify()


def test_chunks_of_another_file_are_not_taken_away(export) -> None:
    other = Storage()
    with other.transaction():
        other.bind_embedder(FINGERPRINT, 5)
        other.add(documents(1), random_vectors(1), path="/other.txt")
    before = content(other)
    with pytest.raises(TransferError, match=r"/other\.txt here, to /a\.txt"):
        import_index(other, export, progress=False)
    assert content(other) == before


def test_an_empty_index_can_be_moved_too(tmp_path) -> None:
    export_index(Storage(), tmp_path / "export", progress=False)
    other = Storage()
    assert import_index(other, tmp_path / "export", progress=False) == 0
    assert content(other) == ([], b"", {}, None, None)


def test_a_folder_with_anything_in_it_is_not_written_to(tmp_path) -> None:
    (tmp_path / "mine.txt").touch()
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(FileExistsError, match="export into a new one"):
            export_index(filled(), folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    export_index(filled(), empty, progress=False)
    assert (empty / "manifest.json").exists()


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch) -> None:
    storage = filled()

    def fail(*_):
        raise StorageDamagedError("damaged")

    monkeypatch.setattr(storage, "vectors", fail)
    with pytest.raises(StorageDamagedError):
        export_index(storage, tmp_path / "export", progress=False)
    assert not list(tmp_path.iterdir())


def test_another_embedder_is_refused(export) -> None:
    other = Storage()
    with pytest.raises(EmbedderMismatchError, match=r"'m'.*not with.*'other'"):
        import_index(other, export, fingerprint={"name": "other"}, progress=False)
    with other.transaction():
        other.bind_embedder({"name": "other"}, 5)
    with pytest.raises(EmbedderMismatchError, match=r"'other'.*not with.*'m'"):
        import_index(other, export, progress=False)


@pytest.mark.parametrize("name", ["documents.jsonl", "vectors.parquet", "files.jsonl"])
def test_a_damaged_file_is_refused_before_anything_changes(export, name) -> None:
    other, file = Storage(), export / name
    sound = file.read_bytes()
    for damaged in (sound[:-1], sound[:40] + bytes([sound[40] ^ 1]) + sound[41:], b""):
        file.write_bytes(damaged)
        with pytest.raises(TransferError, match=f"{name} is not what was written"):
            import_index(other, export, progress=False)
    file.unlink()
    with pytest.raises(TransferError, match=f"{name} is missing"):
        import_index(other, export, progress=False)
    assert other.embedder is None
    assert other.generation == other.first_generation


def test_a_missing_or_damaged_manifest_is_refused(export, tmp_path) -> None:
    manifest, other = export / "manifest.json", Storage()
    known = json.loads(manifest.read_text(encoding="utf-8"))
    for changed in (
        b"",
        b"[" * 100_000,
        b"[]",
        b'{"format": 1}',
        json.dumps({**known, "chunks": -1}).encode(),
        json.dumps({**known, "chunks": True}).encode(),
        json.dumps({**known, "dimension": None}).encode(),
        json.dumps({**known, "sha256": {"../x": "0"}}).encode(),
    ):
        manifest.write_bytes(changed)
        with pytest.raises(TransferError, match="manifest"):
            import_index(other, export, progress=False)
    manifest.write_text(json.dumps({**known, "version": 2}))
    with pytest.raises(TransferError, match="of version 2; this version of kogemma-rag reads"):
        import_index(other, export, progress=False)
    with pytest.raises(FileNotFoundError, match="no export"):
        import_index(other, tmp_path / "nowhere", progress=False)


def changed_line(export: Path, name: str, change) -> None:
    """Change the first line of a file, and the manifest with it."""
    first, *others = (export / name).read_text(encoding="utf-8").split("\n")
    row = change(json.loads(first))
    lines = [row if isinstance(row, str) else json.dumps(row), *others]
    (export / name).write_text("\n".join(lines), encoding="utf-8")
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    manifest["sha256"][name] = transfer._sha256(export / name)
    (export / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("documents.jsonl", lambda row: {**row, "id": "x"}, "ids of .* differ"),
        ("documents.jsonl", lambda row: {**row, "id": 1}, "no id"),
        ("documents.jsonl", lambda row: {**row, "text": None}, "no id, text"),
        ("documents.jsonl", lambda row: {**row, "path": 1}, "path of chunk"),
        ("documents.jsonl", lambda row: {**row, "more": 1}, "is no chunk"),
        ("documents.jsonl", lambda row: {**row, "metadata": {"x": float("nan")}}, "cannot be"),
        ("documents.jsonl", lambda row: "{", "no JSON"),
        ("documents.jsonl", lambda row: json.dumps(row) + "\n" + json.dumps(row), "differ|hold 7"),
        ("documents.jsonl", lambda row: [], "is no chunk"),
        ("files.jsonl", lambda row: {**row, "size": "1"}, "wrong types"),
        ("files.jsonl", lambda row: {**row, "more": "1"}, "is no file"),
        ("files.jsonl", lambda row: json.dumps(row) + "\n" + json.dumps(row), "holds 3 files"),
    ],
)
def test_what_a_hostile_export_holds_is_checked(export, name, change, message) -> None:
    changed_line(export, name, change)
    other = Storage()
    with pytest.raises(TransferError, match=message):
        import_index(other, export, progress=False)
    assert other.counts() == {"chunks": 0, "sources": 0, "files": 0}
    assert other.generation == other.first_generation


def test_two_chunks_of_one_id_are_refused(export, monkeypatch) -> None:
    monkeypatch.setattr(transfer, "_PAGE", 1)  # they come in pages of their own
    changed_line(export, "documents.jsonl", lambda row: {**row, "id": "가\0001", "path": None})
    from pyarrow import parquet

    table = parquet.read_table(export / "vectors.parquet")
    ids = ["가\0001", *table["id"].to_pylist()[1:]]
    table = table.set_column(0, table.schema.field(0), [ids])
    parquet.write_table(table, export / "vectors.parquet")
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    manifest["sha256"]["vectors.parquet"] = transfer._sha256(export / "vectors.parquet")
    (export / "manifest.json").write_text(json.dumps(manifest))
    other = Storage()
    with pytest.raises(TransferError, match="one id"):
        import_index(other, export, progress=False)
    assert other.counts()["chunks"] == 0


# LangChain's pickles.


class InMemoryDocstore:
    def __init__(self, documents: dict) -> None:
        self._dict = documents


InMemoryDocstore.__module__ = "langchain_community.docstore.in_memory"


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """`saved(documents)` makes a folder as `FAISS.save_local` of langchain-community does."""
    import faiss

    for name in ("langchain_community", "langchain_community.docstore"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module = types.ModuleType(InMemoryDocstore.__module__)
    module.InMemoryDocstore = InMemoryDocstore
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def save(found: list, content: object = None) -> Path:
        folder = tmp_path / "faiss"
        folder.mkdir(exist_ok=True)
        index = faiss.IndexFlatL2(5)
        index.add(random_vectors(7) * 3)
        faiss.write_index(index, str(folder / "index.faiss"))
        store = InMemoryDocstore({f"id-{n}": document for n, document in enumerate(found)})
        default = (store, {n: f"id-{n}" for n in range(len(found))})
        (folder / "index.pkl").write_bytes(pickle.dumps(default if content is None else content))
        for name in list(sys.modules):
            if name.startswith("langchain_community"):
                monkeypatch.delitem(sys.modules, name)
        return folder

    return save


def test_langchains_folders_are_refused_unless_asked_for(saved) -> None:
    folder, storage = saved(documents(7)), Storage()
    with pytest.raises(TransferError, match="allow_pickle=True"):
        import_index(storage, folder, fingerprint=FINGERPRINT)
    with pytest.raises(TransferError, match="give their fingerprint"):
        import_index(storage, folder, allow_pickle=True)
    with pytest.warns(UserWarning, match="pickle"):
        count = import_index(
            storage, folder, fingerprint=FINGERPRINT, allow_pickle=True, progress=False
        )
    assert count == 7
    found = storage.documents_by_id([f"id-{n}" for n in range(7)])
    assert [(d.page_content, d.metadata) for d in found] == [
        (d.page_content, d.metadata) for d in documents(7)
    ]
    rows = random_vectors(7)
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(storage.vectors(list(range(1, 8))), expected, atol=1e-6)
    assert storage.embedder == FINGERPRINT
    storage.verify()


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


class ByBuiltins:
    def __reduce__(self):
        return eval, ("open('attacked', 'w')",)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Attack(), "asks for"),
        (ByBuiltins(), "asks for"),
        ((InMemoryDocstore({"a": Attack()}), {0: "a"}), "asks for"),
        ((InMemoryDocstore({"a": datetime.datetime(2026, 1, 1)}), {0: "a"}), "asks for"),
        ((InMemoryDocstore({"a": "text"}), {0: "a"}), "no document"),
        ((InMemoryDocstore({}), {0: "a"}), "not read"),
        ((InMemoryDocstore({}), {}), "0 documents but 7 vectors"),
        ([1, 2, 3], "not read"),
        (({}, {}), "no store"),
        (1, "not read"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(
    saved, tmp_path, monkeypatch, content, message
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, storage = saved([], content), Storage()
    with pytest.raises(TransferError, match=message):
        import_index(storage, folder, fingerprint=FINGERPRINT, allow_pickle=True, progress=False)
    assert not (tmp_path / "attacked").exists()
    assert storage.counts()["chunks"] == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_pickles_and_faiss_files_are_typed_errors(saved) -> None:
    folder, storage = saved(documents(7)), Storage()
    pickled = (folder / "index.pkl").read_bytes()
    for end in range(0, len(pickled), 37):
        (folder / "index.pkl").write_bytes(pickled[:end])
        with pytest.raises(TransferError):
            import_index(
                storage, folder, fingerprint=FINGERPRINT, allow_pickle=True, progress=False
            )
    (folder / "index.pkl").write_bytes(pickled)
    (folder / "index.faiss").write_bytes(b"damaged")
    with pytest.raises(TransferError, match="FAISS index"):
        import_index(storage, folder, fingerprint=FINGERPRINT, allow_pickle=True, progress=False)
    assert storage.counts()["chunks"] == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_langchain_folder_of_another_dimension_is_refused(saved) -> None:
    folder, storage = saved(documents(7)), Storage()
    with storage.transaction():
        storage.bind_embedder(FINGERPRINT, 4)
    with pytest.raises(EmbedderMismatchError, match="dimension 4"):
        import_index(storage, folder, allow_pickle=True, progress=False)
