"""A system and a question in, one row of what it answered and how good that is out.

A row is a JSON object: `answer`, `refused`, `citations`, `documents` (ids of the question set's, as
found), `scores` by metric, `ungrounded` sentences, `ms`, `first_ms` and, where the model tells
them, `tokens`; or `error` alone. Knows no file and no other question.
"""

import time
from typing import Any, cast

from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.runnables import Runnable

from kogemma_rag.chains import RagOutput
from kogemma_rag.evaluation.answer_metrics import (
    answer_scores,
    citation_scores,
    evaluated_id,
    holds_answer,
    is_refusal,
    quote_scores,
)
from kogemma_rag.evaluation.answer_systems import AnswerSystem
from kogemma_rag.evaluation.groundedness import groundedness
from kogemma_rag.evaluation.judge import Judge, UnreadableVerdictError
from kogemma_rag.evaluation.question_sets import Question

# What may befall one question and not the next; a server that is not there, or a key that it does
# not take, ends the run instead.
FAILURES = (
    ContextOverflowError,
    ModelAPIError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)


def answer_row(
    system: AnswerSystem, question: Question, judge: Judge | None, *, known: frozenset[str]
) -> dict[str, Any]:
    """Ask a question and score the answer.

    Args:
        system: Which is asked.
        question: With or without right answers.
        judge: Judges the answer, if any.
        known: Ids of the documents of the question set.

    Raises:
        langchain_core.exceptions.ModelError: If a model cannot be asked at all.
    """
    try:
        output, costs = _ask(system.chain(known), question.text)
        verdict = _verdict(judge, question, output)
    except FAILURES as error:
        return _failed(error)
    documents, reply = output["documents"], output["answer"]
    refused = is_refusal(reply)
    scores: dict[str, float] = {"dropped_citations": float(output["dropped_citations"])}
    if not question.answers and not question.relevant:
        scores["refusal_unanswerable"] = float(refused)
    else:
        scores["false_refusal"] = float(refused)
        scores |= citation_scores(output["citations"], documents, question)
    if question.answers:
        scores |= answer_scores(reply, [answer.text for answer in question.answers])
        scores |= quote_scores(output["citations"], documents, question)
    row = {**_told(output), "refused": refused, **costs}
    if not refused:
        grounds = groundedness(reply, documents)
        scores |= {_grounded_name(kind): share for kind, share in grounds.shares().items()}
        row["ungrounded"] = [
            {"sentence": it.sentence, "missing": list(it.missing)} for it in grounds.ungrounded
        ]
    if verdict is not None:
        row["judge"] = verdict
        scores |= {f"judge_{name}": float(value) for name, value in verdict.items()}
    return {**row, "scores": scores}


def unanswerable_row(
    system: AnswerSystem, question: Question, *, known: frozenset[str]
) -> dict[str, Any]:
    """Ask a question as if its relevant documents were not there.

    The row is not `counted` where another passage that the model saw holds an answer's text.
    """
    try:
        output, _ = _ask(system.chain(known, frozenset(question.relevant)), question.text)
    except FAILURES as error:
        return _failed(error)
    answers = [answer.text for answer in question.answers]
    held = any(holds_answer(passage.page_content, answers) for passage in output["documents"])
    refused = is_refusal(output["answer"])
    return {**_told(output), "refused": refused, "counted": not held}


def _ask(chain: Runnable[str, RagOutput], question: str) -> tuple[RagOutput, dict[str, Any]]:
    """What a chain answers, streamed, with milliseconds to the whole and to the first text."""
    usage = UsageMetadataCallbackHandler()
    start = time.perf_counter()
    first: float | None = None
    whole: Any = None
    for piece in chain.stream(question, config={"callbacks": [usage]}):
        if first is None and piece.get("answer"):
            first = time.perf_counter() - start
        whole = piece if whole is None else whole + piece
    seconds = time.perf_counter() - start
    costs: dict[str, Any] = {
        "ms": round(seconds * 1000, 3),
        "first_ms": round((seconds if first is None else first) * 1000, 3),
    }
    if usage.usage_metadata:
        used = usage.usage_metadata.values()
        costs["tokens"] = {
            "input": sum(it["input_tokens"] for it in used),
            "output": sum(it["output_tokens"] for it in used),
        }
    return cast(RagOutput, whole), costs


def _verdict(judge: Judge | None, question: Question, output: RagOutput) -> dict[str, bool] | None:
    """What a judge says; nothing where its reply is unreadable, None where it is not asked."""
    if judge is None or not question.answers:
        return None
    answers = [answer.text for answer in question.answers]
    try:
        verdict = judge.verdict(question.text, answers, output["answer"], output["documents"])
    except UnreadableVerdictError:
        return {}
    return verdict.model_dump()


def _told(output: RagOutput) -> dict[str, Any]:
    documents = output["documents"]
    return {
        "answer": output["answer"],
        "citations": [
            {
                "number": citation.number,
                "document": evaluated_id(documents[citation.number - 1]),
                "quote": citation.quote,
                "start": citation.start,
                "end": citation.end,
            }
            for citation in output["citations"]
        ],
        "documents": [evaluated_id(document) for document in documents],
    }


def _failed(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"}


def _grounded_name(kind: str) -> str:
    return "groundedness" if kind == "all" else f"groundedness_{kind}"
