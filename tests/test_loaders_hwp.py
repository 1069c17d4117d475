"""HWP 5 and HWPX made by hand: every byte and element here is by the formats' specifications."""

import random
import struct
import zipfile
import zlib
from itertools import islice
from pathlib import Path

import pytest
from compound_file import compound_file

from kogemma_rag.document_loaders import DocumentLoadError, HWPLoader, hwp5, hwp_records, load_file
from kogemma_rag.document_loaders.hwp import is_telling_title
from kogemma_rag.document_loaders.hwp_distribution import random_numbers
from kogemma_rag.document_loaders.hwp_numbering import (
    NumberLevel,
    ParagraphHead,
    ParagraphHeads,
    number_text,
)
from kogemma_rag.document_loaders.hwp_paragraphs import (
    equation_text,
    overlapped_text,
    ruby_text,
)

NAMESPACES = " ".join(
    f'xmlns:{prefix}="http://www.hancom.co.kr/hwpml/2011/{name}"'
    for prefix, name in (
        ("hp", "paragraph"),
        ("hs", "section"),
        ("hh", "head"),
        ("hm", "master-page"),
    )
)

# HWPX


def write_hwpx(
    path: Path, *sections: str, metadata: str = "", head: str = "", masters: tuple[str, ...] = ()
) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr(
            "Contents/content.hpf",
            '<opf:package xmlns:opf="http://www.idpf.org/2007/opf/">'
            f"<opf:metadata>{metadata}</opf:metadata></opf:package>",
        )
        if head:
            archive.writestr("Contents/header.xml", f"<hh:head {NAMESPACES}>{head}</hh:head>")
        for number, section in enumerate(sections):
            text = f"<hs:sec {NAMESPACES}>{section}</hs:sec>"
            archive.writestr(f"Contents/section{number}.xml", text)
        for number, master in enumerate(masters):
            text = f"<hm:masterPage {NAMESPACES}>{master}</hm:masterPage>"
            archive.writestr(f"Contents/masterpage{number}.xml", text)
    return path


def paragraph(*items: str, shape: int = 0) -> str:
    """Strings that begin with "<" are elements, others text."""
    runs = "".join(item if item.startswith("<") else f"<hp:t>{item}</hp:t>" for item in items)
    return f'<hp:p paraPrIDRef="{shape}"><hp:run>{runs}</hp:run></hp:p>'


def listed(*paragraphs: str) -> str:
    inner = "".join(p if p.startswith("<hp:p") else paragraph(p) for p in paragraphs)
    return f"<hp:subList>{inner}</hp:subList>"


def control(name: str, *paragraphs: str) -> str:
    return f"<hp:ctrl><hp:{name}>{listed(*paragraphs)}</hp:{name}></hp:ctrl>"


def auto_number(kind: str, number: int = 1, number_format: str = "DIGIT") -> str:
    return (
        f'<hp:ctrl><hp:autoNum num="{number}" numType="{kind}">'
        f'<hp:autoNumFormat type="{number_format}"/></hp:autoNum></hp:ctrl>'
    )


def caption(*paragraphs: str) -> str:
    return f"<hp:caption>{listed(*paragraphs)}</hp:caption>"


def table(*rows: list[str], caption: str = "") -> str:
    """Cells are text, or already elements."""
    cells = (
        "".join(cell if cell.startswith("<hp:tc") else tc(cell) for cell in row) for row in rows
    )
    return f"<hp:tbl>{caption}{''.join(f'<hp:tr>{row}</hp:tr>' for row in cells)}</hp:tbl>"


def tc(*paragraphs: str, rows: int = 1, columns: int = 1) -> str:
    return (
        f'<hp:tc>{listed(*paragraphs)}<hp:cellSpan rowSpan="{rows}" colSpan="{columns}"/></hp:tc>'
    )


def text_of(path: Path) -> str:
    (document,) = HWPLoader(path).load()
    return document.page_content


def test_hwpx_notes_stand_at_their_marks(tmp_path: Path) -> None:
    path = write_hwpx(
        tmp_path / "a.hwpx",
        paragraph(
            "연차는 15일",
            control("footNote", paragraph(auto_number("FOOTNOTE"), " 근로기준법"), "제60조"),
            "이다. ",
            control("endNote", "2026년 기준"),
            "끝.",
            control("footNote", paragraph(auto_number("FOOTNOTE", 2), " ")),
        ),
    )
    assert text_of(path) == "연차는 15일 (각주: 근로기준법 제60조)이다. (미주: 2026년 기준)끝."
    path = write_hwpx(tmp_path / "b.hwpx", paragraph(control("endNote", "앞의 것"), "둘째"))
    assert text_of(path) == "(미주: 앞의 것)둘째"


