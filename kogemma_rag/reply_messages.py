"""The pieces of a reply's text, and how it ended, to LangChain's message chunks.

Knows neither what the reply was computed from nor by what.
"""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.utils.pydantic import is_basemodel_subclass

from kogemma_rag.backends import ReplyEnd
from kogemma_rag.tool_calls import ToolCallReader


class ReplyMessages:
    """Makes the chunks of one reply, none empty but that of an empty reply.

    One chunk is held back at a time, so that the last one can carry how the reply ended.

    Args:
        model_name: Written on the last chunk.
        calls: Reads tool calls out of the text; None takes all of it as text.
    """

    def __init__(self, model_name: str, calls: ToolCallReader | None = None) -> None:
        self._model_name = model_name
        self._calls = calls
        self._held: AIMessageChunk | None = None
        self._called = False

    def feed(self, item: str | ReplyEnd) -> Iterator[AIMessageChunk]:
        """Take what a backend yields, and yield the chunks that are certain."""
        if isinstance(item, ReplyEnd):
            if self._calls is not None:
                yield from self._pass(self._calls.finish())
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
            return AIMessageChunk(content=event)
        self._called = True
        return AIMessageChunk(content="", tool_call_chunks=[event])

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
            tool_call_chunks=held.tool_call_chunks,
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


def output_parser(schema: Any) -> JsonOutputParser:
    """Give the parser of a schema: objects of a pydantic class, checked by it, else dicts."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()
