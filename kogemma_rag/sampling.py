"""Logits to token ids, one row a request. Knows no model and no text.

A row's token depends on nothing but the row: not on its neighbours in the batch, and not on torch's
global generator.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

NOT_FINITE = "the model's output is not finite; load it with dtype='bfloat16' or 'float32'"

# The nucleus of a chat model is small: sorting all of a large vocabulary is seldom needed.
_LIKELIEST = 1024
# What is lower becomes this, since dividing by it must not leave float32.
_LEAST_TEMPERATURE = 1e-30
_NONE = -1  # in place of a token's id


def choose(
    logits: Tensor, temperatures: Sequence[float], top_ps: Sequence[float], seeds: Sequence[int]
) -> list[int]:
    """Pick a token id for each row: the likeliest, or one drawn by its probability.

    Drawn by Gumbel-max: noise is added to each logit and the largest one wins. Of two runs whose
    logits differ by rounding, as they do beside other rows, hardly any draw then differs; looking
    a number up in cumulated probabilities would turn far more of them.

    Args:
        logits: float32, shape (rows, vocabulary).
        temperatures: One a row; 0 takes the likeliest token.
        top_ps: One a row; a token counts if those likelier than it do not reach this probability.
            Equally likely tokens are kept or left out together.
        seeds: One a row, from 0 to 2**63: the same one draws the same token.

    Raises:
        FloatingPointError: If a row has no finite maximum.
    """
    likeliest, tokens = logits.max(dim=-1)
    drawn = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if drawn:
        divisors = [[max(temperatures[row], _LEAST_TEMPERATURE)] for row in drawn]
        # The maximum is taken off first so that a tiny temperature does not overflow.
        scaled = (logits[drawn] - likeliest[drawn, None]) / logits.new_tensor(divisors)
        nucleus_p = [top_ps[row] for row in drawn]
        if min(nucleus_p) < 1:
            kept = _keep_nuclei(torch.softmax(scaled, dim=-1), nucleus_p)
            scaled = scaled.where(kept > 0, -torch.inf)
        tokens[drawn] = scaled.add_(_gumbel(scaled, [seeds[row] for row in drawn])).argmax(dim=-1)
    # Read once: a GPU goes on only when the CPU has what it waits for.
    chosen = [int(token) for token in tokens.where(likeliest.isfinite(), _NONE).tolist()]
    if _NONE in chosen:
        raise FloatingPointError(NOT_FINITE)
    return chosen


def _gumbel(like: Tensor, seeds: Sequence[int]) -> Tensor:
    uniform = torch.empty_like(like)
    generator = torch.Generator(like.device)
    for row, seed in zip(uniform, seeds, strict=True):
        torch.rand(row.shape, generator=generator.manual_seed(seed), out=row)
    return uniform.log_().neg_().log_().neg_()


def _keep_nuclei(probabilities: Tensor, top_ps: Sequence[float]) -> Tensor:
    """Set what lies outside each row's nucleus to 0."""
    ordered = probabilities.topk(min(_LIKELIEST, probabilities.shape[-1])).values
    wanted = probabilities.new_tensor(top_ps)[:, None]
    floors = _floors(ordered, wanted).where(wanted < 1, 0)
    # A little below what was summed, since rounding must not decide.
    enough = ((ordered.sum(dim=-1) * (1 - 1e-6))[:, None] > wanted) | (wanted >= 1)
    wide = [row for row, is_enough in enumerate(enough[:, 0].tolist()) if not is_enough]
    if wide:
        whole = probabilities[wide].sort(descending=True).values
        floors[wide] = _floors(whole, wanted[wide])
    return torch.where(probabilities >= floors, probabilities, 0)


def _floors(ordered: Tensor, wanted: Tensor) -> Tensor:
    """Give the least probability of each row's nucleus, shape (rows, 1), of sorted ones."""
    before = ordered.cumsum(dim=-1) - ordered
    count = (before < wanted).sum(dim=-1, keepdim=True).clamp(min=1)
    return ordered.gather(-1, count - 1)
