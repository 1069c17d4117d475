"""Word, PowerPoint, Excel and HTML: what each shows, no more and no less."""

import datetime
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from kogemma_rag.document_loaders import (
    DocumentLoadError,
    DOCXLoader,
    HTMLLoader,
    PPTXLoader,
    XLSXLoader,
    load_file,
)
from kogemma_rag.document_loaders.date_formats import shown_date
from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.number_formats import shown_number, shown_text
from kogemma_rag.document_loaders.number_labels import number_label

OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"
NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    f'xmlns:r="{OFFICE}/relationships" xmlns:m="{OFFICE}/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
)
PARTS = ("styles", "numbering", "footnotes", "endnotes", "settings", "header", "footer")


def write_docx(
    path: Path, body: str, *, kind: str = f"{WORD}.document.main+xml", core: str = "", **parts: str
) -> Path:
    """A Word document of XML written by hand; parts by name, e.g. header1, with their content."""
    overrides = "".join(
        f'<Override PartName="/word/{name}.xml" ContentType="{WORD}.{name.rstrip("12")}+xml"/>'
        for name in parts
    )
    relations = "".join(
        f'<Relationship Id="{name}" Type="{OFFICE}/relationships/{name.rstrip("12")}" '
        f'Target="{name}.xml"/>'
        for name in parts
    )
    roots = {"header": "hdr", "footer": "ftr"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/>'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/>{overrides}</Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="d" '
            f'Type="{OFFICE}/relationships/officeDocument" Target="word/document.xml"/>'
            "</Relationships>",
        )
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">{relations}</Relationships>',
        )
        archive.writestr(
            "word/document.xml", f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>"
        )
        for name, content in parts.items():
            root = roots.get(name.rstrip("12"), name)
            archive.writestr(f"word/{name}.xml", f"<w:{root} {NAMESPACES}>{content}</w:{root}>")
        if core:
            archive.writestr("docProps/core.xml", core)
    return path


def paragraph(text: str = "", properties: str = "", runs: str = "") -> str:
    run = f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>' if text else ""
    return f"<w:p><w:pPr>{properties}</w:pPr>{run}{runs}</w:p>"


def item(text: str, number: int, level: int = 0) -> str:
    return paragraph(
        text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
    )


