"""The engine on a CUDA device: recorded steps against `model.generate`, sampling, int8."""

import copy
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kogemma_rag.generation import Engine, GenerationRequest
from kogemma_rag.model_runner import ModelRunner, twin
from kogemma_rag.weights import load_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TOKENS = 40
STOP = frozenset({1, 107})


@pytest.fixture(scope="module")
def model(tiny_model):
    return copy.deepcopy(tiny_model).cuda()


@pytest.fixture(scope="module", params=["recorded", "compiled"])
def engine(request, model) -> Engine:
    compiled = request.param == "compiled"
    return Engine(ModelRunner(twin(model), cache_bytes=2**28, compiled=compiled))


def prompts(count: int, longest: int = 90) -> list[list[int]]:
    choose = random.Random(3)
    return [
        [2, *(choose.randrange(217, 870) for _ in range(choose.randrange(1, longest)))]
        for _ in range(count)
    ]


def ask(ids: list[int], **options) -> GenerationRequest:
    return GenerationRequest(ids, TOKENS, STOP, **options)


def generate(model, ids: list[int]) -> list[int]:
    output = model.generate(
        torch.tensor([ids], device="cuda"),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long, device="cuda"),
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=sorted(STOP),
    )
    return output[0, len(ids) :].tolist()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_gemma_is_compiled_by_default(model) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    runner = ModelRunner(twin(model), cache_bytes=2**28)
    slots = [runner.take(ids, 10) for ids in prompts(2)]
    for slot, ids in zip(slots, prompts(2), strict=True):
        runner.prefill(slot, ids)
    assert not counters["stats"]
    runner.decode(slots[:1], [300])
    runner.decode(slots, [301, 302])
    assert counters["stats"]["unique_graphs"] == 2


@torch.inference_mode()
@pytest.mark.parametrize("compiled", [False, True])
def test_recorded_logits_are_those_of_the_whole_sequence(model, compiled) -> None:
    """In blocks of three sizes, one of them twice, with rows that leave and come back."""
    runner = ModelRunner(twin(model), cache_bytes=2**28, compiled=compiled)
    sequences = [*prompts(3), [2, *range(300, 700)]]
    slots = []
    for ids in sequences:
        slot = runner.take(ids, 10)
        runner.prefill(slot, ids[slot.length :])
        slots.append(slot)
    for step, chosen in enumerate([(0,), (0, 1), (0, 1, 2, 3), (3, 1), (0, 1, 2, 3), (1, 0)]):
        new = [300 + 10 * step + n for n in chosen]
        logits = runner.decode([slots[n] for n in chosen], new)
        for row, n in enumerate(chosen):
            sequences[n].append(new[row])
            whole = model(torch.tensor([sequences[n]], device="cuda"))
            close(logits[row], whole.logits[0, -1])
    assert sorted(runner._graphs._graphs) == [(1, 256), (2, 256), (4, 512)]


def test_greedy_tokens_are_those_of_generate(engine, model) -> None:
    asked = prompts(8)
    expected = [generate(model, ids) for ids in asked]
    assert [list(engine.stream(ask(ids))) for ids in asked[:3]] == expected[:3]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda ids: list(engine.stream(ask(ids))), asked)) == expected


def test_a_seed_repeats_alone_and_side_by_side(engine) -> None:
    requests = [
        ask(ids, temperature=1.0, top_p=top_p, seed=number)
        for number, (ids, top_p) in enumerate(zip(prompts(8), [0.9, 1.0] * 4, strict=True))
    ]
    alone = [list(engine.stream(request)) for request in requests]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda request: list(engine.stream(request)), requests)) == alone
    other = ask(requests[1].ids, temperature=1.0, seed=100)
    assert list(engine.stream(other)) != alone[1]


def test_a_cancelled_stream_frees_its_slot(engine) -> None:
    stream = engine.stream(GenerationRequest(prompts(1)[0], 8000, frozenset()))
    next(stream)
    stream.close()
    deadline = time.monotonic() + 10
    while engine.running:
        assert time.monotonic() < deadline, "it did not leave in time"
        time.sleep(0.002)
    assert engine.runner._cache.free == engine.runner._cache.slots


def test_slots_that_grow_are_recorded_anew(model) -> None:
    engine = Engine(ModelRunner(twin(model), cache_bytes=2**28))
    short, long = prompts(1)[0], prompts(1)[0] * 90
    assert len(long) + TOKENS > 2048
    for ids in (short, long[:4000], short):
        assert list(engine.stream(ask(ids))) == generate(model, ids)
    assert engine.runner.info().positions == 4096


def test_weights_come_as_bfloat16(tiny_directory) -> None:
    model = load_weights(str(tiny_directory))
    assert (model.device.type, model.dtype) == ("cuda", torch.bfloat16)
    engine = Engine(ModelRunner(model, cache_bytes=2**28))
    request = GenerationRequest(prompts(1)[0], TOKENS, frozenset())
    assert len(list(engine.stream(request))) == TOKENS


def test_int8_logits_are_near(tiny_directory, model) -> None:
    pytest.importorskip("torchao")
    runner = ModelRunner(load_weights(str(tiny_directory), quantization="int8"), cache_bytes=2**28)
    ids = prompts(2)[1]
    slot = runner.take(ids, 5)
    runner.prefill(slot, ids)
    for token in (300, 301):
        ids.append(token)
        logits = runner.decode([slot], [token])[0]
        with torch.inference_mode():
            whole = model(torch.tensor([ids], device="cuda")).logits[0, -1]
        assert torch.cosine_similarity(logits, whole, dim=0) > 0.98
