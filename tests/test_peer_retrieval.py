"""Every row of the table of what users have today (retrieval), as a test that we are right.

Each test bears the name of its row, and its docstring says what the peer does.
"""

import asyncio
import math
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from kogemma_rag import DocumentIndex, FaissVectorStore
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.storage_errors import EmbedderMismatchError, StorageDamagedError, StorageError
from kogemma_rag.vector_index import VectorIndex


class PlaneEmbeddings(Embeddings):
    """Texts are angles in degrees; the length of each vector is another one."""

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text):
        angle = math.radians(float(text))
        length = 1 + float(text) % 7
        return [length * math.cos(angle), length * math.sin(angle)]


def plane(*angles, **options):
    return FaissVectorStore.from_texts(list(angles), PlaneEmbeddings(), ids=list(angles), **options)


def scored(found):
    return {document.page_content: round(score, 6) for document, score in found}


def cosine_score(degrees):
    return round((1 + math.cos(math.radians(degrees))) / 2, 6)


def test_duplicate_id():
    """Adds the vector before the error: later searches give the wrong document or a KeyError."""
    store = plane("0", "90")
    store.add_texts(["180"], ids=["0"])
    assert scored(store.similarity_search_with_score("0", k=9)) == {
        "90": 0.5,
        "180": 0.0,
    }
    store.add_texts(["10", "20"], ids=["x", "x"])
    assert scored(store.similarity_search_with_score("20", k=1)) == {"20": 1.0}
    assert len(store.similarity_search("0", k=9)) == 3


def test_merge_from_with_clashing_ids():
    """Corrupts both. Here one store's documents are added to another, and replace by id."""
    one, other = plane("0", "90"), plane("0", "45")
    other.add_texts(["30"], ids=["90"])
    one.add_documents(other.similarity_search("0", k=9))
    expected = {angle: cosine_score(float(angle)) for angle in ("0", "30", "45")}
    for store in (one, other):
        assert scored(store.similarity_search_with_score("0", k=9)) == expected
        assert sorted(d.id for d in store.similarity_search("0", k=9)) == ["0", "45", "90"]


def test_filter():
    """Filters after fetch_k=20: 50 matches among 5,000 gave 0.14 of k=4 on average."""
    embedding = DeterministicFakeEmbedding(size=8)
    metadatas = [{"rare": number % 100 == 0} for number in range(5000)]
    store = FaissVectorStore.from_texts(list(map(str, range(5000))), embedding, metadatas)
    for query in "가나다라마":
        found = store.similarity_search(query, k=4, filter={"rare": True})
        assert len(found) == 4
        assert all(int(document.page_content) % 100 == 0 for document in found)
    assert len(store.similarity_search("가", k=60, filter={"rare": True})) == 50


def test_relevance_score():
    """Squared L2 gives -1.12; inner product scores an exact match 0.0."""
    store = plane("0", "60", "90", "180")
    found = store.similarity_search_with_relevance_scores("0", k=4)
    assert scored(found) == {"0": 1.0, "60": 0.75, "90": 0.5, "180": 0.0}


def test_cosine():
    """Is L2 without normalization (-199)."""
    store = plane("0", "14", "35", "123")  # of lengths 1, 1, 1 and 5
    expected = {angle: cosine_score(float(angle) - 3) for angle in ("0", "14", "35", "123")}
    assert scored(store.similarity_search_with_score("3", k=4)) == expected


def test_mmr_with_filter():
    """Wrong scores (0.799 where 1.195 is true)."""
    angles = ["0", "5", "10", "50", "90", "170"]
    metadatas = [{"even": int(angle) % 2 == 0} for angle in angles]
    store = FaissVectorStore.from_texts(angles, PlaneEmbeddings(), metadatas, ids=angles)
    found = store.max_marginal_relevance_search_with_score_by_vector(
        PlaneEmbeddings().embed_query("4"), k=3, fetch_k=4, filter={"even": True}
    )
    assert [document.page_content for document, _ in found] == ["0", "90", "10"]
    assert scored(found) == {angle: cosine_score(float(angle) - 4) for angle in ("0", "90", "10")}


