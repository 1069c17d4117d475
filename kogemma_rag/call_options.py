"""What a chat model's constructor, `bind` and each call may set, checked, to `ReplyOptions`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from kogemma_rag.backends import ReplyOptions
from kogemma_rag.structured_output import JsonFormat, ReplyFormat, ToolFormat
from kogemma_rag.tool_calls import schema_instructions, tool_instructions


class SamplingOptions(BaseModel):
    """What the constructor, `bind` and each call may set."""

    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """0 takes the likeliest token; 1 samples from the model's own distribution."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the fewest likeliest tokens that together reach this probability."""

    max_tokens: int = Field(default=512, gt=0)
    """How many tokens a reply may have."""

    stop: list[Annotated[str, StringConstraints(min_length=1)]] | None = None
    """Strings that end a reply and are cut from it."""

    seed: int | None = None
    """The same seed gives the same sampled reply, whatever runs beside it."""

    timeout: float | None = Field(default=None, gt=0)
    """Seconds a reply may take once the model is loaded."""


class CallOptions(SamplingOptions):
    """What `bind` and each call may set besides: tools, and the form of the reply.

    Both are those of OpenAI's API, as LangChain's own parts send them.
    """

    model_config = ConfigDict(extra="forbid")

    tools: list[dict[str, Any]] = Field(default_factory=list)
    """What may be called, in OpenAI's form."""

    tool_choice: str | dict[str, Any] | bool | None = None
    """A tool's name, "any" (or "required", True) or "none"; by default the model decides."""

    parallel_tool_calls: bool = True
    """Whether a reply may call more than once."""

    response_format: dict[str, Any] | None = None
    """`{"type": "json_object"}`, or `{"type": "json_schema", "json_schema": {"schema": …}}`."""

    strict: bool | None = None
    """Taken because LangChain's agents send it; schemas are always kept to the letter."""

    @model_validator(mode="after")
    def _check_choice(self) -> "CallOptions":
        name = self._required_name
        for tool in self.tools:
            if not isinstance(tool.get("function"), dict) or not tool["function"].get("name"):
                raise ValueError(f"the tool {tool!r} is no function with a name; give one")
        if self.required and not self.tools:
            raise ValueError(f"tool_choice={self.tool_choice!r} needs tools; bind some")
        if name is not None and name not in self._tool_names:
            raise ValueError(
                f"tool_choice={self.tool_choice!r} names no tool; there are {self._tool_names}"
            )
        kind = (self.response_format or {}).get("type", "text")
        if kind not in ("text", "json_object", "json_schema"):
            raise ValueError(
                f"response_format of type {kind!r} is unknown; give json_schema or json_object"
            )
        if kind == "json_schema" and self._answer_schema is None:
            raise ValueError(
                "response_format has no schema; give "
                '{"type": "json_schema", "json_schema": {"schema": {…}}}'
            )
        return self

    def reply_options(self) -> ReplyOptions:
        """Give what a backend is told."""
        return ReplyOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            stop=tuple(self.stop or ()),
            seed=self.seed,
            timeout=self.timeout,
            format=self._format(),
        )

    def instructions(self) -> str:
        """Give what the model must be told in words; empty if nothing."""
        parts = []
        if self.usable_tools:
            parts.append(tool_instructions(self.usable_tools, required=self.required))
        if self._answer_schema is not None and not self.required:
            parts.append(schema_instructions(self._answer_schema))
        return "\n\n".join(parts)

    @property
    def is_json(self) -> bool:
        """Whether a reply without calls must be JSON."""
        return bool((self.response_format or {}).get("type", "text") != "text")

    @property
    def usable_tools(self) -> list[dict[str, Any]]:
        """The tools that may be called, given the choice."""
        if self.tool_choice in (False, "none"):
            return []
        if self._required_name is None:
            return self.tools
        return [tool for tool in self.tools if _name(tool) == self._required_name]

    @property
    def required(self) -> bool:
        """Whether a tool must be called."""
        return (
            self.tool_choice is True
            or self._required_name is not None
            or (self.tool_choice in _REQUIRING)
        )

    @property
    def _required_name(self) -> str | None:
        if isinstance(self.tool_choice, dict):
            return _name(self.tool_choice)
        if isinstance(self.tool_choice, str) and self.tool_choice not in _WORDS:
            return self.tool_choice
        return None

    @property
    def _tool_names(self) -> list[str]:
        return [_name(tool) for tool in self.tools]

    @property
    def _answer_schema(self) -> str | None:
        form = self.response_format or {}
        schema = (form.get("json_schema") or {}).get("schema")
        if form.get("type") != "json_schema" or schema is None:
            return None
        return json.dumps(schema, ensure_ascii=False)

    def _format(self) -> ReplyFormat | None:
        if self.usable_tools:
            tools = tuple(
                (_name(tool), json.dumps(_parameters(tool), ensure_ascii=False))
                for tool in self.usable_tools
            )
            return ToolFormat(
                tools,
                required=self.required,
                parallel=self.parallel_tool_calls,
                answer_schema=self._answer_schema,
            )
        return JsonFormat(self._answer_schema) if self.is_json else None


_REQUIRING = ("any", "required")
_WORDS = (*_REQUIRING, "auto", "none")


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("function", tool).get("name"))


def _parameters(tool: Mapping[str, Any]) -> Any:
    return tool["function"].get("parameters") or {"type": "object", "properties": {}}
