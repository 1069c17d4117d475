"""Values of questions in, confidence intervals and significance out: by resampling, plain numpy.

Nothing is assumed about how values are spread. Same values, same seed, same result.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Table = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
_BLOCK_CELLS = 1 << 22  # of a block of resamples: 32 MiB
_ROUNDING = 1e-9  # sums of the same values in another order are equal


@dataclass(frozen=True)
class Means:
    """Means over questions, with what they were in resamples of the questions.

    Attributes:
        values: Shape (columns,).
        resampled: Shape (resamples, columns). A row is the same resample for all columns, so that
            columns may be subtracted from each other.
    """

    values: Table
    resampled: Table

    def interval(self, column: int) -> tuple[float, float]:
        """Bounds of the 95 % confidence interval of a column's mean."""
        return _bounds(self.resampled[:, column])

    def difference_interval(self, a: int, b: int) -> tuple[float, float]:
        """Bounds of the 95 % confidence interval of mean a - mean b, question by question."""
        return _bounds(self.resampled[:, a] - self.resampled[:, b])


def bootstrap_means(table: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Means:
    """Means of columns, and of resamples of the rows, for percentile intervals.

    Efron and Tibshirani (1993), chapter 13. A resample draws as many questions as there are, with
    repeats.

    Args:
        table: Shape (questions, columns).
        seed: Of the random numbers.
        resamples: How many.

    Raises:
        ValueError: If there is no question.
    """
    values = _table(table)
    rows = len(values)
    random = np.random.default_rng(seed)
    resampled = np.empty((resamples, values.shape[1]))
    for first, count in _blocks(resamples, rows):
        drawn = random.integers(0, rows, (count, rows), dtype=np.int32)
        drawn += rows * np.arange(count, dtype=np.int32)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
        resampled[first : first + count] = times.astype(np.float64) @ values / rows
    return Means(values.mean(axis=0), resampled)


def randomization_test(
    differences: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[float]:
    """How likely differences as large as these are, were both systems the same: two-sided p.

    Then each question's difference might as well have the other sign (Fisher's test; Smucker, Allan
    and Carterette, 2007). All signs are tried where there are no more than `resamples`, else so
    many random ones, with these signs counted among them.

    Args:
        differences: Shape (questions, columns): value of one system minus that of the other.
        seed: Of the random numbers.
        resamples: How many.

    Raises:
        ValueError: If there is no question.
    """
    values = _table(differences)
    observed = np.abs(values.sum(axis=0)) - _ROUNDING
    extreme = np.ones(values.shape[1])
    random = np.random.default_rng(seed)
    for _, count in _blocks(resamples, len(values)):
        flips = random.integers(0, 2, (count, len(values)), dtype=np.int8)
        sums = (2.0 * flips - 1.0) @ values
        extreme += (np.abs(sums) >= observed).sum(axis=0)
    chances = extreme / (resamples + 1)
    # A difference of zero has no sign.
    for column in np.flatnonzero(np.count_nonzero(values, axis=0) <= np.log2(resamples)):
        different = values[values[:, column] != 0, column]
        chances[column] = (np.abs(_all_sums(different)) >= observed[column]).mean()
    return [float(chance) for chance in chances]


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of values under all signs, shape (2 ** n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _table(values: ArrayLike) -> Table:
    table = np.asarray(values, np.float64)
    if not len(table):
        raise ValueError("there is no question; means need one at least")
    return table


def _blocks(total: int, width: int) -> list[tuple[int, int]]:
    """Where each block of resamples begins, and how many are in it."""
    size = max(1, _BLOCK_CELLS // width)
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def _bounds(means: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
