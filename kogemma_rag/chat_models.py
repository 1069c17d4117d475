"""LangChain messages to replies of a Gemma, whole or streamed: in this process, or by a server.

Joins messages, the options of a call and a backend; knows no retrieval and no tokens. Importing it
loads no torch: tokenizer and weights are loaded when first needed, once per process.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import asdict, fields
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from kogemma_rag.backends import Backend, ReplyEnd
from kogemma_rag.call_options import CallOptions, SamplingOptions
from kogemma_rag.chat_template import BosPolicy, repair_messages
from kogemma_rag.checkpoints import check_name, check_url, context_window
from kogemma_rag.local_model import LoadedModels, LoadingOptions, LocalModel, RunningOptions
from kogemma_rag.reply_messages import ReplyMessages, output_parser, tool_parser

if TYPE_CHECKING:
    from kogemma_rag.backends.server import ServerBackend

DEFAULT_MODEL = "nlpai-lab/ko-gemma-2b-v1"
# A batch is sent to the model at once, up to so many requests; LangChain's own default is the
# number of processors.
_BATCH_CONCURRENCY = 128


class ChatKoGemma(BaseChatModel, SamplingOptions):
    """A Gemma, ko-gemma by default, as a LangChain chat model: in this process, or on a server.

    Takes any conversation: see `chat_template.repair_messages` for what becomes of system, tool
    and neighbouring messages. Replies are greedy unless `temperature` is above 0. Requests of all
    threads, tasks and batches share one running batch, and all objects of one model its weights.

    Example:
        ```python
        from kogemma_rag import ChatKoGemma

        chat = ChatKoGemma("nlpai-lab/ko-gemma-2b-v1")
        print(chat.invoke("이순신 장군에 대해 설명해주세요.").content)
        ```

    Raises:
        TypeError: If the constructor or a call gets an argument it does not know.
        ValueError: If an argument is out of bounds, or the model is an object without a tokenizer.
        FileNotFoundError: If `model` is a path and no directory is there.
        ModelNotFoundError: At first use, if the model is neither a directory nor on the hub, or
            the server does not have it.
        ModelConnectionError: At first use, if it is not in the hub's cache and the hub is away; or
            if no server answers at `base_url`.
        ModelPermissionDeniedError: At first use, if the model is gated and the hub refuses.
        ContextOverflowError: If prompt and `max_tokens` do not fit the model's window.
        ModelRateLimitError: If too many requests are waiting already.
        ModelTimeoutError: If a reply takes longer than `timeout`.
        IncompleteOutputError: If `max_tokens` cuts a reply that is held to a schema.
        UnsupportedMessageError: If a message holds an image or anything else that is not text.
    """

    # What was given may hold a key, or a password in an address.
    model_config = ConfigDict(hide_input_in_errors=True)

    model: Any = DEFAULT_MODEL
    """Hub name, directory, or a loaded `PreTrainedModel` (then with `tokenizer`); with `base_url`
    the name that the server knows it by."""

    tokenizer: Any = Field(default=None, exclude=True)
    """The tokenizer of a model that was given as an object; it is copied, never changed."""

    base_url: str | None = None
    """Address of an OpenAI-compatible server that runs the model, such as
    `http://localhost:8000/v1`."""

    api_key: SecretStr | None = Field(default=None, exclude=True)
    """The server's key; without `base_url` the hub's access token, for gated and private models."""

    device: str = "auto"
    """A torch device; "auto" is CUDA where there is one, else the CPU."""

    device_map: Literal["auto"] | None = None
    """"auto" spreads the layers of a model that is too large for one GPU over all of them."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """By default ("auto") bfloat16 on CUDA and float32 elsewhere."""

    quantization: Literal["int8", "int4"] | None = None
    """Weights in 8 or 4 bits: half or a quarter of bfloat16's memory, a little less exact."""

    attention: Literal["sdpa", "eager"] = "sdpa"
    """torch's fused kernels, or plain matrix products."""

    compiled: bool | None = None
    """Compile the decode step with torch.compile: once for a single reply, once for all other
    numbers of them. All wait for it when it first comes, some seconds: `warmup` takes those of a
    single reply. By default a Gemma on one GPU is compiled, where there is a C compiler."""

    cache_gib: float | None = Field(default=None, gt=0)
    """Memory for keys and values, in GiB, and with it how many replies run side by side; by default
    half of what is free on a GPU, a quarter of the machine's on a CPU."""

    bos: BosPolicy = "template"
    """"double" puts a second <bos> before the prompt, as the example of the Ko-Gemma release does;
    the template alone, which the model was trained with, has one."""

    streaming: bool = False
    """Whether `invoke` streams inside, so that callbacks see each token."""

    max_retries: int = Field(default=2, ge=0)
    """How often a request to a server is tried again, with growing pauses, when it fails in a way
    that may pass. A reply computed in this process either comes or fails for good."""

    loaded: LoadedModels = Field(default_factory=LoadedModels, exclude=True, repr=False)
    """What is loaded already, shared by all copies of this object, those of LangChain too."""

    def __init__(self, model: Any = DEFAULT_MODEL, **options: Any) -> None:
        super().__init__(model=model, **options)

    @model_validator(mode="before")
    @classmethod
    def _check_arguments(cls, values: dict[str, Any]) -> dict[str, Any]:
        _refuse_unknown(values, cls.model_fields, "ChatKoGemma takes")
        model = values.get("model", DEFAULT_MODEL)
        return {**values, "model": os.fspath(model) if isinstance(model, os.PathLike) else model}

    @model_validator(mode="after")
    def _check_model(self) -> "ChatKoGemma":
        loading = self._given(*_LOADING)
        if self.base_url is not None:
            check_url(self.base_url)
            if not isinstance(self.model, str) or self.tokenizer is not None:
                raise ValueError("with base_url= the model is the name that the server knows it by")
            if own := [*loading, *self._given(*_RUNNING, "bos")]:
                raise ValueError(f"{own} are for the server to set; leave them out with base_url=")
        elif isinstance(self.model, str):
            check_name(self.model)
            if self.tokenizer is not None:
                raise ValueError(
                    f"model={self.model!r} brings its own tokenizer; leave tokenizer= out"
                )
        elif self.tokenizer is None:
            raise ValueError(
                f"a model given as an object ({type(self.model).__name__}) needs tokenizer= too"
            )
        elif loading:
            raise ValueError(
                "a model given as an object is used where and as it is; move it with model.to(...) "
                f"and leave {', '.join(f'{name}=' for name in loading)} out"
            )
        return self

    def _given(self, *names: str) -> list[str]:
        """Those of the fields that differ from their defaults."""
        fields_ = type(self).model_fields
        return [name for name in names if getattr(self, name) != fields_[name].default]

    # --- What LangChain calls ---

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = _Call(self, stop, kwargs)
        backend = call.model._load_backend()
        with closing(backend.stream(call.turns(messages), call.options)) as items:
            return call.result(list(items))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = _Call(self, stop, kwargs)
        backend = await asyncio.to_thread(call.model._load_backend)
        async with aclosing(backend.astream(call.turns(messages), call.options)) as items:
            return call.result([item async for item in items])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = _Call(self, stop, kwargs)
        backend = call.model._load_backend()
        with closing(backend.stream(call.turns(messages), call.options)) as items:
            for item in items:
                for chunk in call.chunks(item):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = _Call(self, stop, kwargs)
        backend = await asyncio.to_thread(call.model._load_backend)
        async with aclosing(backend.astream(call.turns(messages), call.options)) as items:
            async for item in items:
                for chunk in call.chunks(item):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Run many inputs side by side; `max_concurrency` in `config` says how many at most."""
        return super().batch(inputs, _side_by_side(config), **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Do what `batch` does."""
        return await super().abatch(inputs, _side_by_side(config), **kwargs)

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools.

        Gemma's template knows none: they are described in the first user turn. In this process
        what a reply may say is limited so that a call always fits its tool's schema; a server that
        leaves replies free may give calls whose arguments do not.

        Args:
            tools: Functions, pydantic classes, LangChain tools or OpenAI's dicts.
            tool_choice: The name of the one tool to call, "any" for one at least, "none" for none;
                by default the model decides.
            **kwargs: What a call takes besides, such as `parallel_tool_calls=False`.
        """
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        options = {**kwargs, "tools": formatted, "tool_choice": tool_choice}
        checked = CallOptions.model_fields.keys() & options.keys()
        self._call_options(None, {name: options[name] for name in checked})
        return self.bind(**options)

    def with_structured_output(
        self,
        schema: Any,
        *,
        method: Literal["json_schema", "json_mode", "function_calling"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Hold replies to a schema and give them as its objects.

        Args:
            schema: A pydantic class, TypedDict or JSON schema.
            method: "json_schema" tells the model the schema and allows no reply that does not fit;
                "json_mode" allows any JSON object and leaves it to the prompt what is in it;
                "function_calling" makes the reply a call of a tool with that schema.
            include_raw: Give a dict of "raw", "parsed" and "parsing_error" instead.
            strict: Taken because others take it; a schema is always kept to the letter.
            **kwargs: What a call takes besides, such as `max_tokens`.

        Raises:
            ValueError: If the method is another one.
        """
        options = {
            **kwargs,
            "ls_structured_output_format": {"kwargs": {"method": method}, "schema": schema},
        }
        parser: Runnable[Any, Any] = output_parser(schema)
        model: Runnable[LanguageModelInput, AIMessage]
        if method == "function_calling":
            model = self.bind_tools([schema], tool_choice="any", **options)
            parser = tool_parser(schema)
        elif method == "json_mode":
            model = self.bind(response_format={"type": "json_object"}, **options)
        elif method == "json_schema":
            form = {"name": "reply", "schema": _json_schema(schema)}
            model = self.bind(
                response_format={"type": "json_schema", "json_schema": form}, **options
            )
        else:
            raise ValueError(
                f"method={method!r} is unknown; give 'json_schema', 'json_mode' or "
                "'function_calling'"
            )
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        ).with_fallbacks(
            [RunnablePassthrough.assign(parsed=lambda _: None)], exception_key="parsing_error"
        )
        return RunnableMap(raw=model) | parsed

    @property
    def _llm_type(self) -> str:
        return "kogemma"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        params = {
            "model": self._local.name,
            **{name: getattr(self, name) for name in SamplingOptions.model_fields},
            "output_version": self.output_version,
        }
        if self.base_url is not None:
            return {**params, "base_url": self.base_url}
        if isinstance(self.model, str):
            names = ("bos", "attention", *_LOADING)
            return {**params, **{name: getattr(self, name) for name in names}}
        # Weights in memory have no name of their own: a cached reply must not serve others.
        return {**params, "bos": self.bos, "object": self._local.object_id}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        # LangChain would write the call's stop strings over the constructor's, and take replies
        # that were cut by other ones from the cache.
        return super()._get_invocation_params(self.stop if stop is None else stop, **kwargs)

    def __repr_args__(self) -> Any:
        return self._identifying_params.items()

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params.setdefault("ls_model_name", self._local.name)
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        profile = ModelProfile(
            text_inputs=True,
            image_inputs=False,
            text_outputs=True,
            tool_calling=True,
            structured_output=True,
        )
        window = (
            context_window(self.model)
            if isinstance(self.model, str)
            else self.model.config.max_position_embeddings
        )
        if window:
            profile["max_input_tokens"] = window
        return profile

    def get_token_ids(self, text: str) -> list[int]:
        """Give the token ids of `text` as it would stand in a message; needs no weights."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._local.template.encode_text(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Count the tokens of the prompt that `messages` become, template and tools and all."""
        formatted = [convert_to_openai_tool(tool) for tool in tools or ()]
        call = _Call(self, None, {"tools": formatted})
        return len(self._local.template.encode(call.turns(messages)))

    # --- What is loaded ---

    def warmup(self) -> None:
        """Load the model, or reach the server, and make one short reply, so that none waits."""
        self.invoke("안녕하세요", max_tokens=2)

    def info(self) -> dict[str, Any]:
        """Say what is loaded where, and what memory it takes; loads it, or asks the server.

        Returns:
            For a model in this process the fields of `model_runner.ModelInfo`, and how many
            requests are running and waiting; for a server the models it has.
        """
        if self.base_url is not None:
            return {
                "model": self.model,
                "base_url": self.base_url,
                "models": self._server.models(),
            }
        engine = self._local.engine
        return {
            "model": self._local.name,
            "quantization": self.quantization,
            **asdict(engine.runner.info()),
            "running": engine.running,
            "waiting": engine.waiting,
        }

    def _call_options(self, stop: list[str] | None, overrides: dict[str, Any]) -> CallOptions:
        _refuse_unknown(overrides, CallOptions.model_fields, "a call of ChatKoGemma takes")
        own = {name: getattr(self, name) for name in SamplingOptions.model_fields}
        given = overrides if stop is None else {**overrides, "stop": stop}
        return CallOptions(**{**own, **given})

    def _load_backend(self) -> Backend:
        return self._local.backend if self.base_url is None else self._server

    def _named(self, name: str) -> "ChatKoGemma":
        """Give a model of another name, all else being the same."""
        if name == self.model:
            return self
        options = {field: getattr(self, field) for field in self.model_fields_set}
        own = {k: v for k, v in options.items() if k not in ("model", "tokenizer")}
        return ChatKoGemma(name, **{**own, "loaded": self.loaded})

    @property
    def _local(self) -> LocalModel:
        options = (
            self.bos,
            self._key if self.base_url is None else None,
            LoadingOptions(self.device, self.device_map, self.dtype, self.quantization),
            RunningOptions(self.attention, self.compiled, self.cache_gib),
        )
        named = isinstance(self.model, str)
        return self.loaded.get(
            (self.model if named else id(self.model), id(self.tokenizer), *options),
            lambda: LocalModel(self.model, self.tokenizer, *options),
        )

    @property
    def _server(self) -> "ServerBackend":
        from kogemma_rag.backends.server import ServerBackend

        base_url, key, retries = str(self.base_url), self._key, self.max_retries
        return self.loaded.get(
            (base_url, self.model, key, retries),
            lambda: ServerBackend(base_url, self.model, api_key=key, max_retries=retries),
        )

    @property
    def _key(self) -> str | None:
        return self.api_key.get_secret_value() if self.api_key else None


