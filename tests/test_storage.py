import json
import os
import sqlite3
import threading
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document

from kogemma_rag import database
from kogemma_rag.document_identity import document_id, encoded_metadata
from kogemma_rag.storage import IndexedFile, Storage, indexed_text
from kogemma_rag.storage_errors import (
    EmbedderMismatchError,
    StorageDamagedError,
    StorageError,
    StorageFullError,
    StorageLockedError,
    StorageReadOnlyError,
)


def documents(*ids, text="본문"):
    return [Document(id=id_, page_content=f"{text} {id_}", metadata={"n": id_}) for id_ in ids]


def vectors(count, dimension=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def add(storage, docs, rows=None, path=None):
    rows = vectors(len(docs)) if rows is None else rows
    with storage.transaction():
        storage.bind_embedder({"name": "m"}, rows.shape[1])
        storage.add(docs, rows, path=path)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "index.sqlite3"


def test_what_is_written_is_read_after_reopening(path):
    docs = [
        Document(
            id="가\0나",
            page_content="줄\r\n\0바꿈 😀 " + unicodedata.normalize("NFD", "각"),
            metadata={"f": 0.1, "i": 2**62, "b": True, "none": None, "l": ["a", 1], "d": {"x": {}}},
        )
    ]
    rows = vectors(1)
    storage = Storage(path)
    add(storage, docs, rows)
    storage.close()

    storage = Storage(path)
    assert storage.documents([1]) == docs
    assert storage.documents_by_id(["가\0나"]) == docs
    found = storage.vectors([1])
    assert storage.ids([1]) == ["가\0나"]
    assert found.tobytes() == rows.tobytes()
    assert storage.embedder == {"name": "m"}
    assert storage.dimension == 4
    storage.verify()


def test_commits_are_synchronous_and_logged_ahead(path):
    storage = Storage(path)
    connection = storage._database._writer().connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_keys_keep_the_order_asked_for():
    storage = Storage()
    add(storage, documents("a", "b", "c"))
    assert [document.id for document in storage.documents([3, 1, 3])] == ["c", "a", "c"]
    ids, rows = storage.ids([3, 1]), storage.vectors([3, 1])
    assert ids == ["c", "a"]
    np.testing.assert_array_equal(rows, vectors(3)[[2, 0]])
    with pytest.raises(KeyError):
        storage.documents([4])
    with pytest.raises(KeyError):
        storage.vectors([1, 4])


def test_replacing_gives_a_new_key_and_keys_are_never_used_again():
    storage = Storage()
    add(storage, documents("a", "b"))
    add(storage, documents("b", text="새"))
    assert storage.documents_by_id(["b", "b", "x", "a"]) == [
        *documents("b", text="새"),
        *documents("a"),
    ]
    with pytest.raises(KeyError):
        storage.documents([2])
    with storage.transaction():
        assert storage.delete(["b", "unknown"]) == 1
    add(storage, documents("d"))
    assert storage.documents([4]) == documents("d")


def test_a_failed_transaction_changes_nothing(path):
    storage = Storage(path)
    add(storage, documents("a"))
    before = storage.generation

    def fail():
        with storage.transaction():
            storage.delete(None)
            storage.add(documents("b"), vectors(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert storage.generation == before
    assert storage.counts()["chunks"] == 1
    assert not storage.deleted_keys(0, before).size
    add(storage, documents("c"))
    assert storage.generation == before + 1


def test_generations_tell_a_cache_what_changed():
    storage = Storage()
    start = storage.generation
    assert start == storage.first_generation > 0
    add(storage, documents("a", "b"))
    add(storage, documents("a", "c"))
    now = storage.generation
    assert now == start + 2
    [(keys, rows)] = storage.added_vectors(start, now)
    assert keys.tolist() == [2, 3, 4]  # key 1 was replaced
    assert rows.shape == (3, 4)
    assert [key for key, _ in storage.added_texts(start + 1, now)] == [3, 4]
    assert storage.deleted_keys(start, now).tolist() == [1]
    assert not storage.deleted_keys(now, now).size
    assert list(storage.added_vectors(now, now)) == []


def test_a_transaction_without_changes_makes_no_generation():
    storage = Storage()
    before = storage.generation
    with storage.transaction():
        storage.delete(["unknown"])
        storage.delete_file_chunks("unknown")
    assert storage.generation == before


def test_a_new_file_begins_after_the_end_of_an_older_one(path):
    storage = Storage(path)
    add(storage, documents("a"))
    last = storage.generation
    storage.close()
    path.unlink()
    assert Storage(path).first_generation > last


def test_large_changes_come_in_pages(monkeypatch):
    monkeypatch.setattr("kogemma_rag.storage._PAGE", 10)
    storage = Storage()
    add(storage, documents(*map(str, range(25))))
    pages = list(storage.added_vectors(0, storage.generation))
    assert [len(keys) for keys, _ in pages] == [10, 10, 5]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in pages]), vectors(25))


