"""Logits of slots against the model's own whole forward pass; slots, growth and reuse."""

import random
import shutil
from typing import Any

import pytest
import tiny_gemma
import torch
from transformers import GemmaConfig, GemmaForCausalLM

from kogemma_rag.decode_steps import CompiledStep
from kogemma_rag.gemma_step import GemmaStep
from kogemma_rag.kv_cache import KERNELS, KeyValueCache
from kogemma_rag.model_runner import ModelRunner, twin


def ids(count: int, seed: int = 0) -> list[int]:
    choose = random.Random(seed)
    return [2, *(choose.randrange(217, 870) for _ in range(count - 1))]


def whole(model: GemmaForCausalLM, tokens: list[int]) -> torch.Tensor:
    """Logits after the tokens, by the model alone."""
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0, -1]


@pytest.fixture(params=["rows", "rows, eager", "block", "block, joined"])
def runner(request, tiny_model) -> ModelRunner:
    attention = "eager" if "eager" in request.param else "sdpa"
    made = ModelRunner(twin(tiny_model), attention=attention)
    made._blocks = "block" in request.param  # what a GPU gets, on the CPU
    if "joined" in request.param:
        made._run_block = GemmaStep(made.model)
    return made


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_logits_are_those_of_the_whole_sequence(runner, tiny_model) -> None:
    """Prompts of mixed lengths, in chunks, then decoded side by side."""
    sequences = [ids(length, seed) for seed, length in enumerate((1, 2, 17, 300, 64, 1100))]
    slots = []
    for tokens in sequences:
        slot = runner.take(tokens, 50)
        while slot.length < len(tokens):
            logits = runner.prefill(slot, tokens[slot.length : slot.length + 128])
        close(logits[0], whole(tiny_model, tokens))
        slots.append(slot)
    for step in range(5):
        # Every second step leaves out some rows, as when requests come and go.
        chosen = range(6) if step % 2 else range(1, 6, 2)
        new = [step * 7 + 300 + n for n in chosen]
        logits = runner.decode([slots[n] for n in chosen], new)
        for row, n in enumerate(chosen):
            sequences[n].append(new[row])
            close(logits[row], whole(tiny_model, sequences[n]))


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 2), (4, 4)])
@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize("blocks", [False, True])
def test_heads_that_share_keys(heads, key_heads, kernel, blocks) -> None:
    config = GemmaConfig(
        vocab_size=900,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.4,
    )
    torch.manual_seed(0)
    model = GemmaForCausalLM(config).eval()
    runner = ModelRunner(twin(model), attention=kernel)
    runner._blocks = blocks
    tokens = ids(20)
    slot = runner.take(tokens, 10)
    runner.prefill(slot, tokens[:9])
    close(runner.prefill(slot, tokens[9:])[0], whole(model, tokens))
    close(runner.decode([slot], [500])[0], whole(model, [*tokens, 500]))


def test_a_prompt_that_begins_alike_is_not_computed_again(runner, tiny_model) -> None:
    shared = ids(100)
    first = runner.take([*shared, 300, 301], 10)
    assert first.length == 0
    runner.prefill(first, [*shared, 300, 301])
    # While the first is under way, and with its keys and values copied, not shared.
    second = runner.take([*shared, 400, 401], 10)
    assert second.length == 100
    close(runner.prefill(second, [400, 401])[0], whole(tiny_model, [*shared, 400, 401]))
    close(
        runner.decode([first, second], [500, 501])[0], whole(tiny_model, [*shared, 300, 301, 500])
    )
    runner.release(first)
    runner.release(second)
    # After both have left; the last position is always computed.
    third = runner.take(shared, 10)
    assert third.length == 99
    close(runner.prefill(third, shared[99:])[0], whole(tiny_model, shared))
    fourth = runner.take([*shared, 400, 401, 501, 7], 10)
    assert fourth.length == 103
    close(runner.prefill(fourth, [7])[0], whole(tiny_model, [*shared, 400, 401, 501, 7]))


