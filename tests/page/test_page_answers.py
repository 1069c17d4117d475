"""Asking in a browser: streams, sources beside the answer, hostile answers and documents."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pdfplumber
import pytest
from hostile_markup import ADDRESS, SAMPLES
from langchain_core.exceptions import ModelAPIError
from langchain_core.outputs import ChatGenerationChunk
from playwright.sync_api import Browser, Page, expect
from served import ScriptedChatModel, served

from kogemma_rag.index import DocumentIndex
from kogemma_rag.prompts import NOT_FOUND
from kogemma_rag.web import errors_api
from kogemma_rag.web.options import ServeOptions
from page.browsing import (
    DOCUMENTS,
    HWPX_QUESTION,
    HWPX_SENTENCE,
    PDF,
    PDF_QUESTION,
    PDF_SENTENCE,
    answer_of,
    ask,
    questions,
)

TOKEN = "4f0d2a9c81b7e36f5520d1c7ab94e863"  # noqa: S105 - of the tests' server


# Asking


def test_stream_comes_in_pieces_and_ends_with_checked_citations(
    scripted: SimpleNamespace, watched: SimpleNamespace
) -> None:
    model = scripted.model
    model.script = f"{HWPX_SENTENCE} [1] 그 밖은 모릅니다 [9]."
    model.pause = 0.03
    page = watched.open(scripted.url)
    page.evaluate(
        """() => { window.lengths = [];
        new MutationObserver(() => lengths.push(
          document.querySelector(".turn .answer")?.textContent.length ?? 0
        )).observe(document.getElementById("turns"), { childList: true, subtree: true }); }"""
    )
    ask(page, HWPX_QUESTION)
    lengths = [length for length in page.evaluate("lengths") if length]
    assert len(set(lengths)) >= 5
    assert lengths[0] < len(HWPX_SENTENCE) < lengths[-1]
    assert page.locator(".answer .citation").all_inner_texts() == ["1"]
    assert answer_of(page) == f"{HWPX_SENTENCE} 1 그 밖은 모릅니다."


def test_stop_and_retry(scripted: SimpleNamespace, watched: SimpleNamespace) -> None:
    model = scripted.model
    model.script = "가나다라마바사. " * 100
    model.pause = 0.05
    page = watched.open(scripted.url)
    page.locator("#question").fill(HWPX_QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".turn .answer")).to_contain_text("가나다라")
    page.locator("#question").fill("기다리는 질문")
    page.keyboard.press("Enter")  # is kept, not sent, while an answer is written
    page.locator("#stop").click()
    expect(page.locator(".turn")).to_have_class(re.compile("stopped"))
    assert 0 < len(answer_of(page)) < len(model.script)
    assert (questions(page), page.locator("#question").input_value()) == (
        [HWPX_QUESTION],
        "기다리는 질문",
    )
    model.script, model.pause = "다시 답합니다.", 0.0
    page.locator(".turn").get_by_role("button", name="다시").click()
    expect(page.locator(".turn")).to_have_class(re.compile("done"))
    assert (questions(page), answer_of(page)) == ([HWPX_QUESTION], "다시 답합니다.")


def test_what_the_documents_do_not_tell_is_shown_as_such(
    scripted: SimpleNamespace, watched: SimpleNamespace
) -> None:
    model = scripted.model
    model.script = NOT_FOUND
    page = watched.open(scripted.url)
    ask(page, "화성에는 언제 가나요?")
    assert page.locator(".refusal strong").inner_text() == "문서에서 찾지 못했습니다"
    expect(page.locator(".citation, .cited")).to_have_count(0)
    expect(page.locator("#sources")).to_be_hidden()


def test_chats_are_kept_in_the_tab(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address)
    ask(page, HWPX_QUESTION)
    before = answer_of(page)
    page.reload()
    assert (questions(page), answer_of(page)) == ([HWPX_QUESTION], before)
    page.locator("#new-chat").click()
    assert questions(page) == []
    page.locator("#open-history").click()
    page.get_by_role("button", name=HWPX_QUESTION).click()
    assert (questions(page), answer_of(page)) == ([HWPX_QUESTION], before)
    assert page.context.cookies() == []


def test_answer_is_copied_and_judged(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address, permissions=["clipboard-read", "clipboard-write"])
    ask(page, HWPX_QUESTION)
    page.get_by_role("button", name="복사").click()
    expect(page.locator("#notice")).to_have_text("복사했습니다.")
    assert HWPX_SENTENCE in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="도움이 안 됨").click()
    page.keyboard.type("표가 빠졌어요")
    with page.expect_response(lambda response: response.url.endswith("/feedback")) as response:
        page.keyboard.press("Enter")
    assert response.value.status == 201
    sent = response.value.request.post_data_json
    assert (sent["question"], sent["rating"], sent["note"]) == (
        HWPX_QUESTION,
        "down",
        "표가 빠졌어요",
    )
    expect(page.get_by_role("button", name="도움이 안 됨")).to_have_attribute(
        "aria-pressed", "true"
    )


class FailingChatModel(ScriptedChatModel):
    """Breaks off at the end of its script, when `end` is set."""

    end: threading.Event

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from super()._stream(*args, **kwargs)
        self.end.wait(20)
        raise ModelAPIError("the text of an error from within")


@pytest.mark.parametrize(
    ("language", "busy", "failed"),
    [
        (
            "ko",
            "지금은 기다리는 질문이 많습니다. 5초 뒤에 다시 하세요.",
            "모델 서버에 오류가 났습니다. 서버의 기록을 확인하세요.",
        ),
        (
            "en",
            "Many questions are waiting. Try again in 5 s.",
            "The model failed. See the server's log.",
        ),
    ],
    ids=["ko", "en"],
)
def test_errors_are_told_in_the_language_of_the_page(
    index: DocumentIndex, watched: SimpleNamespace, language: str, busy: str, failed: str
) -> None:
    watched.excused = "Failed to load resource.* 429 "
    model = FailingChatModel(script="병가는", end=threading.Event())
    options = ServeOptions(index=index, chat_model=model, concurrency=1, max_waiting=0)
    with served(options) as url:
        first, second = watched.open(url), watched.open(url)
        for page in (first, second):
            if language != "ko":
                page.locator("#language").click()
            page.locator("#question").fill(HWPX_QUESTION)
        first.keyboard.press("Enter")
        expect(first.locator(".turn .answer")).to_have_text("병가는")
        second.keyboard.press("Enter")
        expect(second.locator(".turn.failed .error")).to_have_text(busy)
        model.end.set()
        expect(first.locator(".turn.failed .error")).to_have_text(failed)
        assert first.locator("#live p").last.inner_text() == failed
        assert first.locator("html").get_attribute("lang") == language


def codes_of_errors() -> set[str]:
    """Those that the server's own code names, and `_CODES` of `errors_api`."""
    found = set(errors_api._CODES.values())
    for file in Path(errors_api.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r'(?:code=|RefusedError\(\s*)"(\w+)"', text))
        found |= set(re.findall(r'return (?:\d|error).*, "([a-z_]+)"\n', text))
    return found


