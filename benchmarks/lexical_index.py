"""Speed of the lexical index by size: build, open, add one, candidates and scores, filters.

    python benchmarks/lexical_index.py kowiki_paragraphs.tsv.xz KorQuAD_v1.0_dev.json
    python benchmarks/lexical_index.py … --sizes 100000 1000000 --json lexical.json

Chunks are four sentences drawn from the paragraphs, about 280 characters; queries are questions.
With rank-bm25 installed, sizes up to 100,000 are asked of it too, as LangChain's BM25Retriever
does (words between white space, every document scored for every query).
"""

import argparse
import json
import lzma
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kogemma_rag.lexical import LexicalIndex, LexicalView, PreparedText
from kogemma_rag.morphemes import sentence_spans

SENTENCES = 4  # a chunk
BATCH = 5_000  # chunks a commit
FETCH = 50  # candidates
SCORED = 150  # keys that are scored for a query: candidates of words and of vectors
SHARES = (0.001, 0.01, 0.1, 0.5)
PEER_SIZE = 100_000
PEER_QUERIES = 10


def read_sentences(path: Path) -> list[str]:
    """The sentences of a file of paragraphs: title, section and text between tabs."""
    sentences = []
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = line.rstrip("\n").split("\t")[-1]
            spans = sentence_spans(text)
            sentences += [text[start:end] for start, end in spans if 30 < end - start < 200]
    return sentences


def read_questions(path: Path, count: int) -> list[str]:
    """Questions of a file in SQuAD form, drawn at random."""
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    questions = [
        qa["question"]
        for article in data
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]
    return random.Random(1).sample(questions, count)  # noqa: S311 - the same ones each time


def chunks(sentences: Sequence[str], count: int) -> Iterator[list[str]]:
    """Batches of texts, the same ones at each call."""
    generator = random.Random(0)  # noqa: S311 - the same ones each time
    for start in range(0, count, BATCH):
        yield [
            " ".join(generator.sample(sentences, SENTENCES))
            for _ in range(min(BATCH, count - start))
        ]


def build(folder: Path, batches: Iterator[list[str]], workers: int) -> dict[str, Any]:
    """Analyze in processes, commit here; seconds of both."""
    lexical = LexicalIndex(folder)
    key, characters, committing = 0, 0, 0.0
    start = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        waiting: list[Any] = []
        for batch in [*batches, None]:
            if batch is not None:
                characters += sum(map(len, batch))
                waiting.append(pool.submit(LexicalIndex.prepare, batch))
            while waiting and (batch is None or len(waiting) > 2 * workers):
                prepared: list[PreparedText] = waiting.pop(0).result()
                moment = time.perf_counter()
                added = list(enumerate(prepared, key + 1))
                key += len(added)
                lexical.update(added=added, deleted=[], generation=lexical.generation + 1)
                committing += time.perf_counter() - moment
    seconds = time.perf_counter() - start
    lexical.close()
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "build_s": round(seconds, 1),
        "of_it_committing_s": round(committing, 1),
        "characters_a_second": round(characters / seconds),
        "size_mb": round(size / 1e6, 1),
    }


def milliseconds(call: Callable[[Any], object], arguments: Sequence[Any]) -> dict[str, float]:
    """Median and 95th percentile over the calls."""
    times = []
    for argument in arguments:
        start = time.perf_counter()
        call(argument)
        times.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


def queries(view: LexicalView, questions: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of candidates and scores, with and without filters."""
    generator = np.random.default_rng(0)
    keys = np.arange(1, len(view) + 1)
    scored = generator.choice(keys, SCORED, replace=False)

    def both(question: str) -> None:
        found = view.search(question, FETCH)
        view.scores(question, [*found, *scored[: SCORED - len(found)].tolist()])

    def filtered(share: float) -> dict[str, float]:
        size = max(1, int(len(keys) * share))
        allowed = np.sort(generator.choice(keys, size, replace=False))
        return milliseconds(lambda query: view.search(query, FETCH, keys=allowed), questions)

    milliseconds(both, questions[:20])  # maps the files into memory
    return {
        "search_ms": milliseconds(lambda question: view.search(question, FETCH), questions),
        "search_and_scores_ms": milliseconds(both, questions),
        "filtered_ms": {share: filtered(share) for share in SHARES},
    }


def opening(folder: Path, question: str) -> tuple[float, float]:
    """Milliseconds to open, and to the first answer."""
    start = time.perf_counter()
    lexical = LexicalIndex(folder)
    opened = time.perf_counter()
    lexical.view.search(question, FETCH)
    end = time.perf_counter()
    lexical.close()
    return (opened - start) * 1000, (end - start) * 1000


def adding(folder: Path, text: str, count: int = 20) -> dict[str, float]:
    """Milliseconds to add one text and delete another, until durable on disk."""
    lexical = LexicalIndex(folder)
    first = 10**9

    def add(key: int) -> None:
        generation = lexical.generation + 1
        lexical.update(added=[(key, text)], deleted=[key - first + 1], generation=generation)

    return milliseconds(add, range(first, first + count))


def peer(batches: Iterator[list[str]], questions: Sequence[str]) -> dict[str, float]:
    """Milliseconds of rank-bm25, as BM25Retriever of langchain-community uses it."""
    from rank_bm25 import BM25Okapi  # type: ignore[import-not-found]

    texts = [text for batch in batches for text in batch]
    bm25 = BM25Okapi([text.split() for text in texts])
    ask = lambda question: bm25.get_top_n(question.split(), texts, n=FETCH)  # noqa: E731
    return milliseconds(ask, questions[:PEER_QUERIES])


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paragraphs", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--workers", type=int, default=2, help="processes that analyze")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="keep the indexes here, use them again")
    arguments = parser.parse_args()
    sentences = read_sentences(arguments.paragraphs)
    questions = read_questions(arguments.questions, arguments.queries)
    table = {}
    with TemporaryDirectory() as temporary:
        for size in arguments.sizes:
            folder = (arguments.folder or Path(temporary)) / str(size)
            row: dict[str, Any] = {}
            if not folder.exists():
                row |= build(folder, chunks(sentences, size), arguments.workers)
            opened = [opening(folder, questions[0]) for _ in range(5)]
            row["open_ms"], row["open_and_ask_ms"] = np.median(opened, 0).round(1).tolist()
            before = resident_mb()
            row |= queries(LexicalIndex(folder).view, questions)
            row["queries_resident_mb"] = round(resident_mb() - before, 1)
            row["add_and_delete_one_ms"] = adding(folder, sentences[0])
            if find_spec("rank_bm25") and size <= PEER_SIZE:
                row["rank_bm25_ms"] = peer(chunks(sentences, size), questions)
            table[size] = row
            print(size, json.dumps(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