def test_hwpx_page_headers_and_footers_are_kept_apart(tmp_path: Path) -> None:
    header = control("header", "인사규정")
    footer = control("footer", paragraph("- ", auto_number("PAGE"), " -"))
    named = control("footer", paragraph("한빛나래 ", auto_number("PAGE"), " 쪽"))
    path = write_hwpx(
        tmp_path / "a.hwpx",
        paragraph(header, footer, "본문") + paragraph(header, named, "둘째"),
        masters=(listed("대외비"),),
    )
    documents = HWPLoader(path).load()
    assert [(d.page_content, d.metadata.get("region")) for d in documents] == [
        ("본문\n둘째", None),
        ("인사규정", "header"),
        ("대외비", "header"),
        ("한빛나래  쪽", "footer"),
    ]


def test_hwpx_caption_stands_on_its_table_and_on_each_part_of_it(tmp_path: Path) -> None:
    number = paragraph("표 ", auto_number("TABLE", 2), " 휴가 일수")
    rows = [["구분", "일수"], *([f"휴가 종류 {n} " + "가" * 60, f"{n}일"] for n in range(10))]
    path = write_hwpx(
        tmp_path / "a.hwpx", paragraph("앞") + paragraph(table(*rows, caption=caption(number)))
    )
    text = text_of(path)
    header = "표 2 휴가 일수\n\n| 구분 | 일수 |\n| --- | --- |\n| 휴가 종류 "
    assert text.startswith(f"앞\n\n{header}0 ")
    assert text.count(header) == text.count("표 2") == 2
    assert text.endswith("가 | 9일 |")


def test_hwpx_caption_of_a_picture_is_a_line_and_boxes_keep_their_text(tmp_path: Path) -> None:
    picture = (
        f"<hp:pic>{caption(paragraph('그림 ', auto_number('PICTURE', 3), ' 조직도'))}</hp:pic>"
    )
    box = f"<hp:rect><hp:drawText>{listed('상자 안', '둘째 줄')}</hp:drawText></hp:rect>"
    group = f'<hp:container><hp:textart text="멋진 글"/>{box}</hp:container>'
    path = write_hwpx(
        tmp_path / "a.hwpx",
        paragraph(picture, "그림 다음의 글") + paragraph("문장의 앞과 ", group, "뒤가 이어진다."),
    )
    assert text_of(path) == (
        "그림 3 조직도\n그림 다음의 글\n문장의 앞과 뒤가 이어진다.\n멋진 글\n상자 안\n둘째 줄"
    )


def test_hwpx_inline_things_read_as_text(tmp_path: Path) -> None:
    equation = "<hp:equation><hp:script>E~=~m c^2 `over` 2</hp:script></hp:equation>"
    ten = '<hp:compose composeText="&#xF02BA;&#xF02C3;"/>'
    ruby = "<hp:dutmal><hp:mainText>本</hp:mainText><hp:subText>본</hp:subText></hp:dutmal>"
    link = (
        '<hp:ctrl><hp:fieldBegin type="HYPERLINK"><hp:parameters><hp:stringParam>http://a.kr'
        "</hp:stringParam></hp:parameters></hp:fieldBegin></hp:ctrl><hp:t>누리집</hp:t>"
        '<hp:ctrl><hp:fieldEnd beginIDRef="1"/></hp:ctrl>'
    )
    memo = f'<hp:ctrl><hp:fieldBegin type="MEMO">{listed("메모")}</hp:fieldBegin></hp:ctrl>'
    path = write_hwpx(
        tmp_path / "a.hwpx",
        paragraph(equation, " 식, ", ten, ruby)
        + paragraph(link, memo, control("hiddenComment", "숨은 설명"), "에서")
        + paragraph(
            "<hp:t>가<hp:tab/>나<hp:lineBreak/>다<hp:nbSpace/>라<hp:fwSpace/>마<hp:hyphen/>바"
            "<!-- 주석 --><hp:markpenBegin/>사<hp:markpenEnd/></hp:t>"
        )
        + paragraph(
            "<hp:t>남고<hp:deleteBegin/>지운 글</hp:t>",
            "<hp:t>더 지움<hp:deleteEnd/> <hp:insertBegin/>더한 글<hp:insertEnd/></hp:t>",
        ),
    )
    assert text_of(path) == (
        "E = m c^2 over 2 식, ⑩本(본)\n누리집에서\n가\t나\n다 라 마-바사\n남고 더한 글"
    )


