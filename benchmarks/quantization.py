"""Speed, accuracy and memory of quantized weights beside float32, on one CPU thread.

    python benchmarks/quantization.py             # layers and a whole Gemma of 100 million weights
    python benchmarks/quantization.py --others    # torchao and bitsandbytes too, where installed
    python benchmarks/quantization.py --memory    # of gemma-2b and gemma-7b, from their shapes

All that is compared runs in turn in one process; figures are medians of the thread's own time, so
that other processes disturb little. Layers come in copies larger together than the processor's
cache, as the layers of a model are.
"""

import argparse
import copy
import ctypes
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import DynamicCache, GemmaConfig, GemmaForCausalLM

from kogemma_rag.weights import Int8Linear, quantize_to_int8

SMALL = GemmaConfig(
    vocab_size=32_000,
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=9,
    num_attention_heads=6,
    num_key_value_heads=1,
    head_dim=128,
)
# Shapes of google/gemma-2b and google/gemma-7b.
GEMMA_2B = GemmaConfig(
    vocab_size=256_000,
    hidden_size=2048,
    intermediate_size=16_384,
    num_hidden_layers=18,
    num_attention_heads=8,
    num_key_value_heads=1,
    head_dim=256,
)
GEMMA_7B = GemmaConfig(
    vocab_size=256_000,
    hidden_size=3072,
    intermediate_size=24_576,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=16,
    head_dim=256,
)
SHAPES = [(768, 768), (768, 128), (768, 3072), (3072, 768), (768, 32_000), (2048, 16_384)]
ROWS = (1, 8, 256)
CACHE = 64 * 2**20
GIB = 2**30


