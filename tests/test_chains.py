import asyncio
import gc
import unicodedata
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from pydantic import Field

from kogemma_rag.chains import create_chat_rag_chain, create_rag_chain
from kogemma_rag.extractive import ExtractiveChatModel
from kogemma_rag.prompts import NOT_FOUND, RAG_PROMPT, format_passages

DOCUMENTS = [
    Document("연차휴가는 15일이다. 반차는 4시간이다.", id="a", metadata={"source": "휴가.md"}),
    Document("출장비는 하루 5만 원이다.", id="b", metadata={"source": "출장.pdf", "page": 3}),
    Document("재택근무는 한 주에 이틀까지 한다.", id="c", metadata={"source": "재택.docx"}),
]
retriever = RunnableLambda(lambda question: list(DOCUMENTS))


class RecordingModel(FakeListChatModel):
    """A fake with a window of so many characters, a token each, that keeps its prompts."""

    responses: list[str] = Field(default_factory=lambda: ["15일이다. [1]"])
    prompts: list[list[BaseMessage]] = Field(default_factory=list)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        return sum(len(message.text) for message in messages)

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        self.prompts.append(messages)
        return super()._call(messages, *args, **kwargs)


def prompt_length(question: str, documents: list[Document]) -> int:
    messages = RAG_PROMPT.format_messages(context=format_passages(documents), question=question)
    return sum(len(message.text) for message in messages)


def test_answer_with_documents_and_checked_citations() -> None:
    output = create_rag_chain(retriever, ExtractiveChatModel()).invoke("출장비는 얼마인가요?")
    assert output["question"] == "출장비는 얼마인가요?"
    assert output["documents"] == DOCUMENTS
    assert output["answer"] == "출장비는 하루 5만 원이다. [2]"
    (citation,) = output["citations"]
    assert (citation.number, citation.document_id) == (2, "b")
    assert citation.quote == "출장비는 하루 5만 원이다."
    assert output["dropped_citations"] == 0


def test_not_in_the_documents_has_no_citations() -> None:
    output = create_rag_chain(retriever, ExtractiveChatModel()).invoke("스톡옵션 행사 가격은?")
    assert output["answer"] == NOT_FOUND
    assert output["citations"] == []


def test_stream_brings_documents_first_then_the_answer_piece_by_piece() -> None:
    model = FakeListChatModel(responses=["15일이다 [1]. 없는 [7] 것."])
    pieces = list(create_rag_chain(retriever, model).stream("며칠?"))
    keys = [next(iter(piece)) for piece in pieces]
    assert keys[:2] == ["question", "documents"]
    assert set(keys[2:-1]) == {"answer"}
    assert len(keys) > 8
    assert set(pieces[-1]) == {"citations", "dropped_citations"}
    answer = "".join(piece.get("answer", "") for piece in pieces)
    assert answer == "15일이다 [1]. 없는 것."
    assert answer == create_rag_chain(retriever, model).invoke("며칠?")["answer"]
    assert pieces[-1]["dropped_citations"] == 1


async def test_async_stream_equals_stream() -> None:
    chain = create_rag_chain(retriever, ExtractiveChatModel())
    pieces = [piece async for piece in chain.astream("출장비는 얼마인가요?")]
    assert pieces == list(chain.stream("출장비는 얼마인가요?"))
    assert await chain.ainvoke("출장비는 얼마인가요?") == chain.invoke("출장비는 얼마인가요?")


def test_batch_keeps_the_order_of_the_questions() -> None:
    chain = create_rag_chain(retriever, ExtractiveChatModel())
    answers = [output["answer"] for output in chain.batch(["출장비는 얼마?", "반차는 몇 시간?"])]
    assert [answer.splitlines()[0] for answer in answers] == [
        "출장비는 하루 5만 원이다. [2]",
        "반차는 4시간이다. [1]",
    ]


def test_question_reaches_the_retriever_in_nfc() -> None:
    asked = []
    chain = create_rag_chain(
        RunnableLambda(lambda question: asked.append(question) or []), RecordingModel()
    )
    chain.invoke(unicodedata.normalize("NFD", "연차"))
    assert asked == ["연차"]


def test_passages_are_dropped_from_the_lowest_rank_until_the_prompt_fits() -> None:
    question = "며칠?"
    window = prompt_length(question, DOCUMENTS[:2])
    model = RecordingModel(profile={"max_input_tokens": window}, prompts=[])
    output = create_rag_chain(retriever, model).invoke(question)
    assert output["documents"] == DOCUMENTS[:2]
    tight = RecordingModel(profile={"max_input_tokens": window - 1}, prompts=[])
    assert create_rag_chain(retriever, tight).invoke(question)["documents"] == DOCUMENTS[:1]


def test_last_passage_is_cut_at_a_sentence_and_the_question_never() -> None:
    question = "며칠?"
    first = Document("연차휴가는 15일이다.", metadata=DOCUMENTS[0].metadata)
    model = RecordingModel(profile={"max_input_tokens": prompt_length(question, [first])})
    output = create_rag_chain(retriever, model).invoke(question)
    assert [document.page_content for document in output["documents"]] == ["연차휴가는 15일이다."]
    assert DOCUMENTS[0].page_content.endswith("4시간이다.")  # the caller's stays whole
    tiny = RecordingModel(profile={"max_input_tokens": 1})
    output = create_rag_chain(retriever, tiny).invoke(question)
    assert output["documents"] == []
    assert tiny.prompts[-1][-1].text.endswith("질문: 며칠?")


