"""A retriever and a chat model in, a question-answering chain with checked citations out.

Any LangChain retriever and chat model fits; knows no index and no model of ours.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from operator import itemgetter
from typing import Any, TypedDict, cast
from unicodedata import normalize

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.runnables.config import patch_config
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.aiter import atee
from langchain_core.utils.iter import safetee

from kogemma_rag.citations import Citation, CitationCheck, render_html
from kogemma_rag.morphemes import sentence_spans
from kogemma_rag.prompts import RAG_PROMPT, REWRITE_PROMPT, format_history, format_passages

# Tokens that a chat template may add to the text of a prompt.
_TEMPLATE_TOKENS = 64


class RagOutput(TypedDict):
    """What a chain answers. A stream brings the keys in this order, the answer in pieces.

    Attributes:
        question: As it was answered: in NFC, in a conversation rewritten to stand by itself.
        documents: The passages that the model saw; [n] in the answer is `documents[n - 1]`.
        answer: The model's text, without citations of passages that do not exist.
        citations: The passages that the answer names.
        dropped_citations: How many citations named no passage.
    """

    question: str
    documents: list[Document]
    answer: str
    citations: list[Citation]
    dropped_citations: int


class ChatRagInput(TypedDict):
    """What a chain with history is asked: the messages so far, oldest first."""

    question: str
    chat_history: list[BaseMessage]


def create_rag_chain(
    retriever: BaseRetriever | Runnable[str, list[Document]],
    chat_model: BaseChatModel,
    *,
    prompt: ChatPromptTemplate = RAG_PROMPT,
) -> Runnable[str, RagOutput]:
    """A chain from a question to an answer with its sources.

    `stream` and `astream` bring the documents first, then the answer as it is written. Passages are
    cut to fit the model's window (`profile["max_input_tokens"]`), the lowest rank first.

    Args:
        retriever: Finds the passages, best first.
        chat_model: Writes the answer.
        prompt: Takes `context` (the numbered passages) and `question`.

    Raises:
        ValueError: If the prompt lacks one of its variables.
    """
    missing = {"context", "question"} - set(prompt.input_variables)
    if missing:
        raise ValueError(
            f"the prompt has no variable {', '.join(sorted(missing))}; add it as {{…}}"
        )
    found = _InTurn(steps__={"question": RunnablePassthrough(), "documents": retriever})
    kept = {name: RunnableLambda(itemgetter(name)) for name in ("question", "documents")}
    written = RunnableLambda(_prompt_variables) | prompt | chat_model | StrOutputParser()
    chain = (
        RunnableLambda(partial(normalize, "NFC"))
        | found
        | RunnableLambda(partial(_fit_passages, chat_model=chat_model, prompt=prompt))
        | _InTurn(steps__={**kept, "answer": written})
        | RunnableGenerator(_check_citations, _acheck_citations)
    )
    return cast(Runnable[str, RagOutput], chain.with_config(run_name="rag"))


def create_chat_rag_chain(
    retriever: BaseRetriever | Runnable[str, list[Document]],
    chat_model: BaseChatModel,
    *,
    prompt: ChatPromptTemplate = RAG_PROMPT,
    rewrite_prompt: ChatPromptTemplate = REWRITE_PROMPT,
) -> Runnable[ChatRagInput, RagOutput]:
    """A `create_rag_chain` for conversations.

    With history, the chat model first rewrites the question so that it stands by itself; that
    question is searched for and answered.

    Args:
        retriever: Finds the passages, best first.
        chat_model: Rewrites the question and writes the answer.
        prompt: Takes `context` (the numbered passages) and `question`.
        rewrite_prompt: Takes `history` (one line a turn) and `question`.
    """
    rewrite = (
        RunnableLambda(partial(_fit_history, chat_model=chat_model, prompt=rewrite_prompt))
        | rewrite_prompt
        | chat_model
        | StrOutputParser()
        | RunnableLambda(str.strip)
    )

    def stand_alone(asked: ChatRagInput) -> Any:
        if not asked["chat_history"]:
            return asked["question"]
        # A model that rewrites to nothing must not make the question vanish.
        return rewrite | RunnableLambda(lambda question: question or asked["question"])

    chain = RunnableLambda(stand_alone) | create_rag_chain(retriever, chat_model, prompt=prompt)
    return cast(Runnable[ChatRagInput, RagOutput], chain.with_config(run_name="chat_rag"))


class _InTurn(RunnableParallel[Any]):
    """Streams its steps one after the other.

    LangChain's own streams each in a task, which it leaves running when the stream is given up: the
    model would write on, and asyncio tell of a StopAsyncIteration that nobody has retrieved.
    """

    def transform(
        self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        yield from self._transform_stream_with_config(input, self._in_turn, config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        pieces = self._atransform_stream_with_config(input, self._ain_turn, config, **kwargs)
        async with aclosing(cast(AsyncGenerator[Any, None], pieces)):
            async for piece in pieces:
                yield piece

    def _in_turn(
        self, input: Iterator[Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> Iterator[AddableDict]:
        inputs = safetee(input, len(self.steps__))
        for (name, step), given in zip(self.steps__.items(), inputs, strict=True):
            callbacks = run_manager.get_child(f"map:key:{name}")
            for piece in step.transform(given, patch_config(config, callbacks=callbacks)):
                yield AddableDict({name: piece})

    async def _ain_turn(
        self,
        input: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> AsyncIterator[AddableDict]:
        inputs = atee(input, len(self.steps__))
        for (name, step), given in zip(self.steps__.items(), inputs, strict=True):
            callbacks = run_manager.get_child(f"map:key:{name}")
            pieces = step.atransform(given, patch_config(config, callbacks=callbacks))
            async with aclosing(cast(AsyncGenerator[Any, None], pieces)):
                async for piece in pieces:
                    yield AddableDict({name: piece})


def _prompt_variables(found: Mapping[str, Any]) -> dict[str, str]:
    return {"context": format_passages(found["documents"]), "question": found["question"]}


def _fit_passages(
    found: Mapping[str, Any], *, chat_model: BaseChatModel, prompt: ChatPromptTemplate
) -> dict[str, Any]:
    """Drop passages from the lowest rank on, then sentences of the first, until the prompt fits."""
    question = found["question"]
    documents: list[Document] = list(found["documents"])

    def fits(candidates: Sequence[Document]) -> bool:
        variables = _prompt_variables({"question": question, "documents": candidates})
        return _fits_window(prompt.format_messages(**variables), chat_model)

    while len(documents) > 1 and not fits(documents):
        documents.pop()
    if documents and not fits(documents):
        documents = _cut_to_fit(documents[0], fits)
    return {"question": question, "documents": documents}


def _cut_to_fit(document: Document, fits: Any) -> list[Document]:
    """The longest beginning of a document, in whole sentences, that fits; none if not one does."""
    ends = [end for _, end in sentence_spans(document.page_content)]
    low, high = 0, len(ends)  # the first `low` sentences fit, the first `high` do not

    def beginning(sentences: int) -> list[Document]:
        if not sentences:
            return []
        text = document.page_content[: ends[sentences - 1]]
        return [document.model_copy(update={"page_content": text})]

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(beginning(middle)) else (low, middle)
    return beginning(low)


def _fit_history(
    asked: ChatRagInput, *, chat_model: BaseChatModel, prompt: ChatPromptTemplate
) -> dict[str, str]:
    """Drop the oldest messages until the rewriting prompt fits."""
    history = list(asked["chat_history"])
    while True:
        variables = {"history": format_history(history), "question": asked["question"]}
        if not history or _fits_window(prompt.format_messages(**variables), chat_model):
            return variables
        history.pop(0)


def _fits_window(messages: list[BaseMessage], chat_model: BaseChatModel) -> bool:
    """Whether a prompt and its answer fit; always, for a model that does not tell its window."""
    window = (chat_model.profile or {}).get("max_input_tokens")
    if window is None:
        return True
    room = window - (getattr(chat_model, "max_tokens", None) or 0)
    # No token is shorter than a byte: most prompts fit without asking the model's tokenizer.
    size = sum(len(message.text.encode()) for message in messages) + _TEMPLATE_TOKENS
    return size <= room or chat_model.get_num_tokens_from_messages(messages) <= room


class _Piece(AddableDict):
    """A part of a RagOutput; parts add up to the whole, which a notebook shows with its sources."""

    def __add__(self, other: AddableDict) -> "_Piece":
        return _Piece(super().__add__(other))

    def _repr_html_(self) -> str:
        return render_html(self.get("answer", ""), self.get("citations", []))


class _CitationPass:
    """Passes the pieces of a stream on, the answer without citations of nothing."""

    def __init__(self) -> None:
        self._check = CitationCheck([])

    def feed(self, piece: Mapping[str, Any]) -> Iterator[_Piece]:
        # A piece without the answer (the question, the documents) goes on as it is.
        for key in ("question", "documents"):
            if key in piece:
                yield _Piece({key: piece[key]})
        if "documents" in piece:
            self._check = CitationCheck(piece["documents"])
        text = self._check.feed(piece.get("answer", ""))
        if text:
            yield _Piece(answer=text)

    def finish(self) -> Iterator[_Piece]:
        text = self._check.finish()
        if text or not self._check.answer:  # an empty answer is an answer
            yield _Piece(answer=text)
        yield _Piece(citations=self._check.citations(), dropped_citations=self._check.dropped)


def _check_citations(pieces: Iterator[Mapping[str, Any]]) -> Iterator[_Piece]:
    citation_pass = _CitationPass()
    for piece in pieces:
        yield from citation_pass.feed(piece)
    yield from citation_pass.finish()


async def _acheck_citations(pieces: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[_Piece]:
    citation_pass = _CitationPass()
    async for piece in pieces:
        for out in citation_pass.feed(piece):
            yield out
    for out in citation_pass.finish():
        yield out
