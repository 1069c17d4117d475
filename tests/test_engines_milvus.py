"""Milvus Lite's server, for real: equal to the local index where that is promised."""

import json
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from kogemma_rag import DocumentIndex, ExtractiveChatModel, create_rag_chain
from kogemma_rag.engines import open_engine
from kogemma_rag.filters import FilterError
from kogemma_rag.storage_errors import EmbedderMismatchError, StorageError

SAMPLES = Path(__file__).parents[1] / "examples" / "documents"


@pytest.fixture
def name():
    return f"c_{uuid.uuid4().hex[:20]}"


@pytest.fixture
def index(milvus_url, name):
    with open_engine(milvus_url, CountingEmbeddings(), collection=name) as index:
        yield index


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, milvus_url, name):
        with open_engine(milvus_url, self.get_embeddings(), collection=name) as index:
            yield index.vectorstore


def documents(count):
    words = ["연차휴가는 열다섯 날", "출장비는 영수증으로 정산", "회의실은 두 시간", "재택은 이틀"]
    return [
        Document(f"{words[n % 4]} ({n})", id=f"{n:03d}", metadata={"n": n, "four": n % 4})
        for n in range(count)
    ]


def test_searches_equal_those_of_the_local_index(index, tmp_path):
    with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as local:
        for one in (local, index):
            assert one.add_documents(documents(60)) == [d.id for d in documents(60)]
            one.delete(["007", "unknown"])
            one.add_documents([Document("점심은 열두 시", id="012", metadata={"n": 99})])
        for query in ("출장비 영수증", "회의실"):
            for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
                options = {"k": 10, "fetch_k": 100, "weights": weights}
                ours = local.as_retriever(**options).search(query)
                theirs = index.as_retriever(**options).search(query)
                assert [d for d, _ in theirs][:3] == [d for d, _ in ours][:3]
                if weights[0]:
                    assert [d for d, _ in theirs] == [d for d, _ in ours]


FILTERS = [
    {"n": 3},
    {"n": 3.0},
    {"n": {"$gt": 5, "$lte": 20}},
    {"four": {"$in": [1, 2]}, "n": {"$lt": 30}},
    {"four": {"$nin": [1, 2]}},
    {"n": {"$ne": 3}},
    {"n": {"$lt": float("inf")}},
    {"$not": {"n": {"$gt": 5}}},
    {"text": {"$like": "가%_나"}},
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
    {"flag": {"$gte": 1}},
    {"none": None},
    {"mixed": {"$like": "1%"}},
    {"mixed": {"$gt": "1"}},
    {"mixed": {"$gt": 1}},
    {"text": "'; DROP TABLE x; --"},
    {"이름\"\\'": "값"},
    {"이름\"\\'": {"$gte": '"\\'}},
    {"text": {"$gte": "나"}},
    {'x"] == 1 or pk != "': {"$gte": 1}},
]


@pytest.fixture(scope="module")
def filtered(milvus_url, tmp_path_factory):
    others = [
        {"text": "가x\n나"},
        {"text": "100%"},
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
        open_engine(milvus_url, CountingEmbeddings(), collection="filtered") as index,
        DocumentIndex.open(folder, CountingEmbeddings()) as local,
    ):
        index.add_documents(chunks)
        local.add_documents(chunks)
        yield index, local


@pytest.mark.parametrize("condition", FILTERS, ids=json.dumps)
def test_filters_mean_what_they_mean_locally(filtered, condition):
    index, local = filtered
    expected = {d.id for d, _ in local.search("글", k=100, filter=condition)}
    assert {d.id for d, _ in index.search("글", k=100, filter=condition)} == expected


@pytest.mark.parametrize(
    "condition",
    [
        {"n": {"$near": 3}},
        {"text": {"$like": "100\\%"}},
        {"text": {"$gt": "가\n"}},
        {"a\0": {"$lt": 1}},
    ],
    ids=json.dumps,
)
def test_what_milvus_cannot_say_is_refused(filtered, condition):
    index, _ = filtered
    with pytest.raises(FilterError):
        index.search("글", filter=condition)


def test_a_folder_is_synced_answered_from_and_cited(milvus_url, name, tmp_path):
    with open_engine(milvus_url, collection=name) as index:
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
        assert "재택근무" in answer["citations"][0].source
        info = index.info()
        assert (info["files"], info["chunks"], info["dimension"]) == (9, len(ids), 512)
        with index.candidates("재택근무", 10, None) as found:
            [first_found] = found.documents([0])
            siblings = found.siblings(first_found)
        assert first_found in siblings
        assert {d.metadata["source"] for d in siblings} == {first_found.metadata["source"]}


