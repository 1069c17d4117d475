"""A question set, retrievers and chat models in, a run that tells how well they answer out.

A run of this kind has for every question and system a row as in `answering`; where the question was
asked again without its relevant documents, that row is in it as `without_relevant`.
"""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from typing import Any

from langchain_core.language_models import BaseChatModel
from tqdm import tqdm

from kogemma_rag.evaluation.answer_summary import (
    comparisons,
    intervals,
    metric_values,
    percentiles,
)
from kogemma_rag.evaluation.answer_systems import AnswerSystem, answer_systems
from kogemma_rag.evaluation.answering import answer_row, unanswerable_row
from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.judge import JUDGE_LABEL, Judge, model_name
from kogemma_rag.evaluation.question_sets import Question, QuestionSet
from kogemma_rag.evaluation.runs import RUN_FORMAT, RunFolder, machine, versions
from kogemma_rag.evaluation.statistics import RESAMPLES

__all__ = ["AnswerSystem", "answer_systems", "evaluate_answers"]

_PACKAGES = (
    *("numpy", "faiss-cpu", "faiss-gpu", "tantivy", "python-mecab-ko", "model2vec"),
    *("langchain-core", "torch", "transformers"),
)

_Rows = dict[str, dict[str, Any]]  # by question id


def evaluate_answers(
    question_set: QuestionSet,
    systems: Iterable[AnswerSystem],
    *,
    unanswerable: int = 0,
    judge: BaseChatModel | None = None,
    concurrency: int = 1,
    folder: RunFolder | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Ask every question of a set and score the answers.

    A question that a model fails at, by running out of time for instance, is counted as `failed`,
    left out of the other metrics, and asked again by the next run in the same folder.

    Args:
        question_set: Questions with answers, with relevant documents, or with neither: those have
            no answer in the documents, and are to be refused.
        systems: Asked one after another, so that a generator may open and close them; names differ.
        unanswerable: How many questions are asked once more as if their relevant documents were
            not there: drawn by `seed`, the same ones for every system.
        judge: Judges answers where the set tells the right ones; labelled so.
        concurrency: Questions asked at once. With more than one, times are those under such load.
        folder: Questions that are finished in it are not asked again.
        seed: Of what is drawn, of intervals and tests.
        progress: Whether to draw bars on stderr.

    Returns:
        The run, as `runs` describes it.

    Raises:
        EvaluationDataError: If the set has no question.
        langchain_core.exceptions.ModelError: If a model cannot be asked at all.
        ValueError: If there is no system, two have one name, or a number is out of range.
    """
    started, start = datetime.now().astimezone(), time.perf_counter()
    if not question_set.questions:
        raise EvaluationDataError(f"{question_set.name}: 질문이 하나도 없습니다. 질문을 넣으세요")
    if concurrency < 1 or unanswerable < 0:
        raise ValueError(
            f"concurrency is {concurrency}, unanswerable {unanswerable}; give 1 and 0 or more"
        )
    drawn = _drawn(question_set.questions, unanswerable, seed)
    asked = _Asked(question_set, drawn, None if judge is None else Judge(judge))
    known: dict[str, AnswerSystem] = {}
    rows: dict[str, _Rows] = {}
    for system in systems:
        if system.name in known:
            raise ValueError(f"two systems are named {system.name!r}; give each its own name")
        known[system.name] = system
        rows[system.name] = asked.rows(system, concurrency, folder, progress=progress)
    if not known:
        raise ValueError("there is no system to ask; give one at least")
    settings = {
        "unanswerable": len(drawn),
        "judge": None if judge is None else f"{JUDGE_LABEL}: {model_name(judge)}",
        "concurrency": concurrency,
        "seed": seed,
        "resamples": RESAMPLES,
    }
    return {
        "kind": "answers",
        "format": RUN_FORMAT,
        "title": f"{question_set.name}의 질문 {len(question_set.questions):,}개로 잰 답변",
        "started": started.isoformat(timespec="seconds"),
        "versions": versions(*_PACKAGES),
        "machine": machine(),
        "settings": settings,
        **_measured(question_set, list(known.values()), rows, seed),
        "notes": _notes(settings, rows),
        "seconds": time.perf_counter() - start,
    }


def _measured(
    question_set: QuestionSet,
    systems: Sequence[AnswerSystem],
    rows: Mapping[str, _Rows],
    seed: int,
) -> dict[str, Any]:
    """The data, systems, comparisons, questions and documents of a run."""
    values = {system.name: metric_values(rows[system.name]) for system in systems}
    return {
        "data": {
            "name": question_set.name,
            "fingerprint": question_set.fingerprint,
            "documents": len(question_set.documents),
            "questions": len(question_set.questions),
        },
        "systems": [
            {
                **_system(system, rows[system.name]),
                "metrics": intervals(values[system.name], seed=seed),
            }
            for system in systems
        ],
        "comparisons": comparisons(values, seed=seed),
        "questions": [_question(question, rows) for question in question_set.questions],
        "documents": _documents(question_set, rows),
    }


class _Asked:
    """The questions of a run, asked of one system after another."""

    def __init__(
        self, question_set: QuestionSet, drawn: frozenset[str], judge: Judge | None
    ) -> None:
        self._questions = question_set.questions
        self._known = frozenset(str(document.id) for document in question_set.documents)
        self._drawn = drawn
        self._judge = judge

    def rows(
        self, system: AnswerSystem, concurrency: int, folder: RunFolder | None, *, progress: bool
    ) -> _Rows:
        """A row for every question, in the order of the set."""
        earlier = {} if folder is None else folder.finished(system.name)
        rows = {id_: row for id_, row in earlier.items() if not _has_failed(row)}
        left = [question for question in self._questions if question.id not in rows]
        pool = ThreadPoolExecutor(concurrency)
        try:
            answered = {pool.submit(self._row, system, question): question for question in left}
            for future in tqdm(
                as_completed(answered),
                desc=system.name,
                initial=len(rows),
                total=len(self._questions),
                disable=not progress,
                leave=False,
            ):
                question = answered[future]
                rows[question.id] = future.result()
                if folder is not None:
                    folder.record(system.name, question.id, rows[question.id])
        finally:  # a stop must not wait for thousands of questions
            pool.shutdown(cancel_futures=True)
        return {question.id: rows[question.id] for question in self._questions}

    def _row(self, system: AnswerSystem, question: Question) -> dict[str, Any]:
        row = answer_row(system, question, self._judge, known=self._known)
        if question.id in self._drawn and "error" not in row:
            row["without_relevant"] = unanswerable_row(system, question, known=self._known)
        return row


def _has_failed(row: Mapping[str, Any]) -> bool:
    return "error" in row or "error" in row.get("without_relevant", {})


def _drawn(questions: Sequence[Question], count: int, seed: int) -> frozenset[str]:
    """Ids of the questions that are asked again without their relevant documents."""
    ids = [question.id for question in questions if question.relevant and question.answers]
    return frozenset(random.Random(seed).sample(ids, min(count, len(ids))))  # noqa: S311


def _system(system: AnswerSystem, rows: _Rows) -> dict[str, Any]:
    answered = [row for row in rows.values() if "error" not in row]
    costs: dict[str, Any] = {
        "latency": percentiles([row["ms"] for row in answered]),
        "first_text": percentiles([row["first_ms"] for row in answered]),
        "tokens": _tokens(answered),
        "index": None if system.index is None else dict(system.index),
    }
    return {
        "name": system.name,
        "settings": dict(system.settings),
        **{name: cost for name, cost in costs.items() if cost is not None},
        "counts": dict(_counts(rows)),
    }


def _tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    """Tokens of all answers whose model tells them; None where none does."""
    used: Counter[str] = Counter()
    for row in rows:
        used.update(row.get("tokens", {}))
    return dict(used) or None


def _counts(rows: _Rows) -> Counter[str]:
    """What a report tells in numbers of questions, not in shares."""
    counts: Counter[str] = Counter(questions=len(rows))
    for row in rows.values():
        without = row.get("without_relevant")
        counts["failed"] += _has_failed(row)
        counts["refused"] += row.get("refused", False)
        counts["ungrounded_answers"] += bool(row.get("ungrounded"))
        counts["ungrounded_sentences"] += len(row.get("ungrounded", ()))
        counts["unreadable_verdicts"] += row.get("judge") == {}
        if without is not None and "error" not in without:
            counts["without_relevant"] += 1
            counts["still_answerable"] += not without["counted"]
    return counts


def _question(question: Question, rows: Mapping[str, _Rows]) -> dict[str, Any]:
    return {
        "id": question.id,
        "question": question.text,
        "answers": [answer.text for answer in question.answers],
        "relevant": dict(question.relevant),
        "results": {name: found[question.id] for name, found in rows.items()},
    }


def _documents(question_set: QuestionSet, rows: Mapping[str, _Rows]) -> dict[str, dict[str, str]]:
    """The documents that the questions of the run name."""
    named = {id_ for question in question_set.questions for id_ in question.relevant}
    for found in rows.values():
        for row in found.values():
            named.update(row.get("documents", ()))
            named.update(row.get("without_relevant", {}).get("documents", ()))
    return question_set.described(named)


def _notes(settings: Mapping[str, Any], rows: Mapping[str, _Rows]) -> list[str]:
    notes = [
        "답과 정답은 인용 표시([1])를 빼고 견줍니다. 문장을 그대로 옮기는 모델은 답이 정답보다 "
        "길어 exact_match와 f1이 낮습니다."
    ]
    if settings["judge"]:
        notes.append(f"judge_로 시작하는 값은 {settings['judge']}의 판정입니다.")
    if settings["concurrency"] > 1:
        notes.append(f"걸린 시간은 질문 {settings['concurrency']}개를 한꺼번에 물으며 쟀습니다.")
    for name, found in rows.items():
        counts = _counts(found)
        if counts["failed"]:
            notes.append(
                f"{name}: 질문 {counts['failed']:,}개는 모델의 오류로 답을 얻지 못했습니다. 같은 "
                "폴더로 다시 하면 그것만 다시 묻습니다."
            )
        if counts["still_answerable"]:
            notes.append(
                f"{name}: 맞는 문서를 빼고 물은 질문 {counts['without_relevant']:,}개 가운데 "
                f"{counts['still_answerable']:,}개는 다른 문단에도 정답의 글이 있어 refusal에서 "
                "뺐습니다."
            )
        if counts["unreadable_verdicts"]:
            notes.append(
                f"{name}: 판정을 읽을 수 없는 답 {counts['unreadable_verdicts']:,}개는 judge_ "
                "값에서 뺐습니다."
            )
    return notes
