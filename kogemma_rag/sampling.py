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
    if not torch.isfinite(likeliest).all():
        raise FloatingPointError(NOT_FINITE)
    drawn = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if drawn:
        divisors = [[max(temperatures[row], _LEAST_TEMPERATURE)] for row in drawn]
        # The maximum is taken off first so that a tiny temperature does not overflow.
        scaled = (logits[drawn] - likeliest[drawn, None]) / logits.new_tensor(divisors)
        nucleus_p = [top_ps[row] for row in drawn]
        if min(nucleus_p) < 1:
            kept = _keep_nuclei(torch.softmax(scaled, dim=-1), nucleus_p)
            scaled = scaled.where(kept > 0, -torch.inf)
        noise = torch.stack([_gumbel(logits, seeds[row]) for row in drawn])
        tokens[drawn] = (scaled + noise).argmax(dim=-1)
    return [int(token) for token in tokens.tolist()]


def _gumbel(logits: Tensor, seed: int) -> Tensor:
    generator = torch.Generator(logits.device).manual_seed(seed)
    uniform = torch.rand(logits.shape[-1], generator=generator, device=logits.device)
    return -(-uniform.log()).log()


def _keep_nuclei(probabilities: Tensor, top_ps: Sequence[float]) -> Tensor:
    """Set what lies outside each row's nucleus to 0."""
    likeliest = probabilities.topk(min(_LIKELIEST, probabilities.shape[-1])).values
    reached = likeliest.sum(dim=-1).tolist()
    floors = []
    for row, (top_p, mass) in enumerate(zip(top_ps, reached, strict=True)):
        if top_p >= 1:
            floors.append(probabilities.new_zeros(()))
            continue
        # A little below what was summed, since rounding must not decide.
        enough = mass * (1 - 1e-6) > top_p
        ordered = likeliest[row] if enough else probabilities[row].sort(descending=True).values
        before = ordered.cumsum(dim=-1) - ordered
        floors.append(ordered[(before < top_p).sum().clamp(min=1) - 1])
    return torch.where(probabilities >= torch.stack(floors)[:, None], probabilities, 0)
