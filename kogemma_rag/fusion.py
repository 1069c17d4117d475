"""Scores and texts of candidates in, one fused score for each out: plain numpy.

Knows no index, no embedding model and no documents.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.morphemes import question_terms

Scores = NDArray[np.float64]

# What coverage counts beside the standardized BM25. Chosen on the TyDi Korean questions;
# benchmarks/README.md tells how.
_PASSAGE_COVERAGE = 0.4
_SENTENCE_COVERAGE = 0.2
_C = 60  # Cormack, Clarke and Buettcher (2009)

_SENTENCE_ENDS = ("다.", "요.", ". ", "? ", "! ")


def confidence_sum(
    scores: NDArray[np.float32], weights: Sequence[float], coverage: Scores | None = None
) -> Scores:
    """Fuse meaning and words by how sure each of them is.

    Each side's standardized scores become chances that add up to 1 over the candidates (softmax):
    a side that sees one candidate far ahead gives it nearly all, a side that cannot tell the
    candidates apart gives each the same and so decides nothing.

    Args:
        scores: Shape (candidates, scorers), higher is better: the cosine, then word scores.
        weights: One for each scorer. Those of the words say how the words are added up among
            themselves, and their sum what they count beside the cosine.
        coverage: Of `word_coverage`, shape (candidates, 2); counts among the words.

    Returns:
        Shape (candidates,), higher is better; comparable within one query only.
    """
    table = _standardized(np.asarray(scores, np.float64))
    meaning, words = weights[0], sum(weights[1:])
    fused: Scores = meaning * _softmax(table[:, 0])
    if words > 0:
        evidence = table[:, 1:] @ (np.asarray(weights[1:]) / words)
        if coverage is not None:
            evidence += _standardized(coverage) @ np.array([_PASSAGE_COVERAGE, _SENTENCE_COVERAGE])
        fused += words * _softmax(evidence)
    return fused


def standardized_sum(scores: NDArray[np.float32], weights: Sequence[float]) -> Scores:
    """Fuse scores of different scales: the weighted sum of their z-scores.

    Args:
        scores: Shape (candidates, scorers), higher is better. A scorer that tells no two
            candidates apart counts nothing.
        weights: One for each scorer.

    Returns:
        Shape (candidates,), higher is better; comparable within one query only.
    """
    fused: Scores = _standardized(np.asarray(scores, np.float64)) @ np.asarray(weights, np.float64)
    return fused


def reciprocal_rank_sum(scores: NDArray[np.float32], weights: Sequence[float]) -> Scores:
    """Fuse by ranks alone: each scorer adds weight / (60 + rank), rank 1 for the best.

    Equal scores share the better rank. Cormack, Clarke and Buettcher (2009).

    Args:
        scores: Shape (candidates, scorers), higher is better.
        weights: One for each scorer.

    Returns:
        Shape (candidates,), higher is better.
    """
    fused = np.zeros(len(scores))
    for column, weight in zip(np.asarray(scores).T, weights, strict=True):
        ranks = 1 + np.searchsorted(np.sort(-column), -column)
        fused += weight / (_C + ranks)
    return fused


def word_coverage(query: str, texts: Sequence[str]) -> Scores:
    """How much of a question's wording stands in each text: words in all of it, and in one place.

    BM25 adds up words wherever they stand and pays one word twice; an answer tends to have most
    of the words once, and close together. What fewer of the texts have counts for more.

    Args:
        query: NFC text.
        texts: NFC texts.

    Returns:
        Shape (texts, 2), 0 to 1: the share of the query's content morphemes found in the text,
        and the share of its bigrams found in that sentence which has most of them.
    """
    morphemes, bigrams = (list(dict.fromkeys(terms)) for terms in question_terms(query))
    lowered = [text.lower() for text in texts]
    packed = [_packed_sentences(text) for text in lowered]
    words, pairs = _found(morphemes, lowered), _found(bigrams, packed)
    weights = dict(zip(bigrams, _rarity(pairs).tolist(), strict=True))
    return np.column_stack(
        [words @ _rarity(words), [_best_sentence(text, weights) for text in packed]]
    )


def _packed_sentences(text: str) -> str:
    """A text's sentences without white space, one a line. Rough, since it is done for many."""
    for end in _SENTENCE_ENDS:
        text = text.replace(end, f"{end}\n")
    return "\n".join("".join(line.split()) for line in text.split("\n"))


def _best_sentence(packed: str, weights: Mapping[str, float]) -> float:
    present = [(term, weight) for term, weight in weights.items() if term in packed]
    return max(
        sum(weight for term, weight in present if term in line) for line in packed.split("\n")
    )


def _found(terms: Sequence[str], texts: Sequence[str]) -> Scores:
    """1 where a term stands in a text, shape (texts, terms)."""
    table = [[term in text for term in terms] for text in texts]
    return np.array(table, np.float64).reshape(len(texts), len(terms))


def _rarity(found: Scores) -> Scores:
    """What each term counts, adding up to 1: the rarer among the texts, the more (as in BM25)."""
    count = found.sum(axis=0)
    weights: Scores = np.log1p((len(found) - count + 0.5) / (count + 0.5))
    shares: Scores = weights / max(weights.sum(), 1e-12)
    return shares


def _standardized(table: Scores) -> Scores:
    """Z-scores of columns; a column of equal values becomes zeros."""
    deviations = table - table.mean(axis=0)
    spread = deviations.std(axis=0)
    standardized: Scores = np.divide(
        deviations, spread, out=np.zeros_like(table), where=spread > 1e-12
    )
    return standardized


def _softmax(values: Scores) -> Scores:
    powers = np.exp(values - values.max())
    chances: Scores = powers / powers.sum()
    return chances
