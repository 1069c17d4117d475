"""A hub name or a directory to a causal language model that fits the machine.

Knows devices, number types and quantization. Knows no tokens and no text.

On a GPU quantized weights are torchao's. On a CPU torchao and bitsandbytes are slower than float32
(benchmarks/quantization.py), so there the FBGEMM kernels that come with torch do the work.
"""

import warnings
from importlib.util import find_spec
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

DType = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["int8", "int4"]

_INT8_MAX = 127
# Unsigned 8-bit activations are stored with this zero point.
_ZERO_POINT = 128
# Rows of a weight that are looked at together, so that an output layer needs no second copy.
_ROWS = 8192
# Weights that share a scale in int4.
_GROUP = 128


def load_weights(
    name: str,
    *,
    device: str = "auto",
    dtype: DType = "auto",
    device_map: Literal["auto"] | None = None,
    quantization: Quantization | None = None,
    **hub: Any,
) -> PreTrainedModel:
    """Load a model in evaluation mode; safetensors only, nothing is unpickled.

    Args:
        name: Hub name or directory.
        device: A torch device, or "auto": CUDA where there is one, else the CPU.
        dtype: What is computed in; "auto" is bfloat16 on CUDA and float32 elsewhere.
        device_map: "auto" spreads the layers over all GPUs, and what does not fit over the CPU.
        quantization: "int8" keeps the linear layers in 8 bits, on CUDA or the CPU; "int4" in 4
            bits, on CUDA from compute capability 8.0. Embeddings stay as they are.
        **hub: Passed to `from_pretrained`: the access token, or that the cache must do.

    Raises:
        OSError: If the weights cannot be found or read.
        ValueError: If the machine does not have the device, the options do not go together, or
            the model is of no known kind.
        ImportError: If accelerate or torchao is needed and not installed.
    """
    if device_map and device != "auto":
        raise ValueError(f"device={device!r} and device_map={device_map!r}; give one of them")
    place = _find_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    check_quantization(quantization, place, dtype)
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "use_safetensors": True, **hub}
    spread = place.type == "cuda" and bool(device_map or quantization)
    if spread:
        options |= _spread(place, device_map, quantization)
    elif quantization:
        # In the checkpoint's own type, so that memory never holds more than its size.
        options["dtype"] = "auto"
    model: Any = AutoModelForCausalLM.from_pretrained(name, **options)
    if quantization and not spread:
        quantize_to_int8(model)
    if not spread:
        model = model.to(place, getattr(torch, dtype))
    return cast(PreTrainedModel, model.eval())


def _find_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no torch device; give device='cuda' or device='cpu'"
        ) from error
    if place.type in ("cuda", "mps"):
        backend = torch.get_device_module(place)
        if not backend.is_available() or (place.index or 0) >= backend.device_count():
            raise ValueError(f"device={device!r}, but torch sees no such device; give device='cpu'")
    return place


def check_quantization(
    quantization: Quantization | None, place: torch.device, dtype: DType
) -> None:
    """Refuse what this machine, a device or a number type cannot do.

    Raises:
        ValueError: If so, with what to give instead.
    """
    if quantization is None:
        return
    if place.type not in ("cuda", "cpu"):
        raise ValueError(
            f"quantization={quantization!r} runs on CUDA and on a CPU, not on {place.type!r}; "
            "leave it out or give device='cpu'"
        )
    if quantization == "int4" and place.type == "cpu":
        raise ValueError(
            "quantization='int4' runs on CUDA only, since no CPU kernel is as fast as float32; "
            "give quantization='int8'"
        )
    if quantization == "int4" and dtype != "bfloat16":
        raise ValueError(
            f"quantization='int4' computes in bfloat16, not in dtype={dtype!r}; leave dtype out"
        )
    if place.type == "cpu" and "fbgemm" not in torch.backends.quantized.supported_engines:
        raise ValueError(
            "quantization='int8' on a CPU needs torch for x86-64, with FBGEMM; leave it out"
        )


def _spread(
    place: torch.device, device_map: str | None, quantization: Quantization | None
) -> dict[str, Any]:
    """Options of `from_pretrained` for weights that are placed, or quantized, as they are read."""
    _require("accelerate", "device_map and quantization on a GPU")
    options: dict[str, Any] = {"device_map": device_map or {"": place}}
    if quantization:
        options["quantization_config"] = _torchao_config(quantization)
    return options


def _torchao_config(quantization: Quantization) -> Any:
    _require("torchao", "quantization on a GPU")
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    if quantization == "int8":
        return TorchAoConfig(Int8WeightOnlyConfig(set_inductor_config=False))
    return TorchAoConfig(
        Int4WeightOnlyConfig(
            group_size=_GROUP,
            int4_packing_format="tile_packed_to_4d",
            int4_choose_qparams_algorithm="hqq",
            set_inductor_config=False,
        )
    )


def _require(package: str, purpose: str) -> None:
    if find_spec(package) is None:
        raise ImportError(f"{purpose} needs the package {package}; pip install 'kogemma-rag[gpu]'")


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and activations, on an x86 CPU.

    Weights have a scale for each output channel, activations one for each row. Sums are exact
    integers, so a row's result does not depend on the rows beside it.

    Args:
        linear: The layer to copy; it may hold any floating type.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed, _ = pack_int8(linear.weight.detach())

    def forward(self, hidden: Tensor) -> Tensor:
        """Multiply; float in and out, shape (..., in_features) to (..., out_features)."""
        x = hidden.float()
        # Four times as fast as vector_norm(x, inf).
        largest = x.abs().amax(-1, keepdim=True)
        largest.clamp_min_(torch.finfo(torch.float32).tiny)
        multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default
        product: Tensor = multiply(x / largest, 1 / _INT8_MAX, _ZERO_POINT, self._packed)
        if self.bias is None:
            return product.mul_(largest).to(hidden.dtype)
        return torch.addcmul(self.bias, product, largest).to(hidden.dtype)

    def __deepcopy__(self, memo: object) -> "Int8Linear":
        """Give itself, since nothing of it ever changes: copies of a model share its weights."""
        return self

    def extra_repr(self) -> str:
        """Name the sizes, as `nn.Linear` does."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def pack_int8(weight: Tensor) -> tuple[Any, Tensor]:
    """Give a weight in int8, packed for FBGEMM's kernels, and what it has become (qint8)."""
    starts = range(0, len(weight), _ROWS)
    scales = torch.cat([_int8_scales(weight[row : row + _ROWS]) for row in starts])
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with warnings.catch_warnings():
        # Tensors of the type qint8 are deprecated, but the kernels take no others.
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        quantized = torch.quantize_per_channel(weight.float(), scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(quantized, None), quantized


def _int8_scales(weight: Tensor) -> Tensor:
    """Give a scale for each row, float32, so that no sum inside the kernel saturates.

    Without VNNI the kernel adds two products of neighbours in 16 bits: 255 * (w + w') must stay
    below 2**15. Bounding the sums of neighbours rather than each weight by half costs less.
    """
    pairs = functional.pad(weight.float(), (0, weight.shape[1] % 2)).view(len(weight), -1, 2)
    above = pairs.clamp_min(0).sum(-1).amax(-1)
    below = pairs.clamp_max(0).sum(-1).amin(-1)
    return torch.maximum(above, -below).clamp_min(torch.finfo(torch.float32).tiny) / _INT8_MAX


def quantize_to_int8(model: PreTrainedModel) -> None:
    """Replace all linear layers by int8 ones, in place, on an x86 CPU.

    An output layer tied to the embedding gets int8 weights of its own; the embedding stays.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            model.set_submodule(name, Int8Linear(module))
