"""A loaded model and its slots: tokens of sequences in, logits of what follows out.

The model code is transformers'; only cache and attention are ours. Knows no requests, no sampling
and no threads: one call at a time.
"""

import copy
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from kogemma_rag.decode_graphs import DecodeGraphs
from kogemma_rag.decode_steps import any_step, block_step, forward, is_on
from kogemma_rag.kv_cache import (
    ATTENTION,
    KERNELS,
    Attention,
    KeyValueCache,
    PrefillAttention,
    RowAttention,
    attention_forward,
)
from kogemma_rag.sampling import NOT_FINITE

# More would only wait for one another: the CPU is busy with fewer rows than a GPU.
_MAX_SLOTS = {"cpu": 32}
_MAX_SLOTS_ON_GPU = 128
# Slots begin with room for so many tokens and grow when a sequence needs more.
_FIRST_POSITIONS = 2048
# Blocks come in few sizes, since each one is recorded by itself.
_LEAST_WIDTH = 256


@dataclass(frozen=True)
class ModelInfo:
    """Where a model is and what it takes.

    Attributes:
        devices: Where its weights are.
        dtype: What it computes in.
        weight_bytes: Memory of the weights.
        cache_bytes: Memory of keys and values so far.
        cache_limit_bytes: Memory that keys and values may take.
        slots: How many sequences run side by side.
        positions: How many tokens a slot has room for now; it grows up to the window.
        window: How many tokens a sequence may have.
    """

    devices: tuple[str, ...]
    dtype: str
    weight_bytes: int
    cache_bytes: int
    cache_limit_bytes: int
    slots: int
    positions: int
    window: int


@dataclass(eq=False)
class Slot:
    """Where a sequence is kept; `index` changes when slots grow."""

    index: int
    length: int
    """How many of its tokens are computed."""


