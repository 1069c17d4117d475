"""Texts in, unit vectors out, with the prompts that each model was trained with.

Adds what langchain-huggingface's embeddings leave to the caller: a model's query and passage
prompts, unit length on both sides, NFC, a warning when a text is cut, and a fingerprint that says
which vectors may stand in one index. Knows no documents and no index.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from kogemma_rag.storage_errors import StorageError
from kogemma_rag.transformer_encoder import Quantization, TransformerEncoder, content_hash

Vectors = NDArray[np.float32]

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "models" / EMBEDDED


class EmbeddingPreset(NamedTuple):
    """What a model's card says about how to use it.

    Attributes:
        query_prompt: Put before a question, character for character.
        passage_prompt: Put before a passage.
        dimension: Length of a vector.
        max_length: Tokens, prompt and special tokens included, after which the model cuts a text.
        licence: Licence of the weights.
    """

    query_prompt: str
    passage_prompt: str
    dimension: int
    max_length: int
    licence: str


_QWEN_TASK = "Given a web search query, retrieve relevant passages that answer the query"
PRESETS: Mapping[str, EmbeddingPreset] = MappingProxyType(
    {
        "intfloat/multilingual-e5-small": EmbeddingPreset("query: ", "passage: ", 384, 512, "MIT"),
        "intfloat/multilingual-e5-base": EmbeddingPreset("query: ", "passage: ", 768, 512, "MIT"),
        "intfloat/multilingual-e5-large": EmbeddingPreset("query: ", "passage: ", 1024, 512, "MIT"),
        "BAAI/bge-m3": EmbeddingPreset("", "", 1024, 8192, "MIT"),
        "nlpai-lab/KURE-v1": EmbeddingPreset("", "", 1024, 8192, "MIT"),
        "nlpai-lab/KoE5": EmbeddingPreset("query: ", "passage: ", 1024, 512, "MIT"),
        "google/embeddinggemma-300m": EmbeddingPreset(
            "task: search result | query: ", "title: none | text: ", 768, 2048, "Gemma"
        ),
        "Qwen/Qwen3-Embedding-0.6B": EmbeddingPreset(
            f"Instruct: {_QWEN_TASK}\nQuery:", "", 1024, 32768, "Apache-2.0"
        ),
        "Snowflake/snowflake-arctic-embed-l-v2.0": EmbeddingPreset(
            "query: ", "", 1024, 8192, "Apache-2.0"
        ),
    }
)


class MultilingualEmbeddings(Embeddings):
    """Embeddings of the embedded model, a preset, or any sentence-transformers model.

    Every vector has unit length, so an inner product is a cosine. A text in which the model knows
    no token, such as an empty one, gets the vector whose components are all equal: unit length,
    the same for all such texts, and near to no text in particular.

    Args:
        model: `embedded` (our own small static model: CPU, no torch, no download), a name of
            `PRESETS`, another hub name, or a directory.
        query_prompt: Put before questions; by default the preset's, else the one stored in the
            model's own configuration, else none.
        passage_prompt: Put before passages; same default.
        device: Device of the model, such as `cuda`; by default the best there is.
        revision: Commit, branch or tag of a hub model.
        batch_tokens: Tokens in one forward pass, padding included; by default 1,024 on a CPU and
            32,768 elsewhere. Texts are sorted by tokens, and a longer one goes alone.
        quantization: "int8" computes the transformer's linear layers in 8 bits on an x86 CPU:
            faster, a quarter of their memory, and vectors that differ a little from those of
            float32 (so they have another fingerprint).
        show_progress: Whether to draw a progress bar while embedding documents.

    Raises:
        ValueError: If the embedded model is given an option that it does not have, a preset's
            model has another dimension than its card says, or a model cannot be quantized.
        OSError: If there is no such model.
    """

    def __init__(
        self,
        model: str | Path = EMBEDDED,
        *,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        device: str | None = None,
        revision: str | None = None,
        batch_tokens: int | None = None,
        quantization: Quantization | None = None,
        show_progress: bool = False,
    ) -> None:
        self.model = str(model)
        self.quantization = quantization
        self.show_progress = show_progress
        self._encoder: _Encoder
        if self.model == EMBEDDED:
            options = (query_prompt, passage_prompt, device, revision, batch_tokens, quantization)
            if any(option is not None for option in options):
                raise ValueError(
                    "the embedded model has no prompts, device, revision, batch_tokens or "
                    "quantization to choose; leave these options out or name another model "
                    f"({', '.join(PRESETS)})"
                )
            self._encoder = _StaticEncoder(EMBEDDED_FOLDER)
            self.query_prompt = self.passage_prompt = ""
        else:
            encoder = TransformerEncoder(
                self.model,
                device=device,
                revision=revision,
                batch_tokens=batch_tokens,
                quantization=quantization,
            )
            own_query, own_passage = _prompts(self.model, encoder)
            self.query_prompt = own_query if query_prompt is None else query_prompt
            self.passage_prompt = own_passage if passage_prompt is None else passage_prompt
            self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of passages, in the order of the texts."""
        vectors: list[list[float]] = self.embed_documents_array(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Vector of a question."""
        vector: list[float] = self.embed_query_array(text).tolist()
        return vector

    def embed_documents_array(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages as float32 of shape (n, dimension), unit length.

        Warns:
            UserWarning: If passages are longer than the model reads, with their number.

        Raises:
            TypeError: If given one string instead of several.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one string; pass a list of strings, or use embed_query")
        return self._embed(texts, is_query=False, show_progress=self.show_progress)

    def embed_query_array(self, text: str) -> Vectors:
        """Vector of a question as float32 of shape (dimension,), unit length."""
        return self._embed([text], is_query=True, show_progress=False).reshape(-1)

    @cached_property
    def fingerprint(self) -> dict[str, str | int | bool]:
        """What vectors must have in common to be compared: equal fingerprints, equal vectors.

        `revision` is the commit of a hub model, else a hash over the files of the model's folder
        (read once, about a second a gigabyte). `quantization` is there only when it is in use.
        """
        quantized = {} if self.quantization is None else {"quantization": self.quantization}
        return {
            "name": self.model,
            "revision": self._encoder.revision(),
            "dimension": self._encoder.dimension,
            "query_prompt": self.query_prompt,
            "passage_prompt": self.passage_prompt,
            "normalized": True,
            **quantized,
        }

    def _embed(self, texts: Sequence[str], *, is_query: bool, show_progress: bool) -> Vectors:
        if not texts:
            return np.empty((0, self._encoder.dimension), dtype=np.float32)
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        vectors = self._encoder.encode(
            composed,
            self.query_prompt if is_query else self.passage_prompt,
            is_query=is_query,
            show_progress=show_progress,
        )
        return _unit_length(vectors, self.model)


def recorded_embeddings(fingerprint: Mapping[str, Any] | None) -> MultilingualEmbeddings:
    """The model of a fingerprint; for none, the embedded one.

    Raises:
        StorageError: If it cannot be made from what is recorded.
    """
    if fingerprint is None:
        return MultilingualEmbeddings()
    if "name" not in fingerprint:
        raise StorageError(
            f"the index was made with the embedding model {dict(fingerprint)}, which cannot be "
            "made from its name; give it when opening the index: embeddings=..."
        )
    return MultilingualEmbeddings(fingerprint["name"], quantization=fingerprint.get("quantization"))


class _Encoder(Protocol):
    dimension: int

    def revision(self) -> str: ...
    def encode(
        self, texts: list[str], prompt: str, *, is_query: bool, show_progress: bool
    ) -> NDArray[Any]: ...


class _StaticEncoder:
    """A model2vec model: the mean of its tokens' vectors. Reads a text to its end."""

    def __init__(self, folder: Path) -> None:
        from model2vec import StaticModel
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._folder = folder
        # Not `from_pretrained`: it imports the hub's client, a third of a second of each command.
        tensors = load_file(folder / "model.safetensors")
        self._model = StaticModel(
            tensors["embeddings"],
            Tokenizer.from_file(str(folder / "tokenizer.json")),
            normalize=True,
            weights=tensors["weights"],
        )
        self.dimension = self._model.dim
        # encode() sets the tokenizer's truncation on each call; tokenizers before 0.23 answers
        # "Already borrowed" when another thread is encoding, so threads take turns.
        self._lock = Lock()

    def revision(self) -> str:
        return content_hash(self._folder)

    def encode(
        self, texts: list[str], prompt: str, *, is_query: bool, show_progress: bool
    ) -> NDArray[Any]:
        """Vectors of texts; there are no prompts."""
        with self._lock:
            return self._model.encode(
                texts,
                max_length=None,
                show_progress_bar=show_progress,
                use_multiprocessing=False,
            )


def _prompts(name: str, encoder: TransformerEncoder) -> tuple[str, str]:
    """A model's own prompts for questions and passages: of its card, else of its configuration."""
    preset = PRESETS.get(name)
    if preset is None:
        passage = encoder.stored_prompt("document", "passage", "corpus")
        return encoder.stored_prompt("query"), passage
    if encoder.dimension != preset.dimension:
        raise ValueError(
            f"{name} gives vectors of {encoder.dimension} numbers, its card says "
            f"{preset.dimension}; remove the damaged download or name a revision"
        )
    return preset.query_prompt, preset.passage_prompt


def _unit_length(vectors: NDArray[Any], model: str) -> Vectors:
    vectors = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        bad = np.flatnonzero(~np.isfinite(norms[:, 0])).tolist()
        raise ValueError(
            f"{model} gave a vector that is not finite for the texts at {bad[:10]}; "
            "load it in a wider type or on another device"
        )
    blank = np.float32(1 / np.sqrt(vectors.shape[1]))
    return np.where(norms > 0, vectors / np.where(norms > 0, norms, 1), blank)
