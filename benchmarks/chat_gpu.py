"""ChatKoGemma on a GPU: against what the card's memory allows, and against ChatHuggingFace.

    python benchmarks/chat_gpu.py --shapes 2b 7b --compiled --json gpu.json
    python benchmarks/chat_gpu.py --device cpu --shapes toy --counts 1 8 --new-tokens 32

Random weights, made on the device. A step's floor is the time to read weights, keys and values once
at the bandwidth measured in the same run. Texts of random weights say nothing, so exactness is that
of logits, beside transformers' eager attention on the same ids.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Literal

import random_gemma
import torch
from chat_cpu import peer
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel
from transformers.utils import logging

from kogemma_rag import ChatKoGemma
from kogemma_rag.generation import Engine, GenerationRequest
from kogemma_rag.model_runner import ModelRunner, Slot, twin

PROMPT = 512
CHECKED_TOKENS = 64
# Keys and values of the runner whose logits are checked; the chats shall have the rest.
CHECKED_CACHE = 2**31
PROFILED_STEPS = 20


class Stamps:
    """Receives a reply and notes when its tokens come."""

    def __init__(self) -> None:
        self.submitted = time.perf_counter()
        self.times: list[float] = []
        self.done = Event()
        self.error: BaseException | None = None

    def token(self, token: int) -> bool:
        """Take the next token."""
        self.times.append(time.perf_counter())
        return False

    def end(self, error: BaseException | None) -> None:
        """Learn that it was the last one."""
        self.error = error
        self.done.set()


def seconds(call: Callable[[], object], device: str) -> float:
    """Give the time of a call, with all that it has started on the device."""
    synchronize(device)
    started = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: str) -> None:
    """Wait until the device has done all it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def bandwidth(device: str) -> dict[str, float]:
    """Measure bytes a second of the device's memory: reading alone, and copying (both ways)."""
    size = 2**32 if device.startswith("cuda") else 2**28
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    calls = {"read": (source.sum, 1), "copy": (lambda: target.copy_(source), 2)}
    return {
        name: times * size / min(seconds(call, device) for _ in range(10))
        for name, (call, times) in calls.items()
    }


def peer_rates(model: PreTrainedModel, device: str, requests: int, tokens: int) -> dict[str, float]:
    """Measure the tokens a second of ChatHuggingFace, one request at a time and side by side."""
    import chat_cpu

    chat_cpu.NEW_TOKENS = tokens
    chat = peer(model, random_gemma.tokenizer())
    prompts = random_gemma.rag_prompts(requests + 1, seed=1, tokens=PROMPT)
    chat.invoke(prompts.pop())
    ways: dict[str, dict[str, int]] = {"alone": {"max_concurrency": 1}, "side by side": {}}
    return {
        way: requests * tokens / seconds(lambda config=config: chat.batch(prompts, config), device)
        for way, config in ways.items()
    }


def timed_batch(chat: ChatKoGemma, prompts: Sequence[str], device: str) -> float:
    """Give the tokens a second of a batch, all that LangChain adds included."""
    replies: list[Any] = []
    took = seconds(lambda: replies.extend(chat.batch(list(prompts))), device)
    return sum(reply.usage_metadata["output_tokens"] for reply in replies) / took


def stamped(chat: ChatKoGemma, prompts: Sequence[str], tokens: int) -> list[Stamps]:
    """Run prompts side by side in the chat's engine and note when tokens come."""
    engine: Engine = chat._local.engine
    encode = chat._local.template.encode
    ids = [encode([{"role": "user", "content": prompt}]) for prompt in prompts]
    replies = []
    for prompt in ids:
        replies.append(Stamps())
        engine.submit(GenerationRequest(prompt, tokens, frozenset()), replies[-1])
    for reply in replies:
        reply.done.wait()
        if reply.error is not None:
            raise reply.error
    return replies