def test_files_that_change_or_go_are_followed(index, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"글 {number}", encoding="utf-8")
    index.sync(tmp_path, progress=False)
    (tmp_path / "0.txt").unlink()
    (tmp_path / "1.txt").write_text("새 글이다", encoding="utf-8")
    report = index.sync(tmp_path, progress=False)
    assert (report.added, report.updated, report.deleted, report.unchanged) == (0, 1, 1, 1)
    assert sorted(d.page_content for d, _ in index.search("글", k=9)) == ["글 2", "새 글이다"]


def test_langchains_own_class_reads_the_collection(index, milvus_url, name):
    from langchain_milvus import Milvus

    index.add_documents(documents(20))
    theirs = Milvus(
        CountingEmbeddings(),
        collection_name=name,
        connection_args={"uri": milvus_url.replace("milvus://", "http://")},
        metadata_field="metadata",
        index_params={"index_type": "FLAT", "metric_type": "COSINE"},
    )
    ours = index.vectorstore.similarity_search("회의실", 20)
    found = theirs.similarity_search("회의실", 20)
    assert [(d.page_content, d.metadata) for d in found] == [
        (d.page_content, d.metadata) for d in ours
    ]


def test_another_embedder_is_refused(index, milvus_url, name):
    index.add_documents(documents(1))
    with pytest.raises(EmbedderMismatchError, match="made with the embedding model"):
        open_engine(milvus_url, CountingEmbeddings(8), collection=name)


def test_a_server_that_does_not_answer_is_said_without_the_password():
    with pytest.raises(StorageError, match="does not answer") as refused:
        open_engine("milvus://user:s3cret@127.0.0.1:1/db", CountingEmbeddings())
    assert "s3cret" not in str(refused.value)


def test_hostile_texts_are_kept_and_too_long_ones_refused(index):
    strange = Document("글 \0 ') or 1 == 1 {x}", id="' or pk != '", metadata={"k'\0": "v'\\\n"})
    index.add_documents([strange])
    assert index.search("글", 1, {"k'\0": "v'\\\n"})[0][0] == strange
    index.delete(['x"] or pk != "', "\ud800"])
    assert index.vectorstore.get_by_ids(["' or pk != '", "\ud800"]) == [strange]
    with pytest.raises(ValueError, match="split it"):
        index.add_documents([Document("가" * 30_000)])


def test_a_graph_finds_the_nearest_too(index):
    index.add_documents(documents(50))
    nearest = [d.id for d in index.vectorstore.similarity_search("회의실", 5)]
    index.build_vector_index()
    assert index.info()["vector_index"] == "hnsw"
    assert [d.id for d in index.vectorstore.similarity_search("회의실", 5)] == nearest


CHILD = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from counting_embeddings import CountingEmbeddings
from kogemma_rag import ingest
from kogemma_rag.engines import milvus, open_engine
ingest._BATCH_FILES = 4
calls = 0
step = milvus.MilvusTable.{step}
def killed(*args, **kwargs):
    global calls
    calls += 1
    step(*args, **kwargs)
    if calls == 2:
        os.kill(os.getpid(), signal.SIGKILL)
milvus.MilvusTable.{step} = killed
open_engine({url!r}, CountingEmbeddings(), collection={name!r}).sync({folder!r}, progress=False)
"""


@pytest.mark.parametrize("step", ["put", "_drop"])
def test_a_killed_sync_is_resumed_without_loss_or_doubles(milvus_url, name, tmp_path, step):
    for number in range(12):
        (tmp_path / f"{number:02d}.txt").write_text(f"문서 {number}의 글", encoding="utf-8")
    code = textwrap.dedent(CHILD).format(
        tests=str(Path(__file__).parent), url=milvus_url, name=name, folder=str(tmp_path), step=step
    )
    child = subprocess.run([sys.executable, "-c", code], check=False)
    assert child.returncode == -signal.SIGKILL
    (tmp_path / "05.txt").unlink()  # its chunks were written and never recorded
    with open_engine(milvus_url, CountingEmbeddings(), collection=name) as index:
        index.sync(tmp_path, progress=False)
        texts = sorted(d.page_content for d, _ in index.search("문서", k=100))
        assert texts == sorted(f"문서 {number}의 글" for number in range(12) if number != 5)
        assert index.sync(tmp_path, progress=False).unchanged == 11
        assert index.info()["files"] == 11
