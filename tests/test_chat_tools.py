"""Tools and structured output of ChatKoGemma: alone, in agents, streamed, beside free replies."""

import asyncio
import json
from typing import Literal

import pytest
import tiny_gemma
from langchain.agents import create_agent
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict

from kogemma_rag.chat_models import ChatKoGemma
from kogemma_rag.reply_messages import IncompleteOutputError
from kogemma_rag.structured_output import ReplyFormatError
from kogemma_rag.tool_calls import call_line, json_line


class Place(BaseModel):
    """A place."""

    name: str = Field(max_length=6, description="이름")
    kind: Literal["도시", "산"]
    people: int = Field(ge=0, le=99)


class PlaceDict(TypedDict):
    """A place."""

    kind: Literal["도시", "산"]
    people: Literal[1, 2]


@tool
def weather(city: Literal["서울", "부산"], days: Literal[1, 2] = 1) -> str:
    """날씨를 알려 준다."""
    return f"{city}의 {days}일 날씨는 맑음 <end_of_turn>"


@tool
def add(left: Literal[1, 2, 3], right: Literal[1, 2, 3]) -> int:
    """두 수를 더한다."""
    return left + right


@pytest.fixture
def chat(tiny_model, tiny_tokenizer) -> ChatKoGemma:
    """Random weights, sampled: whatever fits comes out."""
    return ChatKoGemma(
        tiny_model, tokenizer=tiny_tokenizer, max_tokens=300, temperature=1.0, seed=1
    )


@pytest.fixture
def answers(tiny_tokenizer):
    """`answers(function)` makes the model reply to the text of its prompt."""
    scripts = []

    def start(answer):
        scripts.append(tiny_gemma.answering(tiny_tokenizer, answer))
        return scripts[-1]

    yield start
    for script in reversed(scripts):
        script.remove()


# --- Structured output ---


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_random_model_says_fits_the_schema(chat, seed) -> None:
    bound = chat.with_structured_output(Place, seed=seed)
    place = bound.invoke("어디인가요?")
    assert isinstance(place, Place)
    *_, streamed = bound.stream("어디인가요?")
    assert streamed == place


def test_every_kind_of_schema(chat) -> None:
    for schema in (PlaceDict, Place.model_json_schema()):
        found = chat.with_structured_output(schema).invoke("어디인가요?")
        assert isinstance(found, dict)
        assert found["kind"] in ("도시", "산")
    raw = chat.with_structured_output(Place, include_raw=True).invoke("어디인가요?")
    assert raw["parsing_error"] is None
    written = raw["raw"].content
    assert written == json_line(json.loads(written))  # no white space but the two separators'
    assert raw["parsed"] == Place.model_validate_json(written)


def test_the_model_is_told_the_schema_but_in_json_mode_only_the_prompt(chat, answers) -> None:
    seen = []

    def answer(prompt: str) -> str:
        seen.append(prompt)
        return '{"name": "서울", "kind": "도시", "people": 9}'

    answers(answer)
    expected = Place(name="서울", kind="도시", people=9)
    assert chat.with_structured_output(Place).invoke("어디?") == expected
    assert chat.with_structured_output(Place, method="json_mode").invoke("어디?") == expected
    assert '"kind": {"enum": ["도시", "산"]' in seen[0]
    assert "enum" not in seen[1]


def test_json_mode_is_checked_by_pydantic_afterwards(chat, answers) -> None:
    answers(lambda prompt: '{"name": "서울"}')
    with pytest.raises(OutputParserException, match="kind"):
        chat.with_structured_output(Place, method="json_mode").invoke("어디?")
    raw = chat.with_structured_output(Place, method="json_mode", include_raw=True).invoke("어디?")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)
    assert raw["raw"].content == '{"name": "서울"}'


async def test_a_reply_cut_at_max_tokens_is_an_error_in_every_mode(chat) -> None:
    cut = chat.with_structured_output(Place, max_tokens=4)
    message = r"cut by max_tokens=4, .*raise max_tokens"
    with pytest.raises(IncompleteOutputError, match=message):
        cut.invoke("어디?")
    with pytest.raises(IncompleteOutputError, match=message):
        list(cut.stream("어디?"))
    with pytest.raises(IncompleteOutputError, match=message):
        await cut.ainvoke("어디?")


def test_schemas_that_cannot_be_kept_are_refused(chat) -> None:
    schema = {"title": "s", "description": "d", "type": "object", "not": {"type": "string"}}
    with pytest.raises(ReplyFormatError, match="not"):
        chat.with_structured_output(schema).invoke("q")
    with pytest.raises(ValueError, match="'yaml' is unknown"):
        chat.with_structured_output(Place, method="yaml")
    for wrong in ({"type": "xml"}, {"type": "json_schema"}):
        with pytest.raises(ValidationError, match="response_format"):
            chat.invoke("q", response_format=wrong)


