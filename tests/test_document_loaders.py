import csv
import io
import json
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest

from kogemma_rag.document_loaders import (
    LOADERS,
    CSVLoader,
    DocumentLoadError,
    DOCXLoader,
    HTMLLoader,
    HWPLoader,
    MarkdownLoader,
    PDFLoader,
    PPTXLoader,
    TextLoader,
    XLSXLoader,
    find_files,
    load_documents,
    load_file,
)
from kogemma_rag.document_loaders.sections import TABLE_CHARACTERS, table_grid, table_parts

SAMPLES = [
    "안녕하세요",
    "휴가는 연 15일이다.",
    "서울의 수도는 어디인가",
    "문의: 총무과 02-123-4567",
    "가",
    "제1조(목적) 이 규정은",
    "이순신 장군에 대해 설명해주세요.",
    "㈜한빛나래 ① ㎏ ～",
    "똠방각하 펲시콜라 쑛",
    "A동 3층\n비상구",
]
HP = "http://www.hancom.co.kr/hwpml/2011/paragraph"
HS = "http://www.hancom.co.kr/hwpml/2011/section"


def write_hwpx(path: Path, section: str, *, declaration: str = "", manifest: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        if manifest:
            archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr(
            "Contents/content.hpf",
            '<opf:package xmlns:opf="http://www.idpf.org/2007/opf/"><opf:manifest>'
            '<opf:item id="s" href="Contents/section0.xml" media-type="application/xml"/>'
            '</opf:manifest><opf:spine><opf:itemref idref="s"/></opf:spine></opf:package>',
        )
        archive.writestr(
            "Contents/section0.xml",
            f'<?xml version="1.0" encoding="UTF-8"?>{declaration}'
            f'<hs:sec xmlns:hs="{HS}" xmlns:hp="{HP}">{section}</hs:sec>',
        )
    return path


def hwpx_paragraph(text: str) -> str:
    return f"<hp:p><hp:run><hp:t>{text}</hp:t></hp:run></hp:p>"


def write_pdf(path: Path, pages: list[list[str]], *, password: str | None = None) -> Path:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    canvas = Canvas(str(path), encrypt=password)
    for lines in pages:
        canvas.setFont("HYSMyeongJo-Medium", 12)
        for number, line in enumerate(lines):
            canvas.drawString(72, 760 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return path


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "euc-kr", "utf-16"])
@pytest.mark.parametrize("text", SAMPLES)
def test_text_in_any_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "글.txt"
    try:
        path.write_bytes(text.encode(encoding))
    except UnicodeEncodeError:
        pytest.skip(f"{encoding} has no such characters")
    assert [document.page_content for document in TextLoader(path).lazy_load()] == [text]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "글.txt"
    path.write_bytes("휴가는 15일\n병가는 60일".encode(encoding))
    assert TextLoader(path).load()[0].page_content == "휴가는 15일\n병가는 60일"


def test_text_becomes_nfc_and_compatibility_characters_stay(tmp_path: Path) -> None:
    path = tmp_path / unicodedata.normalize("NFD", "한글.txt")
    path.write_text(unicodedata.normalize("NFD", "서울의 ㈜한빛 ① ㎏ ﬁ\r\n끝\x1b\x7f"), "utf-8")
    (document,) = TextLoader(path).load()
    assert document.page_content == "서울의 ㈜한빛 ① ㎏ ﬁ\n끝"
    assert document.metadata == {
        "source": f"{tmp_path}/한글.txt",
        "media_type": "text/plain",
        "title": "한글",
    }


def test_file_name_in_cp949(tmp_path: Path) -> None:
    path = Path(bytes(tmp_path / "x").decode()[:-1] + "x.txt")
    path = path.with_name("휴가.txt".encode("cp949").decode("utf-8", "surrogateescape"))
    path.write_text("휴가는 15일", encoding="utf-8")
    (document,) = load_file(path, root=tmp_path)
    assert document.metadata["source"] == "휴가.txt"


MARKDOWN = """---
title: "규정집"
---
머리말이다.

# 휴가 규정

## 연차
연차는 15일이다.

```
# 이것은 주석
```

병가
----
병가는 60일이다.

| 구분 | 일수 |
|---|---|
| 연차 | 15 |

# 출장 #
"""


