"""A question set and retrievers in, a run that compares them out. Knows no file formats."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray
from tqdm import tqdm

from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.metrics import hit, ndcg, recall, reciprocal_rank
from kogemma_rag.evaluation.question_sets import Question, QuestionSet
from kogemma_rag.evaluation.retrieval_results import (
    Rows,
    document_fields,
    notes,
    question_fields,
    ranking,
)
from kogemma_rag.evaluation.retriever_settings import (
    PRESETS,
    RetrieverSettings,
    RetrieverSettingsError,
    parse_settings,
)
from kogemma_rag.evaluation.runs import RUN_FORMAT, RunFolder, machine, versions
from kogemma_rag.evaluation.statistics import (
    RESAMPLES,
    Means,
    bootstrap_means,
    randomization_test,
)
from kogemma_rag.evaluation.systems import System, Systems

__all__ = [
    "PRESETS",
    "RetrieverSettings",
    "RetrieverSettingsError",
    "evaluate_retrieval",
    "parse_settings",
]

MEASURES = {"recall": recall, "hit": hit, "mrr": reciprocal_rank, "ndcg": ndcg}
"""Metrics of a run are named by these and k: "recall@10"."""
_INDEXES_FOLDER = "indexes"
_DIGITS = 6  # of scores
_PACKAGES = ("numpy", "faiss-cpu", "faiss-gpu", "tantivy", "python-mecab-ko", "model2vec")


def evaluate_retrieval(
    question_set: QuestionSet,
    systems: Mapping[str, RetrieverSettings | BaseRetriever],
    *,
    ks: Sequence[int] = (1, 3, 5, 10),
    folder: RunFolder | None = None,
    embeddings: Mapping[str, Embeddings] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Compare retrievers on the questions that a document answers.

    Latency is that of one question at a time, after one that nobody counts. With chunks, a document
    counts at the rank of its first chunk.

    Args:
        question_set: Documents, and questions about them.
        systems: By name, what to compare: settings of an index that is made here, or any retriever
            whose passages are documents of the set, see `document_of`. Each is compared with the
            first.
        ks: How many of the best documents the measures look at.
        folder: Questions that are finished in it are not asked again; it keeps the indexes.
        embeddings: Models by the names that settings call them; others are loaded.
        seed: Of intervals and tests.
        progress: Whether to draw bars on stderr.

    Returns:
        The run, as `runs` describes it; metrics "recall@k", "hit@k", "mrr@k" and "ndcg@k".

    Raises:
        EvaluationDataError: If no question has a relevant document, or the set has none of the
            documents that a retriever finds for the first question.
        ValueError: If there is no system, or a k is not positive.
    """
    started, start = datetime.now().astimezone(), time.perf_counter()
    ks = sorted(set(ks))
    if not systems or not ks or ks[0] < 1:
        raise ValueError(f"systems {list(systems)}, ks {ks}: name one at least, each k above 0")
    questions = [question for question in question_set.questions if question.relevant]
    if not questions:
        raise EvaluationDataError(
            f"{question_set.name}: 답이 있는 문서를 아는 질문이 없습니다. 문서를 적으세요"
        )
    opened = Systems(
        question_set,
        systems,
        k=ks[-1],
        kept=None if folder is None else folder.path / _INDEXES_FOLDER,
        embeddings=embeddings or {},
        progress=progress,
    )
    about, rows = _found(opened, questions, folder)
    names = list(systems)
    metrics = [f"{measure}@{k}" for k in ks for measure in MEASURES]
    table = np.array([_values(rows[name], questions, ks) for name in names])
    columns = table.transpose(1, 0, 2).reshape(len(questions), -1)  # of each system all metrics
    means = bootstrap_means(columns, seed=seed)
    return {
        "kind": "retrieval",
        "format": RUN_FORMAT,
        "title": f"{question_set.name}의 질문 {len(questions):,}개로 잰 검색",
        "started": started.isoformat(timespec="seconds"),
        "versions": versions(*_PACKAGES),
        "machine": machine(),
        "data": _data(question_set),
        "settings": {"ks": ks, "seed": seed, "resamples": RESAMPLES},
        "systems": [
            _system(name, about[name], rows[name], _intervals(means, metrics, place))
            for place, name in enumerate(names)
        ],
        "comparisons": _comparisons(names, metrics, table, means, seed),
        "questions": [question_fields(question, rows, names) for question in questions],
        "documents": document_fields(question_set, questions, rows),
        "notes": notes(question_set, questions, rows, ks[-1]),
        "seconds": time.perf_counter() - start,
    }