def test_another_embedder_is_refused_with_advice():
    storage = Storage()
    storage.check_embedder({"name": "anything"}, 3)
    add(storage, documents("a"))
    storage.check_embedder({"name": "m"}, 4)
    with pytest.raises(EmbedderMismatchError, match=r"'m'.*not with.*'other'.*index the"):
        storage.check_embedder({"name": "other"})
    with pytest.raises(EmbedderMismatchError, match="dimension 4, the embedding model gives 5"):
        storage.check_embedder({"name": "m"}, 5)


def test_files_are_remembered():
    storage = Storage()
    file = IndexedFile("/a", 1, 2**62, 3, 4, "ff", True, None, "0.1")
    other = IndexedFile("/b", 1, 2, 3, 4, "ff", False, "손상", "0.1")
    with storage.transaction():
        storage.record_file(file)
        storage.record_file(other)
    assert storage.files() == {"/a": file, "/b": other}
    add(storage, documents("a"), path="/a")
    assert storage.paths(["a", "b"]) == {"a": "/a"}
    assert storage.counts() == {"chunks": 1, "sources": 0, "files": 1}
    with storage.transaction():
        assert storage.delete_file_chunks("/a") == 1
        storage.forget_file("/a")
    assert storage.files() == {"/b": other}
    assert storage.counts()["chunks"] == 0


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE chunks SET text = text || 'x'", "text of chunk a"),
        ("UPDATE chunks SET metadata = '{}'", "text of chunk a"),
        ("UPDATE vectors SET vector = zeroblob(16)", "vector of chunk number 1"),
        ("DELETE FROM vectors", "1 chunks but 0 vectors"),
        ("INSERT INTO fields VALUES ('n', 1, 1, 99)", "what filters look at"),
        ("UPDATE fields SET value = 'b'", "what filters look at"),
        ("UPDATE fields SET kind = 2", "what filters look at"),
        ("DELETE FROM fields", "what filters look at"),
        ("UPDATE chunks SET path = 'p'", "text of chunk a"),
        ("UPDATE chunks SET generation = 1", "text of chunk a"),
        ("UPDATE vectors SET key = 7", "do not exist|vectors"),
        ("INSERT INTO vectors SELECT 9, checksum, vector FROM vectors", "1 chunks but 2 vectors"),
        ("INSERT INTO deletions VALUES (1, 1)", "count as deleted"),
        ("UPDATE sqlite_sequence SET seq = 0", "used again"),
        ("UPDATE meta SET value = '1' WHERE name = 'generation'", "value of generation"),
        ("UPDATE meta SET value = '5' WHERE name = 'dimension'", "value of dimension"),
        ("DELETE FROM meta WHERE name = 'generation'", "generation is missing"),
    ],
)
def test_changes_made_behind_its_back_are_detected(path, statement, message):
    storage = Storage(path)
    add(storage, documents("a"))
    storage.verify()
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    with pytest.raises(StorageDamagedError, match=message):
        storage.verify()


