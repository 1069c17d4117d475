"""Turns and options to what a chat completion of an OpenAI-compatible server is asked by.

Keeps control tokens out of the turns: a server makes the tokens itself, so here it is done in text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kogemma_rag.backends import ReplyOptions
from kogemma_rag.backends.response_format import response_format
from kogemma_rag.chat_template import END_OF_TURN
from kogemma_rag.control_tokens import break_control_strings

# OpenAI's API and TGI refuse more; the others are looked for on our side only.
_MOST_STOP_STRINGS = 4


def chat_request(
    model: str, turns: Sequence[Mapping[str, str]], options: ReplyOptions
) -> dict[str, Any]:
    """Give the arguments of a streamed chat completion, of those that all such servers know.

    Args:
        model: The server's name for the model.
        turns: As `chat_template.repair_messages` gives them.
        options: How to make the reply.
    """
    request: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": turn["role"], "content": break_control_strings(turn["content"])}
            for turn in turns
        ],
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        # Some checkpoints name only <eos> as their end, and a server goes by what they name.
        "stop": [END_OF_TURN, *options.stop][:_MOST_STOP_STRINGS],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if options.temperature > 0:
        request["top_p"] = options.top_p
    if options.seed is not None:
        request["seed"] = options.seed
    if (held_to := response_format(options.format)) is not None:
        request["response_format"] = held_to
    return request
