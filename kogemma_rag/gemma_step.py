"""A Gemma's decode step for speed: products of one input joined, and layers compiled as one.

The weights are the model's own. Knows no slots and no graphs.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from torch import Tensor, nn
from transformers import GemmaForCausalLM
from transformers.models.gemma.modeling_gemma import apply_rotary_pos_emb

from kogemma_rag.kv_cache import KeyValueCache, block_attention

_ACTIVATION = "gelu_pytorch_tanh"


def is_plain_gemma(model: nn.Module) -> bool:
    """Tell whether a model is a Gemma of the first generation as released: nothing swapped in."""
    return (
        type(model) is GemmaForCausalLM
        and model.config.hidden_act == _ACTIVATION
        and all(
            type(linear) is nn.Linear and linear.bias is None and type(linear.weight.data) is Tensor
            for layer in model.model.layers
            for linear in _linears(layer)
        )
    )


def _linears(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    products = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    return [*products, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


class GemmaStep:
    """One token more of each of several sequences.

    Args:
        model: One that `is_plain_gemma`. Weights that have one input move to stand side by side in
            memory; to the model that is no change.
        compiled: Compile a layer, once for all of them.
    """

    def __init__(self, model: Any, *, compiled: bool = False) -> None:
        self._model = model
        self._compiled = compiled
        self._layer: Any = torch.compile(_run_layer) if compiled else _run_layer
        self._weights = [_layer_weights(layer) for layer in model.model.layers]

    def __call__(self, cache: KeyValueCache, ids: Tensor, lengths: Tensor, width: int) -> Tensor:
        """Compute it.

        Args:
            cache: Where keys and values are.
            ids: int64, shape (rows,).
            lengths: int64, shape (rows,): the position that each row's token takes.
            width: How many positions to look at.

        Returns:
            Logits, shape (rows, vocabulary).
        """
        inner = self._model.model
        hidden = inner.embed_tokens(ids)
        cos, sin = (each[:, 0] for each in inner.rotary_emb(hidden, lengths[:, None]))
        seen = torch.arange(width, device=ids.device) <= lengths[:, None]
        positions = (cos, sin, lengths, seen)
        if self._compiled:
            _mark_sizes(hidden, *positions)
        epsilon = self._model.config.rms_norm_eps
        for index, weights in enumerate(self._weights):
            keys, values = cache.layer(index, self._like(hidden))
            hidden = self._layer(hidden, weights, keys, values, positions, epsilon)
        logits: Tensor = self._model.lm_head(inner.norm(hidden))
        return logits

    def _like(self, hidden: Tensor) -> Tensor:
        config = self._model.config
        return hidden.new_empty((1, config.num_key_value_heads, 0, config.head_dim))


def _mark_sizes(hidden: Tensor, *positions: Tensor) -> None:
    """Let a compilation do for all numbers of rows and widths; a single row has one of its own."""
    for tensor in (hidden, *positions):
        if len(hidden) > 1:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
    torch._dynamo.maybe_mark_dynamic(positions[-1], 1)


def _layer_weights(layer: Any) -> tuple[Tensor, ...]:
    query, key, value, out, gate, up, down = _linears(layer)
    return (
        layer.input_layernorm.weight.detach(),
        joined([query.weight, key.weight, value.weight]),
        out.weight.detach(),
        layer.post_attention_layernorm.weight.detach(),
        joined([gate.weight, up.weight]),
        down.weight.detach(),
    )


def joined(weights: Sequence[nn.Parameter]) -> Tensor:
    """Give weights of one width as one matrix, of which they become parts; takes no memory."""
    first = weights[0]
    rows = [len(weight) for weight in weights]
    starts = itertools.accumulate(rows[:-1], initial=0)
    if not all(
        weight.is_contiguous()
        and weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and weight.data_ptr() == first.data_ptr() + start * first.shape[1] * first.itemsize
        for weight, start in zip(weights, starts, strict=True)
    ):
        whole = torch.cat([weight.detach() for weight in weights])
        for weight, part in zip(weights, torch.split(whole, rows), strict=True):
            weight.data = part
    return first.detach().as_strided((sum(rows), first.shape[1]), (first.shape[1], 1))


def _run_layer(
    hidden: Tensor,
    weights: Sequence[Tensor],
    keys: Tensor,
    values: Tensor,
    positions: Sequence[Tensor],
    epsilon: float,
) -> Tensor:
    """Do what transformers' GemmaDecoderLayer does; hidden has the shape (rows, size)."""
    before, qkv, out, after, gate_up, down = weights
    cos, sin, lengths, seen = positions
    _, key_heads, _, size = keys.shape
    products = F.linear(_normalized(hidden, before, epsilon), qkv)
    heads = products.view(hidden.shape[0], -1, size)
    sizes = [heads.shape[1] - 2 * key_heads, key_heads, key_heads]
    query, key, value = torch.split(heads, sizes, dim=1)
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    attended = block_attention(query, key, value, keys, values, lengths, seen, size**-0.5)
    hidden = hidden + F.linear(attended.flatten(1), out)
    gate, up = F.linear(_normalized(hidden, after, epsilon), gate_up).chunk(2, dim=-1)
    return hidden + F.linear(F.gelu(gate, approximate="tanh") * up, down)


def _normalized(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    wide = hidden.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return (wide * (1.0 + weight.float())).type_as(hidden)