def level(number: int, kind: str, text: str, extra: str = "", start: int = 1) -> str:
    return (
        f'<w:lvl w:ilvl="{number}"><w:start w:val="{start}"/><w:numFmt w:val="{kind}"/>{extra}'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


def definition(number: int, *levels: str) -> str:
    return f'<w:abstractNum w:abstractNumId="{number}">{"".join(levels)}</w:abstractNum>'


def numbered(number: int, abstract: int, extra: str = "") -> str:
    return f'<w:num w:numId="{number}"><w:abstractNumId w:val="{abstract}"/>{extra}</w:num>'


def table(rows: Sequence[Sequence[str]]) -> str:
    return (
        "<w:tbl>"
        + "".join(
            "<w:tr>"
            + "".join(
                f"<w:tc>{cell if cell.startswith('<') else paragraph(cell)}</w:tc>" for cell in row
            )
            + "</w:tr>"
            for row in rows
        )
        + "</w:tbl>"
    )


def word_text(path: Path) -> str:
    (document,) = DOCXLoader(path).load()
    return document.page_content


# Word: lists


@pytest.mark.parametrize(
    ("kind", "numbers", "written"),
    [
        ("decimal", [1, 12], ["1", "12"]),
        ("decimalZero", [1, 12], ["01", "12"]),
        ("ganada", [1, 2, 14, 15], ["가", "나", "하", "가가"]),
        ("chosung", [1, 3, 14], ["ㄱ", "ㄷ", "ㅎ"]),
        ("decimalEnclosedCircle", [1, 20, 21, 36, 50, 51], ["①", "⑳", "㉑", "㊱", "㊿", "51"]),
        ("decimalEnclosedParen", [1, 20], ["⑴", "⒇"]),
        ("lowerLetter", [1, 26, 27, 53], ["a", "z", "aa", "aaa"]),
        ("upperLetter", [3], ["C"]),
        ("upperRoman", [1, 4, 9, 14, 40, 1999], ["I", "IV", "IX", "XIV", "XL", "MCMXCIX"]),
        ("lowerRoman", [8], ["viii"]),
        ("koreanCounting", [1, 10, 12, 20, 105], ["일", "십", "십이", "이십", "백오"]),
        ("koreanDigital", [12], ["일이"]),
        ("koreanLegal", [1, 11, 20], ["하나", "열하나", "스물"]),
        ("ideographTraditional", [1, 2, 11], ["甲", "乙", "11"]),
        ("chineseCounting", [12, 20], ["十二", "二十"]),
        ("numberInDash", [3], ["- 3 -"]),
        ("somethingNew", [3], ["3"]),
        ("ganada", [0, -1, 10**9], ["0", "-1", "1000000000"]),
    ],
)
def test_number_labels(kind: str, numbers: list[int], written: list[str]) -> None:
    assert [number_label(number, kind) for number in numbers] == written


def test_lists_have_their_numbers_as_shown(tmp_path: Path) -> None:
    numbering = (
        definition(
            0,
            level(0, "decimal", "%1."),
            level(1, "ganada", "%2."),
            level(2, "decimal", "%3)"),
            level(3, "decimalEnclosedCircle", "%4"),
        )
        + definition(1, level(0, "upperRoman", "%1."), level(1, "decimal", "%1-%2", "<w:isLgl/>"))
        + definition(2, level(0, "bullet", "\uf0b7"), level(1, "bullet", "o"))
        + definition(3, level(0, "none", ""))
        + numbered(1, 0)
        + numbered(2, 1)
        + numbered(3, 2)
        + numbered(4, 0)
        + numbered(
            5,
            0,
            '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride>',
        )
        + numbered(6, 3)
    )
    body = "".join(
        [
            *(item("첫째", 1), item("하나", 1, 1), item("둘", 1, 1), item("깊이", 1, 2)),
            *(item("더 깊이", 1, 3), item("셋", 1, 1), item("둘째", 1), item("다시", 1, 1)),
            *(paragraph("사이"), item("이어서", 4), item("새로", 5), item("다음", 5)),
            *(paragraph("로마"), item("하나", 2), item("둘", 2), item("합침", 2, 1)),
            *(paragraph("점"), item("점", 3), item("아래", 3, 1), paragraph("끝"), item("맨", 6)),
            *(item("없는 목록", 0), item("모르는 목록", 99)),
        ]
    )
    assert word_text(write_docx(tmp_path / "a.docx", body, numbering=numbering)) == (
        "1. 첫째\n  가. 하나\n  나. 둘\n    1) 깊이\n      ① 더 깊이\n  다. 셋\n2. 둘째\n  가. 다시"
        "\n\n사이\n\n3. 이어서\n1. 새로\n2. 다음\n\n로마\n\nI. 하나\nII. 둘\n  2-1 합침"
        "\n\n점\n\n- 점\n  - 아래\n\n끝\n\n맨\n\n없는 목록\n\n모르는 목록"
    )


def test_lists_that_never_restart_and_start_elsewhere(tmp_path: Path) -> None:
    numbering = definition(
        0,
        level(0, "decimal", "제%1장", start=3),
        level(1, "decimal", "제%2조", '<w:lvlRestart w:val="0"/><w:suff w:val="nothing"/>'),
    ) + numbered(1, 0)
    body = item("총칙", 1) + item("(목적)", 1, 1) + item("(정의)", 1, 1)
    body += item("휴가", 1) + item("(연차)", 1, 1)
    assert word_text(write_docx(tmp_path / "a.docx", body, numbering=numbering)) == (
        "제3장 총칙\n  제1조(목적)\n  제2조(정의)\n제4장 휴가\n  제3조(연차)"
    )


def test_numbered_headings_by_style(tmp_path: Path) -> None:
    def style(name: str, number: int) -> str:
        return (
            f'<w:style w:styleId="{name}"><w:name w:val="heading {number}"/><w:pPr><w:numPr>'
            f'<w:numId w:val="1"/></w:numPr><w:outlineLvl w:val="{number - 1}"/></w:pPr></w:style>'
        )

    numbering = definition(
        0,
        level(0, "decimal", "제%1장", '<w:pStyle w:val="a"/>'),
        level(1, "decimal", "%1.%2", '<w:pStyle w:val="b"/>'),
    ) + numbered(1, 0)
    body = "".join(
        paragraph(text, f'<w:pStyle w:val="{name}"/>')
        for name, text in [
            ("a", "총칙"),
            ("b", "목적"),
            ("b", "정의"),
            ("a", "휴가"),
            ("b", "연차"),
        ]
    )
    path = write_docx(
        tmp_path / "a.docx",
        body + paragraph("15일"),
        numbering=numbering,
        styles=style("a", 1) + style("b", 2),
    )
    (document,) = DOCXLoader(path).load()
    assert document.page_content == (
        "# 제1장 총칙\n\n## 1.1 목적\n\n## 1.2 정의\n\n# 제2장 휴가\n\n## 2.1 연차\n\n15일"
    )
    assert document.metadata["headings"] == ["제2장 휴가", "2.1 연차"]


# Word: text


def test_notes_at_their_marks(tmp_path: Path) -> None:
    def note(kind: str, number: int) -> str:
        return f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'

    body = paragraph("연차", runs=note("footnote", 1) + "<w:r><w:t>는 15일</w:t></w:r>")
    body += paragraph("출처", runs=note("endnote", 1)) + paragraph("끝", runs=note("footnote", 9))
    body += table([["가", paragraph("나", runs=note("footnote", 2))], ["1", "2"]])
    path = write_docx(
        tmp_path / "a.docx",
        body,
        footnotes=f'<w:footnote w:id="1">{paragraph("근로기준법")}{paragraph("제60조")}'
        f'</w:footnote><w:footnote w:id="2">{paragraph("표의 주")}</w:footnote>',
        endnotes=f'<w:endnote w:id="1">{paragraph("통계청, 2026")}</w:endnote>',
    )
    assert word_text(path) == (
        "연차 (각주: 근로기준법 제60조)는 15일\n\n출처 (미주: 통계청, 2026)\n\n끝"
        "\n\n| 가 | 나 (각주: 표의 주) |\n| --- | --- |\n| 1 | 2 |"
    )


def test_only_what_is_seen(tmp_path: Path) -> None:
    def run(text: str, properties: str = "") -> str:
        return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'

    body = paragraph(
        "본문",
        runs=f"<w:ins>{run(' 넣음')}</w:ins><w:del><w:r><w:delText>지움</w:delText></w:r></w:del>"
        f"<w:moveFrom>{run('옮김')}</w:moveFrom><w:moveTo>{run(' 옮겨옴')}</w:moveTo>"
        + run("숨김", "<w:vanish/>")
        + run(" 보임", '<w:vanish w:val="0"/>')
        + '<w:hyperlink r:id="x"><w:r><w:instrText>HYPERLINK "http://a"</w:instrText></w:r>'
        + f"{run(' 링크')}</w:hyperlink>"
        + '<w:commentRangeStart w:id="0"/><w:r><w:commentReference w:id="0"/></w:r>'
        + "<w:r><w:ruby><w:rt><w:r><w:t>한</w:t></w:r></w:rt><w:rubyBase><w:r><w:t> 漢</w:t></w:r>"
        "</w:rubyBase></w:ruby></w:r><w:r><w:tab/><w:t>탭</w:t><w:br/><w:t>줄</w:t></w:r>",
    )
    path = write_docx(tmp_path / "a.docx", body)
    assert word_text(path) == "본문 넣음 옮겨옴 보임 링크 漢\t탭\n줄"


def test_boxes_once(tmp_path: Path) -> None:
    inner = f"<w:txbxContent>{paragraph('안쪽')}</w:txbxContent>"
    inner = f"<w:r><w:pict><v:shape><v:textbox>{inner}</v:textbox></v:shape></w:pict></w:r>"
    box = f"<w:txbxContent>{paragraph('상자', runs=inner)}</w:txbxContent>"
    runs = (
        f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'><wps:txbx>{box}</wps:txbx>"
        f"</mc:Choice><mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )
    body = paragraph("앞", runs=runs) + table([["가", paragraph("나", runs=runs)], ["1", "2"]])
    assert word_text(write_docx(tmp_path / "a.docx", body)) == (
        "앞\n\n상자\n\n안쪽\n\n| 가 | 나 상자 안쪽 |\n| --- | --- |\n| 1 | 2 |"
    )


def test_equations_in_one_line(tmp_path: Path) -> None:
    def r(text: str) -> str:
        return f"<m:r><m:t>{text}</m:t></m:r>"

    fraction = f"<m:f><m:num>{r('a+b')}</m:num><m:den>{r('2')}</m:den></m:f>"
    power = f"<m:sSup><m:e>{r('x')}</m:e><m:sup>{r('2')}</m:sup></m:sSup>"
    root = f"<m:rad><m:deg/><m:e>{power}</m:e></m:rad>"
    total = (
        f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{r("i=1")}</m:sub>'
        f"<m:sup>{r('n')}</m:sup><m:e>{r('i')}</m:e></m:nary>"
    )
    brackets = (
        f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e>{r("y")}</m:e></m:d>'
    )
    equation = f"<m:oMath>{r('z=')}{fraction}{r('+')}{root}{r('+')}{total}{brackets}</m:oMath>"
    body = paragraph("식: ", runs=equation)
    assert word_text(write_docx(tmp_path / "a.docx", body)) == (
        "식: z=(a+b)/2+√(x^2)+∑_(i=1)^n i[y]"
    )


def test_tables_with_captions_boxes_and_tables_in_them(tmp_path: Path) -> None:
    styles = '<w:style w:styleId="C"><w:name w:val="caption"/></w:style>'
    caption = paragraph("표 1. 인원", '<w:pStyle w:val="C"/>')
    inner = table([["가", "나"], ["1", "2"]])
    body = caption + table([["부서", "명"], ["총무", f"{paragraph('12')}{inner}"]])
    body += table([[f"{paragraph('상자')}{inner}"]])
    body += paragraph("그림 1. 조직도", '<w:pStyle w:val="C"/>') + paragraph("끝")
    deleted = "<w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p/></w:tc></w:tr></w:tbl>"
    body += table([["다", "라"], ["3", "4"]]).replace("</w:tbl>", deleted)
    assert word_text(write_docx(tmp_path / "a.docx", body, styles=styles)) == (
        "표 1. 인원\n\n| 부서 | 명 |\n| --- | --- |\n| 총무 | 12 가 나 1 2 |"
        "\n\n상자\n\n| 가 | 나 |\n| --- | --- |\n| 1 | 2 |"
        "\n\n그림 1. 조직도\n\n끝\n\n| 다 | 라 |\n| --- | --- |\n| 3 | 4 |"
    )


def test_page_headers_and_footers_come_last_and_once(tmp_path: Path) -> None:
    def field(instruction: str) -> str:
        return (
            '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> '
            f"{instruction} </w:instrText></w:r>"
            '<w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>7</w:t></w:r>'
            '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
        )

    def section(extra: str = "") -> str:
        return (
            '<w:sectPr><w:headerReference w:type="default" r:id="header1"/>'
            '<w:headerReference w:type="first" r:id="header2"/>'
            f'<w:footerReference w:type="default" r:id="footer1"/>{extra}</w:sectPr>'
        )

    parts = {
        "header1": paragraph("취업규칙 ㈜한빛"),
        "header2": paragraph("표지"),
        "footer1": paragraph("총무과 02-123-4567")
        + paragraph("- ", runs=field("PAGE") + "<w:r><w:t> -</w:t></w:r>")
        + paragraph(
            "Page ", runs='<w:fldSimple w:instr="PAGE"><w:r><w:t>3</w:t></w:r></w:fldSimple>'
        ),
    }
    body = paragraph("본문", section()) + paragraph("둘째") + section()
    documents = DOCXLoader(write_docx(tmp_path / "a.docx", body, **parts)).load()
    assert [(d.page_content, d.metadata.get("region")) for d in documents] == [
        ("본문\n\n둘째", None),
        ("취업규칙 ㈜한빛", "header"),
        ("총무과 02-123-4567", "footer"),
    ]
    body = paragraph("본문") + section("<w:titlePg/>")
    documents = DOCXLoader(write_docx(tmp_path / "b.docx", body, **parts)).load()
    assert [d.page_content for d in documents[1:3]] == ["취업규칙 ㈜한빛", "표지"]


def core(title: str, author: str, created: str = "2026-07-01T00:00:00Z") -> str:
    return (
        f'<cp:coreProperties xmlns:cp="{PACKAGE}/metadata/core-properties" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
        f"<dc:title>{title}</dc:title><dc:creator>{author}</dc:creator>"
        f"<dcterms:created>{created}</dcterms:created>"
        "<dcterms:modified>2026-07-02T09:30:00+09:00</dcterms:modified></cp:coreProperties>"
    )


def test_properties(tmp_path: Path) -> None:
    path = write_docx(tmp_path / "a.docx", paragraph("글"), core=core("취업규칙", "홍길동"))
    (document,) = DOCXLoader(path).load()
    assert document.metadata == {
        "source": path.as_posix(),
        "media_type": f"{WORD}.document",
        "title": "취업규칙",
        "author": "홍길동",
        "created": "2026-07-01T00:00:00+00:00",
        "modified": "2026-07-02T09:30:00+09:00",
    }
    for title, author, created in [
        ("Word Document", "python-docx", "2013-12-23T23:15:00Z"),
        ("", " ", "never"),
    ]:
        path = write_docx(tmp_path / "b.docx", paragraph("글"), core=core(title, author, created))
        (document,) = DOCXLoader(path).load()
        assert document.metadata["title"] == "b"
        assert {"author", "created"}.isdisjoint(document.metadata)
    write_docx(tmp_path / "c.docx", paragraph("글"), core="<broken")
    assert DOCXLoader(tmp_path / "c.docx").load()[0].page_content == "글"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-07-01T09:00:00Z", "2026-07-01T09:00:00+00:00"),
        ("2026-07-01T09:00:00.123+0900", "2026-07-01T09:00:00+09:00"),
        ("2026-07-01 09:05", "2026-07-01T09:05:00"),
        ("2026. 7. 1.", "2026-07-01"),
        ("2026년 7월 1일", "2026-07-01"),
        ("2026/07/01", "2026-07-01"),
        ("2026-13-01", None),
        ("2026-07-01T25:00:00Z", None),
        ("어제", None),
        ("07/01/2026", None),
    ],
)
def test_dates(text: str, date: str | None) -> None:
    assert iso_date(text) == date