def _found(
    opened: Systems, questions: Sequence[Question], folder: RunFolder | None
) -> tuple[dict[str, dict[str, Any]], dict[str, Rows]]:
    """What each system is, and what it finds, by name in the order asked."""
    about: dict[str, dict[str, Any]] = {}  # holds no system: its models would stay in memory
    rows: dict[str, Rows] = {}
    with closing(opened.opened()) as each:
        for system in each:
            index = {} if system.index is None else {"index": dict(system.index)}
            about[system.name] = {"settings": dict(system.settings), **index}
            rows[system.name] = _asked(system, questions, folder, progress=opened.progress)
    return about, {name: rows[name] for name in opened.asked}


def _asked(
    system: System, questions: Sequence[Question], folder: RunFolder | None, *, progress: bool
) -> Rows:
    """What a system finds for every question: `found`, pairs of id and score, and `ms`."""
    rows = {} if folder is None else folder.finished(system.name)
    left = [question for question in questions if question.id not in rows]
    if left:
        system.check(left[0].text)
    for question in tqdm(
        left,
        desc=system.name,
        initial=len(questions) - len(left),
        total=len(questions),
        disable=not progress,
        leave=False,
    ):
        start = time.perf_counter()
        hits = system.find(question.text)
        ms = (time.perf_counter() - start) * 1000
        row = {
            "found": [[id_, None if score is None else _rounded(score)] for id_, score in hits],
            "ms": _rounded(ms),
        }
        rows[question.id] = row
        if folder is not None:
            folder.record(system.name, question.id, row)
    return rows


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)


def _values(rows: Rows, questions: Sequence[Question], ks: Sequence[int]) -> list[list[float]]:
    """Of each question all metrics, in the order of their names."""
    return [
        [
            measure(ranking(rows[question.id]), question.relevant, k)
            for k in ks
            for measure in MEASURES.values()
        ]
        for question in questions
    ]


def _intervals(means: Means, metrics: Sequence[str], place: int) -> dict[str, dict[str, float]]:
    intervals = {}
    for column, metric in enumerate(metrics, start=place * len(metrics)):
        low, high = means.interval(column)
        intervals[metric] = {"value": float(means.values[column]), "low": low, "high": high}
    return intervals


def _system(
    name: str, about: Mapping[str, Any], rows: Rows, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    p50, p95 = np.percentile([row["ms"] for row in rows.values()], [50, 95])
    latency = {"p50_ms": float(p50), "p95_ms": float(p95)}
    return {"name": name, **about, "metrics": metrics, "latency": latency}


def _comparisons(
    names: Sequence[str],
    metrics: Sequence[str],
    table: NDArray[np.float64],
    means: Means,
    seed: int,
) -> list[dict[str, Any]]:
    """Every system with the first; `table` has shape (systems, questions, metrics)."""
    comparisons = []
    for place, name in enumerate(names[1:], start=1):
        chances = randomization_test(table[place] - table[0], seed=seed)
        for column, (metric, p) in enumerate(zip(metrics, chances, strict=True)):
            a, b = place * len(metrics) + column, column
            low, high = means.difference_interval(a, b)
            comparisons.append(
                {
                    "metric": metric,
                    "a": name,
                    "b": names[0],
                    "difference": float(means.values[a] - means.values[b]),
                    "low": low,
                    "high": high,
                    "p": p,
                }
            )
    return comparisons


def _data(question_set: QuestionSet) -> dict[str, Any]:
    return {
        "name": question_set.name,
        "fingerprint": question_set.fingerprint,
        "documents": len(question_set.documents),
        "questions": len(question_set.questions),
    }
