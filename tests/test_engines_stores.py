"""Any LangChain VectorStore, passed as it is: LangChain's own, in memory."""

import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from kogemma_rag import ExtractiveChatModel, FaissVectorStore, create_rag_chain
from kogemma_rag.engines import EngineIndex, is_engine_url, open_engine


@pytest.fixture
def store():
    return InMemoryVectorStore(CountingEmbeddings())


def write(folder, texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def stored(store):
    return sorted((entry["metadata"]["source"], entry["text"]) for entry in store.store.values())


def counts(report):
    return (report.added, report.updated, report.deleted, report.unchanged)


def test_a_folder_is_kept_in_step(store, tmp_path):
    folder = tmp_path / "문서"
    write(folder, {f"{n}.txt": f"글 {n}이다." for n in range(4)})
    with EngineIndex(store, ledger=tmp_path / "ledger") as index:
        report = index.sync(folder, progress=False)
        assert (counts(report), report.chunks) == ((4, 0, 0, 0), 4)
    write(folder, {"1.txt": "새 글이다."})
    (folder / "2.txt").unlink()
    with EngineIndex(store, ledger=tmp_path / "ledger") as index:
        assert counts(index.sync(folder, progress=False)) == (0, 1, 1, 2)
        assert index.info() == {"address": "InMemoryVectorStore", "files": 3}
        assert counts(index.sync(folder, progress=False)) == (0, 0, 0, 3)
    assert stored(store) == [
        ("0.txt", "글 0이다."),
        ("1.txt", "새 글이다."),
        ("3.txt", "글 3이다."),
    ]


@pytest.mark.parametrize("method", ["add_documents", "delete"])
def test_a_sync_that_was_cut_off_is_gone_on_with(store, tmp_path, monkeypatch, method):
    folder = tmp_path / "문서"
    write(folder, {f"{n}.txt": f"글 {n}이다." for n in range(3)})
    with EngineIndex(store, ledger=tmp_path / "ledger") as index:
        index.sync(folder, progress=False)
        write(folder, {f"{n}.txt": f"새 글 {n}이다." for n in range(4)})
        done = getattr(InMemoryVectorStore, method)
        calls = 0

        def cut_off(*args, **kwargs):
            nonlocal calls
            calls += 1
            done(*args, **kwargs)
            if calls == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(InMemoryVectorStore, method, cut_off)
        with pytest.raises(KeyboardInterrupt):
            index.sync(folder, progress=False)
        monkeypatch.undo()
        (folder / "1.txt").unlink()
        index.sync(folder, progress=False)
    assert stored(store) == [(f"{n}.txt", f"새 글 {n}이다.") for n in (0, 2, 3)]


def test_the_same_text_in_two_files_of_one_name_is_two_chunks(store, tmp_path):
    with EngineIndex(store, ledger=tmp_path / "ledger") as index:
        for folder in ("가", "나"):
            write(tmp_path / folder, {"a.txt": "같은 글이다."})
            index.sync(tmp_path / folder, progress=False)
        assert stored(store) == [("a.txt", "같은 글이다.")] * 2
        (tmp_path / "가" / "a.txt").unlink()
        index.sync(tmp_path / "가", progress=False)
        assert stored(store) == [("a.txt", "같은 글이다.")]


def test_documents_are_found_answered_from_and_deleted(store):
    index = EngineIndex(store)
    texts = ["재택근무는 한 주에 이틀까지 할 수 있다.", "출장비는 영수증으로 정산한다."]
    ids = index.add_documents([Document(text, metadata={"source": "a.txt"}) for text in texts])
    assert index.add_documents([Document(texts[0], metadata={"source": "a.txt"})]) == ids[:1]
    found = index.search(texts[0], k=2)
    assert [document.id for document, _ in found] == ids
    answer = create_rag_chain(index.as_retriever(k=1), ExtractiveChatModel()).invoke(texts[0])
    assert "이틀" in answer["answer"]
    index.delete([ids[0], "unknown"])
    assert [document.id for document, _ in index.search(texts[0])] == ids[1:]
    with pytest.raises(ValueError, match="ledger=folder"):
        index.sync(".", progress=False)
    with pytest.raises(TypeError, match="store of your own"):
        index.build_vector_index()


def test_a_filter_is_the_stores_own():
    index = EngineIndex(FaissVectorStore(CountingEmbeddings()))
    index.add_documents([Document(f"글 {n}", metadata={"n": n}) for n in range(9)])
    assert {d.metadata["n"] for d, _ in index.search("글", filter={"n": {"$lt": 3}})} == {0, 1, 2}


def test_an_engine_is_known_by_its_address():
    assert is_engine_url("postgresql://h/d")
    assert is_engine_url("milvus+https://h:1")
    assert not is_engine_url("C:/index")
    assert not is_engine_url("./postgresql")
    with pytest.raises(ValueError, match="postgresql://"):
        open_engine("mysql://h", CountingEmbeddings())
