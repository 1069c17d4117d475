"""One index that grows to a million chunks, measured on its way.

python benchmarks/million.py FOLDER --texts kowiki_paragraphs.tsv.xz [--sizes 10000 100000 1000000]

Vectors are made, in clusters; texts are cut from the last column of a table of Korean paragraphs,
and when those are used up, halves of two are joined. All goes through `DocumentIndex`, whose
embedder hands out prepared vectors. At each size a fresh process measures on one core. Run again,
it goes on where it was: `growth.csv` beside the index holds what is done. Files are in the page
cache and half of the questions were asked before the others are timed, as after a first use.
Milliseconds are of the wall clock, `_cpu` ones of the processor: on a busy machine only the latter
mean something.
"""

import argparse
import csv
import json
import lzma
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

DIMENSION = 384
CLUSTERS = 2000
SPREAD = 0.8  # length of what tells a vector from its cluster's centre, which has length 1
BLOCK = 10_000
BATCH = 5_000
BUCKETS = 1000
QUERIES = 500
SIZES = [10_000, 30_000, 100_000, 300_000, 1_000_000]


class PreparedEmbeddings(Embeddings):
    """Gives the vectors that it was told to give."""

    def __init__(self) -> None:
        self.fingerprint = {"name": "prepared", "dimension": DIMENSION}
        self.passages: NDArray[np.float32] = np.empty((0, DIMENSION), np.float32)
        self.queries: dict[str, NDArray[np.float32]] = {}

    def embed_documents_array(self, texts: list[str]) -> NDArray[np.float32]:
        """The next vectors."""
        return self.passages[: len(texts)]

    def embed_query_array(self, text: str) -> NDArray[np.float32]:
        """The vector of a known question."""
        return self.queries[text]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As lists."""
        rows: list[list[float]] = self.embed_documents_array(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """As a list."""
        row: list[float] = self.embed_query_array(text).tolist()
        return row


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


def block_of_vectors(number: int) -> NDArray[np.float32]:
    """Vectors of the chunks from `number` * BLOCK on; the same at every call."""
    centres = unit(np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSION), np.float32))
    choose = np.random.default_rng([1, number])
    noise = choose.standard_normal((BLOCK, DIMENSION), np.float32) * (SPREAD / DIMENSION**0.5)
    return unit(centres[choose.integers(CLUSTERS, size=BLOCK)] + noise)


class Texts:
    """Any number of pieces of 200 to 300 characters, by number."""

    def __init__(self, table: Path) -> None:
        sizes = random.Random(0)  # noqa: S311 - text, not secrets
        self._pieces: list[str] = []
        opened = lzma.open if table.suffix == ".xz" else open
        with opened(table, "rt", encoding="utf-8") as lines:
            for line in lines:
                text = line.rstrip("\n").split("\t")[-1]
                while len(text) >= 100:
                    size = sizes.randint(200, 300)
                    self._pieces.append(text[:size])
                    text = text[size:]

    def __getitem__(self, number: int) -> str:
        """The text of a chunk; no two are the same."""
        turn, place = divmod(number, len(self._pieces))
        piece = self._pieces[place]
        if turn:
            other = self._pieces[(place + turn * 7919) % len(self._pieces)]
            piece = piece[: len(piece) // 2] + " " + other[len(other) // 2 :]
        return f"{piece} [{number}]"

    def document(self, number: int) -> Document:
        """A chunk, with what is filtered by."""
        metadata = {"source": f"문서{number // 40}.txt", "bucket": number % BUCKETS}
        return Document(page_content=self[number], metadata=metadata)


def memory(name: str) -> float:
    """MiB of this process: VmRSS, VmHWM (its highest), RssAnon (without mapped files)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the kernel tells no {name}")