def test_word_with_macros_and_templates(tmp_path: Path) -> None:
    for kind in (
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        f"{WORD}.template.main+xml",
    ):
        path = write_docx(tmp_path / "a.docm", paragraph("매크로 문서"), kind=kind)
        (document,) = load_file(path)
        assert document.page_content == "매크로 문서"


def test_word_that_is_damaged(tmp_path: Path) -> None:
    path = write_docx(tmp_path / "a.docx", "<w:p><w:r><w:t>끝이 없다")
    with pytest.raises(DocumentLoadError, match="손상"):
        load_file(path)


# PowerPoint


def test_slides(tmp_path: Path) -> None:
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.oxml import parse_xml
    from pptx.util import Inches

    inch = Inches(1)
    presentation = pptx.Presentation()
    layout = presentation.slide_layouts[5]
    slide = presentation.slides.add_slide(layout)
    slide.shapes.title.text = "실적"
    data = CategoryChartData(number_format="#,##0")
    data.categories = ["1분기", "2분기"]
    data.add_series("매출", (1200, 3400.4))
    data.add_series("이익", (100, None))
    chart = slide.shapes.add_chart(
        XL_CHART_TYPE.COLUMN_CLUSTERED, inch, inch, inch, inch, data
    ).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "분기 실적"
    table = slide.shapes.add_table(2, 3, inch, inch, inch, inch).table
    for cell, text in zip(table.iter_cells(), ["구분", "금액", "x", "매출", "1", "2"], strict=True):
        cell.text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    for kind, text in (("dt", "2026-07-01"), ("ftr", "대외비"), ("sldNum", "1")):
        slide.shapes._spTree.append(
            parse_xml(
                '<p:sp xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
                'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main">'
                f'<p:nvSpPr><p:cNvPr id="9{len(kind)}" name="x"/><p:cNvSpPr/><p:nvPr>'
                f'<p:ph type="{kind}" idx="1{len(kind)}"/></p:nvPr></p:nvSpPr><p:spPr/><p:txBody>'
                f"<a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
            )
        )
    hidden = presentation.slides.add_slide(layout)
    hidden._element.set("show", "0")
    box = hidden.shapes.add_textbox(inch, inch, inch, inch)
    box.text_frame.text = "숨긴 쪽\v둘째 줄"
    box.text_frame._txBody.append(
        parse_xml(
            '<a:p xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:m='
            f'"{OFFICE}/math"><a:r><a:t>식 </a:t></a:r><a14:m xmlns:a14='
            '"http://schemas.microsoft.com/office/drawing/2010/main"><m:oMath><m:f><m:num><m:r>'
            "<m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>"
            '</a14:m><a:fld id="{0}" type="slidenum"><a:t>9</a:t></a:fld></a:p>'
        )
    )
    tree = hidden.shapes._spTree
    wrapper = parse_xml(
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
        '><mc:Choice Requires="a14"/></mc:AlternateContent>'
    )
    tree.append(wrapper)
    wrapper[0].append(box._element)
    presentation.core_properties.title = "분기 보고"
    presentation.core_properties.author = "홍길동"
    presentation.save(str(tmp_path / "a.pptx"))
    first, second = PPTXLoader(tmp_path / "a.pptx").load()
    assert first.page_content == (
        "# 실적\n\n분기 실적\n\n|  | 매출 | 이익 |\n| --- | --- | --- |\n| 1분기 | 1,200 | 100 |\n"
        "| 2분기 | 3,400 |  |\n\n| 구분 | 금액 x |  |\n| --- | --- | --- |\n| 매출 | 1 | 2 |"
    )
    assert second.page_content == "숨긴 쪽\n둘째 줄\n식 1/2"
    assert second.metadata == {
        "source": (tmp_path / "a.pptx").as_posix(),
        "media_type": PPTXLoader.media_types[".pptx"],
        "title": "분기 보고",
        "author": "홍길동",
        "slide": 2,
    }