def test_reload(tmp_path):
    """Loses metric and normalization; a wrong dimension is a bare AssertionError."""
    store = plane("0", "60", "90", folder=tmp_path)
    before = store.similarity_search_with_score("10", k=3)
    store.close()
    store = FaissVectorStore(PlaneEmbeddings(), tmp_path)
    assert store.similarity_search_with_score("10", k=3) == before
    with pytest.raises(EmbedderMismatchError, match="dimension 2, the embedding model gives 3"):
        store.similarity_search_by_vector([1.0, 2.0, 3.0])
    with pytest.raises(EmbedderMismatchError, match="made with the embedding model"):
        FaissVectorStore(DeterministicFakeEmbedding(size=2), tmp_path)


WRITER = """
import sys
from counting_embeddings import CountingEmbeddings
from kogemma_rag import FaissVectorStore
store, name = FaissVectorStore(CountingEmbeddings(), sys.argv[1]), sys.argv[2]
for number in range(int(sys.argv[3])):
    text = f"{name} {number}"
    store.add_texts([text], ids=[text])
    print(text, flush=True)
"""


def start_writer(folder, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )


def test_save_killed(tmp_path):
    """Pickle, in place, no fsync: 45 of 60 kill -9 left it unreadable."""
    acknowledged = []
    for round_ in range(3):
        process = start_writer(tmp_path, str(round_), 100_000)
        acknowledged.append(process.stdout.readline().strip())
        time.sleep(0.05 * round_)
        process.kill()
        lines = process.stdout.read().split("\n")[:-1]
        process.wait()
        acknowledged += lines
        store = FaissVectorStore(CountingEmbeddings(), tmp_path)
        assert [d.page_content for d in store.get_by_ids(acknowledged)] == acknowledged
        store.storage.verify()
        store.close()
    assert not [file for file in tmp_path.rglob("*") if "pkl" in file.suffix]


def test_save_by_two_writers(tmp_path):
    """Two writers lose half, 7 of 20 rounds gave silently wrong text."""
    writers = [start_writer(tmp_path, name, 40) for name in "ab"]
    written = [line for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0]
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    assert len(written) == store.storage.counts()["chunks"] == 80
    for text in written[::7]:
        assert store.similarity_search(text, k=1)[0].page_content == text


def test_save_on_a_full_disk(tmp_path):
    """Destroys the old index."""
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    store.add_texts(["옛 글"])
    connection = store.storage._database._writer().connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")  # no room for more than two
    with pytest.raises(StorageError, match="full"):
        store.add_texts(["새 글 " * 20_000])
    assert [d.page_content for d in store.similarity_search("글", k=9)] == ["옛 글"]
    store.close()
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    assert [d.page_content for d in store.similarity_search("글", k=9)] == ["옛 글"]
    store.add_texts(["새 글 " * 20_000])
    store.storage.verify()


def test_bit_flip_in_the_index_file(tmp_path):
    """58 of 60 load without error."""
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    store.add_texts([f"글 {number}" for number in range(300)])
    store.rebuild()
    expected = store.similarity_search_with_score("물음", k=5)
    store.close()
    [file] = (tmp_path / "vectors").glob("*.segment")
    sound = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(sound), 60).tolist():
        flipped = bytearray(sound)
        flipped[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(flipped)
        assert "checksum" in str(VectorIndex(tmp_path / "vectors").check_files())
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    assert store.similarity_search_with_score("물음", k=5) == expected


def test_bit_flip_in_a_text_or_vector(tmp_path):
    """The same for what the truth itself holds: never given out as if it were sound."""
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    store.add_texts(["표지 하나"], ids=["a"])
    store.close()
    file = tmp_path / "index.sqlite3"
    content = file.read_bytes()
    file.write_bytes(content.replace("표지 하나".encode(), "표지 둘나".encode()))
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    with pytest.raises(StorageDamagedError, match="text of chunk a"):
        store.similarity_search("표지")


def test_at_100_000_chunks(tmp_path):
    """Delete one 83-207 ms, add one 12-130 ms, load 1.6 s: all is moved, read and saved again.

    Here the file of all vectors is mapped, and one change does not touch it.
    """
    store = FaissVectorStore(CountingEmbeddings(), tmp_path)
    store.add_texts([str(number) for number in range(3000)], ids=list(map(str, range(3000))))
    [file] = (tmp_path / "vectors").glob("*.segment")
    before = file.stat()
    store.add_texts(["하나 더"], ids=["new"])
    store.delete(["7"])
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    store.close()
    embedding = CountingEmbeddings()
    store = FaissVectorStore(embedding, tmp_path)
    assert store.similarity_search("하나 더", k=1)[0].id == "new"
    assert store.similarity_search("7", k=1)[0].id != "7"
    assert embedding.calls == 0


def test_and_filters():
    """`$and` drops sibling keys; `$gt` on a missing key raises TypeError."""
    store = FaissVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_texts(
        ["가", "나", "다", "라"],
        [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "page": 3}, {"page": "둘"}],
        ids=["1", "2", "3", "4"],
    )

    def found(condition):
        return sorted(d.id for d in store.similarity_search("가", k=9, filter=condition))

    assert found({"$and": [{"a": 1}], "b": 2}) == ["2", "3"]
    assert found({"$and": [{"a": 1}, {"b": 2}], "page": {"$exists": False}}) == ["2"]
    assert found({"page": {"$gt": 1}}) == ["3"]


