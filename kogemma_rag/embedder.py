"""Documents and questions in, unit vectors out, by any LangChain embeddings. Knows no index."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from kogemma_rag.filters import nfc
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.similarity import unit_vectors

# What other embedding classes call the model and what else changes their vectors.
_SETTINGS = (
    *("model", "model_name", "model_id", "repo_id", "deployment"),
    *("dimension", "dimensions", "size", "output_dimensionality"),
)


class Embedder:
    """One embedding model: NFC text by title, heading path and passage, vectors of unit length.

    Args:
        embeddings: Any LangChain embeddings; those that also have `embed_documents_array` and
            `embed_query_array` (as `MultilingualEmbeddings`) spare the way through lists.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells the model from others: its own `fingerprint`, or class and settings."""
        own = getattr(self.embeddings, "fingerprint", None)
        if isinstance(own, Mapping):
            fingerprint: dict[str, Any] = json.loads(json.dumps(dict(own)))
            return fingerprint
        settings = {name: getattr(self.embeddings, name, None) for name in _SETTINGS}
        known = {name: value for name, value in settings.items() if isinstance(value, str | int)}
        return {"class": type(self.embeddings).__name__, **known}

    def passages(
        self, documents: Sequence[Document], *, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """The vectors of documents.

        Args:
            documents: Their `indexed_text` is what is embedded.
            batch_size: How many texts are given to the model at a time; all by default.

        Returns:
            Shape (len(documents), dim), unit length; shape (0, 0) for none.

        Raises:
            ValueError: If the model's vectors cannot be used.
        """
        texts = [indexed_text(document) for document in documents]
        if not texts:
            return np.empty((0, 0), np.float32)
        embed = getattr(self.embeddings, "embed_documents_array", self.embeddings.embed_documents)
        size = batch_size or len(texts)
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        vectors = [unit_vectors(embed(batch), len(batch)) for batch in batches]
        if len({batch.shape[1] for batch in vectors}) > 1:
            raise ValueError("the embedding model gave vectors of different lengths")
        return np.concatenate(vectors)

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector of a question, shape (dim,), unit length.

        Raises:
            ValueError: If the model's vector cannot be used.
        """
        embed = getattr(self.embeddings, "embed_query_array", self.embeddings.embed_query)
        row: NDArray[np.float32] = unit_vectors([embed(nfc(text))], 1)[0]
        return row
