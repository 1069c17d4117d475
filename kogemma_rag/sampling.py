"""Logits to token ids, one row a request. Knows no model and no text.

A row's token depends on nothing but the row: not on its neighbours in the batch, and not on torch's
global generator.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# The nucleus of a chat model is small: sorting all of a large vocabulary is seldom needed.
_LIKELIEST = 1024


def choose(
    logits: Tensor,
    temperatures: Sequence[float],
    top_ps: Sequence[float],
    uniforms: Sequence[float],
) -> list[int]:
    """Pick a token id for each row: the likeliest, or one drawn by inverting the distribution.

    Args:
        logits: float32, shape (rows, vocabulary).
        temperatures: One a row; 0 takes the likeliest token.
        top_ps: One a row; a token counts if those likelier than it do not reach this probability.
            Equally likely tokens are kept or left out together.
        uniforms: One a row, in [0, 1): which token is drawn.

    Raises:
        FloatingPointError: If a row has no finite maximum.
    """
    likeliest, tokens = logits.max(dim=-1)
    if not torch.isfinite(likeliest).all():
        raise FloatingPointError(
            "the model's output is not finite; load it with dtype='bfloat16' or 'float32'"
        )
    drawn = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if not drawn:
        return [int(token) for token in tokens.tolist()]

    def column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
        return torch.tensor([[values[row]] for row in drawn], dtype=dtype, device=logits.device)

    # The maximum is taken off first so that a tiny temperature does not overflow.
    scaled = (logits[drawn] - likeliest[drawn, None]) / column(temperatures, torch.float64)
    probabilities = torch.softmax(scaled.float(), dim=-1)
    nucleus_p = [top_ps[row] for row in drawn]
    if min(nucleus_p) < 1:
        probabilities = _keep_nuclei(probabilities, nucleus_p)
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    threshold = column(uniforms, torch.float64) * cumulative[:, -1:]
    ids = torch.searchsorted(cumulative, threshold, right=True)
    # A threshold that rounding has put at the very end belongs to the last token that counts.
    last = cumulative.argmax(dim=-1, keepdim=True)
    tokens[drawn] = torch.minimum(ids, last)[:, 0]
    return [int(token) for token in tokens.tolist()]


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
        before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
        floors.append(ordered[(before < top_p).sum() - 1])
    return torch.where(probabilities >= torch.stack(floors)[:, None], probabilities, 0)
