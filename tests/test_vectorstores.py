"""LangChain's own suite, and everything compared with plain numpy."""

import asyncio
import shutil
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from kogemma_rag import FaissVectorStore
from kogemma_rag.embedder import Embedder
from kogemma_rag.storage_errors import EmbedderMismatchError, StorageError


class TestInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        store = FaissVectorStore(self.get_embeddings())
        yield store
        store.close()


class TestInFolder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = FaissVectorStore(self.get_embeddings(), tmp_path)
        yield store
        store.close()


class TableEmbeddings(Embeddings):
    """Looks vectors up, so that tests decide them."""

    def __init__(self, table):
        self.table = table

    def embed_documents(self, texts):
        return [self.table[text] for text in texts]

    def embed_query(self, text):
        return self.table[text]


class Model:
    """What the store must be equal to: a dict, and cosines over all of it."""

    def __init__(self, embedding):
        self.embedding = embedding
        self.documents = {}

    def search(self, query, k, holds=lambda metadata: True):
        query = np.array(self.embedding.embed_query(query))
        scored = []
        for id_, document in self.documents.items():
            if holds(document.metadata):
                vector = np.array(self.embedding.embed_documents([document.page_content])[0])
                cosine = vector @ query / np.linalg.norm(vector) / np.linalg.norm(query)
                scored.append((id_, (1 + cosine) / 2))
        return sorted(scored, key=lambda one: (-one[1], one[0]))[:k]


def found_by(store, query, k, **options):
    found = store.similarity_search_with_score(query, k, **options)
    return [document.id for document, _ in found], [score for _, score in found]


def check_equal(store, model, query, k, holds=lambda metadata: True, **options):
    expected = model.search(query, k, holds)
    ids, scores = found_by(store, query, k, **options)
    assert ids == [id_ for id_, _ in expected]
    np.testing.assert_allclose(scores, [score for _, score in expected], atol=1e-6)


@pytest.mark.parametrize("in_folder", [False, True])
def test_equals_brute_force_with_upserts_deletes_and_filters(tmp_path, monkeypatch, in_folder):
    monkeypatch.setattr("kogemma_rag.vector_index._TAIL", 20)  # so that files are made and merged
    embedding = DeterministicFakeEmbedding(size=12)
    store = FaissVectorStore(embedding, tmp_path if in_folder else None)
    model = Model(embedding)
    rng = np.random.default_rng(5)
    for step in range(12):
        ids = [str(number) for number in rng.integers(0, 150, 30)]
        documents = [
            Document(id=id_, page_content=f"{id_} {step}", metadata={"m": int(id_) % 7, "s": step})
            for id_ in ids
        ]
        assert store.add_documents(documents) == ids
        model.documents |= {document.id: document for document in documents}
        gone = [str(number) for number in rng.integers(0, 200, 15)]
        store.delete(gone)
        for id_ in gone:
            model.documents.pop(id_, None)
        query = f"query {step}"
        check_equal(store, model, query, 5)
        check_equal(store, model, query, 500)
        check_equal(store, model, query, 4, lambda m: m["m"] == 3, filter={"m": 3})
        for_both = {"m": {"$in": [1, 2]}, "s": {"$lt": 6}}
        check_equal(
            store, model, query, 9, lambda m: m["m"] in (1, 2) and m["s"] < 6, filter=for_both
        )
        if in_folder and step % 4 == 3:
            assert list((tmp_path / "vectors").iterdir())
            store.close()
            store = FaissVectorStore(embedding, tmp_path)
    everything = sorted(model.documents)
    assert store.get_by_ids(everything) == [model.documents[id_] for id_ in everything]
    store.storage.verify()


def test_scores_are_the_same_to_the_last_bit_after_reopening_and_rebuilding(tmp_path):
    embedding = DeterministicFakeEmbedding(size=33)
    store = FaissVectorStore(embedding, tmp_path)
    store.add_texts([f"글 {number}" for number in range(400)])
    store.rebuild()
    queries = [f"물음 {number}" for number in range(20)]
    before = [found_by(store, query, 10) for query in queries]
    store.close()
    store = FaissVectorStore(embedding, tmp_path)
    assert [found_by(store, query, 10) for query in queries] == before
    shutil.rmtree(tmp_path / "vectors")
    store.close()
    store = FaissVectorStore(embedding, tmp_path)
    assert [found_by(store, query, 10) for query in queries] == before
    store.rebuild()
    assert [found_by(store, query, 10) for query in queries] == before


