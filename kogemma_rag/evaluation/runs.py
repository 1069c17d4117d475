"""A run of an evaluation: what it measured, kept while it goes on, compared with another.

A run is one JSON object:

    kind        "retrieval" | "answers" | "kobest"
    format      1
    title       what was measured on what, in Korean, one line
    started     ISO 8601, with the offset; seconds: how long it took in all
    versions    name -> version, of Python, this package and what decides the figures
    machine     processor, cores, GPU or None
    data        name, fingerprint, and how many documents and questions
    settings    the options of the run
    systems     what was compared, in the order asked: each {name, settings, metrics, latency,
                index, tokens, ...}; metrics: name -> {value, low, high} with the bounds of a 95 %
                confidence interval; latency: {p50_ms, p95_ms}; index: {bytes, chunks, seconds}
    comparisons each {metric, a, b, difference, low, high, p}: a minus b, names of systems
    questions   each {id, question, answers, relevant: {id: grade}, results: {system: {...}}}
    documents   id -> {title, text}: of the documents that `questions` names
    notes       sentences, in Korean, that a reader must know

Keys that a kind has no use for are absent.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RUN_FORMAT = 1
RUN_FILE = "run.json"
REPORT_FILE = "report.html"
_SETTINGS_FILE = "settings.json"
_PROGRESS_FILE = "progress.jsonl"


class RunError(ValueError):
    """A folder or file of a run that cannot be used: which one, why, and what to do."""


class RunFolder:
    """A folder of one run: what is finished while it goes on, then run.json and report.html.

    One process at a time writes to it. Rows are JSON objects; a row comes back as JSON gives it,
    tuples as lists, whether it is of this sitting or of an earlier one.

    Attributes:
        path: Of the folder. Files of a run that should outlive a stop, such as an index, may stand
            in it under names of their own.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        """Make the folder, or go on with the run that is in it.

        Args:
            folder: A new or empty one, or one of a run with the same settings.
            settings: All that decides the figures, with the data's fingerprint; has a JSON form.

        Raises:
            RunError: If the folder holds a run of other settings, or files that are no run's.
        """
        self.path = Path(folder)
        _claim(self.path, json.loads(_dumps(settings)))

    def finished(self, system: str) -> dict[str, dict[str, Any]]:
        """Rows by question id, of earlier sittings and this one; the latest row of a question.

        Raises:
            RunError: If the file of rows is damaged elsewhere than at its end.
        """
        return dict(self._rows.get(system, {}))

    def record(self, system: str, question_id: str, row: Mapping[str, Any]) -> None:
        """Append a row to progress.jsonl; once this returns, a killed process does not lose it."""
        line = _encoded(_dumps({"system": system, "question": question_id, "row": row}))
        rows = self._rows  # read, and a torn line cut off, before anything is appended
        with (self.path / _PROGRESS_FILE).open("ab") as file:
            file.write(line + b"\n")
        _add(rows, line)

    def finish(self, run: Mapping[str, Any]) -> None:
        """Write run.json and report.html, each whole or not at all."""
        from kogemma_rag.evaluation.report import render_report

        write_whole(self.path / RUN_FILE, _dumps(run, indent=1) + "\n")
        write_whole(self.path / REPORT_FILE, render_report(run))

    @cached_property
    def _rows(self) -> dict[str, dict[str, dict[str, Any]]]:
        path = self.path / _PROGRESS_FILE
        if not path.exists():
            return {}
        with path.open("r+b") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            file.truncate(whole)  # a line without its end was torn by a stop
        rows: dict[str, dict[str, dict[str, Any]]] = {}
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                _add(rows, line)
            except (ValueError, TypeError, KeyError) as error:
                raise RunError(
                    f"{path}, line {number} is no row of a run: {line[:80]!r}; delete the line and "
                    "run the same command again"
                ) from error
        return rows


def read_run(path: str | Path) -> dict[str, Any]:
    """The run in a folder or in a run.json.

    Raises:
        RunError: If there is none, it is not finished, or it is of another format.
    """
    path = Path(path)
    if path.is_dir():
        if (path / _SETTINGS_FILE).exists() and not (path / RUN_FILE).exists():
            raise RunError(f"the run in {path} is not finished; run its command again to go on")
        path = path / RUN_FILE
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"there is no run at {path}; name a folder that `eval` wrote") from error
    except ValueError as error:
        raise RunError(f"{path} is no JSON: {error}; name the run.json of a run") from error
    if not isinstance(run, dict) or not isinstance(run.get("kind"), str):
        raise RunError(f"{path} is no run of an evaluation: it names no kind; name a run.json")
    if run.get("format") != RUN_FORMAT:
        raise RunError(
            f"{path} has format {run.get('format')!r}, this version reads {RUN_FORMAT}; "
            "evaluate again"
        )
    if not isinstance(run.get("questions"), list):  # as what `--format json` prints
        raise RunError(f"{path} holds no questions of a run; name the run.json that `eval` wrote")
    return run


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, this package and the packages named; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in ("kogemma-rag", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run's times depend on: processor, cores, and the GPU's name or None."""
    torch = sys.modules.get("torch")  # where it is not loaded, no GPU was used
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None
    return {"processor": _processor(), "cores": os.cpu_count(), "gpu": gpu}


def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a stop leaves the old one or the new one, never a part."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(_encoded(text))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _add(rows: dict[str, dict[str, dict[str, Any]]], line: bytes) -> None:
    entry = json.loads(line)
    rows.setdefault(entry["system"], {})[entry["question"]] = entry["row"]


def _claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder one of a run with these settings, unless it is another's."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; name a new folder for the run")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _SETTINGS_FILE
    if not path.exists():
        # What a stop may leave before the settings are written is the run's own.
        strange = sorted(
            entry.name for entry in folder.iterdir() if entry.name != f"{path.name}.new"
        )
        if strange:
            raise RunError(
                f"{folder} holds {strange[0]!r}, which is no run's; name a new or empty folder"
            )
        write_whole(path, _dumps({"format": RUN_FORMAT, "settings": settings}, indent=1) + "\n")
        return
    try:
        earlier = dict(json.loads(path.read_text(encoding="utf-8"))["settings"])
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged; name a new folder for the run") from error
    if earlier != settings:
        names = sorted(
            name for name in {*earlier, *settings} if earlier.get(name) != settings.get(name)
        )
        changed = ", ".join(
            f"{name}: {earlier.get(name)!r} became {settings.get(name)!r}" for name in names
        )
        raise RunError(
            f"{folder} holds a run with other settings ({changed}); name a new folder, or give the "
            "settings of that run"
        )


def _dumps(value: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def _encoded(text: str) -> bytes:
    # Lone surrogates, as a JSON document may hold them, have no encoding.
    return text.encode("utf-8", "replace")
