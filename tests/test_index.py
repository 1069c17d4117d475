"""The index as a whole: caches follow storage, nothing acknowledged is lost, search is hybrid."""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests

from kogemma_rag import DocumentIndex, HybridRetriever, MultilingualEmbeddings
from kogemma_rag.filters import FilterError
from kogemma_rag.storage_errors import EmbedderMismatchError, StorageDamagedError, StorageError

SENTENCES = [
    "연차휴가는 일 년에 열다섯 날을 준다.",
    "출장비는 영수증을 붙여 정산한다.",
    "회의실은 두 시간까지 예약할 수 있다.",
    "재택근무는 한 주에 이틀까지 할 수 있다.",
    "비품은 총무팀에 신청하면 사흘 안에 온다.",
]


def documents(count=5):
    return [
        Document(SENTENCES[n % 5] + f" ({n})", id=f"{n:04d}", metadata={"n": n, "five": n % 5})
        for n in range(count)
    ]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(folder):
    with DocumentIndex.open(folder, CountingEmbeddings()) as index:
        yield index


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _open(self, index):
        index.add_documents(documents())
        self.index = index

    @property
    def retriever_constructor(self):
        return self.index.as_retriever

    @property
    def retriever_query_example(self):
        return "연차휴가는 며칠인가?"


def found(index, query="연차휴가 정산", k=20, **options):
    return [(document.id, score) for document, score in index.search(query, k=k, **options)]


def test_adds_finds_and_deletes(index):
    assert index.add_documents(documents()) == [f"{n:04d}" for n in range(5)]
    best, score = index.search("출장비 영수증은 어떻게 정산하나요?", k=1)[0]
    assert best == documents()[1]
    assert isinstance(score, float)
    index.add_documents([Document("점심은 열두 시에 먹는다.", id="0001")])
    assert index.search("출장비 영수증 정산", k=1)[0][0].id != "0001"
    assert index.search("점심", k=1)[0][0].id == "0001"
    index.delete(["0001", "unknown"])
    assert "0001" not in dict(found(index, "점심"))
    assert len(found(index)) == 4
    index.verify()


def test_filters_give_k_results_whenever_k_match(index):
    index.add_documents(documents(300))
    for query in ("연차휴가", "아무 말"):
        hits = index.search(query, k=7, filter={"five": 4, "n": {"$gte": 200}})
        assert len(hits) == 7
        assert all(d.metadata["five"] == 4 and d.metadata["n"] >= 200 for d, _ in hits)
    assert index.as_retriever(k=9, filter={"n": 3}).invoke("연차")[0].id == "0003"


def test_the_retriever_is_ours_and_takes_its_options(index):
    index.add_documents(documents())
    retriever = index.as_retriever(k=2, fetch_k=3, weights=(0.0, 1.0, 0.0))
    assert isinstance(retriever, HybridRetriever)
    assert retriever.invoke("회의실 예약")[0].id == "0002"
    assert len(retriever.invoke("회의실")) == 2
    with pytest.raises(ValueError, match="Extra inputs"):
        index.as_retriever(unknown=1)


async def test_the_retriever_is_async_too(index):
    index.add_documents(documents())
    assert [d.id for d in await index.as_retriever(k=1).ainvoke("회의실 예약")] == ["0002"]


def test_a_retriever_sees_what_came_after_it(index):
    retriever = index.as_retriever(k=1)
    assert retriever.invoke("회의실") == []
    index.vectorstore.add_documents(documents())  # not through the index: words follow too
    assert retriever.invoke("회의실 예약 두 시간")[0].id == "0002"


def test_reopened_it_is_the_same_and_embeds_nothing(index, folder):
    index.add_documents(documents(300))
    index.delete(["0007"])
    before = found(index)
    index.close()
    embedding = CountingEmbeddings()
    with DocumentIndex.open(folder, embedding) as again:
        assert found(again) == before  # scores to the last bit
        again.verify()
    assert embedding.calls == 0