NUMBERED = (
    '<hh:paraPr id="1"><hh:heading type="OUTLINE" idRef="0" level="0"/></hh:paraPr>'
    '<hh:paraPr id="2"><hh:heading type="OUTLINE" idRef="0" level="1"/></hh:paraPr>'
    '<hh:paraPr id="3"><hh:heading type="NUMBER" idRef="2" level="0"/></hh:paraPr>'
    '<hh:paraPr id="4"><hh:heading type="NUMBER" idRef="2" level="1"/></hh:paraPr>'
    '<hh:paraPr id="5"><hh:heading type="BULLET" idRef="1" level="0"/></hh:paraPr>'
    '<hh:paraPr id="6"><hh:heading type="NONE" idRef="0" level="0"/></hh:paraPr>'
    '<hh:numbering id="1"><hh:paraHead level="1" numFormat="DIGIT">제^1장</hh:paraHead>'
    '<hh:paraHead level="2" numFormat="DIGIT">제^2조</hh:paraHead></hh:numbering>'
    '<hh:numbering id="2">'
    '<hh:paraHead level="1" numFormat="HANGUL_SYLLABLE" start="2">^1.</hh:paraHead>'
    '<hh:paraHead level="2" numFormat="DIGIT">^1-^2)</hh:paraHead></hh:numbering>'
    '<hh:bullet id="1" char="□"/>'
)
SECTION_START = '<hp:secPr outlineShapeIDRef="1"/>'


def test_hwpx_numbers_are_those_shown(tmp_path: Path) -> None:
    lines = [
        (3, "첫째"),
        (4, "밑"),
        (4, "밑 둘"),
        (3, "둘째"),
        (4, "다시 밑"),
        (5, "네모"),
        (6, "보통"),
    ]
    section = paragraph(SECTION_START, "총칙", shape=1)
    section += paragraph("목적", control("footNote", "설명"), shape=2)
    section += "".join(paragraph(text, shape=shape) for shape, text in lines)
    section += paragraph("이 조의 글은 길어서 제목이 아니라 문장이다.", shape=2)
    section += paragraph("근무", shape=1) + paragraph("시간", shape=2) + paragraph("9시부터")
    path = write_hwpx(tmp_path / "a.hwpx", section, head=NUMBERED)
    first, second = HWPLoader(path).load()
    assert first.page_content == (
        "# 제1장 총칙\n\n## 제1조 목적\n\n(각주: 설명)\n나. 첫째\n나-1) 밑\n나-2) 밑 둘\n다. 둘째\n"
        "다-1) 다시 밑\n□ 네모\n보통\n제2조 이 조의 글은 길어서 제목이 아니라 문장이다."
    )
    assert first.metadata["headings"] == ["제1장 총칙", "제1조 목적"]
    assert second.page_content == "# 제2장 근무\n\n## 제1조 시간\n\n9시부터"


@pytest.mark.parametrize(
    ("number_format", "numbers", "texts"),
    [
        ("DIGIT", (1, 12), ["1", "12"]),
        ("CIRCLED_DIGIT", (1, 20, 21, 36, 50, 51), ["①", "⑳", "㉑", "㊱", "㊿", "(51)"]),
        ("ROMAN_CAPITAL", (4, 9, 14, 40, 1994), ["IV", "IX", "XIV", "XL", "MCMXCIV"]),
        ("ROMAN_SMALL", (3,), ["iii"]),
        ("LATIN_CAPITAL", (1, 26, 27), ["A", "Z", "27"]),
        ("LATIN_SMALL", (2,), ["b"]),
        ("CIRCLED_LATIN_CAPITAL", (1, 26), ["Ⓐ", "Ⓩ"]),
        ("CIRCLED_LATIN_SMALL", (1, 26), ["ⓐ", "ⓩ"]),
        ("HANGUL_SYLLABLE", (1, 8, 14, 15, 16, 29), ["가", "아", "하", "거", "너", "고"]),
        ("CIRCLED_HANGUL_SYLLABLE", (1, 14), ["㉮", "㉻"]),
        ("HANGUL_JAMO", (1, 14), ["ㄱ", "ㅎ"]),
        ("CIRCLED_HANGUL_JAMO", (1, 14), ["㉠", "㉭"]),
        ("HANGUL_PHONETIC", (1, 10, 11, 20, 35), ["일", "십", "십일", "이십", "삼십오"]),
        ("IDEOGRAPH", (3, 10, 21), ["三", "十", "二十一"]),
        ("CIRCLED_IDEOGRAPH", (1, 10), ["㊀", "㊉"]),
        ("UNHEARD_OF", (7,), ["7"]),
    ],
)
def test_number_formats(number_format: str, numbers: tuple[int, ...], texts: list[str]) -> None:
    assert [number_text(number, number_format) for number in numbers] == texts


def test_paths_of_numbers_and_levels_that_are_left_out() -> None:
    levels = [NumberLevel("^1."), NumberLevel("^n)"), NumberLevel("^N")]
    shapes = {level: ParagraphHead("number", level, 1) for level in range(4)}
    heads = ParagraphHeads(shapes, {1: levels})
    assert [heads.next_mark(shape) for shape in (1, 2, 2, 0, 2, 3, 9)] == [
        *("1.1)", "1.1.1.", "1.1.2.", "2.", "2.1.1.", "", ""),
    ]


