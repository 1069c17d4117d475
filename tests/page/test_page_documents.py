"""Documents in a browser: uploads, their states, the served folder."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from sample_documents import write_hwpx
from served import served
from test_loaders_hwp import hwp_paragraph, write_hwp

from kogemma_rag.web.options import ServeOptions
from page.browsing import (
    answer_of,
    ask,
    state_of,
)


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
