"""One writer at a time: threads, processes, forks and deaths; and who it is."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kogemma_rag.writer_lock import LockHeldError, WriterLock

HOLD = """
import sys, time
from pathlib import Path
from kogemma_rag.writer_lock import WriterLock

with WriterLock(Path(sys.argv[1])).held("a long sync", 1):
    print("held", flush=True)
    time.sleep(60)
"""
COUNT = """
import sys
from pathlib import Path
from kogemma_rag.writer_lock import WriterLock

lock, number = WriterLock(Path(sys.argv[1])), Path(sys.argv[2])
for _ in range(50):
    with lock.held("counting", 30):
        number.write_text(str(int(number.read_text()) + 1))
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "index.lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def taken(lock: WriterLock, timeout: float = 0.05) -> bool:
    """Whether somebody else holds it."""
    try:
        with lock.held("a look", timeout):
            return False
    except LockHeldError:
        return True


def test_a_thread_may_take_it_again_and_others_may_not(path) -> None:
    for lock in (WriterLock(path), WriterLock(None)):
        others = []
        with lock.held("outer", 1):
            with lock.held("inner", 1):
                assert lock.is_mine
            assert lock.is_mine
            thread = threading.Thread(
                target=lambda lock=lock, others=others: others.extend([lock.is_mine, taken(lock)])
            )
            thread.start()
            thread.join()
        assert others == [False, True]
        assert not lock.is_mine
        assert not taken(lock)


def test_two_objects_of_one_file_lock_each_other_out(path) -> None:
    one, other = WriterLock(path), WriterLock(path)
    with one.held("a sync", 1), pytest.raises(LockHeldError, match=r"this process \(a sync, since"):
        _ = other.held("another", 0.05).__enter__()
    assert not taken(other)


def test_who_waits_in_vain_learns_who_holds_it(path, holder) -> None:
    start = time.monotonic()
    with pytest.raises(LockHeldError) as caught:
        WriterLock(path).held("mine", 0.3).__enter__()
    assert 0.3 <= time.monotonic() - start < 5
    known = f"process {holder.pid} on {socket.gethostname()} (a long sync, since "
    assert str(caught.value).startswith(known)


def test_the_system_frees_the_lock_of_the_dead(path, holder) -> None:
    lock = WriterLock(path)
    assert taken(lock)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not taken(lock)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\0",
        b"[]",
        b"{}",
        b'{"pid": "x", "host": 1, "purpose": 2, "since": 3}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_record_of_the_holder_harms_nobody(path, holder, content) -> None:
    Path(f"{path}.json").write_bytes(content)
    with pytest.raises(LockHeldError, match="another process is writing"):
        WriterLock(path).held("mine", 0.05).__enter__()


def test_a_record_cannot_steer_a_terminal(path, holder) -> None:
    record = {"pid": 1, "host": "h\x1b[2J", "purpose": "p\n", "since": "\u202e"}
    Path(f"{path}.json").write_text(json.dumps(record))
    with pytest.raises(LockHeldError) as caught:
        WriterLock(path).held("mine", 0.05).__enter__()
    assert str(caught.value).isprintable()


def test_an_error_within_frees_it(path) -> None:
    lock = WriterLock(path)
    with pytest.raises(RuntimeError), lock.held("failing", 1):
        raise RuntimeError
    assert not taken(WriterLock(path))


def test_processes_take_turns(path, tmp_path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    arguments = [sys.executable, "-c", COUNT, path, number]
    processes = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert number.read_text() == "150"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_does_not_hold_what_its_parent_holds(path) -> None:
    lock = WriterLock(path)
    reading, writing = os.pipe()
    with lock.held("the parent's", 1):
        child = os.fork()
        if not child:  # leaves the block by an error too, and must free nothing
            seen = [lock.is_mine]
            try:
                with lock.held("the child's", 0.05):
                    seen.append(True)
            except LockHeldError:
                seen.append(False)
            os.write(writing, json.dumps(seen).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert json.loads(os.read(reading, 100)) == [False, False]
        assert lock.is_mine
        assert taken(WriterLock(path))
    assert not taken(lock)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_that_leaves_its_parents_block_frees_nothing(path) -> None:
    lock = WriterLock(path)
    with lock.held("the parent's", 1):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            assert taken(WriterLock(path))
    if not child:
        os._exit(0)
    assert not taken(lock)
