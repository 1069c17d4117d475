"""Fit the sentence weights of the extractive chat model on the TyDi Korean questions.

    python training/fit_extractive.py DIR      # DIR holds tydiqa_ko_train.json

A linear model over `extractive.sentence_features`, by the likelihood that the sentence with the
answer comes out of the four passages that BM25 finds. Prints the weights for `extractive._WEIGHTS`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.extractive import sentence_features
from kogemma_rag.lexical import LexicalIndex

PASSAGES = 4
RIDGE = 1e-3
STEPS = 300
STEP_SIZE = 0.3


def read_squad(path: Path) -> tuple[list[str], list[tuple[str, str, list[int]]]]:
    """Contexts without repeats, and (question, context, answer offsets)."""
    paragraphs = [
        paragraph
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
    ]
    contexts = list(dict.fromkeys(paragraph["context"] for paragraph in paragraphs))
    questions = [
        (qa["question"], paragraph["context"], [it["answer_start"] for it in qa["answers"]])
        for paragraph in paragraphs
        for qa in paragraph["qas"]
    ]
    return contexts, questions


def labelled_sentences(path: Path) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """For each question, the features of its candidate sentences and which hold the answer."""
    contexts, questions = read_squad(path)
    lexical = LexicalIndex()
    lexical.update(added=enumerate(contexts), deleted=[], generation=1)
    labelled = []
    for question, context, offsets in questions:
        passages = [contexts[key] for key in lexical.search(question, PASSAGES)]
        spans, features = sentence_features(question, passages)
        holds = [
            passages[passage] == context and any(start <= offset < end for offset in offsets)
            for passage, start, end in spans
        ]
        if any(holds):
            labelled.append((features, np.array(holds)))
    return labelled


def fit(labelled: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> NDArray[np.float64]:
    """Weights that maximize the mean log likelihood of the sentences with the answer."""
    spread = np.concatenate([features for features, _ in labelled]).std(axis=0)
    weights = np.zeros(len(spread))
    for _ in range(STEPS):
        gradient = -2 * RIDGE * weights
        for features, holds in labelled:
            scores = (features / spread) @ weights
            chances = np.exp(scores - scores.max())
            chances /= chances.sum()
            wanted = np.where(holds, chances, 0) / chances[holds].sum()
            gradient += (wanted - chances) @ (features / spread) / len(labelled)
        weights += STEP_SIZE * gradient
    return weights / spread


if __name__ == "__main__":
    weights = fit(labelled_sentences(Path(sys.argv[1]) / "tydiqa_ko_train.json"))
    print("_WEIGHTS = np.array([" + ", ".join(f"{weight:.2f}" for weight in weights) + "])")