def test_every_error_of_the_server_has_an_english_sentence(
    address: str, watched: SimpleNamespace
) -> None:
    codes = codes_of_errors()
    assert {"busy", "model_failed", "wrong_host", "too_many_documents"} <= codes
    page = watched.open(address)
    page.locator("#language").click()
    told = page.evaluate(
        """async (codes) => { const { sentence } = await import("/static/api.js");
        return codes.map((code) => sentence({ code, message: "서버의 말" }, 7)); }""",
        [*codes, "of a later version", None],
    )
    assert told[-2:] == ["서버의 말", "서버의 말"]
    assert len(set(told[:-2])) == len(codes)
    assert not re.search("[가-힣]", " ".join(told[:-2]))


# Sources


def test_citation_of_a_pdf_opens_its_page_with_the_sentence_boxed(
    address: str, watched: SimpleNamespace
) -> None:
    page = watched.open(address)
    ask(page, PDF_QUESTION)
    assert PDF_SENTENCE in answer_of(page)
    page.locator(".answer .citation").first.click()
    expect(page.locator(".box").first).to_be_visible()
    assert page.locator(".pager span").inner_text() == "2 / 3쪽"
    assert page.locator(".sheet img").get_attribute("src").startswith("blob:")
    shown = page.evaluate(
        """() => { const { left, top, width, height } =
          document.querySelector(".sheet img").getBoundingClientRect();
        return [...document.querySelectorAll(".box")].map((box) => box.getBoundingClientRect())
          .map((box) => [(box.left - left) / width, (box.top - top) / height,
            (box.right - left) / width, (box.bottom - top) / height]); }"""
    )
    assert bounds(shown) == pytest.approx(sentence_place(PDF_SENTENCE, page=2), abs=0.012)
    page.locator("#tab-text").click()
    expect(page.locator("#view-text mark")).to_be_in_viewport()
    assert "".join(page.locator("#view-text mark").all_inner_texts()) == PDF_SENTENCE


