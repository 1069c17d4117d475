"""The index against langchain-community's FAISS and BM25Retriever, in one run, as ratios.

    pip install langchain-community rank-bm25
    python benchmarks/index_peer.py kowiki_paragraphs.tsv.xz --chunks 100000

Opening with a first query is done in fresh processes: CPU seconds after the imports, and memory
over that of the imports alone. Adding and deleting one chunk are timed until they are on disk
(there: the change and `save_local`). Vectors are random, of unit length, 384 numbers.
"""

import argparse
import json
import lzma
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

DIMENSION = 384
QUERY = "대한민국의 수도는 어디인가요?"
BATCH = 10_000


class RandomEmbeddings(Embeddings):
    """Unit vectors out of a seed and the number a text begins with."""

    model = "random-384"

    def embed_documents_array(self, texts: list[str]) -> np.ndarray:
        """Rows of float32, one for each text."""
        rows = [np.random.default_rng(abs(hash_of(text))).normal(size=DIMENSION) for text in texts]
        table = np.array(rows, np.float32)
        return table / np.linalg.norm(table, axis=1, keepdims=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As LangChain wants them."""
        return self.embed_documents_array(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """That of the text."""
        return self.embed_documents([text])[0]


def hash_of(text: str) -> int:
    """The same in every process."""
    return int.from_bytes(text.encode()[:16].ljust(16, b"\0"), "little")


def pieces(path: Path, count: int) -> list[str]:
    """Texts of about 250 characters, no two the same."""
    texts: list[str] = []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            paragraph = line.rstrip("\n").split("\t")[-1]
            for start in range(0, len(paragraph), 250):
                texts.append(f"{len(texts)} {paragraph[start : start + 250]}")
                if len(texts) == count:
                    return texts
    return texts


def build(folder: Path, texts: list[str]) -> None:
    """Both indexes, of the same documents and vectors."""
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy

    from kogemma_rag import DocumentIndex

    embeddings = RandomEmbeddings()
    documents = [Document(text, id=str(n), metadata={"n": n}) for n, text in enumerate(texts)]
    with DocumentIndex.open(folder / "ours", embeddings) as index:
        for start in range(0, len(documents), BATCH):
            index.add_documents(documents[start : start + BATCH])
    store = FAISS.from_documents(
        documents,
        embeddings,
        ids=[document.id for document in documents],
        distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
    )
    store.save_local(str(folder / "theirs"))


def opened(folder: Path, side: str) -> None:
    """In a process of its own: open, answer once; CPU and wall seconds and memory, as JSON."""
    embeddings, opener = RandomEmbeddings(), _opener(folder, side)
    vector = embeddings.embed_query(QUERY)
    process = psutil.Process()
    memory = process.memory_info().rss
    cpu, wall = time.process_time(), time.perf_counter()
    store = opener(embeddings)
    store.similarity_search_by_vector(vector, k=4)
    spent = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "memory": (process.memory_info().rss - memory) / 2**20,
    }
    print(json.dumps(spent))


def _opener(folder: Path, side: str) -> Any:
    if side == "ours":
        import faiss
        import tantivy  # noqa: F401

        from kogemma_rag import DocumentIndex

        return lambda embeddings: DocumentIndex.open(folder / "ours", embeddings).vectorstore
    import faiss  # noqa: F401
    from langchain_community.vectorstores import FAISS

    return lambda embeddings: FAISS.load_local(
        str(folder / "theirs"), embeddings, allow_dangerous_deserialization=True
    )


def fresh(folder: Path, side: str) -> dict[str, float]:
    """Medians of three fresh processes."""
    command = [sys.executable, __file__, "-", "--open", side, "--folder", str(folder)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)  # noqa: S603
        for _ in range(3)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def timed(times: int, call: Any) -> float:
    """Median milliseconds."""
    spent = []
    for number in range(times):
        start = time.perf_counter()
        call(number)
        spent.append(time.perf_counter() - start)
    return 1000 * statistics.median(spent)


def report(name: str, ours: float, theirs: float, unit: str) -> None:
    """One line, with the ratio."""
    print(f"{name:<44} {theirs:>10.2f} {ours:>10.2f} {unit:<4} {theirs / ours:>8.1f} x", flush=True)


def compare(folder: Path, texts: list[str]) -> None:
    """Everything else, in this process."""
    import faiss
    from langchain_community.retrievers import BM25Retriever
    from langchain_community.vectorstores import FAISS

    from kogemma_rag import DocumentIndex

    print(f"{'':<44} {'community':>10} {'ours':>10}")
    ours, theirs = fresh(folder, "ours"), fresh(folder, "theirs")
    report("open and first query, CPU", ours["cpu"], theirs["cpu"], "s")
    report("open and first query, wall", ours["wall"], theirs["wall"], "s")
    report("its memory", ours["memory"], theirs["memory"], "MB")

    embeddings = RandomEmbeddings()
    community = FAISS.load_local(
        str(folder / "theirs"), embeddings, allow_dangerous_deserialization=True
    )
    with DocumentIndex.open(folder / "ours", embeddings) as index:
        add, saved = index.add_documents, str(folder / "theirs")
        texts_of = [Document(f"새 글 {number}", id=f"new{number}") for number in range(40)]

        def add_theirs(number: int) -> None:
            community.add_documents([texts_of[number]], ids=[f"new{number}"])
            community.save_local(saved)

        def delete_theirs(number: int) -> None:
            community.delete([f"new{number}"])
            community.save_local(saved)

        report(
            "add one, durable", timed(40, lambda n: add([texts_of[n]])), timed(5, add_theirs), "ms"
        )
        report(
            "delete one, durable",
            timed(40, lambda n: index.delete([f"new{n}"])),
            timed(5, delete_theirs),
            "ms",
        )
        for size in (10, 100, 1000):
            more = [Document(f"묶음 {size} {n}", id=f"b{size}-{n}") for n in range(size)]
            spent = timed(1, lambda _, more=more: add(more))
            print(f"{f'add {size}, durable':<44} {'':>10} {spent:>10.2f} ms")

        queries = [embeddings.embed_query(f"{number} 물음") for number in range(200)]
        flat = faiss.IndexFlatIP(DIMENSION)
        for start in range(0, len(texts), BATCH):
            flat.add(embeddings.embed_documents_array(texts[start : start + BATCH]))
        rows = np.array(queries, np.float32)
        faiss.omp_set_num_threads(1)
        search = index.vectorstore.similarity_search_by_vector
        raw = timed(200, lambda n: flat.search(rows[n : n + 1], 4))
        ours_dense = timed(200, lambda n: search(queries[n], k=4))
        report("dense query", ours_dense, raw, "ms")
        print(f"{'    over raw FAISS':<44} {'':>10} {ours_dense - raw:>10.3f} ms")

        words = BM25Retriever.from_texts(texts, k=4)
        asked = [texts[number * 37][8:60] for number in range(50)]
        view = index.lexical.view
        report(
            "lexical query",
            timed(50, lambda n: view.search(asked[n], 4)),
            timed(50, lambda n: words.invoke(asked[n])),
            "ms",
        )


def main() -> None:
    """Build what is not there, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--open", choices=("ours", "theirs"))
    options = parser.parse_args()
    if options.open:
        opened(options.folder, options.open)
        return
    texts = pieces(options.texts, options.chunks)
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "theirs").exists():
            build(folder, texts)
        compare(folder, texts)


if __name__ == "__main__":
    main()