def test_smart_art(tmp_path: Path) -> None:
    import pptx
    from pptx.opc.package import Part
    from pptx.opc.packuri import PackURI
    from pptx.oxml import parse_xml

    diagram = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
    main = "http://schemas.openxmlformats.org/drawingml/2006/main"
    points = "".join(
        f"<dgm:pt><dgm:t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></dgm:t></dgm:pt>"
        for text in ("접수", "심사", "")
    )
    data = f'<dgm:dataModel xmlns:dgm="{diagram}" xmlns:a="{main}">{points}</dgm:dataModel>'
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    part = Part(
        PackURI("/ppt/diagrams/data1.xml"),
        "application/vnd.openxmlformats-officedocument.drawingml.diagramData+xml",
        presentation.part.package,
        data.encode(),
    )
    relation = slide.part.relate_to(part, f"{OFFICE}/relationships/diagramData")
    slide.shapes._spTree.append(
        parse_xml(
            '<p:graphicFrame xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
            f'xmlns:a="{main}" xmlns:r="{OFFICE}/relationships"><p:nvGraphicFramePr>'
            '<p:cNvPr id="5" name="d"/><p:cNvGraphicFramePr/><p:nvPr/></p:nvGraphicFramePr>'
            '<p:xfrm><a:off x="0" y="0"/><a:ext cx="1" cy="1"/></p:xfrm>'
            f'<a:graphic><a:graphicData uri="{diagram}"><dgm:relIds xmlns:dgm="{diagram}" '
            f'r:dm="{relation}"/></a:graphicData></a:graphic></p:graphicFrame>'
        )
    )
    presentation.save(str(tmp_path / "a.pptx"))
    (document,) = PPTXLoader(tmp_path / "a.pptx").load()
    assert document.page_content == "접수\n심사"