class ModelRunner:
    """Runs sequences through a model, several side by side.

    Args:
        model: A causal language model in evaluation mode that calls its attention through
            transformers' AttentionInterface. Its attention is changed: give a `twin` of one that
            others use.
        cache_bytes: Memory for keys and values; by default half of what is free on a GPU, a
            quarter of the machine's on the CPU. One sequence of the window's length always fits.
        attention: "sdpa" for torch's kernels, "eager" for plain matrix products.
        compiled: Compile the decode step; the first steps then take long. None: see `block_step`.
        twin_of: The model that `model` shares its weights with; it lives as long as this does.

    Raises:
        ValueError: If the model is in training mode.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        cache_bytes: int | None = None,
        attention: Literal["sdpa", "eager"] = "sdpa",
        compiled: bool | None = None,
        twin_of: PreTrainedModel | None = None,
    ) -> None:
        if model.training:
            raise ValueError(
                "the model is in training mode, so its replies would be random; call model.eval()"
            )
        AttentionInterface.register(ATTENTION, attention_forward)
        model.set_attn_implementation(ATTENTION)
        self.model = model
        self._twin_of = twin_of
        self._device = _input_device(model)
        self._cache_limit = cache_bytes or _default_cache_bytes(self._device)
        self._kernel = KERNELS[attention]
        # A block of fixed shape is what a GPU is fast at; the CPU gains by exact lengths.
        self._blocks = bool(compiled) or self._device.type != "cpu"
        self._run_block = (
            block_step(model, self._device, compiled=compiled) if self._blocks else any_step(model)
        )
        self.reset()

    @property
    def window(self) -> int:
        """How many tokens a sequence may have."""
        return int(self.model.config.max_position_embeddings)

    @property
    def vocabulary_size(self) -> int:
        """How many logits there are, which may be more than the tokenizer has tokens."""
        return int(self.model.config.vocab_size)

    @property
    def chunk(self) -> int:
        """How many tokens of a prompt to compute at once.

        As there are more, replies under way wait longer for them; as there are fewer, the machine
        idles.
        """
        return 256 if self._device.type == "cpu" else 1024

    def reset(self) -> None:
        """Forget every sequence."""
        self._in_use: list[Slot] = []
        positions = min(self.window, _FIRST_POSITIONS)
        self._set_cache(KeyValueCache(self._slots_for(positions), positions))

    def info(self) -> ModelInfo:
        """Say where the model is and what it takes."""
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return ModelInfo(
            devices=tuple(sorted({str(tensor.device) for tensor in tensors})),
            dtype=str(self.model.dtype).removeprefix("torch."),
            weight_bytes=self.model.get_memory_footprint(),  # type: ignore[no-untyped-call]
            cache_bytes=self._cache.nbytes,
            cache_limit_bytes=self._cache_limit,
            slots=self._cache.slots,
            positions=self._cache.positions,
            window=self.window,
        )

    @torch.inference_mode()
    def take(self, ids: Sequence[int], max_tokens: int) -> Slot | None:
        """Take a slot with room for a prompt and its reply; None: not before another one leaves.

        What a former sequence has in common with the prompt's beginning is computed already.
        """
        if not self._make_room(len(ids) + max_tokens):
            return None
        slot = Slot(*self._cache.take(ids, compact=self._blocks))
        self._in_use.append(slot)
        return slot

    @torch.inference_mode()
    def release(self, slot: Slot, *, keep: bool = True) -> None:
        """Give a slot back; `keep` what it holds for prompts that begin alike."""
        self._cache.release(slot.index, keep=keep)
        self._in_use.remove(slot)

    @torch.inference_mode()
    def prefill(self, slot: Slot, ids: Sequence[int]) -> Tensor:
        """Compute several tokens of one sequence.

        Returns:
            Logits of the token after them: float32, shape (1, vocabulary).

        Raises:
            FloatingPointError: If they are not finite.
        """
        attention = PrefillAttention(self._cache, self._kernel, slot.index, slot.length)
        tokens = torch.tensor([list(ids)], device=self._device)
        positions = torch.arange(slot.length, slot.length + len(ids), device=self._device)[None]
        logits = self._forward(tokens, positions, attention).float()
        if not torch.isfinite(logits).all():
            # What is kept of such a slot would spoil the sequences that take it later.
            raise FloatingPointError(NOT_FINITE)
        self._advance(slot, ids)
        return logits

    @torch.inference_mode()
    def decode(self, slots: Sequence[Slot], tokens: Sequence[int]) -> Tensor:
        """Compute one more token of each of several sequences.

        Returns:
            Logits of the tokens after them: float32, shape (sequences, vocabulary); the next call
            may overwrite them.
        """
        if self._blocks:
            logits = self._decode_in_block(slots, tokens)
        else:
            lengths = [slot.length for slot in slots]
            logits = self._forward(
                torch.tensor(tokens, device=self._device)[:, None],
                torch.tensor(lengths, device=self._device)[:, None],
                RowAttention(self._cache, self._kernel, [slot.index for slot in slots], lengths),
            ).float()
        for slot, token in zip(slots, tokens, strict=True):
            self._advance(slot, [token])
        return logits

    def _decode_in_block(self, slots: Sequence[Slot], tokens: Sequence[int]) -> Tensor:
        indices = [slot.index for slot in slots]
        rows = min(_power_of_two(max(indices) + 1), self._cache.slots)
        width = min(_width(max(slot.length for slot in slots) + 1), self._cache.positions)
        # Rows of no sequence write where none reads.
        ids, lengths = [0] * self._cache.slots, [self._cache.positions] * self._cache.slots
        for slot, token in zip(slots, tokens, strict=True):
            ids[slot.index], lengths[slot.index] = token, slot.length
        logits = self._step(torch.tensor((ids, lengths)), rows, width)
        if indices == list(range(len(indices))):
            return logits[: len(indices)]
        return logits[indices]

    def _step(self, given: Tensor, rows: int, width: int) -> Tensor:
        if self._graphs is not None:
            return self._graphs.run(given, rows, width)
        ids, lengths = given[:, :rows].to(self._device)
        return self._run_block(self._cache, ids, lengths, width).float()

    def _forward(self, ids: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        return forward(self.model, ids, positions, attention)

    def _set_cache(self, cache: KeyValueCache) -> None:
        self._cache = cache
        self._graphs: DecodeGraphs | None = None
        if self._device.type == "cuda" and is_on(self.model, self._device):
            step = functools.partial(self._run_block, cache)
            self._graphs = DecodeGraphs(step, cache.slots, self.vocabulary_size, self._device)

    def _advance(self, slot: Slot, ids: Sequence[int]) -> None:
        self._cache.advance(slot.index, ids)
        slot.length += len(ids)

    def _make_room(self, positions: int) -> bool:
        if positions <= self._cache.positions:
            return self._cache.free > 0
        positions = min(_power_of_two(positions), self.window)
        slots = self._slots_for(positions)
        if len(self._in_use) >= slots:
            return False
        in_use = [slot.index for slot in self._in_use]
        self._graphs = None  # they hold memory, and read what is freed now
        self._set_cache(self._cache.resized(slots, positions, in_use))
        for index, slot in enumerate(self._in_use):
            slot.index = index
        return True

    def _slots_for(self, positions: int) -> int:
        config = self.model.config
        numbers = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        bytes_a_slot = numbers * self.model.dtype.itemsize * (positions + 1)
        most = _MAX_SLOTS.get(self._device.type, _MAX_SLOTS_ON_GPU)
        return max(1, min(most, self._cache_limit // int(bytes_a_slot)))


def _width(least: int) -> int:
    """Give how many positions to look at: four sizes from one power of two to the next."""
    step = max(_LEAST_WIDTH, _power_of_two(least) // 8)
    return -(-least // step) * step


def _input_device(model: PreTrainedModel) -> torch.device:
    embeddings: Any = model.get_input_embeddings()
    device: torch.device = embeddings.weight.device
    if device.type == "meta":  # offloaded by accelerate, which brings it where it is computed
        device = torch.device(embeddings._hf_hook.execution_device)
    return device


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """Give a model of the same weights in memory, whose attention can be changed by itself."""
    weights = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in weights})


def _default_cache_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return int(psutil.virtual_memory().total // 4)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
