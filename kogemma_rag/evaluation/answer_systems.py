"""Retrievers and chat models in, systems that answer questions of a set out. Scores nothing."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable

from kogemma_rag.chains import RagOutput, create_rag_chain
from kogemma_rag.evaluation.evaluated_documents import EvaluatedRetriever
from kogemma_rag.evaluation.question_sets import QuestionSet
from kogemma_rag.evaluation.retriever_settings import RetrieverSettings
from kogemma_rag.evaluation.runs import RunFolder
from kogemma_rag.evaluation.systems import Systems
from kogemma_rag.prompts import RAG_PROMPT

_INDEXES_FOLDER = "indexes"


@dataclass(frozen=True)
class AnswerSystem:
    """What answers questions, and what a report tells of it.

    Attributes:
        retriever: Finds passages that are documents of the question set, see `document_of`.
        k: At most so many passages for the chat model; None for all that are found.
        settings: As the report shows them; they have a JSON form.
        index: bytes, chunks and seconds of the index, as the report shows them.
    """

    name: str
    retriever: BaseRetriever
    chat_model: BaseChatModel
    prompt: ChatPromptTemplate = field(default_factory=lambda: RAG_PROMPT)
    k: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] | None = None

    def chain(
        self, known: frozenset[str], without: frozenset[str] = frozenset()
    ) -> Runnable[str, RagOutput]:
        """From a question to its answer.

        Args:
            known: Ids of the documents of the question set.
            without: Ids of those that shall be as if they were not there.
        """
        retriever = EvaluatedRetriever(
            retriever=self.retriever, known=known, k=self.k, without=without
        )
        return create_rag_chain(retriever, self.chat_model, prompt=self.prompt)


def answer_systems(
    question_set: QuestionSet,
    retrievers: Mapping[str, RetrieverSettings | BaseRetriever],
    chat_models: Mapping[str, BaseChatModel],
    *,
    k: int = 4,
    folder: RunFolder | None = None,
    embeddings: Mapping[str, Embeddings] | None = None,
    progress: bool = True,
) -> Iterator[AnswerSystem]:
    """Every retriever with every chat model, for `evaluate_answers`; indexes are made here.

    A system is open until the next one is asked for. It is named by its chat model where there is
    one retriever, by its retriever where there is one chat model, else "retriever + model".

    Args:
        question_set: What is indexed.
        retrievers: By name, as for `evaluate_retrieval`.
        chat_models: By name.
        k: Passages for the chat model, where settings tell no other number.
        folder: Keeps the indexes.
        embeddings: Models by the names that settings call them; others are loaded.
        progress: Whether to draw bars on stderr.
    """
    opened = Systems(
        question_set,
        retrievers,
        k=k,
        kept=None if folder is None else folder.path / _INDEXES_FOLDER,
        embeddings=embeddings or {},
        progress=progress,
    )
    with closing(opened.opened()) as each:
        for system in each:
            passages = system.settings.get("k") or k
            for name, chat_model in chat_models.items():
                both = f"{system.name} + {name}"
                alone = name if len(retrievers) == 1 else system.name
                yield AnswerSystem(
                    name=alone if 1 in (len(retrievers), len(chat_models)) else both,
                    retriever=system.retriever,
                    chat_model=chat_model,
                    k=passages,
                    settings={**system.settings, "k": passages, "chat_model": name},
                    index=system.index,
                )
