import unicodedata
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from kogemma_rag.fusion import standardized_sum
from kogemma_rag.index import DocumentIndex
from kogemma_rag.retrievers import HybridRetriever
from kogemma_rag.vectorstores import FaissVectorStore

TEXTS = {
    "a": "서울은 한국의 수도이다.",
    "b": "부산은 한국에서 둘째로 큰 도시이다.",
    "c": "연차휴가는 한 해에 15일을 준다.",
    "d": "출장비는 서울과 부산이 다르다.",
}


@pytest.fixture
def index(tmp_path: Path) -> DocumentIndex:
    index = DocumentIndex.open(tmp_path, DeterministicFakeEmbedding(size=16))
    index.add_documents(
        [Document(text, id=id_, metadata={"n": n}) for n, (id_, text) in enumerate(TEXTS.items())]
    )
    return index


def test_standardized_sum_worked_by_hand() -> None:
    # Column means 2 and 20, deviations 1 and 10: z-scores -1, 1 and 1, -1.
    scores = np.array([[1, 30], [3, 10]], dtype=np.float32)
    assert standardized_sum(scores, [1.0, 0.25]).tolist() == [-0.75, 0.75]


def test_a_scorer_that_tells_nothing_apart_counts_nothing() -> None:
    scores = np.array([[5, 1], [5, 2]], dtype=np.float32)
    assert standardized_sum(scores, [100.0, 1.0]).tolist() == [-1, 1]
    assert standardized_sum(scores[:1], [1.0, 1.0]).tolist() == [0]


def test_every_candidate_is_scored_by_both_sides(index: DocumentIndex) -> None:
    query = "서울의 수도"
    store, lexical = index.vectorstore, index.lexical
    embedder = DeterministicFakeEmbedding(size=16)
    with store.reading() as view:
        keys, _ = store.search_keys(view, store.query_vector(query), 4)
    words = lexical.view.scores(query, keys)
    vectors = np.array([embedder.embed_query(doc.page_content) for doc in _documents(store, keys)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = np.array(embedder.embed_query(query))
    table = np.column_stack([vectors @ (asked / np.linalg.norm(asked)), words])
    z = (table - table.mean(axis=0)) / table.std(axis=0)
    expected = z @ np.array([0.7, 1.0, 0.25])
    order = np.argsort(-expected)
    hits = index.as_retriever(k=4, fusion="standardized", weights=(0.7, 1.0, 0.25)).search(query)
    assert [doc.id for doc, _ in hits] == [_documents(store, keys)[row].id for row in order]
    assert [score for _, score in hits] == pytest.approx(expected[order].tolist(), abs=1e-5)


def _documents(store: FaissVectorStore, keys: np.ndarray) -> list[Document]:
    return store.storage.documents(keys.tolist())


def test_words_alone_follow_bm25_and_vectors_alone_follow_the_cosine(index: DocumentIndex) -> None:
    assert index.as_retriever(k=1, weights=(0, 1, 0)).invoke("수도")[0].id == "a"
    nearest = index.vectorstore.similarity_search(TEXTS["d"], k=4)
    by_vector = index.as_retriever(k=4, weights=(1, 0, 0)).invoke(TEXTS["d"])
    assert [doc.id for doc in by_vector] == [doc.id for doc in nearest]


def test_k_and_filter_of_the_call_come_before_the_retrievers_own(index: DocumentIndex) -> None:
    retriever = index.as_retriever(k=2, filter={"n": {"$lt": 2}})
    assert {doc.id for doc in retriever.invoke("서울")} == {"a", "b"}
    assert len(retriever.invoke("서울", k=1)) == 1
    assert [doc.id for doc in retriever.invoke("서울", filter={"n": 3})] == ["d"]


def test_decomposed_query_finds_the_same(index: DocumentIndex) -> None:
    nfd = unicodedata.normalize("NFD", "서울의 수도")
    assert index.search(nfd) == index.search("서울의 수도")


def test_query_with_a_lone_surrogate_is_searched(index: DocumentIndex) -> None:
    assert index.search("서울의 수도 \udc80", k=1)


def test_no_documents_give_no_hits(tmp_path: Path) -> None:
    with DocumentIndex.open(tmp_path, DeterministicFakeEmbedding(size=4)) as index:
        assert HybridRetriever(index=index).invoke("서울") == []


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(index: DocumentIndex, k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}"):
        index.as_retriever().search("서울", k=k)


def test_equal_scores_come_in_the_order_of_ids(tmp_path: Path) -> None:
    with DocumentIndex.open(tmp_path, DeterministicFakeEmbedding(size=4)) as index:
        index.add_documents([Document("같은 글", id=id_) for id_ in ("z", "m", "a")])
        assert [doc.id for doc, _ in index.search("같은 글", k=2)] == ["a", "m"]


async def test_async_search_equals_search(index: DocumentIndex) -> None:
    retriever = index.as_retriever()
    assert await retriever.ainvoke("부산") == retriever.invoke("부산")