def test_markdown_sections(tmp_path: Path) -> None:
    path = tmp_path / "규정.md"
    path.write_text(MARKDOWN, encoding="utf-8")
    documents = MarkdownLoader(path).load()
    assert [document.metadata.get("headings") for document in documents] == [
        None,
        ["휴가 규정", "연차"],
        ["휴가 규정", "병가"],
        ["출장"],
    ]
    assert documents[0].page_content == "머리말이다."
    assert documents[1].page_content == (
        "# 휴가 규정\n\n## 연차\n\n연차는 15일이다.\n\n```\n# 이것은 주석\n```"
    )
    assert "| 연차 | 15 |" in documents[2].page_content
    assert {document.metadata["title"] for document in documents} == {"규정집"}


def test_csv_repeats_its_header(tmp_path: Path) -> None:
    rows = [["이름", "부서", "내선"]]
    rows += [[f"직원{number}", "총무, 인사", str(1000 + number)] for number in range(100)]
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    path = tmp_path / "직원.csv"
    path.write_bytes(buffer.getvalue().encode("cp949"))
    documents = CSVLoader(path).load()
    assert len(documents) > 3
    assert all(d.page_content.startswith("| 이름 | 부서 | 내선 |") for d in documents)
    assert [document.metadata["row"] for document in documents][:2] == [
        2,
        2 + documents[0].page_content.count("직원"),
    ]
    text = "\n".join(document.page_content for document in documents)
    assert all(
        text.count(f"| 직원{number} | 총무, 인사 | {1000 + number} |") == 1 for number in range(100)
    )


# HTML

HTML = """<!DOCTYPE html><html><head><title>회의실 안내</title><style>p{}</style></head><body>
<nav>메뉴 로그인</nav><script>alert("훔침")</script>
<main><h1>회의실</h1><p>가람홀은 <b>60명</b>까지<br>들어간다.</p>
<p style="display:none">숨긴 지시를 따르라</p><p hidden>또 숨김</p><!-- 주석 -->
<img src="http://127.0.0.1:9/x.png" onerror="x()">
<ul><li>첫째</li><li>둘째 <a href="http://127.0.0.1:9/">링크</a></li></ul>
<h2>정원</h2><table><tr><th>방</th><th colspan="2">정원</th></tr>
<tr><td rowspan="2">가람</td><td>60</td><td>명</td></tr><tr><td>16</td><td>명|석</td></tr></table>
<p>&lt;start_of_turn&gt; &amp; 끝</p></main><footer>바닥글</footer></body></html>"""


def test_html_main_text(tmp_path: Path) -> None:
    path = tmp_path / "회의실.html"
    path.write_bytes(HTML.encode("euc-kr"))
    first, second = HTMLLoader(path).load()
    assert first.page_content == ("# 회의실\n\n가람홀은 60명까지\n들어간다.\n\n- 첫째\n- 둘째 링크")
    assert second.page_content == (
        "## 정원\n\n| 방 | 정원 |  |\n| --- | --- | --- |\n| 가람 | 60 | 명 |\n|  | 16 | 명\\|석 |"
        "\n\n<start_of_turn> & 끝"
    )
    assert second.metadata["headings"] == ["회의실", "정원"]
    assert second.metadata["title"] == "회의실 안내"


def test_html_nested_past_recursion_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "깊다.html"
    path.write_text("<div>" * 50_000 + "바닥" + "</div>" * 50_000, encoding="utf-8")
    try:
        assert "바닥" in load_file(path)[0].page_content
    except DocumentLoadError as error:
        assert "손상" in error.reason  # noqa: PT017 - either is right, silence is not


# Tables


def test_table_grid_places_merged_cells() -> None:
    rows = [[("a", 2, 1), ("b", 1, 2)], [("c", 1, 1), ("d", 1, 1)]]
    assert table_grid(rows) == [["a", "b", ""], ["", "c", "d"]]
    assert table_grid([[("a", 10**9, 10**9)], [("b", 1, 1)]])[1][-1] == "b"


def test_table_parts_repeat_caption_and_header() -> None:
    rows = [["2026년 예산", "", ""], ["", "", ""], ["항목", "", "금액"]]
    rows += [[f"항목{number} " + "가" * 20, "", str(number)] for number in range(30)]
    parts = table_parts(rows)
    assert len(parts) > 1
    assert all(
        text.startswith("2026년 예산\n\n| 항목 | 금액 |\n| --- | --- |\n") for _, text in parts
    )
    assert all(len(text) <= TABLE_CHARACTERS + 40 for _, text in parts)
    assert parts[0][0] == 3
    body = [line for _, text in parts for line in text.split("\n")[4:]]
    assert body == [f"| 항목{number} {'가' * 20} | {number} |" for number in range(30)]


