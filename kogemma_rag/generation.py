"""Token ids in, tokens out, one at a time. Knows no text and no LangChain."""

import random
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel


@dataclass(frozen=True)
class GenerationRequest:
    """What to generate from.

    Attributes:
        ids: The prompt's token ids, at least one.
        max_tokens: How many tokens to generate at most, at least one.
        stop_ids: Tokens that end the reply; the one that did is its last token.
        temperature: 0 takes the likeliest token.
        top_p: Sample from the fewest likeliest tokens that together reach this probability.
        seed: The same seed gives the same tokens; None takes a new one each time.
    """

    ids: Sequence[int]
    max_tokens: int
    stop_ids: frozenset[int]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


class Engine:
    """The one way to a loaded model, shared by every caller and thread.

    Args:
        model: A causal language model in evaluation mode; it is used as it is, where it is.

    Raises:
        ValueError: If the model is in training mode.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if model.training:
            raise ValueError(
                "the model is in training mode, so its replies would be random; call model.eval()"
            )
        self.model = model
        self._lock = threading.Lock()

    @property
    def window(self) -> int:
        """How many tokens a prompt and its reply may have together."""
        return int(self.model.config.max_position_embeddings)

    def submit(self, request: GenerationRequest) -> Generator[int, None, None]:
        """Generate the tokens of a reply, one for each `next`.

        The last token is one of `request.stop_ids`, unless `max_tokens` ended the reply. Closing
        the stream ends generation; an error in the model is raised from `next`. Each `next` may
        come from another thread, as LangChain's async streams do: hence nothing is held across a
        yield, and streams that run side by side take turns token by token.
        """
        cache = DynamicCache(config=self.model.config)
        uniform = random.Random(request.seed)  # noqa: S311 # sampling, not secrets
        feed: Sequence[int] = request.ids
        for _ in range(request.max_tokens):
            with self._lock:
                logits = self._step(feed, cache)
                token = _choose(logits, request.temperature, request.top_p, uniform)
            yield token
            if token in request.stop_ids:
                return
            feed = [token]

    @torch.inference_mode()
    def _step(self, feed: Sequence[int], cache: DynamicCache) -> Tensor:
        """Logits of the token after `feed`, float32, shape (vocabulary,)."""
        embeddings: Any = self.model.get_input_embeddings()
        output = self.model(
            input_ids=torch.tensor([list(feed)], device=embeddings.weight.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cast(Tensor, output.logits[0, -1].float())


@torch.inference_mode()
def _choose(logits: Tensor, temperature: float, top_p: float, uniform: random.Random) -> int:
    """Pick a token id: the likeliest, or one drawn by inverting the cumulative distribution.

    One uniform number a token makes a draw depend on nothing but the seed, the position and the
    logits: not on other requests, and not on torch's global generator.
    """
    if temperature == 0:
        return int(logits.argmax())
    # The maximum is taken off first so that a tiny temperature does not overflow.
    scaled = (logits - logits.max()) / temperature
    probabilities, ids = torch.softmax(scaled, dim=-1).sort(descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    # A token belongs to the nucleus when those before it do not reach top_p.
    nucleus = int(((cumulative - probabilities < top_p) & (probabilities > 0)).sum())
    threshold = uniform.random() * cumulative[nucleus - 1]
    drawn = int(torch.searchsorted(cumulative[:nucleus], threshold, right=True))
    return int(ids[min(drawn, nucleus - 1)])


def load_engine(name: str, *, device: str, dtype: str, **hub: Any) -> Engine:
    """Load the weights of a hub name or a directory; safetensors only, nothing is unpickled.

    Args:
        name: Hub name or directory.
        device: A torch device, or "auto": CUDA where there is one, else the CPU.
        dtype: Name of a torch dtype; "auto" is bfloat16 on CUDA and float32 elsewhere.
        **hub: Passed to `from_pretrained`: the access token, or that the cache must do.

    Raises:
        OSError: If the weights cannot be found or read.
        ValueError: If the machine does not have the device, or the model is of no known kind.
    """
    cuda = torch.cuda.is_available()
    place = torch.device(("cuda" if cuda else "cpu") if device == "auto" else device)
    if place.type == "cuda" and not cuda:
        raise ValueError(f"device={device!r}, but torch sees no CUDA device; give device='cpu'")
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        name, dtype=getattr(torch, dtype), use_safetensors=True, **hub
    )
    return Engine(loaded.to(place).eval())
