"""The page for everyone: Hangul, the keyboard alone, screen readers, narrow and dark screens."""

import re
from types import SimpleNamespace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from page.browsing import (
    HWPX_QUESTION,
    HWPX_SENTENCE,
    PDF_QUESTION,
    ask,
    questions,
)

# Keys


def press_enter(page: Page, *orders: str) -> None:
    """What an input method and a browser tell for one press of Enter, in an order of theirs."""
    devtools = page.context.new_cdp_session(page)
    enter = {"key": "Enter", "code": "Enter"}
    for order in orders:
        if order == "up":
            devtools.send("Input.dispatchKeyEvent", {"type": "keyUp", **enter})
        elif order.isdigit():
            code = {"windowsVirtualKeyCode": int(order)}
            devtools.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **enter, **code})
        else:
            devtools.send("Input.insertText", {"text": order})


def compose(page: Page, *syllables: str) -> None:
    devtools = page.context.new_cdp_session(page)
    for syllable in syllables:
        place = {"selectionStart": len(syllable), "selectionEnd": len(syllable)}
        devtools.send("Input.imeSetComposition", {"text": syllable, **place})


def test_enter_that_ends_a_syllable_sends_once(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address)
    page.locator("#question").focus()
    orders = [
        ("229", "요", "up"),  # Enter while composing, and no more
        ("229", "요", "13", "up"),  # told again after the composition
        ("요", "229", "up"),  # told after the composition, with its code
        ("요", "13", "up"),
    ]
    for times, order in enumerate(orders, start=1):
        page.keyboard.insert_text("병가는 며칠인가")
        compose(page, "ㅇ", "요")
        press_enter(page, *order)
        expect(page.locator(".turn.done")).to_have_count(times)
        press_enter(page, "13", "up")  # nothing is left to send
        assert page.locator("#question").input_value() == ""
        assert questions(page) == ["병가는 며칠인가요"] * times
    asked = [url for url in watched.requests if url.endswith("/v1/chat/completions")]
    assert len(asked) == len(orders)


def test_enter_that_chooses_a_hanja_does_not_send(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address)
    page.locator("#question").focus()
    compose(page, "病暇")
    press_enter(page, "229", "病暇", "up")
    page.wait_for_timeout(100)
    assert (questions(page), page.locator("#question").input_value()) == ([], "病暇")
    press_enter(page, "13", "up")
    expect(page.locator(".turn")).to_have_count(1)


def test_everything_by_keyboard(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address)
    page.keyboard.type("병가는 1년에 며칠인가요")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("?")
    assert page.locator("#question").input_value() == "병가는 1년에 며칠인가요\n?"
    page.keyboard.press("Enter")
    expect(page.locator(".turn")).to_have_class(re.compile("done"))
    tab_to(page, ".citation", key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#view-text mark")).to_be_visible()
    assert focused(page) == "sources-title"
    tab_to(page, "#passages button")
    page.keyboard.press("Escape")
    expect(page.locator("#sources")).to_be_hidden()
    assert page.evaluate("document.activeElement.className") == "citation"
    page.keyboard.press("/")
    assert focused(page) == "question"
    tab_to(page, "#open-documents", key="Shift+Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#documents")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#documents")).to_be_hidden()
    assert focused(page) == "open-documents"


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def tab_to(page: Page, selector: str, *, key: str = "Tab") -> None:
    for _ in range(40):
        if page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
        page.keyboard.press(key)
    pytest.fail(f"{key} does not lead to {selector}")


# For everyone


def test_axe_finds_nothing_serious(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address, color_scheme="light")
    assert violations(page) == []
    ask(page, PDF_QUESTION)
    page.get_by_role("button", name="도움이 안 됨").click()
    expect(page.locator(".box").first).to_be_visible()
    assert violations(page) == []
    page.locator("#tab-text").click()
    assert violations(page) == []
    page.locator("#open-documents").click()
    expect(page.locator("#document-list li").first).to_be_visible()
    assert violations(page) == []


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe finds, and what it finds of the contrast in the dark."""
    wanted = {"resultTypes": ["violations"]}  # else it spends its time on what passes
    found = Axe().run(page, options=wanted).response["violations"]
    page.emulate_media(color_scheme="dark")
    contrast = {**wanted, "runOnly": ["color-contrast"]}
    found += page.evaluate("(options) => axe.run(options)", contrast)["violations"]
    page.emulate_media(color_scheme="light")
    return [
        (one["id"], str(one["nodes"][0]["target"]))
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_screen_reader_hears_the_answer(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address)
    ask(page, HWPX_QUESTION)
    said = page.locator("#live[aria-live=polite] p").all_inner_texts()
    assert said[0] == "문서를 찾고 있습니다…"
    assert any(HWPX_SENTENCE in text for text in said)
    assert re.fullmatch(r"답이 끝났습니다\. 출처 \d개\.", said[-1])


def test_english_dark_narrow_and_print(address: str, watched: SimpleNamespace) -> None:
    page = watched.open(address, viewport={"width": 390, "height": 800})
    page.locator("#language").click()
    assert page.locator("#send").inner_text() == "Send"
    assert page.locator("html").get_attribute("lang") == "en"
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    for _ in range(2):
        page.locator("#theme").click()
    assert page.locator("#theme").inner_text() == "Theme: dark"
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    ask(page, HWPX_QUESTION)
    page.locator(".answer .citation").first.click()
    answer, sheet = page.locator("main").bounding_box(), page.locator("#sources").bounding_box()
    assert answer
    assert sheet
    assert answer["y"] + answer["height"] <= sheet["y"] + 1
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.emulate_media(media="print")
    expect(page.locator("#composer")).to_be_hidden()
    expect(page.locator(".turn .answer")).to_be_visible()
