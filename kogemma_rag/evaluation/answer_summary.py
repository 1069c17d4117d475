"""Rows of what systems answered in, metrics with their intervals and comparisons out.

A metric is the mean over the questions that have it; not every question has all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kogemma_rag.evaluation.statistics import bootstrap_means, randomization_test

# In the order in which a report tells them; those of KorQuAD's script and ours, then the rest.
METRICS = (
    *("exact_match", "f1", "containment", "containment_spaceless"),
    *("exact_match_official", "f1_official"),
    *("quote@1", "quote@3", "place@1", "place@3"),
    *("citation_precision", "citation_relevance", "citation_recall", "dropped_citations"),
    *("false_refusal", "refusal", "refusal_unanswerable"),
    *("groundedness", "groundedness_numbers", "groundedness_dates"),
    *("groundedness_latin", "groundedness_morphemes"),
    *("judge_correct", "judge_faithful", "failed"),
)

Values = Mapping[str, Mapping[str, float]]
"""Of one system: by metric, by question id."""


def metric_values(rows: Mapping[str, Mapping[str, Any]]) -> Values:
    """The values of rows by question id, see `answering`; a failed row has `failed` alone."""
    values: dict[str, dict[str, float]] = {}
    for id_, row in rows.items():
        failed = "error" in row
        scores = {**row.get("scores", {}), "failed": float(failed)}
        without = row.get("without_relevant", {})
        if without.get("counted"):
            scores["refusal"] = float(without["refused"])
        for metric, score in scores.items():
            values.setdefault(metric, {})[id_] = score
    return {metric: values[metric] for metric in METRICS if metric in values}


def intervals(values: Values, *, seed: int) -> dict[str, dict[str, float]]:
    """Mean of each metric with the bounds of its 95 % confidence interval."""
    result: dict[str, dict[str, float]] = {}
    # Metrics of the same questions share their resamples, which are most of the work.
    groups: dict[tuple[str, ...], list[str]] = {}
    for metric, by_question in values.items():
        groups.setdefault(tuple(by_question), []).append(metric)
    for ids, metrics in groups.items():
        table = [[values[metric][id_] for metric in metrics] for id_ in ids]
        means = bootstrap_means(table, seed=seed)
        for column, metric in enumerate(metrics):
            low, high = means.interval(column)
            value = float(means.values[column])
            result[metric] = {"value": value, "low": low, "high": high, "questions": len(ids)}
    return {metric: result[metric] for metric in values}


def comparisons(systems: Mapping[str, Values], *, seed: int) -> list[dict[str, Any]]:
    """Every system with the first, on the questions for which both have the metric."""
    first, *others = systems
    found = []
    for name in others:
        for metric, mine in systems[name].items():
            theirs = systems[first].get(metric, {})
            if shared := [id_ for id_ in mine if id_ in theirs]:
                pairs = [(mine[id_], theirs[id_]) for id_ in shared]
                found.append({"metric": metric, "a": name, "b": first, **_compared(pairs, seed)})
    return found


def _compared(pairs: Sequence[tuple[float, float]], seed: int) -> dict[str, float]:
    table = np.array(pairs)
    means = bootstrap_means(table, seed=seed)
    low, high = means.difference_interval(0, 1)
    difference = table[:, 0] - table[:, 1]
    return {
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "p": randomization_test(difference[:, None], seed=seed)[0],
    }


def percentiles(milliseconds: Sequence[float]) -> dict[str, float] | None:
    """Median and 95th percentile; None of nothing."""
    if not milliseconds:
        return None
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}
