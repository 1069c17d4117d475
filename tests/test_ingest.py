"""The pipeline from files to batches, and chunks as parser processes make them."""

import threading
import time

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings

from kogemma_rag import ingest
from kogemma_rag.chunk_readers import ChunkReaders
from kogemma_rag.document_loaders import load_file, parser_pool
from kogemma_rag.document_loaders.sandbox import ParserProcess
from kogemma_rag.embedder import Embedder
from kogemma_rag.ingest import FileToRead, sha256_of
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.text_splitters import KoreanTextSplitter


@pytest.fixture
def files(tmp_path):
    """Twenty files of growing size, one of them damaged and one empty."""
    for number in range(20):
        path = tmp_path / f"{number:02d}.md"
        text = "서울은 한국의 수도이다. 부산은 항구 도시이다. " * number * 9
        path.write_text(f"# {number}장\n\n{text}")
    (tmp_path / "03.md").write_text("")
    (tmp_path / "04.md").rename(tmp_path / "04.docx")
    return [FileToRead(path, path.name) for path in sorted(tmp_path.iterdir())]


def run(files, *, embedder=None, analyze=True, workers=1):
    return list(ingest.ingest(files, embedder=embedder, analyze=analyze, workers=workers))


def expected_chunks(path):
    documents = load_file(path, root=path.parent)
    return KoreanTextSplitter().split_documents(documents)


@pytest.mark.parametrize("workers", [1, 3])
def test_what_comes_out_is_what_each_step_makes_alone(files, workers, monkeypatch):
    monkeypatch.setattr(parser_pool, "_START_SECONDS", 0.0)
    monkeypatch.setattr(ingest, "_BATCH_CHUNKS", 20)
    embedder = Embedder(CountingEmbeddings())
    batches = run(files, embedder=embedder, workers=workers)
    read = [file for batch in batches for file in batch.files]
    assert [file.file for file in read] == files
    assert [file.file.source for file in read if file.error] == ["03.md", "04.docx"]
    assert all(file.sha256 == sha256_of(file.file.path) for file in read)
    assert len(batches) > 3
    for batch in batches:
        good = [file for file in batch.files if not file.error]
        chunks = [chunk for file in good for chunk in expected_chunks(file.file.path)]
        assert [chunk for file in batch.files for chunk in file.documents] == chunks
        assert np.array_equal(batch.prepared.vectors, embedder.passages(chunks))
        assert list(batch.prepared.analyzed) == LexicalIndex.prepare(
            [indexed_text(chunk) for chunk in chunks]
        )


def test_a_very_large_file_waits_on_disk(files, monkeypatch):
    embedder = Embedder(CountingEmbeddings())
    monkeypatch.setattr(ingest, "_BATCH_CHUNKS", 9)
    expected = run(files, embedder=embedder)
    monkeypatch.setattr(ingest, "_SLICE_CHUNKS", 2)
    monkeypatch.setattr(ingest, "_MOST_IN_MEMORY", 5)
    batches = run(files, embedder=embedder)
    spooled = [batch for batch in batches if isinstance(batch.prepared.vectors, np.memmap)]
    assert spooled
    assert [len(batch.files) for batch in batches if len(batch.files[-1].documents) >= 9] == [1] * 5
    for batch, before in zip(batches, expected, strict=True):
        assert [list(file.documents) for file in batch.files] == [
            list(file.documents) for file in before.files
        ]
        assert np.array_equal(batch.prepared.vectors, before.prepared.vectors)
        assert list(batch.prepared.analyzed) == list(before.prepared.analyzed)
    documents = spooled[-1].files[-1].documents
    assert not isinstance(documents, list)
    assert documents[2:5] == list(documents)[2:5]
    assert documents[-1] == list(documents)[-1]
    with pytest.raises(IndexError):
        documents[len(documents)]
    [batch] = run(files[-1:], analyze=False)
    assert len(batch.files[0].documents) > 5
    assert list(batch.prepared.analyzed) == []


def test_only_what_is_wanted_is_computed(files):
    [batch] = run(files[5:7], analyze=False)
    assert (batch.prepared.vectors.shape, batch.prepared.analyzed) == ((0, 0), [])
    assert sum(len(file.documents) for file in batch.files) > 1


def test_a_file_that_cannot_be_opened_has_no_hash(tmp_path):
    [batch] = run([FileToRead(tmp_path / "없음.txt", "없음.txt")])
    [file] = batch.files
    assert (file.sha256, list(file.documents)) == ("", [])
    assert file.error.startswith("파일을 열 수 없습니다")


def test_nothing_is_read_far_ahead_of_what_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "_BATCH_FILES", 1)
    begun = []
    read = ChunkReaders.read

    def noted(self, path, source, **options):
        begun.append(path)
        return read(self, path, source, **options)

    monkeypatch.setattr(ChunkReaders, "read", noted)
    for number in range(40):
        (tmp_path / f"{number:02d}.txt").write_text("글")
    files = [FileToRead(path, path.name) for path in sorted(tmp_path.iterdir())]
    batches = ingest.ingest(files, embedder=None, analyze=False, workers=2)
    next(batches)
    # One taken; one that waits and one in hand, embedded and gathered; four for each worker, of
    # which the first is in hand already.
    most = 5 + 2 * ingest._FILES_AHEAD - 1
    end = time.monotonic() + 30
    while len(begun) < most:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.5)
    assert len(begun) == most
    assert sum(1 for _ in batches) == 39


def test_closing_it_ends_its_threads_and_processes(files, monkeypatch):
    monkeypatch.setattr(parser_pool, "_START_SECONDS", 0.0)
    monkeypatch.setattr(ingest, "_BATCH_FILES", 1)
    before = set(threading.enumerate())
    started = []
    begin, running = ChunkReaders._started, ParserProcess._running
    closed = threading.Event()

    def noted(self):
        started.append(begin(self))
        return started[-1]

    def slow(self):
        if self is not started[0]:
            closed.wait()  # it starts when all is over
        return running(self)

    monkeypatch.setattr(ChunkReaders, "_started", noted)
    monkeypatch.setattr(ParserProcess, "_running", slow)
    batches = ingest.ingest(files[:1] * 9, embedder=None, analyze=True, workers=3)
    next(batches)
    batches.close()
    closed.set()
    end = time.monotonic() + 30
    while (left := set(threading.enumerate()) - before) or any(one._process for one in started):
        assert time.monotonic() < end, left
        time.sleep(0.02)
    assert len(started) == 3


def test_a_parser_process_is_kept_for_the_next_time(files):
    run(files[:1])
    kept = list(parser_pool._idle["kogemma_rag.chunk_worker"])
    running = [process._process for process in kept]
    run(files[:2])
    still = parser_pool._idle["kogemma_rag.chunk_worker"]
    assert set(kept) <= set(still)
    assert [process._process for process in kept] == running


def test_more_processes_start_only_while_there_is_work(files, monkeypatch):
    run(files[:1])  # one is there
    pools = []
    enter = ChunkReaders.__enter__
    monkeypatch.setattr(ChunkReaders, "__enter__", lambda self: pools.append(self) or enter(self))
    monkeypatch.setattr(parser_pool, "_START_SECONDS", 60.0)
    run(files, workers=4)
    monkeypatch.setattr(parser_pool, "_START_SECONDS", 0.0)
    run(files, workers=4)
    used = [pool._next_start for pool in pools]
    assert used[0] < float("inf")  # not all of the four
    assert used[1] == float("inf")
