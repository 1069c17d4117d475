"""Tokens against `model.generate`; sampling against transformers' warpers and plain frequencies."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
import tiny_gemma
import torch
from transformers.generation.logits_process import TopPLogitsWarper

from kogemma_rag.generation import Engine, GenerationRequest, _choose, load_engine

STOP = frozenset({1, 107})


@pytest.fixture(scope="module")
def engine(tiny_model) -> Engine:
    return Engine(tiny_model)


def prompts(count: int) -> list[list[int]]:
    choose = random.Random(3)
    return [
        [2, *(choose.randrange(217, 870) for _ in range(choose.randrange(1, 90)))]
        for _ in range(count)
    ]


def request(ids, **options) -> GenerationRequest:
    return GenerationRequest(ids, **{"max_tokens": 40, "stop_ids": STOP, **options})


def test_greedy_tokens_are_those_of_generate(tiny_model, engine) -> None:
    lengths = set()
    for ids in prompts(20):
        expected = tiny_model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=40,
            eos_token_id=sorted(STOP),
        )[0, len(ids) :].tolist()
        assert list(engine.submit(request(ids))) == expected
        lengths.add(len(expected))
    assert len(lengths) > 1  # some replies ended by themselves


def test_last_token_is_the_one_that_stopped(engine, say) -> None:
    say(500, 501, 107, 502)
    assert list(engine.submit(request([2, 5]))) == [500, 501, 107]
    assert list(engine.submit(request([2, 5], max_tokens=2))) == [500, 501]
    assert list(engine.submit(request([2, 5], stop_ids=frozenset({501})))) == [500, 501]


def test_no_forward_pass_more_than_tokens(engine, say) -> None:
    script = say(500, 501, 107)
    list(engine.submit(request([2, 5])))
    assert script.forwards == 3


def test_closing_a_stream_ends_generation(engine, say) -> None:
    script = say(500)
    stream = engine.submit(request([2, 5], max_tokens=1000))
    assert list(islice(stream, 3)) == [500] * 3
    stream.close()
    assert script.forwards == 3
    assert list(stream) == []


def test_an_error_in_the_model_reaches_the_caller_and_no_other(engine, tiny_model) -> None:
    def fail(model, args, kwargs):
        if kwargs["input_ids"][0, 0] == 9:
            raise RuntimeError("out of memory")

    handle = tiny_model.register_forward_pre_hook(fail, with_kwargs=True)
    try:
        other = engine.submit(request([2, 5]))
        first = next(other)
        with pytest.raises(RuntimeError, match="out of memory"):
            next(engine.submit(request([9, 2])))
        assert [first, *other] == list(engine.submit(request([2, 5])))
    finally:
        handle.remove()


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_streams_side_by_side_give_what_each_gives_alone(engine, temperature) -> None:
    requests = [request(ids, temperature=temperature, seed=n) for n, ids in enumerate(prompts(8))]
    alone = [list(engine.submit(each)) for each in requests]
    assert len(set(map(tuple, alone))) == 8
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda each: list(engine.submit(each)), requests)) == alone


def test_one_stream_stepped_by_many_threads(engine) -> None:
    ids = prompts(1)[0]
    stream = engine.submit(request(ids, temperature=1.0, seed=1))
    stepped = []
    with ThreadPoolExecutor(4) as pool:
        while (token := pool.submit(next, stream, None).result()) is not None:
            stepped.append(token)
    assert stepped == list(engine.submit(request(ids, temperature=1.0, seed=1)))


def test_seeds(engine) -> None:
    ids = prompts(1)[0]

    def sample(seed):
        return list(engine.submit(request(ids, temperature=1.0, seed=seed)))

    assert sample(1) == sample(1) != sample(2)
    assert sample(None) != sample(None)


def test_global_random_states_are_left_alone(engine) -> None:
    before = torch.get_rng_state(), random.getstate()
    list(engine.submit(request([2, 5], temperature=1.0, seed=1)))
    list(engine.submit(request([2, 5], temperature=1.0)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.5, -3.0, 0.0])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_p", [0.05, 0.6, 0.9, 1.0])
def test_sampling_follows_the_warped_distribution(temperature, top_p) -> None:
    warped = TopPLogitsWarper(top_p)(None, (LOGITS / temperature)[None])[0]
    expected = torch.softmax(warped, dim=-1)
    uniform = random.Random(0)
    draws = 4000
    counts = torch.zeros(len(LOGITS))
    for _ in range(draws):
        counts[_choose(LOGITS, temperature, top_p, uniform)] += 1
    # Four standard deviations of a binomial count.
    tolerance = 4 * (expected * (1 - expected) / draws).sqrt()
    assert ((counts / draws - expected).abs() <= tolerance).all()


def test_tiny_and_zero_temperatures_take_the_likeliest() -> None:
    uniform = random.Random(0)
    for temperature in (0.0, 1e-40, 1e-3):
        assert {_choose(LOGITS, temperature, 1.0, uniform) for _ in range(50)} == {0}


class Uniform:
    """A source of the largest number below one."""

    def random(self) -> float:
        return 1 - 2**-53


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.full((256_000,), float("-inf"))
    logits[:1000] = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert _choose(logits, 1.0, 1.0, Uniform()) == int(logits[:1000].argmin())


def test_a_model_in_training_mode_is_refused(tiny_tokenizer) -> None:
    model = tiny_gemma.build_model(len(tiny_tokenizer)).train()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        Engine(model)


def test_window(engine) -> None:
    assert engine.window == 8192


def test_loading_from_a_directory(tiny_directory, tiny_model) -> None:
    loaded = load_engine(str(tiny_directory), device="auto", dtype="float32")
    assert not loaded.model.training
    for name, weights in tiny_model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name].cpu(), weights)


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), ("auto", None)])
def test_loading_in_a_dtype(tiny_directory, dtype, expected) -> None:
    # "auto" on the CPU is float32, whatever the machine has besides.
    loaded = load_engine(str(tiny_directory), device="cpu", dtype=dtype)
    assert loaded.model.dtype == (expected or torch.float32)


def test_a_device_that_is_not_there_is_refused(monkeypatch, tiny_directory) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device='cuda:0'.*device='cpu'"):
        load_engine(str(tiny_directory), device="cuda:0", dtype="auto")