def test_damaged_chunks_are_not_given_out(path):
    storage = Storage(path)
    add(storage, documents("a"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE chunks SET text = 'other'")
        connection.execute("UPDATE vectors SET vector = zeroblob(16)")
    for read in (
        lambda: storage.documents([1]),
        lambda: storage.documents_by_id(["a"]),
        lambda: storage.vectors([1]),
        lambda: list(storage.added_vectors(0, storage.generation)),
        lambda: list(storage.added_texts(0, storage.generation)),
    ):
        with pytest.raises(StorageDamagedError):
            read()


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(StorageDamagedError, match=r"index\.sqlite3 is damaged.*backup"):
        Storage(path)


def test_another_format_version_is_refused(path):
    Storage(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match=r"format version 99.*reads 2"):
        Storage(path)


VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
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
INSERT INTO meta VALUES ('first_generation', '7'), ('generation', '8'), ('dimension', '2'),
    ('embedder', '{"name": "m"}');
PRAGMA user_version = 1;
"""


def write_version_1(path):
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    vector = np.array([0.6, 0.8], "<f4").tobytes()
    name = unicodedata.normalize("NFD", "꼬리표")
    for key, (id_, metadata) in enumerate((("a", {}), ("b", {name: ["가", "나"], "쪽": 3})), 1):
        metadata = json.dumps(metadata, ensure_ascii=False)
        checksum = zlib.crc32(f"{id_}\0{metadata}\0같은 글".encode())
        row = (key, id_, 8, None, checksum, metadata, "같은 글")
        connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute(
            "INSERT INTO vectors VALUES (?, ?, ?)", (key, zlib.crc32(vector), vector)
        )
    fields = [("꼬리표", 3, "가", 2), ("꼬리표", 3, "나", 2), ("쪽", 2, 3, 2)]
    connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", fields)
    connection.commit()
    connection.close()


def test_a_file_of_version_1_is_brought_up_to_date(path):
    write_version_1(path)
    for _ in range(2):  # once is enough
        storage = Storage(path)
        storage.verify()
        assert storage.ids([1, 2]) == ["a", "b"]
        assert [document.page_content for document in storage.documents([1, 2])] == ["같은 글"] * 2
        assert storage.matching_keys({"꼬리표": "나", "쪽": {"$gt": 2, "$lt": 4}}).tolist() == [2]
        storage.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    write_version_1(path)
    monkeypatch.setattr("kogemma_rag.storage._MIGRATIONS", {1: "DROP TABLE vectors; no SQL"})
    with pytest.raises(StorageError):
        Storage(path)
    monkeypatch.undo()
    storage = Storage(path)
    assert storage.vectors([2]).tolist() == [[np.float32(0.6), np.float32(0.8)]]
    storage.verify()


def test_an_old_file_that_cannot_be_written_to_says_what_to_do(path, monkeypatch):
    write_version_1(path)
    monkeypatch.setattr("kogemma_rag.database.os.access", lambda *_: False)
    with pytest.raises(StorageReadOnlyError, match="open it once where it can be written"):
        Storage(path)


def test_a_file_in_a_read_only_folder_is_read_and_not_written(path, monkeypatch):
    storage = Storage(path)
    add(storage, documents("a", "b"))
    storage.close()
    monkeypatch.setattr("kogemma_rag.database.os.access", lambda *_: False)
    storage = Storage(path)
    assert storage.read_only
    assert [document.id for document in storage.documents([1, 2])] == ["a", "b"]
    with pytest.raises(StorageReadOnlyError, match="read-only"):
        add(storage, documents("c"))
    storage.verify()
    # Somebody who may writes: what was opened as unchangeable is opened anew.
    monkeypatch.undo()
    other = Storage(path)
    add(other, documents("c"))
    assert [document.id for document in storage.documents_by_id(["c"])] == ["c"]
    other.close()
    storage.close()


def test_a_full_disk_is_said_and_loses_nothing(path):
    storage = Storage(path)
    add(storage, documents("a"))
    storage._database.rows("PRAGMA max_page_count")  # the reader's, which does not matter
    writer = storage._database._writer()
    [(pages,)] = writer.rows("PRAGMA page_count")
    writer.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFullError, match="Make space"):
        add(storage, documents(*map(str, range(500))))
    assert storage.counts()["chunks"] == 1
    storage.verify()
    writer.rows("PRAGMA max_page_count = 1000000")
    add(storage, documents(*map(str, range(500))))
    assert storage.counts()["chunks"] == 501


def test_a_snapshot_stays_what_it_was_beside_writers(path):
    storage, other = Storage(path), Storage(path)
    add(storage, documents("a"))
    with storage.snapshot() as before:
        add(other, documents("b"))
        with other.transaction():
            other.delete(["a"])
        with storage.snapshot() as nested:
            assert nested == before
            assert [document.id for document in storage.documents_by_id("ab")] == ["a"]
        in_thread = []
        thread = threading.Thread(target=lambda: in_thread.extend(storage.documents_by_id("ab")))
        thread.start()
        thread.join()
        assert [document.id for document in in_thread] == ["b"]  # another thread, another snapshot
    with storage.snapshot() as after:
        assert after == before + 2
        assert [document.id for document in storage.documents_by_id("ab")] == ["b"]


def test_a_transaction_reads_what_it_wrote(path):
    storage = Storage(path)
    with storage.transaction():
        storage.bind_embedder({"name": "m"}, 4)
        storage.add(documents("a"), vectors(1))
        with storage.snapshot():
            assert len(storage.documents_by_id(["a"])) == 1
    assert storage.counts()["chunks"] == 1


def test_a_forked_process_reads_and_writes_by_connections_of_its_own(path):
    storage = Storage(path)
    add(storage, documents("a"))
    with storage.writing("holding it over the fork"):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with pytest.raises(StorageLockedError), storage.writing("no", timeout=0.05):
                    pass
                code = int(len(storage.documents_by_id(["a"])) != 1)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    add(storage, documents("b"))
    storage.verify()


def test_deletions_are_forgotten_and_space_is_given_back(path):
    storage = Storage(path)
    add(storage, documents(*map(str, range(300))), vectors(300, 512))
    with storage.transaction():
        storage.delete(map(str, range(290)))
    now = storage.generation
    assert len(storage.deleted_keys(0, now)) == 290
    with storage.transaction():
        storage.prune(now)
    assert len(storage.deleted_keys(0, now)) == 0
    assert storage.first_generation == now
    size = storage._database.size()
    freed = storage.compact()
    assert path.stat().st_size == size - freed < size / 2
    assert len(storage.documents_by_id(map(str, range(300)))) == 10
    storage.verify()


def test_vector_blocks_are_all_there_is_by_key(path, monkeypatch):
    monkeypatch.setattr("kogemma_rag.storage._PAGE", 7)
    storage = Storage(path)
    rows = vectors(30)
    add(storage, documents(*map(str, range(30))), rows)
    with storage.transaction():
        storage.delete(["3", "20"])
    keys, found = map(np.concatenate, zip(*storage.vector_blocks(), strict=True))
    assert keys.tolist() == [key for key in range(1, 31) if key not in (4, 21)]
    np.testing.assert_array_equal(found, rows[keys - 1])
    [(keys, found)] = storage.vector_blocks(3, 6)
    assert keys.tolist() == [5, 6]


def test_a_folder_that_is_not_there_is_a_typed_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be read or written"):
        Storage(tmp_path / "none" / "index.sqlite3")


def test_a_closed_storage_says_so():
    storage = Storage()
    storage.close()
    with pytest.raises(StorageError, match="closed"):
        _ = storage.generation


def test_a_second_writer_waits_and_then_gives_up(path, monkeypatch):
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 0.2)
    first, second = Storage(path), Storage(path)
    with first.transaction():
        first.bind_embedder({"name": "m"}, 4)
        first.add(documents("a"), vectors(1))
        with pytest.raises(
            StorageLockedError, match=r"this process \(changing the index, since .*\) is writing"
        ):
            add(second, documents("b"))
        assert second.counts()["chunks"] == 0  # a reader is not held up, and sees nothing half done
    add(second, documents("b"))
    assert first.counts()["chunks"] == 2


def test_many_threads_share_one_object(path):
    storage = Storage(path)
    add(storage, documents("start"))
    errors = []

    def work(name):
        try:
            for number in range(10):
                add(storage, documents(f"{name}-{number}"))
                storage.documents_by_id([f"{name}-{number}"])[0]
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert storage.counts()["chunks"] == 41
    storage.verify()


@pytest.mark.parametrize(
    "document",
    [
        Document(page_content="a", metadata={"x": object()}),
        Document(page_content="a", metadata={"x": float("nan")}),
        Document(page_content="a", metadata={"x": 2**64}),
        Document(page_content="a\ud800"),
        Document(page_content="a", metadata={"x": "\ud800"}),
        Document(page_content="a", metadata={"x": {1, 2}}),
    ],
)
def test_what_cannot_be_kept_is_refused(document):
    with pytest.raises(ValueError, match="cannot be stored"):
        encoded_metadata(document)


def test_ids_depend_on_text_and_metadata_alone():
    one = Document(page_content="가", metadata={"source": "a", "start_index": 0})
    same = Document(id="x", page_content="가", metadata={"start_index": 0, "source": "a"})
    assert document_id(one) == document_id(same)
    others = [
        Document(page_content="나", metadata=one.metadata),
        Document(page_content="가", metadata={**one.metadata, "source": "b"}),
        Document(page_content="가", metadata={**one.metadata, "start_index": 1}),
    ]
    ids = {document_id(one), document_id(one, salt="s"), *map(document_id, others)}
    assert len(ids) == 5
    assert all(len(id_) == 32 and id_ == json.loads(json.dumps(id_)) for id_ in ids)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "본문"),
        ({"title": "규정"}, "규정\n본문"),
        ({"title": "규정", "headings": ["제1장", "제2조"]}, "규정 > 제1장 > 제2조\n본문"),
        ({"headings": ["제1장"]}, "제1장\n본문"),
        ({"title": 3, "headings": "x"}, "본문"),
        ({"title": "가" * 500}, "가" * 200 + "\n본문"),
    ],
)
def test_a_passage_is_found_by_its_title_and_headings_too(metadata, expected):
    document = Document(page_content=unicodedata.normalize("NFD", "본문"), metadata=metadata)
    assert indexed_text(document) == expected
