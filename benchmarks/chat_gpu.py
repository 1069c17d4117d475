"""ChatKoGemma on a GPU: against what the card's memory allows, and against ChatHuggingFace.

    python benchmarks/chat_gpu.py --shapes 2b 7b --modes compiled plain --json gpu.json
    python benchmarks/chat_gpu.py --device cpu --shapes toy --counts 1 8 --new-tokens 32

Random weights, made on the device. A step's floor is the time to read weights, keys and values once
at the bandwidth measured in the same run. Texts of random weights say nothing, so exactness is that
of logits, beside transformers' eager attention on the same ids.
"""

import argparse
import gc
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chat_cpu
import random_gemma
import torch
from langchain_core.messages import AIMessage
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel
from transformers.utils import logging

from kogemma_rag import ChatKoGemma
from kogemma_rag.generation import GenerationRequest
from kogemma_rag.model_runner import ModelRunner, Slot, twin

PROMPT = 512
CHECKED_TOKENS = 64
PROFILED_STEPS = 20
TIMED_STEPS = 50


def seconds(call: Callable[[], object]) -> float:
    """Give the time of a call, with all that it has started on a GPU."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    started = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - started


def bandwidth(device: str) -> dict[str, float]:
    """Measure bytes a second of the device's memory: reading alone, and copying (both ways)."""
    size = 2**32 if device.startswith("cuda") else 2**28
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    calls = {"read": (source.sum, 1), "copy": (lambda: target.copy_(source), 2)}
    return {
        name: times * size / min(seconds(call) for _ in range(10))
        for name, (call, times) in calls.items()
    }


def peer_rates(model: PreTrainedModel, requests: int, tokens: int) -> dict[str, float]:
    """Measure the tokens a second of ChatHuggingFace, one request at a time and side by side."""
    chat_cpu.NEW_TOKENS = tokens
    chat = chat_cpu.peer(model, random_gemma.tokenizer())
    prompts = random_gemma.rag_prompts(requests + 1, seed=1, tokens=PROMPT)
    chat.invoke(prompts.pop())
    ways: dict[str, dict[str, int]] = {"alone": {"max_concurrency": 1}, "side by side": {}}
    return {
        way: requests * tokens / seconds(lambda config=config: chat.batch(prompts, config))
        for way, config in ways.items()
    }


def stamped(
    chat: ChatKoGemma, prompts: Sequence[str], tokens: int, **sampling: float
) -> list[list[float]]:
    """Run prompts side by side in the chat's engine; when each was given and its tokens came."""
    encode = chat._local.template.encode
    ids = [encode([{"role": "user", "content": prompt}]) for prompt in prompts]

    def times(prompt: list[int]) -> list[float]:
        begun = time.perf_counter()
        stream = chat._local.engine.stream(
            GenerationRequest(prompt, tokens, frozenset(), **sampling)
        )
        return [begun, *(time.perf_counter() for _ in stream)]

    with ThreadPoolExecutor(len(ids)) as threads:
        return list(threads.map(times, ids))