def bounds(boxes: list[list[float]]) -> list[float]:
    left, top, right, bottom = zip(*boxes, strict=True)
    return [min(left), min(top), max(right), max(bottom)]


def sentence_place(sentence: str, *, page: int) -> list[float]:
    """Where a sentence of the PDF stands, as shares of its page, by another reader."""
    with pdfplumber.open(DOCUMENTS / PDF) as pdf:
        sheet = pdf.pages[page - 1]
        characters = [one for one in sheet.chars if one["text"].strip()]
        text = "".join(one["text"] for one in characters)
        at = text.index(sentence.replace(" ", ""))
        found = characters[at : at + len(sentence.replace(" ", ""))]
        return bounds(
            [
                [
                    one["x0"] / sheet.width,
                    one["top"] / sheet.height,
                    one["x1"] / sheet.width,
                    one["bottom"] / sheet.height,
                ]
                for one in found
            ]
        )


def test_citation_of_an_hwpx_opens_its_text_with_the_sentence_marked(
    address: str, watched: SimpleNamespace
) -> None:
    page = watched.open(address)
    ask(page, HWPX_QUESTION)
    page.locator(".answer .citation").first.click()
    expect(page.locator("#view-text mark")).to_be_in_viewport()
    assert page.locator("#view-text mark").all_inner_texts() == [HWPX_SENTENCE]
    assert "제9조 (병가)" in page.locator("#where").inner_text()
    expect(page.locator("#tabs")).to_be_hidden()
    scores = page.locator("#passages .score").all_inner_texts()
    assert len(scores) == 4
    assert all(re.match(r"점수 \d\.\d\d", score) for score in scores)
    expect(page.locator("#passages [aria-current]")).to_contain_text(HWPX_SENTENCE[:20])


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [(HWPX_SENTENCE, "#view-text mark"), (PDF_SENTENCE, ".box")],
)
def test_address_of_a_place_opens_it(
    address: str, watched: SimpleNamespace, sentence: str, shown: str
) -> None:
    found = httpx.post(f"{address}/v1/search", json={"query": sentence}).json()["data"][0]
    start = found["text"].index(sentence)
    place = f"&start={start}&end={start + len(sentence)}"
    page = watched.open(address, found["url"] + place)
    expect(page.locator(shown).first).to_be_in_viewport()
    assert "".join(page.locator("#view-text mark").all_text_contents()) == sentence
    assert found["source"] in page.locator("#where").inner_text()


def test_link_of_an_answer_is_opened_after_its_address_was_shown(
    scripted: SimpleNamespace, watched: SimpleNamespace
) -> None:
    model = scripted.model
    model.script = f"[눌러 보세요]({ADDRESS}/a?b=1) 그림 ![]({ADDRESS}/c.png)"
    page = watched.open(scripted.url)
    ask(page, HWPX_QUESTION)
    expect(page.locator(".answer a, .answer img")).to_have_count(0)
    page.locator(".answer .link").first.click()
    assert page.locator("#confirm-text").inner_text() == f"{ADDRESS}/a?b=1"
    page.locator("#confirm").get_by_role("button", name="취소").click()
    assert len(page.context.pages) == 1


# Safety


