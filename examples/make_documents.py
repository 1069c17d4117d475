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

HWPML = "http://www.hancom.co.kr/hwpml/2011"
NAMESPACES = (
    f'xmlns:ha="{HWPML}/app" xmlns:hp="{HWPML}/paragraph" xmlns:hs="{HWPML}/section" '
    f'xmlns:hc="{HWPML}/core" xmlns:hh="{HWPML}/head" '
    'xmlns:hpf="http://www.hancom.co.kr/schema/2011/hpf" '
    'xmlns:opf="http://www.idpf.org/2007/opf/"'
)
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
LANGUAGES = ("hangul", "latin", "hanja", "japanese", "other", "symbol", "user")
TEXT_WIDTH = 42520  # A4 less its margins, in HWPUNIT (1/7200 inch)
# Height in 1/100 point of the body and of headings 1 to 3: charPr, paraPr and style 0 to 3.
CHARACTER_HEIGHTS = (1000, 1800, 1400, 1100)


def make_hwpx(blocks: list[Block], _font: Path) -> bytes:
    """A word processor document of Hancom: headings are outline paragraphs, tables are tables."""
    title = blocks[0].text
    plain = "\r\n".join(block.text for block in blocks if block.text)
    parts = {
        "mimetype": "application/hwp+zip",  # first and stored: files are known by it
        "version.xml": f'{XML}<hv:HCFVersion xmlns:hv="{HWPML}/version" '
        'tagetApplication="WORDPROCESSOR" major="5" minor="0" micro="5" buildNumber="0" os="1" '
        'xmlVersion="1.4" application="kogemma-rag" appVersion="1"/>',
        "Contents/header.xml": hwpx_header(),
        "Contents/section0.xml": hwpx_section(blocks),
        "Preview/PrvText.txt": plain[:1000],
        "settings.xml": f"{XML}<ha:HWPApplicationSetting {NAMESPACES}>"
        '<ha:CaretPosition listIDRef="0" paraIDRef="0" pos="0"/></ha:HWPApplicationSetting>',
        "META-INF/container.xml": f'{XML}<ocf:container xmlns:ocf="urn:oasis:names:tc:opendocument'
        ':xmlns:container"><ocf:rootfiles><ocf:rootfile full-path="Contents/content.hpf" '
        'media-type="application/hwpml-package+xml"/><ocf:rootfile '
        'full-path="Preview/PrvText.txt" media-type="text/plain"/></ocf:rootfiles>'
        "</ocf:container>",
        "META-INF/manifest.xml": f"{XML}<odf:manifest "
        'xmlns:odf="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        "Contents/content.hpf": hwpx_package(title),
    }
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            write_member(archive, name, content.encode(), stored=name == "mimetype")
    return out.getvalue()


def hwpx_package(title: str) -> str:
    """Contents/content.hpf: title, dates, and the list of parts."""
    items = {
        "header": "Contents/header.xml",
        "section0": "Contents/section0.xml",
        "settings": "settings.xml",
    }
    manifest = "".join(
        f'<opf:item id="{key}" href="{path}" media-type="application/xml"/>'
        for key, path in items.items()
    )
    return (
        f'{XML}<opf:package {NAMESPACES} version="" unique-identifier="" id=""><opf:metadata>'
        f"<opf:title>{escape(title)}</opf:title><opf:language>ko</opf:language>"
        f'<opf:meta name="creator" content="text">{COMPANY}</opf:meta>'
        f'<opf:meta name="CreatedDate" content="text">{DATE_TEXT}</opf:meta>'
        f'<opf:meta name="ModifiedDate" content="text">{DATE_TEXT}</opf:meta></opf:metadata>'
        f"<opf:manifest>{manifest}</opf:manifest>"
        '<opf:spine><opf:itemref idref="header" linear="yes"/>'
        '<opf:itemref idref="section0" linear="yes"/></opf:spine></opf:package>'
    )


