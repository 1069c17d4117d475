"""Records of HWP 5 in, paragraphs and what is written before them out.

By the HWP 5.0 specification revision 1.3, Hancom: 4.2 (DocInfo) and 4.3 (body).
"""

import re
import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from kogemma_rag.document_loaders.hwp_numbering import (
    NUMBER_FORMATS,
    NumberLevel,
    ParagraphHead,
    ParagraphHeads,
    number_text,
)
from kogemma_rag.document_loaders.hwp_paragraphs import (
    Box,
    Cell,
    Content,
    Note,
    PageText,
    Paragraph,
    SectionStart,
    Table,
    equation_text,
    overlapped_text,
    ruby_text,
)
from kogemma_rag.document_loaders.hwp_records import Record, doc_info_records, section_records

# Tables in tables in tables: no person goes this deep, and Python's stack does not go much deeper.
MAX_DEPTH = 32

_NUMBERING, _BULLET, _PARAGRAPH_SHAPE = 23, 24, 25
_PARAGRAPH, _TEXT, _CONTROL, _LIST, _TABLE, _EQUATION, _TEXT_ART = 66, 67, 71, 72, 77, 88, 90
_OF_LISTS = (_LIST, _PARAGRAPH)
_TEXT_ART_CORNERS = 32  # bytes
_HEAD_KINDS: dict[int, Literal["outline", "number", "bullet"]] = {
    1: "outline",
    2: "number",
    3: "bullet",
}
_NOTES: dict[bytes, Literal["각주", "미주"]] = {b"fn  ": "각주", b"en  ": "미주"}
_REGIONS: dict[bytes, Literal["header", "footer"]] = {b"head": "header", b"foot": "footer"}
_LEVELS = 7
_HEAD_BYTES = 12
_SHAPE_BYTES = 32
# Characters below a space: these stand alone, all others fill eight places.
_ALONE = {10: "\n", 24: "-", 30: " ", 31: " ", **dict.fromkeys((0, 13, 25, 26, 27, 28, 29), "")}
_TAB = 9
# Of those that fill eight places, these have no record of their own.
_INLINE = frozenset({4, 5, 6, 7, 8, _TAB, 19, 20})
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL_CHARACTER = re.compile("[\x00-\x1f]")
_CONTROL_WIDTH = 8
# What an automatic number counts; below are pages and notes, which are the layout's.
_FIRST_CAPTION_NUMBER = 3


def paragraph_heads(ole: Any) -> ParagraphHeads:
    """What is written before paragraphs, by their shapes."""
    shapes: dict[int, ParagraphHead] = {}
    numberings: dict[int, Sequence[NumberLevel]] = {}
    bullets: dict[int, str] = {}
    shape = 0
    for record in doc_info_records(ole):
        for child in (record, *record.children):
            if child.tag == _PARAGRAPH_SHAPE:
                if head := _head(child.data):
                    shapes[shape] = head
                shape += 1
            elif child.tag == _NUMBERING:
                numberings[len(numberings) + 1] = _levels(child.data)
            elif child.tag == _BULLET:
                bullets[len(bullets) + 1] = _utf16(child.data[_HEAD_BYTES : _HEAD_BYTES + 2])
    return ParagraphHeads(shapes, numberings, bullets)


def paragraphs(ole: Any) -> Iterator[Paragraph]:
    """Those of the sections.

    Raises:
        ValueError: If there is no section, or it is damaged.
    """
    for section in section_records(ole):
        yield from section_paragraphs(section)


def section_paragraphs(section: Sequence[Record]) -> list[Paragraph]:
    """The paragraphs among the records of a section."""
    return _paragraphs(section, 0)


def _utf16(data: bytes) -> str:
    return data.decode("utf-16-le", "replace").rstrip("\0")


def _string(data: bytes, offset: int) -> str:
    """A string that has its length before it."""
    (length,) = struct.unpack_from("<H", data, offset)
    return _utf16(data[offset + 2 : offset + 2 + 2 * length])


def _head(data: bytes) -> ParagraphHead | None:
    if len(data) < _SHAPE_BYTES:
        return None
    attributes, list_id = struct.unpack_from("<I26xH", data)
    kind = _HEAD_KINDS.get(attributes >> 23 & 3)
    return ParagraphHead(kind, attributes >> 25 & 7, list_id) if kind else None


def _levels(data: bytes) -> list[NumberLevel]:
    texts: list[tuple[str, int]] = []
    offset = 0
    while len(texts) < _LEVELS and len(data) >= offset + _HEAD_BYTES + 2:
        (attributes,) = struct.unpack_from("<I", data, offset)
        texts.append((_string(data, offset + _HEAD_BYTES), attributes >> 5 & 0xF))
        (length,) = struct.unpack_from("<H", data, offset + _HEAD_BYTES)
        offset += _HEAD_BYTES + 2 + 2 * length
    starts = [1] * _LEVELS
    if len(data) >= offset + 2 + 4 * _LEVELS:  # since version 5.0.2.5
        starts = list(struct.unpack_from(f"<{_LEVELS}I", data, offset + 2))
    return [
        NumberLevel(text, NUMBER_FORMATS[code] if code < len(NUMBER_FORMATS) else "DIGIT", start)
        for (text, code), start in zip(texts, starts, strict=False)
    ]