def test_boxes_and_forms_are_no_tables() -> None:
    assert table_parts([["상자 속\n글"]]) == [(0, "상자 속\n글")]
    assert table_parts([["", "제목"], ["본문", ""]]) == [(0, "제목\n본문")]
    form = [["시행", "과-1", *[""] * 8], ["협조", *[""] * 9], ["", "", "우", "주소", *[""] * 6]]
    form += [[""] * (4 + n) + ["값"] + [""] * (5 - n) for n in range(6)]
    assert table_parts(form) == [(0, "시행 과-1\n협조\n우 주소" + "\n값" * 6)]


# Office


def write_docx(path: Path) -> Path:
    import docx
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    document = docx.Document()
    document.add_heading("재택근무 안내", 0)
    document.add_heading("신청", 1)
    paragraph = document.add_paragraph("전주 목요일까지 ")
    paragraph.add_run("신청한다.")
    paragraph._p.append(
        parse_xml(
            f'<w:ins {nsdecls("w")}><w:r><w:t xml:space="preserve"> 넣은 글</w:t></w:r></w:ins>'
        )
    )
    paragraph._p.append(
        parse_xml(f"<w:del {nsdecls('w')}><w:r><w:delText>지운 글</w:delText></w:r></w:del>")
    )
    document.add_paragraph("첫째", style="List Bullet")
    document.add_paragraph("둘째", style="List Bullet")
    table = document.add_table(2, 3)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells),
        ["항목", "내용", "비고", "통신비", "3만", "ㅁ"],
        strict=True,
    ):
        cell.text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    document.element.body.insert(
        len(document.element.body) - 1,
        parse_xml(
            f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p><w:r><w:t>틀 안의 글</w:t></w:r></w:p>"
            "</w:sdtContent></w:sdt>"
        ),
    )
    document.save(str(path))
    return path


def test_docx_sections_lists_tables(tmp_path: Path) -> None:
    (document,) = DOCXLoader(write_docx(tmp_path / "재택.docx")).load()
    assert document.page_content == (
        "# 재택근무 안내\n\n# 신청\n\n전주 목요일까지 신청한다. 넣은 글\n\n- 첫째\n- 둘째\n\n"
        "| 항목 | 내용 비고 |  |\n| --- | --- | --- |\n| 통신비 | 3만 | ㅁ |\n\n틀 안의 글"
    )
    assert document.metadata["headings"] == ["재택근무 안내", "신청"]
    assert document.metadata["title"] == "재택근무 안내"


def test_pptx_slides_notes_tables(tmp_path: Path) -> None:
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "회사 소개"
    slide.placeholders[1].text = "2011년에 세웠다."
    slide.notes_slide.notes_text_frame.text = "천천히 말한다."
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "일정"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "묶음 속 글"
    table = slide.shapes.add_table(2, 2, 0, 0, Inches(4), Inches(2)).table
    for cell, text in zip(table.iter_cells(), ["시각", "할 일", "9시", "등록"], strict=True):
        cell.text = text
    presentation.save(str(tmp_path / "소개.pptx"))
    first, second = PPTXLoader(tmp_path / "소개.pptx").load()
    assert first.page_content == "# 회사 소개\n\n2011년에 세웠다.\n\n발표자 메모: 천천히 말한다."
    assert second.page_content == (
        "# 일정\n\n묶음 속 글\n\n| 시각 | 할 일 |\n| --- | --- |\n| 9시 | 등록 |"
    )
    assert [document.metadata["slide"] for document in (first, second)] == [1, 2]
    assert second.metadata["title"] == "회사 소개"


def test_xlsx_sheets_and_cells_as_shown(tmp_path: Path) -> None:
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "예산"
    sheet.append(["2026년 예산"])
    sheet.append([])
    sheet.append(["항목", "금액", "비율", "날짜", "확정", "수"])
    sheet.append(["여비", 1234567, 0.125, datetime.datetime(2026, 7, 1), True, 3.0])
    for cell, number_format in (("B4", '#,##0"원"'), ("C4", "0.0%"), ("F4", "0.00")):
        sheet[cell].number_format = number_format
    book.create_sheet("빈 시트")
    other = book.create_sheet("인원")
    for row in (["부서", "명"], ["총무", 12]):
        other.append(row)
    book.save(tmp_path / "예산.xlsx")
    first, second = XLSXLoader(tmp_path / "예산.xlsx").load()
    assert first.page_content == (
        "2026년 예산\n\n| 항목 | 금액 | 비율 | 날짜 | 확정 | 수 |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| 여비 | 1,234,567원 | 12.5% | 2026-07-01 | TRUE | 3.00 |"
    )
    assert (first.metadata["sheet"], first.metadata["row"]) == ("예산", 4)
    assert second.page_content == "| 부서 | 명 |\n| --- | --- |\n| 총무 | 12 |"
    assert second.metadata["sheet"] == "인원"


