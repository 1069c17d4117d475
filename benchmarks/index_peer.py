"""The index against langchain-community's FAISS and BM25Retriever, side by side in one run.

python benchmarks/index_peer.py FOLDER --texts kowiki_paragraphs.tsv.xz [--chunks 100000]

Needs langchain-community and rank_bm25, best in a virtual environment of their own that sees this
one's packages. Chunks and vectors are those of million.py. Both indexes are made once and kept in
FOLDER; each measurement is a process of its own on one core, after its imports. Ratios are of the
peer's median to ours, on the wall clock and of the processor's time: on a busy machine the latter
mean more, though they miss the waiting for a disk, which only ours does (the peer's save_local
neither flushes nor renames).
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from million import BATCH, BLOCK, PreparedEmbeddings, Texts, block_of_vectors, memory, timed, unit

Times = list[tuple[float, float]]
K = 4
ROUNDS = 9
STEPS = {}


def step(call: Callable[[argparse.Namespace], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a function one that a process of its own can be told to run."""
    STEPS[call.__name__] = call
    return call


def medians(times: Times) -> list[float]:
    """Of the wall clock and of the processor, in milliseconds."""
    return [statistics.median(each) for each in zip(*times, strict=True)]


def memory_now() -> float:
    """MiB of this process, from where its highest is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def opened(answer: Callable[[], None]) -> dict[str, Any]:
    """Time and memory of an answer; memory at its highest, and what is no mapped file."""
    before, anonymous = memory_now(), memory("RssAnon")
    return {
        "times": [timed(answer)],
        "mib": memory("VmHWM") - before,
        "anonymous": memory("RssAnon") - anonymous,
    }


def vectors(count: int) -> np.ndarray:
    """Of the first chunks."""
    blocks = [block_of_vectors(number) for number in range(-(-count // BLOCK))]
    return np.concatenate(blocks)[:count]


def query_vectors(count: int) -> np.ndarray:
    """Near to some chunks of the first block."""
    noise = np.random.default_rng(3).standard_normal((count, 384), np.float32)
    return unit(block_of_vectors(0)[:count] + noise * (0.5 / 384**0.5))


def new_chunks(options: argparse.Namespace, count: int) -> tuple[list[Document], np.ndarray]:
    """Chunks that are in no index yet."""
    texts = Texts(options.texts)
    numbers = range(options.chunks + 10, options.chunks + 10 + count)
    return [texts.document(number) for number in numbers], block_of_vectors(9999)[:count]


def open_ours(folder: Path, embeddings: PreparedEmbeddings) -> Any:
    """The vector store alone, of an index with words beside it."""
    from kogemma_rag import FaissVectorStore

    return FaissVectorStore(embeddings, folder)


def open_peer(folder: Path) -> Any:
    """As its documentation says."""
    from langchain_community.vectorstores import FAISS

    return FAISS.load_local(str(folder), PreparedEmbeddings(), allow_dangerous_deserialization=True)


@step
def build(options: argparse.Namespace) -> dict[str, Any]:
    """Make both indexes, where they are not yet."""
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy

    from kogemma_rag import DocumentIndex

    texts, embeddings, rows = Texts(options.texts), PreparedEmbeddings(), vectors(options.chunks)
    documents = [texts.document(number) for number in range(options.chunks)]
    with DocumentIndex.open(options.folder / "ours", embeddings) as index:
        for start in range(index.info()["chunks"], options.chunks, BATCH):
            embeddings.passages = rows[start:]
            index.add_documents(documents[start : start + BATCH])
    if not (options.folder / "peer").exists():
        peer = FAISS.from_embeddings(
            [
                (document.page_content, row.tolist())
                for document, row in zip(documents, rows, strict=True)
            ],
            embeddings,
            metadatas=[document.metadata for document in documents],
            distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
        )
        peer.save_local(str(options.folder / "peer"))
    return {}


@step
def opening_ours(options: argparse.Namespace) -> dict[str, Any]:
    """The vector store's first answer."""
    import faiss  # noqa: F401 - not timed, here or there

    import kogemma_rag.vectorstores  # noqa: F401

    query = query_vectors(1)[0].tolist()
    store: list[Any] = []

    def answer() -> None:
        store.append(open_ours(options.folder / "ours", PreparedEmbeddings()))
        store[0].similarity_search_by_vector(query, K)

    return opened(answer)


