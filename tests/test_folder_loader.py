"""Folders read by several processes: order, reports, links."""

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from kogemma_rag.document_loaders import (
    DocumentLoadError,
    FileReport,
    FolderLoader,
    HTMLLoader,
    LoadReport,
    SkippedPart,
    file_loader,
    find_files,
    load_documents,
    load_file,
    parser_pool,
    sandbox,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "문서"
    folder.mkdir()
    for number in range(12):
        text = f"{number}번 글. " * (3000 if number == 1 else 1)
        (folder / f"{number:02d}.txt").write_text(text, "utf-8")
    (folder / "03.txt").write_bytes(b"\x00\x01\x02\x03")
    (folder / "05.docx").write_bytes(b"PK\x03\x04broken")
    (folder / "07.bin").write_bytes(b"\x7fELF")
    return folder


@pytest.mark.parametrize("workers", [1, 3])
def test_order_and_report_do_not_depend_on_the_workers(folder, workers, monkeypatch) -> None:
    monkeypatch.setattr(parser_pool, "_START_SECONDS", 0.0)
    loader = FolderLoader(folder, root=folder, workers=workers)
    with pytest.warns(UserWarning, match="docx") as warned:
        documents = loader.load()
    good = [n for n in range(12) if n != 3]
    assert [d.metadata["source"] for d in documents] == [f"{n:02d}.txt" for n in good]
    assert documents[1].page_content == ("1번 글. " * 3000).strip()
    assert len(warned) == 3
    report = loader.report
    assert [f.source for f in report.files] == [
        *("00.txt", "01.txt", "02.txt", "03.txt", "04.txt", "05.docx", "05.txt", "06.txt"),
        *("07.bin", "07.txt", "08.txt", "09.txt", "10.txt", "11.txt"),
    ]
    assert [report.count(kind) for kind in ("read", "skipped", "failed")] == [11, 1, 2]
    outcomes = {file.source: file for file in report.files}
    assert outcomes["07.bin"].reason == "지원하지 않는 형식입니다: 실행 파일"
    assert outcomes["07.bin"].outcome == "skipped"
    assert outcomes["05.docx"].outcome == "failed"
    assert "손상" in str(outcomes["05.docx"].reason)
    assert (outcomes["00.txt"].documents, outcomes["00.txt"].size) == (1, 10)
    assert all(file.seconds > 0 for file in report.files)


def test_the_report_as_lines_and_as_json(folder) -> None:
    loader = FolderLoader(folder, root=folder)
    with pytest.warns(UserWarning, match="bin"):
        list(loader.lazy_load())
    lines = str(loader.report).split("\n")
    assert lines[0] == "읽음 11, 건너뜀 1, 실패 2 · 문서 11개"
    assert [line.split(":")[:2] for line in lines[1:]] == [
        ["  실패", " 03.txt"],
        ["  실패", " 05.docx"],
        ["  건너뜀", " 07.bin"],
    ]
    told = json.loads(json.dumps(asdict(loader.report)))["files"]
    assert told[0]["source"] == "00.txt"
    assert told[5]["outcome"] == "failed"
    assert told[0]["parts"] == []


def test_no_reason_forges_a_line_of_the_report() -> None:
    forged = "이유\n  실패: b.txt: 아무것"
    report = LoadReport([FileReport("a.txt", "failed", forged, [SkippedPart("c", forged)])])
    assert len(str(report).split("\n")) == 3


def test_one_file_that_cannot_be_read_is_an_error(folder) -> None:
    loader = FolderLoader(folder / "05.docx")
    with pytest.raises(DocumentLoadError, match="손상"):
        loader.load()
    assert loader.report.count("failed") == 1
    with pytest.raises(FileNotFoundError):
        list(load_documents(folder / "없음"))
    with pytest.raises(ValueError, match="workers is 0"):
        FolderLoader(folder, workers=0)


def test_a_text_without_end_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(file_loader, "_MOST_CHARACTERS", 100)
    monkeypatch.setattr(file_loader, "_CHARACTERS_PER_BYTE", 2)
    page = tmp_path / "글.html"
    page.write_text("<h1>가</h1><p>나</p>" * 3, "utf-8")
    assert len(list(HTMLLoader(page).lazy_load())) == 3
    monkeypatch.setattr(HTMLLoader, "_read", lambda self: (("가" * 40, {}) for _ in range(9)))
    loaded = HTMLLoader(page).lazy_load()
    assert [len(next(loaded).page_content) for _ in range(3)] == [40, 40, 40]  # of 132
    with pytest.raises(DocumentLoadError, match="132자가 넘습니다"):
        next(loaded)


def test_a_file_that_cannot_be_read_leaves_its_parser_alive(folder) -> None:
    load_file(folder / "00.txt")
    kept = parser_pool._idle[sandbox.DOCUMENTS][-1]  # the last put back is the first taken
    running = kept._process
    with pytest.raises(DocumentLoadError):
        load_file(folder / "05.docx")
    assert load_file(folder / "00.txt")
    assert kept._process is running


def test_leaving_early_ends_the_readers(folder) -> None:
    for _ in range(3):
        documents = FolderLoader(folder, workers=2).lazy_load()
        next(documents)
        documents.close()
    assert load_file(folder / "00.txt")[0].page_content == "0번 글."


async def test_reading_does_not_block_the_loop(folder) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    (folder / "05.docx").unlink()
    (folder / "03.txt").unlink()
    (folder / "07.bin").unlink()
    ticking = asyncio.create_task(tick())
    started = time.monotonic()
    documents = [d async for d in FolderLoader(folder, workers=1).alazy_load()]
    ticking.cancel()
    assert len(documents) == 11
    assert ticks > (time.monotonic() - started) / 0.05


def test_links_and_loops(tmp_path) -> None:
    outside, inside = tmp_path / "밖", tmp_path / "안"
    (outside / "하위").mkdir(parents=True)
    inside.mkdir()
    (outside / "가.txt").write_text("가", "utf-8")
    (outside / "하위" / "나.txt").write_text("나", "utf-8")
    (inside / "다.txt").write_text("다", "utf-8")
    (inside / "링크").symlink_to(outside)
    (inside / "링크2").symlink_to(outside / "하위")
    (inside / "고리").symlink_to(inside)
    (inside / "파일.txt").symlink_to(outside / "가.txt")
    (inside / "끊김.txt").symlink_to(tmp_path / "없음")
    names = [path.relative_to(inside).as_posix() for path in find_files(inside)]
    assert names == ["다.txt"]
    found = find_files(inside, follow_symlinks=True)
    names = [path.relative_to(inside).as_posix() for path in found]
    assert names == ["다.txt", "링크/가.txt", "링크2/나.txt", "파일.txt"]