def test_words_and_equations() -> None:
    assert equation_text("x ~=~ {a`+`b} over 2\n") == "x = {a + b} over 2"
    assert overlapped_text("\U000f02bb\U000f02c8") == "㉕"
    assert overlapped_text("가1") == "가1"
    assert ruby_text("本", " ") == "本"


def test_hwpx_properties(tmp_path: Path) -> None:
    metadata = (
        "<opf:title>2026년 휴가 안내</opf:title><opf:language>ko</opf:language>"
        '<opf:meta name="creator" content="text">총무과</opf:meta>'
        '<opf:meta name="subject" content="text">주제</opf:meta>'
        '<opf:meta name="CreatedDate" content="text">2026-01-02T03:04:05Z</opf:meta>'
        '<opf:meta name="ModifiedDate" content="text"/>'
    )
    section = paragraph("2026년  휴가 안내") + paragraph("연차는 15일이다.")
    (document,) = HWPLoader(write_hwpx(tmp_path / "a.hwpx", section, metadata=metadata)).load()
    assert document.metadata == {
        "source": str(tmp_path / "a.hwpx"),
        "media_type": "application/vnd.hancom.hwpx",
        "title": "2026년 휴가 안내",
        "author": "총무과",
        "created": "2026-01-02T03:04:05Z",
    }


@pytest.mark.parametrize("title", ["", "제목", "2", "보도자료", "다른 문서의 제목"])
def test_title_that_says_nothing_gives_way_to_the_first_heading(tmp_path: Path, title: str) -> None:
    section = paragraph(SECTION_START, "총칙", shape=1) + paragraph("보도자료 제목 2 글")
    metadata = f"<opf:title>{title}</opf:title>"
    path = write_hwpx(tmp_path / "a.hwpx", section, metadata=metadata, head=NUMBERED)
    (document,) = HWPLoader(path).load()
    assert document.metadata["title"] == "제1장 총칙"


def test_a_title_is_looked_for_without_spaces() -> None:
    assert is_telling_title("인사 규정", "한빛나래인사규정제1장")
    assert not is_telling_title("인사 규정집", "한빛나래인사규정제1장")
    assert not is_telling_title("제목 없음", "제목없음")


def test_hwpx_merged_cells_and_tables_in_cells(tmp_path: Path) -> None:
    inner = paragraph(table(["시도", "시군구"], ["서울", "중구"]))
    merged = table(
        [tc("구분", rows=2), tc("일수", columns=2)],
        ["연", "월"],
        ["연차", "15", tc(inner)],
        [tc("합계", columns=2), "16"],
    )
    layout = table([tc("왼쪽 제목", inner)])
    path = write_hwpx(tmp_path / "a.hwpx", paragraph(merged) + paragraph(layout))
    assert text_of(path) == (
        "| 구분 | 일수 |  |\n| --- | --- | --- |\n|  | 연 | 월 |\n"
        "| 연차 | 15 | 시도 시군구 서울 중구 |\n| 합계 |  | 16 |\n\n"
        "왼쪽 제목\n\n| 시도 | 시군구 |\n| --- | --- |\n| 서울 | 중구 |"
    )


def test_hwpx_sections_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = write_hwpx(tmp_path / "a.hwpx", *(paragraph(f"구역 {n}") for n in range(12)))
    assert text_of(path) == "\n".join(f"구역 {n}" for n in range(12))


def test_damaged_hwpx_is_refused(tmp_path: Path) -> None:
    path = write_hwpx(tmp_path / "a.hwpx", paragraph("글") + "<hp:p>")
    with pytest.raises(DocumentLoadError, match="손상"):
        HWPLoader(path).load()
    with pytest.raises(DocumentLoadError, match="손상"):
        HWPLoader(write_hwpx(tmp_path / "b.hwpx")).load()
    nested = paragraph("가장 안")
    for _ in range(300):
        nested = paragraph(table([tc(nested)]))
    with pytest.raises(DocumentLoadError, match="손상"):
        HWPLoader(write_hwpx(tmp_path / "c.hwpx", nested)).load()


# HWP 5

_TAGS = {"numbering": 23, "bullet": 24, "paragraph shape": 25}
_PARAGRAPH, _TEXT, _CONTROL, _LIST, _SHAPE, _TABLE, _EQUATION, _ART = 66, 67, 71, 72, 76, 77, 88, 90
EXTENDED = {
    "secd": 2,
    "%hlk": 3,
    "tbl ": 11,
    "gso ": 11,
    "eqed": 11,
    "tcmt": 15,
    "head": 16,
    "foot": 16,
    "fn  ": 17,
    "en  ": 17,
    "atno": 18,
    "tcps": 23,
    "tdut": 23,
}


def record(tag: int, level: int, data: bytes = b"") -> bytes:
    if len(data) < 0xFFF:
        return struct.pack("<I", tag | level << 10 | len(data) << 20) + data
    return struct.pack("<II", tag | level << 10 | 0xFFF << 20, len(data)) + data


