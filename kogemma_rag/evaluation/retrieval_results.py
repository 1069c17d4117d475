"""What systems found in, the questions, documents and notes of a run out.

A run of retrieval has for every question and system `found` (at most ten hits {id, score}, best
first), `rank` (of the first relevant document, from 1; null where none was found), `wrong` (the id
of the first hit that is not relevant, if it stands before every relevant one) and `ms`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kogemma_rag.evaluation.question_sets import Question, QuestionSet

Rows = Mapping[str, dict[str, Any]]
"""What a system found, by question id: `found`, pairs of id and score, best first, and `ms`."""

_SHOWN = 10  # hits of a question that a run keeps


def ranking(row: Mapping[str, Any]) -> list[str]:
    """The ids of the documents found, best first."""
    return [id_ for id_, _ in row["found"]]


def question_fields(
    question: Question, rows: Mapping[str, Rows], names: Sequence[str]
) -> dict[str, Any]:
    """A question with what the systems of these names found for it."""
    return {
        "id": question.id,
        "question": question.text,
        "answers": [answer.text for answer in question.answers],
        "relevant": dict(question.relevant),
        "results": {name: _result(rows[name][question.id], question) for name in names},
    }


def _result(row: Mapping[str, Any], question: Question) -> dict[str, Any]:
    found = ranking(row)
    ranks = [rank for rank, id_ in enumerate(found, start=1) if id_ in question.relevant]
    first = found[0] if found else None
    return {
        "found": [{"id": id_, "score": score} for id_, score in row["found"][:_SHOWN]],
        "rank": ranks[0] if ranks else None,
        "wrong": None if first in question.relevant else first,
        "ms": row["ms"],
    }


def document_fields(
    question_set: QuestionSet, questions: Sequence[Question], rows: Mapping[str, Rows]
) -> dict[str, dict[str, str]]:
    """The documents that the questions of the run name."""
    named = {id_ for question in questions for id_ in question.relevant}
    for found in rows.values():
        for row in found.values():
            named.update(ranking(row)[:_SHOWN])
    return question_set.described(named)


def notes(
    question_set: QuestionSet,
    questions: Sequence[Question],
    rows: Mapping[str, Rows],
    k: int,
) -> list[str]:
    """What a reader of the figures must know, in Korean.

    Args:
        question_set: All of it.
        questions: Those that were asked.
        rows: By system.
        k: How many documents were to be found.
    """
    told = []
    if left_out := len(question_set.questions) - len(questions):
        told.append(f"답이 있는 문서가 없는 질문 {left_out:,}개는 세지 않았습니다.")
    for name in rows:
        most = min(k, len(question_set.documents))
        if few := sum(len(row["found"]) < most for row in rows[name].values()):
            told.append(f"{name}: 질문 {few:,}개에서 찾은 문서가 {most}개보다 적습니다.")
    if len(rows) > 2:
        told.append("p는 비교 하나하나의 값이며, 여러 번 비교한 것을 감안하지 않았습니다.")
    return told
