"""One Korean text, written in every format that a library at hand, or a few lines, can write."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

TITLE = "취업규칙 안내"
LEAVE = "제1장 휴가"
LEAVE_TEXT = "연차는 연 15일이며 ㈜한빛 직원 모두에게 준다. 닭 값과 읽기는 뷁 쓩."
LEAVE_LIST = ["① 병가 60일", "출산휴가 90일 maternity leave"]
TOOLS = "제2장 장비"
TOOLS_TEXT = "무게 3㎏ 이하인 USB-C 충전기 2개를 빌릴 수 있다(大韓民國 안에서만)."
TABLE = [["품목", "수량", "비고"], ["노트북 A4", "1", "㈜한빛 것"], ["모니터", "27", "② 선택"]]

FONT = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[\w㈜㎏]+", text))


TABLE_WORDS = words(" ".join(cell for row in TABLE for cell in row))
WORDS = TABLE_WORDS + words(" ".join([TITLE, LEAVE, LEAVE_TEXT, *LEAVE_LIST, TOOLS, TOOLS_TEXT]))

Form = Callable[[str], str]
Write = Callable[[Path, Form], None]


def plain(form: Form) -> str:
    rows = (" ".join(row) for row in TABLE)
    return form("\n\n".join([TITLE, LEAVE, LEAVE_TEXT, *LEAVE_LIST, TOOLS, TOOLS_TEXT, *rows]))


def write_txt(path: Path, form: Form) -> None:
    path.write_text(plain(form), encoding="utf-8")


def write_markdown(path: Path, form: Form) -> None:
    items = "\n".join(f"- {item}" for item in LEAVE_LIST)
    rows = [f"| {' | '.join(row)} |" for row in TABLE]
    table = "\n".join([rows[0], "| --- | --- | --- |", *rows[1:]])
    parts = [f"# {TITLE}", f"## {LEAVE}", LEAVE_TEXT, items, f"## {TOOLS}", TOOLS_TEXT, table]
    path.write_text(form("\n\n".join(parts)), encoding="utf-8")


def write_rst(path: Path, form: Form) -> None:
    items = "\n".join(f"- {item}" for item in LEAVE_LIST)
    rows = "\n".join(
        "   " + "\n     ".join(("* - " if n == 0 else "- ") + cell for n, cell in enumerate(row))
        for row in TABLE
    )
    line = "=" * 60
    under = "-" * 60
    parts = [
        *(f"{line}\n{TITLE}\n{line}", f"{LEAVE}\n{under}", LEAVE_TEXT, items),
        *(f"{TOOLS}\n{under}", TOOLS_TEXT, f".. list-table::\n   :header-rows: 1\n\n{rows}"),
    ]
    path.write_text(form("\n\n".join(parts)), encoding="utf-8")


def html(form: Form) -> str:
    items = "".join(f"<li>{item}</li>" for item in LEAVE_LIST)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in TABLE)
    return form(
        f"<h1>{TITLE}</h1><h2>{LEAVE}</h2><p>{LEAVE_TEXT}</p><ul>{items}</ul>"
        f"<h2>{TOOLS}</h2><p>{TOOLS_TEXT}</p><table>{rows}</table>"
    )


def write_html(path: Path, form: Form) -> None:
    path.write_text(f"<!doctype html><html><body>{html(form)}</body></html>", encoding="utf-8")


def write_csv(path: Path, form: Form) -> None:
    buffer = io.StringIO()
    delimiter = "\t" if path.suffix == ".tsv" else ","
    csv.writer(buffer, delimiter=delimiter).writerows(TABLE)
    path.write_text(form(buffer.getvalue()), encoding="utf-8")


def write_json(path: Path, form: Form) -> None:
    path.write_text(json.dumps({"text": plain(form)}), encoding="utf-8")


def write_json_lines(path: Path, form: Form) -> None:
    records = plain(form).split("\n\n")
    lines = (json.dumps({"text": record}, ensure_ascii=False) for record in records)
    path.write_text("\n".join(lines), encoding="utf-8")


def write_docx(path: Path, form: Form) -> None:
    import docx

    document = docx.Document()
    document.add_heading(form(TITLE), 0)
    document.add_heading(form(LEAVE), 1)
    document.add_paragraph(form(LEAVE_TEXT))
    for item in LEAVE_LIST:
        document.add_paragraph(form(item), style="List Bullet")
    document.add_heading(form(TOOLS), 1)
    document.add_paragraph(form(TOOLS_TEXT))
    table = document.add_table(len(TABLE), len(TABLE[0]))
    for row, texts in zip(table.rows, TABLE, strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = form(text)
    document.save(str(path))


def write_pptx(path: Path, form: Form) -> None:
    import pptx

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[0])
    slide.shapes.title.text = form(TITLE)
    for title, lines in ((LEAVE, [LEAVE_TEXT, *LEAVE_LIST]), (TOOLS, [TOOLS_TEXT])):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = form(title)
        slide.placeholders[1].text = form("\n".join(lines))
    table = slide.shapes.add_table(len(TABLE), len(TABLE[0]), 0, 0, 9_000_000, 9_000_000).table
    for row, texts in zip(table.rows, TABLE, strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = form(text)
    presentation.save(str(path))


def write_xlsx(path: Path, form: Form) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in TABLE:
        book.active.append([int(cell) if cell.isdecimal() else form(cell) for cell in row])
    book.save(path)


def write_odt(path: Path, form: Form) -> None:
    import odfdo

    document = odfdo.Document("text")
    body = document.body
    body.clear()
    body.append(odfdo.Header(1, form(TITLE)))
    body.append(odfdo.Header(2, form(LEAVE)))
    body.append(odfdo.Paragraph(form(LEAVE_TEXT)))
    body.append(odfdo.List([form(item) for item in LEAVE_LIST]))
    body.append(odfdo.Header(2, form(TOOLS)))
    body.append(odfdo.Paragraph(form(TOOLS_TEXT)))
    body.append(odf_table(form))
    document.save(path)


def write_ods(path: Path, form: Form) -> None:
    import odfdo

    document = odfdo.Document("spreadsheet")
    document.body.clear()
    document.body.append(odf_table(form))
    document.save(path)


def odf_table(form: Form) -> Any:
    import odfdo

    table = odfdo.Table("Sheet1")
    table.set_values([[form(cell) for cell in row] for row in TABLE])
    return table


def write_epub(path: Path, form: Form) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="a.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>",
        )
        archive.writestr(
            "a.opf",
            '<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest><item id="a" '
            'href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine>'
            '<itemref idref="a"/></spine></package>',
        )
        archive.writestr(
            "a.xhtml",
            f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{html(form)}</body></html>',
        )


def write_zip(path: Path, form: Form) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(form("가/규칙.html"), html(form))


def write_eml(path: Path, form: Form) -> None:
    message = EmailMessage()
    message["Subject"] = form(TITLE)
    message.set_content(plain(form).removeprefix(form(TITLE)).strip())
    path.write_bytes(message.as_bytes())


def write_hwpx(path: Path, form: Form) -> None:
    def paragraph(text: str) -> str:
        return f"<hp:p><hp:run><hp:t>{form(text)}</hp:t></hp:run></hp:p>"

    def cell(text: str, row: int, column: int) -> str:
        return (
            f'<hp:tc><hp:subList>{paragraph(text)}</hp:subList><hp:cellAddr colAddr="{column}" '
            f'rowAddr="{row}"/><hp:cellSpan colSpan="1" rowSpan="1"/></hp:tc>'
        )

    rows = "".join(
        "<hp:tr>" + "".join(cell(text, y, x) for x, text in enumerate(row)) + "</hp:tr>"
        for y, row in enumerate(TABLE)
    )
    table = f'<hp:p><hp:run><hp:tbl rowCnt="3" colCnt="3">{rows}</hp:tbl></hp:run></hp:p>'
    texts = [TITLE, LEAVE, LEAVE_TEXT, *LEAVE_LIST, TOOLS, TOOLS_TEXT]
    spaces = "http://www.hancom.co.kr/hwpml/2011"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr(
            "Contents/content.hpf",
            '<opf:package xmlns:opf="http://www.idpf.org/2007/opf/"><opf:manifest>'
            '<opf:item id="s" href="Contents/section0.xml" media-type="application/xml"/>'
            '</opf:manifest><opf:spine><opf:itemref idref="s"/></opf:spine></opf:package>',
        )
        archive.writestr(
            "Contents/section0.xml",
            f'<hs:sec xmlns:hs="{spaces}/section" xmlns:hp="{spaces}/paragraph">'
            f"{''.join(map(paragraph, texts))}{table}</hs:sec>",
        )


def write_pdf(path: Path, form: Form) -> None:
    if not FONT.exists():
        pytest.skip(f"no Korean font at {FONT}")
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(TTFont("NanumGothic", str(FONT)))
    canvas = Canvas(str(path))
    for number, line in enumerate(plain(form).split("\n\n")):
        canvas.setFont("NanumGothic", 11)
        canvas.drawString(60, 780 - 30 * number, line)
    canvas.save()


WRITERS: dict[str, Write] = {
    ".txt": write_txt,
    ".md": write_markdown,
    ".markdown": write_markdown,
    ".rst": write_rst,
    ".html": write_html,
    ".htm": write_html,
    ".csv": write_csv,
    ".tsv": write_csv,
    ".json": write_json,
    ".jsonl": write_json_lines,
    ".ndjson": write_json_lines,
    ".docx": write_docx,
    ".pptx": write_pptx,
    ".xlsx": write_xlsx,
    ".odt": write_odt,
    ".ods": write_ods,
    ".epub": write_epub,
    ".zip": write_zip,
    ".eml": write_eml,
    ".hwpx": write_hwpx,
    ".pdf": write_pdf,
}
