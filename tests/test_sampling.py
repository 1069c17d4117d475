"""Sampling against transformers' warpers and plain frequencies."""

import random

import pytest
import torch
from transformers.generation.logits_process import TopPLogitsWarper

from kogemma_rag.sampling import _keep_nuclei, choose

LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.5, -3.0, 0.0])


def draw(logits: torch.Tensor, temperature: float, top_p: float, seed: int) -> int:
    (token,) = choose(logits[None].clone(), [temperature], [top_p], [seed])
    return token


def frequencies(logits: torch.Tensor, temperature: float, top_p: float, draws: int):
    rows = logits.expand(draws, -1).clone()
    tokens = choose(rows, [temperature] * draws, [top_p] * draws, list(range(draws)))
    return torch.bincount(torch.tensor(tokens), minlength=len(logits)) / draws


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_p", [0.05, 0.6, 0.9, 1.0])
def test_sampling_follows_the_warped_distribution(temperature, top_p) -> None:
    warped = TopPLogitsWarper(top_p)(None, (LOGITS / temperature)[None])[0]
    expected = torch.softmax(warped, dim=-1)
    found = frequencies(LOGITS, temperature, top_p, 3000)
    # Four standard deviations of a binomial count.
    assert ((found - expected).abs() <= 4 * (expected * (1 - expected) / 3000).sqrt()).all()


def test_a_large_vocabulary_with_a_wide_nucleus() -> None:
    """More tokens count than are sorted at first."""
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    warped = TopPLogitsWarper(0.9)(None, logits[None])[0]
    kept = torch.isfinite(warped)
    assert 1024 < kept.sum() < 4000
    tokens = {draw(logits, 1.0, 0.9, seed) for seed in range(600)}
    assert all(kept[token] for token in tokens)
    assert len(tokens) > 300
    assert torch.equal(_keep_nuclei(torch.softmax(logits[None], -1), [0.9])[0] > 0, kept)


def test_equally_likely_tokens_are_kept_together() -> None:
    logits = torch.tensor([1.0, 3.0, 1.0, 1.0])
    # The likeliest has 0.71; any of the others would do for 0.75, so all of them count.
    assert {draw(logits, 1.0, 0.75, seed) for seed in range(80)} == {0, 1, 2, 3}
    assert {draw(logits, 1.0, 0.7, seed) for seed in range(80)} == {1}


def test_tiny_and_zero_temperatures_take_the_likeliest() -> None:
    for temperature in (0.0, 1e-40, 1e-3):
        assert {draw(LOGITS, temperature, 1.0, seed) for seed in range(50)} == {0}


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.full((256_000,), float("-inf"))
    logits[:1000] = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for top_p in (1.0, 0.999999):
        assert all(draw(logits, 1.0, top_p, seed) < 1000 for seed in range(20))


def test_rounding_hardly_ever_turns_a_draw() -> None:
    """As logits differ in their last bits beside other rows."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn((400, 20_000), generator=generator)
    other = logits + 1e-6 * torch.randn((400, 20_000), generator=generator)
    options = [1.0] * 400, [1.0] * 400, list(range(400))
    assert choose(logits, *options) == choose(other, *options)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn((24, 3000), generator=generator) * 3
    noise = random.Random(0)
    temperatures = [noise.choice([0.0, 0.5, 1.0, 1.7]) for _ in range(24)]
    top_ps = [noise.choice([1.0, 0.5, 0.9, 0.999]) for _ in range(24)]
    seeds = [noise.getrandbits(63) for _ in range(24)]
    together = choose(logits.clone(), temperatures, top_ps, seeds)
    alone = [draw(*row) for row in zip(logits, temperatures, top_ps, seeds, strict=True)]
    assert together == alone
    assert len(set(together)) > 12


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_output_that_is_not_finite_is_refused(value) -> None:
    logits = LOGITS.clone()
    logits[:] = value
    with pytest.raises(FloatingPointError, match="not finite"):
        draw(logits, 0.0, 1.0, 5)
