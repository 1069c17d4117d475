"""Texts in, vectors out, by any sentence-transformers model. Knows no unit length and no presets.

Where the time goes: sentence-transformers puts 32 texts of like numbers of characters side by side
and pads them to the longest, which for Korean adds a fifth to the tokens. Here texts are sorted by
tokens, and a forward pass holds no more of them than keep the processor busy.
"""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Quantization = Literal["int8"]

# Tokens in one forward pass, padding included. On a CPU more would leave its caches; a GPU wants
# work for all its cores.
_CPU_TOKENS = 1024
_GPU_TOKENS = 32_768
# The share of a pass that may be padding; for less, a pass of its own is the cheaper.
_PADDING = 1 / 16
# The share of a text that may be padding in 8 bits, whose layers take means over a text's tokens.
_INT8_PADDING = 1 / 16
# Texts that are tokenized together, so that their tokens never take much memory.
_COUNTED_TEXTS = 512
_BLOCK_BYTES = 1 << 20


class TransformerEncoder:
    """A sentence-transformers model, loaded through langchain-huggingface.

    Args:
        name: Hub name or directory.
        device: Device of the model; None takes the best there is.
        revision: Commit, branch or tag of a hub model.
        batch_tokens: Tokens in one forward pass, padding included; a longer text goes alone.
        quantization: "int8" keeps and computes the transformer's linear layers in 8 bits.

    Raises:
        ValueError: If the model cannot be quantized here.
        OSError: If there is no such model.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str | None = None,
        revision: str | None = None,
        batch_tokens: int | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"batch_tokens is {batch_tokens}; it must be 1 or more")
        self._name, self._revision = name, revision
        self._model = _load(name, device, revision)
        self.dimension = self._model.get_embedding_dimension() or 0
        on_cpu = self._model.device.type == "cpu"
        self._batch_tokens = batch_tokens or (_CPU_TOKENS if on_cpu else _GPU_TOKENS)
        self._text_padding = 1.0
        if quantization is not None:
            self._text_padding = _INT8_PADDING
            _quantize(self._model, name, quantization)

    def stored_prompt(self, *names: str) -> str:
        """The first prompt of these names that the model's own configuration holds, else none."""
        prompts: Mapping[str, str | None] = self._model.prompts
        return next((prompt for name in names if (prompt := prompts.get(name))), "")

    def revision(self) -> str:
        """Commit of a hub model, else a hash over the files of the folder."""
        if Path(self._name).is_dir():
            return content_hash(Path(self._name))
        return _cached_commit(self._name, self._revision)

    def encode(
        self, texts: Sequence[str], prompt: str, *, is_query: bool, show_progress: bool
    ) -> NDArray[Any]:
        """Vectors of texts, shape (len(texts), dimension), in their order.

        Warns:
            UserWarning: If texts are longer than the model reads, with their number.
        """
        lengths = self._lengths([prompt + text for text in texts])
        self._warn_of_cut_texts(lengths)
        limit = self._model.max_seq_length
        encode = self._model.encode_query if is_query else self._model.encode_document
        order: list[int] = []
        vectors: list[NDArray[Any]] = []
        with tqdm(total=len(texts), unit="text", disable=not show_progress) as bar:
            for rows in self._batches(np.minimum(lengths, limit or np.inf)):
                batch = [texts[row] for row in rows]
                vectors.append(
                    encode(batch, prompt=prompt, batch_size=len(batch), show_progress_bar=False)
                )
                order += rows.tolist()
                bar.update(len(batch))
        return np.concatenate(vectors)[np.argsort(order)]

    def _batches(self, lengths: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
        """Rows whose texts go through the model together, the longest first."""
        order = np.argsort(-lengths, kind="stable")
        start = 0
        for end in range(1, len(order) + 1):
            if end < len(order):
                longest, shortest = lengths[order[start]], lengths[order[end]]
                tokens = longest * (end + 1 - start)
                padding = tokens - lengths[order[start : end + 1]].sum()
                if (
                    tokens <= self._batch_tokens
                    and padding <= _PADDING * self._batch_tokens
                    and longest - shortest <= self._text_padding * longest
                ):
                    continue
            yield order[start:end]
            start = end

    def _lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of tokens, special ones included, of whole texts."""
        lengths = np.empty(len(texts), dtype=np.int64)
        order = np.argsort([len(text) for text in texts], kind="stable")
        for start in range(0, len(texts), _COUNTED_TEXTS):
            rows = order[start : start + _COUNTED_TEXTS]
            lengths[rows] = self._count([texts[row] for row in rows])
        return lengths

    def _count(self, texts: list[str]) -> list[int]:
        tokenizer = self._model.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not hasattr(backend, "encode_batch"):  # a tokenizer written in Python
            ids = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            return [len(text_ids) for text_ids in ids]
        # Truncation and padding are settings of the tokenizer, which another thread may be
        # encoding with: they are taken as they are, and their effects are undone here.
        return [_whole_length(encoding) for encoding in backend.encode_batch(texts)]

    def _warn_of_cut_texts(self, lengths: NDArray[np.int64]) -> None:
        limit = self._model.max_seq_length
        cut = lengths[lengths > (limit or np.inf)]
        if len(cut):
            warnings.warn(
                f"{self._name} reads {limit} tokens of a text: {len(cut)} of {len(lengths)} "
                f"texts are longer (up to {cut.max()} tokens) and were cut; "
                "use smaller chunks or a model that reads more",
                stacklevel=5,
            )


def _whole_length(encoding: Any) -> int:
    """Tokens of a text that was perhaps cut into pieces, each padded and with special tokens."""
    pieces = [
        np.array((piece.attention_mask, piece.special_tokens_mask))
        for piece in (encoding, *encoding.overflowing)
    ]
    special = int((pieces[0][0] & pieces[0][1]).sum())
    return special + sum(int((mask & ~is_special & 1).sum()) for mask, is_special in pieces)


def _quantize(model: "SentenceTransformer", name: str, quantization: Quantization) -> None:
    import torch
    from transformers import PreTrainedModel

    from kogemma_rag.int8_encoder import quantize_encoder
    from kogemma_rag.weights import check_quantization

    if model.device.type != "cpu":
        raise ValueError(
            f"quantization={quantization!r} of embeddings runs on a CPU, and the model is on "
            f"{model.device}; leave it out or give device='cpu'"
        )
    check_quantization(quantization, torch.device("cpu"), "float32")
    transformers = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    if not transformers:
        raise ValueError(
            f"{name} holds no transformer whose linear layers could be quantized; "
            "leave quantization out"
        )
    for transformer in transformers:
        quantize_encoder(transformer)


def _load(name: str, device: str | None, revision: str | None) -> "SentenceTransformer":
    from huggingface_hub.constants import HF_HUB_CACHE
    from langchain_huggingface import HuggingFaceEmbeddings

    options: dict[str, Any] = {"device": device, "revision": revision}
    try:
        loaded = HuggingFaceEmbeddings(model=name, cache_folder=HF_HUB_CACHE, model_kwargs=options)
    except OSError as error:
        raise OSError(
            f"cannot load the embedding model {name!r}: {error}; give 'embedded', the name of a "
            "preset or of another hub model, or a directory"
        ) from error
    # Its own methods change line breaks to spaces and go through Python lists, and they show
    # neither tokenizer nor limit: so the model underneath is what we call.
    return loaded._client


def _cached_commit(name: str, revision: str | None) -> str:
    from huggingface_hub import try_to_load_from_cache

    for file in ("config.json", "modules.json"):
        path = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent.name
    raise OSError(f"the hub cache no longer holds {name}; load the model again")


def content_hash(folder: Path) -> str:
    """SHA-256 over names and bytes of a model's files, its card and hidden files left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and path.suffix != ".md" and not hidden:
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    return digest.hexdigest()
