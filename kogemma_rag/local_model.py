"""A model of this process: its template, weights, engine and backend.

Each is loaded when first needed, and shared by all who name the same.
"""

import copy
import functools
import uuid
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kogemma_rag.chat_template import BosPolicy, ChatTemplate
from kogemma_rag.checkpoints import load_checkpoint, share

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from kogemma_rag.backends.local import LocalBackend
    from kogemma_rag.generation import Engine

Held = TypeVar("Held")


@dataclass(frozen=True)
class LoadingOptions:
    """How weights are loaded; see `weights.load_weights`."""

    device: str = "auto"
    device_map: Literal["auto"] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["int8", "int4"] | None = None


@dataclass(frozen=True)
class RunningOptions:
    """How an engine runs; see `model_runner.ModelRunner`."""

    attention: Literal["sdpa", "eager"] = "sdpa"
    compiled: bool | None = None
    cache_gib: float | None = None


class LoadedModels:
    """What a chat model and its copies have loaded, by name and options.

    It lives as long as one of them does, is shared by all of them, and is no part of what they are:
    all are equal, and none is written down.
    """

    def __init__(self) -> None:
        self._models: dict[Hashable, Any] = {}

    def get(self, key: Hashable, build: Callable[[], Held]) -> Held:
        """Give what is there under a key, building it first where nothing is."""
        if key not in self._models:
            self._models.setdefault(key, build())  # threads may build two, and take one
        held: Held = self._models[key]
        return held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoadedModels)

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: object) -> "LoadedModels":
        return self

    def __reduce__(self) -> tuple[type["LoadedModels"], tuple[()]]:
        return LoadedModels, ()


@dataclass(eq=False)
class LocalModel:
    """A model by its name, directory or objects. What was loaded lives as long as this does.

    Attributes:
        model: Hub name or directory, or a `PreTrainedModel`.
        tokenizer: That of a model given as an object; it is copied, never changed.
        bos: See `ChatTemplate`.
        token: The hub's access token.
        loading: How to load weights.
        running: How to run them.
    """

    model: Any
    tokenizer: Any = None
    bos: BosPolicy = "template"
    token: str | None = None
    loading: LoadingOptions = field(default_factory=LoadingOptions)
    running: RunningOptions = field(default_factory=RunningOptions)
    object_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """What tells a model given as an object from others, whose name may be the same."""
    _held: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name, or that of its class where it has none."""
        if isinstance(self.model, str):
            return self.model
        return getattr(self.model, "name_or_path", "") or type(self.model).__name__

    @property
    def backend(self) -> "LocalBackend":
        """What computes replies."""
        from kogemma_rag.backends.local import LocalBackend

        def build() -> LocalBackend:
            return LocalBackend(self.template, self.engine)

        return self._hold("backend", self._engine_key + self._template_key, build)

    @property
    def template(self) -> ChatTemplate:
        """The template of the tokenizer; needs no weights."""

        def build() -> ChatTemplate:
            if not isinstance(self.model, str):
                return ChatTemplate(copy.deepcopy(self.tokenizer), bos=self.bos)
            load = functools.partial(ChatTemplate.load, bos=self.bos)
            return load_checkpoint(self.model, load, token=self.token)

        return self._hold("template", self._template_key, build)

    @property
    def engine(self) -> "Engine":
        """What runs the weights."""
        from kogemma_rag.generation import Engine
        from kogemma_rag.model_runner import ModelRunner, twin

        def build() -> Engine:
            gib = self.running.cache_gib
            weights, given = self._weights, not isinstance(self.model, str)
            runner = ModelRunner(
                twin(weights) if given else weights,
                cache_bytes=int(gib * 2**30) if gib else None,
                attention=self.running.attention,
                compiled=self.running.compiled,
                twin_of=weights if given else None,
            )
            return Engine(runner)

        return self._hold("engine", self._engine_key, build)

    @property
    def _weights(self) -> "PreTrainedModel":
        if not isinstance(self.model, str):
            weights: PreTrainedModel = self.model
            return weights

        def build() -> "PreTrainedModel":
            from kogemma_rag.weights import load_weights

            load = functools.partial(load_weights, **asdict(self.loading))
            return load_checkpoint(self.model, load, token=self.token)

        return self._hold("weights", (self.model, self.loading), build)

    @property
    def _template_key(self) -> tuple[Any, ...]:
        return (self.model if isinstance(self.model, str) else self.object_id, self.bos)

    @property
    def _engine_key(self) -> tuple[Any, ...]:
        of = (self.model, self.loading) if isinstance(self.model, str) else (id(self.model),)
        return (*of, self.running)

    def _hold(self, kind: str, key: tuple[Any, ...], build: Callable[[], Held]) -> Held:
        if kind not in self._held:
            self._held[kind] = share((kind, *key), build)
        held: Held = self._held[kind]
        return held
