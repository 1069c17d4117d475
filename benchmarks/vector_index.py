"""The vector index by size: building, opening, searching, with and without filters.

Vectors are synthetic, unit length, around centres that are drawn again from a seed block by block,
so that no size needs all of them in memory. Every size runs in a process of its own. Times of
searches are of this process's one thread on a processor, so that others on the machine do not
count; recall is against brute force, after the caller's scoring with true vectors.

    python benchmarks/vector_index.py --sizes 10000 100000 1000000 --json vector_index.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.vector_index import VectorIndex

BLOCK = 8192
CENTRES = 3000
SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)
K = 10
FETCHED = K + 8  # as FaissVectorStore does


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """To unit length."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def block(number: int, dimension: int) -> NDArray[np.float32]:
    """Vectors around centres, some centres having many and some few."""
    centres = unit(np.random.default_rng(7).normal(size=(CENTRES, dimension)))
    rng = np.random.default_rng([8, number])
    near = (rng.random(BLOCK) ** 1.5 * CENTRES).astype(np.int64)
    return unit(centres[near] + rng.normal(size=(BLOCK, dimension)) * (0.8 / dimension**0.5))


def blocks_of(
    count: int, dimension: int
) -> Callable[[int, int | None], Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]]:
    """As `Storage.vector_blocks`, with keys from 1 to count."""

    def blocks(
        after: int = 0, until: int | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        for start in range(0, count, BLOCK):
            keys = np.arange(start, min(start + BLOCK, count), dtype=np.int64) + 1
            wanted = (keys > after) & (keys <= (until or count))
            if wanted.any():
                yield keys[wanted], block(start // BLOCK, dimension)[: len(keys)][wanted]

    return blocks


def memory(kind: str) -> int:
    """MiB of memory that this process holds: VmHWM for the most, RssAnon, RssFile (mapped)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def build(folder: Path, count: int, dimension: int) -> dict[str, Any]:
    """Make all files."""
    wall, processor = time.perf_counter(), time.process_time()
    VectorIndex(folder).rebuild(blocks_of(count, dimension), count, 1)
    return {
        "build_s": time.perf_counter() - wall,
        "build_cpu_s": time.process_time() - processor,
        "build_most_mib": memory("VmHWM"),
        "disk_mb": sum(file.stat().st_size for file in folder.iterdir()) / 1e6,
    }


def best_of(
    blocks: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]],
    queries: NDArray[np.float32],
    allowed: NDArray[np.bool_],
) -> list[set[int]]:
    """The true best K for each query, by brute force."""
    products = np.full((len(queries), K), -2, np.float32)
    keys = np.full((len(queries), K), -1, np.int64)
    for some, vectors in blocks:
        chosen = allowed[some]
        products = np.hstack([products, queries @ vectors[chosen].T])
        keys = np.hstack([keys, np.broadcast_to(some[chosen], (len(queries), chosen.sum()))])
        order = np.argpartition(-products, K - 1, axis=1)[:, :K]
        products, keys = (np.take_along_axis(one, order, 1) for one in (products, keys))
    return [set(row.tolist()) for row in keys]


def search(folder: Path, count: int, dimension: int, asked: int) -> dict[str, Any]:
    """Open the files and search."""
    import faiss

    faiss.omp_set_num_threads(1)
    queries = block(10**6, dimension)[:asked]
    before = memory("RssAnon"), memory("VmRSS")
    wall, processor = time.perf_counter(), time.process_time()
    view = VectorIndex(folder).view
    opened = time.process_time() - processor
    view.search(queries[0], FETCHED)
    figures: dict[str, Any] = {
        "kind": view.kind,
        "open_cpu_ms": 1000 * opened,
        "open_and_first_search_ms": 1000 * (time.perf_counter() - wall),
    }
    rng, found = np.random.default_rng(9), {}
    for share in SHARES:
        keys = None
        if share < 1:
            keys = np.flatnonzero(np.r_[False, rng.random(count) < share]).astype(np.int64)
        times, results = [], []
        for query in queries:
            start = time.thread_time()
            results.append(view.search(query, FETCHED, keys=keys)[0])
            times.append(time.thread_time() - start)
        figures[f"search_{share:g}_cpu_ms"] = 1000 * float(np.median(times))
        found[share] = keys, results
    figures["search_anon_mib"] = memory("RssAnon") - before[0]
    figures["search_rss_mib"] = memory("VmRSS") - before[1]
    blocks = blocks_of(count, dimension)
    vectors = _vectors(
        blocks(), {int(key) for _, rows in found.values() for r in rows for key in r}
    )
    for share, (keys, results) in found.items():
        allowed = np.ones(count + 1, np.bool_)
        if keys is not None:
            allowed[:] = False
            allowed[keys] = True
        hits = 0
        for query, rows, best in zip(
            queries, results, best_of(blocks(), queries, allowed), strict=True
        ):
            true = np.array([vectors[key] @ query for key in rows.tolist()])
            hits += len(best & set(rows[np.argsort(-true)[:K]].tolist()))
        figures[f"recall_{share:g}"] = hits / K / len(queries)
    return figures


def _vectors(
    blocks: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]], wanted: set[int]
) -> dict[int, NDArray[np.float32]]:
    return {
        key: vector.copy()
        for keys, vectors in blocks
        for key, vector in zip(keys.tolist(), vectors, strict=True)
        if key in wanted
    }


def main() -> None:
    """Run every size in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the files are kept, and left")
    options = parser.parse_args()
    if options.step:
        size, dimension = options.sizes[0], options.dimension
        if options.step == "build":
            figures = build(options.folder, size, dimension)
        else:
            figures = search(options.folder, size, dimension, options.queries)
        print(json.dumps(figures))
        return
    table = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.folder or Path(temporary)) / str(size)
            row: dict[str, Any] = {"size": size}
            for step in ("search",) if (folder / "manifest").exists() else ("build", "search"):
                folder.parent.mkdir(parents=True, exist_ok=True)
                command = [sys.executable, __file__, "--step", step, "--sizes", str(size)]
                command += ["--dimension", str(options.dimension), "--folder", str(folder)]
                command += ["--queries", str(options.queries)]
                done = subprocess.run(command, check=True, capture_output=True, env=os.environ)  # noqa: S603
                row |= json.loads(done.stdout)
            print(json.dumps(row), flush=True)
            table.append(row)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
