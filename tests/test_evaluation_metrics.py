"""Measures of rankings and their statistics: by hand, against trec_eval and against SciPy."""

import itertools
import math

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, R, Success, nDCG
from scipy import stats

from kogemma_rag.evaluation import metrics, statistics

RANKING = ["d", "a", "x", "b"]
RELEVANT = {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("measure", "k", "value"),
    [
        (metrics.recall, 1, 0.0),
        (metrics.recall, 2, 1 / 3),
        (metrics.recall, 10, 2 / 3),
        (metrics.hit, 1, 0.0),
        (metrics.hit, 2, 1.0),
        (metrics.reciprocal_rank, 1, 0.0),
        (metrics.reciprocal_rank, 4, 0.5),
        # Gains 0, 2, 0, 1 against 2, 1, 1.
        (
            metrics.ndcg,
            4,
            (2 / math.log2(3) + 1 / math.log2(5)) / (2 + 1 / math.log2(3) + 1 / 2),
        ),
        (metrics.ndcg, 2, (2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        (metrics.ndcg, 1, 0.0),
    ],
)
def test_measure_by_hand(measure, k: int, value: float) -> None:
    assert measure(RANKING, RELEVANT, k) == pytest.approx(value, abs=1e-15)


def test_measures_are_those_of_trec_eval() -> None:
    random = np.random.default_rng(5)
    ours = {
        R: metrics.recall,
        Success: metrics.hit,
        RR: metrics.reciprocal_rank,
        nDCG: metrics.ndcg,
    }
    qrels, run, expected = {}, {}, {}
    for number in range(60):
        ids = [f"d{name}" for name in random.permutation(40)]
        grades = {
            id_: int(grade) for id_, grade in zip(ids[:12], random.integers(0, 4, 12), strict=True)
        }
        relevant = {id_: grade for id_, grade in grades.items() if grade}
        found = random.permutation(ids)[: random.integers(1, 30)]
        question = f"q{number}"
        qrels[question] = grades
        scores = random.random(len(found))
        run[question] = {str(id_): float(s) for id_, s in zip(found, scores, strict=True)}
        ranking = sorted(run[question], key=run[question].__getitem__, reverse=True)
        for name, measure in ours.items():
            for k in (1, 3, 10, 25):
                expected[question, str(name @ k)] = measure(ranking, relevant, k)
    # RR@k is by the script of MS MARCO, all others by pytrec_eval.
    asked = [name @ k for name in ours for k in (1, 3, 10, 25)]
    calculated = ir_measures.iter_calc(asked, qrels, run)
    theirs = {(each.query_id, str(each.measure)): each.value for each in calculated}
    assert theirs == pytest.approx(expected, abs=1e-12)
    assert len(theirs) == 60 * 16


def test_interval_is_that_of_all_resamples() -> None:
    """Of five values, every resample can be listed."""
    values = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    other = np.array([0.1, 0.1, 0.4, 0.3, 0.2])
    means = statistics.bootstrap_means(np.column_stack([values, other]))
    assert means.values.tolist() == pytest.approx([0.52, 0.22])
    drawn = np.array(list(itertools.product(range(5), repeat=5)))
    every = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    assert means.interval(0) == pytest.approx(every, abs=0.021)  # a step of the means is 0.02
    differences = (values - other)[drawn].mean(axis=1)
    every = np.quantile(differences, [0.025, 0.975])
    assert means.difference_interval(0, 1) == pytest.approx(every, abs=0.021)


def test_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(2).random(300)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(0)
    ).confidence_interval
    ours = statistics.bootstrap_means(values[:, None]).interval(0)
    assert ours == pytest.approx(tuple(theirs), abs=2e-3)
    assert ours[1] - ours[0] == pytest.approx(2 * 1.96 * values.std() / math.sqrt(300), rel=0.04)


def test_intervals_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(3).random((50, 3))
    whole = statistics.bootstrap_means(table, resamples=1000).resampled
    monkeypatch.setattr(statistics, "_BLOCK_CELLS", 50 * 7)
    parts = statistics.bootstrap_means(table, resamples=1000).resampled
    np.testing.assert_allclose(parts, whole, atol=1e-12)


def test_randomization_by_hand() -> None:
    """Of the 8 signs of 1, 2, 3 only +++ and --- reach 6; of 1, 1, -1 all reach 1."""
    assert statistics.randomization_test([[1, 1], [2, 1], [3, -1]]) == [0.25, 1.0]
    assert statistics.randomization_test([[0.0], [0.0]]) == [1.0]
    assert statistics.randomization_test([[0.0, 1.0], [0.5, 0.0]]) == [1.0, 1.0]


def test_randomization_is_that_of_scipy() -> None:
    random = np.random.default_rng(4)
    a, b = random.random((2, 12)).round(1)

    def exact(x, y, axis):
        return np.mean(x - y, axis=axis)

    theirs = stats.permutation_test(
        (a, b), exact, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert statistics.randomization_test((a - b)[:, None]) == [pytest.approx(theirs, abs=1e-12)]


def test_random_signs_are_near_all_signs() -> None:
    differences = np.random.default_rng(6).normal(0.25, 1, (16, 1))
    sums = np.array(list(itertools.product([1, -1], repeat=16))) @ differences[:, 0]
    exact = (np.abs(sums) >= abs(differences.sum()) - 1e-9).mean()
    assert statistics.randomization_test(differences) == [pytest.approx(exact, abs=0.015)]
    assert 0.05 < exact < 0.95
    # These signs are counted among the random ones: p is never 0.
    assert statistics.randomization_test(np.ones((40, 1))) == [pytest.approx(1 / 10_001)]


def test_no_question_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no question"):
        statistics.bootstrap_means(np.empty((0, 2)))
    with pytest.raises(ValueError, match="no question"):
        statistics.randomization_test(np.empty((0, 2)))
