"""What the tests of the page ask, and how they ask it in a browser."""

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
PDF, HWPX = "출장비규정.pdf", "휴가규정.hwpx"
PDF_QUESTION = "출장비 선지급은 언제까지 신청하나요?"
PDF_SENTENCE = "선지급을 받으려면 출발 5일 전까지 재무팀에 신청한다."
HWPX_QUESTION = "병가는 1년에 며칠까지 쓸 수 있나요?"
HWPX_SENTENCE = "업무와 관계없는 질병으로 일할 수 없을 때에는 1년에 60일까지 병가를 쓸 수 있다."


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