def repacked(source: Path, path: Path, part: str, old: str, new: str) -> Path:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == part:
                assert old.encode() in data
                data = data.replace(old.encode(), new.encode())
            after.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pptm", "vnd.ms-powerpoint.presentation.macroEnabled.main+xml"),
        ("a.ppsx", "vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml"),
    ],
)
def test_slides_with_macros_and_shows(tmp_path: Path, name: str, kind: str) -> None:
    import pptx

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "제목"
    presentation.save(str(tmp_path / "b.pptx"))
    plain = "vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
    path = repacked(tmp_path / "b.pptx", tmp_path / name, "[Content_Types].xml", plain, kind)
    (document,) = load_file(path)
    assert document.page_content == "# 제목"


# Excel


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (1234567, '#,##0"원"', "1,234,567원"),
        (1234.5, "#,##0.00", "1,234.50"),
        (0.125, "0.0%", "12.5%"),
        (-1234, "#,##0_);[Red]\\(#,##0\\)", "(1,234)"),
        (-0.25, "0.0%;△0.0%", "△25.0%"),
        (0, '#,##0;-#,##0;"-"', "-"),
        (45000.5, '_-* #,##0_-;\\-* #,##0_-;_-* "-"_-;_-@_-', "45,001"),
        (1234567, "[$₩-412]#,##0", "₩1,234,567"),
        (-1234, '"₩"#,##0', "-₩1,234"),
        (12, '0"명"', "12명"),
        (7, '"제"0"호"', "제7호"),
        (12345678, '#,##0,"천원"', "12,346천원"),
        (1234567890, "#,##0,,", "1,235"),
        (0.000123, "0.00E+00", "1.23E-04"),
        (12345, "##0.0E+0", "12.3E+3"),
        (9.99, "0.0E+0", "1.0E+1"),
        (1.25, "# ?/?", "1 1/4"),
        (0.5, "# ?/?", "1/2"),
        (3, "# ??/??", "3"),
        (1.375, "# ?/8", "1 3/8"),
        (1012345678, "000-0000-0000", "010-1234-5678"),
        (2208100001, "000-00-00000", "220-81-00001"),
        (12, "0000", "0012"),
        (2.5, "0", "3"),
        (1.005, "0.00", "1.01"),
        (2.5, "0.##", "2.5"),
        (2, "0.##", "2"),
        (-0.4, "0", "0"),
        (99, '[>=100]"많음";0"개"', "99개"),
        (100, '[>=100]"많음";0"개"', "많음"),
        (5, ";;;", ""),
        (3, "@", "3"),
        (3, 'General"개"', "3개"),
        (-3, 'General"개"', "-3개"),
        (1234, "G/표준", "1234"),
        (0.1 + 0.2, "General", "0.3"),
        (3.0, "General", "3"),
        (1e20, "General", "1E+20"),
        (10**17, "General", "100000000000000000"),
        (1.5, "0" * 300, "1.5"),
    ],
)
def test_numbers_as_shown(value: float, code: str, shown: str) -> None:
    assert shown_number(value, code) == shown


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("홍길동", "General", "홍길동"),
        ("홍길동", '@"님"', "홍길동님"),
        ("3", '0;0;0;"제"@', "제3"),
        ("홍길동", "0.00", "홍길동"),
        ("숨김", ";;;", ""),
    ],
)
def test_text_as_shown(text: str, code: str, shown: str) -> None:
    assert shown_text(text, code) == shown


