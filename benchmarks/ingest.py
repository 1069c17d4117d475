"""A sync by its stages, by the number of its workers, and its memory.

    python benchmarks/ingest.py                              # documents made here
    python benchmarks/ingest.py FOLDER --workers 1 2 4 --rounds 3
    python benchmarks/ingest.py --huge 40                    # one text file of 40 MB

"in turn" reads, splits, analyzes, embeds and writes one batch after another, in one thread and a
parser process; the pipeline does the same with parser processes, a thread that embeds and one that
writes. Every sync has a process of its own; rounds take turns, and medians are shown.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kogemma_rag.document_identity import with_id
from kogemma_rag.document_loaders import DocumentLoadError, find_files, load_file
from kogemma_rag.embedder import Embedder
from kogemma_rag.embeddings import MultilingualEmbeddings
from kogemma_rag.index import DocumentIndex
from kogemma_rag.ingest import Batch, FileToRead, Prepared, ReadFile, in_batches, sha256_of
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.storage import Storage
from kogemma_rag.text_splitters import KoreanTextSplitter

NOUNS = (
    "서울 부산 회사 직원 연차 휴가 규정 출장 비용 영수증 계약 문서 회의 보고서 예산 정책 교육 평가 "
    "시험 연구 개발 기술 자료 정보 시스템 데이터 품질 안전 환경 에너지 시장 고객 제품 서비스 가격 "
    "정부 법률 제도 역사 문화 사회 경제 과학 의학 음악 미술 문학 철학 종교 도시 지역 교통 철도 항공"
)
WORDS = NOUNS.split()
PARTICLES = ["은", "는", "이", "가", "을", "를", "에서", "에", "의", "으로", "와", "까지"]
ENDINGS = ["정산한다.", "개최되었다.", "늘어났다.", "검토해야 한다.", "승인받았다.", "기록하였다."]
BATCH = 512


def make_documents(folder: Path, files: int, megabytes: int) -> None:
    """Text files of about three chunks each, or a single one of so many megabytes."""
    chance = random.Random(1)  # noqa: S311
    if megabytes:
        with (folder / "huge.txt").open("w", encoding="utf-8") as file:
            while file.tell() < megabytes << 20:
                file.write(paragraph(chance) + "\n\n")
        return
    for number in range(files):
        text = "\n\n".join(paragraph(chance) for _ in range(chance.randint(1, 8)))
        (folder / f"{number:06d}.txt").write_text(text, encoding="utf-8")


def paragraph(chance: random.Random) -> str:
    """A few sentences."""
    return " ".join(
        " ".join(
            [chance.choice(WORDS) + chance.choice(PARTICLES) for _ in range(chance.randint(4, 12))]
            + [chance.choice(ENDINGS)]
        )
        for _ in range(chance.randint(2, 6))
    )


def in_turn(
    files: Sequence[FileToRead], *, embedder: Embedder | None, analyze: bool
) -> Generator[Batch, None, None]:
    """What the pipeline does, one thing after another."""
    splitter = KoreanTextSplitter()

    def read(file: FileToRead) -> ReadFile:
        try:
            documents = splitter.split_documents(load_file(file.path))
        except DocumentLoadError as error:
            return ReadFile(file, sha256_of(file.path), error.reason)
        for document in documents:
            document.metadata["source"] = file.source
        return ReadFile(file, sha256_of(file.path), None, documents)

    for batch in in_batches(map(read, files)):
        documents = [document for file in batch for document in file.documents]
        vectors = embedder.passages(documents) if embedder else np.empty((0, 0), np.float32)
        words = LexicalIndex.prepare([indexed_text(one) for one in documents]) if analyze else []
        yield Batch(batch, Prepared(vectors, words))


def one_sync(documents: Path, workers: int) -> dict[str, Any]:
    """A sync into a new index, by so many workers, or in turn for none; memory in MB."""
    import psutil

    peak = Peak(psutil.Process())
    with TemporaryDirectory() as folder, DocumentIndex.open(folder) as index:
        index.search("모델을 읽어 둔다")
        peak.start()
        how: dict[str, Any] = {"workers": workers} if workers else {"ingest": in_turn}
        report = index.sync(documents, progress=False, **how)
        peak.stop()
    return {
        "files": report.added,
        "failed": len(report.failed),
        "chunks": report.chunks,
        "seconds": report.seconds,
        **peak.megabytes,
    }


class Peak:
    """The most memory (RSS) of this process and of its children together, seen every 50 ms."""

    def __init__(self, process: Any) -> None:
        import threading

        self._process = process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.megabytes = {"own_mb": 0, "workers_mb": 0}

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._done.wait(0.05):
            try:
                own = self._process.memory_info().rss
                others = sum(child.memory_info().rss for child in self._process.children())
            except psutil.NoSuchProcess:
                continue
            for name, size in (("own_mb", own), ("workers_mb", others)):
                self.megabytes[name] = max(self.megabytes[name], size >> 20)


def stages(documents: Path, most_files: int) -> dict[str, float]:
    """CPU seconds of each stage alone, for a thousand chunks; reading is its wall time."""
    files = find_files(documents)[:most_files]
    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable[[], Any], clock: Callable[[], float]) -> Any:
        start = clock()
        result = function()
        seconds[name] = clock() - start
        return result

    loaded(files[0])  # starts the process
    cpu, wall = time.process_time, time.perf_counter
    read = timed("read, by a process", lambda: [*filter(None, map(loaded, files))], wall)
    splitter = KoreanTextSplitter()
    flat = [document for some in read for document in some]
    chunks = timed("split", lambda: splitter.split_documents(flat), cpu)
    texts = [indexed_text(chunk) for chunk in chunks]
    LexicalIndex.prepare(texts[:1])
    prepared = timed("morphemes", lambda: LexicalIndex.prepare(texts), cpu)
    embedder = Embedder(MultilingualEmbeddings())
    embedder.passages(chunks[:1])
    vectors = timed("embed", lambda: embedder.passages(chunks), cpu)
    with TemporaryDirectory() as folder:
        storage = Storage(Path(folder, "index.sqlite3"))

        def write() -> None:
            for start in range(0, len(chunks), BATCH):
                some = [with_id(chunk, None) for chunk in chunks[start : start + BATCH]]
                with storage.transaction():
                    storage.add(some, vectors[start : start + BATCH])

        timed("write text and vectors", write, cpu)
        storage.close()
        lexical = LexicalIndex(Path(folder, "lexical"))

        def update() -> None:
            for start in range(0, len(prepared), BATCH):
                keyed = enumerate(prepared[start : start + BATCH], start + 1)
                lexical.update(added=keyed, deleted=[], generation=start + 1)

        timed("write words", update, cpu)
        lexical.close()
    return {name: 1000 * value / len(chunks) for name, value in seconds.items()}


def loaded(file: Path) -> list[Any] | None:
    """The documents of a file, if it can be read."""
    try:
        return load_file(file)
    except DocumentLoadError:
        return None


def median(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number."""
    rows = list(results)
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="documents; made here by default")
    parser.add_argument("--files", type=int, default=1000, help="to make")
    parser.add_argument("--huge", type=int, default=0, help="make one file of so many megabytes")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stage-files", type=int, default=300, help="for the stages; 0: without")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(one_sync(arguments.folder, arguments.one)))
        return
    with TemporaryDirectory() as made:
        folder = arguments.folder or Path(made)
        if arguments.folder is None:
            make_documents(folder, arguments.files, arguments.huge)
        figures: dict[str, Any] = {}
        if arguments.stage_files and not arguments.huge:
            figures["stages"] = stages(folder, arguments.stage_files)
            for name, value in figures["stages"].items():
                print(f"{name}: {value:.2f} s for 1,000 chunks")
        runs: dict[int, list[dict[str, Any]]] = {count: [] for count in (0, *arguments.workers)}
        for _ in range(arguments.rounds):
            for count, results in runs.items():
                command = [sys.executable, __file__, str(folder), "--one", str(count)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603
                results.append(json.loads(output.stdout))
        figures["syncs"] = {count: median(results) for count, results in runs.items()}
        for count, row in figures["syncs"].items():
            print(
                f"{f'{count} workers' if count else 'in turn'}: "
                f"{row['files'] / row['seconds']:.0f} files/s, "
                f"{row['chunks'] / row['seconds']:.0f} chunks/s, "
                f"{figures['syncs'][0]['seconds'] / row['seconds']:.2f} times in turn; "
                f"{row['own_mb']:.0f} MB and {row['workers_mb']:.0f} MB in workers"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