def test_token_is_asked_for_and_kept_in_the_tab(
    index: DocumentIndex, watched: SimpleNamespace
) -> None:
    watched.excused = "Failed to load resource.* 401 "
    with served(ServeOptions(index=index, token=TOKEN)) as url:
        page = watched.open(url, ready="")
        for token in ("wrong", TOKEN):
            expect(page.locator("#token-dialog")).to_be_visible()
            page.locator("#token").fill(token)
            page.keyboard.press("Enter")
            page.wait_for_timeout(200)
        expect(page.locator("#named")).to_contain_text("extractive")
        ask(page, HWPX_QUESTION)
        assert HWPX_SENTENCE in answer_of(page)
        assert page.evaluate("Object.values(sessionStorage)").count(TOKEN) == 1
        assert page.evaluate("Object.values(localStorage)").count(TOKEN) == 0
        assert page.context.cookies() == []
        assert not [url for url in watched.requests if TOKEN in url]


def test_hostile_answers_neither_run_nor_fetch(
    scripted: SimpleNamespace, watched: SimpleNamespace
) -> None:
    model = scripted.model
    page = watched.open(scripted.url)
    for at in range(0, len(SAMPLES), 40):
        model.script = "\n\n".join(SAMPLES[at : at + 40])
        ask(page, HWPX_QUESTION)
    assert page.locator(".turn").count() == 5
    assert_harmless(page)


def test_hostile_html_is_harmless_even_past_the_server(
    address: str, watched: SimpleNamespace
) -> None:
    # What the policy blocks while it is parsed, and says so.
    watched.excused = "^(Applying inline style|Setting the document.s base URI) .* blocked"
    page = watched.open(address)
    shown = page.evaluate(
        """async (samples) => { const { fromHtml, fromText } = await import("/static/markup.js");
        const turns = document.getElementById("turns");
        for (const sample of samples) {
          const box = document.createElement("div");
          box.append(fromHtml(sample, () => {}), fromText(sample, () => {}));
          turns.append(box);
        } return turns.childElementCount; }""",
        SAMPLES,
    )
    assert shown == len(SAMPLES) == 200
    assert_harmless(page)


def test_hostile_documents_are_shown_as_text(address: str, watched: SimpleNamespace) -> None:
    found = httpx.post(f"{address}/v1/search", json={"query": "적대적 표시 견본 문서"})
    urls = [one["url"] for one in found.json()["data"] if one["source"] == "견본.txt"]
    page = watched.open(address, urls[0])
    expect(page.locator("#view-text mark").first).to_be_visible()
    assert "<script" in page.locator("#view-text").inner_text().lower()
    ask(page, "ran attacker.invalid script 견본")
    assert_harmless(page)


def assert_harmless(page: Page) -> None:
    """Nothing but our own elements is on the page; what ran or was fetched `watched` tells."""
    page.wait_for_timeout(100)
    foreign = "body script, iframe, object, embed, video, audio, form form, #desk a, #desk img"
    assert page.locator(foreign).count() == 0
    odd = page.evaluate(
        """() => [...document.querySelectorAll("#turns *, #view-text *")].flatMap((node) =>
          [...node.attributes].map((one) => one.name)
            .filter((name) => /^on|^style$|^srcdoc$|^href$|^src$|^ping$/.test(name))
            .map((name) => `${node.tagName} ${name} ${node.getAttribute(name)}`))"""
    )
    assert [one for one in odd if not one.startswith("use href #icon-")] == []


def test_the_samples_are_hostile_indeed(browser: Browser) -> None:
    """The same samples on a page without our care run and fetch: the other tests could fail."""
    context = browser.new_context()
    ran: list[str] = []
    fetched: list[str] = []
    context.expose_function("ran", lambda *_: ran.append("ran"))
    context.route("**/*", lambda route: (fetched.append(route.request.url), route.abort()))
    page = context.new_page()
    page.set_content(f"<!doctype html><div>{'</div><div>'.join(SAMPLES[:30])}</div>", timeout=9000)
    page.wait_for_timeout(200)
    context.close()
    assert ran
    assert any(url.startswith(ADDRESS) for url in fetched)