AFTERNOON = datetime.datetime(2026, 7, 1, 14, 5, 9)


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (AFTERNOON, "yyyy-mm-dd", "2026-07-01"),
        (AFTERNOON, 'yyyy"년" m"월" d"일"', "2026년 7월 1일"),
        (AFTERNOON, "yyyy\\.\\ m\\.\\ d\\.", "2026. 7. 1."),
        (AFTERNOON, "yy/mm/dd", "26/07/01"),
        (AFTERNOON, "mm/dd", "07/01"),
        (AFTERNOON, "mm-dd-yy", "2026-07-01"),
        (AFTERNOON, "d-mmm-yy", "1-Jul-26"),
        (AFTERNOON, 'm"월" d"일"(aaa)', "7월 1일(수)"),
        (AFTERNOON, "[$-412]dddd", "수요일"),
        (AFTERNOON, "[$-F800]dddd\\,\\ mmmm\\ dd\\,\\ yyyy", "2026년 7월 1일 수요일"),
        (AFTERNOON, "yyyy-mm-dd h:mm", "2026-07-01 14:05"),
        (AFTERNOON, "h:mm:ss", "14:05:09"),
        (AFTERNOON, "mm:ss", "05:09"),
        (AFTERNOON, "h:mm AM/PM", "2:05 PM"),
        (AFTERNOON, "[$-412]AM/PM h:mm", "오후 2:05"),
        (AFTERNOON, 'h"시" mm"분"', "14시 05분"),
        (AFTERNOON, "General", "2026-07-01 14:05:09"),
        (datetime.datetime(2026, 7, 1), "yyyy-mm-dd h:mm:ss", "2026-07-01"),
        (datetime.datetime(2026, 7, 1), "h:mm", "0:00"),
        (datetime.time(9, 5), "h:mm", "9:05"),
        (datetime.time(0, 5), "[$-412]AM/PM h:mm", "오전 12:05"),
        (datetime.timedelta(hours=30, minutes=5), "[h]:mm", "30:05"),
    ],
)
def test_dates_as_shown(value: datetime.datetime, code: str, shown: str) -> None:
    assert shown_date(value, code) == shown