def test_the_slot_unused_for_longest_is_given_first(tiny_model) -> None:
    runner = ModelRunner(twin(tiny_model), cache_bytes=256 * 2049 * 3)  # three slots
    assert runner.info().slots == 3
    prompts = [ids(60, seed) for seed in range(4)]
    for prompt in prompts[:3]:
        slot = runner.take(prompt, 5)
        runner.prefill(slot, prompt)
        runner.release(slot)
    again = runner.take(prompts[0], 5)  # used anew, so that the second is now the oldest
    assert again.length == 59
    runner.prefill(again, prompts[0][59:])
    runner.release(again)
    other = runner.take(prompts[3], 5)
    runner.prefill(other, prompts[3])
    runner.release(other)
    known = [runner._cache._longest_prefix(torch.tensor(prompt).numpy())[1] for prompt in prompts]
    assert known[0] == known[2] == known[3] == 59
    assert known[1] <= 1  # only <bos> is alike


def fill(cache: KeyValueCache, prompt: list[int]) -> tuple[int, int]:
    """Take a slot in compact order and write each position's id as its key."""
    slot, known = cache.take(prompt, compact=True)
    keys, _ = cache.layer(0, torch.zeros((1, 1, 40, 1)))
    keys[slot, 0, known : len(prompt), 0] = torch.tensor(prompt[known:], dtype=torch.float32)
    cache.advance(slot, prompt[known:])
    assert keys[slot, 0, : len(prompt), 0].tolist() == prompt
    return slot, known


def test_compact_slots_keep_what_others_hold() -> None:
    """The slot of the lowest number is taken, and what it held moves to the one given up."""
    cache = KeyValueCache(3, 64)
    prompts = [list(range(seed * 1000, seed * 1000 + 40)) for seed in range(5)]
    assert [fill(cache, prompt) for prompt in prompts[:3]] == [(0, 0), (1, 0), (2, 0)]
    for slot in (1, 0, 2):
        cache.release(slot)
    # 1 is the oldest, 0 the lowest: 0 is given, and what it held stands in 1 from now on.
    assert fill(cache, prompts[3]) == (0, 0)
    cache.release(0)
    assert fill(cache, prompts[0]) == (0, 39)
    cache.release(0)
    assert fill(cache, prompts[3]) == (0, 39)


def test_compact_conversations_in_turn_do_not_wipe_each_other() -> None:
    cache = KeyValueCache(8, 64)
    chats = [list(range(seed * 1000, seed * 1000 + 30)) for seed in range(2)]
    for length in (20, 25, 30):
        for chat in chats:
            slot, known = fill(cache, chat[:length])
            assert (slot, known) == (0, max(0, length - 5) if length > 20 else 0)
            cache.release(slot)


def test_growing_keeps_what_was_used_last(tiny_model) -> None:
    runner = ModelRunner(twin(tiny_model), cache_bytes=256 * 2049 * 4)
    prompt = ids(1500)
    slot = runner.take(prompt, 10)
    runner.prefill(slot, prompt)
    runner.release(slot)
    longer = [*prompt, *ids(700, 5)]
    again = runner.take(longer, 10)
    assert runner.info().positions == 4096
    assert again.length == 1500
    close(runner.prefill(again, longer[1500:])[0], whole(tiny_model, longer))


def test_attention_of_other_models_is_refused(tiny_model) -> None:
    from kogemma_rag.kv_cache import attention_forward

    with pytest.raises(ValueError, match="sliding_window=16"):
        attention_forward(
            None, *[torch.zeros(1)] * 3, None, scaling=1.0, slot_attention=None, sliding_window=16
        )


def test_a_prompt_whose_output_is_not_finite_is_not_kept(tiny_model, monkeypatch) -> None:
    runner = ModelRunner(twin(tiny_model))
    slot = runner.take(ids(60), 5)
    monkeypatch.setattr(runner, "_forward", lambda *args: torch.full((1, 5), float("nan")))
    with pytest.raises(FloatingPointError):
        runner.prefill(slot, ids(60)[:30])
    assert slot.length == 0


def test_slots_grow_with_what_a_request_needs(tiny_model) -> None:
    runner = ModelRunner(twin(tiny_model), cache_bytes=256 * 2049 * 4)
    assert (runner.info().slots, runner.info().positions) == (4, 2048)
    short = [runner.take(ids(50, seed), 10) for seed in range(2)]
    for seed, slot in enumerate(short):
        runner.prefill(slot, ids(50, seed))
    runner.release(short[0])
    long = ids(2500, 9)
    assert runner.take(long, 500) is not None  # 4096 positions, two slots
    assert (runner.info().slots, runner.info().positions) == (2, 4096)
    assert runner.take(ids(5), 5) is None  # both are in use
    close(runner.decode([short[1]], [300])[0], whole(tiny_model, [*ids(50, 1), 300]))
    longer = ids(3700, 3)
    assert runner.take(longer, 500) is None  # the whole window: one slot, and two are in use
    assert runner.info().positions == 4096


