"""The page in a real browser: asking, sources, documents, Hangul, keyboard, hostile documents."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pdfplumber
import pytest
from axe_playwright_python.sync_playwright import Axe
from hostile_markup import ADDRESS, SAMPLES
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sample_documents import write_hwpx
from served import ScriptedChatModel, served
from test_loaders_hwp import hwp_paragraph, write_hwp

from kogemma_rag.index import DocumentIndex
from kogemma_rag.prompts import NOT_FOUND
from kogemma_rag.web.options import ServeOptions

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
DOCUMENTS = Path(__file__).parents[1] / "examples" / "documents"
PDF, HWPX = "출장비규정.pdf", "휴가규정.hwpx"
PDF_QUESTION = "출장비 선지급은 언제까지 신청하나요?"
PDF_SENTENCE = "선지급을 받으려면 출발 5일 전까지 재무팀에 신청한다."
HWPX_QUESTION = "병가는 1년에 며칠까지 쓸 수 있나요?"
HWPX_SENTENCE = "업무와 관계없는 질병으로 일할 수 없을 때에는 1년에 60일까지 병가를 쓸 수 있다."
SECOND = 1000
TOKEN = "4f0d2a9c81b7e36f5520d1c7ab94e863"  # noqa: S105 - of the tests' server

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    """The sample documents, and one whose text is hostile."""
    folder = tmp_path_factory.mktemp("documents")
    for name in (PDF, HWPX):
        shutil.copy(DOCUMENTS / name, folder / name)
    hostile = "적대적 표시 견본 문서\n\n" + "\n\n".join(SAMPLES)
    (folder / "견본.txt").write_text(hostile, encoding="utf-8")
    with DocumentIndex.open(tmp_path_factory.mktemp("index")) as opened:
        opened.sync(folder, progress=False)
        yield opened


@pytest.fixture(scope="module")
def address(index: DocumentIndex) -> Iterator[str]:
    with served(ServeOptions(index=index)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


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


def ask(page: Page, question: str) -> None:
    page.locator("#question").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".turn").last).to_have_class(re.compile("done"))


def questions(page: Page) -> list[str]:
    asked = page.locator(".asked").all_text_contents()
    return [text.removeprefix("질문: ") for text in asked]


def answer_of(page: Page) -> str:
    return page.locator(".turn .answer").last.inner_text()


def state_of(page: Page, title: str) -> Any:
    return page.locator("#document-list li", has_text=title).first


# Asking


def test_stream_comes_in_pieces_and_ends_with_checked_citations(
    index: DocumentIndex, watched: SimpleNamespace
) -> None:
    model = ScriptedChatModel(script=f"{HWPX_SENTENCE} [1] 그 밖은 모릅니다 [9].", pause=0.03)
    with served(ServeOptions(index=index, chat_model=model)) as url:
        page = watched.open(url)
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


def test_stop_and_retry(index: DocumentIndex, watched: SimpleNamespace) -> None:
    model = ScriptedChatModel(script="가나다라마바사. " * 100, pause=0.05)
    with served(ServeOptions(index=index, chat_model=model)) as url:
        page = watched.open(url)
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
    index: DocumentIndex, watched: SimpleNamespace
) -> None:
    model = ScriptedChatModel(script=NOT_FOUND)
    with served(ServeOptions(index=index, chat_model=model)) as url:
        page = watched.open(url)
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
    page = watched.open(address)
    body = {"query": sentence}
    found = page.request.post(f"{address}/v1/search", data=body).json()["data"][0]
    start = found["text"].index(sentence)
    place = f"&start={start}&end={start + len(sentence)}"
    other = watched.open(address, found["url"] + place)
    expect(other.locator(shown).first).to_be_in_viewport()
    assert "".join(other.locator("#view-text mark").all_text_contents()) == sentence
    assert found["source"] in other.locator("#where").inner_text()


def test_link_of_an_answer_is_opened_after_its_address_was_shown(
    index: DocumentIndex, watched: SimpleNamespace
) -> None:
    model = ScriptedChatModel(script=f"[눌러 보세요]({ADDRESS}/a?b=1) 그림 ![]({ADDRESS}/c.png)")
    with served(ServeOptions(index=index, chat_model=model)) as url:
        page = watched.open(url)
        ask(page, HWPX_QUESTION)
        expect(page.locator(".answer a, .answer img")).to_have_count(0)
        page.locator(".answer .link").first.click()
        assert page.locator("#confirm-text").inner_text() == f"{ADDRESS}/a?b=1"
        page.locator("#confirm").get_by_role("button", name="취소").click()
        assert len(page.context.pages) == 1


# Documents


def test_hwpx_is_uploaded_asked_replaced_and_deleted(
    address: str, watched: SimpleNamespace, tmp_path: Path
) -> None:
    write_hwpx(tmp_path / "취업규칙.hwpx", lambda text: text)
    page = watched.open(address)
    page.locator("#open-documents").click()
    page.locator("#files").set_input_files(tmp_path / "취업규칙.hwpx")
    item = state_of(page, "취업규칙.hwpx")
    expect(item.locator(".badge")).to_have_text("준비됨")
    page.keyboard.press("Escape")
    ask(page, "USB-C 충전기는 무게가 얼마 이하인가요?")
    assert "무게 3㎏ 이하인 USB-C 충전기 2개" in answer_of(page)
    assert "취업규칙" in page.locator(".cited").inner_text()

    write_hwpx(tmp_path / "취업규칙.hwpx", lambda text: text.replace("3㎏", "7㎏"))
    page.locator("#open-documents").click()
    with page.expect_file_chooser() as chooser:
        item.get_by_role("button", name="교체").click()
    chooser.value.set_files(tmp_path / "취업규칙.hwpx")
    expect(item.locator(".badge")).not_to_have_text("준비됨")
    expect(item.locator(".badge")).to_have_text("준비됨")
    page.keyboard.press("Escape")
    ask(page, "USB-C 충전기는 무게가 얼마 이하인가요?")
    assert "무게 7㎏ 이하인 USB-C 충전기 2개" in answer_of(page)

    page.locator("#open-documents").click()
    item.get_by_role("button", name="삭제").click()
    page.locator("#confirm-yes").click()
    expect(item).to_have_count(0)
    found = page.request.post(f"{address}/v1/search", data={"query": "USB-C 충전기"}).json()
    assert "충전기" not in "".join(source["text"] for source in found["data"])


def test_hwp_is_dropped_and_asked(address: str, watched: SimpleNamespace, tmp_path: Path) -> None:
    text = "구내식당의 점심은 오전 11시 40분부터 먹을 수 있다."
    path = write_hwp(tmp_path / "식당.hwp", hwp_paragraph(text))
    page = watched.open(address)
    page.evaluate(
        """(bytes) => { const carried = new DataTransfer();
        carried.items.add(new File([new Uint8Array(bytes)], "식당.hwp"));
        for (const type of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(
          new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true })); }""",
        list(path.read_bytes()),
    )
    expect(state_of(page, "식당.hwp").locator(".badge")).to_have_text("준비됨")
    page.keyboard.press("Escape")
    ask(page, "구내식당 점심은 몇 시부터 먹을 수 있나요?")
    assert text in answer_of(page)


def test_folder_is_uploaded_with_its_names(
    address: str, watched: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "회의록"
    (folder / "삼월").mkdir(parents=True)
    (folder / "삼월" / "첫째.txt").write_text("삼월 첫째 회의는 가람홀에서 했다.", encoding="utf-8")
    (folder / ".숨김.txt").write_text("숨긴 것", encoding="utf-8")
    page = watched.open(address)
    page.locator("#open-documents").click()
    page.locator("#folder").set_input_files(folder)
    item = state_of(page, "회의록/삼월/첫째.txt")
    expect(item.locator(".badge")).to_have_text("준비됨")
    expect(state_of(page, "숨김")).to_have_count(0)


def test_served_folder_is_read_again(
    watched: SimpleNamespace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "하나.txt").write_text("주차는 지하 2층에 한다.", encoding="utf-8")
    index = tmp_path_factory.mktemp("served")
    with served(ServeOptions(index=index, documents=tmp_path)) as url:
        page = watched.open(url)
        page.locator("#open-documents").click()
        expect(state_of(page, "하나.txt").locator(".badge")).to_have_text("준비됨")
        (tmp_path / "둘.txt").write_text("자전거는 일 층에 둔다.", encoding="utf-8")
        page.locator("#sync").click()
        expect(page.locator("#notice")).to_have_text("문서 폴더를 다시 살핍니다.")
        expect(state_of(page, "둘.txt").locator(".badge")).to_have_text("준비됨")


def test_file_that_cannot_be_read_tells_why_and_can_be_tried_again(
    address: str, watched: SimpleNamespace, tmp_path: Path
) -> None:
    watched.excused = r"Failed to load resource.* 4\d\d "  # should the server refuse it at once
    (tmp_path / "깨진.pdf").write_bytes(b"%PDF-1.7\n" + bytes(500))
    page = watched.open(address)
    page.locator("#open-documents").click()
    page.locator("#files").set_input_files(tmp_path / "깨진.pdf")
    item = state_of(page, "깨진.pdf")
    expect(item.locator(".badge")).to_have_text("실패")
    assert re.search("[가-힣]{2}", item.locator(".reason").inner_text())
    item.get_by_role("button", name="다시").click()
    expect(item.locator(".badge")).to_have_text("실패")
    item.get_by_role("button", name="삭제").click()
    page.locator("#confirm-yes").click()
    expect(item).to_have_count(0)


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


@pytest.mark.parametrize(
    "orders",
    [
        ("229", "요", "up"),  # Enter while composing, and no more
        ("229", "요", "13", "up"),  # told again after the composition
        ("요", "229", "up"),  # told after the composition, with its code
        ("요", "13", "up"),
    ],
)
def test_enter_that_ends_a_syllable_sends_once(
    address: str, watched: SimpleNamespace, orders: tuple[str, ...]
) -> None:
    page = watched.open(address)
    page.locator("#question").focus()
    page.keyboard.insert_text("병가는 며칠인가")
    compose(page, "ㅇ", "요")
    press_enter(page, *orders)
    expect(page.locator(".turn")).to_have_class(re.compile("done"))
    press_enter(page, "13", "up")  # nothing is left to send
    assert (questions(page), page.locator("#question").input_value()) == (
        ["병가는 며칠인가요"],
        "",
    )
    asked = [url for url in watched.requests if url.endswith("/v1/chat/completions")]
    assert len(asked) == 1


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(address: str, watched: SimpleNamespace, scheme: str) -> None:
    page = watched.open(address, color_scheme=scheme)
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
    found = Axe().run(page).response["violations"]
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
    index: DocumentIndex, watched: SimpleNamespace
) -> None:
    model = ScriptedChatModel()
    with served(ServeOptions(index=index, chat_model=model)) as url:
        page = watched.open(url)
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
    page = watched.open(address)
    found = page.request.post(f"{address}/v1/search", data={"query": "적대적 표시 견본 문서"})
    urls = [one["url"] for one in found.json()["data"] if one["source"] == "견본.txt"]
    page.goto(address + urls[0])
    page.reload()
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