def test_scores_run_from_nought_to_one_and_identical_is_one():
    table = {
        "same": [3.0, 4.0],
        "across": [-4.0, 3.0],
        "opposite": [-0.3, -0.4],
        "none": [0.0, 0.0],
    }
    store = FaissVectorStore(TableEmbeddings(table))
    store.add_texts(list(table), ids=list(table))
    ids, scores = found_by(store, "same", 4)
    assert ids == ["same", "across", "none", "opposite"]
    assert scores == [1.0, 0.5, 0.5, 0.0]
    assert found_by(store, "none", 1) == (["across"], [0.5])
    found = store.similarity_search_with_relevance_scores("same", k=4, score_threshold=0.5)
    assert [document.id for document, _ in found] == ["same", "across", "none"]


def test_length_of_vectors_does_not_matter():
    table = {"small": [1e-30, 0.0], "large": [1e30, 1e29], "q": [1e-200, 0.0]}
    store = FaissVectorStore(TableEmbeddings(table))
    store.add_texts(["small", "large"], ids=["small", "large"])
    ids, scores = found_by(store, "q", 2)
    assert ids == ["small", "large"]
    np.testing.assert_allclose(scores, [1.0, (1 + 10 / np.sqrt(101)) / 2], rtol=1e-6)


def test_ties_are_in_the_order_of_ids_however_many_there_are():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    ids = [f"{number:03d}" for number in range(300)]
    shuffled = list(np.random.default_rng(0).permutation(ids))
    store.add_texts(["같은 글"] * 300, ids=shuffled)
    assert found_by(store, "같은 글", 5)[0] == ids[:5]
    assert found_by(store, "다른 글", 300)[0] == ids


@pytest.mark.parametrize("lambda_mult", [0.0, 0.3, 0.5, 1.0])
def test_mmr_equals_langchain_with_true_scores(lambda_mult):
    embedding = DeterministicFakeEmbedding(size=8)
    store = FaissVectorStore(embedding)
    texts = [f"글 {number}" for number in range(60)]
    store.add_texts(texts, [{"even": number % 2 == 0} for number in range(60)], ids=texts)
    query = embedding.embed_query("물음")
    chosen_from = found_by(store, "물음", 15, filter={"even": True})[0]
    rows = embedding.embed_documents(chosen_from)
    expected = [
        chosen_from[row]
        for row in maximal_marginal_relevance(np.array(query), rows, lambda_mult, k=6)
    ]
    options = {"k": 6, "fetch_k": 15, "lambda_mult": lambda_mult, "filter": {"even": True}}
    assert [d.id for d in store.max_marginal_relevance_search("물음", **options)] == expected
    scored = store.max_marginal_relevance_search_with_score_by_vector(query, **options)
    assert [document.id for document, _ in scored] == expected
    true = dict(zip(*found_by(store, "물음", 60), strict=True))
    assert [score for _, score in scored] == [true[id_] for id_ in expected]


def test_every_search_type_of_a_retriever():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_texts(["가", "나", "다"], [{"n": 1}, {"n": 2}, {"n": 2}], ids=["a", "b", "c"])
    similar = store.as_retriever(search_kwargs={"k": 2, "filter": {"n": 2}})
    assert {document.id for document in similar.invoke("가")} == {"b", "c"}
    mmr = store.as_retriever(search_type="mmr", search_kwargs={"k": 1, "fetch_k": 3})
    assert [document.id for document in mmr.invoke("가")] == ["a"]
    threshold = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.999}
    )
    assert [document.id for document in threshold.invoke("다")] == ["c"]


def test_batches_are_as_large_as_asked_for():
    embedding = CountingEmbeddings()
    store = FaissVectorStore(embedding)
    store.add_texts([f"글 {number}" for number in range(5)], batch_size=2)
    assert embedding.calls == 3
    store.add_texts([f"새 글 {number}" for number in range(5)])
    assert embedding.calls == 4
    assert found_by(store, "글 4", 1)[1] == [1.0]


def test_ids_that_are_not_given_come_from_text_and_metadata():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    same_text = [{"source": "a.txt"}, {"source": "b.txt"}]
    first = store.add_texts(["같은 글"] * 2, same_text)
    assert len(set(first)) == 2
    assert store.add_texts(["같은 글"] * 2, same_text) == first
    assert store.storage.counts() == {"chunks": 2, "sources": 2, "files": 0}
    assert store.add_documents([Document("x"), Document("y")], ids=["mine", None])[0] == "mine"