def flip(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 4
    file.write_bytes(content)


def segment(folder: Path) -> Path:
    """The one file of vectors."""
    [file] = (folder / "vectors").glob("*.segment")
    return file


DAMAGE = {
    "vectors gone": lambda folder: shutil.rmtree(folder / "vectors"),
    "manifest gone": lambda folder: (folder / "vectors" / "manifest").unlink(),
    "manifest cut": lambda folder: (folder / "vectors" / "manifest").write_bytes(b"KGRMAN02"),
    "manifest flipped": lambda folder: flip(folder / "vectors" / "manifest", 0.4),
    "vectors empty": lambda folder: segment(folder).write_bytes(b""),
    "vectors cut": lambda folder: segment(folder).write_bytes(segment(folder).read_bytes()[:-1000]),
    "vectors flipped": lambda folder: flip(segment(folder), 0.5),
    "keys flipped": lambda folder: flip(segment(folder), 0.05),
    "lexical gone": lambda folder: shutil.rmtree(folder / "lexical"),
    "lexical unreadable": lambda folder: (folder / "lexical" / "meta.json").write_text("x"),
    "half written": lambda folder: (folder / "vectors" / "manifest.tmp").write_bytes(b"x"),
    "all caches gone": lambda folder: [
        shutil.rmtree(folder / "vectors"),
        shutil.rmtree(folder / "lexical"),
    ],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_caches_are_made_anew_without_embedding(index, folder, damage):
    index.add_documents(documents(300))
    index.rebuild()
    before = found(index)
    index.close()
    assert segment(folder).exists()
    damage(folder)
    embedding = CountingEmbeddings()
    with DocumentIndex.open(folder, embedding) as again:
        assert found(again) == before
        again.rebuild()
        again.verify()
        assert found(again) == before
    assert embedding.calls == 0
    assert not list(folder.rglob("*.tmp"))


def test_an_older_cache_catches_up(index, folder, tmp_path):
    index.add_documents(documents(300))
    index.rebuild()
    shutil.copytree(folder, tmp_path / "old")
    index.add_documents([*documents(10), Document("새로 온 글", id="new")])
    index.delete(["0100", "0007"])
    before = index.vectorstore.similarity_search_with_score("연차휴가", k=400)
    index.close()
    for cache in ("vectors", "lexical"):
        shutil.rmtree(folder / cache)
        shutil.copytree(tmp_path / "old" / cache, folder / cache)
    with DocumentIndex.open(folder, CountingEmbeddings()) as again:
        assert again.vectorstore.similarity_search_with_score("연차휴가", k=400) == before
        hits = dict(found(again, "새로 온 글", k=400))
        assert max(hits, key=hits.get) == "new"
        assert len(hits) == 299
        again.verify()


def test_lexical_files_that_cannot_be_written_on_are_made_anew(index, monkeypatch):
    """A kill can leave a file of tantivy's that its next commit refuses to write over."""
    index.add_documents(documents())
    update = index.lexical.update

    def refuse_to_go_on(*, added, deleted, generation):
        if index.lexical.generation:
            raise OSError("FileAlreadyExists")
        update(added=added, deleted=deleted, generation=generation)

    monkeypatch.setattr(index.lexical, "update", refuse_to_go_on)
    index.add_documents([Document("새로 온 글", id="new")])
    assert index.search("새로 온", k=1)[0][0].id == "new"
    assert index.lexical.view.search("회의실 예약", 9) == [3]


def test_caches_of_another_storage_are_not_believed(index, folder):
    index.add_documents(documents(300))
    index.close()
    for file in folder.glob("index.sqlite3*"):
        file.unlink()
    with DocumentIndex.open(folder, CountingEmbeddings()) as again:
        assert found(again) == []
        again.add_documents(documents(3))
        assert len(found(again)) == 3
        again.verify()


def test_caches_of_a_later_state_than_storage_are_made_anew(index, folder, tmp_path):
    """A storage put back from a backup: what came after it is not found, and nothing waits."""
    index.add_documents(documents(3))
    index.rebuild()
    index.close()
    shutil.copy(folder / "index.sqlite3", tmp_path / "backup")
    with DocumentIndex.open(folder, CountingEmbeddings()) as later:
        later.add_documents([Document("나중에 온 글", id="later")])
        later.rebuild()
    shutil.copy(tmp_path / "backup", folder / "index.sqlite3")
    with DocumentIndex.open(folder, CountingEmbeddings()) as again:
        assert sorted(dict(found(again, "나중에 온 글"))) == ["0000", "0001", "0002"]
        again.verify()
        again.add_documents([Document("새로 온 글", id="new")])
        assert found(again, "새로 온 글", k=1)[0][0] == "new"
        again.verify()


def test_a_filter_that_is_not_understood_is_refused_before_there_is_anything(index):
    with pytest.raises(FilterError, match="near"):
        index.search("글", filter={"n": {"$near": 1}})


def test_verify_names_what_is_damaged_and_rebuild_mends_caches(index, folder):
    index.add_documents(documents(300))
    index.rebuild()
    index.verify()
    before = found(index)
    flip(segment(folder), 0.5)
    with pytest.raises(StorageDamagedError, match=r"\.segment is damaged.*rebuild\(\)"):
        index.verify()
    index.rebuild()
    index.verify()
    assert found(index) == before


def test_verify_compares_the_vectors_with_storage(index):
    index.add_documents(documents(3))
    vector_index = index.vectorstore.vector_index
    generation = vector_index.view.generation
    none = np.empty(0, np.int64)
    vector_index.clear()
    vector_index.advance(
        added=[(np.array([1, 2, 3]), np.eye(3, 16, dtype=np.float32))],
        deleted=none,
        generation=generation,
    )
    with pytest.raises(StorageDamagedError, match=r"not hold the vectors of storage.*rebuild\(\)"):
        index.verify()
    index.rebuild()
    index.verify()
    vector_index.advance(added=[], deleted=np.array([2]), generation=generation)
    with pytest.raises(StorageDamagedError, match="holds 2 of 3 chunks"):
        index.verify()


def test_a_damaged_database_is_a_typed_error(index, folder):
    index.add_documents(documents(50))
    index.close()
    (folder / "index.sqlite3").write_bytes(b"x" * 5000)
    with pytest.raises(StorageDamagedError, match="damaged"):
        DocumentIndex.open(folder, CountingEmbeddings())


def test_opening_a_folder_without_an_index(folder):
    assert not DocumentIndex.exists(folder)
    with pytest.raises(FileNotFoundError, match="there is no index in"):
        DocumentIndex.open(folder, create=False)
    assert not folder.exists()
    DocumentIndex.open(folder, CountingEmbeddings()).close()
    assert DocumentIndex.exists(folder)
    DocumentIndex.open(folder, CountingEmbeddings(), create=False).close()


def test_the_model_it_was_made_with_is_found_again(folder):
    with DocumentIndex.open(folder) as index:
        index.add_documents(documents())
        assert index.info()["embeddings"] == "embedded"
    with DocumentIndex.open(folder) as index:
        assert isinstance(index.vectorstore.embeddings, MultilingualEmbeddings)
        assert index.search("회의실 예약", k=1)[0][0].id == "0002"
    with pytest.raises(EmbedderMismatchError, match="embedded"):
        DocumentIndex.open(folder, CountingEmbeddings())


def test_a_model_that_cannot_be_found_again_must_be_given(index, folder):
    index.add_documents(documents())
    with pytest.raises(StorageError, match=r"CountingEmbeddings.*embeddings="):
        DocumentIndex.open(folder)


def test_info_counts_and_measures(index, folder):
    index.add_documents([*documents(3), Document("가", metadata={"source": "a.txt"})])
    index.rebuild()
    info = index.info()
    assert json.loads(json.dumps(info)) == info
    assert info["folder"] == str(folder)
    assert (info["chunks"], info["sources"], info["files"]) == (4, 1, 0)
    assert (info["dimension"], info["embeddings"]) == (16, "CountingEmbeddings")
    assert (info["vector_index"], info["format_version"]) == ("Flat", 2)
    files = (folder / "vectors").iterdir()
    assert info["vector_bytes"] == sum(file.stat().st_size for file in files) > 4 * 16 * 4
    assert min(info["storage_bytes"], info["lexical_bytes"]) > 0


def test_closed_it_says_so(index):
    index.close()
    with pytest.raises(StorageError, match="closed"):
        index.search("가")


def test_threads_write_and_search_together(index):
    index.add_documents(documents(20))
    errors = []

    def work(number):
        try:
            for turn in range(4):
                id_ = f"{number}-{turn}"
                index.add_documents([Document(f"표지 {id_}", id=id_)])
                assert id_ in dict(found(index, f"표지 {id_}", k=3))
                index.delete([id_])
                assert len(index.search("연차휴가", k=4)) == 4
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found(index, k=99)) == 20
    index.verify()


def test_two_open_indexes_of_one_folder_see_each_other(index, folder):
    with DocumentIndex.open(folder, CountingEmbeddings()) as other:
        index.add_documents(documents())
        assert other.search("회의실 예약", k=1)[0][0].id == "0002"
        other.delete(["0002"])
        assert "0002" not in dict(found(index, "회의실 예약"))
        index.add_documents([Document("회의실 열쇠", id="key")])
        assert other.search("열쇠", k=1)[0][0].id == "key"


WRITER = """
import sys
from langchain_core.documents import Document
from counting_embeddings import CountingEmbeddings
from kogemma_rag import DocumentIndex

start, index = int(sys.argv[2]), DocumentIndex.open(sys.argv[1], CountingEmbeddings())
for n in range(start, start + 10_000, 3):
    ids = [str(i) for i in range(n, n + 3)]
    index.add_documents([Document(f"{i}번 글", id=i, metadata={"n": i}) for i in ids])
    print("+", *ids, flush=True)
    if n % 4 == 0:
        index.delete(ids[:1])
        print("-", ids[0], flush=True)
"""


def test_a_kill_at_any_moment_loses_nothing_acknowledged(folder):
    """What was printed after a change is on disk; what was under way is there wholly or not."""
    rng = random.Random(11)
    there: set[str] = set()
    for round_ in range(5):
        command = [sys.executable, "-c", WRITER, str(folder), str(round_ * 10_000)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
        )
        lines = [process.stdout.readline()]  # the first change is done: the clock runs
        time.sleep(rng.uniform(0.0, 0.5))
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        pending = None
        for sign, *ids in map(str.split, filter(lambda line: line.endswith("\n"), lines)):
            there = there | set(ids) if sign == "+" else there - set(ids)
            pending = ids
        embedding = CountingEmbeddings()
        with DocumentIndex.open(folder, embedding) as index:
            index.verify()
            kept = {d.id: d for d, _ in index.search("글", k=20_000)}
            missing = there - set(kept)
            assert missing <= set(pending[:1])  # at most a deletion that was not yet printed
            extra = set(kept) - there
            assert not extra or len(extra) in (1, 3)  # one change that was not yet printed
            assert all(d.page_content == f"{id_}번 글" for id_, d in kept.items())
            there = set(kept)
        assert embedding.calls == 0
    assert len(there) > 15
