"""Queries in, documents out: vectors, morphemes and bigrams score the same candidates, fused.

Knows no files, no index and no chains: candidates come from any `CandidateSource`.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from kogemma_rag.fusion import (
    confidence_sum,
    reciprocal_rank_sum,
    standardized_sum,
    word_coverage,
)
from kogemma_rag.neighbours import Context, joined, with_duplicates
from kogemma_rag.passage_text import indexed_text

_LOOKED_AT = 24  # of the best candidates, whose texts are compared: with the question, each other


class Candidates(Protocol):
    """What an index found for one query, all of one state of it."""

    scores: NDArray[np.float32]
    """Shape (candidates, scorers), higher is better: cosine, BM25 over morphemes, BM25 over
    bigrams. An engine may have fewer columns, in this order."""

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """The documents of rows of `scores`, in their order."""
        ...

    def siblings(self, document: Document) -> list[Document]:
        """The chunks of the same source as a document's, itself among them, in reading order."""
        ...


@runtime_checkable
class CandidateSource(Protocol):
    """What can be searched by `HybridRetriever`: an index or an engine."""

    def candidates(
        self, query: str, fetch_k: int, filter: Mapping[str, Any] | None
    ) -> AbstractContextManager[Candidates]:
        """The best of each scorer, every one scored by all; valid inside the `with` statement.

        Args:
            query: NFC text.
            fetch_k: How many of the best each scorer gives.
            filter: On metadata; None for all documents.
        """
        ...


class HybridRetriever(BaseRetriever):
    """Finds the best k documents by meaning (vectors) and by words (BM25) together.

    The best `fetch_k` of each side are candidates; every candidate is scored by both sides. How
    scores become one is `fusion`: "confidence" lets each side decide as far as it is sure, and
    looks at how much of the question's wording stands together in the best candidates;
    "standardized" adds z-scores; "reciprocal_rank" adds 1 / (60 + rank). With an embedder much
    weaker than the words, ranks alone cost ten points of recall@1.

    Equal texts of several sources stay documents of their own; `metadata["duplicates"]` names the
    other sources that were seen among the best candidates.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    index: CandidateSource
    k: int = Field(default=4, gt=0)
    fetch_k: int = Field(default=30, gt=0)
    fusion: Literal["confidence", "standardized", "reciprocal_rank"] = "confidence"
    weights: tuple[float, float, float] = (1.0, 1.0, 0.5)
    """Of cosine, BM25 over morphemes, BM25 over bigrams."""
    filter: dict[str, Any] | None = None
    context: Context = "chunk"
    """What comes of a found chunk: itself; with the one before and after it ("neighbours"); or
    with all of its page, slide or heading path ("section"), which several hits then share."""
    context_characters: int = Field(default=2000, gt=0)
    """Chunks are joined up to this length. See `neighbours.joined`."""

    def search(
        self, query: str, *, k: int | None = None, filter: Mapping[str, Any] | None = None
    ) -> list[tuple[Document, float]]:
        """The best documents with their fused scores.

        Args:
            query: Any text; it is brought to NFC.
            k: Instead of the retriever's own.
            filter: Instead of the retriever's own.

        Returns:
            Best first, ties by id; fewer than k where hits share a section. Scores are comparable
            within one query only.

        Raises:
            ValueError: If k is not positive or the filter is not understood.
        """
        # Lone surrogates, as a terminal may give, have no encoding.
        query = unicodedata.normalize("NFC", query.encode("utf-8", "replace").decode())
        k = self.k if k is None else k
        if k <= 0:
            raise ValueError(f"k is {k}; it must be 1 or more")
        filter = self.filter if filter is None else filter
        with self.index.candidates(query, max(k, self.fetch_k), filter) as candidates:
            if not len(candidates.scores):
                return []
            documents, fused = self._fused(query, candidates, k)
            hits = zip(with_duplicates(documents), fused.tolist(), strict=True)
            best = sorted(hits, key=lambda hit: (-hit[1], hit[0].id or ""))
            return best[:k] if self.context == "chunk" else self._joined(best, candidates, k)

    def _joined(
        self, hits: Sequence[tuple[Document, float]], candidates: Candidates, k: int
    ) -> list[tuple[Document, float]]:
        """The first k hits with the chunks around them, none of which stands in two of them."""
        taken: set[str] = set()
        passages: list[tuple[Document, float]] = []
        for document, score in hits:
            if len(passages) == k:
                break
            if document.id in taken:
                continue
            passage = joined(
                document,
                candidates.siblings(document),
                self.context,
                most_characters=self.context_characters,
                taken=taken,
            )
            taken |= passage.ids
            passages.append((passage.document, score))
        return passages

    def _fused(
        self, query: str, candidates: Candidates, k: int
    ) -> tuple[list[Document], NDArray[np.float64]]:
        """The best candidates, k at least, with all that score as the last of them."""
        scores = candidates.scores
        weights = self.weights[: scores.shape[1]]
        if self.fusion == "reciprocal_rank":
            fused = reciprocal_rank_sum(scores, weights)
        elif self.fusion == "standardized":
            fused = standardized_sum(scores, weights)
        else:
            fused = confidence_sum(scores, weights)
        by_wording = self.fusion == "confidence" and any(weights[1:])
        last = np.sort(fused)[::-1][: max(k, _LOOKED_AT)][-1]
        rows = np.flatnonzero(fused >= last)
        documents = candidates.documents(rows.tolist())
        if by_wording:
            coverage = word_coverage(query, [indexed_text(document) for document in documents])
            return documents, confidence_sum(scores[rows], weights, coverage)
        return documents, fused[rows]

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        return [document for document, _ in self.search(query, k=k, filter=filter)]