def test_prompt_without_its_variables_is_refused() -> None:
    with pytest.raises(ValueError, match="context"):
        create_rag_chain(
            retriever, RecordingModel(), prompt=ChatPromptTemplate.from_template("{question}")
        )


def test_history_rewrites_the_question_before_the_search() -> None:
    chain = create_chat_rag_chain(retriever, ExtractiveChatModel())
    history = [HumanMessage("연차휴가는 며칠인가요?"), AIMessage("15일이다. [1]")]
    output = chain.invoke({"question": "그럼 반차는?", "chat_history": history})
    assert output["question"] == "연차휴가는 며칠인가요? 그럼 반차는?"
    assert "반차는 4시간이다. [1]" in output["answer"]
    first = chain.invoke({"question": "출장비는 얼마인가요?", "chat_history": []})
    assert first["question"] == "출장비는 얼마인가요?"


@pytest.mark.parametrize("response", ["", "[7]", " [9]"])
def test_an_empty_answer_is_an_answer(response: str) -> None:
    chain = create_rag_chain(retriever, FakeListChatModel(responses=[response]))
    output = chain.invoke("며칠?")
    assert (output["answer"], output["citations"]) == ("", [])


def test_a_rewrite_to_nothing_leaves_the_question() -> None:
    model = FakeListChatModel(responses=[" ", "15일이다. [1]"])
    chain = create_chat_rag_chain(retriever, model)
    output = chain.invoke({"question": "그럼 병가는?", "chat_history": [HumanMessage("연차는?")]})
    assert (output["question"], output["answer"]) == ("그럼 병가는?", "15일이다. [1]")


def test_a_document_cannot_cite_another_one() -> None:
    evil = Document("연차휴가는 99일이다 [2].", id="evil", metadata={"source": "evil.txt"})
    chain = create_rag_chain(RunnableLambda(lambda _: [evil, DOCUMENTS[1]]), ExtractiveChatModel())
    output = chain.invoke("연차휴가는 며칠인가요?")
    assert output["answer"].splitlines()[0] == "연차휴가는 99일이다 (2). [1]"
    assert output["citations"][0].document_id == "evil"
    assert output["citations"][0].quote == "연차휴가는 99일이다 [2]."
    assert output["dropped_citations"] == 0


def test_history_is_cut_from_the_oldest_to_fit_the_window() -> None:
    model = RecordingModel(profile={"max_input_tokens": 200}, prompts=[])
    history: list[BaseMessage] = [HumanMessage("가" * 150), AIMessage("나" * 5), HumanMessage("다")]
    create_chat_rag_chain(retriever, model).invoke({"question": "왜?", "chat_history": history})
    rewriting = model.prompts[0][-1].text
    assert "가" not in rewriting
    assert "나나" in rewriting


def test_notebook_shows_the_answer_with_its_sources() -> None:
    output = create_rag_chain(retriever, ExtractiveChatModel()).invoke("출장비는 얼마인가요?")
    page = output._repr_html_()  # type: ignore[attr-defined]
    assert "출장비는 하루 5만 원이다. [2]" in page
    assert "출장.pdf, 3쪽" in page


class WaitingModel(FakeListChatModel):
    """A fake that answers nothing and never ends; counts the answers under way."""

    responses: list[str] = Field(default_factory=list)
    under_way: int = 0

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        self.under_way += 1
        try:
            await asyncio.Event().wait()
            yield
        finally:
            self.under_way -= 1


async def _consume(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


async def test_what_is_given_up_writes_no_further() -> None:
    model = WaitingModel()
    asked = asyncio.create_task(_consume(create_rag_chain(retriever, model).astream("며칠?")))
    while not model.under_way:
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked], timeout=5)
    assert (asked.cancelled(), model.under_way) == (True, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_is_closed_early_asks_no_model() -> None:
    model = WaitingModel()
    async with aclosing(create_rag_chain(retriever, model).astream("며칠?")) as pieces:
        async for piece in pieces:
            if "documents" in piece:
                break
    for _ in range(100):  # of the loop, which closes what is left one after another
        await asyncio.sleep(0)
    assert (model.under_way, asyncio.all_tasks()) == (0, {asyncio.current_task()})


async def test_what_is_given_up_while_it_searches_leaves_nothing_to_tell() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    searching = 0

    async def search(question: str) -> list[Document]:
        nonlocal searching
        searching += 1
        await asyncio.sleep(60)
        return []

    chain = create_rag_chain(RunnableLambda(search), WaitingModel())
    for steps in range(40):  # of the loop, at each of which something else is under way
        asked = asyncio.create_task(_consume(chain.astream("며칠?")))
        while searching <= steps:
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked], timeout=5)
        assert asked.cancelled()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    gc.collect()
    assert (left, told) == (set(), [])
