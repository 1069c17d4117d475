"""Vectors in, cosines, scores and choices among them out: plain numpy, the same to the last bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unit_vectors(vectors: Any, count: int) -> NDArray[np.float32]:
    """What an embedding model gave, checked and brought to unit length; a zero vector stays zero.

    Args:
        vectors: Of `count` texts, any array or lists of numbers.
        count: How many there must be.

    Returns:
        Shape (count, dim), unit length.

    Raises:
        ValueError: If their number, lengths or values cannot be used.
    """
    try:
        matrix = np.asarray(vectors, np.float64)
    except ValueError as error:
        raise ValueError("the embedding model gave vectors of different lengths") from error
    if matrix.ndim != 2 or len(matrix) != count or not matrix.shape[1]:
        raise ValueError(
            f"the embedding model gave an array of shape {matrix.shape} for {count} texts"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("the embedding model gave a vector that is not finite (NaN or inf)")
    # The largest part first, so that neither squares nor lengths leave the range of floats.
    matrix = matrix / np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-300)
    lengths = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = (matrix / np.maximum(lengths, 1e-300)).astype(np.float32)
    return unit


def cosines(query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of a query, shape (dim,), with vectors, shape (n, dim).

    Computed row by row in one fixed way: the same to the last bit whatever stands beside a row.
    """
    if not len(vectors):
        return np.zeros(0, np.float32)
    one, many = query.astype(np.float64), vectors.astype(np.float64)
    products = (many * one).sum(axis=1)
    lengths = np.sqrt((many * many).sum(axis=1) * (one * one).sum())
    ratios = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    rounded: NDArray[np.float32] = np.clip(ratios, -1.0, 1.0).astype(np.float32)
    return rounded


def relevance(cosine: float) -> float:
    """A cosine as a score in [0, 1]: 1 the same direction, 0.5 nothing in common, 0 opposite."""
    return (1.0 + float(cosine)) / 2.0


def diverse(
    to_query: NDArray[np.float32], vectors: NDArray[np.float32], k: int, lambda_mult: float
) -> list[int]:
    """Rows chosen by maximal marginal relevance (Carbonell and Goldstein, 1998), in order.

    Args:
        to_query: Cosines of the rows with the query, shape (n,).
        vectors: Of the rows, shape (n, dim).
        k: At most so many.
        lambda_mult: 1 weighs nearness to the query alone, 0 distance from what is chosen alone.
    """
    value = lambda_mult * to_query.astype(np.float64)
    nearest_chosen = np.full(len(to_query), -np.inf)
    chosen: list[int] = []
    while len(chosen) < min(k, len(to_query)):
        penalty = (1 - lambda_mult) * nearest_chosen if chosen else 0.0
        values = value - penalty
        values[chosen] = -np.inf
        chosen.append(int(np.argmax(values)))
        nearest_chosen = np.maximum(nearest_chosen, cosines(vectors[chosen[-1]], vectors))
    return chosen
