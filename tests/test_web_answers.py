"""What stands behind the API: turns, pacing, HTML of answers, and the server as a command."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from kogemma_rag import DocumentIndex
from kogemma_rag.web.log_lines import JsonFormatter
from kogemma_rag.web.pacing import paced
from kogemma_rag.web.rendering import answer_html, sources_markdown
from kogemma_rag.web.sources import passage_sources
from kogemma_rag.web.turns import BusyError, Turns


async def test_turns_come_in_order() -> None:
    turns = Turns(at_once=2, most_waiting=3)
    order: list[int] = []
    end = asyncio.Event()

    async def ask(number: int) -> None:
        with turns.place():
            async with turns.turn():
                order.append(number)
                await end.wait()

    asked = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    assert (order, turns.active, turns.waiting) == ([0, 1], 2, 3)
    with pytest.raises(BusyError, match="3 requests wait"), turns.place():
        pass
    asked[2].cancel()
    asked[0].cancel()
    await asyncio.sleep(0.01)
    assert (order, turns.active, turns.waiting) == ([0, 1, 3], 2, 1)
    end.set()
    await asyncio.wait(asked)
    assert (order, turns.active, turns.waiting) == ([0, 1, 3, 4], 0, 0)


async def _items(*pauses: float) -> AsyncIterator[int]:
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        yield number


async def test_signs_of_life_between_items() -> None:
    seen = [item async for item in paced(_items(0, 0.25, 0), every=0.1, limit=5)]
    assert seen == [0, None, None, 1, 2]


async def test_items_end_at_the_limit() -> None:
    items = paced(_items(0, 5), every=1, limit=0.1)
    assert await anext(items) == 0
    with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
        await anext(items)


async def test_what_is_given_up_is_cancelled() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            ended.set()

    items = paced(endless(), every=1, limit=60)
    assert await anext(items) == 1
    await items.aclose()
    await asyncio.wait_for(ended.wait(), 1)


def _mark(number: int) -> str:
    return f'<button type="button" class="citation" data-n="{number}">{number}</button>'


@pytest.mark.parametrize(
    ("answer", "html"),
    [
        ("15일이다. [1]", f"<p>15일이다. {_mark(1)}</p>\n"),
        ("가 [1, 2]", f"<p>가 {_mark(1)}{_mark(2)}</p>\n"),
        ("[1](https://evil.example)", f"<p>{_mark(1)}(https://evil.example)</p>\n"),
        ("`[1]`", "<p><code>[1]</code></p>\n"),
        ("**굵게** <b>x</b>", "<p><strong>굵게</strong> &lt;b&gt;x&lt;/b&gt;</p>\n"),
        (
            "[열기](https://a.kr/?q&r)",
            '<p><a href="https://a.kr/?q&amp;r" rel="noopener noreferrer nofollow">열기</a></p>\n',
        ),
        ("a\n- b", "<p>a</p>\n<ul>\n<li>b</li>\n</ul>\n"),
        ("|가|\n|-|\n|1|", None),
    ],
)
def test_answers_as_html(answer: str, html: str | None) -> None:
    told = answer_html(answer)
    if html is None:
        assert "<table>" in told
        assert "<td>1</td>" in told
    else:
        assert told == html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](https://evil.example/a.png)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "<javascript:alert(1)>",
        "<svg/onload=alert(1)>",
        '<button class="citation" data-n="1" onclick="alert(1)">1</button>',
        '[x](https://a.kr "onmouseover=alert(1)")',
        "<iframe src=//evil.example>",
        "<style>@import url(//evil.example)</style>",
        "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
        "[x]: https://evil.example/a.png\n\n![x]",
        "<!--><script>alert(1)</script>-->",
        "<a href=javascript:alert(1)>x</a>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ],
)
def test_nothing_hostile_becomes_html(hostile: str) -> None:
    from bs4 import BeautifulSoup

    tree = BeautifulSoup(answer_html(hostile), "html.parser")
    allowed = {"p", "a", "code", "pre", "blockquote"}
    assert {tag.name for tag in tree.find_all(True)} <= allowed
    for tag in tree.find_all(True):
        assert set(tag.attrs) <= {"href", "rel"}
        assert str(tag.get("href", "https://")).startswith("https://")


def test_sources_as_markdown_are_inert() -> None:
    from langchain_core.documents import Document

    from kogemma_rag.citations import Citation

    metadata = {"source": "가](http://evil)[<b>.pdf", "page": 2}
    document = Document("![x](http://evil) 문장.", id="c1", metadata=metadata)
    citation = Citation(1, "c1", "![x](http://evil) 문장.", 0, 21, metadata)
    sources = passage_sources([document], {"c1": 0.5}, {"c1": "d1"}, [citation])
    assert (sources[0]["score"], sources[0]["document_id"]) == (0.5, "d1")
    assert sources_markdown(sources, "http://127.0.0.1:8000/") == (
        "\n\n---\n\n**출처**\n\n"
        r"- [1] [가\](http://evil)\[\<b\>.pdf, 2쪽]"
        "(http://127.0.0.1:8000/#/documents/d1?chunk=c1&start=0&end=21): "
        r"!\[x\](http://evil) 문장."
    )
    assert sources_markdown(passage_sources([document], {}, {}), "http://x") == ""


def test_log_line_of_an_error_holds_no_text() -> None:
    try:
        raise ValueError("the secret passage")
    except ValueError as error:
        told = (ValueError, error, error.__traceback__)
    message = "Task exception was never retrieved\nfuture: <Task exception=%r>"
    record = logging.LogRecord("asyncio", 40, "tasks.py", 1, message, (told[1],), told)
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "Task exception was never retrieved"
    assert line["error"] == "ValueError"
    assert line["frames"][0].startswith("test_log_line_of_an_error_holds_no_text:")
    assert "secret" not in str(line)


def test_server_as_a_command(tmp_path: Path) -> None:
    """Ready soon, tells that it quotes, ends on SIGTERM. Time is the processor's own."""
    with DocumentIndex.open(tmp_path / "index") as index:
        assert index.info()["chunks"] == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kogemma_rag", "serve", "--in", str(tmp_path / "index")]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--token", "t" * 40],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health/ready", token="t" * 40)
        times = psutil.Process(process.pid).cpu_times()
        assert times.user + times.system < 6  # 3 s where nothing else runs
        assert httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 401
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert "문장을 그대로 옮깁니다" in told
    assert "t" * 40 not in told
    assert process.returncode in (0, -signal.SIGTERM)


def _wait_for(url: str, *, token: str) -> None:
    deadline = time.monotonic() + 60
    headers = {"Authorization": f"Bearer {token}"}
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, headers=headers).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--host", "0.0.0.0"], "allowed_hosts"),  # noqa: S104 - refused
        (["--token", "short"], "at least 22"),
    ],
)
def test_unsafe_commands_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], sentence: str
) -> None:
    from kogemma_rag.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["serve", "--in", str(tmp_path / "index"), *given])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "서버를 이렇게 열 수 없습니다" in told
    assert sentence in told
