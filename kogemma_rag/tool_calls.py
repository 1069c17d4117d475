"""Calls of tools as text: what tells a model of its tools, one line per call, and reading those.

Gemma's template has no place for tools, so all of this stands in ordinary turns. Knows no model,
no grammar and no tool that could be run.
"""

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk

CALL_TRIGGER = '{"tool_call"'
"""What no free text may begin with unless it is a call."""

_ARGUMENTS = '"arguments"'
_INTRODUCTION = (
    "다음 도구를 쓸 수 있습니다. 한 줄에 도구 하나씩, 이름(name)과 설명(description), "
    "인자(arguments)의 JSON 스키마를 적었습니다."
)
_CALL_FORM = (
    "도구를 부르려면 아래 형식의 JSON을 한 줄에 그대로 쓰세요. 코드 블록으로 감싸지 말고, "
    "NAME 자리에는 도구 이름을, ARGUMENTS 자리에는 스키마에 맞는 JSON 객체를 넣으세요."
)
_RESULT_FORM = (
    "도구를 부른 뒤에는 답을 멈추세요. 결과는 tool_result가 든 JSON 한 줄로 전달됩니다. "
    "그 결과를 바탕으로 답하고, 결과를 지어내지 마세요."
)
_MAY_CALL = "도구가 필요할 때만 부르고, 필요하지 않으면 평소처럼 답하세요."
_MUST_CALL = "이번에는 설명 없이 반드시 도구를 부르세요."
_SCHEMA_FORM = (
    "다음 JSON 스키마에 맞는 JSON만 답하세요. 설명이나 코드 블록 없이, "
    "불필요한 공백이나 줄바꿈을 넣지 말고 한 줄로 쓰세요."
)
# An invisible space, which leaves the text readable.
_BREAK = "\u200b"
_FRAME = re.compile(r'\{(?=\s*"tool_(?:call|result)")')


def json_line(value: object) -> str:
    """Write a value as one line of JSON, Korean as it is.

    JSON escapes quotes and line ends, so that a tool's text cannot end its own frame.
    """
    return json.dumps(value, ensure_ascii=False, default=str)


def call_line(name: str | None, arguments: object) -> str:
    """Write a call as a model is to write it."""
    return json_line({"tool_call": {"name": name, "arguments": arguments}})


def result_line(name: str | None, text: str, *, failed: bool = False) -> str:
    """Write what a tool gave, or said when it failed."""
    return json_line({"tool_result": {"name": name, "error" if failed else "content": text}})


def call_frame(name: str) -> tuple[str, str]:
    """Give what stands before and after the arguments in the line of a call."""
    begin, _, end = call_line(name, {}).rpartition("{}")
    return begin, end


def tool_instructions(tools: Sequence[Mapping[str, Any]], *, required: bool = False) -> str:
    """Tell a model in Korean which tools there are, how to call them and whether it must.

    Args:
        tools: In OpenAI's form, as `convert_to_openai_tool` gives them.
        required: Whether some tool must be called.
    """
    functions = [tool["function"] for tool in tools]
    listing = [
        json_line(
            {
                "name": function["name"],
                "description": function.get("description", ""),
                "arguments": function.get("parameters", {}),
            }
        )
        for function in functions
    ]
    begin, end = call_frame("NAME")
    demand = _MUST_CALL if required else _MAY_CALL
    form = f"{begin}ARGUMENTS{end}"
    return "\n".join([_INTRODUCTION, *listing, "", _CALL_FORM, form, _RESULT_FORM, demand])


def schema_instructions(schema: str) -> str:
    """Ask a model in Korean for JSON of a schema, given as JSON text."""
    return f"{_SCHEMA_FORM}\n{schema}"


def break_frames(text: str) -> str:
    """Put a zero width space into what would read as a call or a result in a message's text.

    Otherwise a document could tell the model what some tool is said to have given. All other text
    stays as it is.
    """
    return _FRAME.sub(rf"\g<0>{_BREAK}", text)


