"""Tokens against `model.generate`, alone and side by side; who leaves, who fails, who waits."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
import torch

from kogemma_rag import generation
from kogemma_rag.generation import Engine, EngineBusyError, GenerationRequest
from kogemma_rag.model_runner import ModelRunner, twin

STOP = frozenset({1, 107})


@pytest.fixture(scope="module")
def engine(tiny_model) -> Engine:
    return Engine(ModelRunner(twin(tiny_model)))


def prompts(count: int, longest: int = 90) -> list[list[int]]:
    choose = random.Random(3)
    return [
        [2, *(choose.randrange(217, 870) for _ in range(choose.randrange(1, longest)))]
        for _ in range(count)
    ]


def request(ids, **options) -> GenerationRequest:
    return GenerationRequest(ids, **{"max_tokens": 40, "stop_ids": STOP, **options})


def generate(model, ids: list[int]) -> list[int]:
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=40,
        eos_token_id=sorted(STOP),
    )
    return output[0, len(ids) :].tolist()


def until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


class Recorder:
    """A receiver that notes what it gets."""

    def __init__(self, last: int | None = None) -> None:
        self.tokens: list[int] = []
        self.errors: list[BaseException | None] = []
        self._last = last

    def token(self, token: int) -> bool:
        self.tokens.append(token)
        return token == self._last

    def end(self, error: BaseException | None) -> None:
        self.errors.append(error)


@pytest.mark.parametrize("blocks", [False, True])
def test_greedy_tokens_are_those_of_generate(tiny_model, blocks) -> None:
    """Alone, and 32 of mixed lengths side by side; some prompts take several chunks."""
    runner = ModelRunner(twin(tiny_model))
    runner._blocks = blocks
    engine = Engine(runner)
    asked = prompts(32, longest=700)
    expected = [generate(tiny_model, ids) for ids in asked]
    assert len({len(tokens) for tokens in expected}) > 1  # some replies ended by themselves
    assert [list(engine.stream(request(ids))) for ids in asked[:8]] == expected[:8]
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(lambda ids: list(engine.stream(request(ids))), asked)) == expected
    assert (engine.running, engine.waiting) == (0, 0)


def test_requests_run_in_one_batch(engine, say) -> None:
    script = say(500, pause=0.002)
    with ThreadPoolExecutor(16) as pool:
        replies = pool.map(
            lambda n: list(engine.stream(request([2, n], max_tokens=100))), range(300, 316)
        )
        assert list(replies) == [[500] * 100] * 16
    # 16 prompts, and hardly more steps than one request alone takes.
    assert max(script.rows) == 16
    assert script.forwards < 16 + 100 + 30


def test_a_long_prompt_does_not_hold_up_a_reply_under_way(engine, say) -> None:
    script = say(500, pause=0.002)
    talking = engine.stream(request([2, 5], max_tokens=1000))
    next(talking)
    before = script.forwards
    long = engine.stream(request(list(range(300, 300 + 256)) * 7, max_tokens=1))
    assert list(long) == [500]
    chunks, others = 7, script.forwards - before
    assert others >= 2 * chunks  # a decode step between chunks
    talking.close()


def test_last_token_is_the_one_that_stopped(engine, say) -> None:
    say(500, 501, 107, 502)
    assert list(engine.stream(request([2, 5]))) == [500, 501, 107]
    assert list(engine.stream(request([2, 5], max_tokens=2))) == [500, 501]
    assert list(engine.stream(request([2, 5], stop_ids=frozenset({501})))) == [500, 501]
    receiver = Recorder(last=501)
    engine.submit(request([2, 5]), receiver)
    until(lambda: receiver.errors)
    assert (receiver.tokens, receiver.errors) == ([500, 501], [None])


def test_no_forward_pass_more_than_tokens(engine, say) -> None:
    script = say(500, 501, 107)
    list(engine.stream(request([2, 5])))
    until(lambda: engine.running == 0)
    assert script.forwards == 3


@pytest.mark.parametrize("ends", ["close", "drop"])
def test_leaving_a_stream_frees_its_slot_within_one_step(engine, say, ends) -> None:
    script = say(500, pause=0.01)
    stream = engine.stream(request([2, 5], max_tokens=1000))
    assert list(islice(stream, 3)) == [500] * 3
    if ends == "close":
        stream.close()
    else:
        del stream
    at_end = script.forwards
    until(lambda: engine.running == 0)
    assert script.forwards <= at_end + 1


def test_leaving_while_waiting_or_in_the_prompt(engine, say) -> None:
    script = say(500, pause=0.01)
    long = [2] + [300] * 6000
    first, second = Recorder(), Recorder()
    in_prompt = engine.submit(request(long), first)
    waiting = engine.submit(request(long), second)
    until(lambda: script.forwards == 2)
    waiting.cancel()
    in_prompt.cancel()
    until(lambda: engine.running == engine.waiting == 0)
    assert script.forwards <= 4
    assert first.tokens == second.tokens == []


def test_an_error_in_a_prompt_reaches_its_caller_and_no_other(engine, monkeypatch, say) -> None:
    say(500, pause=0.001)
    prefill = engine.runner.prefill

    def fail(slot, ids):
        if ids[0] == 9:
            raise RuntimeError("out of memory")
        return prefill(slot, ids)

    monkeypatch.setattr(engine.runner, "prefill", fail)
    other = engine.stream(request([2, 5], max_tokens=60))
    first = next(other)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(engine.stream(request([9, 2])))
    assert [first, *other] == [500] * 60
    assert engine.running == 0


def test_an_error_in_a_batch_fails_the_culprit_alone(engine, tiny_model, monkeypatch) -> None:
    decode = engine.runner.decode
    sizes = []

    def fail(slots, tokens):
        sizes.append(len(slots))
        if any(
            engine.runner._cache._ids[slot.index, 1] == 555 and slot.length > 8 for slot in slots
        ):
            raise RuntimeError("a bad row")
        return decode(slots, tokens)

    monkeypatch.setattr(engine.runner, "decode", fail)
    monkeypatch.setattr(
        engine.runner, "prefill", slowly(engine.runner.prefill)
    )  # so that all are under way when it fails
    asked = [[2, n, 300, 301, 302, 303] for n in (551, 552, 555, 553)]
    options = {"temperature": 1.0, "seed": 4, "stop_ids": frozenset()}
    recorders = [Recorder() for _ in asked]
    for ids, recorder in zip(asked, recorders, strict=True):
        engine.submit(request(ids, **options), recorder)
    until(lambda: all(recorder.errors for recorder in recorders))
    assert [str(recorder.errors[0]) for recorder in recorders] == [
        "None",
        "None",
        "a bad row",
        "None",
    ]
    assert max(sizes) == 4
    monkeypatch.undo()
    for ids, recorder in zip(asked, recorders, strict=True):
        alone = list(engine.stream(request(ids, **options)))
        assert recorder.tokens == alone[: len(recorder.tokens)]  # the error took no random number
        assert len(recorder.tokens) == (4 if ids[1] == 555 else 40)


@pytest.mark.parametrize("blocks", [False, True])
def test_what_fails_after_the_step_spoils_no_neighbour(tiny_model, blocks) -> None:
    """A constraint that fails, and a row that is not finite, when all have been computed."""
    runner = ModelRunner(twin(tiny_model))
    runner._blocks = blocks
    engine = Engine(runner)

    class Late:
        def __init__(self, spoil: bool) -> None:
            self.left, self.spoil = 5, spoil

        def constrain(self, logits) -> None:
            self.left -= 1
            if self.left == 0 and self.spoil:
                logits.fill_(float("nan"))
            elif self.left == 0:
                raise ValueError("no grammar")

        def accept(self, token) -> None:
            pass

    asked = prompts(4)
    free = {"stop_ids": frozenset(), "temperature": 1.0, "seed": 3}
    alone = [list(engine.stream(request(ids, **free))) for ids in asked]
    neighbours = [Recorder() for _ in asked]
    culprits = [Recorder(), Recorder()]
    for ids, recorder in zip(asked, neighbours, strict=True):
        engine.submit(request(ids, **free), recorder)
    for spoil, recorder in zip((False, True), culprits, strict=True):
        engine.submit(request([2, 5], constraint=Late(spoil), **free), recorder)
    until(lambda: all(recorder.errors for recorder in neighbours + culprits))
    assert [recorder.errors for recorder in neighbours] == [[None]] * 4
    assert [recorder.tokens for recorder in neighbours] == alone
    assert [type(recorder.errors[0]) for recorder in culprits] == [ValueError, FloatingPointError]
    assert [len(recorder.tokens) for recorder in culprits] == [4, 4]


def test_what_cannot_be_taken_or_told_harms_no_other(engine, say, caplog) -> None:
    class Deaf(Recorder):
        def end(self, error: BaseException | None) -> None:
            super().end(error)
            raise ValueError("gone")

    say(500, pause=0.001)
    talking, deaf, odd = Recorder(), Deaf(), Recorder()
    engine.submit(request([2, 5], max_tokens=60), talking)
    engine.submit(request([2, 5], max_tokens=3), deaf)
    engine.submit(request([2, None, 5]), odd)
    until(lambda: talking.errors and deaf.errors and odd.errors)
    assert (talking.errors, len(talking.tokens)) == ([None], 60)
    assert isinstance(odd.errors[0], TypeError)
    assert "the receiver of a reply failed" in caplog.text
    assert len(list(engine.stream(request([2, 5], max_tokens=4)))) == 4


def slowly(function):
    def slow(*args):
        time.sleep(0.01)
        return function(*args)

    return slow


def test_an_error_of_the_receiver_or_the_constraint_is_the_callers(engine) -> None:
    class Broken(Recorder):
        def token(self, token: int) -> bool:
            raise UnicodeError("no text")

    class Refusing:
        def constrain(self, logits) -> None:
            raise ValueError("no grammar")

        def accept(self, token) -> None:
            pass

    broken, refused = Broken(), Recorder()
    engine.submit(request([2, 5]), broken)
    engine.submit(request([2, 5], constraint=Refusing()), refused)
    until(lambda: broken.errors and refused.errors)
    assert [type(error) for error in broken.errors + refused.errors] == [UnicodeError, ValueError]
    assert engine.running == 0
    assert list(engine.stream(request([2, 5])))


def test_output_that_is_not_finite_wipes_its_slot(engine, monkeypatch) -> None:
    prefill = engine.runner.prefill
    monkeypatch.setattr(engine.runner, "prefill", lambda *args: prefill(*args) * float("nan"))
    with pytest.raises(FloatingPointError):
        list(engine.stream(request([2, *range(300, 340)])))
    monkeypatch.undo()
    slot = engine.runner.take([2, *range(300, 340)], 1)
    assert slot.length == 0
    engine.runner.release(slot)


def test_a_constraint_holds_one_request_only(engine) -> None:
    class Only:
        def __init__(self) -> None:
            self.left = [600, 601, 602, 107]

        def constrain(self, logits) -> None:
            allowed = logits[self.left[0]].clone()
            logits.fill_(float("-inf"))
            logits[self.left[0]] = allowed

        def accept(self, token) -> None:
            assert token == self.left.pop(0)

    asked = prompts(6)
    free = [list(engine.stream(request(ids))) for ids in asked]
    with ThreadPoolExecutor(12) as pool:
        held = pool.map(lambda ids: list(engine.stream(request(ids, constraint=Only()))), asked)
        beside = pool.map(lambda ids: list(engine.stream(request(ids))), asked)
        assert list(held) == [[600, 601, 602, 107]] * 6
        assert list(beside) == free


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_streams_side_by_side_give_what_each_gives_alone(engine, temperature) -> None:
    requests = [
        request(ids, temperature=temperature, seed=n, top_p=0.7 + 0.3 * (n % 2))
        for n, ids in enumerate(prompts(24))
    ]
    alone = [list(engine.stream(each)) for each in requests]
    assert len(set(map(tuple, alone))) == 24
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(lambda each: list(engine.stream(each)), requests)) == alone


def test_one_stream_stepped_by_many_threads(engine) -> None:
    ids = prompts(1)[0]
    stream = engine.stream(request(ids, temperature=1.0, seed=1))
    stepped = []
    with ThreadPoolExecutor(4) as pool:
        while (token := pool.submit(next, stream, None).result()) is not None:
            stepped.append(token)
    assert stepped == list(engine.stream(request(ids, temperature=1.0, seed=1)))


def test_seeds(engine) -> None:
    ids = prompts(1)[0]

    def sample(seed):
        return list(engine.stream(request(ids, temperature=1.0, seed=seed)))

    assert sample(1) == sample(1) != sample(2)
    assert sample(None) != sample(None)


def test_global_random_states_are_left_alone(engine) -> None:
    before = torch.get_rng_state(), random.getstate()
    list(engine.stream(request([2, 5], temperature=1.0, seed=1)))
    list(engine.stream(request([2, 5], temperature=1.0)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_request_whose_time_is_over_fails_while_waiting_too(engine, say) -> None:
    say(500, pause=0.01)
    talking, waiting = Recorder(), Recorder()
    engine.submit(request([2, 5], max_tokens=5000, timeout=0.1), talking)
    engine.submit(request([2] + [300] * 8000, timeout=0.1), waiting)
    until(lambda: talking.errors and waiting.errors)
    assert isinstance(talking.errors[0], TimeoutError)
    message = rf"timeout=0\.1 s and had {len(talking.tokens)} tokens by then"
    with pytest.raises(TimeoutError, match=message):
        raise talking.errors[0]
    assert engine.running == engine.waiting == 0


def test_more_than_may_wait_are_refused(engine, say, monkeypatch) -> None:
    script = say(500, pause=0.005)
    monkeypatch.setattr(generation, "MAX_WAITING", 3)
    slots = engine.runner.info().slots
    under_way = [engine.submit(request([2, 5], max_tokens=1000), Recorder())]
    under_way += [
        engine.submit(request([2, 5], max_tokens=1000), Recorder())
        for _ in range(slots + 2)
        if not until(lambda: engine.waiting < 3 or engine.running == slots)
    ]
    with pytest.raises(EngineBusyError, match="3 requests are waiting already"):
        engine.submit(request([2, 5]), Recorder())
    for each in under_way:
        each.cancel()
    until(lambda: engine.running == engine.waiting == 0)
    assert max(script.rows) <= slots


def test_no_tokens_are_no_request(engine) -> None:
    with pytest.raises(ValueError, match="max_tokens is 0"):
        engine.submit(request([2, 5], max_tokens=0), Recorder())


@pytest.mark.parametrize(("ids", "max_tokens"), [([], 1), ([2] * 8192, 1), ([2, 5], 8191)])
def test_what_does_not_fit_the_window_is_refused(engine, ids, max_tokens) -> None:
    with pytest.raises(ValueError, match="window of 8192"):
        engine.submit(request(ids, max_tokens=max_tokens), Recorder())


def test_a_bug_in_the_loop_leaves_nobody_waiting(engine, monkeypatch) -> None:
    monkeypatch.setattr(engine, "_admit", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(engine.stream(request([2, 5])))
    monkeypatch.undo()
    assert list(engine.stream(request([2, 5])))  # and the thread goes on


def test_threads_take_turns_at_the_model(engine, monkeypatch) -> None:
    inside, most = [0], [0]
    lock = threading.Lock()

    def watched(function):
        def call(*args):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            result = function(*args)
            with lock:
                inside[0] -= 1
            return result

        return call

    for name in ("prefill", "decode"):
        monkeypatch.setattr(engine.runner, name, watched(getattr(engine.runner, name)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda ids: list(engine.stream(request(ids, max_tokens=5))), prompts(8)))
    assert most == [1]