def step_ms(replies: Sequence[list[float]]) -> float:
    """Give the median milliseconds between tokens while all replies are under way.

    Where there are more replies than slots that is never so, and all of the time counts.
    """
    begin, end = max(times[1] for times in replies), min(times[-1] for times in replies)
    gaps = [
        later - earlier
        for times in replies
        for earlier, later in itertools.pairwise(times[1:])
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
    chat: ChatKoGemma, peers: dict[str, float], shared: int, bytes_a_second: float, options: Any
) -> list[dict[str, float]]:
    """Measure a chat at each number of concurrent requests, and print it."""
    seeds = itertools.count(1000 * shared)
    positions = PROMPT + options.new_tokens // 2
    found = []

    def ask(rows: int) -> list[str]:
        return random_gemma.rag_prompts(rows, next(seeds), tokens=PROMPT, shared=shared)

    for count in options.counts:
        if options.out_of_time():
            break
        if options.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        row = measure_count(chat, count, ask, options.new_tokens)
        slots = min(count, chat.info()["slots"])
        row["floor_ms"] = floor_ms(chat.model, bytes_a_second, slots, positions)
        row["percent_of_floor"] = 100 * row["floor_ms"] / row["step_ms"]
        peer_rate = peers["alone"] if count == 1 else max(peers.values())
        row["peer_ratio"] = row["tokens_a_second"] / peer_rate
        if options.device.startswith("cuda"):
            row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        found.append(row)
        print("    " + "  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    return found


def measure_count(
    chat: ChatKoGemma, count: int, ask: Callable[[int], list[str]], tokens: int
) -> dict[str, float]:
    """Measure so many concurrent requests, on prompts that `ask` makes anew each time."""
    # Each number of rows is recorded by itself, and a batch that fills up goes through all.
    warm_up_s = sum(seconds(lambda: chat.batch(ask(count))) for _ in range(2))
    texts: list[AIMessage] = []
    prompts = ask(count)
    took = seconds(lambda: texts.extend(chat.batch(prompts)))
    replies = stamped(chat, ask(count), tokens)
    sampled = stamped(chat, ask(count), tokens, temperature=0.8, top_p=0.95)
    waits = sorted(times[1] - times[0] for times in replies)
    return {
        "requests": count,
        "tokens_a_second": sum(text.usage_metadata["output_tokens"] for text in texts) / took,
        "step_ms": step_ms(replies),
        "sampled_step_ms": step_ms(sampled),
        "first_token_p50_s": waits[len(waits) // 2],
        "first_token_p95_s": waits[int(0.95 * (len(waits) - 1))],
        "warm_up_s": warm_up_s,
    }


def prefilled(runner: ModelRunner, sequences: Sequence[list[int]]) -> list[Slot]:
    """Take slots and compute the prompts of sequences."""
    slots = []
    for ids in sequences:
        slot = runner.take(ids[:PROMPT], len(ids) - PROMPT)
        if slot is None:
            raise RuntimeError(f"the cache is too small for {len(sequences)} sequences")
        while slot.length < PROMPT:
            runner.prefill(slot, ids[slot.length : min(PROMPT, slot.length + runner.chunk)])
        slots.append(slot)
    return slots


@torch.inference_mode()
def check(model: PreTrainedModel, runner: ModelRunner, slots: list[Slot], given: Any) -> Any:
    """Compare logits of given tokens with transformers' eager attention, and so those of sdpa."""
    steps = range(PROMPT, PROMPT + CHECKED_TOKENS)
    rows = [runner.decode(slots, [ids[step] for ids in given]).clone() for step in steps]
    given = [ids[: steps.stop] for ids in given]
    eager, sdpa = (reference(model, given, name) for name in ("eager", "sdpa"))
    figures = {"standard_deviation": float(eager.std())}
    for name, logits in (("ours", torch.stack(rows, dim=1)), ("sdpa", sdpa)):
        same = (logits.argmax(-1) == eager.argmax(-1)).float().mean()
        figures[f"{name}_max_difference"] = float((logits - eager).abs().max())
        figures[f"{name}_top_1_agreement"] = float(same)
    return figures


def reference(model: PreTrainedModel, given: Sequence[list[int]], attention: str) -> torch.Tensor:
    """Give transformers' logits of the last tokens: shape (sequences, tokens, vocabulary)."""
    own = twin(model)
    own.set_attn_implementation(attention)
    inputs = (torch.tensor([ids], device=own.device) for ids in given)
    return torch.cat([own(ids, logits_to_keep=CHECKED_TOKENS).logits.float() for ids in inputs])


def bare(runner: ModelRunner, slots: Sequence[Slot]) -> dict[str, float]:
    """Measure a prompt, and steps without engine and threads: milliseconds."""
    ids = [3, *range(300, 300 + PROMPT - 1)]

    def prefill() -> None:
        slot = runner.take(ids, 1)
        runner.prefill(slot, ids[slot.length :]).argmax(-1).tolist()
        runner.release(slot, keep=False)

    def steps(rows: int) -> None:
        for _ in range(TIMED_STEPS):
            runner.decode(slots[:rows], [5] * rows).argmax(-1).tolist()
            for slot in slots[:rows]:  # so that the sequences never end
                slot.length -= 1
                runner._cache._lengths[slot.index] -= 1

    prefill()
    found = {"prefill": 1000 * min(seconds(prefill) for _ in range(3))}
    for rows in sorted({1, len(slots)}):
        found[f"first {TIMED_STEPS} steps of {rows}, all"] = 1000 * seconds(
            lambda rows=rows: steps(rows)
        )
        found[f"step of {rows}"] = 1000 * seconds(lambda rows=rows: steps(rows)) / TIMED_STEPS
    return found


def profiled(runner: ModelRunner, slots: Sequence[Slot], device: str) -> list[tuple[Any, ...]]:
    """Give where the time of a decode step goes: milliseconds a step, the dearest first."""
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(PROFILED_STEPS):
            runner.decode(slots, [5] * len(slots)).argmax(-1).tolist()
    kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    times = [
        (event.key[:90], getattr(event, kind) / 1000 / PROFILED_STEPS, event.count / PROFILED_STEPS)
        for event in profiler.key_averages()
    ]
    times.sort(key=lambda each: -each[1])
    total, calls = (sum(each[column] for each in times) for column in (1, 2))
    print(f"   profile of {len(slots)} rows: {total:.3f} ms a step in {calls:.0f} events")
    for name, each, count in times[:14]:
        print(f"    {each:8.4f} ms {count:7.1f} x {name}")
    return times[:40]


def clear() -> None:
    """Give back what runs before have left: memory, and compiled steps, whose number is limited."""
    gc.collect()
    torch.compiler.reset()
    counters.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run_mode(
    model: PreTrainedModel, peers: dict[str, float], compiled: bool, rate: float, options: Any
) -> dict[str, Any]:
    """Measure everything with or without compiling."""
    clear()
    own = {"tokenizer": random_gemma.tokenizer(), "max_tokens": options.new_tokens}
    chat = ChatKoGemma(model, compiled=compiled, **own)
    runner = chat._local.engine.runner  # idle as yet, so that its thread does not use it
    shape = (options.rows, PROMPT + 2 * CHECKED_TOKENS)
    given = torch.randint(3, int(model.config.vocab_size), shape).tolist()
    slots = prefilled(runner, given)
    results: dict[str, Any] = {"logits": check(model, runner, slots, given)}
    print(f"  compiled={compiled}: logits {results['logits']}", flush=True)
    results["bare_ms"] = bare(runner, slots)
    print(f"   {results['bare_ms']}", flush=True)
    results["profile_ms"] = [profiled(runner, slots[:n], options.device) for n in (1, len(slots))]
    for slot in slots:
        runner.release(slot, keep=False)
    for shared in (300, 0):
        print(f"   prompts share {shared} tokens")
        results[f"shared {shared}"] = measure(chat, peers, shared, rate, options)
    results["info"] = chat.info()
    results["dynamo"] = {
        name: dict(counters[name]) for name in ("stats", "graph_break", "inductor")
    }
    print(f"  {results['info']}\n  {results['dynamo']}", flush=True)
    return results


def run_shape(shape: str, rate: float, results: dict[str, Any], options: Any) -> None:
    """Measure everything for one shape, at a bandwidth of `rate` bytes a second."""
    model = random_gemma.build(shape, device=options.device, dtype=options.dtype)
    least = floor_ms(model, rate)
    print(f"{shape}: {least * rate / 1e12:.3f} GB of weights a token, at least {least:.3f} ms")
    peers = peer_rates(model, options.peer_requests, options.new_tokens)
    print(f"  ChatHuggingFace, tokens/s over {options.peer_requests} requests: {peers}")
    print("  ratios take its rate for that of any number of requests, the better of the two ways")
    results |= {"floor_ms": least, "peer": peers}
    for mode in options.modes:
        if options.out_of_time():
            break
        results[mode] = run_mode(model, peers, mode == "compiled", rate, options)
        options.write()


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
    parser.add_argument("--modes", nargs="+", default=["plain"], choices=["plain", "compiled"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--budget", type=float, default=math.inf, help="begin nothing after so many seconds"
    )
    options = parser.parse_args()
    deadline = time.monotonic() + options.budget
    options.out_of_time = lambda: time.monotonic() > deadline
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

    def write() -> None:
        if options.json:
            options.json.write_text(json.dumps(results, indent=1, default=str), "utf-8")

    options.write = write
    for shape in options.shapes:
        results[shape] = {}
        run_shape(shape, max(rates.values()), results[shape], options)
        write()


if __name__ == "__main__":
    main()
