"""Turns in, pieces of the reply out, computed by an OpenAI-compatible server over HTTP.

Such servers are vLLM, `transformers serve`, TGI and llama.cpp. All requests of a process run on one
event loop in a thread of their own: so a timeout counts the whole reply, and callers may be any
threads and any event loops. Knows no tokens and no template; those are the server's.
"""

import asyncio
import contextlib
import functools
import json
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import ModelAPIError, ModelConnectionError, ModelTimeoutError

from kogemma_rag.backends import FinishReason, ReplyEnd, ReplyOptions
from kogemma_rag.backends.chat_request import chat_request
from kogemma_rag.backends.response_format import check_reply
from kogemma_rag.backends.server_errors import NO_API_KEY, explain
from kogemma_rag.chat_template import END_OF_TURN
from kogemma_rag.checkpoints import check_url
from kogemma_rag.detokenizer import StopText

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk

    Put = Callable[[str | Future[ReplyEnd]], object]

CONNECT_TIMEOUT = 5.0
"""Seconds for one try to reach the server."""

_MOST_SHOWN = 200
"""Characters or bytes of what a server sent in a message."""

# Of the servers there are; others, such as "abort", are failures.
_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
}


class ServerBackend:
    """Asks an OpenAI-compatible server for replies; safe to use from threads, tasks and forks.

    Args:
        base_url: The server's address, as a rule one that ends in "/v1".
        model: The name under which the server has the model.
        api_key: Sent to this address only, never where it redirects to.
        max_retries: How often to try again, with growing waits, when the server is not there, is
            busy (429), or fails (408, 409, 5xx). What has begun to come is not tried again.

    Raises:
        ValueError: If `base_url` is no http(s) URL, or holds a password or a query.
    """

    def __init__(
        self, base_url: str, model: str, *, api_key: str | None = None, max_retries: int = 2
    ) -> None:
        self.base_url = check_url(base_url)
        self.model = model
        self._api_key = api_key
        self._max_retries = max_retries
        self._clients: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}
        weakref.finalize(self, _close, self._clients, os.getpid()).atexit = False

    def stream(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> Generator[str | ReplyEnd, None, None]:
        """Yield the reply in pieces of text, none empty, and last of all how it ended.

        Closing the iterator closes the connection, which makes servers halt. Counts of tokens are
        None where the server gives none.

        Raises:
            ContextOverflowError: If the server says that the messages are too long.
            ModelAPIError: If the server fails.
            ModelAuthenticationError: If the server wants another API key.
            ModelConnectionError: If no server answers, or the reply breaks off.
            ModelInvalidRequestError: If the server refuses the request, or does not hold the reply
                to `options.format`.
            ModelNotFoundError: If the server does not have the model.
            ModelPermissionDeniedError: If the API key does not allow it.
            ModelRateLimitError: If the server is busy.
            ModelTimeoutError: If the reply takes longer than `options.timeout`.
        """
        items: SimpleQueue[str | Future[ReplyEnd]] = SimpleQueue()
        reply = self._start(turns, options, items.put)
        try:
            while isinstance(item := items.get(), str):
                yield item
            yield item.result()
        finally:
            reply.cancel()

    async def astream(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> AsyncGenerator[str | ReplyEnd, None]:
        """Do the same without blocking the event loop; cancelling the task halts it too."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[str | Future[ReplyEnd]] = asyncio.Queue()

        def put(item: str | Future[ReplyEnd]) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed: no one listens
                loop.call_soon_threadsafe(items.put_nowait, item)

        reply = self._start(turns, options, put)
        try:
            while isinstance(item := await items.get(), str):
                yield item
            yield item.result()
        finally:
            reply.cancel()

    def models(self) -> list[str]:
        """Give the names of the models that the server has.

        Raises:
            ModelError: As `stream` does, if the server does not answer.
        """
        return asyncio.run_coroutine_threadsafe(
            self._list_models(), _event_loop(os.getpid())
        ).result()

    def _start(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions, put: "Put"
    ) -> Future[ReplyEnd]:
        """Have pieces of the reply put somewhere as they come, and last the finished reply."""
        reply = asyncio.run_coroutine_threadsafe(
            self._reply(chat_request(self.model, turns, options), options, put),
            _event_loop(os.getpid()),
        )
        reply.add_done_callback(put)
        return reply

    # --- On the event loop ---

    async def _reply(self, request: dict[str, Any], options: ReplyOptions, put: "Put") -> ReplyEnd:
        try:
            return await asyncio.wait_for(self._ask(request, options, put), options.timeout)
        except asyncio.TimeoutError as error:
            raise ModelTimeoutError(
                f"the reply of the server at {self.base_url} took longer than timeout="
                f"{options.timeout} s; raise timeout or lower max_tokens"
            ) from error

    async def _ask(self, request: dict[str, Any], options: ReplyOptions, put: "Put") -> ReplyEnd:
        import openai

        client = self._client()
        reply = _Reply(options, put)
        try:
            async with await client.chat.completions.create(**request) as chunks:
                await reply.read(chunks)
        except openai.OpenAIError as error:
            if not (reply.began and isinstance(error, openai.APIConnectionError)):
                shown = not self._api_key or self._api_key not in str(error)
                raise await explain(
                    error, client, model=self.model, held_to_format="response_format" in request
                ) from (error if shown else None)
            if not reply.stopped:
                raise reply.broken_off(self.base_url) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            sent = error.doc if isinstance(error, json.JSONDecodeError) else error.object
            words = repr(sent[:_MOST_SHOWN])
            if self._api_key:
                words = words.replace(self._api_key, "[api_key]")
            raise ModelAPIError(
                f"the server at {self.base_url} sent no JSON in its reply but {words}; see its log"
            ) from None
        return reply.end(self.base_url)

    async def _list_models(self) -> list[str]:
        import openai

        client = self._client()
        try:
            return [found.id for found in (await client.models.list()).data]
        except openai.OpenAIError as error:
            shown = not self._api_key or self._api_key not in str(error)
            raise await explain(error, client, model=self.model, held_to_format=False) from (
                error if shown else None
            )

    def _client(self) -> "AsyncOpenAI":
        """Give this event loop's client; connections belong to one loop and one process."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = self._connect()
        return self._clients[loop]

    def _connect(self) -> "AsyncOpenAI":
        import openai

        key = self._api_key or NO_API_KEY
        # Said in full so that no key or name for OpenAI in the environment goes to this server.
        headers: dict[str, Any] = {
            "Authorization": f"Bearer {key}",
            "OpenAI-Organization": openai.Omit(),
            "OpenAI-Project": openai.Omit(),
        }
        timeout = openai.Timeout(None, connect=CONNECT_TIMEOUT)
        client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=key,
            max_retries=self._max_retries,
            default_headers=headers,
            timeout=timeout,
            # A redirected request would carry the messages to another server.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=timeout),
        )
        return client


class _Reply:
    """One reply as its chunks come: passes its text on and keeps how it ended."""

    def __init__(self, options: ReplyOptions, put: "Put") -> None:
        self._format = options.format
        # A stop string may have cut off the rest of what the format asks for.
        self._may_be_cut = bool(options.stop)
        self._put = put
        self._text = StopText((END_OF_TURN, *options.stop))
        self._pieces: list[str] = []
        self._usage: CompletionUsage | None = None
        self._finish_reason: str | None = None
        self.began = False

    @property
    def stopped(self) -> bool:
        return self._text.stopped

    async def read(self, chunks: "AsyncStream[ChatCompletionChunk]") -> None:
        self.began = True
        async for chunk in chunks:
            self._usage = chunk.usage or self._usage
            for choice in chunk.choices or ():
                content = choice.delta.content if choice.delta else None
                if content and self.stopped:
                    # The server knows no `stop` and would run on. Reading on fails now, which
                    # ends the client's generators in order, as leaving them here would not.
                    await chunks.close()
                self._give(self._text.feed(content or ""))
                self._finish_reason = choice.finish_reason or self._finish_reason
        self._give(self._text.finish())

    def _give(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._put(piece)

    def end(self, base_url: str) -> ReplyEnd:
        """Say how the reply ended, once `read` is through, or raise what was wrong with it."""
        reason = "stop" if self.stopped else self._finish_reason
        if reason is None:
            raise self.broken_off(base_url)
        if reason not in _FINISH_REASONS:
            raise ModelAPIError(
                f"the server at {base_url} gave the reply up ({reason}); look into its log"
            )
        finish_reason = _FINISH_REASONS[reason]
        whole = finish_reason == "stop" and not self._may_be_cut
        check_reply("".join(self._pieces), self._format, base_url, whole=whole)
        usage = self._usage
        return ReplyEnd(
            finish_reason,
            input_tokens=usage.prompt_tokens if usage else None,
            output_tokens=usage.completion_tokens if usage else None,
        )

    def broken_off(self, base_url: str) -> ModelConnectionError:
        return ModelConnectionError(
            f"the reply of the server at {base_url} broke off after "
            f"{sum(map(len, self._pieces))} characters; see whether the server runs, and ask again"
        )


@functools.cache
def _event_loop(process: int) -> asyncio.AbstractEventLoop:
    """Give the event loop of a process: a fork inherits none that runs, so it gets its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="kogemma-server", daemon=True).start()
    return loop


def _close(clients: "dict[asyncio.AbstractEventLoop, AsyncOpenAI]", process: int) -> None:
    if os.getpid() == process:  # in a fork the connections are the parent's
        for loop, client in clients.items():
            asyncio.run_coroutine_threadsafe(client.close(), loop)
