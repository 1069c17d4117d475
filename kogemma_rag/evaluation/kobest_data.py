"""The KoBEST release's TSV files in, rows as the hub's data set has them out.

Texts are kept as they stand, not brought to NFC: a prompt must be that of the hub's data set to
the letter. Knows no harness and no model.
"""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kogemma_rag.evaluation.errors import EvaluationDataError

KoBESTTask = Literal["boolq", "copa", "hellaswag", "sentineg", "wic"]
TASKS: tuple[KoBESTTask, ...] = ("boolq", "copa", "hellaswag", "sentineg", "wic")

Rows = list[dict[str, Any]]

# Of a split on the hub, by that of the release.
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_TRUTH = {"True": 1, "TRUE": 1, "False": 0, "FALSE": 0}
_RELATIONS = ("원인", "결과")
_AGAIN = "get the file again from the KoBEST release v1.0"


@dataclass(frozen=True)
class _Format:
    """How a task's files are laid out.

    Attributes:
        columns: Names on the hub by those in the files, without the label's.
        label: The label's column.
        labels: Numbers on the hub by what stands in the files.
        counts: How many rows train, dev and test have.
    """

    folder: str
    columns: Mapping[str, str]
    label: str
    labels: Mapping[str, int]
    counts: tuple[int, int, int]


_FORMATS: dict[str, _Format] = {
    "boolq": _Format(
        "BoolQ",
        {"Text": "paragraph", "Question": "question"},
        "Answer",
        _TRUTH,
        (3665, 700, 1404),
    ),
    "copa": _Format(
        "COPA",
        {
            "sentence": "premise",
            "question": "question",
            "1": "alternative_1",
            "2": "alternative_2",
        },
        "Answer",
        {"1": 0, "2": 1},
        (3076, 500, 1000),
    ),
    "hellaswag": _Format(
        "HellaSwag",
        {"context": "context", **{f"choice{n}": f"ending_{n}" for n in range(1, 5)}},
        "label",
        {str(n): n for n in range(4)},
        (2029, 500, 500),
    ),
    "sentineg": _Format(
        "SentiNeg", {"Text": "sentence"}, "Label", {"0": 0, "1": 1}, (3649, 400, 397)
    ),
    "wic": _Format(
        "WiC",
        {"Target": "word", "SENTENCE1": "context_1", "SENTENCE2": "context_2"},
        "ANSWER",
        _TRUTH,
        (3318, 610, 1260),
    ),
}


def check_tasks(tasks: Sequence[str]) -> tuple[KoBESTTask, ...]:
    """The tasks, in the order given.

    Raises:
        ValueError: If there is none, one is unknown, or one comes twice.
    """
    known = [name for name in TASKS if name in tasks]
    unknown = [name for name in tasks if name not in TASKS]
    if unknown or not tasks or len(known) != len(tasks):
        raise ValueError(f"tasks={list(tasks)!r}; give some of {', '.join(TASKS)}, each once")
    return tuple(name for asked in tasks for name in TASKS if name == asked)


def read_task(folder: Path, task: KoBESTTask) -> dict[str, Rows]:
    """Read one task of the release.

    Args:
        folder: It holds BoolQ, COPA, HellaSwag, SentiNeg and WiC, each with train.tsv, dev.tsv and
            test.tsv.
        task: Which.

    Returns:
        Rows by the hub's name of the split: train, validation, test.

    Raises:
        EvaluationDataError: If a file is missing, is not UTF-8, lacks a column or holds what does
            not belong there, or has not as many rows as the release.
    """
    layout = _FORMATS[task]
    splits = {}
    for (name, split), count in zip(_SPLITS.items(), layout.counts, strict=True):
        path = folder / layout.folder / f"{name}.tsv"
        rows = _read_rows(path, layout)
        if len(rows) != count:
            raise EvaluationDataError(
                f"{path} has {len(rows)} rows, the release has {count}; {_AGAIN}"
            )
        splits[split] = rows
    return splits


def fingerprint(folder: Path, tasks: Sequence[KoBESTTask]) -> str:
    """SHA-256 of the files of some tasks, in hexadecimal."""
    digest = hashlib.sha256()
    for task in sorted(tasks):
        for name in _SPLITS:
            path = folder / _FORMATS[task].folder / f"{name}.tsv"
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read_rows(path: Path, layout: _Format) -> Rows:
    # The hub's data set was read by pandas, which takes a quotation mark at the start of a cell
    # for quoting, as csv does too unless it is strict.
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter="\t")
    try:
        header = next(reader, [])
        _check_header(path, header, layout)
        return [_row(f"{path}, line {reader.line_num}", header, row, layout) for row in reader]
    except csv.Error as error:
        raise EvaluationDataError(
            f"{path}, line {reader.line_num} is no line of a TSV file ({error}); {_AGAIN}"
        ) from error


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        folders = ", ".join(sorted(layout.folder for layout in _FORMATS.values()))
        raise EvaluationDataError(
            f"there is no file {path}; give the folder of the KoBEST release v1.0 that holds "
            f"{folders}"
        ) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EvaluationDataError(f"{path}, line {line} is not UTF-8; {_AGAIN}") from error


def _check_header(path: Path, header: list[str], layout: _Format) -> None:
    if not header:
        raise EvaluationDataError(f"{path}, line 1 is empty; {_AGAIN}")
    wrong = [name for name in (*layout.columns, layout.label) if header.count(name) != 1]
    if wrong:
        raise EvaluationDataError(
            f"{path}, line 1 lacks or repeats the columns {', '.join(map(repr, wrong))}; it names "
            f"{', '.join(map(repr, header))}; give the files of the KoBEST release v1.0 unchanged"
        )


def _row(place: str, header: list[str], cells: list[str], layout: _Format) -> dict[str, Any]:
    if len(cells) != len(header):
        raise EvaluationDataError(
            f"{place} has {len(cells)} cells, its header has {len(header)}; put right the tabs "
            "and quotation marks of this line"
        )
    found = dict(zip(header, cells, strict=True))
    row: dict[str, Any] = {name: found[column] for column, name in layout.columns.items()}
    empty = [column for column in layout.columns if not found[column].strip()]
    if empty:
        raise EvaluationDataError(f"{place} has nothing in the column {empty[0]!r}; fill it in")
    if "premise" in row and row["question"].strip() not in _RELATIONS:
        raise EvaluationDataError(
            f"{place} has {row['question']!r} in the column 'question'; write one of "
            f"{', '.join(_RELATIONS)}"
        )
    label = found[layout.label]
    if label not in layout.labels:
        raise EvaluationDataError(
            f"{place} has {label!r} in the column {layout.label!r}; write one of "
            f"{', '.join(layout.labels)}"
        )
    return {**row, "label": layout.labels[label]}