def hwpx_header() -> str:
    """Contents/header.xml: fonts, borders (1 none, 2 cell), characters, paragraphs, styles."""
    fonts = "".join(
        f'<hh:fontface lang="{language.upper()}" fontCnt="1"><hh:font id="0" face="함초롬바탕" '
        'type="TTF" isEmbedded="0"/></hh:fontface>'
        for language in LANGUAGES
    )
    borders = "".join(
        f'<hh:borderFill id="{number}" threeD="0" shadow="0" centerLine="NONE" '
        'breakCellSeparateLine="0"><hh:slash type="NONE" Crooked="0" isCounter="0"/>'
        '<hh:backSlash type="NONE" Crooked="0" isCounter="0"/>'
        + "".join(
            f'<hh:{side}Border type="{line}" width="0.12 mm" color="#000000"/>'
            for side in ("left", "right", "top", "bottom")
        )
        + '<hh:diagonal type="SOLID" width="0.1 mm" color="#000000"/></hh:borderFill>'
        for number, line in ((1, "NONE"), (2, "SOLID"))
    )
    heights = enumerate(CHARACTER_HEIGHTS)
    characters = "".join(hwpx_characters(number, height) for number, height in heights)
    paragraphs = "".join(hwpx_paragraph_shape(level) for level in range(len(CHARACTER_HEIGHTS)))
    names = (("바탕글", "Normal"), *((f"개요 {n}", f"Outline {n}") for n in (1, 2, 3)))
    styles = "".join(
        f'<hh:style id="{n}" type="PARA" name="{name}" engName="{english}" paraPrIDRef="{n}" '
        f'charPrIDRef="{n}" nextStyleIDRef="0" langID="1042" lockForm="0"/>'
        for n, (name, english) in enumerate(names)
    )
    heads = "".join(
        f'<hh:paraHead start="1" level="{level}" align="LEFT" useInstWidth="0" autoIndent="0" '
        'widthAdjust="0" textOffsetType="PERCENT" textOffset="0" numFormat="DIGIT" '
        'charPrIDRef="0" checkable="0"/>'
        for level in range(1, 8)
    )
    return (
        f'{XML}<hh:head {NAMESPACES} version="1.4" secCnt="1">'
        '<hh:beginNum page="1" footnote="1" endnote="1" pic="1" tbl="1" equation="1"/>'
        f'<hh:refList><hh:fontfaces itemCnt="{len(LANGUAGES)}">{fonts}</hh:fontfaces>'
        f'<hh:borderFills itemCnt="2">{borders}</hh:borderFills>'
        f'<hh:charProperties itemCnt="{len(CHARACTER_HEIGHTS)}">{characters}</hh:charProperties>'
        '<hh:tabProperties itemCnt="1"><hh:tabPr id="0" autoTabLeft="0" autoTabRight="0"/>'
        '</hh:tabProperties><hh:numberings itemCnt="1"><hh:numbering id="1" start="0">'
        f"{heads}</hh:numbering></hh:numberings>"
        f'<hh:paraProperties itemCnt="{len(CHARACTER_HEIGHTS)}">{paragraphs}</hh:paraProperties>'
        f'<hh:styles itemCnt="{len(names)}">{styles}</hh:styles></hh:refList>'
        '<hh:compatibleDocument targetProgram="HWP201X"><hh:layoutCompatibility/>'
        '</hh:compatibleDocument><hh:docOption><hh:linkinfo path="" pageInherit="0" '
        'footnoteInherit="0"/></hh:docOption></hh:head>'
    )


def hwpx_characters(number: int, height: int) -> str:
    """A character shape; headings (number > 0) are bold."""

    def per_language(name: str, value: int) -> str:
        return f"<hh:{name} " + " ".join(f'{key}="{value}"' for key in LANGUAGES) + "/>"

    return (
        f'<hh:charPr id="{number}" height="{height}" textColor="#000000" shadeColor="none" '
        'useFontSpace="0" useKerning="0" symMark="NONE" borderFillIDRef="1">'
        + per_language("fontRef", 0)
        + per_language("ratio", 100)
        + per_language("spacing", 0)
        + per_language("relSz", 100)
        + per_language("offset", 0)
        + ("<hh:bold/>" if number else "")
        + '<hh:underline type="NONE" shape="SOLID" color="#000000"/>'
        '<hh:strikeout shape="NONE" color="#000000"/><hh:outline type="NONE"/>'
        '<hh:shadow type="NONE" color="#B2B2B2" offsetX="10" offsetY="10"/></hh:charPr>'
    )