def test_one_request_of_the_window_always_fits(tiny_model) -> None:
    runner = ModelRunner(twin(tiny_model), cache_bytes=1)
    assert runner.info().slots == 1
    slot = runner.take(ids(8000), 192)
    assert slot is not None
    assert runner.info().positions == 8192


def test_a_wiped_slot_holds_nothing(runner) -> None:
    prompt = ids(60)
    slot = runner.take(prompt, 5)
    runner.prefill(slot, prompt)
    runner.release(slot, keep=False)
    assert all(
        not tensor[slot.index].any() for pair in runner._cache.layers.values() for tensor in pair
    )
    assert runner.take(prompt, 5).length == 0


def test_a_twin_shares_weights_and_leaves_the_other_alone(tiny_model) -> None:
    other = twin(tiny_model)
    ModelRunner(other)
    assert tiny_model.config._attn_implementation == "sdpa"
    for name, weights in tiny_model.state_dict(keep_vars=True).items():
        assert other.state_dict(keep_vars=True)[name] is weights
    assert tiny_model.generate(torch.tensor([[2, 300]]), max_new_tokens=2).shape == (1, 4)


def test_a_model_in_training_mode_is_refused(tiny_tokenizer) -> None:
    model = tiny_gemma.build_model(len(tiny_tokenizer)).train()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        ModelRunner(model)


def test_info(tiny_model) -> None:
    runner = ModelRunner(twin(tiny_model), cache_bytes=10_000_000)
    slot = runner.take([2, 300], 3)
    runner.prefill(slot, [2, 300])
    info = runner.info()
    parameters = sum(parameter.numel() for parameter in tiny_model.parameters())
    assert info.devices == ("cpu",)
    assert info.dtype == "float32"
    assert 4 * parameters <= info.weight_bytes < 4 * parameters + 1000
    # Two layers, keys and values, one head of 16 numbers of four bytes.
    assert info.cache_bytes == info.slots * 2049 * 2 * 2 * 16 * 4 <= 10_000_000
    assert info.window == 8192


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_a_compiled_step_gives_the_same_logits(tiny_model) -> None:
    runner = ModelRunner(twin(tiny_model), compiled=True)
    sequences = [ids(20, seed) for seed in range(2)]
    slots = [runner.take(tokens, 20) for tokens in sequences]
    for slot, tokens in zip(slots, sequences, strict=True):
        runner.prefill(slot, tokens)
    for step in range(3):
        logits = runner.decode(slots, [300 + step, 400 + step])
        for row, tokens in enumerate(sequences):
            tokens.append(300 + 100 * row + step)
            close(logits[row], whole(tiny_model, tokens))


SIZE = (None, torch.tensor([1]), torch.tensor([2]), 256)


def test_a_step_that_cannot_be_compiled_runs_plain_and_says_so_once(caplog) -> None:
    def compiled() -> Any:
        return torch.compile(lambda _cache, ids, lengths, width: ids * lengths.sin() + width)

    step = CompiledStep(compiled(), lambda *_: torch.tensor([3.0]))
    with torch._inductor.config.patch({"cpp.cxx": ("/no/compiler",), "fx_graph_cache": False}):
        assert [step(*SIZE).item() for _ in range(3)] == [3.0] * 3
        [record] = [one for one in caplog.records if one.name == "kogemma_rag.decode_steps"]
        assert "No working C++ compiler found" in record.getMessage()
        with pytest.raises(RuntimeError, match="compiler"):
            CompiledStep(compiled())(*SIZE)  # it was asked for


def test_a_step_that_cannot_be_compiled_for_several_rows_runs_plain() -> None:
    def compiled(_cache: object, ids: torch.Tensor, *_: object) -> torch.Tensor:
        if len(ids) > 1:
            raise torch._dynamo.exc.BackendCompilerFailed(compiled, RuntimeError("no space"), None)
        return torch.tensor([4.0])

    step = CompiledStep(compiled, lambda *_: torch.tensor([3.0]))
    assert step(*SIZE).item() == 4.0
    assert step(None, torch.tensor([1, 2]), torch.tensor([2, 2]), 256).item() == 3.0


def test_a_compiled_step_fails_by_its_own_errors() -> None:
    def fail(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    step = CompiledStep(fail, lambda *_: torch.tensor([3.0]))
    with pytest.raises(torch.OutOfMemoryError):
        step(*SIZE)
