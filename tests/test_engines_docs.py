"""What docs/engines.md and docs/engines.en.md tell to run, run."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LANGUAGES = ("docs/engines.md", "docs/engines.en.md")


def code(page, kind):
    text = (ROOT / page).read_text(encoding="utf-8")
    [found] = re.findall(rf"<!-- run {kind} -->\n```python\n(.*?)```", text, re.DOTALL)
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples" / "documents", tmp_path / "examples" / "documents")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", LANGUAGES)
def test_a_database_is_used_as_the_page_says(page, folder, postgres_url, capsys):
    exec(code(page, "postgres"), {"URL": postgres_url})  # noqa: S102 - our own page
    printed = capsys.readouterr().out
    assert printed.startswith("사내 도서관은 아홉 시에 연다.\n")
    assert "[1]" in printed


@pytest.mark.parametrize("page", LANGUAGES)
def test_any_store_is_used_as_the_page_says(page, folder, capsys):
    exec(code(page, "store"), {})  # noqa: S102 - our own page
    assert re.search(r"\.\w+\n$", capsys.readouterr().out)


def test_the_pages_are_alike():
    korean, english = ((ROOT / page).read_text(encoding="utf-8") for page in LANGUAGES)
    for part in (r"^#+ ", r"^\|", r"^- ", r"^```"):
        pattern = re.compile(part, re.MULTILINE)
        assert len(pattern.findall(korean)) == len(pattern.findall(english))
