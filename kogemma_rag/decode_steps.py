"""A model to what computes its decode step for a block of rows. Knows no slots and no graphs."""

import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kogemma_rag.gemma_step import GemmaStep, is_plain_gemma
from kogemma_rag.kv_cache import Attention, BlockAttention, KeyValueCache

BlockStep = Callable[[KeyValueCache, Tensor, Tensor, int], Tensor]
"""Cache, token ids and lengths, both of shape (rows,), and a width to logits."""

_log = logging.getLogger(__name__)

# How often a step is compiled in a process, over all models; by default torch gives up after 8.
_MOST_COMPILED = 64


def forward(model: Any, ids: Tensor, positions: Tensor, attention: Attention) -> Tensor:
    """Give the logits after the last of the tokens, shape (rows, vocabulary), in the model's type.

    Args:
        model: A causal language model whose attention is `kv_cache.attention_forward`.
        ids: Shape (rows, tokens), as are `positions`.
        positions: Where the tokens stand in their sequences.
        attention: Where keys and values are.
    """
    output = model(
        input_ids=ids,
        position_ids=positions,
        slot_attention=attention,
        use_cache=False,
        logits_to_keep=1,
    )
    return cast(Tensor, output.logits[:, -1])


def block_step(model: Any, device: torch.device, *, compiled: bool | None) -> BlockStep:
    """Give the fastest step for a model: a Gemma's own, or that of transformers' model code.

    Args:
        model: See `forward`.
        device: Where its input is.
        compiled: Compile it. One compilation does for all sizes but a single row. None compiles a
            Gemma's own step on a CUDA device, where it can be compiled.
    """
    own = is_plain_gemma(model) and is_on(model, device)
    plain: BlockStep = GemmaStep(model) if own else any_step(model)
    wanted = own and device.type == "cuda" if compiled is None else compiled
    if not wanted:
        return plain
    step = GemmaStep(model, compiled=True) if own else torch.compile(plain, dynamic=True)
    return CompiledStep(step, plain if compiled is None else None)


class CompiledStep:
    """A step that is compiled when it is first run, and again for several rows.

    Args:
        compiled: The step.
        plain: What goes on in its place, with a warning, if it cannot be compiled; without one that
            is an error.
    """

    def __init__(self, compiled: BlockStep, plain: BlockStep | None = None) -> None:
        self._step = compiled
        self._plain = plain

    def __call__(self, cache: KeyValueCache, ids: Tensor, lengths: Tensor, width: int) -> Tensor:
        """See `BlockStep`."""
        with torch._dynamo.config.patch(recompile_limit=_MOST_COMPILED):
            try:
                logits = self._step(cache, ids, lengths, width)
            except torch._dynamo.exc.TorchDynamoException as error:
                if self._plain is None:
                    raise
                _log.warning(
                    "the decode step cannot be compiled and takes up to twice as long: %s; install "
                    "a C compiler such as gcc, or give compiled=False",
                    str(error).partition("\n")[0],
                )
                self._step = self._plain
                logits = self._step(cache, ids, lengths, width)
        return logits


def any_step(model: Any) -> BlockStep:
    """Give the step of a model by transformers' own code."""

    def step(cache: KeyValueCache, ids: Tensor, lengths: Tensor, width: int) -> Tensor:
        attention = BlockAttention(cache, lengths, width)
        return forward(model, ids[:, None], lengths[:, None], attention)

    return step


def is_on(model: PreTrainedModel, device: torch.device) -> bool:
    """Tell whether all weights are on one device."""
    return all(weights.device == device for weights in model.parameters())