_LOADING = tuple(each.name for each in fields(LoadingOptions))
_RUNNING = tuple(each.name for each in fields(RunningOptions))


class _Call:
    """One call: its options, and the reply to it as LangChain wants it."""

    def __init__(
        self, model: ChatKoGemma, stop: list[str] | None, overrides: dict[str, Any]
    ) -> None:
        name = overrides.pop("model", None)
        overrides.pop("stream", None)  # how LangChain asks for `_stream`
        self.model = model if name is None else model._named(name)
        self._options = model._call_options(stop, overrides)
        self.options = self._options.reply_options()
        self._messages = ReplyMessages(self.model._local.name, self._options)

    def turns(self, messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
        """Give the turns of the prompt; what the model must be told stands first."""
        return repair_messages(messages, instructions=self._options.instructions())

    def chunks(self, item: str | ReplyEnd) -> Iterator[ChatGenerationChunk]:
        """Give the chunks that a piece of the reply makes."""
        for message in self._messages.feed(item):
            yield ChatGenerationChunk(message=message)

    def result(self, items: Sequence[str | ReplyEnd]) -> ChatResult:
        """Give the whole reply."""
        end = items[-1]
        if not isinstance(end, ReplyEnd):
            raise TypeError(f"a backend's last item is how the reply ended, not {end!r}")
        text = "".join(piece for piece in items if isinstance(piece, str))
        message = self._messages.whole(text, end)
        return ChatResult(generations=[ChatGeneration(message=message)])


def _json_schema(schema: Any) -> dict[str, Any]:
    if isinstance(schema, dict) and not {"function", "parameters", "input_schema"} & schema.keys():
        return schema  # LangChain would leave out what it does not know of
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    return convert_to_json_schema(schema)


def _side_by_side(
    config: RunnableConfig | list[RunnableConfig] | None,
) -> RunnableConfig | list[RunnableConfig]:
    if isinstance(config, Sequence):
        return [cast(RunnableConfig, _side_by_side(each)) for each in config]
    given = config or RunnableConfig()
    return {**given, "max_concurrency": given.get("max_concurrency") or _BATCH_CONCURRENCY}


def _refuse_unknown(given: Iterable[str], known: Iterable[str], takes: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise TypeError(f"unknown arguments {unknown}; {takes} {', '.join(sorted(known))}")
