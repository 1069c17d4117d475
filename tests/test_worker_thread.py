"""The engine's thread: it lives by its work, and keeps neither process, child nor engine alive."""

import gc
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path

import pytest

from kogemma_rag.worker_thread import WorkerThread

TESTS = Path(__file__).parent


class Adder:
    """Sums what it is given, and notes on which thread."""

    def __init__(self) -> None:
        self.thread = WorkerThread[int](self)
        self.sum = 0
        self.names: set[str] = set()
        self.abandoned: list[BaseException | None] = []
        self.done = threading.Event()

    def step(self, arrived) -> bool:
        self.names.add(threading.current_thread().name)
        self.sum += sum(arrived)
        if self.sum < 0:
            raise ValueError("below zero")
        self.done.set()
        return False

    def abandon(self, error, arrived) -> None:
        self.abandoned.append(error)
        self.sum = 0
        self.done.set()


def put(adder: Adder, *items: int) -> None:
    for item in items:
        adder.done.clear()
        adder.thread.put(item)
        assert adder.done.wait(10)


def test_work_is_done_on_one_thread_of_its_own() -> None:
    adder = Adder()
    put(adder, 1, 2, 3)
    assert adder.sum == 6
    assert adder.names == {"kogemma"}
    assert sum(thread.name == "kogemma" for thread in threading.enumerate()) >= 1


def test_an_error_is_told_and_the_thread_goes_on() -> None:
    adder = Adder()
    put(adder, -1)
    assert [str(error) for error in adder.abandoned] == ["below zero"]
    put(adder, 5)
    assert adder.sum == 5


def test_a_worker_is_not_kept_alive_and_its_thread_ends() -> None:
    adder = Adder()
    put(adder, 1)
    thread = adder.thread._thread
    gone = weakref.ref(adder)
    deadline = time.monotonic() + 10
    del adder
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None
    thread.join(10)
    assert not thread.is_alive()


def test_a_thread_that_could_not_start_is_started_by_the_next(monkeypatch) -> None:
    adder = Adder()
    monkeypatch.setattr(threading.Thread, "start", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adder.thread.put(1)
    monkeypatch.undo()
    put(adder, 2)
    assert adder.sum == 2


def test_no_work_after_closing() -> None:
    adder = Adder()
    adder.thread.close()
    with pytest.raises(RuntimeError, match="exiting"):
        adder.thread.put(1)


def run(code: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    start = """
    import sys
    sys.path.insert(0, TESTS)
    import os, threading, time, tiny_gemma
    from kogemma_rag import ChatKoGemma
    tokenizer = tiny_gemma.build_tokenizer()
    chat = ChatKoGemma(tiny_gemma.build_model(len(tokenizer)), tokenizer=tokenizer, max_tokens=30)
    """
    whole = textwrap.dedent(start).replace("TESTS", repr(str(TESTS))) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_the_process_exits_in_the_middle_of_a_reply() -> None:
    done = run(
        """
        tiny_gemma.Script([500], pause=0.01)
        stream = chat.stream("q", max_tokens=8000)
        print(len(next(stream).content), flush=True)
        started = time.monotonic()
        import atexit
        atexit.register(lambda: print(time.monotonic() - started < 5))
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\nTrue\n", "")


def test_the_process_exits_after_an_error_and_with_waiting_threads() -> None:
    done = run(
        """
        tiny_gemma.Script([500], pause=0.01)
        def talk():
            try:
                for _ in chat.stream("q", max_tokens=8000):
                    pass
            except RuntimeError as error:
                os.write(1, (str(error) + "\\n").encode())
        threads = [threading.Thread(target=talk, daemon=True) for _ in range(4)]
        [thread.start() for thread in threads]
        time.sleep(0.3)
        raise SystemExit(3)
        """
    )
    # Each may or may not get to say it before the interpreter is gone.
    assert (done.returncode, done.stderr) == (3, "")
    assert set(done.stdout.splitlines()) <= {"the interpreter is exiting"}


def test_a_forked_child_answers_by_itself() -> None:
    done = run(
        """
        expected = chat.invoke("안녕").content
        tiny_gemma.Script([500], pause=0.01)
        talking = chat.stream("q", max_tokens=300)
        next(talking)  # the parent is in the middle of a reply
        child = os.fork()
        if child == 0:
            tiny_gemma.GemmaForCausalLM.forward = tiny_gemma_forward
            ok = chat.invoke("안녕").content == expected
            os._exit(0 if ok else 1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), sum(1 for _ in talking))
        """.replace(
            "expected = ",
            "tiny_gemma_forward = tiny_gemma.GemmaForCausalLM.forward\n        expected = ",
        )
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == "0"
    assert int(done.stdout.split()[1]) > 290


def test_threads_end_when_models_are_gone() -> None:
    done = run(
        """
        import gc
        chat.invoke("안녕")
        before = [thread.name for thread in threading.enumerate()].count("kogemma")
        del chat
        for _ in range(100):
            gc.collect()
            after = [thread.name for thread in threading.enumerate()].count("kogemma")
            if not after:
                break
            time.sleep(0.02)
        print(before, after)
        """
    )
    assert (done.stdout, done.stderr) == ("1 0\n", "")
