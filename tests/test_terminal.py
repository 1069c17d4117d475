"""What is printed cannot steer the terminal, and JSON loses nothing."""

import io
import json
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from kogemma_rag import terminal


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31m빨강\x1b[0m", "빨강"),
        ("\x1b[2J\x1b[H지움", "지움"),
        ("\x9b31m빨강", "빨강"),
        ("앞\x1b]0;제목\x07뒤", "앞뒤"),
        ("앞\x1b]8;;http://evil.example\x1b\\누르세요\x1b]8;;\x1b\\뒤", "앞누르세요뒤"),
        ("앞\x1bP1;2|자료\x1b\\뒤", "앞뒤"),
        ("\x1bc초기화", "초기화"),
        ("\x1b(0글자판", "글자판"),
        ("끝나지 않은 \x1b[", "끝나지 않은 "),
        ("덮어\r쓰기\b\x7f\x00\x85", "덮어쓰기"),
        ("\u202e거꾸로\u2066\u2069", "거꾸로"),
        ("줄\n바꿈\t탭 [bold]그대로[/bold] 한글 ①㈜", "줄\n바꿈\t탭 [bold]그대로[/bold] 한글 ①㈜"),
    ],
)
def test_escapes_and_controls_are_taken_out(hostile: str, shown: str) -> None:
    assert terminal.printable(hostile) == shown


def test_an_escape_cut_by_a_stream_is_inert(capsys: pytest.CaptureFixture[str]) -> None:
    for piece in ("답 \x1b", "[31m빨강"):
        terminal.show(piece, end="")
    terminal.notify("알림\x1b[0m")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("답 [31m빨강", "알림\n")


def test_json_keeps_every_character_but_shows_no_control(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {"글": "한글 \x1b[31m \x9b \x7f \u202e \n"}
    terminal.show_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "한글" in out
    assert not [character for character in out[:-1] if not character.isprintable()]


def test_json_of_dates_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 7, 1, 9, 30, tzinfo=timezone.utc)
    terminal.show_json({"a": moment, "b": date(2026, 7, 1), "c": Path("문서/규정.pdf")})
    assert json.loads(capsys.readouterr().out) == {
        "a": "2026-07-01T09:30:00+00:00",
        "b": "2026-07-01",
        "c": "문서/규정.pdf",
    }


def test_json_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(TypeError, match="set has no JSON form"):
        terminal.show_json({"a": {1}})


def test_another_encoding_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    terminal.accept_any_encoding()
    terminal.show("ask 질문")
    terminal.show_json({"글": "가"})
    assert out.buffer.getvalue() == b'ask ??\n{"\\uae00": "\\uac00"}\n'  # type: ignore[attr-defined]
