"""An index of up to a million chunks: building it, opening it, searching it, as it grows.

    python benchmarks/million.py kowiki_paragraphs.tsv.xz --sizes 10000 100000 1000000 \
        --folder big --csv growth.csv --plot growth.png

Vectors are synthetic, in clusters, made block by block from a seed; texts are pieces of Wikipedia
paragraphs of about 200 characters, the same paragraphs again under another number when they end.
One index grows through the sizes, so a run that was stopped goes on. What is measured at each size
is measured in a fresh process: seconds until the first answer, milliseconds of a hybrid query on
one core, of one with a filter that 1, 10 or 50 % of the chunks match (asked for before, and for
the first time), of adding and deleting one chunk, and memory at the end.
"""

import argparse
import csv
import json
import lzma
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from tqdm import tqdm

DIMENSION = 512
CLUSTERS = 5_000
PIECE = 200  # characters
BATCH = 5_000
QUERIES = 200


class ClusteredEmbeddings(Embeddings):
    """A vector out of the number that a text begins with: its cluster's centre and some noise."""

    model = "clustered-512"

    def __init__(self) -> None:
        self._centres = np.random.default_rng(1).normal(size=(CLUSTERS, DIMENSION))

    def embed_documents_array(self, texts: list[str]) -> np.ndarray:
        """Rows of float32, one for each text."""
        rows = []
        for text in texts:
            first = text.split(" ", 1)[0]
            rng = np.random.default_rng(int(first) if first.isdigit() else len(text))
            rows.append(self._centres[rng.integers(CLUSTERS)] + 0.8 * rng.normal(size=DIMENSION))
        table = np.array(rows, np.float32)
        return table / np.linalg.norm(table, axis=1, keepdims=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As LangChain wants them."""
        return self.embed_documents_array(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """As that of a text."""
        return self.embed_documents([text])[0]


def pieces(path: Path) -> Iterator[str]:
    """Pieces of the paragraphs, without end."""
    while True:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                paragraph = line.rstrip("\n").split("\t")[-1]
                for start in range(0, len(paragraph), PIECE):
                    yield paragraph[start : start + PIECE]


def documents(path: Path, since: int, until: int) -> Iterator[list[Document]]:
    """Batches of those with the numbers from one to another."""
    batch = []
    for number, piece in enumerate(pieces(path)):
        if number >= until:
            break
        if number < since:
            continue
        metadata = {"n": number, "cent": number % 100, "ten": number % 10, "half": number % 2}
        batch.append(Document(f"{number} {piece}", id=str(number), metadata=metadata))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def grow(path: Path, folder: Path, size: int) -> dict[str, float]:
    """Bring the index to a size."""
    from kogemma_rag import DocumentIndex

    start = time.perf_counter()
    with DocumentIndex.open(folder, ClusteredEmbeddings()) as index:
        since = index.info()["chunks"]
        with tqdm(total=size, initial=since, unit="chunk") as bar:
            for batch in documents(path, since, size):
                index.add_documents(batch)
                bar.update(len(batch))
    return {
        "build_seconds": time.perf_counter() - start,
        "build_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "disk_mb": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6,
    }


def measure(folder: Path) -> dict[str, Any]:
    """In a process of its own, on one core."""
    import faiss
    import tantivy  # noqa: F401

    from kogemma_rag import DocumentIndex

    faiss.omp_set_num_threads(1)
    embeddings = ClusteredEmbeddings()
    start = time.perf_counter()
    index = DocumentIndex.open(folder, embeddings)
    index.search("7 대한민국의 수도는 어디인가요?", k=5)
    first = time.perf_counter() - start
    asked = [
        document.page_content[:60]
        for document in index.vectorstore.get_by_ids([str(n * 41) for n in range(QUERIES)])
    ]
    spent = {"unfiltered": timed(asked, lambda query: index.search(query, k=5))}
    for name, share in (("cent", "1 %"), ("ten", "10 %"), ("half", "50 %")):
        begin = time.perf_counter()
        index.search(asked[0], k=5, filter={name: 1})
        spent[f"first, {share}"] = [1000 * (time.perf_counter() - begin)]
        spent[share] = timed(asked, lambda query, name=name: index.search(query, 5, {name: 1}))
    memory = psutil.Process().memory_info().rss / 2**20
    one = [[Document(f"{n} 새 글", id=f"new{n}")] for n in range(20)]
    spent["add one"] = timed(one, index.add_documents)
    spent["delete one"] = timed([[f"new{n}"] for n in range(20)], index.delete)
    info = index.info()
    return {
        "vector_index": info["vector_index"],
        "first_answer_seconds": first,
        "memory_mb": memory,
        "p95_ms": float(np.percentile(spent["unfiltered"], 95)),
        **{f"{name} ms": statistics.median(some) for name, some in spent.items()},
    }


def timed(items: list[Any], call: Any) -> list[float]:
    """Milliseconds of each call."""
    spent = []
    for item in items:
        start = time.perf_counter()
        call(item)
        spent.append(1000 * (time.perf_counter() - start))
    return spent


def measured_apart(folder: Path) -> dict[str, Any]:
    """What a fresh process measures, pinned to one core."""
    command = [sys.executable, __file__, "-", "--measure", "--folder", str(folder)]
    run = subprocess.run(  # noqa: S603
        command,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )
    return json.loads(run.stdout)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Growth, both axes logarithmic."""
    import matplotlib.pyplot as plt

    sizes = [row["chunks"] for row in rows]
    for name in ("unfiltered ms", "10 % ms", "add one ms", "first_answer_seconds", "memory_mb"):
        plt.plot(sizes, [row[name] for row in rows], marker="o", label=name)
    plt.xscale("log")
    plt.yscale("log")
    plt.xlabel("chunks")
    plt.legend()
    plt.savefig(path, dpi=120)


def main() -> None:
    """Grow and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.folder)))
        return
    rows: list[dict[str, Any]] = []
    for size in options.sizes:
        built = grow(options.texts, options.folder, size)
        rows.append({"chunks": size, **built, **measured_apart(options.folder)})
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
