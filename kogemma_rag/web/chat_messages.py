"""What POST /v1/chat/completions takes and gives, checked by pydantic."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict

from kogemma_rag.web.sources import CitedSentence, Source

_MOST_MESSAGES = 200
_MOST_CHARACTERS = 20_000
# What would make the answer another one, and is not done.
_REFUSED = ("tools", "functions", "stop", "logprobs")


class TextPart(BaseModel):
    """A part of a message's content; images and files are not read."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = Field(default=None)

    @property
    def text(self) -> str:
        """The content as one text; what no encoding can hold becomes "?"."""
        return _joined(self.content).encode("utf-8", "replace").decode()

    @field_validator("content")
    @classmethod
    def _bounded(cls, content: str | list[TextPart] | None) -> str | list[TextPart] | None:
        if len(_joined(content)) > _MOST_CHARACTERS:
            raise ValueError(f"longer than {_MOST_CHARACTERS} characters")
        return content


def _joined(content: str | list[TextPart] | None) -> str:
    parts = content or ""
    return parts if isinstance(parts, str) else "\n".join(part.text for part in parts)


class ChatRequest(BaseModel):
    """A question with the conversation before it.

    Sampling settings, such as temperature, are taken and not used: they are the server's.
    """

    model_config = ConfigDict(extra="allow")

    messages: list[ChatMessage] = Field(min_length=1, max_length=_MOST_MESSAGES)
    model: str | None = None
    stream: bool = False
    n: Literal[1] | None = None
    append_sources: bool = Field(
        default=False, description="Append the sources as Markdown, for clients that drop fields"
    )

    @model_validator(mode="after")
    def _refuse_what_is_not_done(self) -> "ChatRequest":
        for name in _REFUSED:
            if (self.model_extra or {}).get(name):
                raise ValueError(f"{name} is not supported: answers come from the documents alone")
        return self


class ReplyMessage(TypedDict):
    """The answer."""

    role: Literal["assistant"]
    content: str


class Choice(TypedDict):
    """The only one."""

    index: int
    message: ReplyMessage
    finish_reason: Literal["stop", "length"]


class TokenUsage(TypedDict):
    """As the chat model tells it; 0 where it tells none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(TypedDict):
    """An answer with its sources; no sources where it is not `answered`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage
    sources: list[Source]
    answered: bool
    citations: list[CitedSentence]
    answer_html: str
