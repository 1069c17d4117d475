"""Documents in a browser: uploads, their states, the served folder."""

import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, Route, expect
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


def test_dropped_folder_is_uploaded_with_its_names(
    address: str, watched: SimpleNamespace, tmp_path: Path
) -> None:
    decomposed = unicodedata.normalize("NFD", "둘째 회의.md")
    folder = write_folder(
        tmp_path / "사월 자료",
        {
            "안내.txt": "사월 자료는 나래홀에 둔다.",
            "회의/첫째.txt": "사월 첫째 회의는 나래홀에서 했다.",
            f"회의/{decomposed}": "# 둘째 회의\n\n사월 둘째 회의는 다솜홀에서 했다.",
            "회의/.숨김.txt": "숨긴 것",
            "회의/~$첫째.txt": "편집하는 동안의 것",
        },
    )
    page = watched.open(address)
    drop(page, folder)
    page.locator("#filter").fill("사월 자료")
    listed = page.locator("#document-list li")
    expect(listed.locator(".badge")).to_have_text(["준비됨"] * 3)
    assert sorted(listed.locator(".name").all_inner_texts()) == [
        "사월 자료/안내.txt",
        "사월 자료/회의/둘째 회의.md",
        "사월 자료/회의/첫째.txt",
    ]
    page.locator("#documents [data-close]").click()
    ask(page, "사월 둘째 회의는 어디에서 했나요?")
    assert "다솜홀" in answer_of(page)


def test_every_file_of_a_large_dropped_folder_is_read(
    address: str, watched: SimpleNamespace, tmp_path: Path
) -> None:
    names = [f"명부/{number:03}.txt" for number in range(120)]  # a hundred are told at a time
    decomposed = unicodedata.normalize("NFD", "대장")
    folder = write_folder(tmp_path / decomposed, dict.fromkeys(names, "한 줄."))
    page = watched.open(address)
    leave_uploads_unanswered(page)
    drop(page, folder)
    page.locator("#filter").fill("대장")
    listed = page.locator("#document-list .uploading .name")
    expect(listed).to_have_count(len(names))
    assert sorted(listed.all_inner_texts()) == [f"대장/{name}" for name in names]


def leave_uploads_unanswered(page: Page) -> None:
    def pass_others(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()

    page.route("**/v1/documents", pass_others)


def write_folder(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def drop(page: Page, path: Path) -> None:
    """Drag a file or folder of the disk onto the page, as a file manager does."""
    devtools = page.context.new_cdp_session(page)
    carried = {"items": [], "files": [str(path)], "dragOperationsMask": 1}  # to be copied
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": 640, "y": 400, "data": carried}
        devtools.send("Input.dispatchDragEvent", event)


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
    expect(item.locator(".reason")).to_have_attribute("lang", "ko")
    item.get_by_role("button", name="다시").click()
    expect(item.locator(".badge")).to_have_text("실패")
    item.get_by_role("button", name="삭제").click()
    page.locator("#confirm-yes").click()
    expect(item).to_have_count(0)
