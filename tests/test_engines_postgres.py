"""PostgreSQL with pgvector, for real: equal to the local index where that is promised."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import psycopg
import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from kogemma_rag import DocumentIndex, ExtractiveChatModel, create_rag_chain
from kogemma_rag.engines import is_engine_url, open_engine, postgres_connections
from kogemma_rag.filters import FilterError
from kogemma_rag.morphemes import character_bigrams, content_morphemes
from kogemma_rag.storage_errors import (
    EmbedderMismatchError,
    StorageError,
    StorageLockedError,
    StorageReadOnlyError,
)

SAMPLES = Path(__file__).parents[1] / "examples" / "documents"


@pytest.fixture
def name():
    return f"c_{uuid.uuid4().hex[:20]}"


@pytest.fixture
def index(postgres_url, name):
    with open_engine(postgres_url, CountingEmbeddings(), collection=name) as index:
        yield index


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, postgres_url, name):
        with open_engine(postgres_url, self.get_embeddings(), collection=name) as index:
            yield index.vectorstore


def documents(count):
    words = ["연차휴가는 열다섯 날", "출장비는 영수증으로 정산", "회의실은 두 시간", "재택은 이틀"]
    return [
        Document(f"{words[n % 4]} ({n})", id=f"{n:03d}", metadata={"n": n, "four": n % 4})
        for n in range(count)
    ]


def test_it_is_known_by_its_address():
    assert is_engine_url("postgresql://h/d")
    assert is_engine_url("milvus://h:1")
    assert not is_engine_url("C:/index")
    with pytest.raises(ValueError, match="postgresql://"):
        open_engine("mysql://h", CountingEmbeddings())


def test_searches_equal_those_of_the_local_index(index, tmp_path):
    with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as local:
        for one in (local, index):
            assert one.add_documents(documents(80)) == [d.id for d in documents(80)]
            one.delete(["007", "unknown"])
            one.add_documents([Document("점심은 열두 시", id="012", metadata={"n": 99})])
        for query in ("출장비 영수증", "회의실", "점심 시간", "연차"):
            for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
                options = {"k": 10, "fetch_k": 100, "weights": weights}
                ours = local.as_retriever(**options).search(query)
                theirs = index.as_retriever(**options).search(query)
                assert [d for d, _ in theirs][:3] == [d for d, _ in ours][:3]
                if weights[0]:
                    assert [d for d, _ in theirs] == [d for d, _ in ours]
        with index.candidates("출장비 영수증", 100, None) as found:
            table = {
                document.id: row
                for document, row in zip(
                    found.documents(range(len(found.scores))), found.scores, strict=True
                )
            }
        with local.candidates("출장비 영수증", 100, None) as found:
            rows = found.documents(range(len(found.scores)))
            for document, scores in zip(rows, found.scores, strict=True):
                # tantivy keeps lengths to within an eighth and counts what was deleted.
                np.testing.assert_allclose(table[document.id][0], scores[0], atol=1e-6)
                np.testing.assert_allclose(table[document.id][1:], scores[1:], rtol=0.2)


def bm25(query, texts, analyze):
    """Of each text; k1 1.2, b 0.75."""
    counts = [Counter(analyze(text)) for text in texts]
    average = sum(count.total() for count in counts) / len(counts)
    scores = np.zeros(len(texts))
    for word, asked in Counter(analyze(query)).items():
        known = sum(word in count for count in counts)
        weight = asked * np.log(1 + (len(texts) - known + 0.5) / (known + 0.5))
        for row, count in enumerate(counts):
            length = 1.2 * (0.25 + 0.75 * count.total() / average)
            scores[row] += weight * 2.2 * count[word] / (count[word] + length)
    return scores


def test_words_are_scored_by_bm25_whatever_was_replaced_and_deleted(index):
    index.add_documents(documents(30))
    index.delete([f"{n:03d}" for n in range(0, 30, 4)])
    index.add_documents([Document(f"회의실 회의실 {n}번", id=f"{n:03d}") for n in range(20, 24)])
    query = "회의실 출장비 정산 회의실"
    with index.candidates(query, 100, None) as found:
        texts = [document.page_content for document in found.documents(range(len(found.scores)))]
        scores = found.scores
    assert len(texts) == 23
    for column, analyze in ((1, content_morphemes), (2, character_bigrams)):
        np.testing.assert_allclose(scores[:, column], bm25(query, texts, analyze), atol=1e-4)


FILTERS = [
    {"n": 3},
    {"n": {"$gt": 5, "$lte": 20}},
    {"four": {"$in": [1, 2]}, "n": {"$lt": 30}},
    {"four": {"$nin": [1, 2]}},
    {"n": {"$ne": 3}},
    {"text": {"$like": "가%_나"}},
    {"text": {"$like": "100\\%"}},
    {"text": {"$exists": True}},
    {"$or": [{"n": 1}, {"list": "둘"}]},
    {"$not": {"four": 0}},
    {"list": {"$not": {"$eq": "하나"}}},
    {"list": None},
    {"list": True},
    {"list": 7},
    {"list": 1},
    {"flag": True},
    {"flag": 1},
    {"none": None},
    {"mixed": {"$like": "1%"}},
    {"mixed": {"$gt": "1"}},
    {"mixed": {"$gt": 1}},
    {"text": "'; DROP TABLE x; --"},
    {"이름\"\\'": "값"},
    {"text": {"$gte": "나"}},
]


@pytest.mark.parametrize("condition", FILTERS, ids=json.dumps)
def test_filters_mean_what_they_mean_locally(filtered, condition):
    index, local = filtered
    expected = {d.id for d, _ in local.search("글", k=100, filter=condition)}
    assert {d.id for d, _ in index.search("글", k=100, filter=condition)} == expected


@pytest.fixture(scope="module")
def filtered(postgres_url, tmp_path_factory):
    others = [
        {"text": "가x\n나"},
        {"text": "100%"},
        {"text": "1000"},
        {"list": ["하나", "둘"]},
        {"list": [None, True, 7]},
        {"list": []},
        {"flag": True},
        {"flag": 1},
        {"none": None},
        {"text": "'; DROP TABLE x; --"},
        {"이름\"\\'": "값"},
        {"nested": {"n": 3}},
        {"mixed": 12},
        {"mixed": "12"},
    ]
    chunks = [*documents(40), *(Document("글", metadata=m) for m in others)]
    folder = tmp_path_factory.mktemp("local")
    with (
        open_engine(postgres_url, CountingEmbeddings(), collection="filtered") as index,
        DocumentIndex.open(folder, CountingEmbeddings()) as local,
    ):
        index.add_documents(chunks)
        local.add_documents(chunks)
        yield index, local


def test_unknown_operators_are_refused(index):
    with pytest.raises(FilterError, match=r"unknown operator '\$near'"):
        index.search("글", filter={"n": {"$near": 3}})


def test_a_folder_is_synced_answered_from_and_cited(postgres_url, name, tmp_path):
    from kogemma_rag import MultilingualEmbeddings

    with open_engine(postgres_url, MultilingualEmbeddings(), collection=name) as index:
        first = index.sync(SAMPLES, progress=False)
        again = index.sync(SAMPLES, progress=False)
        assert (first.added, first.failed, again.added, again.unchanged) == (9, (), 0, 9)
        with DocumentIndex.open(tmp_path / "index") as local:
            local.sync(SAMPLES, progress=False)
            ids = {d.id for d, _ in local.search("휴가", k=1000)}
            assert {d.id for d, _ in index.search("휴가", k=1000)} == ids
        answer = create_rag_chain(index.as_retriever(), ExtractiveChatModel()).invoke(
            "재택근무는 한 주에 며칠까지 할 수 있나요?"
        )
        assert answer["citations"]
        assert "재택근무" in answer["citations"][0].source
        info = index.info()
        assert (info["files"], info["chunks"], info["dimension"]) == (9, len(ids), 512)


def test_files_that_change_or_go_are_followed(index, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"글 {number}", encoding="utf-8")
    index.sync(tmp_path, progress=False)
    (tmp_path / "0.txt").unlink()
    (tmp_path / "1.txt").write_text("새 글이다", encoding="utf-8")
    report = index.sync(tmp_path, progress=False)
    assert (report.added, report.updated, report.deleted, report.unchanged) == (0, 1, 1, 1)
    assert sorted(d.page_content for d, _ in index.search("글", k=9)) == ["글 2", "새 글이다"]


def test_what_the_vectorstore_adds_is_found_by_words_too(index):
    index.add_documents(documents(20))
    index.vectorstore.add_documents([Document("양자컴퓨터 연구", id="q")])
    words = index.as_retriever(k=1, weights=(0.0, 1.0, 0.0))
    assert words.invoke("양자컴퓨터")[0].id == "q"
    index.vectorstore.add_documents([Document("해양생물 도감", id="q")])
    assert words.invoke("해양생물")[0].id == "q"
    assert "q" not in [document.id for document in words.invoke("양자컴퓨터")]


def test_langchains_own_class_reads_the_table(index, postgres_url, name):
    from langchain_postgres import PGEngine, PGVectorStore

    index.add_documents([*documents(20), Document("글", id="x", metadata={"가": [1, None]})])
    url = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    engine = PGEngine.from_connection_string(url)
    theirs = PGVectorStore.create_sync(engine, CountingEmbeddings(), name)
    ours = index.vectorstore.similarity_search("회의실", 21)
    assert theirs.similarity_search("회의실", 21) == ours
    engine._run_as_sync(engine.close())


def test_a_graph_finds_the_nearest_too_and_filters_stay_exact(index):
    index.add_documents(documents(60))
    nearest = [d.id for d in index.vectorstore.similarity_search("회의실", 5)]
    index.build_vector_index()
    assert index.info()["vector_index"] == "hnsw"
    assert [d.id for d in index.vectorstore.similarity_search("회의실", 5)] == nearest
    found = index.vectorstore.similarity_search("회의실", 4, filter={"n": {"$gte": 56}})
    assert sorted(d.metadata["n"] for d in found) == [56, 57, 58, 59]


def test_one_writes_at_a_time_and_readers_do_not_wait(index, postgres_url, name, monkeypatch):
    index.add_documents(documents(3))
    monkeypatch.setattr(postgres_connections, "LOCK_TIMEOUT", 0.3)
    with open_engine(postgres_url, CountingEmbeddings(), collection=name) as other:
        with other.vectorstore.table.writing("a test"):
            other.vectorstore.delete(["000"])
            with pytest.raises(StorageLockedError, match=r"kogemma-rag a test"):
                index.add_documents(documents(4))
            assert len(index.search("글", k=9)) == 3
        assert len(index.search("글", k=9)) == 2


def test_what_a_user_may_not_do_is_said(index, postgres_url, name):
    index.add_documents(documents(3))
    role = f"r_{name}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = postgres_url.replace("postgres:@", f"{role}:s3cret@")
    with open_engine(url, CountingEmbeddings(), collection=name) as reader:
        assert len(reader.search("글", k=9)) == 3
        assert "s3cret" not in json.dumps(reader.info())
        with pytest.raises(StorageReadOnlyError, match="grant the right"):
            reader.delete(["000"])
    with (
        open_engine(url, CountingEmbeddings(), collection=f"{name[:30]}_2") as reader,
        pytest.raises(StorageReadOnlyError, match="grant the right"),
    ):
        reader.add_documents(documents(1))


def test_another_embedder_is_refused(index, postgres_url, name):
    index.add_documents(documents(1))
    with pytest.raises(EmbedderMismatchError, match="made with the embedding model"):
        open_engine(postgres_url, CountingEmbeddings(8), collection=name)


def test_a_server_that_does_not_answer_is_said_without_the_password():
    with pytest.raises(StorageError, match="does not answer") as refused:
        open_engine("postgresql://user:s3cret@127.0.0.1:1/db", CountingEmbeddings())
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("bad", ["a; DROP TABLE x", "Großes", "", "1a", "a" * 41])
def test_collections_have_plain_names(postgres_url, bad):
    with pytest.raises(ValueError, match="cannot name a collection"):
        open_engine(postgres_url, CountingEmbeddings(), collection=bad)


def test_hostile_texts_are_kept_or_refused(index):
    text = '\'); DROP TABLE x; -- %s {name} \\ "q" $1 :a'
    index.add_documents([Document(text, id="'; --", metadata={"k'": "v'\\"})])
    assert index.search(text, 1)[0][0] == Document(text, id="'; --", metadata={"k'": "v'\\"})
    strange = Document("가\0나 \ue000 \ue0000", id="\0\ue000", metadata={"\0": ["\0\ue0000", 1]})
    index.add_documents([strange])
    assert index.vectorstore.get_by_ids(["\0\ue000", "\ud800"]) == [strange]
    assert index.search("글", filter={"\0": "\0\ue0000"})[0][0] == strange
    index.delete(["'; --", "\0\ue000", "\ud800"])
    assert index.search("글") == []


CHILD = """
import sys
sys.path.insert(0, {tests!r})
from counting_embeddings import CountingEmbeddings
from kogemma_rag import sync
from kogemma_rag.engines import open_engine
from kogemma_rag import ingest
ingest._BATCH_FILES = 2
index = open_engine({url!r}, CountingEmbeddings(), collection={name!r})
print("ready", flush=True)
index.sync({folder!r}, progress=False)
"""


def test_a_killed_sync_is_resumed_without_loss_or_doubles(postgres_url, name, tmp_path):
    for number in range(60):
        (tmp_path / f"{number:02d}.txt").write_text(f"문서 {number}의 글", encoding="utf-8")
    code = textwrap.dedent(CHILD).format(
        tests=str(Path(__file__).parent), url=postgres_url, name=name, folder=str(tmp_path)
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    deadline = time.monotonic() + 60
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        count = 0
        while not count and child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                sql = f"SELECT COUNT(*) FROM {name}_files"  # noqa: S608 - ours
                [count] = connection.execute(sql).fetchone()
            time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with open_engine(postgres_url, CountingEmbeddings(), collection=name) as index:
        known = index._target.files()
        assert known
        found = {d.metadata["source"] for d, _ in index.search("문서", k=100)}
        assert found == {re.sub(".*/", "", path) for path in known}
        report = index.sync(tmp_path, progress=False)
        assert (report.added, report.unchanged) == (60 - len(known), len(known))
        texts = sorted(d.page_content for d, _ in index.search("문서", k=100))
        assert texts == sorted(f"문서 {number}의 글" for number in range(60))


def test_the_command_line_takes_its_address(postgres_url):
    def run(*arguments):
        command = [sys.executable, "-m", "kogemma_rag", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    samples = Path(__file__).parents[1] / "examples" / "documents"
    assert "추가 9" in run("index", str(samples), "--into", postgres_url)
    asked = run("ask", "재택근무는 한 주에 며칠까지 할 수 있나요?", "--in", postgres_url)
    assert "2일까지" in asked
    assert "재택근무안내.docx" in asked
    assert "vector_index" in run("info", "--in", postgres_url, "--format", "json")