def build(folder: Path, table: Path, size: int) -> dict[str, float]:
    """Add chunks until there are `size`."""
    from kogemma_rag import DocumentIndex

    texts, embeddings = Texts(table), PreparedEmbeddings()
    before = memory("VmRSS")
    started, used = time.perf_counter(), time.process_time()
    with DocumentIndex.open(folder, embeddings) as index:
        first = count = index.info()["chunks"]
        while count < size:
            end = min(size, (count // BATCH + 1) * BATCH)
            block = block_of_vectors(count // BLOCK)
            embeddings.passages = block[count % BLOCK :]
            index.add_documents([texts.document(number) for number in range(count, end)])
            count = end
            rate = (count - first) / (time.perf_counter() - started)
            print(f"{count} chunks, {rate:.0f}/s, {memory('VmRSS'):.0f} MiB", file=sys.stderr)
    return {
        "built": count - first,
        "build_s": time.perf_counter() - started,
        "build_cpu_s": time.process_time() - used,
        "build_peak_mib": memory("VmHWM"),
        "before_build_mib": before,
    }


def questions(texts: Texts, size: int) -> dict[str, NDArray[np.float32]]:
    """Five words of a chunk each, with a vector near to the chunk's."""
    choose = np.random.default_rng(2)
    asked: dict[str, NDArray[np.float32]] = {}
    for block in choose.permutation(max(1, size // BLOCK))[:10]:
        vectors = block_of_vectors(int(block))
        for row in choose.integers(min(size, BLOCK), size=QUERIES // min(10, size // BLOCK)):
            words = texts[int(block) * BLOCK + int(row)].split()
            start = int(choose.integers(max(1, len(words) - 6)))
            near = vectors[row] + choose.standard_normal(DIMENSION) * (0.5 / DIMENSION**0.5)
            asked[" ".join(words[start : start + 5])] = unit(near)
    return asked


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the wall clock and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - started) * 1000, (time.process_time() - used) * 1000


def quantiles(name: str, times: list[tuple[float, float]]) -> dict[str, float]:
    """Median and 95th percentile of both clocks."""
    walls, cpus = (sorted(each) for each in zip(*times, strict=True))
    place = min(len(walls) - 1, int(len(walls) * 0.95))
    return {
        f"{name}_p50": statistics.median(walls),
        f"{name}_p95": walls[place],
        f"{name}_p50_cpu": statistics.median(cpus),
        f"{name}_p95_cpu": cpus[place],
    }


def filters(share: int) -> Iterator[dict[str, Any]]:
    """Filters that a share of the chunks pass, in percent; no two are the same."""
    width = BUCKETS * share // 100
    for first in range(0, BUCKETS - width, 7):
        yield {"bucket": {"$gte": first, "$lt": first + width}}


def measure(folder: Path, table: Path, size: int) -> dict[str, float]:
    """Measure an index of `size` chunks, in a process that has not seen it."""
    texts, embeddings = Texts(table), PreparedEmbeddings()
    embeddings.queries = questions(texts, size)
    extra = texts.document(size + 1)
    embeddings.passages = block_of_vectors(0)[:1]
    del texts
    result = {"before_open_mib": memory("VmRSS")}
    first, *others = embeddings.queries
    result["imports"] = timed(import_all)[0]
    times = timed(lambda: answer_first(folder, embeddings, first))
    result |= {"open_and_answer": times[0], "open_and_answer_cpu": times[1]}
    from kogemma_rag import DocumentIndex

    with DocumentIndex.open(folder, embeddings, create=False) as index:
        for query in others[: QUERIES // 2]:
            index.search(query)
        plain = [timed(lambda query=query: index.search(query)) for query in others[QUERIES // 2 :]]
        result |= quantiles("query", plain)
        result |= {"rss_mib": memory("VmRSS"), "anonymous_mib": memory("RssAnon")}
        for share in (1, 10, 50):
            result |= filtered(index.search, others, share)
        result |= one_change(index, extra)
        info = index.info()
    names = ("storage_bytes", "vector_bytes", "lexical_bytes")
    return result | {name.replace("bytes", "mib"): info[name] / 2**20 for name in names}


def import_all() -> None:
    """What a first answer needs."""
    import faiss  # noqa: F401
    import tantivy  # noqa: F401

    import kogemma_rag.index  # noqa: F401


def answer_first(folder: Path, embeddings: Embeddings, query: str) -> None:
    """What a user waits for after the imports: opening, one answer."""
    from kogemma_rag import DocumentIndex

    with DocumentIndex.open(folder, embeddings, create=False) as index:
        index.search(query)


def filtered(search: Callable[..., object], queries: list[str], share: int) -> dict[str, float]:
    """Times of queries under filters that were used before, and under new ones."""
    each, *new = list(filters(share))[:31]
    search(queries[0], filter=each)
    known = [timed(lambda query=query: search(query, filter=each)) for query in queries[:100]]
    fresh = [
        timed(lambda query=query, one=one: search(query, filter=one))
        for query, one in zip(queries, new, strict=False)
    ]
    return {
        **quantiles(f"filter_{share}", known),
        **quantiles(f"new_filter_{share}", fresh),
    }


def one_change(index: Any, document: Document, rounds: int = 7) -> dict[str, float]:
    """Milliseconds to add a chunk, and to delete it, until each is durable."""
    added, deleted = [], []
    for _ in range(rounds):
        ids: list[str] = []
        added.append(timed(lambda ids=ids: ids.extend(index.add_documents([document]))))
        deleted.append(timed(lambda ids=ids: index.delete(ids)))
    return {**quantiles("add_one", added), **quantiles("delete_one", deleted)}


def in_a_process(step: str, options: argparse.Namespace, size: int) -> dict[str, float]:
    """Run one step by itself and give what it found."""
    command = [sys.executable, __file__, str(options.folder), "--texts", str(options.texts)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} if step == "measure" else None
    done = subprocess.run(  # noqa: S603 - this very file
        [*command, "--step", step, "--sizes", str(size)],
        stdout=subprocess.PIPE,
        check=True,
        env=environment,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def draw(rows: list[dict[str, str]], file: Path) -> None:
    """Growth of what matters with the number of chunks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = {
        "ms a query, median": ["query_p50_cpu", "filter_1_p50_cpu", "filter_50_p50_cpu"],
        "ms, open and first answer": ["open_and_answer_cpu"],
        "ms, one change": ["add_one_p50", "delete_one_p50"],
        "MiB": ["rss_mib", "anonymous_mib", "storage_mib", "vector_mib", "lexical_mib"],
    }
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    sizes = [int(row["chunks"]) for row in rows]
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for name in names:
            axis.plot(sizes, [float(row[name]) for row in rows], marker="o", label=name)
        axis.set(title=title, xscale="log", xlabel="chunks", ylim=(0, None))
        axis.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    """Build, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--plot", type=Path, help="needs matplotlib")
    parser.add_argument("--step", choices=["build", "measure"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = options.folder / "index"
    if options.step == "build":
        print(json.dumps(build(index, options.texts, options.sizes[0])))
        return
    if options.step == "measure":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        print(json.dumps(measure(index, options.texts, options.sizes[0])))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    table = options.folder / "growth.csv"
    rows = list(csv.DictReader(table.open())) if table.exists() else []
    for size in sorted(options.sizes):
        if str(size) in {row["chunks"] for row in rows}:
            continue
        found = in_a_process("build", options, size) | in_a_process("measure", options, size)
        rows.append({"chunks": str(size)} | {name: f"{v:.3f}" for name, v in found.items()})
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        print(json.dumps(rows[-1], indent=1))
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
