"""Which choice was right and which was taken in; accuracy, macro-F1 and their averages out."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Figure = dict[str, Any]
"""{"value": 0 to 1, higher is better, "stderr": its standard error, None where there is none}."""

# The averages of the Ko-Gemma release: means of macro-F1 over these tasks.
AVERAGES = {
    "f1": ("boolq", "copa", "hellaswag", "sentineg", "wic"),
    "f1_without_sentineg_wic": ("boolq", "copa", "hellaswag"),
}

_RESAMPLES = 2000
_SEED = 1234


def accuracy(correct: Sequence[bool]) -> Figure:
    """The share that is right; the error is the harness's, sqrt(p (1 - p) / (n - 1))."""
    count = len(correct)
    share = sum(correct) / count
    error = math.sqrt(share * (1 - share) / (count - 1)) if count > 1 else None
    return {"value": share, "stderr": error}


def macro_f1(gold: Sequence[int], chosen: Sequence[int | None], choices: int) -> Figure:
    """The mean over the choices of F1, each seen as its own yes-or-no question.

    Choices that are neither right nor taken anywhere do not count, as in scikit-learn. The
    standard error is that of 2,000 bootstrap samples of the examples, always the same ones.

    Args:
        gold: What is right, from 0.
        chosen: What was taken; None where it was no choice, which is a miss of the right one.
        choices: How many there are.
    """
    import numpy as np

    taken = [choices if each is None else each for each in chosen]
    cells = np.zeros((choices, choices + 1), dtype=np.int64)
    np.add.at(cells, (np.asarray(gold), np.asarray(taken)), 1)
    value = float(_macro_f1(cells[None])[0])
    if len(gold) < 2:
        return {"value": value, "stderr": None}
    # Drawing n examples with replacement is drawing n times among the cells of the table.
    drawn = np.random.default_rng(_SEED).multinomial(
        len(gold), cells.ravel() / len(gold), size=_RESAMPLES
    )
    samples = _macro_f1(drawn.reshape(-1, *cells.shape))
    return {"value": value, "stderr": float(samples.std(ddof=1))}


def _macro_f1(tables: "NDArray[np.int64]") -> "NDArray[np.float64]":
    """Of tables of counts, shape (tables, right, taken); the last column is no choice."""
    import numpy as np

    choices = tables.shape[1]
    hits = tables[:, range(choices), range(choices)]
    seen = tables.sum(axis=2) + tables.sum(axis=1)[:, :choices]
    scores = 2 * hits / np.maximum(seen, 1)
    mean: NDArray[np.float64] = scores.sum(axis=1) / np.maximum((seen > 0).sum(axis=1), 1)
    return mean


def averages(f1: Mapping[str, Figure]) -> dict[str, Figure]:
    """The release's averages of which all tasks are there, by the names in `AVERAGES`.

    Tasks are independent, so that the variance of a mean of k is the sum of theirs over k².

    Args:
        f1: Macro-F1 by task.
    """
    return {
        name: _mean([f1[task] for task in tasks])
        for name, tasks in AVERAGES.items()
        if all(task in f1 for task in tasks)
    }


def _mean(figures: Sequence[Figure]) -> Figure:
    errors = [figure["stderr"] for figure in figures]
    value = sum(figure["value"] for figure in figures) / len(figures)
    error = None if None in errors else math.hypot(*errors) / len(figures)
    return {"value": value, "stderr": error}


def task_result(questions: Sequence[Mapping[str, Any]], *, version: str) -> dict[str, Any]:
    """What one task came to.

    Args:
        questions: The task's, as `evaluate_kobest` describes them.
        version: The harness's, of the task.
    """
    gold = [each["gold"] for each in questions]
    choices = max(len(each["choices"]) for each in questions)
    metrics = {"acc": accuracy([each["correct"] for each in questions])}
    if "chosen_normalized" in questions[0]:
        metrics["acc_norm"] = accuracy(
            [each["chosen_normalized"] == each["gold"] for each in questions]
        )
    metrics["f1"] = macro_f1(gold, [each["chosen"] for each in questions], choices)
    unparsed = sum(each["chosen"] is None for each in questions)
    return {
        "examples": len(questions),
        "version": version,
        "metrics": metrics,
        "unparsed": {"count": unparsed, "share": unparsed / len(questions)},
    }
