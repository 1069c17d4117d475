import math
import multiprocessing
import pickle
import random
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kogemma_rag import lexical as lexical_module
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.morphemes import character_bigrams, content_morphemes

TEXTS = {
    1: "서울은 한국의 수도이다.",
    2: "부산은 한국에서 둘째로 큰 도시이다. 부산에는 바다가 있다.",
    5: "연차휴가는 입사 1년 뒤에 15일을 준다.",
    9: "출장비는 서울과 부산이 다르다.",
}


@pytest.fixture
def index() -> LexicalIndex:
    lexical = LexicalIndex()
    lexical.update(added=TEXTS.items(), deleted=[], generation=1)
    return lexical


def bm25(query: list[str], document: list[str], documents: list[list[str]]) -> float:
    """Robertson's BM25 with k1 1.2, b 0.75 and Lucene's idf.

    The mark of the generation counts as one more, empty document.
    """
    count = len(documents) + 1
    mean_length = sum(map(len, documents)) / count
    score = 0.0
    for term in query:
        frequency = document.count(term)
        containing = sum(term in other for other in documents)
        idf = math.log(1 + (count - containing + 0.5) / (containing + 0.5))
        length = 1 - 0.75 + 0.75 * len(document) / mean_length
        score += idf * frequency * 2.2 / (frequency + 1.2 * length)
    return score


@pytest.mark.parametrize("query", ["서울의 수도", "부산 바다", "연차휴가는 며칠인가요?"])
def test_scores_equal_bm25_worked_out(index: LexicalIndex, query: str) -> None:
    scores = index.view.scores(query, list(TEXTS))
    for column, analyze in enumerate((content_morphemes, character_bigrams)):
        documents = [analyze(text) for text in TEXTS.values()]
        expected = [bm25(analyze(query), document, documents) for document in documents]
        # tantivy keeps lengths up to 40 terms exactly.
        assert scores[:, column].tolist() == pytest.approx(expected, rel=1e-4)


def test_best_text_comes_first_and_texts_without_a_shared_term_do_not_come(
    index: LexicalIndex,
) -> None:
    assert index.view.search("서울의 수도", 10)[0] == 1
    assert set(index.view.search("서울의 수도", 10)) == {1, 9}
    assert index.view.search("블록체인", 10) == []
    assert index.view.search("", 10) == []


def test_particles_make_no_difference(index: LexicalIndex) -> None:
    assert index.view.scores("서울의", [1])[0, 0] == index.view.scores("서울은", [1])[0, 0] > 0


def test_keys_restrict_the_search_and_k_results_come_when_k_exist(index: LexicalIndex) -> None:
    assert index.view.search("부산", 10, keys=[9]) == [9]
    assert index.view.search("부산", 10, keys=[]) == []
    assert len(index.view.search("한국", 1)) == 1


def test_no_texts_give_no_hits() -> None:
    assert LexicalIndex().view.search("서울", 3) == []
    assert LexicalIndex().view.scores("서울", [1]).tolist() == [[0, 0]]


def test_ties_are_broken_by_key() -> None:
    lexical = LexicalIndex()
    lexical.update(added=[(7, "같은 글"), (3, "같은 글")], deleted=[], generation=1)
    assert lexical.view.search("같은 글", 2) == [3, 7]


def test_update_adds_deletes_and_survives_opening_again(tmp_path: Path) -> None:
    lexical = LexicalIndex(tmp_path / "lexical")
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    lexical.update(added=[(12, "대전은 과학 도시이다.")], deleted=[1, 2, 404], generation=4)
    lexical.close()
    again = LexicalIndex(tmp_path / "lexical")
    assert again.generation == 4
    assert again.view.search("서울", 10) == [9]
    assert again.view.search("대전", 10) == [12]
    assert again.view.search("바다", 10) == []


