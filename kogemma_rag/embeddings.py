"""Texts in, unit vectors out, with the prompts that each model was trained with.

Adds what langchain-huggingface's embeddings leave to the caller: a model's query and passage
prompts, unit length on both sides, NFC, a warning when a text is cut, and a fingerprint that says
which vectors may stand in one index. Knows no documents and no index.
"""

import hashlib
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

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


_BLOCK_BYTES = 1 << 20
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
        batch_size: Texts in one forward pass.
        show_progress: Whether to draw a progress bar while embedding documents.

    Raises:
        ValueError: If the embedded model is given an option that it does not have, or a preset's
            model has another dimension than its card says.
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
        batch_size: int = 32,
        show_progress: bool = False,
    ) -> None:
        self.model = str(model)
        self.show_progress = show_progress
        self._encoder: _Encoder
        if self.model == EMBEDDED:
            options = (query_prompt, passage_prompt, device, revision)
            if any(option is not None for option in options):
                raise ValueError(
                    "the embedded model has no prompts, device or revision to choose; "
                    f"leave these options out or name another model ({', '.join(PRESETS)})"
                )
            self._encoder = _StaticEncoder(EMBEDDED_FOLDER)
        else:
            self._encoder = _TransformerEncoder(
                self.model, query_prompt, passage_prompt, device, revision, batch_size
            )

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
        (read once, about a second a gigabyte).
        """
        encoder = self._encoder
        return {
            "name": self.model,
            "revision": encoder.revision(),
            "dimension": encoder.dimension,
            "query_prompt": encoder.query_prompt,
            "passage_prompt": encoder.passage_prompt,
            "normalized": True,
        }

    def _embed(self, texts: Sequence[str], *, is_query: bool, show_progress: bool) -> Vectors:
        if not texts:
            return np.empty((0, self._encoder.dimension), dtype=np.float32)
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        return _unit_length(self._encoder.encode(composed, is_query, show_progress), self.model)


class _Encoder(Protocol):
    dimension: int
    query_prompt: str
    passage_prompt: str

    def revision(self) -> str: ...
    def encode(self, texts: list[str], is_query: bool, show_progress: bool) -> Vectors: ...


class _StaticEncoder:
    """A model2vec model: the mean of its tokens' vectors. Reads a text to its end."""

    query_prompt = ""
    passage_prompt = ""

    def __init__(self, folder: Path) -> None:
        from model2vec import StaticModel

        self._folder = folder
        self._model = StaticModel.from_pretrained(folder)
        self.dimension = self._model.dim
        # encode() sets the tokenizer's truncation on each call; tokenizers before 0.23 answers
        # "Already borrowed" when another thread is encoding, so threads take turns.
        self._lock = Lock()

    def revision(self) -> str:
        return _content_hash(self._folder)

    def encode(self, texts: list[str], is_query: bool, show_progress: bool) -> Vectors:
        with self._lock:
            return self._model.encode(
                texts, show_progress_bar=show_progress, use_multiprocessing=False
            )


class _TransformerEncoder:
    """A sentence-transformers model, loaded through langchain-huggingface."""

    def __init__(
        self,
        name: str,
        query_prompt: str | None,
        passage_prompt: str | None,
        device: str | None,
        revision: str | None,
        batch_size: int,
    ) -> None:
        self._name, self._revision, self._batch_size = name, revision, batch_size
        self._model = _load(name, device, revision)
        self.dimension = self._model.get_embedding_dimension() or 0
        prompts = self._model.prompts
        preset = PRESETS.get(name)
        if preset is not None and self.dimension != preset.dimension:
            raise ValueError(
                f"{name} gives vectors of {self.dimension} numbers, its card says "
                f"{preset.dimension}; remove the damaged download or name a revision"
            )
        own_query, own_passage = (
            (_stored(prompts, "query"), _stored(prompts, "document", "passage", "corpus"))
            if preset is None
            else (preset.query_prompt, preset.passage_prompt)
        )
        self.query_prompt = own_query if query_prompt is None else query_prompt
        self.passage_prompt = own_passage if passage_prompt is None else passage_prompt

    def revision(self) -> str:
        if Path(self._name).is_dir():
            return _content_hash(Path(self._name))
        return _cached_commit(self._name, self._revision)

    def encode(self, texts: list[str], is_query: bool, show_progress: bool) -> Vectors:
        prompt = self.query_prompt if is_query else self.passage_prompt
        self._warn_of_cut_texts(texts, prompt)
        # Both sort by length on their own, and restore the order.
        encode = self._model.encode_query if is_query else self._model.encode_document
        return encode(
            texts, prompt=prompt, batch_size=self._batch_size, show_progress_bar=show_progress
        )

    def _warn_of_cut_texts(self, texts: list[str], prompt: str) -> None:
        limit = self._model.max_seq_length
        if limit is None or limit == float("inf"):
            return
        # A character is four tokens at most (its bytes), and few are: most texts need no look.
        candidates = [prompt + text for text in texts if 4 * len(prompt + text) + 8 > limit]
        if not candidates:
            return
        ids = self._model.tokenizer(candidates, truncation=False, verbose=False)["input_ids"]
        lengths = [len(text_ids) for text_ids in ids if len(text_ids) > limit]
        if lengths:
            warnings.warn(
                f"{self._name} reads {limit} tokens of a text: {len(lengths)} of {len(texts)} "
                f"texts are longer (up to {max(lengths)} tokens) and were cut; "
                "use smaller chunks or a model that reads more",
                stacklevel=5,
            )


def _load(name: str, device: str | None, revision: str | None) -> "SentenceTransformer":
    from huggingface_hub.constants import HF_HUB_CACHE
    from langchain_huggingface import HuggingFaceEmbeddings

    options: dict[str, Any] = {"device": device, "revision": revision}
    try:
        loaded = HuggingFaceEmbeddings(model=name, cache_folder=HF_HUB_CACHE, model_kwargs=options)
    except OSError as error:
        raise OSError(
            f"cannot load the embedding model {name!r}: {error}; give 'embedded', a hub name "
            f"({', '.join(PRESETS)}, or another) or a directory"
        ) from error
    # Its own methods change line breaks to spaces and go through Python lists, and they show
    # neither tokenizer nor limit: so the model underneath is what we call.
    return loaded._client


def _stored(prompts: Mapping[str, str | None], *names: str) -> str:
    """The first prompt of these names that a model's configuration holds, else none."""
    return next((prompt for name in names if (prompt := prompts.get(name))), "")


def _cached_commit(name: str, revision: str | None) -> str:
    from huggingface_hub import try_to_load_from_cache

    for file in ("config.json", "modules.json"):
        path = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent.name
    raise OSError(f"the hub cache no longer holds {name}; load the model again")


def _content_hash(folder: Path) -> str:
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
