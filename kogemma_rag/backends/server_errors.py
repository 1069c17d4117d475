"""What the openai client raises to LangChain's model errors, which say what to do.

Knows nothing of replies.
"""

import re
from typing import TYPE_CHECKING

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI, OpenAIError

# In the words of OpenAI's API, vLLM, TGI and llama.cpp.
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum model length|`inputs` (tokens|must have less)",
    re.IGNORECASE,
)
# What a server answers that cannot do structured output, or not of this schema.
_UNABLE = {400, 422, 501}

_BY_STATUS: dict[int, tuple[type[ModelError], str]] = {
    401: (ModelAuthenticationError, "give the server's key as api_key="),
    403: (ModelPermissionDeniedError, "give an api_key= that may use the model"),
    408: (ModelTimeoutError, "ask again when the server is less busy"),
    429: (ModelRateLimitError, "ask again later, or fewer at a time"),
}
# What clients of servers without keys send by custom.
NO_API_KEY = "EMPTY"

_MOST_MODELS_NAMED = 10
_MOST_WORDS = 500
"""Characters of a server's own words in a message: some answer with a whole page."""


async def explain(
    error: "OpenAIError", client: "AsyncOpenAI", *, model: str, held_to_format: bool
) -> ModelError:
    """Give the error to raise for what went wrong.

    Args:
        error: What the client raised.
        client: Asked for the models that its server has where the wanted one is not there.
        model: The one that was wanted.
        held_to_format: Whether the reply was to be held to a format.
    """
    from openai import APIConnectionError, APIStatusError

    url = str(client.base_url).rstrip("/")
    words = _words(error)
    if client.api_key != NO_API_KEY:
        words = words.replace(client.api_key, "[api_key]")
    words = words[:_MOST_WORDS]
    if _TOO_LONG.search(words):
        return ContextOverflowError(
            f"the server at {url} says that the messages are too long ({words}); shorten them or "
            "lower max_tokens"
        )
    if isinstance(error, APIConnectionError):
        return ModelConnectionError(
            f"no LLM server answers at {url}; start it (e.g. vllm serve {model}) or check base_url"
        )
    if not isinstance(error, APIStatusError):
        return ModelAPIError(f"the server at {url} failed in its reply ({words}); see its log")
    if error.status_code == 404:
        return ModelNotFoundError(
            f"the server at {url} answered 404 ({words}); {await _models_instead(client, model)}"
        )
    kind, advice = _by_status(error, held_to_format=held_to_format)
    return kind(f"the server at {url} answered {error.status_code} ({words}); {advice}")


def _words(error: "OpenAIError") -> str:
    """Give a server's own words, wherever in its answer it puts them."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return str(body or error)


def _by_status(error: "APIStatusError", *, held_to_format: bool) -> tuple[type[ModelError], str]:
    status = error.status_code
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if held_to_format and status in _UNABLE:
        return ModelInvalidRequestError, (
            "it was asked for structured output (response_format): take a server that has it, such "
            "as vLLM, or a simpler schema, or do without"
        )
    if status < 400:
        place = error.response.headers.get("location", "nowhere")
        return ModelConnectionError, f"redirects are not followed: check base_url, or set {place}"
    if status < 500:
        return ModelInvalidRequestError, "change what it names"
    return ModelAPIError, "see its log"


async def _models_instead(client: "AsyncOpenAI", model: str) -> str:
    from openai import OpenAIError

    try:
        models = await client.with_options(max_retries=0).models.list()
    except OpenAIError:
        return "no chat API of an LLM server is there: base_url ends in /v1 as a rule"
    names = [found.id for found in models.data]
    named = ", ".join(names[:_MOST_MODELS_NAMED]) or "none"
    return f"it has no model {model!r}: set model= to one that it has ({named})"
