"""Runs: what is kept through a stop, what is refused, what is written at the end."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kogemma_rag.evaluation.runs import RunError, RunFolder, read_run, versions, write_whole

SETTINGS = {"data": "가", "k": [1, 5]}
RUN: dict[str, Any] = {
    "kind": "retrieval",
    "format": 1,
    "title": "시험",
    "systems": [],
    "questions": [],
    "notes": [],
}


def test_rows_come_back_in_this_sitting_and_the_next_as_json_gives_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", SETTINGS)
    folder.record("하나", "q1", {"found": ("d1", 0.5)})
    folder.record("둘", "q1", {"found": []})
    expected = {"q1": {"found": ["d1", 0.5]}}
    assert folder.finished("하나") == expected
    again = RunFolder(tmp_path / "run", SETTINGS)
    assert again.finished("하나") == expected
    assert again.finished("둘") == {"q1": {"found": []}}
    assert again.finished("셋") == {}


def test_the_latest_row_of_a_question_counts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, SETTINGS)
    folder.record("하나", "q1", {"error": "timeout"})
    folder.record("하나", "q1", {"answer": "서울"})
    assert RunFolder(tmp_path, SETTINGS).finished("하나") == {"q1": {"answer": "서울"}}


def test_a_killed_process_loses_no_row(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from kogemma_rag.evaluation.runs import RunFolder\n"
        "folder = RunFolder(sys.argv[1], {})\n"
        "for n in range(3): folder.record('가', f'q{n}', {'n': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert RunFolder(tmp_path, {}).finished("가") == {f"q{n}": {"n": n} for n in range(3)}


@pytest.mark.parametrize("torn", [b'{"system": "x", "ques', b'{"system": "\xea', b"{"])
def test_a_torn_last_line_is_dropped_and_the_next_row_stands_whole(
    tmp_path: Path, torn: bytes
) -> None:
    RunFolder(tmp_path, SETTINGS).record("가", "q1", {"n": 1})
    progress = tmp_path / "progress.jsonl"
    progress.write_bytes(progress.read_bytes() + torn)
    folder = RunFolder(tmp_path, SETTINGS)
    folder.record("가", "q2", {"n": 2})
    assert folder.finished("가") == {"q1": {"n": 1}, "q2": {"n": 2}}
    assert RunFolder(tmp_path, SETTINGS).finished("가") == folder.finished("가")
    assert progress.read_bytes().count(b"\n") == 2


def test_damage_before_the_end_names_its_line(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS).record("가", "q1", {})
    progress = tmp_path / "progress.jsonl"
    progress.write_bytes(progress.read_bytes() + b"[1]\n")
    with pytest.raises(RunError, match=r"progress\.jsonl, line 2 is no row"):
        RunFolder(tmp_path, SETTINGS).finished("가")


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS)
    with pytest.raises(RunError, match=r"other settings \(k: \[1, 5\] became \[1, 10\]\)"):
        RunFolder(tmp_path, {**SETTINGS, "k": (1, 10)})
    RunFolder(tmp_path, {**SETTINGS, "k": (1, 5)})  # the same, as JSON has it


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "일기.txt").write_text("나의 일기")
    with pytest.raises(RunError, match=r"holds '일기\.txt', which is no run's"):
        RunFolder(tmp_path, SETTINGS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["일기.txt"]
    with pytest.raises(RunError, match="is a file"):
        RunFolder(tmp_path / "일기.txt", SETTINGS)


def test_damaged_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("[1]")
    with pytest.raises(RunError, match=r"settings\.json is damaged"):
        RunFolder(tmp_path, SETTINGS)


def test_a_finished_run_is_read_from_its_folder_and_its_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, SETTINGS)
    with pytest.raises(RunError, match="is not finished; run its command again"):
        read_run(tmp_path)
    folder.finish(RUN)
    assert read_run(tmp_path) == read_run(tmp_path / "run.json") == RUN
    assert "<title>시험</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        *("report.html", "run.json", "settings.json"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[]", "names no kind"),
        ('{"format": 1}', "names no kind"),
        ('{"kind": "retrieval", "format": 2}', "has format 2, this version reads 1"),
        ('{"kind": "retrieval", "format": 1}', "holds no questions"),
        ('{"kind": "comparison", "format": 1, "questions": 4}', "holds no questions"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_run(tmp_path)


def test_where_there_is_nothing_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run at"):
        read_run(tmp_path / "run")


def test_figures_that_are_no_numbers_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.finish({**RUN, "seconds": float("nan")})
    assert not (tmp_path / "run.json").exists()


def test_text_without_an_encoding_becomes_a_question_mark(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "가\ud800나")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "가?나"
    folder = RunFolder(tmp_path / "run", {})
    folder.record("가", "q\ud800", {"text": "\ud800"})
    line = json.loads((tmp_path / "run" / "progress.jsonl").read_text(encoding="utf-8"))
    assert line["row"] == {"text": "?"}
    assert folder.finished("가") == RunFolder(tmp_path / "run", {}).finished("가")


def test_versions_leave_out_what_is_not_installed() -> None:
    found = versions("numpy", "no-such-package")
    assert list(found) == ["python", "kogemma-rag", "numpy"]
