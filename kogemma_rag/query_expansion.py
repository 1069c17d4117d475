"""A question in, other questions or an invented answer to search by out, by any chat model.

Each is a plain Runnable. What a model leaves empty is the question itself, and a log says so.
"""

import logging
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from pydantic import ConfigDict, Field

from kogemma_rag.prompts import (
    HYPOTHETICAL_PASSAGE_PROMPT,
    QUERY_VARIANTS_PROMPT,
    SEARCH_QUERY_PROMPT,
)

logger = logging.getLogger(__name__)

_C = 60  # of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)
_MARKS = " \t-*•·0123456789.)\"'“”"


def rewrite_query(chat_model: BaseChatModel) -> Runnable[str, str]:
    """A question as a search query: spelled out, without what is said to a person."""
    return _asked(chat_model, SEARCH_QUERY_PROMPT) | RunnableLambda(_useful)


def hypothetical_passage(chat_model: BaseChatModel) -> Runnable[str, str]:
    """A passage that might answer the question, to search by (HyDE; Gao et al., 2022)."""
    return _asked(chat_model, HYPOTHETICAL_PASSAGE_PROMPT) | RunnableLambda(_useful)


def query_variants(chat_model: BaseChatModel, n: int = 3) -> Runnable[str, list[str]]:
    """The question and up to n others that ask the same in other words.

    Raises:
        ValueError: If n is not positive.
    """
    if n < 1:
        raise ValueError(f"n is {n}; it must be 1 or more")

    def lines(asked: dict[str, str]) -> list[str]:
        written = (line.strip().lstrip(_MARKS).strip() for line in _useful(asked).splitlines())
        return list(dict.fromkeys([asked["question"], *filter(None, written)]))[: n + 1]

    return _asked(chat_model, QUERY_VARIANTS_PROMPT.partial(n=str(n))) | RunnableLambda(lines)


class ExpandedRetriever(BaseRetriever):
    """Searches by the question and by what is made of it, and merges the rankings.

    A document at rank r of a ranking, from 1, is worth 1 / (60 + r), in that of the question
    `own_weight` times as much; ties are in the order of the ids.

    Args:
        retriever: Any LangChain retriever; asked for as many as are to come back.
        expansion: A Runnable from a question to a text, or to several, to search by.
        own_weight: What the question's own ranking counts beside another.
        k: At most so many.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: BaseRetriever
    expansion: Runnable[str, Any]
    own_weight: float = Field(default=1.0, gt=0)
    k: int = Field(default=4, gt=0)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        expanded = self.expansion.invoke(query, config=config)
        others = [expanded] if isinstance(expanded, str) else expanded
        queries = list(dict.fromkeys([query, *others]))
        rankings = self.retriever.batch(queries, config=config)
        return _merged(rankings, [self.own_weight] + [1.0] * (len(queries) - 1))[: k or self.k]


def _merged(rankings: Sequence[Sequence[Document]], weights: Sequence[float]) -> list[Document]:
    worth: dict[str, float] = {}
    documents: dict[str, Document] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, document in enumerate(ranking, start=1):
            # Without an id, what tells a document from others is its text and where it stands.
            id_ = document.id or repr((document.page_content, document.metadata))
            worth[id_] = worth.get(id_, 0.0) + weight / (_C + rank)
            documents.setdefault(id_, document)
    return [documents[id_] for id_ in sorted(worth, key=lambda id_: (-worth[id_], id_))]


def _asked(chat_model: BaseChatModel, prompt: ChatPromptTemplate) -> Runnable[str, dict[str, str]]:
    """The question, and what the model replies to it."""
    filled: Runnable[str, dict[str, str]] = RunnableLambda(lambda question: {"question": question})
    reply = filled | prompt | chat_model | StrOutputParser()
    return RunnableParallel(question=RunnablePassthrough(), reply=reply)


def _useful(asked: dict[str, str]) -> str:
    if reply := asked["reply"].strip():
        return reply
    logger.warning("the model made nothing of the question; it is searched by as it is")
    return asked["question"]
