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
_AGAIN = "KoBEST v1.0 배포판에서 파일을 다시 받으세요"


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
                f"{path}: {len(rows)}행이 있는데 배포판에는 {count}행이 있습니다. {_AGAIN}"
            )
        splits[split] = rows
    return splits


def fingerprint(folder: Path, tasks: Sequence[KoBESTTask]) -> str:
    """SHA-256 of the files of some tasks, in hexadecimal.

    Raises:
        EvaluationDataError: If a file is missing.
    """
    digest = hashlib.sha256()
    for task in sorted(tasks):
        for name in _SPLITS:
            path = folder / _FORMATS[task].folder / f"{name}.tsv"
            digest.update(hashlib.sha256(_read_bytes(path)).digest())
    return digest.hexdigest()


def _read_rows(path: Path, layout: _Format) -> Rows:
    # The hub's data set was read by pandas, which takes a quotation mark at the start of a cell
    # for quoting, as csv does too unless it is strict.
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter="\t")
    try:
        header = next(reader, [])
        _check_header(path, header, layout)
        return [_row(f"{path}: {reader.line_num}번째 줄", header, row, layout) for row in reader]
    except csv.Error as error:
        raise EvaluationDataError(
            f"{path}: {reader.line_num}번째 줄: TSV 형식이 아닙니다({error}). {_AGAIN}"
        ) from error


def _read_text(path: Path) -> str:
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EvaluationDataError(f"{path}: {line}번째 줄: UTF-8이 아닙니다. {_AGAIN}") from error


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        folders = ", ".join(sorted(layout.folder for layout in _FORMATS.values()))
        raise EvaluationDataError(
            f"{path}: 파일이 없습니다. {folders} 폴더가 든 KoBEST v1.0 배포판의 폴더를 적으세요"
        ) from error


def _check_header(path: Path, header: list[str], layout: _Format) -> None:
    if not header:
        raise EvaluationDataError(f"{path}: 1번째 줄: 비어 있습니다. {_AGAIN}")
    wrong = [name for name in (*layout.columns, layout.label) if header.count(name) != 1]
    if wrong:
        raise EvaluationDataError(
            f"{path}: 1번째 줄: 열 {', '.join(wrong)}이(가) 없거나 여럿입니다(있는 열: "
            f"{', '.join(header)}). KoBEST v1.0 배포판의 파일을 고치지 말고 쓰세요"
        )


def _row(place: str, header: list[str], cells: list[str], layout: _Format) -> dict[str, Any]:
    if len(cells) != len(header):
        raise EvaluationDataError(
            f"{place}: 칸이 {len(cells)}개인데 머리줄에는 {len(header)}개가 있습니다. 이 줄의 탭과 "
            "따옴표를 바로잡으세요"
        )
    found = dict(zip(header, cells, strict=True))
    row: dict[str, Any] = {name: found[column] for column, name in layout.columns.items()}
    empty = [column for column in layout.columns if not found[column].strip()]
    if empty:
        raise EvaluationDataError(f"{place}: 열 '{empty[0]}'이(가) 비어 있습니다. 채우세요")
    if "premise" in row and row["question"].strip() not in _RELATIONS:
        raise EvaluationDataError(
            f"{place}: 열 'question'에 '{row['question']}'이(가) 있습니다. "
            f"{', '.join(_RELATIONS)} 가운데 하나를 쓰세요"
        )
    label = found[layout.label]
    if label not in layout.labels:
        raise EvaluationDataError(
            f"{place}: 열 '{layout.label}'에 '{label}'이(가) 있습니다. "
            f"{', '.join(layout.labels)} 가운데 하나를 쓰세요"
        )
    return {**row, "label": layout.labels[label]}
