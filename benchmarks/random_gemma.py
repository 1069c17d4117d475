"""Gemmas of random weights at given shapes, and RAG prompts for them: speed needs no sense."""

import random
import sys
from pathlib import Path

import torch
from transformers import GemmaConfig, GemmaForCausalLM, GemmaTokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tiny_gemma

# layers, hidden, intermediate, heads, key heads, head size, vocabulary
SHAPES = {
    "toy": (2, 128, 256, 2, 1, 64, 1000),
    "100m": (9, 768, 3072, 6, 1, 128, 32_000),
    "2b": (18, 2048, 16_384, 8, 1, 256, 256_000),
    "7b": (28, 3072, 24_576, 16, 16, 256, 256_000),
}


def build(shape: str, *, device: str = "cpu", dtype: str = "float32") -> GemmaForCausalLM:
    """Make a model on the device itself; the same weights at every call."""
    layers, hidden, intermediate, heads, key_heads, head_size, vocabulary = SHAPES[shape]
    config = GemmaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=head_size,
        max_position_embeddings=8192,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    torch.manual_seed(0)
    try:
        with torch.device(device):
            return GemmaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def tokenizer() -> GemmaTokenizer:
    """Give the byte-fallback tokenizer with Gemma's layout and template."""
    return tiny_gemma.build_tokenizer()


def rag_prompts(count: int, seed: int, *, tokens: int = 500, shared: int = 300) -> list[str]:
    """Make prompts of about `tokens` tokens whose first `shared` or so are the same.

    Another seed gives others, which share nothing with these.
    """
    choose = random.Random(seed)  # noqa: S311 - prompts, not secrets

    def text(length: int) -> str:
        return "".join(choose.choice(tiny_gemma._HANGUL) for _ in range(length))

    prefix = text(shared - 5)  # <bos>, turn tokens and the role are shared, too
    return [prefix + text(tokens - shared - 3) for _ in range(count)]
