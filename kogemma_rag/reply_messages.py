"""The pieces of a reply's text, and how it ended, to LangChain's message chunks.

Knows neither what the reply was computed from nor by what.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.output_parsers import (
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    JsonOutputToolsParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from kogemma_rag.backends import ReplyEnd
from kogemma_rag.call_options import CallOptions
from kogemma_rag.tool_calls import ToolCallReader


class ReplyMessages:
    """Makes the chunks of one reply.

    One chunk is held back at a time, so that the last one can carry how the reply ended: none is
    empty but that of an empty reply, and the one after a tool's call, which must be whole by then.

    Args:
        model_name: Written on the last chunk.
        options: What the reply is held to.
    """

    def __init__(self, model_name: str, options: CallOptions) -> None:
        self._model_name = model_name
        self._options = options
        self._calls = (
            ToolCallReader(
                [tool["function"]["name"] for tool in options.usable_tools],
                parallel=options.parallel_tool_calls,
                after_text=not options.is_json,
            )
            if options.usable_tools
            else None
        )
        self._held: AIMessageChunk | None = None
        self._text: list[str] = []
        self._called = False

    def feed(self, item: str | ReplyEnd) -> Iterator[AIMessageChunk]:
        """Take what a backend yields, and yield the chunks that are certain."""
        if isinstance(item, ReplyEnd):
            if self._calls is not None:
                yield from self._pass(self._calls.finish())
            if self._held is not None and self._held.tool_call_chunks:
                held, self._held = self._held, None
                yield held
            self._check_complete(item)
            yield self._last(item)
        elif self._calls is None:
            yield from self._pass([item])
        else:
            yield from self._pass(self._calls.feed(item))

    def _pass(self, events: Iterable[str | ToolCallChunk]) -> Iterator[AIMessageChunk]:
        for event in events:
            held, self._held = self._held, self._chunk(event)
            if held is not None:
                yield held

    def _chunk(self, event: str | ToolCallChunk) -> AIMessageChunk:
        if isinstance(event, str):
            if self._options.is_json:
                self._text.append(event)
            return AIMessageChunk(content=event)
        self._called = True
        return AIMessageChunk(content="", tool_call_chunks=[event])

    def _check_complete(self, end: ReplyEnd) -> None:
        """Refuse half of what a reply had to be; LangChain's parsers would complete it somehow."""
        if self._options.required:
            complete = self._called and end.finish_reason == "stop"
        elif self._options.is_json and not self._called:
            complete = _is_json("".join(self._text))
        else:
            return
        if not complete:
            by = (
                f"max_tokens={self._options.max_tokens}"
                if end.finish_reason == "length"
                else f"stop={self._options.stop}"
            )
            raise IncompleteOutputError(
                f"the reply was cut by {by}, before its JSON was complete; raise max_tokens, leave "
                "stop strings out, or limit the schema's texts by maxLength"
            )

    def _last(self, end: ReplyEnd) -> AIMessageChunk:
        stopped_by_call = self._called and end.finish_reason == "stop"
        held = self._held or AIMessageChunk(content="")
        usage = None
        if end.input_tokens is not None and end.output_tokens is not None:
            usage = UsageMetadata(
                input_tokens=end.input_tokens,
                output_tokens=end.output_tokens,
                total_tokens=end.input_tokens + end.output_tokens,
            )
        return AIMessageChunk(
            content=held.content,
            chunk_position="last",
            usage_metadata=usage,
            response_metadata={
                "finish_reason": "tool_calls" if stopped_by_call else end.finish_reason,
                "model_name": self._model_name,
            },
        )

    def whole(self, text: str, end: ReplyEnd) -> AIMessage:
        """Make one message of all the text of a reply."""
        pieces = self.feed(text) if text else ()
        message = add_ai_message_chunks(*pieces, *self.feed(end))
        return cast(AIMessage, message_chunk_to_message(message))


class IncompleteOutputError(OutputParserException):
    """A reply that is held to a schema was cut before it was complete."""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def tool_parser(schema: Any) -> JsonOutputToolsParser:
    """Give the parser of a call whose arguments are the schema's object."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    name = convert_to_openai_tool(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def output_parser(schema: Any) -> JsonOutputParser:
    """Give the parser of a schema: objects of a pydantic class, checked by it, else dicts."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()