def _paragraphs(siblings: Sequence[Record], depth: int) -> list[Paragraph]:
    if depth > MAX_DEPTH:
        raise ValueError(f"tables and boxes are in each other more than {MAX_DEPTH} deep")
    return [_paragraph(record, depth) for record in siblings if record.tag == _PARAGRAPH]


def _paragraph(record: Record, depth: int) -> Paragraph:
    (shape,) = struct.unpack_from("<8xH", record.data)
    controls = (child for child in record.children if child.tag == _CONTROL)
    text = b"".join(child.data for child in record.children if child.tag == _TEXT)
    content: list[Content] = []
    for part in _characters(text):
        if isinstance(part, str):
            content.append(part)
        elif (control := next(controls, None)) is not None:
            content += _control(control, depth + 1)
    for control in controls:  # a damaged text has lost their places
        content += _control(control, depth + 1)
    return Paragraph(shape, content)


def _characters(data: bytes) -> Iterator[str | None]:
    """Pieces of text; None for each character that has a control's record."""
    text = _units(data)
    place = 0
    while match := _CONTROL_CHARACTER.search(text, place):
        yield _joined(text[place : match.start()])
        code = ord(match[0])
        place = match.start() + (1 if code in _ALONE else _CONTROL_WIDTH)
        if code in _ALONE:
            yield _ALONE[code]
        elif code in _INLINE:
            yield "\t" if code == _TAB else ""
        else:
            yield None
    yield _joined(text[place:])


def _units(data: bytes) -> str:
    """One character for each unit of UTF-16, so that the places of controls can be counted."""
    try:
        text = data.decode("utf-16-le")
        if 2 * len(text) == len(data):
            return text
    except UnicodeDecodeError:
        pass  # among them are the bytes of controls
    return "".join(map(chr, array("H", data[: len(data) - len(data) % 2])))


def _joined(text: str) -> str:
    """Surrogates that stand in pairs as the characters that they are."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _control(record: Record, depth: int) -> list[Content]:
    name, data = record.data[3::-1], record.data
    match name:
        case b"secd":
            (outline,) = struct.unpack_from("<18xH", data)
            # What is written behind all pages hangs on the section.
            return [SectionStart(outline), PageText("header", _listed(record.children, depth))]
        case b"fn  " | b"en  ":
            return [Note(_NOTES[name], _listed(record.children, depth))]
        case b"head" | b"foot":
            return [PageText(_REGIONS[name], _listed(record.children, depth))]
        case b"tbl ":
            return [_table(record, depth)]
        case b"gso ":
            return [_drawing(record, depth)]
        case b"eqed":
            scripts = [_string(part.data, 4) for part in record.children if part.tag == _EQUATION]
            return [*map(equation_text, scripts), Box([], _listed(record.children, depth))]
        case b"atno":
            attributes, number = struct.unpack_from("<4xIH", data)
            if attributes & 0xF < _FIRST_CAPTION_NUMBER:
                return []
            code = attributes >> 4 & 0xFF
            return [number_text(number, *NUMBER_FORMATS[code : code + 1])]
        case b"tcps":
            return [overlapped_text(_string(data, 4))]
        case b"tdut":
            main = _string(data, 4)
            return [ruby_text(main, _string(data, 6 + 2 * struct.unpack_from("<4xH", data)[0]))]
    return []


def _lists(siblings: Sequence[Record]) -> list[tuple[Record, list[Record]]]:
    """Each list with its paragraphs, which are on the level of its header."""
    lists: list[tuple[Record, list[Record]]] = []
    for record in siblings:
        if record.tag == _LIST:
            lists.append((record, []))
        elif record.tag == _PARAGRAPH and lists:
            lists[-1][1].append(record)
    return lists


def _listed(siblings: Sequence[Record], depth: int) -> list[Paragraph]:
    return [
        paragraph for _, members in _lists(siblings) for paragraph in _paragraphs(members, depth)
    ]


def _table(record: Record, depth: int) -> Table:
    start = next((n for n, child in enumerate(record.children) if child.tag == _TABLE), 0)
    rows: dict[int, list[tuple[int, Cell]]] = {}
    for header, members in _lists(record.children[start:]):
        column, row, column_span, row_span = struct.unpack_from("<8x4H", header.data)
        cell = Cell(_paragraphs(members, depth), row_span, column_span)
        rows.setdefault(row, []).append((column, cell))
    return Table(
        [
            [cell for _, cell in sorted(rows.get(row, ()), key=lambda placed: placed[0])]
            for row in range(max(rows, default=-1) + 1)
        ],
        _listed(record.children[:start], depth),
    )


def _drawing(record: Record, depth: int) -> Box:
    """A drawing's text, also of drawings that it groups, and its caption."""
    parts = [child for child in record.children if child.tag not in _OF_LISTS]
    texts: list[Paragraph] = []
    waiting = parts[::-1]
    while waiting:
        part = waiting.pop()
        texts += _listed(part.children, depth)
        if part.tag == _TEXT_ART:
            texts.append(Paragraph(-1, [_string(part.data, _TEXT_ART_CORNERS)]))
        waiting += [child for child in part.children[::-1] if child.tag not in _OF_LISTS]
    return Box(texts, _listed(record.children, depth))
