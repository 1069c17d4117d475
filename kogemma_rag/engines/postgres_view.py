"""Reading of a collection in PostgreSQL: nearest vectors, BM25, documents, in one transaction."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from kogemma_rag.engines.filter_translation import translated
from kogemma_rag.engines.postgres_filters import (
    PostgresDialect,
    Sql,
    storable,
    storable_ids,
    stored,
)
from kogemma_rag.engines.words import BIGRAM_WEIGHT, DECIMALS, K1, B, Words

if TYPE_CHECKING:
    import psycopg

# A search for candidates scores about so many chunks, those with the rarest words first.
_POSTINGS = 5_000
# Of HNSW: how many are looked at for each that is wanted, and at most (pgvector's own bound).
_LOOKED_AT = 4
_MOST_LOOKED_AT = 1_000


class PostgresView:
    """See `TableView`.

    Args:
        connection: In a transaction, which is that of this view.
        names: Of the tables.
        totals: How many chunks, morphemes and bigrams there are.
        approximate: Whether there is an HNSW index.
    """

    def __init__(
        self,
        connection: "psycopg.Connection[Any]",
        names: Mapping[str, str],
        totals: Mapping[str, int],
        *,
        approximate: bool,
    ) -> None:
        self._connection = connection
        self._names = names
        self._totals = totals
        self._approximate = approximate

    def nearest(
        self, vector: NDArray[np.float32], k: int, filter: Mapping[str, Any] | None
    ) -> list[str]:
        """See `TableView.nearest`."""
        condition, parameters = _condition(filter)
        if not self._totals["chunks"]:
            return []
        if self._approximate and not filter:
            order = "embedding <=> %s::vector"
            looked_at = str(min(_LOOKED_AT * k, _MOST_LOOKED_AT))
            self._connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", [looked_at])
        else:
            # The sum keeps the graph out: it is searched first and filtered then, for fewer than k.
            order = "(embedding <=> %s::vector) + 0.0, langchain_id"
        sql = f"SELECT langchain_id FROM {{chunks}} WHERE {condition} ORDER BY {order} LIMIT %s"  # noqa: S608 - ours
        rows = self._rows(sql, [*parameters, vector_text(vector), k])
        return [stored(id_) for (id_,) in rows]

    def best_by_words(self, words: Words, k: int, filter: Mapping[str, Any] | None) -> list[str]:
        """See `TableView.best_by_words`; k of both kinds of words together."""
        condition, parameters = _condition(filter)
        weights, chunks = self._weights(words)
        weights = {
            term: weight * (BIGRAM_WEIGHT if term[0] == "b" else 1.0)
            for term, weight in weights.items()
        }
        rarest = sorted(weights, key=lambda term: (chunks[term], term))
        within = np.searchsorted(np.cumsum([chunks[term] for term in rarest]), _POSTINGS, "right")
        used = rarest[: max(1, int(within))]
        while used:
            found = self._best(used, weights, k, (condition, parameters))
            if len(found) == k or len(used) == len(rarest):
                return found
            used = rarest
        return []

    def word_scores(self, words: Words, ids: Sequence[str]) -> NDArray[np.float32]:
        """See `TableView.word_scores`."""
        scores = np.zeros((len(ids), 2), np.float32)
        weights, _ = self._weights(words)
        rows = {storable(id_): row for row, id_ in enumerate(ids)}
        for column, kind in enumerate("mb"):
            terms = [term for term in weights if term[0] == kind]
            if terms:
                which = "langchain_id = ANY(%s)", [list(rows)]
                for id_, score in self._rows(*self._scored(terms, weights, which)):
                    scores[rows[id_], column] = round(score, DECIMALS)
        return scores

    def fetch(self, ids: Sequence[str]) -> dict[str, tuple[Document, NDArray[np.float32]]]:
        """See `TableView.fetch`."""
        if not ids or not self._totals["chunks"]:
            return {}
        rows = self._rows(
            "SELECT langchain_id, content, langchain_metadata, embedding::text FROM {chunks} "
            "WHERE langchain_id = ANY(%s)",
            [storable_ids(ids)],
        )
        return {
            document.id or "": (document, np.fromstring(vector[1:-1], np.float32, sep=","))
            for *columns, vector in rows
            for document in [_document(*columns)]
        }

    def siblings(self, document: Document) -> list[Document]:
        """See `TableView.siblings`."""
        condition, parameters = _condition({"source": document.metadata["source"]})
        columns = "langchain_id, content, langchain_metadata"
        own = "SELECT path FROM {chunks} WHERE langchain_id = %s"
        which = f"path IS NOT DISTINCT FROM ({own}) AND {condition}"
        sql = f"SELECT {columns} FROM {{chunks}} WHERE {which}"  # noqa: S608 - ours
        rows = self._rows(sql, [storable(str(document.id)), *parameters])
        return [_document(*row) for row in rows]

    def _best(
        self, terms: Sequence[str], weights: Mapping[str, float], k: int, condition: Sql
    ) -> list[str]:
        which = f"words ?| %s AND ({condition[0]})", [list(terms), *condition[1]]
        sql, parameters = self._scored(terms, weights, which)
        order = "ORDER BY round(score::numeric, %s) DESC, langchain_id LIMIT %s"
        rows = self._rows(f"{sql} {order}", [*parameters, DECIMALS, k])
        return [stored(id_) for id_, _ in rows]

    def _scored(self, terms: Sequence[str], weights: Mapping[str, float], which: Sql) -> Sql:
        """A query for ids and scores of some chunks.

        A chunk's words are unpacked once, by the concatenation; each `->>` would do it anew.
        """
        counts = ", ".join(f"(words ->> %s)::float8 AS c{i}" for i in range(len(terms)))
        parts = (f"coalesce(%s * c{i} / (c{i} + {term[0]}), 0)" for i, term in enumerate(terms))
        sql = (
            f"SELECT langchain_id, score FROM (SELECT langchain_id, {' + '.join(parts)} AS score "  # noqa: S608 - ours
            f"FROM (SELECT langchain_id, m, b, {counts} "
            "FROM (SELECT langchain_id, words || '{{}}' AS words, "
            f"{K1} * ({1 - B} + {B} * morpheme_count / %s::float8) AS m, "
            f"{K1} * ({1 - B} + {B} * bigram_count / %s::float8) AS b "
            f"FROM {{chunks}} WHERE {which[0]} OFFSET 0) AS unpacked OFFSET 0) "
            "AS counted) AS scored"
        )
        averages = [
            max(self._totals[name] / max(self._totals["chunks"], 1), 1e-9)
            for name in ("morphemes", "bigrams")
        ]
        weighed = [weights[term] * (K1 + 1) for term in terms]
        return sql, [*weighed, *terms, *averages, *which[1]]

    def _weights(self, words: Words) -> tuple[dict[str, float], dict[str, int]]:
        """What each term of a query weighs, and how many chunks have it; without unknown ones."""
        total, asked = self._totals["chunks"], words.terms
        if not total or not asked:
            return {}, {}
        sql = "SELECT term, chunks FROM {terms} WHERE term = ANY(%s) AND chunks > 0"
        chunks = {term: int(count) for term, count in self._rows(sql, [list(asked)])}
        weights = {
            term: asked[term] * math.log(1 + (total - count + 0.5) / (count + 0.5))
            for term, count in chunks.items()
        }
        return weights, chunks

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        from psycopg.sql import SQL, Identifier

        names = {name: Identifier(value) for name, value in self._names.items()}
        return self._connection.execute(SQL(sql).format(**names), parameters).fetchall()


def vector_text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it, every bit of it."""
    return str(vector.tolist())


def _condition(filter: Mapping[str, Any] | None) -> Sql:
    """The filter as SQL in which braces stand for themselves."""
    if not filter:
        return "TRUE", []
    condition, parameters = translated(filter, PostgresDialect())
    return condition.replace("{", "{{").replace("}", "}}"), parameters


def _document(id_: str, content: str, metadata: dict[str, Any]) -> Document:
    return Document(id=stored(id_), page_content=stored(content), metadata=metadata)
