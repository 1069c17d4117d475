"""The texts in examples/sources -> HWPX, PDF, DOCX, PPTX and XLSX files in examples/documents.

The sources are a small Markdown: headings, paragraphs, lists, tables, and speaker notes after
">". The Markdown, HTML and CP949 files in examples/documents are sources themselves and are
left alone. The same sources and font give the same files: every date inside is fixed.

Run it with the development extra installed: pip install -e '.[dev]'
"""

import argparse
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

EXAMPLES = Path(__file__).parent
COMPANY = "한빛나래 주식회사"
# NanumGothic (SIL Open Font License 1.1, which allows embedding) where Debian puts it.
DEFAULT_FONT = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")
DATE = datetime(2026, 7, 1, 9, 0, 0)
DATE_TEXT = f"{DATE:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Block:
    """One block of a source; level is the heading's, rows (header row first) the table's."""

    kind: Literal["heading", "paragraph", "item", "table", "note"]
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


def read_blocks(source: str) -> Iterator[Block]:
    """Blocks of a source text, in order; the first is the heading of level 1, its title."""
    for part in re.split(r"\n{2,}", source.strip()):
        lines = part.split("\n")
        if heading := re.fullmatch(r"(#+) (.+)", part):
            yield Block("heading", heading[2], level=len(heading[1]))
        elif part.startswith("|"):
            cells = (tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines)
            header, _, *body = cells
            yield Block("table", rows=(header, *body))
        elif part.startswith("- "):
            yield from (Block("item", line.removeprefix("- ")) for line in lines)
        elif part.startswith("> "):
            yield Block("note", part.removeprefix("> "))
        else:
            yield Block("paragraph", " ".join(lines))


def sections(blocks: list[Block]) -> list[tuple[str, list[Block]]]:
    """(heading of level 2, blocks under it): a slide or a sheet each."""
    starts = [i for i, block in enumerate(blocks) if block.kind == "heading" and block.level == 2]
    ends = [*starts[1:], len(blocks)]
    return [(blocks[i].text, blocks[i + 1 : end]) for i, end in zip(starts, ends, strict=True)]


def rewrite_zip(data: bytes) -> bytes:
    """The same archive with fixed dates, in the zip directory and in docProps/core.xml."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                dates = rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*"
                content = re.sub(dates, rb"\g<1>" + DATE_TEXT.encode(), content)
            write_member(new, name, content)
    return out.getvalue()


def write_member(
    archive: zipfile.ZipFile, name: str, content: bytes, *, stored: bool = False
) -> None:
    """Add a file with the oldest date that zip knows."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3  # else it differs between Windows and Unix
    archive.writestr(info, content)


# --- HWPX (KS X 6101, OWPML) ---------------------------------------------------------------

TEXT_WIDTH = 42520  # A4 less its margins, in HWPUNIT (1/7200 inch)


def make_hwpx(blocks: list[Block], _font: Path) -> bytes:
    """A word processor document of Hancom: the parts in sources/hwpx with the text put in.

    Paragraph, character and style number 0 is the body, 1 to 3 are the heading levels.
    """
    title, *body = blocks
    texts = {
        "{title}": escape(title.text),
        "{body}": "".join(hwpx_block(block, number) for number, block in enumerate(body)),
    }
    folder = EXAMPLES / "sources" / "hwpx"
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        # First and stored: programs know the file by it.
        write_member(archive, "mimetype", b"application/hwp+zip", stored=True)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            lines = path.read_text(encoding="utf-8").splitlines()
            part = lines[0] + "".join(line.strip() for line in lines[1:])
            for placeholder, text in texts.items():
                part = part.replace(placeholder, text)
            write_member(archive, path.relative_to(folder).as_posix(), part.encode())
    return out.getvalue()


def hwpx_block(block: Block, number: int) -> str:
    """The paragraph of a block; a table stands in a paragraph of its own."""
    if block.kind == "table":
        table = hwpx_table(block.rows, number)
        return hwpx_paragraph(f'<hp:run charPrIDRef="0">{table}<hp:t/></hp:run>')
    text = f"- {block.text}" if block.kind == "item" else block.text
    run = f'<hp:run charPrIDRef="{block.level}"><hp:t>{escape(text)}</hp:t></hp:run>'
    return hwpx_paragraph(run, block.level)


def hwpx_paragraph(runs: str, level: int = 0) -> str:
    """A paragraph in the style of its level."""
    return (
        f'<hp:p id="0" paraPrIDRef="{level}" styleIDRef="{level}" pageBreak="0" columnBreak="0" '
        f'merged="0">{runs}</hp:p>'
    )


