"""Fused scores against numbers worked by hand."""

import math

import numpy as np
import pytest

from kogemma_rag.fusion import confidence_sum, reciprocal_rank_sum, word_coverage


def table(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_confidence_worked_by_hand() -> None:
    # Z-scores -1 and 1 in each column; the words' (1 * 1 - 1 * 0.5) / 1.5 and the opposite.
    scores = table((0.1, 30, 2), (0.3, 10, 6))
    meaning = math.exp(1) / (math.exp(1) + math.exp(-1))
    words = math.exp(1 / 3) / (math.exp(1 / 3) + math.exp(-1 / 3))
    expected = [1 - meaning + 1.5 * words, meaning + 1.5 * (1 - words)]
    assert confidence_sum(scores, (1.0, 1.0, 0.5)) == pytest.approx(expected)


def test_what_words_weigh_among_themselves_is_not_how_sure_they_are() -> None:
    scores = table((0.1, 30, 2), (0.3, 10, 6), (0.2, 5, 5))
    once, twice = (confidence_sum(scores, (0, share, share / 2)) for share in (1.0, 2.0))
    assert twice == pytest.approx(2 * once)


def test_coverage_counts_among_the_words() -> None:
    scores = table((0.5, 3, 3), (0.5, 3, 3))
    coverage = np.array([[0.2, 0.1], [0.8, 0.3]])  # z-scores -1 and 1
    words = math.exp(0.6) / (math.exp(0.6) + math.exp(-0.6))
    fused = confidence_sum(scores, (1.0, 1.0, 0.5), coverage)
    assert fused == pytest.approx([0.5 + 1.5 * (1 - words), 0.5 + 1.5 * words])


def test_a_side_that_is_sure_beats_one_that_is_not() -> None:
    # Words tell one of ten far from the rest; vectors are nearly even, and against it.
    scores = np.zeros((10, 3), np.float32)
    scores[:, 0] = np.linspace(0.50, 0.52, 10)
    scores[0, 1:] = 20
    assert confidence_sum(scores, (1.0, 1.0, 0.5)).argmax() == 0
    # Words that no candidate has decide nothing.
    scores[:, 1:] = 0
    assert confidence_sum(scores, (1.0, 1.0, 0.5)).argmax() == 9


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_engines_may_have_fewer_scorers(columns: int) -> None:
    scores = table((0.1, 3, 3), (0.9, 1, 1), (0.2, 2, 2))[:, :columns]
    weights = (0.5, 1.0, 0.5)[:columns]
    order = np.argsort(-confidence_sum(scores, weights)).tolist()
    assert order[0] == (1 if columns == 1 else 0)
    assert len(reciprocal_rank_sum(scores, weights)) == 3


def test_scale_and_origin_of_a_scorer_do_not_matter() -> None:
    scores = table((0.1, 3, 3), (0.9, 1, 1), (0.2, 2, 2))
    moved = scores * np.array([0.01, 7, 100], np.float32) + np.array([0.8, 0, 5], np.float32)
    weights = (1.0, 1.0, 0.5)
    expected = confidence_sum(scores, weights)
    assert confidence_sum(moved, weights) == pytest.approx(expected, abs=1e-4)


def test_one_candidate_and_equal_candidates() -> None:
    assert confidence_sum(table((0.5, 0, 0)), (1.0, 1, 0.5)) == pytest.approx([2.5])
    assert len(set(confidence_sum(table((1, 2, 3), (1, 2, 3)), (1.0, 1, 0.5)))) == 1


def test_reciprocal_ranks_worked_by_hand() -> None:
    scores = table((0.9, 1), (0.5, 7), (0.5, 7), (0.1, 0))
    expected = [2 / 61 + 1 / 63, 2 / 62 + 1 / 61, 2 / 62 + 1 / 61, 2 / 64 + 1 / 64]
    assert reciprocal_rank_sum(scores, (2.0, 1.0)) == pytest.approx(expected)


def test_coverage_worked_by_hand() -> None:
    # Content morphemes: 서울, 수도. Each stands in two of three texts: equal shares.
    texts = ["서울은 수도이다.", "서울에 산다.", "수도는 크다."]
    coverage = word_coverage("서울 수도", texts)
    assert coverage[:, 0] == pytest.approx([1.0, 0.5, 0.5])
    # Bigrams 서울, 울수, 수도 stand in 2, 0 and 2 of the texts.
    rarity = np.log1p([1.5 / 2.5, 3.5 / 0.5, 1.5 / 2.5])
    once = rarity[0] / rarity.sum()
    assert coverage[:, 1] == pytest.approx([2 * once, once, once])


def test_words_of_one_sentence_cover_more_than_scattered_ones() -> None:
    apart = "서울은 크다. 한국에는 산이 많다. 수도는 물이다."
    together = "서울은 한국의 수도이다. 산이 많다. 물이다."
    (far, spread), (near, close) = word_coverage("한국의 수도", [apart, together])
    assert far == near == pytest.approx(1.0)
    assert close > spread


@pytest.mark.parametrize("query", ["", "은 는", "?", "가"])
def test_a_query_without_words_covers_nothing(query: str) -> None:
    coverage = word_coverage(query, ["서울", ""])
    assert coverage.shape == (2, 2)
    assert np.isfinite(coverage).all()
    assert coverage[1].tolist() == [0, 0]


def test_case_and_place_do_not_matter_and_markup_is_text() -> None:
    coverage = word_coverage("BERT 모델", ["bert\n모델", "<b>BeRt</b> 모델"])
    assert coverage[:, 0] == pytest.approx([1.0, 1.0])
