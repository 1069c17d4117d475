"""Loading by device and type; int8 against float32 and against a plain int8 computation."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, GemmaConfig, GemmaForCausalLM

from kogemma_rag import weights
from kogemma_rag.weights import Int8Linear, _int8_scales, load_weights

fbgemm = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="int8 needs an x86 CPU"
)
LAYERS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
LAYERS += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def random_linear(inputs: int, outputs: int, *, bias: bool = False, seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


def random_rows(count: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def relative_error(given: torch.Tensor, expected: torch.Tensor) -> float:
    return float((given - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def small_directory(tmp_path_factory):
    """A Gemma with usual initial weights, wide enough that errors average out as in a large one."""
    config = GemmaConfig(
        vocab_size=2000,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=512,
    )
    folder = tmp_path_factory.mktemp("small-gemma")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GemmaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def float_model(small_directory):
    return load_weights(small_directory, device="cpu")


@pytest.fixture(scope="module")
def int8_model(small_directory):
    return load_weights(small_directory, device="cpu", quantization="int8")


@torch.inference_mode()
def logits_of(model, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids).logits


def random_ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(2000, (rows, length), generator=torch.Generator().manual_seed(2))


def test_loading_from_a_directory(tiny_directory, tiny_model) -> None:
    loaded = load_weights(str(tiny_directory), device="auto", dtype="float32")
    assert not loaded.training
    for name, expected in tiny_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name].cpu(), expected)


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), ("auto", None)])
def test_loading_in_a_dtype(tiny_directory, dtype, expected) -> None:
    # "auto" on the CPU is float32, whatever the machine has besides.
    loaded = load_weights(str(tiny_directory), device="cpu", dtype=dtype)
    assert loaded.dtype == (expected or torch.float32)


def test_a_device_map_without_a_gpu_is_the_cpu(monkeypatch, tiny_directory, tiny_model) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = load_weights(str(tiny_directory), device_map="auto")
    assert {each.device.type for each in loaded.parameters()} == {"cpu"}
    ids = torch.tensor([[2, 5, 300]])
    assert torch.equal(logits_of(loaded, ids), logits_of(tiny_model, ids))


def test_a_device_that_is_not_there_is_refused(monkeypatch, tiny_directory) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device='cuda:0'.*device='cpu'"):
        load_weights(str(tiny_directory), device="cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"device='cuda:2'.*device='cpu'"):
        load_weights(str(tiny_directory), device="cuda:2")
    with pytest.raises(ValueError, match=r"device='gpu'.*device='cuda'"):
        load_weights(str(tiny_directory), device="gpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu", "device_map": "auto"}, "give one of them"),
        ({"device": "cpu", "quantization": "int4"}, "quantization='int8'"),
        ({"device": "cuda", "quantization": "int4", "dtype": "float16"}, "dtype='float16'"),
        ({"device": "meta", "quantization": "int8"}, "not on 'meta'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(monkeypatch, options, message) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=message):
        load_weights("never-read", **options)


def test_int8_without_its_kernels_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch._C, "_supported_qengines", list)
    with pytest.raises(ValueError, match="x86-64"):
        load_weights("never-read", device="cpu", quantization="int8")


@pytest.mark.parametrize(
    ("missing", "options"),
    [
        ("accelerate", {"device_map": "auto"}),
        ("accelerate", {"quantization": "int8"}),
        ("torchao", {"quantization": "int4"}),
    ],
)
def test_a_missing_package_is_named(monkeypatch, missing, options) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(weights, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(ImportError, match=rf"{missing}; pip install 'kogemma-rag\[gpu\]'"):
        load_weights("never-read", **options)


def test_options_of_a_gpu(monkeypatch) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("accelerate")
    seen = {}

    def read(name, **options):
        seen.update(options)
        raise OSError("no file is read")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read)
    with pytest.raises(OSError, match="no file is read"):
        load_weights("never-read", quantization="int4", device_map="auto")
    assert (seen["device_map"], seen["dtype"]) == ("auto", torch.bfloat16)
    assert seen["quantization_config"].quant_type.group_size == 128
    with pytest.raises(OSError, match="no file is read"):
        load_weights("never-read", quantization="int8")
    assert seen["device_map"] == {"": torch.device("cuda")}


def test_int8_of_a_gpu_keeps_the_embedding(small_directory, float_model) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("accelerate")
    # The same path on the CPU: slow there, and right.
    model = AutoModelForCausalLM.from_pretrained(
        small_directory,
        dtype=torch.float32,
        quantization_config=weights._torchao_config("int8"),
        device_map={"": torch.device("cpu")},
    ).eval()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert type(model.model.layers[0].mlp.up_proj.weight).__name__ == "Int8Tensor"
    ids = random_ids(2, 32)
    assert relative_error(logits_of(model, ids), logits_of(float_model, ids)) < 0.02


@fbgemm
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 16), (65, 3), (768, 128), (3072, 96)])
def test_an_int8_layer_is_what_plain_arithmetic_gives(inputs, outputs) -> None:
    linear, rows = random_linear(inputs, outputs, bias=True), random_rows(9, inputs)
    rows[3] *= 1000
    scales = _int8_scales(linear.weight)[:, None]
    integers = (linear.weight / scales).round().double()
    largest = rows.abs().amax(-1, keepdim=True)
    # Halves may round to either side.
    activations = (rows / largest * 127).round().double()
    expected = activations @ integers.T * (largest / 127) * scales.T + linear.bias
    given = Int8Linear(linear)(rows)
    assert torch.allclose(given.double(), expected, rtol=1e-3, atol=2e-3 * float(largest.median()))
    assert relative_error(given, linear(rows)) < 0.02


@fbgemm
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_products_do_not_saturate(sign) -> None:
    linear = random_linear(768, 32)
    linear.weight[:] = sign * (1 + 0.1 * linear.weight)
    rows = torch.ones(2, 768)
    # A kernel that saturates would give half of it.
    assert relative_error(Int8Linear(linear)(rows), linear(rows)) < 0.01


@fbgemm
def test_a_row_does_not_depend_on_its_neighbours() -> None:
    layer, rows = Int8Linear(random_linear(768, 3072)), random_rows(16, 768)
    rows[7] *= 1e4
    rows[8] = 0
    together = layer(rows)
    assert torch.equal(together, torch.cat([layer(row[None]) for row in rows]))
    assert torch.equal(together.view(4, 4, -1), layer(rows.view(4, 4, -1)))
    assert torch.equal(together[8], torch.zeros(3072))


@fbgemm
def test_an_int8_layer_keeps_the_type_of_its_input() -> None:
    layer = Int8Linear(random_linear(64, 32).bfloat16())
    assert layer(random_rows(2, 64).bfloat16()).dtype == torch.bfloat16


@fbgemm
def test_int8_logits_are_close_to_those_of_float32(int8_model, float_model) -> None:
    ids = random_ids(4, 64)
    given, expected = logits_of(int8_model, ids), logits_of(float_model, ids)
    assert relative_error(given, expected) < 0.05
    divergence = functional.kl_div(
        given.log_softmax(-1), expected.log_softmax(-1), log_target=True, reduction="none"
    )
    assert float(divergence.sum(-1).mean()) < 1e-3
    assert float((given.argmax(-1) == expected.argmax(-1)).float().mean()) > 0.95


@fbgemm
def test_greedy_tokens_mostly_agree(int8_model, float_model) -> None:
    prompt = random_ids(4, 16)
    replies = float_model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24
    )
    expected = logits_of(float_model, replies)[:, 15:].argmax(-1)
    assert (
        float((logits_of(int8_model, replies)[:, 15:].argmax(-1) == expected).float().mean()) > 0.9
    )


@fbgemm
def test_int8_holds_a_byte_for_each_weight_and_the_embedding_as_it_is(
    int8_model, float_model
) -> None:
    assert {name for name, _ in int8_model.named_parameters()} == {
        name for name, _ in float_model.named_parameters() if "norm" in name or "embed" in name
    }
    assert int8_model.dtype == torch.float32
    assert torch.equal(int8_model.model.embed_tokens.weight, float_model.lm_head.weight)
    layers = [
        (
            int8_model.model.layers[0].get_submodule(name),
            float_model.model.layers[0].get_submodule(name),
        )
        for name in LAYERS
    ]
    for quantized, linear in [*layers, (int8_model.lm_head, float_model.lm_head)]:
        packed = torch.ops.quantized.linear_unpack(quantized._packed)[0].int_repr()
        assert packed.dtype == torch.int8
        assert packed.shape == linear.weight.shape


@fbgemm
def test_int8_does_not_lose_its_output_layer_when_weights_are_tied_again(small_directory) -> None:
    model = load_weights(small_directory, device="cpu", quantization="int8")
    ids = random_ids(1, 8)
    before = logits_of(model, ids)
    model.tie_weights()
    assert torch.equal(logits_of(model, ids), before)


@fbgemm
def test_int8_of_a_checkpoint_in_bfloat16(small_directory, int8_model, tmp_path) -> None:
    load_weights(small_directory, device="cpu", dtype="bfloat16").save_pretrained(tmp_path)
    model = load_weights(str(tmp_path), device="cpu", quantization="int8")
    assert model.dtype == torch.float32
    ids = random_ids(1, 16)
    assert relative_error(logits_of(model, ids), logits_of(int8_model, ids)) < 0.05


@fbgemm
def test_threads_in_turn(int8_model) -> None:
    ids = random_ids(6, 16)
    alone = [logits_of(int8_model, row[None]) for row in ids]
    with ThreadPoolExecutor(3) as pool:
        for given, expected in zip(
            pool.map(lambda row: logits_of(int8_model, row[None]), ids), alone, strict=True
        ):
            assert torch.equal(given, expected)


@fbgemm
def test_quantizing_is_silent(recwarn) -> None:
    torch.set_warn_always(True)
    try:
        Int8Linear(random_linear(16, 8))
    finally:
        torch.set_warn_always(False)
    assert not recwarn.list
