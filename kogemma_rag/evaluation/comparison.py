"""Two runs in, what changed between them out: question by question, on those that both asked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kogemma_rag.evaluation.answer_summary import metric_values
from kogemma_rag.evaluation.report_tables import LOWER_IS_BETTER
from kogemma_rag.evaluation.retrieval import MEASURES
from kogemma_rag.evaluation.runs import RUN_FORMAT, RunError
from kogemma_rag.evaluation.statistics import bootstrap_means, randomization_test

_KEPT = 10  # hits of a question that a run keeps
# By which a question got better or worse: the first that a system has, at its greatest k.
_DECIDING = ("mrr", "f1", "refusal", "refusal_unanswerable", "citation_relevance", "acc", "failed")
_MOST_SHOWN = 100  # questions that got better, and as many that got worse

_Values = Mapping[str, Mapping[str, float]]  # by question, by metric


def compare_runs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two runs of a kind on the questions that both have: same id, same wording.

    Systems are paired by name; where each run has one alone, these are paired.

    Args:
        first: The run before a change, as `read_run` gives it.
        second: The run after it.

    Returns:
        kind "comparison", format, title, runs (title, started, fingerprint of each), questions (how
        many both have), rows, better, worse, notes. A row: system, metric, a and b (means of first
        and second), difference (b minus a) with its 95 % interval low and high, p. better and
        worse: count, and shown: each system, id, question, metric, a, b.

    Raises:
        RunError: If the runs are of different kinds, have no system or no question in common, or
            looked at more hits than a run keeps.
    """
    if first["kind"] != second["kind"]:
        raise RunError(
            f"one run is of kind {first['kind']!r}, the other of {second['kind']!r}; name two runs "
            "of one kind"
        )
    common = _common(first, second)
    rows, changes = [], []
    for name, a, b in _pairs(first, second):
        before, after = _values(first, a, common), _values(second, b, common)
        rows += _rows(name, before, after)
        changes += _changes(name, _deciding(before), before, after)
    texts = {question["id"]: question["question"] for question in first["questions"]}
    return {
        "kind": "comparison",
        "format": RUN_FORMAT,
        "title": f"{first['title']} — {second['title']}",
        "runs": [_described(run) for run in (first, second)],
        "questions": len(common),
        "rows": rows,
        "better": _told([each for each in changes if _is_better(each)], texts),
        "worse": _told([each for each in changes if not _is_better(each)], texts),
        "notes": _notes(first, second, common),
    }


def _described(run: Mapping[str, Any]) -> dict[str, Any]:
    data = run.get("data") or {}
    return {
        "title": run["title"],
        "started": run.get("started"),
        "fingerprint": data.get("fingerprint"),
        "settings": run.get("settings"),
    }