def hwpx_table(rows: tuple[tuple[str, ...], ...], number: int) -> str:
    """A table whose first row is a header that is repeated on each page."""
    width, height = TEXT_WIDTH // len(rows[0]), 1700
    lines = "".join(
        "<hp:tr>"
        + "".join(
            f'<hp:tc name="" header="{int(row == 0)}" hasMargin="0" protect="0" editable="0" '
            'dirty="0" borderFillIDRef="2"><hp:subList id="" textDirection="HORIZONTAL" '
            'lineWrap="BREAK" vertAlign="CENTER" linkListIDRef="0" linkListNextIDRef="0" '
            'textWidth="0" textHeight="0" hasTextRef="0" hasNumRef="0">'
            + hwpx_paragraph(f'<hp:run charPrIDRef="0"><hp:t>{escape(cell)}</hp:t></hp:run>')
            + f'</hp:subList><hp:cellAddr colAddr="{column}" rowAddr="{row}"/>'
            f'<hp:cellSpan colSpan="1" rowSpan="1"/><hp:cellSz width="{width}" '
            f'height="{height}"/><hp:cellMargin left="510" right="510" top="141" bottom="141"/>'
            "</hp:tc>"
            for column, cell in enumerate(cells)
        )
        + "</hp:tr>"
        for row, cells in enumerate(rows)
    )
    return (
        f'<hp:tbl id="{1000 + number}" zOrder="0" numberingType="TABLE" '
        'textWrap="TOP_AND_BOTTOM" textFlow="BOTH_SIDES" lock="0" dropcapstyle="None" '
        f'pageBreak="CELL" repeatHeader="1" rowCnt="{len(rows)}" colCnt="{len(rows[0])}" '
        'cellSpacing="0" borderFillIDRef="2" noAdjust="0">'
        f'<hp:sz width="{TEXT_WIDTH}" widthRelTo="ABSOLUTE" height="{height * len(rows)}" '
        'heightRelTo="ABSOLUTE" protect="0"/><hp:pos treatAsChar="1" affectLSpacing="0" '
        'flowWithText="1" allowOverlap="0" holdAnchorAndSO="0" vertRelTo="PARA" '
        'horzRelTo="COLUMN" vertAlign="TOP" horzAlign="LEFT" vertOffset="0" horzOffset="0"/>'
        '<hp:outMargin left="283" right="283" top="283" bottom="283"/>'
        f'<hp:inMargin left="510" right="510" top="141" bottom="141"/>{lines}</hp:tbl>'
    )


# --- PDF -----------------------------------------------------------------------------------


