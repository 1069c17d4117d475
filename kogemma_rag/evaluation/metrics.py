"""Rankings and grades in, how good a ranking is out, 0 to 1, higher is better. Plain arithmetic.

A ranking holds ids of documents, best first, each once. Grades are those of `Question.relevant`:
above 0, and 0 for what is not named.
"""

import math
from collections.abc import Mapping, Sequence


def recall(ranking: Sequence[str], relevant: Mapping[str, int], k: int) -> float:
    """The share of the relevant documents that stand among the first k."""
    return _found(ranking, relevant, k) / len(relevant)


def hit(ranking: Sequence[str], relevant: Mapping[str, int], k: int) -> float:
    """1 where a relevant document stands among the first k, else 0 (also called success)."""
    return float(_found(ranking, relevant, k) > 0)


def reciprocal_rank(ranking: Sequence[str], relevant: Mapping[str, int], k: int) -> float:
    """1 / rank of the first relevant document, from 1; 0 where none stands among the first k."""
    ranks = (rank for rank, id_ in enumerate(ranking[:k], start=1) if id_ in relevant)
    return 1 / next(ranks, math.inf)


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], k: int) -> float:
    """Discounted cumulative gain of the first k over that of the best possible ranking.

    The gain is the grade itself (linear, not 2 ** grade - 1), divided by log2(rank + 1): Järvelin
    and Kekäläinen (2002), and what trec_eval computes.
    """
    best = sorted(relevant.values(), reverse=True)
    gains = [relevant.get(id_, 0) for id_ in ranking]
    return _discounted(gains[:k]) / _discounted(best[:k])


def _found(ranking: Sequence[str], relevant: Mapping[str, int], k: int) -> int:
    return sum(id_ in relevant for id_ in ranking[:k])


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