def medians(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, run in turn; in a new order each round, since what ran before counts."""
    shuffle = random.Random(0).shuffle  # noqa: S311
    order = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for run in runs.values():
            run()
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                start = time.thread_time()
                runs[name]()
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def per_tensor(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """What torch's own dynamic layer does: one activation scale for all rows."""
    packed = Int8Linear(linear)._packed
    return lambda rows: torch.ops.quantized.linear_dynamic(rows, packed, False)


def onednn(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """The kernel that torch.compile uses, with a scale for each row."""
    weight = linear.weight.detach()
    scales = weight.abs().amax(1) / 64
    zeros = torch.zeros(len(scales), dtype=torch.int)
    integers = (weight / scales[:, None]).round().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(integers, None)
    tail: Any = (scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")

    def multiply(rows: Tensor) -> Tensor:
        largest = rows.abs().amax(-1, keepdim=True) / 127
        quantized = (rows / largest).add_(128).round_().to(torch.uint8)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(quantized, 1.0, 128, packed, *tail)
        return product.mul_(largest)

    return multiply


def torchao(linear: nn.Linear) -> Any:
    """Int8 weights and activations of torchao, not compiled."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model = nn.Sequential(copy.deepcopy(linear))
    quantize_(model, Int8DynamicActivationInt8WeightConfig(reduce_range=True))
    return model


def bitsandbytes(linear: nn.Linear, *, bits: int) -> Any:
    """LLM.int8 or NF4 of bitsandbytes."""
    import bitsandbytes as bnb

    sizes, weight = (linear.in_features, linear.out_features), linear.weight.detach().clone()
    if bits == 8:
        layer = bnb.nn.Linear8bitLt(*sizes, bias=False, has_fp16_weights=False)
        layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        layer = bnb.nn.Linear4bit(*sizes, bias=False, compute_dtype=torch.float32)
        layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    return layer.to("cpu").eval()


def candidates(others: bool) -> dict[str, Callable[[nn.Linear], Any]]:
    """Ways to make a layer, by name."""
    made: dict[str, Callable[[nn.Linear], Any]] = {"float32": lambda linear: linear}
    made |= {"int8": Int8Linear, "FBGEMM, one scale": per_tensor, "oneDNN": onednn}
    if others:
        made["torchao int8"] = torchao
        made["bitsandbytes int8"] = partial(bitsandbytes, bits=8)
        made["bitsandbytes NF4"] = partial(bitsandbytes, bits=4)
    return made


def available(ways: dict[str, Callable[[nn.Linear], Any]]) -> dict[str, Callable[[nn.Linear], Any]]:
    """Leave out what is not installed."""
    found = {}
    for name, make in ways.items():
        try:
            make(nn.Linear(64, 64, bias=False))
        except ImportError as error:
            print(f"left out: {name} ({error})")
        else:
            found[name] = make
    return found


def layers(others: bool) -> None:
    """Print a row for each shape and number of rows."""
    ways = available(candidates(others))
    print("| layer | rows | float32 |", " | ".join(name for name in ways if name != "float32"), "|")
    print("|---" * (len(ways) + 2) + "|")
    for inputs, outputs in tqdm(SHAPES, leave=False):
        copies = min(16, max(1, CACHE // (inputs * outputs * 4)))
        linears = [nn.Linear(inputs, outputs, bias=False) for _ in range(copies)]
        made = {name: [make(linear) for linear in linears] for name, make in ways.items()}
        for count in ROWS:
            if outputs > 20_000 and count == ROWS[-1]:
                continue  # only a prompt's last row goes through the output layer
            print_layer(made, torch.randn(count, inputs), (inputs, outputs))


def print_layer(
    made: Mapping[str, list[Callable[[Tensor], Tensor]]], rows: Tensor, shape: tuple[int, int]
) -> None:
    """Times of float32; of the others how many times faster, and the error of their results."""
    turns = {name: cycle(each) for name, each in made.items()}
    runs = {name: lambda turn=turn: next(turn)(rows) for name, turn in turns.items()}
    rounds = max(7, min(60, int(4e9 / (rows.numel() * shape[1]))))
    seconds = medians(runs, rounds)
    with torch.inference_mode():
        expected = made["float32"][0](rows)
        errors = {
            name: float((each[0](rows).float() - expected).norm() / expected.norm())
            for name, each in made.items()
        }
    base = seconds.pop("float32")
    cells = [f"{base / took:.2f}x ({errors[name]:.1%})" for name, took in seconds.items()]
    print(
        f"| {shape[0]} x {shape[1]} | {len(rows)} | {base * 1e3:.2f} ms |", " | ".join(cells), "|"
    )


def forward(model: Any, rows: int, length: int, past: int) -> Callable[[], object]:
    """One forward pass, after a prompt of `past` tokens."""
    ids = torch.randint(SMALL.vocab_size, (rows, past + length))
    cache = DynamicCache(config=SMALL)
    with torch.inference_mode():
        if past:
            model(input_ids=ids[:, :past], past_key_values=cache, logits_to_keep=1)

    def run() -> object:
        after: Any = cache if past else DynamicCache(config=SMALL)
        output = model(input_ids=ids[:, past:], past_key_values=after, logits_to_keep=1)
        if past:
            cache.crop(-length)
        return output

    return run


def whole_model() -> None:
    """Print tokens a second of float32 and int8, and how far int8 is from float32."""
    model: Any = GemmaForCausalLM(SMALL)
    model.eval()
    quantized = copy.deepcopy(model)
    quantize_to_int8(quantized)
    print(f"\n{model.num_parameters() / 1e6:.0f} million weights, tokens a second:\n")
    print("| | float32 | int8 | ratio |\n|---|---|---|---|")
    for name, rows, length, past, rounds in (
        ("decode, 1 row", 1, 1, 64, 100),
        ("decode, 8 rows", 8, 1, 64, 40),
        ("prefill, 256 tokens", 1, 256, 0, 15),
    ):
        runs = {
            "f": forward(model, rows, length, past),
            "q": forward(quantized, rows, length, past),
        }
        took = medians(runs, rounds)
        speeds = [rows * length / took[each] for each in ("f", "q")]
        print(f"| {name} | {speeds[0]:.0f} | {speeds[1]:.0f} | {speeds[1] / speeds[0]:.2f} |")
    print_accuracy(model, quantized)


@torch.inference_mode()
def print_accuracy(model: Any, quantized: Any) -> None:
    """Compare logits over random tokens."""
    ids = torch.randint(SMALL.vocab_size, (8, 128))
    expected, given = model(input_ids=ids).logits, quantized(input_ids=ids).logits
    error = float((given - expected).norm() / expected.norm())
    likely = functional.kl_div(
        given.log_softmax(-1), expected.log_softmax(-1), log_target=True, reduction="none"
    )
    agree = float((given.argmax(-1) == expected.argmax(-1)).float().mean())
    print(
        f"\nint8 against float32: relative error of the logits {error:.4f}, KL divergence "
        f"{float(likely.sum(-1).mean()):.6f}, likeliest token the same {agree:.4f}"
    )


def weight_bytes(config: GemmaConfig, kind: str) -> int:
    """Bytes of the weights, exactly, from shapes on the meta device.

    On a GPU the output layer stays tied to the embedding, in bfloat16; on a CPU int8 gives it
    weights of its own.
    """
    with torch.device("meta"):
        model = GemmaForCausalLM(config)
    width = 2 if kind in ("bfloat16", "int8", "int4") else 4
    total = sum(each.numel() for each in model.parameters()) * width
    for name, linear in model.named_modules():
        if not isinstance(linear, nn.Linear) or kind in ("bfloat16", "float32"):
            continue
        count, outputs = linear.weight.numel(), linear.out_features
        if name == "lm_head":
            total += count + 12 * outputs if kind == "int8 on a CPU" else 0
        elif kind == "int4":  # a scale and a zero point in bfloat16 for each 128 weights
            total += count // 2 + count // 128 * 4 - count * width
        else:  # torchao: scale and zero point; FBGEMM: scale, zero point and sum of a channel
            total += count + outputs * (5 if kind == "int8" else 12) - count * width
    return total


def memory() -> None:
    """Print the memory of weights and of the cache, and check int8 on a CPU by measuring."""
    kinds = ("bfloat16", "int8", "int4", "float32", "int8 on a CPU")
    print("| GiB of weights |", " | ".join(kinds), "| cache, bytes a token in bfloat16 |")
    print("|---" * (len(kinds) + 2) + "|")
    for name, config in (("2b", GEMMA_2B), ("7b", GEMMA_7B), ("100 million", SMALL)):
        sizes = [f"{weight_bytes(config, kind) / GIB:.2f}" for kind in kinds]
        keys = config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        print(f"| {name} |", " | ".join(sizes), f"| {keys * 2 * 2} |")
    for kind in ("float32", "int8 on a CPU"):
        held, wanted = measured(kind) / GIB, weight_bytes(SMALL, kind) / GIB
        print(f"100 million weights, {kind}: {held:.3f} GiB measured, {wanted:.3f} from shapes")


def measured(kind: str) -> int:
    """Bytes that the process grew by when it loaded the small model."""
    before = resident()
    model: Any = GemmaForCausalLM(SMALL)
    if kind != "float32":
        quantize_to_int8(model)
    return resident() - before


def resident() -> int:
    """Bytes of memory that this process holds (Linux), freed memory given back first."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * 4096


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--others", action="store_true", help="torchao and bitsandbytes too")
    parser.add_argument("--memory", action="store_true", help="memory only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.memory:
        memory()
        return
    layers(options.others)
    whole_model()


if __name__ == "__main__":
    main()
