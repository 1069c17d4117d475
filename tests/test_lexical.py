import math
import shutil
from collections import Counter
from pathlib import Path

import pytest

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
    scores = index.scores(query, list(TEXTS))
    for column, analyze in enumerate((content_morphemes, character_bigrams)):
        documents = [analyze(text) for text in TEXTS.values()]
        expected = [bm25(analyze(query), document, documents) for document in documents]
        # tantivy keeps lengths up to 40 terms exactly.
        assert scores[:, column].tolist() == pytest.approx(expected, rel=1e-4)


def test_best_text_comes_first_and_texts_without_a_shared_term_do_not_come(
    index: LexicalIndex,
) -> None:
    assert index.search("서울의 수도", 10)[0] == 1
    assert set(index.search("서울의 수도", 10)) == {1, 9}
    assert index.search("블록체인", 10) == []
    assert index.search("", 10) == []


def test_particles_make_no_difference(index: LexicalIndex) -> None:
    assert index.scores("서울의", [1])[0, 0] == index.scores("서울은", [1])[0, 0] > 0


def test_keys_restrict_the_search_and_k_results_come_when_k_exist(index: LexicalIndex) -> None:
    assert index.search("부산", 10, keys=[9]) == [9]
    assert index.search("부산", 10, keys=[]) == []
    assert len(index.search("한국", 1)) == 1


def test_no_texts_give_no_hits() -> None:
    assert LexicalIndex().search("서울", 3) == []
    assert LexicalIndex().scores("서울", [1]).tolist() == [[0, 0]]


def test_ties_are_broken_by_key() -> None:
    lexical = LexicalIndex()
    lexical.update(added=[(7, "같은 글"), (3, "같은 글")], deleted=[], generation=1)
    assert lexical.search("같은 글", 2) == [3, 7]


def test_update_adds_deletes_and_survives_opening_again(tmp_path: Path) -> None:
    lexical = LexicalIndex(tmp_path / "lexical")
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    lexical.update(added=[(12, "대전은 과학 도시이다.")], deleted=[1, 2, 404], generation=4)
    lexical.close()
    again = LexicalIndex(tmp_path / "lexical")
    assert again.generation == 4
    assert again.search("서울", 10) == [9]
    assert again.search("대전", 10) == [12]
    assert again.search("바다", 10) == []


def test_damaged_files_are_dropped_and_can_be_filled_again(tmp_path: Path) -> None:
    folder = tmp_path / "lexical"
    lexical = LexicalIndex(folder)
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    lexical.close()
    (folder / "meta.json").write_bytes(b"\x00damaged")
    again = LexicalIndex(folder)
    assert again.generation == 0
    again.update(added=TEXTS.items(), deleted=[], generation=5)
    assert again.search("수도", 1) == [1]


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
    assert set(again.search("서울 부산", 10)) == {1, 9}


def test_clear_forgets_everything(tmp_path: Path) -> None:
    lexical = LexicalIndex(tmp_path / "lexical")
    lexical.update(added=TEXTS.items(), deleted=[], generation=3)
    lexical.clear()
    assert lexical.generation == 0
    assert lexical.search("서울", 10) == []


def test_every_query_term_counts_as_often_as_it_stands(index: LexicalIndex) -> None:
    assert Counter(content_morphemes("바다 바다")) == {"바다": 2}
    once, twice = (index.scores(query, [2])[0, 0] for query in ("바다", "바다 바다"))
    assert twice == pytest.approx(2 * once)
