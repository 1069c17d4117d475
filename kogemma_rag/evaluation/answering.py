"""A system and a question in, one row of what it answered and how good that is out.

A row is a JSON object: `answer`, `refused`, `citations`, `documents` (ids of the question set's, as
found), `scores` by metric, `ungrounded` sentences, `ms`, `first_ms` and, where the model tells
them, `tokens`; or `error` alone. Knows no file and no other question.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForRetrieverRun, UsageMetadataCallbackHandler
from langchain_core.documents import Document
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable

from kogemma_rag.chains import RagOutput, create_rag_chain
from kogemma_rag.evaluation.answer_metrics import (
    answer_scores,
    citation_scores,
    evaluated_id,
    holds_answer,
    is_refusal,
    quote_scores,
)
from kogemma_rag.evaluation.groundedness import groundedness
from kogemma_rag.evaluation.judge import Judge, UnreadableVerdictError
from kogemma_rag.evaluation.question_sets import Question
from kogemma_rag.prompts import RAG_PROMPT

# What may befall one question and not the next; a server that is not there, or a key that it does
# not take, ends the run instead.
FAILURES = (
    ContextOverflowError,
    ModelAPIError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)


@dataclass(frozen=True)
class AnswerSystem:
    """What answers questions, and what a report tells of it.

    Attributes:
        retriever: Finds passages whose id, or whose `metadata["document_id"]` where they are
            chunks, is that of a document of the question set.
        settings: As the report shows them; they have a JSON form.
        index: bytes, chunks and seconds of the index, as the report shows them.
    """

    retriever: BaseRetriever
    chat_model: BaseChatModel
    prompt: ChatPromptTemplate = RAG_PROMPT
    settings: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] | None = None

    def chain(self) -> Runnable[str, RagOutput]:
        """From a question to its answer."""
        return create_rag_chain(self.retriever, self.chat_model, prompt=self.prompt)

    def chain_without(self, documents: frozenset[str]) -> Runnable[str, RagOutput]:
        """The same, as if some documents were not there."""
        retriever = RetrieverWithout(retriever=self.retriever, documents=documents)
        return create_rag_chain(retriever, self.chat_model, prompt=self.prompt)


class RetrieverWithout(BaseRetriever):
    """What a retriever finds beside some documents.

    Where it has a `k` it is asked for more until k others are found; where it has none, fewer may
    be left.

    Args:
        retriever: Any LangChain retriever.
        documents: Ids of the question set's documents that are left out.
    """

    retriever: BaseRetriever
    documents: frozenset[str]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        config = {"callbacks": run_manager.get_child()}
        k = _wanted(self.retriever)
        if k is None:
            return self._others(self.retriever.invoke(query, config=cast(Any, config)))
        asked = k + len(self.documents)
        while True:
            found = self.retriever.invoke(query, config=cast(Any, config), k=asked)
            others = self._others(found)
            if len(others) >= k or len(found) < asked:
                return others[:k]
            asked *= 2

    def _others(self, found: list[Document]) -> list[Document]:
        return [document for document in found if evaluated_id(document) not in self.documents]


def answer_row(system: AnswerSystem, question: Question, judge: Judge | None) -> dict[str, Any]:
    """Ask a question and score the answer.

    Raises:
        langchain_core.exceptions.ModelError: If a model cannot be asked at all.
    """
    try:
        output, costs = _ask(system.chain(), question.text)
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


def unanswerable_row(system: AnswerSystem, question: Question) -> dict[str, Any]:
    """Ask a question as if its relevant documents were not there.

    The row is not `counted` where another passage that the model saw holds an answer's text.
    """
    try:
        chain = system.chain_without(frozenset(question.relevant))
        output, _ = _ask(chain, question.text)
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


def _wanted(retriever: BaseRetriever) -> int | None:
    """How many documents a retriever finds, where it tells."""
    k = getattr(retriever, "k", None) or getattr(retriever, "search_kwargs", {}).get("k")
    return k if isinstance(k, int) else None