def _common(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Ids of the questions that both runs asked in the same words."""
    wordings = {question["id"]: question["question"] for question in second["questions"]}
    common = [
        question["id"]
        for question in first["questions"]
        if wordings.get(question["id"]) == question["question"]
    ]
    if not common:
        raise RunError("the two runs have no question in common; compare runs on the same data")
    return common


def _notes(first: Mapping[str, Any], second: Mapping[str, Any], common: Sequence[str]) -> list[str]:
    notes = []
    fingerprints = [(run.get("data") or {}).get("fingerprint") for run in (first, second)]
    if fingerprints[0] != fingerprints[1]:
        notes.append(
            "두 평가의 자료가 같지 않습니다. 함께 든 질문만 견주지만, 찾을 문서가 다르면 차이는 "
            "바꾼 것 때문만이 아닙니다."
        )
    left_out = len(first["questions"]) + len(second["questions"]) - 2 * len(common)
    if left_out:
        notes.append(f"한쪽에만 있는 질문 {left_out:,}개는 견주지 않았습니다.")
    if first["kind"] == "retrieval" and (deep := sorted(_deeper(first) | _deeper(second))):
        told = ", ".join(map(str, deep))
        notes.append(
            f"평가는 질문마다 {_KEPT}개까지만 적어 두므로 k={told}은(는) 견주지 않았습니다."
        )
    return notes


def _deeper(run: Mapping[str, Any]) -> set[int]:
    """The ks of which a run does not keep all hits."""
    return {k for k in run["settings"]["ks"] if k > _KEPT}


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A name for each pair of systems, and the system's name in either run."""
    if first["kind"] == "kobest":
        a, b = first["model"], second["model"]
        return [(a if a == b else f"{a} → {b}", a, b)]
    ours, theirs = ([system["name"] for system in run["systems"]] for run in (first, second))
    if len(ours) == len(theirs) == 1 and ours != theirs:
        return [(f"{ours[0]} → {theirs[0]}", ours[0], theirs[0])]
    common = [name for name in ours if name in theirs]
    if not common:
        raise RunError(
            f"the runs have no system in common: {', '.join(ours)} and {', '.join(theirs)}; give "
            "the systems the same names"
        )
    return [(name, name, name) for name in common]


def _values(run: Mapping[str, Any], system: str, common: Sequence[str]) -> _Values:
    """Every metric of every common question, as the run has it."""
    wanted = set(common)
    questions = {each["id"]: each for each in run["questions"] if each["id"] in wanted}
    if run["kind"] == "kobest":
        return {id_: dict(_task_values(question)) for id_, question in questions.items()}
    rows = {id_: question["results"][system] for id_, question in questions.items()}
    if run["kind"] == "answers":
        found = metric_values(rows)
        return {
            id_: {metric: values[id_] for metric, values in found.items() if id_ in values}
            for id_ in rows
        }
    ks = [k for k in run["settings"]["ks"] if k <= _KEPT]
    if not ks:
        raise RunError(
            f"a run keeps {_KEPT} hits of a question, and one of these has k of "
            f"{run['settings']['ks']} alone; evaluate again with --k {_KEPT}"
        )
    return {
        id_: dict(_ranking_values(rows[id_]["found"], question["relevant"], ks))
        for id_, question in questions.items()
    }


def _task_values(question: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "acc", float(question["correct"])
    yield f"acc({question['task']})", float(question["correct"])


def _ranking_values(
    found: Sequence[Mapping[str, Any]], relevant: Mapping[str, int], ks: Sequence[int]
) -> Iterator[tuple[str, float]]:
    ranking = [hit["id"] for hit in found]
    for k in ks:
        for name, measure in MEASURES.items():
            yield f"{name}@{k}", measure(ranking, relevant, k)


def _rows(system: str, before: _Values, after: _Values) -> list[dict[str, Any]]:
    """The difference of every metric, on the questions that have it in both runs."""
    shared: dict[str, list[str]] = {}
    for id_, values in before.items():
        for metric in values:
            if metric in after[id_]:
                shared.setdefault(metric, []).append(id_)
    # Metrics of the same questions share their resamples, which are most of the work.
    groups: dict[tuple[str, ...], list[str]] = {}
    for metric, ids in shared.items():
        groups.setdefault(tuple(ids), []).append(metric)
    rows = [
        row
        for ids, metrics in groups.items()
        for row in _compared(system, metrics, before, after, ids)
    ]
    order = list(shared)
    return sorted(rows, key=lambda row: order.index(row["metric"]))


def _compared(
    system: str, metrics: Sequence[str], before: _Values, after: _Values, ids: Sequence[str]
) -> list[dict[str, Any]]:
    a = np.array([[before[id_][metric] for metric in metrics] for id_ in ids])
    b = np.array([[after[id_][metric] for metric in metrics] for id_ in ids])
    means = bootstrap_means(np.hstack([a, b]))
    rows = []
    for column, (metric, p) in enumerate(zip(metrics, randomization_test(b - a), strict=True)):
        low, high = means.difference_interval(len(metrics) + column, column)
        old, new = means.values[column], means.values[len(metrics) + column]
        rows.append(
            {
                "system": system,
                "metric": metric,
                "questions": len(ids),
                "a": float(old),
                "b": float(new),
                "difference": float(new - old),
                "low": low,
                "high": high,
                "p": p,
            }
        )
    return rows


def _deciding(values: _Values) -> str:
    """The metric that tells better from worse."""
    metrics = dict.fromkeys(metric for each in values.values() for metric in each)
    deepest = {metric.partition("@")[0]: metric for metric in metrics}
    return next(deepest[stem] for stem in _DECIDING if stem in deepest)


def _changes(system: str, metric: str, before: _Values, after: _Values) -> list[dict[str, Any]]:
    return [
        {
            "system": system,
            "id": id_,
            "metric": metric,
            "a": before[id_][metric],
            "b": after[id_][metric],
        }
        for id_ in before
        if metric in before[id_]
        and metric in after[id_]
        and before[id_][metric] != after[id_][metric]
    ]


def _is_better(change: Mapping[str, Any]) -> bool:
    metric: str = change["metric"]
    rose = bool(change["b"] > change["a"])
    return rose != metric.startswith(LOWER_IS_BETTER)


def _told(changes: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> dict[str, Any]:
    """The greatest changes, with their questions."""
    greatest = sorted(changes, key=lambda each: (-abs(each["b"] - each["a"]), each["id"]))
    return {
        "count": len(changes),
        "shown": [{**each, "question": texts[each["id"]]} for each in greatest[:_MOST_SHOWN]],
    }