def step_ms(replies: Sequence[Stamps]) -> float:
    """Give the median milliseconds between tokens while all replies are under way.

    Where there are more replies than slots that is never so, and all of the time counts.
    """
    begin = max(reply.times[0] for reply in replies)
    end = min(reply.times[-1] for reply in replies)
    gaps = [
        later - earlier
        for reply in replies
        for earlier, later in zip(reply.times, reply.times[1:], strict=False)
        if end <= begin or begin <= earlier <= later <= end
    ]
    return 1000 * statistics.median(gaps)


def floor_ms(
    model: PreTrainedModel, bytes_a_second: float, rows: int = 0, positions: int = 0
) -> float:
    """Give the least milliseconds of a step of so many sequences of so many tokens each."""
    config = model.config
    weights = sum(parameter.nbytes for parameter in model.parameters())
    numbers = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    read = weights + rows * positions * numbers * model.dtype.itemsize
    return 1000 * read / bytes_a_second


def measure(
    chat: ChatKoGemma, floor: Floor, peers: dict[str, float], shared: int, options: Any
) -> list[dict[str, float]]:
    """Measure a chat at each number of concurrent requests, and print it."""
    found = []
    for count in options.counts:
        batches = [
            random_gemma.rag_prompts(count, seed, tokens=PROMPT, shared=shared)
            for seed in range(100 * count + shared, 100 * count + shared + 3)
        ]
        if options.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        warm_s = seconds(lambda first=batches[0]: chat.batch(first), options.device)
        rate = timed_batch(chat, batches[1], options.device)
        replies = stamped(chat, batches[2], options.new_tokens)
        waits = sorted(reply.times[0] - reply.submitted for reply in replies)
        rows = min(count, chat.info()["slots"])
        ms, least = step_ms(replies), floor.ms(rows, PROMPT + options.new_tokens // 2)
        peer_rate = peers["alone"] if count == 1 else max(peers.values())
        row = {
            "requests": count,
            "tokens_a_second": rate,
            "peer_ratio": rate / peer_rate,
            "step_ms": ms,
            "floor_ms": least,
            "percent_of_floor": 100 * least / ms,
            "first_token_p50_s": waits[len(waits) // 2],
            "first_token_p95_s": waits[min(len(waits) - 1, int(0.95 * len(waits)))],
            "first_batch_s": warm_s,
        }
        if options.device.startswith("cuda"):
            row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        found.append(row)
        print("    " + "  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    return found


def prefilled(runner: ModelRunner, sequences: Sequence[list[int]]) -> list[Slot]:
    """Take slots and compute the prompts of sequences."""
    slots = []
    for ids in sequences:
        slot = runner.take(ids[:PROMPT], len(ids) - PROMPT)
        if slot is None:
            raise RuntimeError(f"{CHECKED_CACHE=} is too small for {len(sequences)} sequences")
        while slot.length < PROMPT:
            runner.prefill(slot, ids[slot.length : min(PROMPT, slot.length + runner.chunk)])
        slots.append(slot)
    return slots


@torch.inference_mode()
def check(
    model: PreTrainedModel, compiled: bool, options: Any
) -> tuple[dict[str, float], list[tuple[str, float]]]:
    """Compare logits of given tokens with transformers' eager attention, and profile the step."""
    shape = (options.rows, PROMPT + CHECKED_TOKENS)
    sequences = torch.randint(3, int(model.config.vocab_size), shape).tolist()
    runner = ModelRunner(twin(model), cache_bytes=CHECKED_CACHE, compiled=compiled)
    slots = prefilled(runner, sequences)
    ours = []
    for step in range(PROMPT, PROMPT + CHECKED_TOKENS):
        ours.append(runner.decode(slots, [ids[step] for ids in sequences]).clone())
    wanted = {name: reference(model, sequences, name) for name in ("eager", "sdpa")}
    got, eager = torch.stack(ours, dim=1), wanted["eager"]
    figures = {
        "max_difference": float((got - eager).abs().max()),
        "max_difference_of_sdpa": float((wanted["sdpa"] - eager).abs().max()),
        "top_1_agreement": float((got.argmax(-1) == eager.argmax(-1)).float().mean()),
        "top_1_agreement_of_sdpa": float(
            (wanted["sdpa"].argmax(-1) == eager.argmax(-1)).float().mean()
        ),
        "standard_deviation": float(eager.std()),
    }
    return figures, profiled(runner, slots, options.device)


def reference(
    model: PreTrainedModel, sequences: Sequence[list[int]], attention: Literal["eager", "sdpa"]
) -> torch.Tensor:
    """Give transformers' logits of the last tokens: shape (sequences, tokens, vocabulary)."""
    own = twin(model)
    own.set_attn_implementation(attention)
    rows = [
        own(torch.tensor([ids], device=own.device), logits_to_keep=CHECKED_TOKENS).logits.float()
        for ids in sequences
    ]
    return torch.cat(rows)


def profiled(runner: ModelRunner, slots: Sequence[Slot], device: str) -> list[tuple[str, float]]:
    """Give where the time of a decode step goes: milliseconds a step, the dearest first."""
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(PROFILED_STEPS):
            runner.decode(slots, [5] * len(slots)).argmax(-1).tolist()
    kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = profiler.key_averages()
    print(events.table(sort_by=kind, row_limit=15, max_name_column_width=60))
    times = [(event.key, getattr(event, kind) / 1000 / PROFILED_STEPS) for event in events]
    return sorted(times, key=lambda each: -each[1])[:30]


def run_shape(shape: str, bytes_a_second: float, options: Any) -> dict[str, Any]:
    """Measure everything for one shape."""
    model = random_gemma.build(shape, device=options.device, dtype=options.dtype)
    floor = Floor(model, bytes_a_second)
    least = floor.ms(0, 0)
    print(f"{shape}: {floor.weights / 2**30:.2f} GiB of weights a token, at least {least:.3f} ms")
    peers = peer_rates(model, options.device, options.peer_requests, options.new_tokens)
    print(f"  ChatHuggingFace, tokens/s over {options.peer_requests} requests: {peers}")
    print("  ratios take its rate for that of any number of requests, the better of the two ways")
    results: dict[str, Any] = {"weight_bytes": floor.weights, "floor_ms": least, "peer": peers}
    for compiled in (False, True) if options.compiled else (False,):
        counters.clear()
        mode = results["compiled" if compiled else "plain"] = {}
        mode["logits"], mode["profile_ms"] = check(model, compiled, options)
        print(f"  compiled={compiled}: logits {mode['logits']}")
        chat = ChatKoGemma(
            model,
            tokenizer=random_gemma.tokenizer(),
            max_tokens=options.new_tokens,
            compiled=compiled,
        )
        for shared in (300, 0):
            print(f"   prompts share {shared} tokens")
            mode[f"shared {shared}"] = measure(chat, floor, peers, shared, options)
        mode["info"] = chat.info()
        mode["dynamo"] = {name: dict(counters[name]) for name in ("stats", "inductor")}
        print(f"  {mode['info']}\n  {mode['dynamo']}", flush=True)
    return results


def main() -> None:
    """Measure all shapes, print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", help="bfloat16 on a GPU, else float32")
    parser.add_argument("--shapes", nargs="+", default=["2b"], choices=random_gemma.SHAPES)
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument(
        "--peer-requests", type=int, default=4, help="how many the peer is timed on"
    )
    parser.add_argument("--rows", type=int, default=8, help="sequences in check and profile")
    parser.add_argument("--compiled", action="store_true", help="measure compiled=True, too")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    logging.set_verbosity_error()
    on_gpu = options.device.startswith("cuda")
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    rates = bandwidth(options.device)
    print(
        f"{name}, {options.dtype}: "
        + ", ".join(f"{k} {v / 1e9:.1f} GB/s" for k, v in rates.items())
    )
    results: dict[str, Any] = {"device": name, "dtype": options.dtype, "bandwidth": rates}
    results["torch"] = torch.__version__
    for shape in options.shapes:
        results[shape] = run_shape(shape, max(rates.values()), options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, default=str), "utf-8")


if __name__ == "__main__":
    main()