def test_of_several_with_one_id_the_last_counts():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    assert store.add_texts(["가", "나", "다"], ids=["x", "y", "x"]) == ["x", "y", "x"]
    assert [d.page_content for d in store.get_by_ids(["x", "y"])] == ["다", "나"]
    assert found_by(store, "다", 9)[0] == ["x", "y"]


def test_the_callers_documents_stay_as_they_were():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    document = Document("가", metadata={"l": [1]})
    store.add_documents([document])
    assert document == Document("가", metadata={"l": [1]})
    store.similarity_search("가")[0].metadata["l"].append(2)
    assert store.similarity_search("가")[0].metadata == {"l": [1]}


def test_nothing_to_add_delete_or_find():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    assert store.add_documents([]) == []
    assert store.add_texts([]) == []
    assert store.similarity_search("가") == []
    assert store.max_marginal_relevance_search("가") == []
    assert store.delete([]) is True
    assert store.get_by_ids([]) == []
    assert FaissVectorStore.from_texts([], DeterministicFakeEmbedding(size=8)).embeddings
    store.add_texts(["가"])
    assert store.similarity_search("가", filter={"none": 1}) == []
    assert store.delete() is True  # all of them
    assert store.similarity_search("가") == []


class BrokenEmbeddings(DeterministicFakeEmbedding):
    """Right for queries; gives `reply` for documents."""

    reply: object = None

    def embed_documents(self, texts):
        return self.reply


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ([[0.1] * 8], r"shape \(1, 8\) for 2 texts"),
        ([[0.1] * 8] * 3, r"shape \(3, 8\) for 2 texts"),
        ([[0.1] * 8, [0.1] * 7], "different lengths"),
        ([[], []], r"shape \(2, 0\)"),
        ([[0.1] * 7] * 2, "dimension 8, the embedding model gives 7"),
        ([[float("nan")] * 8] * 2, "not finite"),
        ([[float("inf")] * 8] * 2, "not finite"),
    ],
)
def test_vectors_are_checked_before_anything_changes(reply, message):
    embedding = BrokenEmbeddings(size=8, reply=[[0.1] * 8])
    store = FaissVectorStore(embedding)
    store.add_texts(["있던 글"], ids=["a"])
    before = store.storage.generation
    embedding.reply = reply
    with pytest.raises(ValueError, match=message):
        store.add_texts(["새 글", "새 글 2"], ids=["a", "b"])
    assert store.storage.generation == before
    assert [d.page_content for d in store.similarity_search("글", 9)] == ["있던 글"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["a", "b"], "ids": ["x"]}, "2 documents but 1 ids"),
        ({"texts": ["a"], "ids": []}, "1 documents but 0 ids"),
        ({"texts": ["a"], "ids": [""]}, "an id is a text"),
        ({"texts": ["a"], "ids": [3]}, "an id is a text"),
        ({"texts": ["a", "b"], "metadatas": [{}]}, "2 texts but 1 metadatas"),
        ({"texts": ["a", "b\ud800"]}, "cannot be stored"),
        ({"texts": ["a"], "metadatas": [{"x": object()}]}, "cannot be stored"),
    ],
)
def test_documents_are_checked_before_anything_changes(arguments, message):
    embedding = CountingEmbeddings()
    store = FaissVectorStore(embedding)
    with pytest.raises(ValueError, match=message):
        store.add_texts(**arguments)
    assert embedding.calls == 0
    assert store.storage.counts()["chunks"] == 0


def test_wrong_arguments_are_refused():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    with pytest.raises(ValueError, match="k is 0"):
        store.similarity_search("가", k=0)
    with pytest.raises(TypeError, match="unknown arguments: fetchk"):
        store.similarity_search("가", fetchk=3)
    with pytest.raises(TypeError, match="unknown arguments: batch"):
        store.add_texts(["가"], batch=3)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 1\)|shape"):
        store.similarity_search_by_vector([[0.1]] * 8)


def test_vectors_may_be_arrays_and_are_not_asked_for_as_lists():
    class ArrayEmbeddings(CountingEmbeddings):
        def embed_documents_array(self, texts):
            return np.array(self._fake.embed_documents(texts), np.float32)

        def embed_query_array(self, text):
            return np.array(self._fake.embed_query(text), np.float32)

        def embed_documents(self, texts):
            raise AssertionError

        embed_query = embed_documents

    store = FaissVectorStore(ArrayEmbeddings())
    store.add_texts(["가", "나"], ids=["a", "b"])
    assert found_by(store, "나", 1) == (["b"], [1.0])


