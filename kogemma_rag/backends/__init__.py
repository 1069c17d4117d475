"""Turns of a conversation in, pieces of the reply's text out: what computes a reply.

`local` runs a model in this process, `server` asks an OpenAI-compatible one. Neither knows
LangChain's messages, and a chat model knows nothing of how a reply is computed.
"""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from kogemma_rag.structured_output import ReplyFormat

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class ReplyOptions:
    """How one reply is to be made.

    Attributes:
        max_tokens: How many tokens it may have.
        temperature: 0 takes the likeliest token.
        top_p: Sample from the fewest likeliest tokens that together reach this probability.
        stop: Strings that end the reply and are cut from it, none empty.
        seed: The same seed gives the same reply; None takes a new one each time.
        timeout: Seconds until the reply is given up; None waits as long as it takes.
        format: What the reply is held to; None lets it be any text.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    timeout: float | None = None
    format: ReplyFormat | None = None


@dataclass(frozen=True)
class ReplyEnd:
    """How a reply ended, and what it took.

    Attributes:
        finish_reason: "length" if `max_tokens` cut it, else "stop".
        input_tokens: Tokens of the prompt, template included; None where a server does not say.
        output_tokens: Tokens generated, the one that ended the reply included; None likewise.
    """

    finish_reason: FinishReason
    input_tokens: int | None
    output_tokens: int | None


class Backend(Protocol):
    """Computes replies, many at a time. Safe to use from several threads."""

    def stream(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> Generator[str | ReplyEnd, None, None]:
        """Yield the reply in pieces of text, none empty, and last of all how it ended.

        Closing the iterator halts the computation.

        Args:
            turns: As `chat_template.repair_messages` gives them.
            options: How to make the reply.

        Raises:
            ContextOverflowError: If prompt and `max_tokens` do not fit the model's window.
            ModelRateLimitError: If too many requests are waiting already.
            ModelTimeoutError: If the reply takes longer than `options.timeout`.
        """
        ...

    def astream(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> AsyncGenerator[str | ReplyEnd, None]:
        """Do the same without blocking the event loop; cancelling the task halts it too."""
        ...
