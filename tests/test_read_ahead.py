import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from kogemma_rag.read_ahead import ReadAhead


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def until(condition):
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_items_come_in_order(pool):
    assert list(ReadAhead((n for n in range(100)), pool, most=3)) == list(range(100))


def test_it_runs_ahead_but_not_far(pool):
    made = []

    def numbers():
        for number in range(100):
            made.append(number)
            yield number

    ahead = ReadAhead(numbers(), pool, most=3)
    items = iter(ahead)
    assert next(items) == 0
    until(lambda: len(made) == 5)  # one taken, three that wait, one in hand
    time.sleep(0.3)
    assert len(made) == 5
    assert next(items) == 1
    until(lambda: len(made) == 6)
    ahead.close()


def test_an_error_comes_after_the_items_before_it(pool):
    def broken():
        yield 1
        yield 2
        raise OSError("disk")

    items = iter(ReadAhead(broken(), pool, most=9))
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="disk"):
        next(items)


def test_closing_closes_the_generator_in_its_thread(pool):
    closed_in = []

    def numbers():
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread())

    ahead = ReadAhead(numbers(), pool, most=1)
    next(iter(ahead))
    ahead.close()
    until(lambda: closed_in)
    assert closed_in != [threading.current_thread()]


def test_nobody_waits_for_what_never_began(pool):
    gate = threading.Event()
    pool.submit(gate.wait)
    ahead = ReadAhead((n for n in range(3)), pool, most=1)
    ahead.close()
    gate.set()
    with pytest.raises(CancelledError):
        list(ahead)
