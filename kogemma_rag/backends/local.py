"""A model in this process as a backend: turns to ids of its template, its tokens to text."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from queue import SimpleQueue

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from kogemma_rag.backends import FinishReason, ReplyEnd, ReplyOptions
from kogemma_rag.chat_template import ChatTemplate
from kogemma_rag.detokenizer import Detokenizer, ReplyText
from kogemma_rag.generation import Engine, EngineBusyError, Generation, GenerationRequest
from kogemma_rag.structured_output import GrammarCompiler

Item = str | ReplyEnd | BaseException


class LocalBackend:
    """Computes replies with an engine of this process; see `Backend`.

    Args:
        template: The template of the model's tokenizer.
        engine: The model.
    """

    def __init__(self, template: ChatTemplate, engine: Engine) -> None:
        self.template = template
        self.engine = engine
        self._detokenizer = Detokenizer(template.tokenizer, template.marker_ids)
        self._grammars = GrammarCompiler(
            template.tokenizer, engine.vocabulary_size, template.stop_ids
        )

    def stream(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> Generator[str | ReplyEnd, None, None]:
        """See `Backend.stream`."""
        items: SimpleQueue[Item] = SimpleQueue()
        generation = self._submit(self._request(turns, options), options, items.put)
        try:
            while isinstance(item := items.get(), str):
                yield item
            if isinstance(item, BaseException):
                raise item
            yield item
        finally:
            generation.cancel()

    async def astream(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> AsyncGenerator[str | ReplyEnd, None]:
        """See `Backend.astream`."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Item] = asyncio.Queue()

        generation: Generation | None = None

        def put(item: Item) -> None:
            try:
                loop.call_soon_threadsafe(items.put_nowait, item)
            except RuntimeError:  # the loop was closed: nobody listens any more
                if generation is not None:
                    generation.cancel()

        # Encoding a long prompt takes milliseconds, compiling a grammar more.
        request = await asyncio.to_thread(self._request, turns, options)
        generation = self._submit(request, options, put)
        try:
            while isinstance(item := await items.get(), str):
                yield item
            if isinstance(item, BaseException):
                raise item
            yield item
        finally:
            generation.cancel()

    def _request(
        self, turns: Sequence[Mapping[str, str]], options: ReplyOptions
    ) -> GenerationRequest:
        ids = self.template.encode(turns)
        length = len(ids) + options.max_tokens
        if length > self.engine.window:
            raise ContextOverflowError(
                f"the prompt has {len(ids)} tokens and max_tokens is {options.max_tokens}, "
                f"together {length}, but the model's window is {self.engine.window}; shorten the "
                "messages or lower max_tokens"
            )
        return GenerationRequest(
            ids=ids,
            max_tokens=options.max_tokens,
            stop_ids=self.template.stop_ids,
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
            timeout=options.timeout,
            constraint=self._grammars.constraint(options.format) if options.format else None,
        )

    def _submit(
        self, request: GenerationRequest, options: ReplyOptions, put: Callable[[Item], None]
    ) -> Generation:
        text = ReplyText(self._detokenizer, options.stop)
        try:
            return self.engine.submit(request, _Reply(request, text, put))
        except EngineBusyError as error:
            raise ModelRateLimitError(str(error)) from error


class _Reply:
    """Turns the tokens of one reply into text, on the engine's thread, and passes it on."""

    def __init__(
        self, request: GenerationRequest, text: ReplyText, put: Callable[[Item], None]
    ) -> None:
        self._request = request
        self._text = text
        self._put = put
        self._count = 0
        self._finish_reason: FinishReason = "length"

    def token(self, token: int) -> bool:
        self._count += 1
        if token not in self._request.stop_ids:
            if piece := self._text.feed(token):
                self._put(piece)
            if not self._text.stopped:
                return False
        self._finish_reason = "stop"
        return True

    def end(self, error: BaseException | None) -> None:
        if isinstance(error, TimeoutError):
            typed = ModelTimeoutError(str(error))
            typed.__cause__ = error
            self._put(typed)
        elif error is not None:
            self._put(error)
        else:
            if rest := self._text.finish():
                self._put(rest)
            self._put(ReplyEnd(self._finish_reason, len(self._request.ids), self._count))
