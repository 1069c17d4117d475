"""Joined weights stay the model's own, and only a plain Gemma is run by its own step."""

import copy

import pytest
import torch
from torch import nn

from kogemma_rag.gemma_step import GemmaStep, is_plain_gemma, joined
from kogemma_rag.kv_cache import KeyValueCache
from kogemma_rag.weights import Int8Linear


def parameter(*rows: list[float]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(rows))


def test_joined_weights_are_parts_of_one_matrix() -> None:
    weights = [parameter([1.0, 2.0]), parameter([3.0, 4.0], [5.0, 6.0])]
    whole = joined(weights)
    assert whole.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    whole[2, 1] = 7.0
    assert weights[1].tolist() == [[3.0, 4.0], [5.0, 7.0]]
    # Joined once, they are not copied again: another engine of the same weights takes no memory.
    assert joined(weights).data_ptr() == whole.data_ptr()
    assert joined(weights[::-1]).tolist() == [[3.0, 4.0], [5.0, 7.0], [1.0, 2.0]]


@torch.inference_mode()
def test_a_first_token_beside_rows_of_no_request(tiny_model) -> None:
    """Before and after its weights are joined the model itself gives the same."""
    model = copy.deepcopy(tiny_model)
    expected = [model(torch.tensor([[token]])).logits[0, -1] for token in (2, 300)]
    step, cache = GemmaStep(model), KeyValueCache(4, 300)
    logits = step(cache, torch.tensor([2, 7, 300]), torch.tensor([0, 300, 0]), 256)
    for row, found in ((0, expected[0]), (2, expected[1])):
        torch.testing.assert_close(logits[row], found, rtol=1e-4, atol=1e-4)
    assert torch.equal(model(torch.tensor([[2]])).logits[0, -1], expected[0])


@pytest.mark.parametrize("change", ["activation", "int8", "class"])
def test_what_is_no_plain_gemma(tiny_model, change) -> None:
    model = copy.deepcopy(tiny_model)
    assert is_plain_gemma(model)
    if change == "activation":
        model.config.hidden_act = "silu"
    elif change == "int8":
        model.model.layers[1].mlp.up_proj = Int8Linear(model.model.layers[1].mlp.up_proj)
    else:
        model = nn.Sequential(model)
    assert not is_plain_gemma(model)