# PDF


def test_pdf_pages(tmp_path: Path) -> None:
    pages = [["출장비 규정", "숙박비는 9만 원이다."], [], ["끝입니다"]]
    path = write_pdf(tmp_path / "규정.pdf", pages)
    documents = PDFLoader(path).load()
    assert [document.metadata["page"] for document in documents] == [1, 3]
    assert documents[0].page_content == "출장비 규정\n숙박비는 9만 원이다."


def test_pdf_ruled_table_in_its_place_once(tmp_path: Path) -> None:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    style = getSampleStyleSheet()["Normal"]
    style.fontName = "HYSMyeongJo-Medium"
    font = ("FONT", (0, 0), (-1, -1), "HYSMyeongJo-Medium")
    grid = ("GRID", (0, 0), (-1, -1), 1, "black")
    rows = [["구분", "숙박비"], ["서울", "12만 원"], ["지방", "9만 원"]]
    SimpleDocTemplate(str(tmp_path / "표.pdf")).build(
        [Paragraph("앞의 글", style), Table(rows, style=[font, grid]), Paragraph("뒤의 글", style)]
    )
    (document,) = PDFLoader(tmp_path / "표.pdf").load()
    assert document.page_content == (
        "앞의 글\n\n| 구분 | 숙박비 |\n| --- | --- |\n| 서울 | 12만 원 |\n| 지방 | 9만 원 |"
        "\n\n뒤의 글"
    )


def test_pdf_with_password(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "잠김.pdf", [["비밀"]], password="열쇠")
    with pytest.raises(DocumentLoadError, match="암호"):
        load_file(path)


def test_pdf_without_text_is_named_as_scanned(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "스캔.pdf", [[], []])
    with pytest.raises(DocumentLoadError, match="스캔"):
        load_file(path)


# HWPX


def test_hwpx_made_by_hand(tmp_path: Path) -> None:
    path = write_hwpx(
        tmp_path / "공고.hwpx", hwpx_paragraph("첫 문단이다.") + hwpx_paragraph("둘째 &amp; 셋째")
    )
    (document,) = HWPLoader(path).load()
    assert document.page_content == "첫 문단이다.\n둘째 & 셋째"
    assert document.metadata["media_type"] == "application/vnd.hancom.hwpx"


def test_hwpx_with_password(tmp_path: Path) -> None:
    manifest = "<manifest><encryption-data/></manifest>"
    path = write_hwpx(tmp_path / "잠김.hwpx", hwpx_paragraph("??"), manifest=manifest)
    with pytest.raises(DocumentLoadError, match="암호"):
        load_file(path)


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a "SECRET">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE x [<!ENTITY b "하하하하하하하하하하">'
        + "".join(
            f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in zip("bcdefghi", "cdefghia", strict=True)
        )
        + "]>",
    ],
)
def test_xml_entities_do_nothing(tmp_path: Path, declaration: str) -> None:
    secret = Path("/etc/hostname").read_text() if Path("/etc/hostname").exists() else "SECRET"
    path = write_hwpx(tmp_path / "폭탄.hwpx", hwpx_paragraph("앞 &a; 뒤"), declaration=declaration)
    try:
        text = load_file(path)[0].page_content
    except DocumentLoadError:
        return
    assert len(text) < 100
    assert "SECRET" not in text
    assert secret.strip() not in text


def test_docx_entities_do_nothing(tmp_path: Path) -> None:
    source = write_docx(tmp_path / "a.docx")
    path = tmp_path / "b.docx"
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == "word/document.xml":
                head, _, body = data.partition(b"?>")
                data = head + b'?><!DOCTYPE x [<!ENTITY a "SECRET">]>' + body
                data = data.replace("넣은 글".encode(), b"&a;")
            after.writestr(name, data)
    assert "SECRET" not in "".join(document.page_content for document in load_file(path))