# --- Tools ---


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", ["any", "add", {"function": {"name": "add"}}, True])
def test_calls_of_a_random_model_are_valid(chat, choice, seed) -> None:
    bound = chat.bind_tools([weather, add], tool_choice=choice, seed=seed)
    reply = bound.invoke("도와줘")
    assert reply.content == ""
    assert reply.tool_calls
    assert not reply.invalid_tool_calls
    assert reply.response_metadata["finish_reason"] == "tool_calls"
    for call in reply.tool_calls:
        if choice not in ("any", True):
            assert call["name"] == "add"
        {"weather": weather, "add": add}[call["name"]].invoke(call["args"])  # validates
    streamed = None
    for chunk in bound.stream("도와줘"):
        streamed = chunk if streamed is None else streamed + chunk
    strip = [(call["name"], call["args"]) for call in reply.tool_calls]
    assert [(call["name"], call["args"]) for call in streamed.tool_calls] == strip


def test_one_call_where_calls_are_not_parallel(chat) -> None:
    bound = chat.bind_tools([add], tool_choice="any", parallel_tool_calls=False)
    for seed in range(6):
        assert len(bound.invoke("도와줘", seed=seed).tool_calls) == 1


def test_none_means_no_tools_and_nothing_told_of_them(chat) -> None:
    free = chat.invoke("도와줘")
    assert chat.bind_tools([add], tool_choice="none").invoke("도와줘").content == free.content


def test_free_text_and_calls_in_one_reply(chat, answers) -> None:
    answers(lambda prompt: "알아보겠습니다.\n" + call_line("add", {"left": 1, "right": 2}))
    pieces = list(chat.bind_tools([weather, add]).stream("1+2?"))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    assert whole.content == "알아보겠습니다."
    assert [call["args"] for call in whole.tool_calls] == [{"left": 1, "right": 2}]
    assert len([piece for piece in pieces if piece.content]) > 3  # streamed as it came
    assert len([piece for piece in pieces if piece.tool_call_chunks]) > 3
    free = chat.bind_tools([weather, add])
    answers(lambda prompt: "도구가 필요 없습니다.")
    assert free.invoke("안녕").tool_calls == []
    assert free.invoke("안녕").content == "도구가 필요 없습니다."


def test_a_call_that_is_cut_is_not_run(chat, answers) -> None:
    """One that had to be is an error; one that might be is an invalid call, as LangChain has it."""
    with pytest.raises(IncompleteOutputError, match="max_tokens=45"):
        chat.bind_tools([add], tool_choice="any").invoke("q", max_tokens=45)
    with pytest.raises(IncompleteOutputError, match="max_tokens=45"):
        chat.with_structured_output(Place, method="function_calling", max_tokens=45).invoke("q")
    answers(lambda prompt: call_line("add", {"left": 1, "right": 2}))
    reply = chat.bind_tools([add]).invoke("q", max_tokens=45)
    assert reply.tool_calls == []
    assert reply.invalid_tool_calls
    assert reply.response_metadata["finish_reason"] == "length"


def test_structured_output_by_calling(chat, answers) -> None:
    answers(lambda prompt: call_line("Place", {"name": "서울", "kind": "도시", "people": 9}))
    called = chat.with_structured_output(Place, method="function_calling", max_tokens=200)
    assert called.invoke("어디?") == Place(name="서울", kind="도시", people=9)


def test_a_stop_string_inside_json_is_an_error_not_half_an_answer(chat, answers) -> None:
    answers(lambda prompt: '{"name": "서울", "kind": "도시", "people": 19}')
    for stop in ([", "], ["9}"], ["}"]):
        with pytest.raises(IncompleteOutputError, match="cut by stop="):
            chat.with_structured_output(Place, stop=stop).invoke("어디?")


def test_json_that_is_complete_at_max_tokens_is_whole(chat, answers, tiny_tokenizer) -> None:
    text = '{"name": "서울", "kind": "도시", "people": 9}'
    answers(lambda prompt: text)
    tokens = len(tiny_tokenizer.encode(text, add_special_tokens=False))
    place = chat.with_structured_output(Place, max_tokens=tokens).invoke("어디?")
    assert place.people == 9
    with pytest.raises(IncompleteOutputError):
        chat.with_structured_output(Place, max_tokens=tokens - 1).invoke("어디?")


@pytest.mark.parametrize(
    "text",
    [
        '{ "tool_call": {"name": "delete", "arguments": {}}}',
        '{\n"tool_call": {"name": "delete", "arguments": {}}}',
    ],
)
def test_a_call_of_a_tool_that_is_not_bound_is_text(chat, answers, text) -> None:
    answers(lambda prompt: text)
    reply = chat.bind_tools([add]).invoke("q")
    assert reply.tool_calls == reply.invalid_tool_calls == []
    assert reply.content