def test_files_left_by_a_kill_do_not_stand_in_the_way(tmp_path: Path) -> None:
    folder, later = tmp_path / "lexical", tmp_path / "later"
    lexical = LexicalIndex(folder)
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    lexical.close()
    shutil.copytree(folder, later)
    ahead = LexicalIndex(later)
    ahead.update(added=[], deleted=[1], generation=4)
    # A kill before the commit leaves the file of the deletions, which the next commit writes too.
    for left in (*later.glob("*.del"), later / ".managed.json"):
        shutil.copy(left, folder)
    assert list(folder.glob("*.del"))
    again = LexicalIndex(folder)
    again.update(added=[], deleted=[2], generation=4)
    assert set(again.view.search("서울 부산", 10)) == {1, 9}


def test_clear_forgets_everything(tmp_path: Path) -> None:
    lexical = LexicalIndex(tmp_path / "lexical")
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    lexical.clear()
    assert lexical.generation == 0
    assert lexical.view.search("서울", 10) == []


def test_every_query_term_counts_as_often_as_it_stands(index: LexicalIndex) -> None:
    assert Counter(content_morphemes("바다 바다")) == {"바다": 2}
    once, twice = (index.view.scores(query, [2])[0, 0] for query in ("바다", "바다 바다"))
    assert twice == pytest.approx(2 * once)


def many_texts(count: int) -> dict[int, str]:
    """Texts whose words are common, rarer and rare."""
    generator = random.Random(3)
    words = [f"{first}{last}" for first in "강산들물불" for last in "가나다라마바사아자차"]
    frequent = [word for rank, word in enumerate(words, 1) for _ in range(200 // rank)]
    return {key: " ".join(generator.choices(frequent, k=8)) for key in range(1, count + 1)}


def ranking(lexical: LexicalIndex, query: str, keys: list[int]) -> list[int]:
    """All keys that share a term, by the scores of both fields, ties by key."""
    scores = lexical.view.scores(query, keys) @ np.array([1, 0.5], np.float32)
    order = sorted(zip(-np.round(scores, 4), keys, strict=True))
    return [key for score, key in order if score < 0]


def agrees(lexical: LexicalIndex, found: list[int], query: str, keys: list[int]) -> bool:
    """Whether these are the best; sums of floats may swap near ties."""
    best = ranking(lexical, query, keys)[: len(found)]
    scores = [
        np.sort(lexical.view.scores(query, some) @ np.array([1, 0.5], np.float32))
        for some in (found, best)
    ]
    return len(set(found)) == len(best) and np.allclose(scores[0], scores[1], atol=1e-3)


def test_a_filter_of_any_size_gives_the_best_of_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = many_texts(3_000)
    lexical = LexicalIndex()
    lexical.update(added=texts.items(), deleted=range(1, 100), generation=1)
    query = "강나 들다 불차"
    for share in (0.003, 0.03, 0.3, 0.9):
        keys = sorted(random.Random(1).sample(range(100, 3_001), int(3_000 * share)))
        wanted = ranking(lexical, query, keys)
        for few in (10_000, 5):  # looked up one by one, or tried until enough are found
            monkeypatch.setattr(lexical_module, "_FEW_KEYS", few)
            for k in (1, 20, 5_000):
                found = lexical.view.search(query, k, keys=np.array(keys))
                assert len(found) == min(k, len(wanted))
                assert set(found) <= set(keys)
                assert agrees(lexical, found, query, keys)


def test_a_filter_that_leaves_out_nearly_every_hit_still_gives_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lexical_module, "_FEW_KEYS", 5)
    lexical = LexicalIndex()
    texts = {key: "강가" if key < 500 or key in (700, 800) else "산나" for key in range(1, 1_001)}
    lexical.update(added=texts.items(), deleted=[], generation=1)
    assert lexical.view.search("강가", 3, keys=np.arange(501, 1_001)) == [700, 800]
    assert lexical.view.search("강가", 1, keys=np.arange(501, 1_001)) == [700]


def test_common_terms_left_out_of_a_search_come_back_when_too_little_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {**dict.fromkeys(range(1, 300), "흔한 강산"), 300: "드문 들판", 301: "드문 강산"}
    lexical = LexicalIndex()
    lexical.update(added=texts.items(), deleted=[], generation=1)
    monkeypatch.setattr(lexical_module, "_POSTINGS", 10)
    assert set(lexical.view.search("드문 강산", 2)) == {300, 301}
    assert lexical.view.search("드문 강산", 4)[0] == 301
    assert len(lexical.view.search("드문 강산", 500)) == 301


def test_ties_go_to_the_lowest_keys_over_all_segments() -> None:
    lexical = LexicalIndex()
    keys = random.Random(0).sample(range(1, 1_000), 300)
    for part in range(0, 300, 60):
        lexical.update(
            added=[(key, "같은 글 하나") for key in keys[part : part + 60]],
            deleted=[],
            generation=part + 1,
        )
    assert lexical.view.search("같은 글", 25) == sorted(keys)[:25]
    assert lexical.view.search("같은 글", 5, keys=sorted(keys)[7:]) == sorted(keys)[7:12]
    assert len(set(lexical.view.scores("같은 글", keys)[:, 1].tolist())) == 1


def test_scores_of_keys_in_any_order_unknown_and_repeated(index: LexicalIndex) -> None:
    one = index.view.scores("한국의 수도", [1])[0].tolist()
    assert index.view.scores("한국의 수도", [404, 1, 5, 1]).tolist() == [[0, 0], one, [0, 0], one]


def test_prepared_texts_are_as_good_as_texts(index: LexicalIndex) -> None:
    prepared = pickle.loads(pickle.dumps(LexicalIndex.prepare(list(TEXTS.values()))))  # noqa: S301
    lexical = LexicalIndex()
    added = zip(TEXTS, prepared, strict=True)
    lexical.update(added=added, deleted=[], generation=1)
    for query in ("서울의 수도", "부산 바다"):
        assert (
            lexical.view.scores(query, list(TEXTS)).tolist()
            == index.view.scores(query, list(TEXTS)).tolist()
        )


def test_a_view_stays_what_it_is(tmp_path: Path) -> None:
    lexical = LexicalIndex(tmp_path / "lexical")
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    view = lexical.view
    lexical.update(added=[(12, "대전의 수도")], deleted=[1], generation=4)
    assert (len(view), len(lexical.view)) == (4, 4)
    lexical.clear()
    assert (view.generation, lexical.view.generation, len(lexical.view)) == (3, 0, 0)
    lexical.close()
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: view.search("서울의 수도", 10), range(200))
    assert all(keys == [1, 9] for keys in found)


