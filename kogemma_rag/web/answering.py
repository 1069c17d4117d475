"""Questions in, answers in parts out: so many at a time, each within its time. Knows no HTTP."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import Runnable, RunnableLambda
from starlette.concurrency import run_in_threadpool

from kogemma_rag.chains import RagOutput, create_chat_rag_chain
from kogemma_rag.chat_model_loading import load_chat_model
from kogemma_rag.citations import Citation
from kogemma_rag.extractive import ExtractiveChatModel
from kogemma_rag.prompts import NOT_FOUND
from kogemma_rag.web.metrics import Metrics
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.pacing import paced
from kogemma_rag.web.turns import Turns

if TYPE_CHECKING:
    from kogemma_rag.engines import EngineIndex
    from kogemma_rag.index import DocumentIndex

# Proxies close what says nothing for a minute, some for 15 seconds.
HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True)
class Found:
    """The passages that an answer is made from; scores by chunk id."""

    documents: list[Document]
    scores: dict[str, float]


@dataclass(frozen=True)
class Piece:
    """A piece of the answer's text."""

    text: str


@dataclass
class Usage:
    """Tokens as the chat model tells them; 0 where it tells none, as one that quotes."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True)
class Finished:
    """The end of an answer.

    Attributes:
        answered: Whether the documents hold an answer, as the model says.
        finish_reason: "length" where the model was cut off.
    """

    answer: str
    answered: bool
    citations: list[Citation]
    usage: Usage
    finish_reason: Literal["stop", "length"] = "stop"


Part = Found | Piece | Finished


class Answering:
    """One chat model over one index, shared by all who ask.

    Attributes:
        turns: Who is answered and who waits; take a place before asking.
        model_name: As GET /v1/models tells it.
        quotes: Whether the model only quotes.
    """

    def __init__(
        self, index: "DocumentIndex | EngineIndex", options: ServeOptions, metrics: Metrics
    ) -> None:
        self._index = index
        self._k = options.k
        self._seconds = options.answer_seconds
        self._model = (
            load_chat_model(options.chat_model)
            if isinstance(options.chat_model, str)
            else options.chat_model
        )
        self._metrics = metrics
        self.turns = Turns(at_once=options.concurrency, most_waiting=options.max_waiting)
        self.model_name = _served_name(self._model)
        self.quotes = isinstance(self._model, ExtractiveChatModel)
        metrics.gauge("active", "Requests being answered.", lambda: self.turns.active)
        metrics.gauge("waiting", "Requests in the queue.", lambda: self.turns.waiting)

    async def search(
        self, query: str, k: int | None = None, filter: Mapping[str, Any] | None = None
    ) -> list[tuple[Document, float]]:
        """The best passages with their scores, in turn.

        Raises:
            FilterError: If the filter is not understood.
        """
        async with self.turns.turn():
            return await self._hits(query, k or self._k, filter)

    async def stream(
        self, question: str, history: Sequence[BaseMessage] = ()
    ) -> AsyncGenerator[Part | None, None]:
        """The answer: `Found`, then each `Piece`, then `Finished`; None where all is quiet.

        Raises:
            TimeoutError: If it is not finished in its time, of which waiting is a part.
            ModelError: If the chat model fails.
        """
        parts = self._parts(question, history)
        async with aclosing(paced(parts, every=HEARTBEAT_SECONDS, limit=self._seconds)) as timed:
            async for part in timed:
                yield part

    async def _parts(
        self, question: str, history: Sequence[BaseMessage]
    ) -> AsyncGenerator[Part, None]:
        began = time.monotonic()
        tally = _Tally()
        scores: dict[str, float] = {}
        answer = ""
        asked = {"question": question, "chat_history": list(history)}
        async with self.turns.turn():
            pieces = self._chain(scores).astream(asked, config={"callbacks": [tally]})
            async for piece in pieces:
                if "documents" in piece:
                    yield Found(piece["documents"], scores)
                if text := piece.get("answer"):
                    if not answer:
                        self._metrics.first_piece(time.monotonic() - began)
                    answer += text
                    yield Piece(text)
                if "citations" in piece:
                    yield self._finished(answer, piece["citations"], tally)

    def _finished(self, answer: str, citations: list[Citation], tally: "_Tally") -> Finished:
        self._metrics.tokens(tally.usage.prompt, tally.usage.completion)
        answered = bool(answer.strip()) and answer.strip() != NOT_FOUND
        return Finished(
            answer=answer,
            answered=answered,
            citations=citations if answered else [],
            usage=tally.usage,
            finish_reason=tally.finish_reason,
        )

    def _chain(self, scores: dict[str, float]) -> "Runnable[Any, RagOutput]":
        """A chain for one question, which leaves the scores of what it finds in `scores`."""

        async def retrieve(query: str) -> list[Document]:
            hits = await self._hits(query, self._k, None)
            scores.update((str(document.id), score) for document, score in hits)
            return [document for document, _ in hits]

        return create_chat_rag_chain(RunnableLambda(retrieve), self._model)

    async def _hits(
        self, query: str, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[Document, float]]:
        return await run_in_threadpool(self._index.search, query, k=k, filter=filter)


class _Tally(AsyncCallbackHandler):
    """What the calls of a chat model for one answer took, and how the last one ended."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.finish_reason: Literal["stop", "length"] = "stop"

    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        for generation in (one for row in response.generations for one in row):
            if not isinstance(generation, ChatGeneration):
                continue
            message = generation.message
            ended = message.response_metadata.get("finish_reason")
            self.finish_reason = "length" if ended == "length" else "stop"
            if isinstance(message, AIMessage) and message.usage_metadata:
                self.usage.prompt += message.usage_metadata["input_tokens"]
                self.usage.completion += message.usage_metadata["output_tokens"]


def _served_name(model: BaseChatModel) -> str:
    """A name that clients can send back; of a directory its last part alone."""
    for attribute in ("model", "model_name"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return Path(name).name if Path(name).is_absolute() else name
    return model._llm_type