SHEET = "xl/worksheets/sheet1.xml"


def test_cells_of_every_kind(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["날짜", "참", "오류", "수", "글"])
    sheet.append([AFTERNOON, False, "#N/A", 0.1 + 0.2, "1월"])
    sheet["A2"].number_format = 'yyyy"년" m"월" d"일"'
    sheet.append([45000, True, None, 12, None])
    sheet["A3"].number_format = "mm-dd-yy"
    sheet["D3"].number_format = '0"명"'
    hidden = book.create_sheet("숨김")
    hidden.append(["비밀"])
    hidden.sheet_state = "hidden"
    book.properties.title = "인원표"
    book.properties.creator = "홍길동"
    book.save(tmp_path / "b.xlsx")
    # 31 is Korean Excel's own 'yyyy"년" mm"월" dd"일"'.
    path = repacked(
        tmp_path / "b.xlsx", tmp_path / "a.xlsx", "xl/styles.xml", 'numFmtId="14"', 'numFmtId="31"'
    )
    loader = XLSXLoader(path)
    (document,) = loader.load()
    assert document.page_content == (
        "| 날짜 | 참 | 오류 | 수 | 글 |\n| --- | --- | --- | --- | --- |\n"
        "| 2026년 7월 1일 | FALSE | #N/A | 0.3 | 1월 |\n| 2023년 03월 15일 | TRUE |  | 12명 |  |"
    )
    assert document.metadata["title"] == "인원표"
    assert document.metadata["author"] == "홍길동"
    assert [part.part for part in loader.skipped] == ["숨김"]


def test_cells_without_references_and_strings_in_place(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["x"])
    book.save(tmp_path / "b.xlsx")
    rows = (
        '<row><c t="inlineStr"><is><r><t>이</t></r><r><t>름</t></r><rPh sb="0" eb="1"><t>발음'
        '</t></rPh></is></c><c t="str"><v>수</v></c></row>'
        '<row r="5"><c r="B5" t="n"><v>1.50</v></c><c/><c t="d"><v>2026-07-01T00:00:00</v></c>'
        '<c r="A5" t="inlineStr"><is><t>가</t></is></c></row>'
    )
    with zipfile.ZipFile(tmp_path / "b.xlsx") as archive:
        data = archive.read(SHEET).decode()
    old = data[data.index("<sheetData>") : data.index("</sheetData>")]
    path = repacked(tmp_path / "b.xlsx", tmp_path / "a.xlsx", SHEET, old, f"<sheetData>{rows}")
    (document,) = XLSXLoader(path).load()
    assert document.page_content == (
        "| 이름 | 수 |  |\n| --- | --- | --- |\n| 가 | 1.5 | 2026-07-01 |"
    )
    assert document.metadata["row"] == 5


def test_long_sheet_repeats_its_header_and_keeps_its_row_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openpyxl

    from kogemma_rag.document_loaders import spreadsheets

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("명단")
    sheet.append(["2026년 명단"])
    sheet.append([])
    sheet.append(["이름", "번호"])
    for number in range(500):
        sheet.append([f"직원{number}", number])
    book.save(tmp_path / "a.xlsx")
    whole = XLSXLoader(tmp_path / "a.xlsx").load()
    monkeypatch.setattr(spreadsheets, "BLOCK_CELLS", 100)
    documents = XLSXLoader(tmp_path / "a.xlsx").load()
    assert len(documents) > len(whole) > 10
    for document in documents:
        lines = document.page_content.split("\n")
        assert lines[:4] == ["2026년 명단", "", "| 이름 | 번호 |", "| --- | --- |"]
        first = int(lines[4].split("직원")[1].split()[0])
        assert document.metadata["row"] == first + 4
    rows = [line for d in documents for line in d.page_content.split("\n")[4:]]
    assert rows == [f"| 직원{number} | {number} |" for number in range(500)]


def test_formatted_empty_rows_without_end(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["이름", "수"])
    book.active.append(["가", 1])
    book.save(tmp_path / "b.xlsx")
    empty = "".join(f'<row r="{n}"><c r="A{n}" s="0"/></row>' for n in range(3, 200_000))
    with (
        zipfile.ZipFile(tmp_path / "b.xlsx") as before,
        zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as after,
    ):
        for name in before.namelist():
            data = before.read(name)
            if name == SHEET:
                data = data.replace(b"</sheetData>", f"{empty}</sheetData>".encode())
            after.writestr(name, data)
    (document,) = load_file(tmp_path / "a.xlsx")  # the worker's limits hold
    assert document.page_content == "| 이름 | 수 |\n| --- | --- |\n| 가 | 1 |"