class ToolCallReader:
    """Takes a reply apart into its text and its calls, as it comes.

    What comes out depends on the text only, not on where its pieces end. White space in a call's
    frame is free, for servers that hold their model to no grammar. White space next to a call is
    no content, except between two parts of the text. A call that is cut, or whose arguments are no
    JSON object, still comes out, in such a way that LangChain makes it an `InvalidToolCall`.

    Args:
        names: The tools that may be called; a call of another one is text. None allows any.
        parallel: Whether there may be more than one call; a second one is text.
        after_text: Whether a call may follow text.
    """

    def __init__(
        self,
        names: Collection[str] | None = None,
        *,
        parallel: bool = True,
        after_text: bool = True,
    ) -> None:
        self._names = names
        self._parallel = parallel
        self._after_text = after_text
        self._held = ""
        self._space = ""
        self._has_text = False
        self._calls = 0
        self._arguments: _Arguments | None = None
        self._closers = 0

    def feed(self, piece: str) -> list[str | ToolCallChunk]:
        """Take the next piece of a reply and give what is now certain, often nothing.

        Each call begins with a chunk that has its name and id; the chunks after it, with the same
        index, have the JSON of its arguments in parts.
        """
        self._held += piece
        return list(self._read(final=False))

    def finish(self) -> list[str | ToolCallChunk]:
        """Give what was held back, now that the reply has ended."""
        events = list(self._read(final=True))
        if self._arguments is not None:
            events.append(self._fragment(self._arguments.spoil()))
            self._arguments = None
        if self._space and not self._calls:
            events.append(self._space)
        self._held = self._space = ""
        return events

    def _read(self, *, final: bool) -> Iterator[str | ToolCallChunk]:
        while self._held:
            before = self._held, self._closers
            if self._arguments is not None:
                yield from self._read_arguments(self._arguments)
            elif self._closers:
                self._read_closers()
            else:
                yield from self._read_text(final=final)
            if (self._held, self._closers) == before:
                return

    def _read_text(self, *, final: bool) -> Iterator[str | ToolCallChunk]:
        """Give the text before the next call, and that call's first chunk."""
        text = self._held
        for brace in re.finditer(r"\{", text):
            if not self._may_begin(text[: brace.start()]):
                break
            header = _HEADER.match(text, brace.start())
            if header and not self._is_known(_decode_name(header["name"])):
                continue
            if header or _HEADER_BEGUN.fullmatch(text, brace.start()):
                yield from self._content(text[: brace.start()])
                self._held = text[brace.start() :]
                if header:
                    yield self._begin(_decode_name(header["name"]))
                    self._held = text[header.end() :]
                elif final:
                    yield from self._read_cut_header()
                return
        self._held = ""
        yield from self._content(text)

    def _may_begin(self, before: str) -> bool:
        if self._calls and not self._parallel:
            return False
        return self._after_text or not (self._has_text or before.strip())

    def _is_known(self, name: str) -> bool:
        return self._names is None or name in self._names

    def _read_cut_header(self) -> Iterator[str | ToolCallChunk]:
        """Take what the reply ended with: a call without arguments, or text after all."""
        text, self._held = self._held, ""
        if named := _NAME_BEGUN.match(text):
            yield self._begin(_decode_name(named["name"]))
        else:
            yield from self._content(text)

    def _begin(self, name: str) -> ToolCallChunk:
        self._arguments = _Arguments()
        self._calls += 1
        return tool_call_chunk(
            name=name, args="", id=f"call_{uuid.uuid4().hex}", index=self._calls - 1
        )

    def _read_arguments(self, arguments: "_Arguments") -> Iterator[ToolCallChunk]:
        length = arguments.feed(self._held)
        fragment, self._held = self._held[:length], self._held[length:]
        if arguments.ended:
            fragment += "" if arguments.is_object() else arguments.spoil()
            self._arguments, self._closers = None, 2
        yield self._fragment(fragment)

    def _fragment(self, text: str) -> ToolCallChunk:
        return tool_call_chunk(name=None, args=text, id=None, index=self._calls - 1)

    def _read_closers(self) -> None:
        """Drop the braces that end a call's frame; one that lacks them has ended all the same."""
        rest = self._held.lstrip()
        if rest.startswith("}"):
            self._held = rest[1:]
            self._closers -= 1
        elif rest:
            self._closers = 0

    def _content(self, text: str) -> Iterator[str]:
        """Give text, holding back the white space at its end."""
        body = (self._space + text).rstrip()
        self._space = (self._space + text)[len(body) :]
        if body:
            yield body if self._has_text or not self._calls else body.lstrip()
            self._has_text = True


class _Arguments:
    """The JSON of one call's arguments as it comes: where it ends, and whether it is an object."""

    def __init__(self) -> None:
        self._text = ""
        self._open: list[str] = []
        self._in_string = False
        self._escaped = False
        self.ended = False

    def feed(self, text: str) -> int:
        """Take text up to the end of the arguments and give how many characters that took."""
        for position, character in enumerate(text):
            self._step(character)
            if self.ended:
                self._text += text[: position + 1]
                return position + 1
        self._text += text
        return len(text)

    def _step(self, character: str) -> None:
        if self._in_string:
            self._in_string = self._escaped or character != '"'
            self._escaped = character == "\\" and not self._escaped
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._open.append("}" if character == "{" else "]")
        elif character in "}]":
            # Brackets that do not match end the arguments too: nothing after them could be trusted.
            self.ended = self._open.pop() != character or not self._open

    def is_object(self) -> bool:
        """Whether the text is a JSON object that can be written in UTF-8."""
        try:
            value = json.loads(self._text, strict=False)
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict)

    def spoil(self) -> str:
        """Give what makes the arguments unreadable.

        LangChain completes JSON that was cut, which would run a tool with half of its arguments;
        it gives up only where a bracket closes what was not opened.
        """
        quote = ("\\" if self._escaped else "") + '"' if self._in_string else ""
        return quote + ("}" if self._open[-1:] == ["]"] else "]")


def _decode_name(written: str) -> str:
    try:
        return str(json.loads(f'"{written}"'))
    except ValueError:
        return written


def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Compile a call's header up to its arguments, all that may become one, and one with a name.

    White space and names have bounds, so that no text is held back for long.
    """
    name = r'"(?P<name>(?:[^"\\\n]|\\.){0,200}'
    before: list[str] = []
    for part in ("{", '"tool_call"', ":", "{", '"name"', ":"):
        before += [*map(re.escape, part), r"\s{0,20}"]
    after = [*(c for part in ('"', r",") for c in (re.escape(part), r"\s{0,20}"))]
    after += [*map(re.escape, _ARGUMENTS), r"\s{0,20}", ":", r"\s{0,20}", r"(?=\{)"]
    header = "".join(before) + name + ")" + "".join(after)
    begun = ""
    for element in reversed([*before, name + r"\\?)", *after]):
        begun = f"(?:{element}{begun})?"
    return re.compile(header), re.compile(begun), re.compile("".join(before) + name + ")")


_HEADER, _HEADER_BEGUN, _NAME_BEGUN = _patterns()
