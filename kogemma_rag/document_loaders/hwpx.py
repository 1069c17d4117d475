"""HWPX, which is OWPML (KS X 6101) in a zip, in; paragraphs, their heads and properties out."""

import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from kogemma_rag.document_loaders.hwp_numbering import (
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
from kogemma_rag.document_loaders.xml import parse_xml

_HEADER = "Contents/header.xml"
_PACKAGE = "Contents/content.hpf"
_PROPERTIES = {
    "title": "title",
    "creator": "author",
    "CreatedDate": "created",
    "ModifiedDate": "modified",
}
_HEAD_KINDS: dict[str, Literal["outline", "number", "bullet"]] = {
    "OUTLINE": "outline",
    "NUMBER": "number",
    "BULLET": "bullet",
}
_NOTES: dict[str, Literal["각주", "미주"]] = {"footNote": "각주", "endNote": "미주"}
_REGIONS: dict[str, Literal["header", "footer"]] = {"header": "header", "footer": "footer"}
# Characters that are elements.
_CHARACTERS = {"lineBreak": "\n", "tab": "\t", "nbSpace": " ", "fwSpace": " ", "hyphen": "-"}
# Numbers of these are the layout's; those of tables, pictures and equations belong to a caption.
_LAYOUT_NUMBERS = frozenset({"PAGE", "TOTAL_PAGE", "FOOTNOTE", "ENDNOTE"})


def properties(archive: zipfile.ZipFile) -> dict[str, str]:
    """Of title, author, created and modified those that the document states."""
    found = {}
    if _PACKAGE in archive.namelist():
        for element in _xml(archive, _PACKAGE).iter("{*}title", "{*}meta"):
            name = _PROPERTIES.get(element.get("name", _name(element)))
            if name and (text := "".join(element.itertext()).strip()):
                found[name] = text
    return found


def paragraph_heads(archive: zipfile.ZipFile) -> ParagraphHeads:
    """What is written before paragraphs, by their shapes."""
    if _HEADER not in archive.namelist():
        return ParagraphHeads()
    shapes: dict[int, ParagraphHead] = {}
    numberings: dict[int, Sequence[NumberLevel]] = {}
    bullets: dict[int, str] = {}
    for element in _xml(archive, _HEADER).iter("{*}paraPr", "{*}numbering", "{*}bullet"):
        number = _number(element, "id")
        match _name(element):
            case "paraPr":
                if head := _head(element):
                    shapes[number] = head
            case "numbering":
                numberings[number] = _levels(element)
            case _:
                bullets[number] = element.get("char") or "•"
    return ParagraphHeads(shapes, numberings, bullets)


def paragraphs(archive: zipfile.ZipFile) -> Iterator[Paragraph]:
    """Those of the sections, then the texts of master pages, which are drawn behind pages.

    Raises:
        ValueError: If there is no section.
    """
    sections = _parts(archive, "section")
    if not sections:
        raise ValueError("there is no section")
    for name in sections:
        yield from _paragraphs(_xml(archive, name))
    for name in _parts(archive, "masterpage"):
        yield Paragraph(-1, [PageText("header", _listed(_xml(archive, name)))])


def _parts(archive: zipfile.ZipFile, name: str) -> list[str]:
    pattern = re.compile(rf"Contents/{name}(\d+)\.xml")
    found = [match for part in archive.namelist() if (match := pattern.fullmatch(part))]
    return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]


def _xml(archive: zipfile.ZipFile, name: str) -> Any:
    return parse_xml(archive.read(name))


