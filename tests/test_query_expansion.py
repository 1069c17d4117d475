"""Questions expanded by a chat model, and rankings merged, against sums worked by hand."""

import logging

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import RetrieversIntegrationTests

from kogemma_rag.query_expansion import (
    ExpandedRetriever,
    hypothetical_passage,
    query_variants,
    rewrite_query,
)


class HearingChatModel(FakeListChatModel):
    """Remembers what it was asked."""

    heard: list[list[BaseMessage]]

    def _call(self, messages, *args, **options):
        self.heard.append(messages)
        return super()._call(messages, *args, **options)


class ListRetriever(BaseRetriever):
    """Finds the letters of a query, in order."""

    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(f"글 {letter}", id=letter) for letter in query]


@pytest.mark.parametrize("make", [rewrite_query, hypothetical_passage])
def test_the_reply_is_searched_by(make):
    model = HearingChatModel(responses=["  연차휴가 신청 기한\n"], heard=[])
    assert make(model).invoke("저기요, 연차 언제까지 {내}요?") == "연차휴가 신청 기한"
    [[system, human]] = model.heard
    assert (system.type, human.type) == ("system", "human")
    assert human.content == "저기요, 연차 언제까지 {내}요?"  # braces are text


async def test_it_is_async_too():
    assert await rewrite_query(FakeListChatModel(responses=["가"])).ainvoke("나") == "가"


@pytest.mark.parametrize("make", [rewrite_query, hypothetical_passage])
def test_an_empty_reply_leaves_the_question_and_is_logged(make, caplog):
    with caplog.at_level(logging.WARNING):
        assert make(FakeListChatModel(responses=[" \n"])).invoke("연차?") == "연차?"
    assert "made nothing of the question" in caplog.text


def test_variants_are_lines_without_their_numbers_and_repeats():
    reply = "1. 연차 며칠?\n- 휴가는 며칠?\n\n2) 연차 며칠?\n• 쉬는 날은?\n더?"
    model = HearingChatModel(responses=[reply], heard=[])
    found = query_variants(model, n=3).invoke("연차는 며칠인가요?")
    assert found == ["연차는 며칠인가요?", "연차 며칠?", "휴가는 며칠?", "쉬는 날은?"]
    assert "3개" in model.heard[0][0].content
    with pytest.raises(ValueError, match="n is 0"):
        query_variants(model, n=0)


def test_rankings_are_merged_by_reciprocal_rank():
    expansion = RunnableLambda(lambda query: ["cb", "bx"])
    retriever = ExpandedRetriever(retriever=ListRetriever(), expansion=expansion, k=4)
    # a 1/61; b 1/62 + 1/62 + 1/61; c 1/63 + 1/61; x 1/62
    assert [document.id for document in retriever.invoke("abc")] == ["b", "c", "a", "x"]
    heavy = ExpandedRetriever(retriever=ListRetriever(), expansion=expansion, own_weight=1000, k=2)
    assert [document.id for document in heavy.invoke("abc")] == ["a", "b"]


def test_equal_texts_of_two_files_stay_two_documents():
    class Two(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document("같은 글", metadata={"source": name}) for name in ("가", "나")]

    retriever = ExpandedRetriever(retriever=Two(), expansion=RunnableLambda(lambda query: "다른"))
    assert len(retriever.invoke("물음")) == 2


class TestExpandedRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        def build(k=4):
            return ExpandedRetriever(
                retriever=ListRetriever(), expansion=RunnableLambda(lambda query: query), k=k
            )

        return build

    @property
    def retriever_query_example(self):
        return "abcdefg"