def test_workbook_under_another_name(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["글"])
    book.save(tmp_path / "a.xlsx")
    for name in ("a.xls", "a.xlsm", "a.dat"):
        (tmp_path / "a.xlsx").rename(tmp_path / name)
        assert load_file(tmp_path / name)[0].page_content == "글"
        (tmp_path / name).rename(tmp_path / "a.xlsx")


# HTML


def html_text(path: Path, body: str, head: str = "", encoding: str = "utf-8") -> str:
    page = f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"
    path.write_bytes(page.encode(encoding))
    (document,) = HTMLLoader(path).load()
    return document.page_content


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "<ul><li>하나<ul><li>둘<br>줄</li></ul></li><li><p>셋</p><p>넷</p></li></ul>",
            "- 하나\n  - 둘\n    줄\n- 셋\n  넷",
        ),
        (
            "<ol start=3><li>가<li value=7>나<ol type=a><li>x<li>y</ol></ol>"
            "<ol reversed><li>ㄱ<li>ㄴ</ol>",
            "3. 가\n7. 나\n  a. x\n  b. y\n\n2. ㄱ\n1. ㄴ",
        ),
        (
            "<dl><dt>용어</dt><dd>뜻</dd><dt>말</dt><dd>풀이<ul><li>ㅈ</li></ul></dd></dl><p>끝</p>",
            "용어\n: 뜻\n말\n: 풀이\n  - ㅈ\n\n끝",
        ),
        (
            '<figure><img src="http://127.0.0.1:9/x" alt="그림"><figcaption>그림 1. 조직도'
            "</figcaption></figure>",
            "그림 1. 조직도",
        ),
        (
            "<table><caption>표 1</caption><thead><tr><th rowspan=2>구분<th colspan=2>금액</tr>"
            "<tr><th>수입<th>지출</tr></thead><tr><th scope=row>본사<td><p>1</p><p>2</p>"
            "<td>3</table>",
            "표 1\n\n| 구분 | 금액 수입 | 금액 지출 |\n| --- | --- | --- |\n| 본사 | 1 2 | 3 |",
        ),
        (
            "<table><tr><th scope=row>접수<td>3. 1.</tr><tr><th scope=row>발표<td>3. 9."
            "</tr></table>",
            "| 접수 | 3. 1. |\n| --- | --- |\n| 발표 | 3. 9. |",
        ),
        (
            '<p style="opacity:0">가</p><p style="font-size: 0px">나</p><dialog>다</dialog>'
            '<p style="opacity: 0.5">라</p><p style="font-size:0.9em">마</p><template>바</template>'
            "<p aria-hidden=true>사</p><textarea>아</textarea><ruby>漢<rt>한</rt></ruby>",
            "라\n\n마\n\n漢",
        ),
        ("<!-- 주석 --><p>본문<script>x()</script></p><![CDATA[자료]]>", "본문"),
        ("<main></main><p>본문</p>", "본문"),
    ],
)
def test_html_blocks(tmp_path: Path, body: str, text: str) -> None:
    assert html_text(tmp_path / "a.html", body) == text


def test_html_charset_in_bytes(tmp_path: Path) -> None:
    head = '<meta http-equiv="Content-Type" content="text/html; charset=ks_c_5601-1987">'
    text = "똠방각하 ㈜한빛 ①"
    assert html_text(tmp_path / "a.html", f"<p>{text}</p>", head, "cp949") == text


def test_html_properties(tmp_path: Path) -> None:
    head = (
        '<meta name="Author" content="홍길동"><meta property="og:title" content="공고">'
        '<meta property="article:published_time" content="2026-07-01T09:00:00+09:00">'
        '<meta name="date" content="2020-01-01"><meta itemprop="dateModified" content="2026.7.2">'
    )
    path = tmp_path / "a.html"
    html_text(path, "<h1>제목</h1><p>글</p>", head)
    assert HTMLLoader(path).load()[0].metadata == {
        "source": path.as_posix(),
        "media_type": "text/html",
        "title": "공고",
        "headings": ["제목"],
        "author": "홍길동",
        "created": "2026-07-01T09:00:00+09:00",
        "modified": "2026-07-02",
    }
    html_text(path, "<p>글</p>", '<meta property="article:author" content="https://a.example/b">')
    assert "author" not in HTMLLoader(path).load()[0].metadata


@pytest.mark.parametrize("number", ["NaN", "1" + "0" * 400, "1-2"])
def test_a_number_that_is_none_leaves_its_sheet_readable(tmp_path, number: str) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["이름", "값"])
    book.active.append(["가", 123456])
    book.save(tmp_path / "b.xlsx")
    path = repacked(tmp_path / "b.xlsx", tmp_path / "a.xlsx", SHEET, "123456", number)
    (document,) = XLSXLoader(path).load()
    assert document.page_content.endswith(f"| 가 | {number} |")


def test_a_date_format_longer_than_any_is_no_format() -> None:
    code = "yyyy/" * 60
    assert shown_date(datetime.datetime(2026, 7, 1), code) == "2026-07-01"