def _name(element: Any) -> str:
    """Without its namespace, which changes with the standard's year; "" of comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _number(element: Any, name: str, default: int = 0) -> int:
    text = element.get(name, "")
    return int(text) if re.fullmatch(r"-?\d{1,10}", text) else default


def _head(shape: Any) -> ParagraphHead | None:
    heading = next(shape.iterchildren("{*}heading"), None)
    kind = None if heading is None else _HEAD_KINDS.get(heading.get("type", ""))
    if kind is None:
        return None
    return ParagraphHead(kind, _number(heading, "level"), _number(heading, "idRef"))


def _levels(numbering: Any) -> list[NumberLevel]:
    return [
        NumberLevel(
            head.text or "", head.get("numFormat", "DIGIT"), _number(head, "start", default=1)
        )
        for head in numbering.iterchildren("{*}paraHead")
    ]


def _paragraphs(parent: Any) -> list[Paragraph]:
    return [
        Paragraph(_number(element, "paraPrIDRef", -1), _content(element))
        for element in parent.iterchildren("{*}p")
    ]


def _listed(parent: Any) -> list[Paragraph]:
    """Paragraphs of the lists of an element."""
    return [
        paragraph for part in parent.iterchildren("{*}subList") for paragraph in _paragraphs(part)
    ]


def _content(paragraph: Any) -> list[Content]:
    content: list[Content] = []
    deleted = False
    for run in paragraph.iterchildren("{*}run"):
        for element in run:
            if _name(element) == "t":
                text, deleted = _text(element, deleted)
                content.append(text)
            else:
                content += _element_content(element)
    return content


def _text(element: Any, deleted: bool) -> tuple[str, bool]:
    """Text of a run, and whether what follows is deleted, with changes being tracked."""
    parts = ["" if deleted else element.text or ""]
    for child in element:
        name = _name(child)
        if name in ("deleteBegin", "deleteEnd"):
            deleted = name == "deleteBegin"
        if not deleted:
            parts += [_CHARACTERS.get(name, ""), child.tail or ""]
    return "".join(parts), deleted


def _element_content(element: Any) -> list[Content]:
    name = _name(element)
    match name:
        case "ctrl":
            return [part for child in element for part in _element_content(child)]
        case "secPr":
            return [SectionStart(_number(element, "outlineShapeIDRef"))]
        case "footNote" | "endNote":
            return [Note(_NOTES[name], _listed(element))]
        case "header" | "footer":
            return [PageText(_REGIONS[name], _listed(element))]
        case "autoNum":
            return _auto_number(element)
        case "equation":
            return [equation_text(element.findtext("{*}script", "")), *_shape(element)]
        case "compose":
            return [overlapped_text(element.get("composeText", ""))]
        case "dutmal":
            main, above = (element.findtext(f"{{*}}{part}Text", "") for part in ("main", "sub"))
            return [ruby_text(main, above)]
        case "tbl":
            return [_table(element)]
        case "switch":
            return [part for child in element[:1] for part in _case_content(child)]
        case "hiddenComment" | "fieldBegin":
            return []  # a memo hangs on a field
    return _shape(element)


def _case_content(case: Any) -> list[Content]:
    return [part for child in case for part in _element_content(child)]


def _auto_number(element: Any) -> list[Content]:
    if element.get("numType") in _LAYOUT_NUMBERS:
        return []
    number_format = element.find("{*}autoNumFormat")
    kind = "DIGIT" if number_format is None else number_format.get("type", "DIGIT")
    return [number_text(_number(element, "num"), kind)]


def _table(element: Any) -> Table:
    rows = [
        [_cell(cell) for cell in row.iterchildren("{*}tc")] for row in element.iterchildren("{*}tr")
    ]
    return Table(rows, _caption(element))


def _cell(element: Any) -> Cell:
    span = element.find("{*}cellSpan")
    if span is None:
        return Cell(_listed(element))
    return Cell(_listed(element), _number(span, "rowSpan", 1), _number(span, "colSpan", 1))


def _caption(element: Any) -> list[Paragraph]:
    caption = element.find("{*}caption")
    return [] if caption is None else _listed(caption)


def _shape(element: Any) -> list[Content]:
    """A drawing: its text, the drawings that it groups, its caption."""
    listed = [Paragraph(-1, [element.get("text", "")])] if _name(element) == "textart" else []
    grouped: list[Content] = []
    for child in element:
        if _name(child) == "drawText":
            listed += _listed(child)
        elif _name(child) != "caption":
            grouped += _shape(child)
    caption = _caption(element)
    return [Box(listed, caption), *grouped] if listed or caption else grouped