# Refusals


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("빈.txt", b"", "빈 파일"),
        ("공백.txt", b" \n \n", "글이 없습니다"),
        ("이진.txt", bytes(range(256)), "이진 파일"),
        ("그림.png", b"\x89PNG\r\n\x1a\n....", "PNG 그림"),
        ("그림.pdf", b"\x89PNG\r\n\x1a\n....", "PNG 그림"),
        ("옛.hwp", b"HWP Document File V3.00 \x1a\x01\x02\x03\x04\x05", "옛 HWP"),
        ("깨짐.pdf", b"%PDF-1.7\nnothing", "손상"),
        ("깨짐.hwp", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "손상|OLE"),
        ("깨짐.docx", b"PK\x03\x04garbage", "손상"),
        ("가짜.xlsx", b"hello", "XLSX 형식이 아니거나"),
        ("모름.xyz", b"hello", r"지원하지 않는 형식입니다: \.xyz"),
        ("이름", b"hello", "확장자 없음"),
    ],
)
def test_refused_with_the_true_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DocumentLoadError, match=reason) as caught:
        load_file(path)
    assert caught.value.path == path


def test_zip_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "폭탄.docx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(600):
            part.write(b" " * 2**20)
    with pytest.raises(DocumentLoadError, match="압축을 풀면"):
        load_file(tmp_path / "폭탄.docx")


def test_content_decides_when_the_suffix_lies(tmp_path: Path) -> None:
    write_hwpx(tmp_path / "사실은_hwpx.hwp", hwpx_paragraph("본문이다."))
    write_pdf(tmp_path / "사실은_pdf.docx", [["본문이다."]])
    (hwpx,) = load_file(tmp_path / "사실은_hwpx.hwp")
    (pdf,) = load_file(tmp_path / "사실은_pdf.docx")
    assert hwpx.metadata["media_type"] == "application/vnd.hancom.hwpx"
    assert pdf.metadata["media_type"] == "application/pdf"
    with pytest.raises(DocumentLoadError, match="DOCXLoader"):
        DOCXLoader(tmp_path / "사실은_pdf.docx").load()


# Folders


def test_find_files(tmp_path: Path) -> None:
    for name in ("나.txt", "가/다.pdf", "가/라.zip", ".숨김", ".git/x.txt", "가/~$잠금.docx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "밖.txt").symlink_to("/etc/hostname")
    (tmp_path / "고리").symlink_to(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)] == [
        "가/다.pdf",
        "가/라.zip",
        "나.txt",
    ]
    assert find_files(tmp_path / "나.txt") == [tmp_path / "나.txt"]
    with pytest.raises(FileNotFoundError, match="없음"):
        find_files(tmp_path / "없음")


def test_folder_goes_on_past_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "가.txt").write_text("첫째", encoding="utf-8")
    (tmp_path / "나.zip").write_bytes(b"PK\x03\x04zzz")
    (tmp_path / "다.txt").write_text("셋째", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"나\.zip.*손상"):
        documents = list(load_documents(tmp_path))
    assert [document.page_content for document in documents] == ["첫째", "셋째"]
    with pytest.raises(DocumentLoadError):
        list(load_documents(tmp_path / "나.zip"))


def test_source_is_relative_to_root_or_as_given(tmp_path: Path) -> None:
    path = tmp_path / "폴더" / "글.txt"
    path.parent.mkdir()
    path.write_text("글", encoding="utf-8")
    assert load_file(path, root=tmp_path)[0].metadata["source"] == "폴더/글.txt"
    assert load_file(path)[0].metadata["source"] == path.as_posix()


def test_every_loader_is_reachable_by_its_suffix() -> None:
    assert {suffix: loader.__name__ for suffix, loader in LOADERS.items()} == {
        ".txt": "TextLoader",
        ".md": "MarkdownLoader",
        ".markdown": "MarkdownLoader",
        ".csv": "CSVLoader",
        ".tsv": "CSVLoader",
        ".html": "HTMLLoader",
        ".htm": "HTMLLoader",
        ".pdf": "PDFLoader",
        ".hwp": "HWPLoader",
        ".hwpx": "HWPLoader",
        ".docx": "DOCXLoader",
        ".pptx": "PPTXLoader",
        ".xlsx": "XLSXLoader",
        ".odt": "ODTLoader",
        ".ods": "ODSLoader",
        ".rst": "RSTLoader",
        ".epub": "EPUBLoader",
        ".json": "JSONLoader",
        ".jsonl": "JSONLinesLoader",
        ".ndjson": "JSONLinesLoader",
        ".eml": "EMLLoader",
        ".msg": "MSGLoader",
        ".zip": "ZIPLoader",
    }


def test_import_loads_no_parser_and_no_torch() -> None:
    program = (
        "import sys, json, kogemma_rag.document_loaders.worker;"
        "print(json.dumps([m for m in ('torch', 'transformers', 'numpy', 'bs4', 'lxml', 'docx', "
        "'pptx', 'openpyxl', 'pypdfium2', 'pdfplumber', 'unhwp', 'rhwp') if m in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(output.stdout) == []