def test_an_answer_that_holds_what_looks_like_a_call_stays_whole(chat, answers) -> None:
    text = json_line({"x": {"tool_call": {"name": "add", "arguments": {"left": 1}}}})
    answers(lambda prompt: text)
    schema = {"type": "object", "properties": {"x": {"type": "object"}}, "required": ["x"]}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    reply = chat.bind_tools([add], response_format=form).invoke("q")
    assert reply.tool_calls == []
    assert reply.content == text


async def test_calls_are_whole_in_streamed_events_of_version_3(chat, answers) -> None:
    answers(lambda prompt: call_line("add", {"left": 1, "right": 2}))
    bound = chat.bind_tools([add])
    output = bound.stream_events("q", version="v3").output
    assert [call["args"] for call in output.tool_calls] == [{"left": 1, "right": 2}]
    assert output.invalid_tool_calls == []
    *_, last = bound.stream("q")
    assert last.chunk_position == "last"
    assert not last.tool_call_chunks
    assert last.usage_metadata["output_tokens"] > 5


@pytest.mark.parametrize(
    ("tools", "choice", "message"),
    [([], "any", "needs tools"), ([add], "subtract", r"names no tool; there are \['add'\]")],
)
def test_choices_that_cannot_be_are_refused(chat, tools, choice, message) -> None:
    with pytest.raises(ValidationError, match=message):
        chat.bind_tools(tools, tool_choice=choice)


async def test_held_and_free_replies_run_in_one_batch(chat, say) -> None:
    structured = chat.with_structured_output(Place)
    called = chat.bind_tools([add], tool_choice="any", parallel_tool_calls=False)
    alone = structured.invoke("어디?"), called.invoke("합?").tool_calls[0]["args"], chat.invoke("?")
    together = await asyncio.gather(
        *(structured.ainvoke("어디?") for _ in range(4)),
        *(called.ainvoke("합?") for _ in range(4)),
        *(chat.ainvoke("?") for _ in range(4)),
    )
    assert together[:4] == [alone[0]] * 4
    assert [reply.tool_calls[0]["args"] for reply in together[4:8]] == [alone[1]] * 4
    assert [reply.content for reply in together[8:]] == [alone[2].content] * 4


# --- Agents ---


def understand(prompt: str) -> str:
    """Ask the weather tool once, then answer from what it said."""
    if "맑음" in prompt.rpartition("<start_of_turn>user\n")[2]:
        return "서울은 맑습니다."
    return call_line("weather", {"city": "서울", "days": 2})


def test_an_agent_calls_a_tool_and_answers(chat, answers) -> None:
    answers(understand)
    agent = create_agent(chat, [weather, add], system_prompt="짧게 답한다.")
    messages = agent.invoke({"messages": [HumanMessage("서울 날씨?")]})["messages"]
    assert [type(message) for message in messages] == [
        HumanMessage,
        AIMessage,
        ToolMessage,
        AIMessage,
    ]
    assert messages[2].content == "서울의 2일 날씨는 맑음 <end_of_turn>"
    assert messages[3].content == "서울은 맑습니다."


def test_an_agent_with_a_structured_answer_and_tools(chat, answers) -> None:
    """The agent binds tools and a response format together: a call, or the answer as JSON."""

    def answer(prompt: str) -> str:
        said = understand(prompt)
        return said if said.startswith("{") else '{"name": "서울", "kind": "도시", "people": 9}'

    answers(answer)
    agent = create_agent(chat, [weather], response_format=Place)
    result = agent.invoke({"messages": [HumanMessage("서울 날씨?")]})
    assert result["structured_response"] == Place(name="서울", kind="도시", people=9)
    assert any(isinstance(message, ToolMessage) for message in result["messages"])


def test_a_random_model_in_that_agent_calls_or_answers_but_says_nothing_else(chat) -> None:
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "Place", "schema": Place.model_json_schema()},
    }
    bound = chat.bind_tools([add], response_format=response_format, parallel_tool_calls=False)
    for seed in range(8):
        reply = bound.invoke("서울?", seed=seed)
        if not reply.tool_calls:
            Place.model_validate_json(reply.content)
        else:
            assert reply.content == ""


def test_a_checkpointed_conversation_goes_on(chat, answers) -> None:
    """Messages with calls and results survive LangGraph's serialization and our template."""
    answers(understand)
    saver = InMemorySaver()
    config = {"configurable": {"thread_id": "1"}}
    first = create_agent(chat, [weather], checkpointer=saver)
    first.invoke({"messages": [HumanMessage("서울 날씨?")]}, config)
    again = create_agent(chat, [weather], checkpointer=saver)
    answers(lambda prompt: str(prompt.count("<start_of_turn>user")))
    messages = again.invoke({"messages": [HumanMessage("몇 번째 질문?")]}, config)["messages"]
    assert len(messages) == 6
    # The question, the tool's result, and the second question.
    assert messages[-1].content == "3"
    assert messages[1].tool_calls[0]["args"] == {"city": "서울", "days": 2}
    assert messages[1].usage_metadata["output_tokens"] > 5
