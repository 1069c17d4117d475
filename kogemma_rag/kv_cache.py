"""Keys and values of many sequences: slots that requests take, and attention over them.

A slot keeps what it holds after its request has left, so that a later prompt that begins alike
copies it instead of computing it. Knows no loop, no sampling and no text.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from torch import Tensor

ATTENTION = "kogemma_slots"
Kernel = Callable[..., Tensor]

# Copying fewer positions than this costs more than computing them along with the rest.
_WORTH_COPYING = 16


class KeyValueCache:
    """`slots` sequences of at most `positions` tokens each.

    Memory is taken when the model first writes; on the CPU the system gives it only as it is used.

    Args:
        slots: How many sequences fit side by side.
        positions: How many tokens each may have.
    """

    def __init__(self, slots: int, positions: int) -> None:
        self.slots = slots
        self.positions = positions
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        """Keys and values of each layer, shape (slots, heads, positions + 1, head size); the last
        position is written by rows that belong to no request."""
        self._ids = np.zeros((slots, positions), dtype=np.int64)
        self._lengths = np.zeros(slots, dtype=np.int64)
        self._last_used = np.zeros(slots, dtype=np.int64)
        self._uses = 0
        self._free = set(range(slots))

    @property
    def free(self) -> int:
        """How many slots no request holds."""
        return len(self._free)

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, allocated so far."""
        return sum(tensor.nbytes for pair in list(self.layers.values()) for tensor in pair)

    def layer(self, index: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Give keys and values of a layer, made on first use with dtype and device of `like`.

        Zeros, since what is masked must still be finite: 0 times NaN is NaN.
        """
        if index not in self.layers:
            shape = (self.slots, like.shape[1], self.positions + 1, like.shape[3])
            self.layers[index] = (_zeros(shape, like), _zeros(shape, like))
        return self.layers[index]

    def take(self, ids: Sequence[int], *, compact: bool = False) -> tuple[int, int]:
        """Take a free slot for a prompt and fill it with what is known of it already.

        Args:
            ids: The prompt.
            compact: Take the free slot of the lowest number, so that those in use stand together;
                else the one unused for longest.

        Returns:
            The slot, and how many of the prompt's positions it holds. The last one is never among
            them, since computing it gives the logits of the reply's first token.
        """
        prompt = np.asarray(ids, dtype=np.int64)
        source, known = self._longest_prefix(prompt)
        slot = min(self._free, key=lambda free: (self._last_used[free], free))
        if source in self._free and known == self._lengths[source]:
            slot = source  # nothing of it would be lost
        lowest = min(self._free)
        if compact and lowest != slot:
            if source == slot:
                self._swap(lowest, slot)
                source = lowest
            else:  # what the lowest holds moves, but not over what is to be copied
                others = self._free - {source}
                moved = min(others, key=lambda free: (self._last_used[free], free))
                if moved != lowest:
                    self._copy(lowest, moved, int(self._lengths[lowest]))
            slot = lowest
        if known < _WORTH_COPYING:
            known = 0
        elif source != slot:
            self._copy(source, slot, known)
        self._lengths[slot] = known
        self._free.remove(slot)
        self._touch(slot)
        return slot, known

    def advance(self, slot: int, ids: Sequence[int]) -> None:
        """Record that keys and values of `ids` stand in the slot, after those before them."""
        start = self._lengths[slot]
        self._ids[slot, start : start + len(ids)] = ids
        self._lengths[slot] += len(ids)

    def release(self, slot: int, *, keep: bool = True) -> None:
        """Give a slot back; what it holds is kept for prompts that begin alike.

        Args:
            slot: A slot that was taken.
            keep: False wipes it, where what it holds may be wrong.
        """
        if not keep:
            self._lengths[slot] = 0
            for pair in self.layers.values():
                for tensor in pair:
                    tensor[slot].zero_()
        self._free.add(slot)
        self._touch(slot)

    def resized(self, slots: int, positions: int, in_use: Sequence[int]) -> "KeyValueCache":
        """Move the slots in use, in their order, to a cache of another size, layer by layer.

        Free ones that were used last go along, as many as there is room for.
        """
        new = KeyValueCache(slots, positions)
        recent = sorted(self._free, key=lambda slot: -self._last_used[slot])
        rows = [*in_use, *recent][:slots]
        new._free -= set(range(len(in_use)))
        new._uses = self._uses
        for target, slot in enumerate(rows):
            new._lengths[target] = length = self._lengths[slot]
            new._ids[target, :length] = self._ids[slot, :length]
            new._last_used[target] = self._last_used[slot]
        longest = int(new._lengths.max(initial=0))
        for index in sorted(self.layers):
            old = self.layers[index]
            for old_tensor, new_tensor in zip(old, new.layer(index, old[0]), strict=True):
                new_tensor[: len(rows), :, :longest] = old_tensor[rows, :, :longest]
            del self.layers[index]
        return new

    def _longest_prefix(self, prompt: np.ndarray[Any, Any]) -> tuple[int, int]:
        length = min(len(prompt) - 1, self.positions)
        if length <= 0:
            return 0, 0
        differs = self._ids[:, :length] != prompt[:length]
        common = np.where(differs.any(axis=1), differs.argmax(axis=1), length)
        common = np.minimum(common, self._lengths)
        best = int(common.argmax())
        return best, int(common[best])

    def _copy(self, source: int, target: int, length: int) -> None:
        for pair in self.layers.values():
            for tensor in pair:
                tensor[target, :, :length] = tensor[source, :, :length]
        self._ids[target, :length] = self._ids[source, :length]
        self._lengths[target] = length
        self._last_used[target] = self._last_used[source]

    def _swap(self, one: int, other: int) -> None:
        first, second = int(self._lengths[one]), int(self._lengths[other])
        for pair in self.layers.values():
            for tensor in pair:
                held = tensor[one, :, :first].clone()
                tensor[one, :, :second] = tensor[other, :, :second]
                tensor[other, :, :first] = held
        for array in (self._ids, self._lengths, self._last_used):
            array[[one, other]] = array[[other, one]]

    def _touch(self, slot: int) -> None:
        self._uses += 1
        self._last_used[slot] = self._uses


class Attention(Protocol):
    """Attention of one forward pass, handed through the model to each of its layers."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Store the new keys and values, and attend to those of the whole sequence.

        Args:
            layer: Index of the layer.
            query: Shape (rows, heads, tokens, head size).
            key: Shape (rows, key heads, tokens, head size), as is `value`.
            value: See `key`.
            scaling: What scores are multiplied by.

        Returns:
            Shape (rows, tokens, heads, head size).
        """
        ...


class PrefillAttention:
    """Attention of several new tokens of one sequence, at exact length."""

    def __init__(self, cache: KeyValueCache, kernel: Kernel, slot: int, start: int) -> None:
        self._cache, self._kernel, self._slot, self._start = cache, kernel, slot, start
        self._mask: Tensor | None = None

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """See `Attention.attend`."""
        keys, values = (held[self._slot, None] for held in self._cache.layer(layer, key))
        end = self._start + key.shape[2]
        keys[:, :, self._start : end] = key
        values[:, :, self._start : end] = value
        if self._start and self._mask is None:
            # Token i of these sees all before them and its own up to itself.
            self._mask = query.new_ones((query.shape[2], end), dtype=torch.bool).tril(self._start)
        mask = None if self._mask is None else self._mask.to(query.device)
        return self._kernel(
            query,
            keys[:, :, :end],
            values[:, :, :end],
            attn_mask=mask,
            is_causal=mask is None and query.shape[2] > 1,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        ).transpose(1, 2)


class RowAttention:
    """Attention of one new token of each of several sequences, each at its exact length."""

    def __init__(
        self, cache: KeyValueCache, kernel: Kernel, slots: Sequence[int], lengths: Sequence[int]
    ) -> None:
        self._cache, self._kernel, self._slots, self._lengths = cache, kernel, slots, lengths

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """See `Attention.attend`."""
        keys, values = self._cache.layer(layer, key)
        packed = _pack(query, key.shape[1])
        out = torch.empty_like(packed)
        for row, (slot, length) in enumerate(zip(self._slots, self._lengths, strict=True)):
            keys[slot, :, length] = key[row, :, 0]
            values[slot, :, length] = value[row, :, 0]
            out[row] = self._kernel(
                packed[row, None],
                keys[slot, None, :, : length + 1],
                values[slot, None, :, : length + 1],
                scale=scaling,
            )[0]
        return out.reshape(query.shape).transpose(1, 2)


class BlockAttention:
    """Attention of one new token in each of the first slots, as one block of fixed shape.

    All shapes depend on `rows` and `width` alone, and all that changes from step to step is in
    `lengths`: what compiling, and replaying as a CUDA graph, need.

    Args:
        cache: Where keys and values are.
        lengths: int64, shape (rows,): the position each row's token takes; `cache.positions` for
            rows of no request.
        width: How many positions to look at, more than any length of a request.
    """

    def __init__(self, cache: KeyValueCache, lengths: Tensor, width: int) -> None:
        self._cache, self._lengths, self._width = cache, lengths, width

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """See `Attention.attend`."""
        keys, values = self._cache.layer(layer, key)
        lengths = self._lengths.to(query.device)
        seen = torch.arange(self._width, device=query.device) <= lengths[:, None]
        query, key, value = query[:, :, 0], key[:, :, 0], value[:, :, 0]
        return block_attention(query, key, value, keys, values, lengths, seen, scaling)[:, None]


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    seen: Tensor,
    scaling: float,
) -> Tensor:
    """Store a new key and value of each row, and attend to those of its sequence.

    By plain matrix products: of one token a row, the fused kernels leave most of a GPU idle and
    take two to six times as long.

    Args:
        query: Shape (rows, heads, head size).
        key: Shape (rows, key heads, head size), as is `value`.
        value: See `key`.
        keys: Those of a layer of the cache, as are `values`.
        values: See `keys`.
        lengths: Where each row stores, shape (rows,).
        seen: Whether a row looks at a position, shape (rows, width).
        scaling: What scores are multiplied by.

    Returns:
        Shape (rows, heads, head size).
    """
    count, width = seen.shape
    rows = torch.arange(count, device=query.device)
    keys[rows, :, lengths] = key
    values[rows, :, lengths] = value
    packed = _pack(query, key.shape[1])
    near, content = keys[:count, :, :width], values[:count, :, :width]
    out = eager_attention(packed, near, content, seen[:, None, None], scale=scaling)
    return out.reshape(query.shape)


def eager_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *,
    is_causal: bool = False,
    scale: float,
    enable_gqa: bool = False,
) -> Tensor:
    """Do what torch's `scaled_dot_product_attention` does, by plain matrix products."""
    if enable_gqa:
        groups = query.shape[1] // key.shape[1]
        key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    scores = query @ key.transpose(2, 3) * scale
    if is_causal:
        attn_mask = scores.new_ones(scores.shape[2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value


KERNELS: dict[str, Kernel] = {"sdpa": F.scaled_dot_product_attention, "eager": eager_attention}
"""What computes attention: torch's fused kernels, or plain matrix products."""


def _pack(query: Tensor, key_heads: int) -> Tensor:
    """Give the query heads that share a key head as tokens of it: none is repeated for them."""
    return query.reshape(query.shape[0], key_heads, -1, query.shape[-1])


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    # torch writes its zeros; these take memory only where they are used.
    raw = np.zeros(math.prod(shape) * like.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(like.dtype).view(shape)


def attention_forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    slot_attention: Attention,
    **others: Any,
) -> tuple[Tensor, None]:
    """Be the attention function that transformers' models call by the name `ATTENTION`.

    Raises:
        ValueError: If the model wants what a Gemma 1 does not have.
    """
    for name in ("sliding_window", "softcap", "s_aux"):
        if others.get(name) is not None:
            raise ValueError(
                f"the model's attention has {name}={others[name]!r}, which is not supported; take "
                "a Gemma of the first generation, or run the model on a server"
            )
    return slot_attention.attend(module.layer_idx, query, key, value, scaling), None
