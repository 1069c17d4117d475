"""Reading of a collection in Milvus: nearest vectors, BM25, documents."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.engines.filter_translation import translated
from kogemma_rag.engines.milvus_filters import MilvusDialect, id_list
from kogemma_rag.engines.words import DECIMALS, Words

_PAGE = 1_000
_MOST = 16_384  # results of one search; Milvus's own bound


class MilvusView:
    """See `TableView`.

    Args:
        client: Of pymilvus.
        collection: None where there is none yet.
    """

    def __init__(self, client: Any, collection: str | None) -> None:
        self._client = client
        self._collection = collection

    def nearest(
        self, vector: NDArray[np.float32], k: int, filter: Mapping[str, Any] | None
    ) -> list[str]:
        """See `TableView.nearest`."""
        return [id_ for id_, _ in self._search("vector", vector.tolist(), k, _expression(filter))]

    def best_by_words(self, words: Words, k: int, filter: Mapping[str, Any] | None) -> list[str]:
        """See `TableView.best_by_words`."""
        which = _expression(filter)
        found = [
            id_
            for name, asked in _fields(words)
            for id_, _ in self._search(f"{name}_sparse", asked, k, which)
        ]
        return list(dict.fromkeys(found))

    def word_scores(self, words: Words, ids: Sequence[str]) -> NDArray[np.float32]:
        """See `TableView.word_scores`."""
        scores = np.zeros((len(ids), 2), np.float32)
        rows = {id_: row for row, id_ in enumerate(ids)}
        which = f"pk in {id_list([key_of(id_) for id_ in ids])}"
        for column, (name, asked) in enumerate(_fields(words)):
            for id_, score in self._search(f"{name}_sparse", asked, len(ids), which):
                # Milvus Lite tells BM25 as a distance, below zero.
                scores[rows[id_], column] = round(abs(score), DECIMALS)
        return scores

    def fetch(self, ids: Sequence[str]) -> dict[str, tuple[Document, NDArray[np.float32]]]:
        """See `TableView.fetch`."""
        fields = ["id", "text", "metadata", "vector"]
        rows: list[Any] = []
        for start in range(0, len(ids), _PAGE):
            keys = [key_of(id_) for id_ in ids[start : start + _PAGE]]
            rows += self._query(f"pk in {id_list(keys)}", fields)
        return {row["id"]: (_document(row), np.array(row["vector"], np.float32)) for row in rows}

    def siblings(self, document: Document) -> list[Document]:
        """See `TableView.siblings`."""
        own = self._query(f"pk in {id_list([key_of(str(document.id))])}", ["path_key"])
        if not own:
            return [document]
        which = f"({_expression({'source': document.metadata['source']})})"
        which += f" and path_key in {id_list([own[0]['path_key']])}"
        return [_document(row) for row in self._query(which, ["id", "text", "metadata"])]

    def _search(self, field: str, asked: Any, k: int, which: str) -> list[tuple[str, float]]:
        if self._collection is None or not asked or not k:
            return []
        [hits] = self._client.search(
            self._collection,
            data=[asked],
            anns_field=field,
            limit=min(k, _MOST),
            filter=which,
            output_fields=["id"],
        )
        return [(hit["entity"]["id"], hit["distance"]) for hit in hits]

    def _query(self, which: str, fields: Sequence[str]) -> list[Any]:
        if self._collection is None:
            return []
        found = self._client.query(self._collection, filter=which, output_fields=list(fields))
        return list(found)


def key_of(text: str) -> str:
    """What an id or a path is called in expressions, where it must not stand itself."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _expression(filter: Mapping[str, Any] | None) -> str:
    return translated(filter, MilvusDialect()) if filter else ""


def _fields(words: Words) -> list[tuple[str, str]]:
    return [("morphemes", _joined(words.morphemes)), ("bigrams", _joined(words.bigrams))]


def _joined(words: Counter[str]) -> str:
    return " ".join(words.elements())


def _document(row: Mapping[str, Any]) -> Document:
    return Document(id=row["id"], page_content=row["text"], metadata=row["metadata"])