def string(text: str) -> bytes:
    encoded = text.encode("utf-16-le")
    return struct.pack("<H", len(encoded) // 2) + encoded


class Control:
    """A control of a paragraph: what stands in its record and what belongs to it, by level."""

    def __init__(self, name: str, data: bytes = b"", inner=lambda level: b"") -> None:
        self.name, self.data, self.inner = name, data, inner

    def character(self) -> bytes:
        code = struct.pack("<H", EXTENDED[self.name])
        return code + self.name.encode()[::-1] + b"\0" * 8 + code

    def records(self, level: int) -> bytes:
        name = self.name.encode()[::-1]
        return record(_CONTROL, level, name + self.data) + self.inner(level + 1)


def hwp_paragraph(*items: str | Control, shape: int = 0, level: int = 0) -> bytes:
    text = b"".join(
        item.encode("utf-16-le", "surrogatepass") if isinstance(item, str) else item.character()
        for item in items
    )
    controls = [item for item in items if isinstance(item, Control)]
    return (
        record(_PARAGRAPH, level, struct.pack("<IIHBBHHHI", len(text) // 2, 0, shape, *[0] * 6))
        + record(_TEXT, level + 1, text + b"\r\0")
        + b"".join(item.records(level + 1) for item in controls)
    )


def hwp_list(*paragraphs, cell: bytes = b""):
    """A list of paragraphs, each a tuple of items, at a level to be told."""

    def records(level: int) -> bytes:
        header = record(_LIST, level, struct.pack("<HIH", len(paragraphs), 0, 0) + cell)
        return header + b"".join(hwp_paragraph(*items, level=level) for items in paragraphs)

    return records


def hwp_table(cells: dict[tuple[int, int, int, int], tuple], caption=None) -> Control:
    """Cells by row, column, row span and column span."""

    def inner(level: int) -> bytes:
        return (
            (caption(level) if caption else b"")
            + record(_TABLE, level, bytes(24))
            + b"".join(
                hwp_list(items, cell=struct.pack("<4H15x", column, row, column_span, row_span))(
                    level
                )
                for (row, column, row_span, column_span), items in cells.items()
            )
        )

    return Control("tbl ", bytes(42), inner)


def number_control(kind: int, number: int) -> Control:
    return Control("atno", struct.pack("<IH6x", kind, number))


def paragraph_shape(kind: int = 0, level: int = 0, list_id: int = 0) -> bytes:
    attributes = kind << 23 | level << 25
    return record(_TAGS["paragraph shape"], 1, struct.pack("<I26xH20x", attributes, list_id))


def numbering(*levels: tuple[str, int], starts: tuple[int, ...] = ()) -> bytes:
    padded = [*levels, *[("", 0)] * (7 - len(levels))]
    data = b"".join(struct.pack("<I8x", code << 5) + string(text) for text, code in padded)
    data += struct.pack("<H", 1)
    if starts:
        data += struct.pack("<7I", *starts, *[1] * (7 - len(starts)))
    return record(_TAGS["numbering"], 1, data)


def summary(title: str, author: str, created: int) -> bytes:
    """Properties: title, author, creation time (100 ns since 1601)."""

    def text(value: str) -> bytes:
        encoded = (value + "\0").encode("utf-16-le")
        data = struct.pack("<II", 0x1F, len(encoded) // 2) + encoded
        return data.ljust(-(-len(data) // 4) * 4, b"\0")

    values = {2: text(title), 4: text(author), 12: struct.pack("<IQ", 0x40, created)}
    values[13] = struct.pack("<IQ", 0x40, 0)
    place = 8 + 8 * len(values)
    index = b""
    for number, value in values.items():
        index += struct.pack("<II", number, place)
        place += len(value)
    head = struct.pack("<HHI16xI16sI", 0xFFFE, 0, 0, 1, bytes(16), 48)
    return head + struct.pack("<II", place, len(values)) + index + b"".join(values.values())


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def write_hwp(
    path: Path,
    *sections: bytes,
    doc_info: bytes = b"",
    flags: int = 1,
    properties: bytes = b"",
    raw: bool = False,
    more: dict[str, bytes] | None = None,
) -> Path:
    wrap = packed if flags & 1 and not raw else bytes
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000304, flags)
    streams = {"FileHeader": header.ljust(256, b"\0"), "DocInfo": packed(doc_info)}
    if not flags & 1:
        streams["DocInfo"] = doc_info
    streams |= {f"BodyText/Section{n}": wrap(section) for n, section in enumerate(sections)}
    if properties:
        streams["\x05HwpSummaryInformation"] = properties
    path.write_bytes(compound_file(streams | (more or {})))
    return path


def section_start(outline: int = 1, inner=lambda level: b"") -> Control:
    return Control("secd", struct.pack("<14xH18x", outline), inner)


@pytest.mark.parametrize("flags", [0, 1])
def test_hwp_notes_and_page_headers(tmp_path: Path, flags: int) -> None:
    section = hwp_paragraph(
        section_start(inner=hwp_list(("대외비",))),
        Control("head", bytes(8), hwp_list(("인사규정",))),
        Control("foot", bytes(8), hwp_list(("- ", number_control(0, 1), " -"))),
        "연차는 15일",
        Control("fn  ", bytes(16), hwp_list((number_control(1, 1), " 근로기준법"), ("제60조",))),
        "이다. ",
        Control("en  ", bytes(16), hwp_list((number_control(2, 1), "2026년 기준"))),
        "끝.",
    )
    documents = HWPLoader(write_hwp(tmp_path / "a.hwp", section, flags=flags)).load()
    assert [(d.page_content, d.metadata.get("region")) for d in documents] == [
        ("연차는 15일 (각주: 근로기준법 제60조)이다. (미주: 2026년 기준)끝.", None),
        ("대외비", "header"),
        ("인사규정", "header"),
    ]


def test_hwp_tables_with_captions_spans_and_tables_in_them(tmp_path: Path) -> None:
    inner = hwp_table({(0, 0, 1, 1): ("서울",), (0, 1, 1, 1): ("중구",)})
    # In the order of columns, as no program writes them.
    cells = {
        (0, 0, 2, 1): ("구분",),
        (2, 0, 1, 1): ("연차",),
        (0, 1, 1, 2): ("일수",),
        (1, 1, 1, 1): ("연",),
        (2, 1, 1, 1): ("15",),
        (1, 2, 1, 1): ("월",),
        (2, 2, 1, 1): (inner,),
    }
    caption = hwp_list(("표 ", number_control(4, 2), " 휴가"))
    section = hwp_paragraph(section_start(), hwp_table(cells, caption)) + hwp_paragraph("다음")
    assert text_of(write_hwp(tmp_path / "a.hwp", section)) == (
        "표 2 휴가\n\n| 구분 | 일수 |  |\n| --- | --- | --- |\n|  | 연 | 월 |\n"
        "| 연차 | 15 | 서울 중구 |\n\n다음"
    )


def test_hwp_inline_things_read_as_text(tmp_path: Path) -> None:
    equation = Control(
        "eqed",
        bytes(42),
        lambda level: record(_EQUATION, level, bytes(4) + string("a~over~b") + bytes(12)),
    )
    ten = Control("tcps", string("\U000f02ba\U000f02c3") + bytes(8))
    ruby = Control("tdut", string("本") + string("본") + bytes(16))
    section = (
        hwp_paragraph(equation, " 식, ", ten, ruby, "\U000f02b2")
        + hwp_paragraph(
            Control("%hlk", bytes(20)),
            "누리집",
            "\x04" + "\0" * 6 + "\x04",
            Control("tcmt", b"", hwp_list(("숨은 설명",))),
            "에서",
        )
        + hwp_paragraph("가\x09\ud800\0\0\0\0\0\x09나\n다\x1e라\x1f마\x18바 😀 \udc00")
    )
    assert text_of(write_hwp(tmp_path / "a.hwp", section)) == (
        "a over b 식, ⑩本(본)②\n누리집에서\n가\t나\n다 라 마-바 😀 \ufffd"
    )


def test_hwp_boxes_and_pictures(tmp_path: Path) -> None:
    def group(level: int) -> bytes:
        art = bytes(32) + string("멋진 글") + bytes(20)
        return (
            record(_SHAPE, level, bytes(100))
            + record(_SHAPE, level + 1, bytes(100))
            + hwp_list(("상자 안",), ("둘째 줄",))(level + 2)
            + record(_SHAPE, level + 1, bytes(100))
            + record(_ART, level + 2, art)
        )

    def picture(level: int) -> bytes:
        caption = hwp_list(("그림 ", number_control(3, 3), " 조직도"))
        return caption(level) + record(_SHAPE, level, bytes(100))

    section = hwp_paragraph(Control("gso ", bytes(42), picture), "그림 다음의 글")
    section += hwp_paragraph("문장의 앞과 ", Control("gso ", bytes(42), group), "뒤가 이어진다.")
    assert text_of(write_hwp(tmp_path / "a.hwp", section)) == (
        "그림 3 조직도\n그림 다음의 글\n문장의 앞과 뒤가 이어진다.\n상자 안\n둘째 줄\n멋진 글"
    )


def test_hwp_numbers_are_those_shown(tmp_path: Path) -> None:
    doc_info = (
        numbering(("제^1장", 0), ("제^2조", 0))
        + numbering(("^1.", 8), ("^1-^2)", 0), starts=(2, 1))
        + record(_TAGS["bullet"], 1, bytes(12) + "□".encode("utf-16-le") + bytes(10))
        + paragraph_shape()
        + paragraph_shape(1, 0)
        + paragraph_shape(1, 1)
        + paragraph_shape(2, 0, 2)
        + paragraph_shape(2, 1, 2)
        + paragraph_shape(3, 0, 1)
    )
    first = hwp_paragraph(section_start(), "총칙", shape=1)
    for shape, text in (
        (2, "목적"),
        (3, "첫째"),
        (4, "밑"),
        (4, "밑 둘"),
        (3, "둘째"),
        (5, "네모"),
    ):
        first += hwp_paragraph(text, shape=shape)
    second = hwp_paragraph(section_start(), "근무", shape=1) + hwp_paragraph("9시부터")
    path = write_hwp(tmp_path / "a.hwp", first, second, doc_info=doc_info)
    assert [document.page_content for document in HWPLoader(path).load()] == [
        "# 제1장 총칙\n\n## 제1조 목적\n\n나. 첫째\n나-1) 밑\n나-2) 밑 둘\n다. 둘째\n□ 네모",
        "# 제2장 근무\n\n9시부터",
    ]


def test_hwp_properties(tmp_path: Path) -> None:
    # 134,774 days from 1601 to 1970, 20,454 to 2026.
    created = (134_774 + 20_454) * 86_400 * 10_000_000
    path = write_hwp(
        tmp_path / "a.hwp",
        hwp_paragraph("휴가 안내"),
        properties=summary("휴가 안내", "총무과", created),
    )
    (document,) = HWPLoader(path).load()
    assert document.metadata == {
        "source": str(path),
        "media_type": "application/vnd.hancom.hwp",
        "title": "휴가 안내",
        "author": "총무과",
        "created": "2026-01-01T00:00:00Z",
    }
    path = write_hwp(
        tmp_path / "b.hwp", hwp_paragraph("글"), properties=summary("다른 글", "", 2**64 - 1)
    )
    (document,) = HWPLoader(path).load()
    assert document.metadata["title"] == "b"
    assert not {"author", "created"} & document.metadata.keys()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [(0b11, "암호"), (0b10001, "DRM"), (0x101, "인증서"), (0x401, "인증서")],
)
def test_locked_hwp_is_refused(tmp_path: Path, flags: int, reason: str) -> None:
    path = write_hwp(tmp_path / "a.hwp", hwp_paragraph("글"), flags=flags)
    with pytest.raises(DocumentLoadError, match=reason):
        HWPLoader(path).load()


def locked(data: bytes, seed: int, key: bytes) -> bytes:
    """A stream encrypted as Hancom's word processor does."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    state, mask = seed, b""
    while len(mask) < 256:
        state = (state * 214013 + 2531011) % 2**32
        byte = bytes([state >> 16 & 0xFF])
        state = (state * 214013 + 2531011) % 2**32
        mask += byte * ((state >> 16) % 16 + 1)
    place = 4 + seed % 16
    plain = bytes(range(place)) + key + bytes(256 - place - len(key))
    covered = bytes(a ^ b for a, b in zip(plain, mask, strict=False))
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    padded = data.ljust(-(-len(data) // 16) * 16, b"\0")
    return record(28, 0, struct.pack("<I", seed) + covered[4:]) + encryptor.update(padded)


def test_the_generator_of_the_lock_is_that_of_microsoft() -> None:
    numbers = [41, 18467, 6334, 26500, 19169, 15724, 11478, 29358, 26962, 24464]
    assert list(islice(random_numbers(1), 10)) == numbers


@pytest.mark.parametrize("seed", [0, 0x1234567F, 2**32 - 1])
def test_hwp_locked_for_distribution_is_read_with_its_notes(tmp_path: Path, seed: int) -> None:
    note = Control("fn  ", bytes(16), hwp_list(("설명",)))
    section = hwp_paragraph(section_start(), "총칙", note, shape=1)
    stands_in = hwp_paragraph(section_start(), "이 문서는 상위 버전의 배포용 문서입니다.")
    path = write_hwp(
        tmp_path / "a.hwp",
        stands_in,
        doc_info=numbering(("제^1장", 0)) + paragraph_shape() + paragraph_shape(2, 0, 1),
        flags=0b101,
        more={"ViewText/Section0": locked(packed(section), seed, b"E\0" * 8)},
    )
    assert text_of(path) == "제1장 총칙 (각주: 설명)"


@pytest.mark.parametrize("body", [None, b"", bytes(400), locked(b"\xff" * 64, 5, b"k" * 16)])
def test_hwp_with_a_broken_lock_is_refused(tmp_path: Path, body: bytes | None) -> None:
    stands_in = hwp_paragraph("이 문서는 상위 버전의 배포용 문서입니다.")
    more = {} if body is None else {"ViewText/Section0": body}
    path = write_hwp(tmp_path / "a.hwp", stands_in, flags=0b101, more=more)
    with pytest.raises(DocumentLoadError, match="손상"):
        HWPLoader(path).load()


def test_the_sentence_in_the_place_of_a_locked_text_is_not_a_text(tmp_path: Path) -> None:
    sentence = (
        "이 문서는 상위 버전의 배포용 문서입니다. 문서를 읽으려면 최신 버전의 글이 필요합니다."
    )
    for path in (
        write_hwp(tmp_path / "a.hwp", hwp_paragraph(section_start(), sentence)),
        write_hwpx(tmp_path / "b.hwpx", paragraph(sentence)),
    ):
        with pytest.raises(DocumentLoadError, match="암호"):
            HWPLoader(path).load()


def test_records() -> None:
    long = bytes(5000)
    top = hwp_records.records(
        record(66, 0, b"a") + record(71, 1, long) + record(72, 2) + record(66, 9, b"b") + b"\1\2"
    )
    (paragraph_record,) = top
    (control_record,) = paragraph_record.children
    assert (paragraph_record.tag, paragraph_record.data) == (66, b"a")
    assert control_record.data == long
    assert [child.tag for child in control_record.children] == [72]
    # A level that nothing stands above is that of the next free one.
    assert control_record.children[0].children[0].data == b"b"
    with pytest.raises(ValueError, match="past the end"):
        hwp_records.records(record(66, 0, b"abc")[:-1])
    with pytest.raises(ValueError, match="past the end"):
        hwp_records.records(struct.pack("<II", 66 | 0xFFF << 20, 2**32 - 1))


def test_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hwp_records.inflate(packed(b"abc") + b"more") == b"abc"
    monkeypatch.setattr(hwp_records, "MAX_STREAM_BYTES", 1000)
    assert hwp_records.inflate(packed(bytes(1000))) == bytes(1000)
    for data in (packed(bytes(1001)), packed(bytes(range(200)))[:-1], b"\xff\xff"):
        with pytest.raises(ValueError, match="a stream is"):
            hwp_records.inflate(data)


def test_hostile_hwp_is_refused_in_its_process(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(600)) + packer.flush()
    assert len(bomb) < 2**20

    def nested(level: int) -> bytes:
        if level > 1000:
            return b""
        header = struct.pack("<HIH4H15x", 1, 0, 0, 0, 0, 1, 1)
        return (
            record(_TABLE, level, bytes(24))
            + record(_LIST, level, header)
            + record(_PARAGRAPH, level, bytes(22))
            + record(_TEXT, level + 1, Control("tbl ").character())
            + record(_CONTROL, level + 1, b" lbt" + bytes(42))
        )

    deep = hwp_paragraph(
        Control("tbl ", bytes(42), lambda level: b"".join(map(nested, range(level, 1000, 2))))
    )
    long_record = hwp_paragraph("글") + struct.pack("<I", 66 | 500 << 20)
    for number, (section, raw) in enumerate([(bomb, True), (deep, False), (long_record, False)]):
        path = write_hwp(tmp_path / f"{number}.hwp", section, raw=raw)
        with pytest.raises(DocumentLoadError, match="손상"):
            load_file(path)


def test_deep_tables_are_read_as_far_as_a_person_goes() -> None:
    def table_in(depth: int) -> Control:
        items = ("안",) if depth == 0 else (table_in(depth - 1),)
        return hwp_table({(0, 0, 1, 1): items})

    def read(depth: int) -> int:
        return len(hwp5.section_paragraphs(hwp_records.records(hwp_paragraph(table_in(depth)))))

    assert read(hwp5.MAX_DEPTH - 1) == 1
    with pytest.raises(ValueError, match="deep"):
        read(hwp5.MAX_DEPTH)


def test_cut_hwp_is_refused(tmp_path: Path) -> None:
    rng = random.Random(3)
    text = "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(9000))
    data = write_hwp(tmp_path / "a.hwp", hwp_paragraph(text)).read_bytes()
    assert text_of(tmp_path / "a.hwp") == text
    for share in (0.2, 0.5, 0.8):
        path = tmp_path / f"{share}.hwp"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DocumentLoadError, match="손상"):
            HWPLoader(path).load()


def test_mutated_hwp_is_read_or_refused(tmp_path: Path) -> None:
    section = hwp_paragraph(
        section_start(),
        hwp_table({(0, 0, 1, 1): ("가",), (0, 1, 1, 1): ("나",)}, hwp_list(("표",))),
        Control("fn  ", bytes(16), hwp_list(("각주",))),
        Control("tcps", string("①")),
        "본문이다.",
    )
    rng = random.Random(11)
    for _ in range(300):
        damaged = bytearray(section)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path = write_hwp(tmp_path / "a.hwp", bytes(damaged), doc_info=numbering(("^1.", 0)))
        try:
            HWPLoader(path).load()
        except DocumentLoadError as error:
            assert "손상" in error.reason or "글이 없습니다" in error.reason  # noqa: PT017