def hwpx_paragraph_shape(level: int) -> str:
    """A paragraph shape; 0 is the body, 1 to 3 are outline levels, which are written from 0."""
    heading = (
        f'<hh:heading type="OUTLINE" idRef="0" level="{level - 1}"/>'
        if level
        else '<hh:heading type="NONE" idRef="0" level="0"/>'
    )
    margins = "".join(
        f'<hc:{side} value="{600 if side == "next" else 0}" unit="HWPUNIT"/>'
        for side in ("intent", "left", "right", "prev", "next")
    )
    return (
        f'<hh:paraPr id="{level}" tabPrIDRef="0" condense="0" fontLineHeight="0" snapToGrid="1" '
        'suppressLineNumbers="0" checked="0"><hh:align horizontal="JUSTIFY" '
        f'vertical="BASELINE"/>{heading}<hh:breakSetting breakLatinWord="KEEP_WORD" '
        'breakNonLatinWord="KEEP_WORD" widowOrphan="0" keepWithNext="0" keepLines="0" '
        'pageBreakBefore="0" lineWrap="BREAK"/><hh:autoSpacing eAsianEng="0" eAsianNum="0"/>'
        f'<hh:margin>{margins}</hh:margin><hh:lineSpacing type="PERCENT" value="160" '
        'unit="HWPUNIT"/><hh:border borderFillIDRef="1" offsetLeft="0" offsetRight="0" '
        'offsetTop="0" offsetBottom="0" connect="0" ignoreMargin="0"/></hh:paraPr>'
    )


def hwpx_section(blocks: list[Block]) -> str:
    """Contents/section0.xml: the paragraphs and tables, page set-up in the first paragraph."""
    body = []
    for number, block in enumerate(blocks):
        runs = hwpx_page() if number == 0 else ""
        if block.kind == "table":
            runs += f'<hp:run charPrIDRef="0">{hwpx_table(block.rows, number)}<hp:t/></hp:run>'
        else:
            text = f"- {block.text}" if block.kind == "item" else block.text
            runs += f'<hp:run charPrIDRef="{block.level}"><hp:t>{escape(text)}</hp:t></hp:run>'
        body.append(hwpx_paragraph(runs, block.level))
    return f"{XML}<hs:sec {NAMESPACES}>{''.join(body)}</hs:sec>"


def hwpx_paragraph(runs: str, level: int = 0) -> str:
    """A paragraph in the style of its level."""
    return (
        f'<hp:p id="0" paraPrIDRef="{level}" styleIDRef="{level}" pageBreak="0" columnBreak="0" '
        f'merged="0">{runs}</hp:p>'
    )


def hwpx_page() -> str:
    """A4, one column; notes and borders as in a new Hancom document."""
    notes = "".join(
        f'<hp:{kind}><hp:autoNumFormat type="DIGIT" userChar="" prefixChar="" suffixChar=")" '
        'supscript="0"/><hp:noteLine length="-1" type="SOLID" width="0.12 mm" color="#000000"/>'
        '<hp:noteSpacing betweenNotes="283" belowLine="567" aboveLine="850"/>'
        f'<hp:numbering type="CONTINUOUS" newNum="1"/><hp:placement place="{place}" '
        f'beneathText="0"/></hp:{kind}>'
        for kind, place in (("footNotePr", "EACH_COLUMN"), ("endNotePr", "END_OF_DOCUMENT"))
    )
    borders = "".join(
        f'<hp:pageBorderFill type="{pages}" borderFillIDRef="1" textBorder="PAPER" '
        'headerInside="0" footerInside="0" fillArea="PAPER"><hp:offset left="1417" right="1417" '
        'top="1417" bottom="1417"/></hp:pageBorderFill>'
        for pages in ("BOTH", "EVEN", "ODD")
    )
    return (
        '<hp:run charPrIDRef="0"><hp:secPr id="" textDirection="HORIZONTAL" spaceColumns="1134" '
        'tabStop="8000" outlineShapeIDRef="1" memoShapeIDRef="0" textVerticalWidthHead="0" '
        'masterPageCnt="0"><hp:grid lineGrid="0" charGrid="0" wonggojiFormat="0"/>'
        '<hp:startNum pageStartsOn="BOTH" page="0" pic="0" tbl="0" equation="0"/>'
        '<hp:visibility hideFirstHeader="0" hideFirstFooter="0" hideFirstMasterPage="0" '
        'border="SHOW_ALL" fill="SHOW_ALL" hideFirstPageNum="0" hideFirstEmptyLine="0" '
        'showLineNumber="0"/><hp:lineNumberShape restartType="0" countBy="0" distance="0" '
        'startNumber="0"/><hp:pagePr landscape="WIDELY" width="59528" height="84188" '
        'gutterType="LEFT_ONLY"><hp:margin header="4252" footer="4252" gutter="0" left="8504" '
        f'right="8504" top="5668" bottom="4252"/></hp:pagePr>{notes}{borders}</hp:secPr><hp:ctrl>'
        '<hp:colPr id="" type="NEWSPAPER" layout="LEFT" colCount="1" sameSz="1" sameGap="0"/>'
        "</hp:ctrl></hp:run>"
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