def make_pdf(blocks: list[Block], font: Path) -> bytes:
    """A4 pages with an outline, the font's used characters embedded.

    Raises:
        FileNotFoundError: If there is no font file at the path.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.platypus import SimpleDocTemplate

    if not font.is_file():
        raise FileNotFoundError(
            f"no font at {font}; install it (Debian: apt-get install fonts-nanum) or give a "
            "Korean TrueType font with --font PATH"
        )
    pdfmetrics.registerFont(TTFont("Korean", str(font)))
    out = BytesIO()
    template = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=24 * mm,
        rightMargin=24 * mm,
        topMargin=24 * mm,
        bottomMargin=22 * mm,
        title=blocks[0].text,
        author=COMPANY,
        lang="ko-KR",
        initialFontName="Korean",
        invariant=1,  # no date, no random file id
    )

    def draw_page_number(canvas: Any, document: Any) -> None:
        canvas.setFont("Korean", 8)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, f"- {document.page} -")

    story = [flowable for block in blocks for flowable in pdf_flowables(block)]
    template.build(story, onFirstPage=draw_page_number, onLaterPages=draw_page_number)
    return out.getvalue()


def pdf_flowables(block: Block) -> list[Any]:
    """What reportlab lays out for a block; a heading also enters the outline."""
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Flowable, Paragraph, Spacer, Table

    class OutlineEntry(Flowable):
        """Nothing to see: a bookmark where it stands."""

        def draw(self) -> None:
            self.canv.bookmarkPage(block.text)
            self.canv.addOutlineEntry(block.text, block.text, block.level - 1)

    size = (10.5, 19, 14, 11.5)[block.level]
    style = ParagraphStyle(
        "text",
        fontName="Korean",
        fontSize=size,
        leading=size * 1.75,
        spaceBefore=size * 0.7 if block.level else 0,
        spaceAfter=size * 0.6,
        keepWithNext=block.level,
        textColor=colors.HexColor("#1f3a5f") if block.level else colors.black,
    )
    if block.kind == "table":
        cell = ParagraphStyle("cell", fontName="Korean", fontSize=9, leading=14)
        rows = [[Paragraph(escape(text), cell) for text in row] for row in block.rows]
        lines = [
            ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
            ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e8eef5")),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ]
        return [Table(rows, repeatRows=1, style=lines), Spacer(1, 10)]
    paragraph = Paragraph(escape(block.text), style)
    return [OutlineEntry(), paragraph] if block.level else [paragraph]


# --- Office --------------------------------------------------------------------------------


def make_docx(blocks: list[Block], _font: Path) -> bytes:
    """A Word document with its heading, list and table styles."""
    from docx import Document
    from docx.oxml.ns import qn

    document = Document()
    document.core_properties.title = blocks[0].text
    document.core_properties.author = COMPANY
    fonts = document.styles["Normal"].element.get_or_add_rPr().get_or_add_rFonts()
    fonts.set(qn("w:eastAsia"), "맑은 고딕")
    for block in blocks:
        if block.kind == "heading":
            document.add_heading(block.text, block.level)
        elif block.kind == "table":
            table = document.add_table(0, len(block.rows[0]), style="Table Grid")
            for row in block.rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
            document.add_paragraph()
        else:
            document.add_paragraph(
                block.text, style="List Bullet" if block.kind == "item" else None
            )
    out = BytesIO()
    document.save(out)
    return rewrite_zip(out.getvalue())


def make_pptx(blocks: list[Block], _font: Path) -> bytes:
    """One slide for each heading of level 2, speaker notes included."""
    from pptx import Presentation
    from pptx.util import Cm, Pt

    presentation = Presentation()
    presentation.slide_width, presentation.slide_height = Cm(33.867), Cm(19.05)
    presentation.core_properties.title = blocks[0].text
    presentation.core_properties.author = COMPANY
    for title, body in sections(blocks):
        slide = presentation.slides.add_slide(presentation.slide_layouts[5])
        slide.shapes.title.text = title
        slide.shapes.title.width = Cm(29.8)
        area = Cm(2), Cm(5), Cm(29.8), Cm(11)
        items = [block.text for block in body if block.kind == "item"]
        if items:
            frame = slide.shapes.add_textbox(*area).text_frame
            frame.word_wrap = True
            frame.text = "\n".join(items)
            for paragraph in frame.paragraphs:
                paragraph.font.size, paragraph.space_after = Pt(24), Pt(12)
        for block in body:
            if block.kind == "note":
                slide.notes_slide.notes_text_frame.text = block.text
            elif block.kind == "table":
                columns = len(block.rows[0])
                table = slide.shapes.add_table(len(block.rows), columns, *area).table
                for row, texts in zip(table.rows, block.rows, strict=True):
                    for cell, text in zip(row.cells, texts, strict=True):
                        cell.text = text
    out = BytesIO()
    presentation.save(out)
    return rewrite_zip(out.getvalue())


def make_xlsx(blocks: list[Block], _font: Path) -> bytes:
    """One sheet for each heading of level 2, holding the table under it."""
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font

    workbook = Workbook()
    workbook.remove(workbook.active)
    workbook.properties.title = blocks[0].text
    workbook.properties.creator = COMPANY
    for title, body in sections(blocks):
        sheet = workbook.create_sheet(title)
        for block in body:
            for row in block.rows:
                sheet.append(row)
        sheet.freeze_panes = "A2"
        for cell in sheet[1]:
            cell.font = Font(bold=True)
            width = max(len(str(other.value)) for other in sheet[cell.column_letter])
            sheet.column_dimensions[cell.column_letter].width = 2 * width + 2
        for row in sheet.iter_rows(min_row=2):
            for cell in row:
                cell.alignment = Alignment(vertical="center")
    out = BytesIO()
    workbook.save(out)
    return rewrite_zip(out.getvalue())


MAKERS: dict[str, Callable[[list[Block], Path], bytes]] = {
    "휴가규정.hwpx": make_hwpx,
    "출장비규정.pdf": make_pdf,
    "재택근무안내.docx": make_docx,
    "신입사원안내.pptx": make_pptx,
    "복리후생.xlsx": make_xlsx,
}


def make_document(name: str, font: Path = DEFAULT_FONT) -> bytes:
    """The bytes of the named document, from its source.

    Raises:
        FileNotFoundError: If the document is a PDF and there is no font.
    """
    source = EXAMPLES / "sources" / Path(name).with_suffix(".md")
    return MAKERS[name](list(read_blocks(source.read_text(encoding="utf-8"))), font)


def main() -> None:
    """Write every binary document."""
    parser = argparse.ArgumentParser(description="예제 문서(HWPX, PDF, DOCX, PPTX, XLSX) 만들기")
    parser.add_argument("--into", type=Path, default=EXAMPLES / "documents", metavar="DIR")
    parser.add_argument("--font", type=Path, default=DEFAULT_FONT, metavar="PATH")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    for name in MAKERS:
        try:
            content = make_document(name, arguments.font)
        except FileNotFoundError as error:
            sys.exit(f"{name}: {error}")
        (arguments.into / name).write_bytes(content)
        print(arguments.into / name)


if __name__ == "__main__":
    main()