@step
def opening_index(options: argparse.Namespace) -> dict[str, Any]:
    """The whole index's first answer, by meaning and words."""
    import faiss  # noqa: F401
    import tantivy  # noqa: F401

    from kogemma_rag import DocumentIndex

    embeddings = PreparedEmbeddings()
    embeddings.queries = {"서울의 역사": query_vectors(1)[0]}
    index: list[DocumentIndex] = []

    def answer() -> None:
        index.append(DocumentIndex.open(options.folder / "ours", embeddings))
        index[0].search("서울의 역사")

    return opened(answer)


@step
def opening_peer(options: argparse.Namespace) -> dict[str, Any]:
    """Its vector store's first answer."""
    import faiss  # noqa: F401
    import langchain_community.vectorstores.faiss  # noqa: F401

    query = query_vectors(1)[0].tolist()
    store: list[Any] = []

    def answer() -> None:
        store.append(open_peer(options.folder / "peer"))
        store[0].similarity_search_by_vector(query, K)

    return opened(answer)


@step
def changing_ours(options: argparse.Namespace) -> dict[str, Any]:
    """Add and delete, until durable: the vector store alone, and with the words."""
    from kogemma_rag import DocumentIndex

    documents, rows = new_chunks(options, 1000)
    embeddings = PreparedEmbeddings()
    embeddings.passages = rows
    store = open_ours(options.folder / "ours", embeddings)
    result = changes(store.add_documents, store.delete, documents)
    store.storage.close()
    with DocumentIndex.open(options.folder / "ours", embeddings) as index:
        whole = changes(index.add_documents, index.delete, documents)
    return {**result, **{f"index, {name}": times for name, times in whole.items()}}


@step
def changing_peer(options: argparse.Namespace) -> dict[str, Any]:
    """Add and delete, and save_local; on a copy."""
    documents, rows = new_chunks(options, 1000)
    copy = options.folder / "copy"
    shutil.copytree(options.folder / "peer", copy, dirs_exist_ok=True)
    store = open_peer(copy)

    def add(some: list[Document]) -> list[str]:
        pairs = [
            (document.page_content, row.tolist()) for document, row in zip(some, rows, strict=False)
        ]
        ids: list[str] = store.add_embeddings(pairs)
        store.save_local(str(copy))
        return ids

    def delete(ids: list[str]) -> None:
        store.delete(ids)
        store.save_local(str(copy))

    result = changes(add, delete, documents)
    shutil.rmtree(copy)
    return result


def changes(
    add: Callable[[list[Document]], list[str]],
    delete: Callable[[list[str]], Any],
    documents: list[Document],
) -> dict[str, Times]:
    """Times of changes of several sizes; afterwards all is as it was."""
    result: dict[str, Times] = {}
    for count in (1, 10, 100, 1000):
        added, deleted = [], []
        for _ in range(ROUNDS if count == 1 else 3):
            ids: list[str] = []
            added.append(timed(lambda ids=ids, n=count: ids.extend(add(documents[:n]))))
            deleted.append(timed(lambda ids=ids: delete(ids)))
        result |= {f"add {count}": added, f"delete {count}": deleted}
    return result


@step
def dense(options: argparse.Namespace) -> dict[str, Any]:
    """Queries by vector: ours, the peer's, and FAISS alone over the peer's flat index."""
    import faiss

    faiss.omp_set_num_threads(1)
    ours, peer = (
        open_ours(options.folder / "ours", PreparedEmbeddings()),
        open_peer(options.folder / "peer"),
    )
    queries = query_vectors(60)
    result: dict[str, Times] = {"ours": [], "peer": [], "raw": []}
    same = 0
    for query in queries:
        found: list[Any] = []
        row = query.tolist()
        result["raw"].append(timed(lambda q=query: peer.index.search(q[None], K)))
        result["ours"].append(
            timed(lambda r=row, f=found: f.append(ours.similarity_search_by_vector(r, K)))
        )
        result["peer"].append(
            timed(lambda r=row, f=found: f.append(peer.similarity_search_by_vector(r, K)))
        )
        one, other = ([each.page_content for each in documents] for documents in found)
        same += one == other
    return {**result, "same answers": same / len(queries), "kind": ours.vector_index.view.kind}


