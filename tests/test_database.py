"""Connections: one for each reading thread, none beyond a fork, none left behind; bad headers."""

import os
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest

from kogemma_rag.database import Database
from kogemma_rag.storage_errors import (
    StorageDamagedError,
    StorageError,
    StorageFullError,
    StorageReadOnlyError,
)


def open_database(path: Path | None) -> Database:
    return Database(
        path,
        schema="CREATE TABLE numbers (n INTEGER)",
        format_version=1,
        migrations={},
        functions={},
        start={"name": "value"},
    )


def put(database: Database, number: int) -> None:
    with database.transaction():
        database.run("INSERT INTO numbers VALUES (?)", [number])


def numbers(database: Database) -> list[int]:
    return [number for (number,) in database.rows("SELECT n FROM numbers ORDER BY n")]


def open_files(path: Path) -> int:
    """How many descriptors of this process are of the database's files."""
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith(str(path)) for link in links)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "index.sqlite3"


def in_a_thread(work) -> list:
    results: list = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@linux
def test_the_connection_of_a_thread_ends_with_it_and_close_lets_go_of_all(path) -> None:
    database = open_database(path)
    put(database, 1)
    before = open_files(path)
    for _ in range(5):
        assert in_a_thread(lambda: (numbers(database), open_files(path) > before)) == [([1], True)]
    # SQLite keeps a descriptor for the next one while the file is locked by another connection.
    assert open_files(path) <= before + 1
    database.close()
    assert not open_files(path)
    with pytest.raises(StorageError, match="closed"):
        numbers(database)


@pytest.mark.parametrize("in_memory", [True, False])
def test_threads_read_and_write_beside_each_other(path, in_memory) -> None:
    database = open_database(None if in_memory else path)
    faults = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 20):
                with database.snapshot():
                    seen = numbers(database)
                    with database.writing("counting"):  # the other way round than a transaction
                        pass
                    if not in_memory:
                        assert numbers(database) == seen
                put(database, number)
        except BaseException as error:  # noqa: BLE001
            faults.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(numbers(database)) == 60


def test_a_transaction_within_another_is_refused(path) -> None:
    database = open_database(path)

    def nest() -> None:
        with database.transaction():
            put(database, 1)

    with pytest.raises(RuntimeError, match="within another"):
        nest()
    assert numbers(database) == []
    put(database, 2)
    assert numbers(database) == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_a_fork_within_a_transaction_changes_nothing(path) -> None:
    database = open_database(path)
    with database.transaction():
        database.run("INSERT INTO numbers VALUES (1)")
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            database.run("INSERT INTO numbers VALUES (2)")
    if not child:  # left the block: nothing was committed, and others can be read
        os._exit(0 if numbers(database) == [] else 1)
    assert numbers(database) == [1, 2]
    assert numbers(open_database(path)) == [1, 2]


def test_values_that_were_changed_behind_its_back_are_not_believed(path) -> None:
    database = open_database(path)
    assert database.get("name") == "value"
    assert database.get("other") is None
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 'valve'")
    with pytest.raises(StorageDamagedError, match="value of name"):
        database.get("name")


@pytest.mark.parametrize("cut", [1, 100, 4096, 16384])
def test_a_file_that_was_cut_off_is_refused(path, cut) -> None:
    database = open_database(path)
    for number in range(3):
        put(database, number)
    database.close()
    os.truncate(path, path.stat().st_size - cut)
    with pytest.raises(StorageDamagedError):
        open_database(path)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(56, b"\0\0\0\2"), (52, b"\0\0\0\3"), (60, b"\0\0\0\7"), (16, b"\x20\0"), (18, b"\3\3")],
    ids=["encoding", "vacuum", "version", "page size", "journal"],
)
def test_a_header_that_was_changed_is_refused(path, offset, value) -> None:
    open_database(path).close()
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(StorageError):
        put(open_database(path), 1)


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="needs root, to be nobody")
def test_a_folder_that_may_not_be_written_to_is_read(tmp_path) -> None:
    root = Path(tempfile.gettempdir())
    for part in (tmp_path, *tmp_path.parents):
        if part != root and part.is_relative_to(root):
            part.chmod(0o755)
    path = tmp_path / "index.sqlite3"
    database = open_database(path)
    put(database, 1)
    database.close()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setuid(65534)
            reader = open_database(path)
            assert numbers(reader) == [1]
            with pytest.raises(StorageReadOnlyError, match="read-only"):
                put(reader, 2)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_full_disk_at_the_lock_is_typed(path, monkeypatch) -> None:
    database = open_database(path)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kogemma_rag.writer_lock.tempfile.mkstemp", fail)
    with pytest.raises(StorageFullError, match="Make space"):
        put(database, 1)
    monkeypatch.undo()
    put(database, 2)
    assert numbers(database) == [2]


@linux
def test_a_forked_child_lets_go_of_what_it_inherited_and_works_by_its_own(path) -> None:
    database = open_database(path)
    put(database, 1)
    with database.snapshot():
        assert numbers(database) == [1]
        child = os.fork()
        if not child:
            status = 1
            try:
                assert not open_files(path)
                put(database, 2)
                assert numbers(database) == [1, 2]
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert numbers(database) == [1]
    assert numbers(database) == [1, 2]