def test_from_texts_of_nothing():
    """IndexError."""
    store = FaissVectorStore.from_texts([], DeterministicFakeEmbedding(size=8))
    assert store.similarity_search("가") == []


def test_embeddings():
    """Query and document are normalized differently; NFD and NFC differ."""
    store = FaissVectorStore(CountingEmbeddings())
    composed, decomposed = "휴가는 며칠?", unicodedata.normalize("NFD", "휴가는 며칠?")
    store.add_texts([composed], ids=["a"])
    store.add_texts([decomposed], ids=["b"])
    query = store.query_vector(decomposed)
    rows = store.storage.vectors([1, 2])
    assert store.storage.ids([1, 2]) == ["a", "b"]
    assert query.tobytes() == rows[0].tobytes() == rows[1].tobytes()
    assert np.linalg.norm(query) == pytest.approx(1.0, abs=1e-6)


async def test_async_add():
    """Runs on the event loop; no locks."""

    class Slow(CountingEmbeddings):
        def embed_documents(self, texts):
            time.sleep(0.1)
            return super().embed_documents(texts)

    store = FaissVectorStore(Slow())
    adding = asyncio.gather(*(store.aadd_texts([str(n)], ids=[str(n)]) for n in range(12)))
    ticks = 0
    while not adding.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks >= 5
    assert await adding == [[str(n)] for n in range(12)]
    assert len(await store.asimilarity_search("0", k=99)) == 12
    store.storage.verify()


def lexical(*texts):
    index = LexicalIndex()
    index.update(added=enumerate(texts, 1), deleted=[], generation=1)
    return index.view


def test_bm25_retriever_without_a_match():
    """k results for a query that matches nothing."""
    assert lexical("서울은 한국의 수도이다", "연차는 15일이다").search("xyz 789", 4) == []


def test_bm25_retriever_without_documents():
    """Crashes on no documents."""
    assert lexical().search("서울", 4) == []


def test_bm25_retriever_of_korean():
    """0.0 for "서울의 수도" against "서울은 한국의 수도이다"."""
    index = lexical("연차는 15일이다", "서울은 한국의 수도이다")
    assert index.search("서울의 수도", 4) == [2]
    assert (index.scores("서울의 수도", [2]) > 0).all()


def test_ensemble_retriever(tmp_path):
    """Equal text in two files becomes one document: a source is lost."""
    folder = tmp_path / "문서"
    folder.mkdir()
    for name in ("가.txt", "나.txt"):
        (folder / name).write_text("출장비는 영수증으로 정산한다.", "utf-8")
    with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as index:
        index.sync(folder, progress=False)
        index.add_documents([Document("출장비는 영수증으로 정산한다.", metadata={"source": "다"})])
        found = index.as_retriever(k=9).invoke("출장비 정산")
    assert sorted(document.metadata["source"] for document in found) == ["가.txt", "나.txt", "다"]
    assert len({document.id for document in found}) == 3