@step
def lexical(options: argparse.Namespace) -> dict[str, Any]:
    """Queries by words, with the documents; the peer's by blanks, and with our words."""
    from langchain_community.retrievers import BM25Retriever

    from kogemma_rag import DocumentIndex
    from kogemma_rag.morphemes import content_morphemes

    texts = Texts(options.texts)
    choose = random.Random(4)  # noqa: S311
    queries = []
    for _ in range(30):
        words = texts[choose.randrange(options.chunks)].split()
        start = choose.randrange(max(1, len(words) - 6))
        queries.append(" ".join(words[start : start + 5]))
    documents = [texts.document(number) for number in range(options.chunks)]
    result: dict[str, Times] = {}
    with DocumentIndex.open(options.folder / "ours", PreparedEmbeddings()) as index:
        storage, words = index.vectorstore.storage, index.lexical.view
        find = lambda query: storage.documents([key for key in words.search(query, K)])  # noqa: E731, C416
        find(queries[0])
        result["ours"] = [timed(lambda query=query: find(query)) for query in queries]
    for name, preprocess in {"blanks": str.split, "morphemes": content_morphemes}.items():
        peer = BM25Retriever.from_documents(documents, k=K, preprocess_func=preprocess)
        peer.invoke(queries[0])
        result[name] = [timed(lambda query=query, p=peer: p.invoke(query)) for query in queries]
    return result


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Give what a step finds in a process of its own."""
    command = [sys.executable, __file__, str(options.folder), "--texts", str(options.texts)]
    done = subprocess.run(  # noqa: S603 - this very file
        [*command, "--chunks", str(options.chunks), "--step", name],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, peer: Times, ours: Times, floor: str = "") -> None:
    """Print a ratio."""
    (peer_wall, peer_cpu), (wall, cpu) = medians(peer), medians(ours)
    print(
        f"{name:34} {peer_wall:9.2f} / {wall:8.2f} ms = {peer_wall / wall:6.1f}"
        f"   CPU {peer_cpu:9.2f} / {cpu:8.2f} ms = {peer_cpu / cpu:6.1f}   {floor}"
    )


def report(options: argparse.Namespace) -> None:
    """Run everything and print peer / ours."""
    run("build", options)
    steps = ("opening_peer", "opening_ours", "opening_index")
    found_in = [{name: run(name, options) for name in steps} for _ in range(5)]
    times = {name: [time for found in found_in for time in found[name]["times"]] for name in steps}
    print(f"{options.chunks} chunks; peer / ours")
    for name in ("opening_ours", "opening_index"):
        line(f"open, first answer ({name[8:]})", times["opening_peer"], times[name], "floor 8")
        for kind, label in {"mib": "memory", "anonymous": "without mapped files"}.items():
            of_peer, of_ours = (
                statistics.median(found[each][kind] for found in found_in)
                for each in ("opening_peer", name)
            )
            print(
                f"{'  ' + label:34} {of_peer:9.1f} / {of_ours:8.1f} MiB = "
                f"{of_peer / max(of_ours, 0.1):5.1f}   floor 5"
            )
    peer, ours = run("changing_peer", options), run("changing_ours", options)
    for name, changed in ours.items():
        floor = "floor 20" if name.endswith(" 1") else ""
        line(name, peer[name.removeprefix("index, ")], changed, floor)
    found = run("lexical", options)
    line("words, peer splits at blanks", found["blanks"], found["ours"], "floor 100")
    line("words, peer with our morphemes", found["morphemes"], found["ours"], "floor 100")
    found = run("dense", options)
    line("meaning, peer", found["peer"], found["ours"])
    line("meaning, raw FAISS", found["raw"], found["ours"])
    over = [a - b for a, b in zip(medians(found["ours"]), medians(found["raw"]), strict=True)]
    print(f"over raw FAISS: {over[0]:.2f} ms, CPU {over[1]:.2f} ms; at most 0.3 is asked for")
    print(f"same answers: {found['same answers']:.3f}; vectors are {found['kind']}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is None:
        options.folder.mkdir(parents=True, exist_ok=True)
        report(options)
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(STEPS[options.step](options)))


if __name__ == "__main__":
    main()
