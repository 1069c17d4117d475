"""LangChain messages to replies of a Gemma in this process, whole or streamed.

Joins the chat template, generation and the text of the reply; knows no retrieval. Importing it
loads no torch: tokenizer and weights are loaded when first needed, once per process.
"""

import contextlib
import copy
import functools
import math
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import ContextOverflowError, ModelTimeoutError
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, Field, PrivateAttr, SecretStr, StringConstraints, model_validator

from kogemma_rag.chat_template import ChatTemplate, repair_messages
from kogemma_rag.checkpoints import check_name, context_window, load_checkpoint, share
from kogemma_rag.detokenizer import Detokenizer, ReplyText

if TYPE_CHECKING:
    from kogemma_rag.generation import Engine, GenerationRequest

DEFAULT_MODEL = "nlpai-lab/ko-gemma-2b-v1"

Held = TypeVar("Held")


class CallOptions(BaseModel):
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


class ChatKoGemma(BaseChatModel, CallOptions):
    """A Gemma, ko-gemma by default, as a LangChain chat model in this process.

    Takes any conversation: see `chat_template.repair_messages` for what becomes of system, tool
    and neighbouring messages. Replies are greedy unless `temperature` is above 0.

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
        ModelNotFoundError: At first use, if the model is neither a directory nor on the hub.
        ModelConnectionError: At first use, if it is not in the hub's cache and the hub is away.
        ModelPermissionDeniedError: At first use, if the model is gated and the hub refuses.
        ContextOverflowError: If prompt and `max_tokens` do not fit the model's window.
        ModelTimeoutError: If a reply takes longer than `timeout`.
        UnsupportedMessageError: If a message holds an image or anything else that is not text.
    """

    model: Any = DEFAULT_MODEL
    """Hub name, directory, or a loaded `PreTrainedModel` (then with `tokenizer`)."""

    tokenizer: Any = Field(default=None, exclude=True)
    """The tokenizer of a model that was given as an object; it is copied, never changed."""

    device: str = "auto"
    """A torch device; "auto" is CUDA where there is one, else the CPU."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """By default ("auto") bfloat16 on CUDA and float32 elsewhere."""

    api_key: SecretStr | None = Field(default=None, exclude=True)
    """The hub's access token, for gated and private models."""

    streaming: bool = False
    """Whether `invoke` streams inside, so that callbacks see each token."""

    max_retries: int = Field(default=0, ge=0)
    """Taken because LangChain gives it to every chat model. A reply computed here either comes or
    fails for good, so there is nothing to try again."""

    _held: dict[tuple[Any, ...], Any] = PrivateAttr(default_factory=dict)
    _object_id: str = PrivateAttr(default_factory=lambda: uuid.uuid4().hex)

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
        if isinstance(self.model, str):
            check_name(self.model)
            if self.tokenizer is not None:
                raise ValueError(
                    f"model={self.model!r} brings its own tokenizer; leave tokenizer= out"
                )
        elif self.tokenizer is None:
            raise ValueError(
                f"a model given as an object ({type(self.model).__name__}) needs tokenizer= too"
            )
        elif (self.device, self.dtype) != ("auto", "auto"):
            raise ValueError(
                "a model given as an object is used where and as it is; move it with model.to(...) "
                "and leave device= and dtype= out"
            )
        return self

    # --- What LangChain calls ---

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _join_reply(list(self._reply(messages, stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in self._reply(messages, stop, kwargs):
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # By the stream, so that generation halts when the task is cancelled.
        stream = self._astream(messages, stop, **kwargs)
        return _join_reply([chunk.message async for chunk in stream])

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Refuse: tools are not supported.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "ChatKoGemma cannot call tools: Gemma's template knows none; take a chat model that "
            "can, or call the tool yourself and put its result in a message"
        )

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Refuse: structured output is not supported.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "ChatKoGemma cannot be held to a schema; ask for JSON in the prompt and parse the "
            "reply, for instance with JsonOutputParser"
        )

    @property
    def _llm_type(self) -> str:
        return "kogemma"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        params = {
            "model": self._model_name,
            **{name: getattr(self, name) for name in CallOptions.model_fields},
        }
        if isinstance(self.model, str):
            return {**params, "device": self.device, "dtype": self.dtype}
        # Weights in memory have no name of their own: a cached reply must not serve others.
        return {**params, "object": self._object_id}

    def __repr_args__(self) -> Any:
        return self._identifying_params.items()

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params.setdefault("ls_model_name", self._model_name)
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        profile = ModelProfile(
            text_inputs=True,
            image_inputs=False,
            text_outputs=True,
            tool_calling=False,
            structured_output=False,
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
        return self._load_template().encode_text(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Count the tokens of the prompt that `messages` become, template and all."""
        if tools:
            self.bind_tools(tools)
        return len(self._load_template().encode(repair_messages(messages)))

    # --- From messages to a reply ---

    def _reply(
        self, messages: list[BaseMessage], stop: list[str] | None, overrides: dict[str, Any]
    ) -> Iterator[AIMessageChunk]:
        """Yield the reply in pieces of text, none empty but that of an empty reply.

        One piece is held back at a time, so that the last one can carry how the reply ended.
        """
        options = self._call_options(stop, overrides)
        template, engine = self._load_template(), self._load_engine()
        request = _request(template, engine.window, messages, options)
        text = ReplyText(Detokenizer(template.tokenizer, template.marker_ids), options.stop or ())
        held, count, finish_reason = "", 0, "length"
        deadline = time.monotonic() + (options.timeout or math.inf)
        with contextlib.closing(engine.submit(request)) as tokens:
            for count, token in enumerate(tokens, start=1):
                piece = "" if token in request.stop_ids else text.feed(token)
                if held and piece:
                    yield AIMessageChunk(content=held)
                held = piece or held
                if token in request.stop_ids or text.stopped:
                    finish_reason = "stop"
                    break
                if time.monotonic() > deadline:
                    raise ModelTimeoutError(
                        f"the reply took longer than timeout={options.timeout} s and had "
                        f"{count} tokens by then; raise timeout or lower max_tokens"
                    )
        yield AIMessageChunk(
            content=held + text.finish(),
            chunk_position="last",
            usage_metadata=UsageMetadata(
                input_tokens=len(request.ids),
                output_tokens=count,
                total_tokens=len(request.ids) + count,
            ),
            response_metadata={"finish_reason": finish_reason, "model_name": self._model_name},
        )

    def _call_options(self, stop: list[str] | None, overrides: dict[str, Any]) -> CallOptions:
        _refuse_unknown(overrides, CallOptions.model_fields, "a call of ChatKoGemma takes")
        own = {name: getattr(self, name) for name in CallOptions.model_fields}
        given = overrides if stop is None else {**overrides, "stop": stop}
        return CallOptions(**{**own, **given})

    @property
    def _model_name(self) -> str:
        if isinstance(self.model, str):
            return self.model
        return getattr(self.model, "name_or_path", "") or type(self.model).__name__

    def _load_template(self) -> ChatTemplate:
        if isinstance(self.model, str):
            return self._hold(
                ("template", self.model),
                lambda: load_checkpoint(self.model, ChatTemplate.load, token=self._token),
            )
        return self._hold(
            ("template", self._object_id), lambda: ChatTemplate(copy.deepcopy(self.tokenizer))
        )

    def _load_engine(self) -> "Engine":
        from kogemma_rag.generation import Engine, load_engine

        if isinstance(self.model, str):
            load = functools.partial(load_engine, device=self.device, dtype=self.dtype)
            return self._hold(
                ("engine", self.model, self.device, self.dtype),
                lambda: load_checkpoint(self.model, load, token=self._token),
            )
        return self._hold(("engine", id(self.model)), lambda: Engine(self.model))

    def _hold(self, key: tuple[Any, ...], build: Callable[[], Held]) -> Held:
        """Build what is shared under `key`, or find it, and keep it alive as long as this model."""
        if key not in self._held:
            self._held[key] = share(key, build)
        held: Held = self._held[key]
        return held

    @property
    def _token(self) -> str | None:
        return self.api_key.get_secret_value() if self.api_key else None


def load_chat_model(name: str, **options: Any) -> BaseChatModel:
    """Give the chat model of a name.

    Args:
        name: "extractive" for `ExtractiveChatModel`, else a hub name or a directory for
            `ChatKoGemma`.
        **options: The model's own options.

    Raises:
        TypeError: If the model does not know an option.
        ValueError: If `name` is a URL.
        FileNotFoundError: If `name` is a path and no directory is there.
    """
    if name == "extractive":
        from kogemma_rag.extractive import ExtractiveChatModel

        return ExtractiveChatModel(**options)
    return ChatKoGemma(name, **options)


def _request(
    template: ChatTemplate, window: int, messages: Sequence[BaseMessage], options: CallOptions
) -> "GenerationRequest":
    from kogemma_rag.generation import GenerationRequest

    ids = template.encode(repair_messages(messages))
    if len(ids) + options.max_tokens > window:
        raise ContextOverflowError(
            f"the prompt has {len(ids)} tokens and max_tokens is {options.max_tokens}, together "
            f"{len(ids) + options.max_tokens}, but the model's window is {window}; shorten the "
            "messages or lower max_tokens"
        )
    return GenerationRequest(
        ids=ids,
        max_tokens=options.max_tokens,
        stop_ids=template.stop_ids,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
    )


def _join_reply(chunks: Sequence[BaseMessage]) -> ChatResult:
    last = chunks[-1]
    message = AIMessage(
        content="".join(chunk.text for chunk in chunks),
        usage_metadata=last.usage_metadata if isinstance(last, AIMessage) else None,
        response_metadata=last.response_metadata,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _refuse_unknown(given: Iterable[str], known: Iterable[str], takes: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise TypeError(f"unknown arguments {unknown}; {takes} {', '.join(sorted(known))}")
