"""A browser, a server of sample documents, and pages that are watched."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile_markup import SAMPLES
from playwright.sync_api import Browser, Page, expect, sync_playwright
from served import ScriptedChatModel, served

from kogemma_rag.index import DocumentIndex
from kogemma_rag.web.options import ServeOptions
from page.browsing import DOCUMENTS, HWPX, PDF

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
SECOND = 1000


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def index(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    """The sample documents, and one whose text is hostile."""
    folder = tmp_path_factory.mktemp("documents")
    for name in (PDF, HWPX):
        shutil.copy(DOCUMENTS / name, folder / name)
    hostile = "적대적 표시 견본 문서\n\n" + "\n\n".join(SAMPLES)
    (folder / "견본.txt").write_text(hostile, encoding="utf-8")
    with DocumentIndex.open(tmp_path_factory.mktemp("index")) as opened:
        opened.sync(folder, progress=False, workers=1)
        yield opened


@pytest.fixture(scope="package")
def address(index: DocumentIndex) -> Iterator[str]:
    with served(ServeOptions(index=index)) as url:
        yield url


@pytest.fixture(scope="package")
def scripted_server(index: DocumentIndex) -> Iterator[SimpleNamespace]:
    model = ScriptedChatModel()
    with served(ServeOptions(index=index, chat_model=model)) as url:
        yield SimpleNamespace(url=url, model=model)


@pytest.fixture
def scripted(scripted_server: SimpleNamespace) -> SimpleNamespace:
    """A server at `url`, whose `model` says what its script is set to."""
    scripted_server.model.script, scripted_server.model.pause = "", 0.0
    return scripted_server


@pytest.fixture
def watched(browser: Browser) -> Iterator[SimpleNamespace]:
    """Opens pages; at the end none may have left the host, run what it should not, or complained.

    `excused` is a pattern of complaints that a test provokes.
    """
    expect.set_options(timeout=15 * SECOND)
    seen = SimpleNamespace(requests=[], complaints=[], ran=[], excused=None, open=None, host=None)
    contexts = []

    def open_page(url: str, path: str = "/", ready: str = "모델", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        seen.host = url
        context.expose_function("ran", lambda *_: seen.ran.append(context.pages[0].url))
        context.on("request", lambda request: seen.requests.append(request.url))
        page = context.new_page()
        page.on("console", lambda said: seen.complaints.append(said.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.goto(url + path)
        expect(page.locator("#named")).to_contain_text(ready)
        return page

    seen.open = open_page
    yield seen
    for context in contexts:
        context.close()
    left = [url for url in seen.requests if not url.startswith((f"{seen.host}/", "blob:"))]
    unexcused = [c for c in seen.complaints if not (seen.excused and re.search(seen.excused, c))]
    assert (left, unexcused, seen.ran) == ([], [], [])