def test_what_another_object_commits_is_seen_after_reload(tmp_path: Path) -> None:
    writer, reader = LexicalIndex(tmp_path / "lexical"), LexicalIndex(tmp_path / "lexical")
    writer.update(added=TEXTS.items(), deleted=[], generation=3)
    assert reader.generation == 0
    reader.reload()
    view = reader.view
    assert view.search("서울의 수도", 1) == [1]
    reader.reload()
    assert reader.view is view  # nothing new
    writer.update(added=[(12, "대전")], deleted=[1], generation=4)
    with pytest.raises(RuntimeError, match=r"of generation 4, not 3.*call reload\(\) first"):
        reader.update(added=[(13, "광주")], deleted=[], generation=5)
    reader.reload()
    reader.update(added=[(13, "광주")], deleted=[], generation=5)
    assert reader.view.search("대전 광주", 5) == [12, 13]
    writer.clear()
    reader.reload()
    assert (reader.generation, reader.view.search("대전", 5)) == (0, [])


def test_threads_that_reload_beside_a_writer_end_at_its_last_commit(tmp_path: Path) -> None:
    lexical, writer = LexicalIndex(tmp_path / "lexical"), LexicalIndex(tmp_path / "lexical")
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            lexical.reload()

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for generation in range(1, 15):
            writer.update(added=[(generation, "강산")], deleted=[], generation=generation)
        done.set()
    assert [reader.result() for reader in readers] == [None] * 4
    lexical.reload()
    assert (lexical.generation, len(lexical.view)) == (14, 14)


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A folder of several segments, one with deletions."""
    lexical = LexicalIndex(tmp_path / "grown")
    lexical.update(added=TEXTS.items(), deleted=[], generation=8)
    lexical.update(added=[(51, "대구의 사과")], deleted=[], generation=9)
    lexical.update(added=[], deleted=[51], generation=10)
    lexical.close()
    return tmp_path / "grown"


def test_damage_to_any_file_is_noticed_or_harmless(grown: Path, tmp_path: Path) -> None:
    generator = random.Random(0)
    queries = ["서울의 수도", "부산 바다", "연차휴가"]
    wanted = [LexicalIndex(grown).view.scores(query, range(1, 70)).tolist() for query in queries]
    names = sorted(path.name for path in grown.iterdir() if path.stat().st_size)
    assert sum(name.endswith((".idx", ".term", ".del")) for name in names) >= 5
    for number, (name, cut) in enumerate([(name, cut) for name in names for cut in (False, True)]):
        folder = tmp_path / f"damaged{number}"
        shutil.copytree(grown, folder)
        data = bytearray((folder / name).read_bytes())
        place = generator.randrange(len(data))
        if not cut:
            data[place] ^= 1 << generator.randrange(8)
        else:
            del data[place:]
        (folder / name).write_bytes(data)
        lexical = LexicalIndex(folder)
        if lexical.generation:
            assert name == ".managed.json", name
            found = [lexical.view.scores(query, range(1, 70)).tolist() for query in queries]
            assert found == wanted
        else:
            assert (folder / name).exists()  # looking deletes nothing: a writer may be at work
            assert lexical.view.search("서울", 3) == []
            lexical.update(added=TEXTS.items(), deleted=[], generation=11)
            assert LexicalIndex(folder).view.search("서울의 수도", 1) == [1]
        lexical.close()


def test_a_missing_file_is_noticed(grown: Path, tmp_path: Path) -> None:
    for number, name in enumerate(sorted(path.name for path in grown.glob("*.*[!l]"))):
        folder = tmp_path / f"missing{number}"
        shutil.copytree(grown, folder)
        (folder / name).unlink()
        assert LexicalIndex(folder).generation == 0 or name.startswith("."), name


def test_a_kill_between_the_commit_and_its_checksums_costs_nothing(grown: Path) -> None:
    before = (grown / "checksums.json").read_bytes()
    lexical = LexicalIndex(grown)
    old = {path.name for path in grown.iterdir()}
    lexical.update(added=[(77, "대전은 과학 도시이다.")], deleted=[1], generation=11)
    lexical.close()
    (grown / "checksums.json").write_bytes(before)
    again = LexicalIndex(grown)
    assert (again.generation, again.view.search("대전", 3), again.view.search("서울", 3)) == (
        11,
        [77],
        [9],
    )
    again.close()
    new = next(path for path in sorted(grown.glob("*.idx")) if path.name not in old)
    data = bytearray(new.read_bytes())
    data[len(data) // 3] ^= 4
    new.write_bytes(data)
    assert LexicalIndex(grown).generation == 0


def test_a_folder_that_may_not_be_written_to_can_be_read(
    grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in grown.iterdir()}
    for name in before:
        if name.startswith(".tantivy"):
            (grown / name).unlink()
    monkeypatch.setattr(lexical_module.os, "access", lambda *_: False)
    lexical = LexicalIndex(grown)
    assert (lexical.generation, lexical.view.search("서울의 수도", 1)) == (10, [1])
    after = {path.name: path.stat().st_mtime_ns for path in grown.iterdir()}
    assert after.items() <= before.items()


def test_an_index_of_another_analysis_is_left_aside(tmp_path: Path) -> None:
    import tantivy

    schema = tantivy.SchemaBuilder().add_text_field("words").build()
    writer = tantivy.Index(schema, path=str(tmp_path)).writer(15_000_000, 1)
    writer.add_document(tantivy.Document.from_dict({"words": "서울"}, schema))
    writer.commit()
    writer.wait_merging_threads()
    lexical_module.record_checksums(tmp_path)
    lexical = LexicalIndex(tmp_path)
    assert (lexical.generation, lexical.view.search("서울", 3)) == (0, [])
    lexical.update(added=TEXTS.items(), deleted=[], generation=1)
    assert LexicalIndex(tmp_path).view.search("서울의 수도", 1) == [1]


def test_opening_makes_nothing(tmp_path: Path) -> None:
    assert LexicalIndex(tmp_path / "lexical").view.search("서울", 3) == []
    assert not (tmp_path / "lexical").exists()


def test_what_cannot_be_written_is_an_os_error_and_changes_nothing(
    grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("An index writer was killed")

    lexical = LexicalIndex(grown)
    monkeypatch.setattr(lexical_module, "_commit", refuse)
    with pytest.raises(OSError, match="cannot be written: An index writer was killed; see that"):
        lexical.update(added=[(77, "대전")], deleted=[], generation=11)
    assert lexical.generation == 10
    monkeypatch.undo()
    lexical.reload()
    lexical.update(added=[(77, "대전")], deleted=[], generation=11)
    assert lexical.view.search("대전", 3) == [77]


def test_a_failing_source_of_texts_leaves_the_index_as_it_was(grown: Path) -> None:
    def texts():
        yield 77, "대전"
        raise KeyError("gone")

    lexical = LexicalIndex(grown)
    with pytest.raises(KeyError, match="gone"):
        lexical.update(added=texts(), deleted=[1], generation=11)
    assert (lexical.generation, lexical.view.search("대전 수도", 3)) == (10, [1])
    lexical.update(added=[(78, "대전")], deleted=[], generation=11)
    assert lexical.view.search("대전", 3) == [78]


def _replace_texts(folder: Path, rounds: int) -> None:
    """Each commit holds twenty texts with its own number, and no others."""
    lexical = LexicalIndex(folder)
    for number in range(2, rounds + 2):
        first = number * 20
        added = [(key, f"모두 숫자{number}번") for key in range(first, first + 20)]
        lexical.update(added=added, deleted=range(first - 20, first), generation=number)


def _read_texts(folder: Path, last: int, seconds: float, results) -> None:
    end = time.monotonic() + seconds
    seen, opened = set(), 0
    while time.monotonic() < end:
        lexical = LexicalIndex(folder)
        opened += 1
        for _ in range(5):
            lexical.reload()
            view = lexical.view
            found = view.search("모두", 50)
            if sorted(found) != list(range(view.generation * 20, view.generation * 20 + 20)):
                results.put(f"generation {view.generation} holds {found}")
                return
            seen.add(view.generation)
        if last in seen:
            break
    results.put((len(seen), opened, max(seen)))


def test_readers_beside_a_writer_see_whole_commits(tmp_path: Path) -> None:
    folder, rounds = tmp_path / "lexical", 25
    first = LexicalIndex(folder)
    first.update(added=[(key, "모두 숫자1번") for key in range(20, 40)], deleted=[], generation=1)
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    readers = [
        processes.Process(target=_read_texts, args=(folder, rounds + 1, 60.0, results))
        for _ in range(2)
    ]
    writer = processes.Process(target=_replace_texts, args=(folder, rounds))
    for process in (*readers, writer):
        process.start()
    found = [results.get(timeout=120) for _ in readers]
    for process in (*readers, writer):
        process.join()
    assert writer.exitcode == 0
    assert all(isinstance(one, tuple) and one[2] == rounds + 1 for one in found), found
    left = [path.suffix for path in folder.iterdir() if path.suffix == ".idx"]
    assert len(left) < 25  # merged and removed, not left behind