def test_decomposed_and_composed_hangul_are_one_query_and_one_passage():
    decomposed = unicodedata.normalize("NFD", "서울의 수도")
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_texts([decomposed], ids=["a"])
    assert found_by(store, "서울의 수도", 1) == (["a"], [1.0])
    assert found_by(store, decomposed, 1) == (["a"], [1.0])
    assert store.get_by_ids(["a"])[0].page_content == decomposed  # what is quoted is untouched


def test_titles_and_headings_are_embedded_but_not_quoted():
    embedding = CountingEmbeddings()
    store = FaissVectorStore(embedding)
    store.add_documents([Document("15일", metadata={"title": "휴가", "headings": ["연차"]})])
    assert embedding.texts == ["휴가 > 연차\n15일"]
    assert store.similarity_search("연차")[0].page_content == "15일"


def test_another_model_is_refused_when_opening(tmp_path):
    FaissVectorStore.from_texts(["가"], DeterministicFakeEmbedding(size=8), folder=tmp_path).close()
    with pytest.raises(EmbedderMismatchError, match="CountingEmbeddings"):
        FaissVectorStore(CountingEmbeddings(8), tmp_path)
    with pytest.raises(EmbedderMismatchError, match="'size': 9"):
        FaissVectorStore(DeterministicFakeEmbedding(size=9), tmp_path)
    FaissVectorStore(DeterministicFakeEmbedding(size=8), tmp_path).close()


def test_fingerprints_tell_models_apart():
    class Named(CountingEmbeddings):
        model_name = "bge"

    class Own(CountingEmbeddings):
        fingerprint = {"name": "x", "dimension": 3}  # noqa: RUF012

    assert Embedder(Named(8)).fingerprint == {"class": "Named", "model_name": "bge", "size": 8}
    assert Embedder(Own()).fingerprint == {"name": "x", "dimension": 3}


def test_a_closed_store_says_so(tmp_path):
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    store.close()
    with pytest.raises(StorageError, match="closed"):
        store.add_texts(["가"])


async def test_async_methods_leave_the_loop_free():
    class SlowEmbeddings(CountingEmbeddings):
        def embed_documents(self, texts):
            time.sleep(0.2)
            return super().embed_documents(texts)

        def embed_query(self, text):
            time.sleep(0.2)
            return super().embed_query(text)

    store = FaissVectorStore(SlowEmbeddings())
    for waiting in (
        store.aadd_texts(["가"], ids=["a"]),
        store.aadd_documents([Document("나")]),
        store.asimilarity_search("가"),
        store.asimilarity_search_with_score("가"),
        store.asimilarity_search_with_relevance_scores("가"),
        store.amax_marginal_relevance_search("가"),
    ):
        task = asyncio.ensure_future(waiting)
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert task.result()
        assert ticks >= 5
    assert await store.adelete(["a"]) is True
    assert await store.aget_by_ids(["a"]) == []


def test_threads_add_and_search_together(tmp_path):
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8), tmp_path)
    errors = []

    def work(name):
        try:
            for number in range(8):
                text = f"{name} {number}"
                store.add_texts([text], ids=[text])
                assert found_by(store, text, 1) == ([text], [1.0])
                if number % 2:
                    store.delete([text])
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    expected = sorted(f"{name} {number}" for name in "abcd" for number in range(0, 8, 2))
    assert sorted(found_by(store, "x", 99)[0]) == expected


def test_a_second_process_sees_what_the_first_writes(tmp_path):
    embedding = DeterministicFakeEmbedding(size=8)
    writer, reader = (FaissVectorStore(embedding, tmp_path) for _ in range(2))
    writer.add_texts(["가", "나"], ids=["a", "b"])
    assert found_by(reader, "나", 1) == (["b"], [1.0])
    writer.delete(["b"])
    assert found_by(reader, "나", 9)[0] == ["a"]
    reader.add_texts(["다"], ids=["c"])
    assert found_by(writer, "다", 1) == (["c"], [1.0])


def test_langchain_indexing_keeps_it_in_step():
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    records = InMemoryRecordManager("test")
    records.create_schema()

    def run(*texts):
        documents = [Document(text, metadata={"source": text[0]}) for text in texts]
        options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
        return index(documents, records, store, **options)

    assert run("가1", "나1")["num_added"] == 2
    assert run("가1", "나1")["num_skipped"] == 2
    assert run("가2", "나1") == {
        "num_added": 1,
        "num_updated": 0,
        "num_skipped": 1,
        "num_deleted": 1,
    }
    assert sorted(d.page_content for d in store.similarity_search("가", 9)) == ["가2", "나1"]
