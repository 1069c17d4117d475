"""KoBEST by the harness on a Gemma of random weights: examples a second, memory.

    python benchmarks/kobest_speed.py --data-dir ../shared/data/kobest --limit 200 --json speed.json
    python benchmarks/kobest_speed.py --data-dir ../shared/data/kobest --limit 4 --shape toy \
        --device cpu --batch-sizes 1 4

Speed needs no sense. The tokenizer knows a few hundred syllables and writes all else as bytes, so
texts have more tokens than with Gemma's own: tokens an example are printed, too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import random_gemma
import torch
from transformers.utils import logging

from kogemma_rag.evaluation.kobest import evaluate_kobest
from kogemma_rag.evaluation.kobest_data import TASKS


def peak_bytes(device: str) -> int:
    """Give the most memory that the GPU has held since the last reset; 0 without one."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0


def measure(model: Any, task: str, batch_size: int | str, options: Any) -> dict[str, Any]:
    """Evaluate one task and say how fast it was."""
    if options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    found = evaluate_kobest(
        model,
        tokenizer=random_gemma.tokenizer(),
        data_dir=options.data_dir,
        tasks=(task,),
        limit=options.limit,
        batch_size=batch_size,
        chat_template=options.chat_template,
        progress=False,
    )
    requests, examples = found["requests"], found["tasks"][task]["examples"]
    took = found["seconds"]["evaluating"]
    if requests["one_bos"] != requests["count"]:
        raise RuntimeError(f"{requests} should all have one <bos>")
    return {
        "task": task,
        "batch_size": batch_size,
        "examples": examples,
        "examples_a_second": examples / took,
        "seconds_per_1000": 1000 * took / examples,
        "tokens_an_example": requests["tokens"] / examples,
        "tokens_a_second": requests["tokens"] / took,
        "peak_gib": peak_bytes(options.device) / 2**30,
    }


def show(row: dict[str, Any]) -> None:
    """Print a measurement."""
    texts = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )
    print("  ".join(texts), flush=True)


def main() -> None:
    """Measure all tasks at all batch sizes, print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--shape", default="2b", choices=random_gemma.SHAPES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", help="bfloat16 on a GPU, else float32")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--limit", type=int, help="examples a task; all without")
    parser.add_argument("--batch-sizes", nargs="+", default=["auto"], help='numbers, or "auto"')
    parser.add_argument("--chat-template", default="on", choices=("on", "off"))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    logging.set_verbosity_error()
    on_gpu = options.device.startswith("cuda")
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, {options.shape}, {options.dtype}, torch {torch.__version__}")
    model = random_gemma.build(options.shape, device=options.device, dtype=options.dtype)
    sizes = [size if size == "auto" else int(size) for size in options.batch_sizes]
    # The first run also loads kernels.
    measure(model, options.tasks[0], sizes[0], argparse.Namespace(**{**vars(options), "limit": 2}))
    rows = []
    for size in sizes:
        for task in options.tasks:
            rows.append(measure(model, task, size, options))
            show(rows[-1])
    for size in sizes:
        of_size = [row for row in rows if row["batch_size"] == size]
        took = sum(row["examples"] / row["examples_a_second"] for row in of_size)
        examples = sum(row["examples"] for row in of_size)
        print(f"batch size {size}: {1000 * took / examples:.4g} seconds per 1000 examples in all")
    if options.json:
        figures = {"device": name, "shape": options.shape, "dtype": options.dtype, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")


if __name__ == "__main__":
    main()
