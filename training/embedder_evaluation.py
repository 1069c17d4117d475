"""Retrieval and similarity figures of an embedder, from its vectors alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import embedder_data
import numpy as np
from embedder_data import QuestionSet
from numpy.typing import NDArray

# Every twentieth paragraph of Wikipedia, 6,676 in all, stands beside the TyDi passages.
DISTRACTOR_STRIDE = 20

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to float32 vectors of shape (n, dim), unit length."""


def retrieval(
    encode: Encode, data: QuestionSet, distractors: Sequence[str] = ()
) -> dict[str, float]:
    """Recall at 1 and 10 and MRR at 10 over all passages and distractors, 0 to 1.

    The rank of a passage is one more than the number of others that score at least as high.
    """
    passages = encode([*data.passages, *distractors])
    questions = encode(data.questions)
    answers = np.array(data.answers)
    scores = questions @ passages.T
    right = scores[np.arange(len(answers)), answers]
    ranks = (scores >= right[:, None]).sum(axis=1)
    return {
        "recall@1": float((ranks <= 1).mean()),
        "recall@10": float((ranks <= 10).mean()),
        "MRR@10": float(np.where(ranks <= 10, 1 / ranks, 0).mean()),
    }


def measure(encode: Encode, data: Path, seed: int) -> dict[str, dict[str, float]]:
    """All figures of the model card, 0 to 1; the held-out TyDi questions are for choosing."""
    tydi = embedder_data.read_tydi(data, "ko")
    _, held_out = embedder_data.split_tydi(tydi, seed=seed)
    distractors = [p.text for p in embedder_data.read_wiki(data)[::DISTRACTOR_STRIDE]]
    return {
        "TyDi ko, held out": retrieval(encode, held_out, distractors),
        "KorQuAD dev": retrieval(encode, embedder_data.read_korquad(data)),
        "KLUE-STS dev": {"Spearman": spearman(encode, embedder_data.read_klue_sts(data))},
    }


def spearman(encode: Encode, pairs: Sequence[tuple[str, str, float]]) -> float:
    """Rank correlation of the pairs' cosines with their gold similarities, -1 to 1."""
    from scipy.stats import spearmanr

    first, second = encode([p[0] for p in pairs]), encode([p[1] for p in pairs])
    return float(spearmanr((first * second).sum(axis=1), [p[2] for p in pairs]).statistic)
