"""The table of the Ko-Gemma release, and our figures beside it."""

from collections.abc import Mapping
from typing import Any

NUM_FEWSHOT = 5

_COLUMNS = (
    ("wic", "acc"),
    ("wic", "f1"),
    ("sentineg", "acc"),
    ("sentineg", "f1"),
    ("hellaswag", "acc"),
    ("hellaswag", "f1"),
    ("copa", "acc"),
    ("boolq", "acc"),
    ("boolq", "f1"),
    ("average", "f1"),
    ("average", "f1_without_sentineg_wic"),
)
_ROWS = {
    "google/gemma-2b-it": (
        *(0.528, 0.520, 0.655, 0.631, 0.35, 0.347, 0.42, 0.526, 0.525, 0.536, 0.510),
    ),
    "google/gemma-7b-it": (
        *(0.508, 0.506, 0.736, 0.722, 0.352, 0.349, 0.42, 0.544, 0.543, 0.573, 0.545),
    ),
    "nlpai-lab/ko-gemma-2b-v1": (
        *(0.521, 0.420, 0.587, 0.517, 0.354, 0.350, 0.456, 0.595, 0.594, 0.506, 0.532),
    ),
    "nlpai-lab/ko-gemma-7b-v1": (
        *(0.563, 0.542, 0.788, 0.780, 0.39, 0.388, 0.488, 0.639, 0.638, 0.629, 0.608),
    ),
}
# Printed under a name that cannot be right.
_NOT_COMPARED = {("copa", "acc")}

NOTES = (
    "공개된 표의 평균은 다섯 과제 F1의 평균과 HellaSwag·COPA·BoolQ F1의 평균이며, 표에 적히지 "
    "않은 COPA F1(차례로 약 .657, .745, .650, .797)이 들어 있습니다.",
    "공개된 표의 'COPA acc'는 COPA의 정확도일 수 없습니다. 선택지가 둘이면 macro-F1은 정확도를 "
    "넘지 못하므로, 정확도가 .42이면 F1이 .657일 수 없습니다. HellaSwag acc_norm으로 보이며, 이 "
    "열은 비교하지 않습니다.",
)


def published_rows() -> list[dict[str, Any]]:
    """The table: each row {model, cells: [{task, metric, value}]}; task "average" is a mean."""
    return [
        {
            "model": model,
            "cells": [
                {"task": task, "metric": metric, "value": value}
                for (task, metric), value in zip(_COLUMNS, values, strict=True)
            ],
        }
        for model, values in _ROWS.items()
    ]


def compare(
    tasks: Mapping[str, Any], averages: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Our figures beside every cell of the table that has one and can be compared.

    Args:
        tasks: What `evaluate_kobest` gives as "tasks".
        averages: What it gives as "averages".

    Returns:
        Each {model, task, metric, published, ours, difference, stderr, within}: the difference is
        ours minus the published figure, `within` says whether it is at most two of our standard
        errors (None where we have no standard error).
    """
    ours = {
        (task, name): figure
        for task, found in tasks.items()
        for name, figure in found["metrics"].items()
    }
    ours |= {("average", name): figure for name, figure in averages.items()}
    return [
        _cell(row["model"], cell, ours[key])
        for row in published_rows()
        for cell in row["cells"]
        if (key := (cell["task"], cell["metric"])) in ours and key not in _NOT_COMPARED
    ]


def _cell(model: str, cell: Mapping[str, Any], figure: Mapping[str, Any]) -> dict[str, Any]:
    difference = figure["value"] - cell["value"]
    error = figure["stderr"]
    return {
        "model": model,
        "task": cell["task"],
        "metric": cell["metric"],
        "published": cell["value"],
        "ours": figure["value"],
        "difference": difference,
        "stderr": error,
        "within": None if error is None else abs(difference) <= 2 * error,
    }
