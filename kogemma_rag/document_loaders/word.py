"""DOCX in, sections, then page headers and footers out. Macros, links and comments are ignored."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from zipfile import BadZipFile

from kogemma_rag.document_loaders.core_properties import core_properties
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    markdown_table,
    sections,
    table_grid,
)
from kogemma_rag.document_loaders.word_numbering import BULLET, WordNumbering
from kogemma_rag.document_loaders.word_styles import W, WordStyles, is_on, value_of
from kogemma_rag.document_loaders.word_text import FALLBACK, WordText, note_texts

if TYPE_CHECKING:
    from docx.opc.part import Part
    from lxml.etree import _Element

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
_R_ID = f"{{{_RELATIONS.rstrip('/')}}}id"
# Elements that only wrap what they hold.
_WRAPPERS = (f"{W}sdt", f"{W}sdtContent", f"{W}customXml", f"{W}ins", f"{W}moveTo")
# What is left of "- 3 -", "3쪽" or "Page 3 of 9" without its numbers.
_PAGE_WORDS = re.compile(r"(?:\W|_|page|of|총|제|중|쪽|면|페이지)*", re.IGNORECASE)

_Kind = Literal["text", "item", "caption"]


class DOCXLoader(FileLoader):
    """Word: a document for each section under a heading; notes stand at their marks.

    List items have their numbers as shown. Page headers and footers come last, each once.
    """

    media_types: ClassVar[dict[str, str]] = {
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from docx.opc.exceptions import PackageNotFoundError
        from docx.package import Package

        try:
            document = _WordDocument(Package.open(str(self.path)).main_document_part)
        except (PackageNotFoundError, SyntaxError, BadZipFile, KeyError, ValueError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        properties = core_properties(self.path)
        title = None
        try:
            for text, metadata in sections(document.blocks()):
                title = metadata["title"]
                yield text, {**metadata, **properties}
            for region, text in document.regions():
                yield text, {"title": title, **properties, "region": region}
        except (RecursionError, SyntaxError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error


class _WordDocument:
    """The parts of a document that hold text."""

    def __init__(self, main: "Part") -> None:
        self._main = main
        self._root = _xml(main)
        self._styles = WordStyles(self._related("styles"))
        self._numbering = WordNumbering(self._related("numbering"), self._styles)
        self._text = WordText(
            note_texts(self._related("footnotes")), note_texts(self._related("endnotes"))
        )

    def blocks(self) -> Iterator[Block]:
        """Headings, paragraphs, lists and tables of the body, in order."""
        body = self._root.find(f"{W}body")
        if body is not None:
            yield from self._blocks(body)

    def regions(self) -> Iterator[tuple[str, str]]:
        """("header" or "footer", text) of all sections, each distinct text once."""
        settings = self._related("settings")
        seen = set()
        for region in ("header", "footer"):
            for section in self._root.iter(f"{W}sectPr"):
                shown = {"default"}
                if is_on(section, "titlePg"):
                    shown.add("first")
                if settings is not None and is_on(settings, "evenAndOddHeaders"):
                    shown.add("even")
                for reference in section.iterchildren(f"{W}{region}Reference"):
                    relation = self._main.rels.get(reference.get(_R_ID, ""))
                    if reference.get(f"{W}type", "default") not in shown:
                        continue
                    if relation is None or relation.is_external:
                        continue
                    text = self._region_text(_xml(relation.target_part))
                    if text and (region, text) not in seen:
                        seen.add((region, text))
                        yield region, text

    def _region_text(self, root: "_Element") -> str:
        blocks = (
            "\n".join(line for line in _text_of(block).split("\n") if not _is_page_number(line))
            for block in self._blocks(root)
        )
        return "\n\n".join(block for block in blocks if block.strip())

    def _related(self, kind: str) -> "_Element | None":
        for relation in self._main.rels.values():
            if relation.reltype == _RELATIONS + kind and not relation.is_external:
                return _xml(relation.target_part)
        return None

    def _blocks(self, parent: "_Element") -> Iterator[Block]:
        items: list[str] = []
        caption = ""
        for element in _paragraphs_and_tables(parent):
            is_table = element.tag == f"{W}tbl"
            kind, block = ("text", "") if is_table else self._paragraph(element)
            if not is_table and not _text_of(block).strip():
                continue
            if items and (is_table or kind != "item"):
                yield "\n".join(items)
                items = []
            if is_table:
                yield from self._table(element, caption)
                caption = ""
                continue
            if caption:
                yield caption
                caption = ""
            if isinstance(block, Heading) or kind == "text":
                yield block
            elif kind == "item":
                items.append(block)
            else:
                caption = block
        yield from filter(None, ("\n".join(items), caption))

    def _paragraph(self, paragraph: "_Element") -> tuple[_Kind, Block]:
        text = self._text.of(paragraph)
        label = self._numbering.label(paragraph)
        level = self._styles.heading_level(paragraph)
        if not text.strip():
            return "text", ""
        if level is not None:
            number = "" if label is None or label.text == BULLET else label.text
            return "text", Heading(level, number + text)
        if label is None:
            return "caption" if self._styles.is_caption(paragraph) else "text", text
        return "item", "  " * label.level + label.text + text

    def _table(self, table: "_Element", caption: str) -> Iterator[Block]:
        rows = [row for row in _children(table, f"{W}tr") if not _is_deleted_row(row)]
        cells = [list(_children(row, f"{W}tc")) for row in rows]
        if len(cells) == 1 and len(cells[0]) == 1:  # a box around text
            yield from filter(None, [caption])
            yield from self._blocks(cells[0][0])
            return
        grid = table_grid(
            [("", 1, 1)] * _number(value_of(row, "trPr/gridBefore"), 0)
            + [(self._cell(cell), 1, _number(value_of(cell, "tcPr/gridSpan"), 1)) for cell in own]
            for row, own in zip(rows, cells, strict=True)
        )
        # The splitter of tables repeats what stands above the header.
        yield markdown_table([[caption], *grid] if caption else grid)

    def _cell(self, cell: "_Element") -> str:
        merge = value_of(cell, "tcPr/vMerge")
        if merge is not None and merge != "restart":
            return ""
        lines = []
        for element in _paragraphs_and_tables(cell):
            if element.tag == f"{W}p":
                lines.append(_text_of(self._paragraph(element)[1]))
                continue
            for row in _children(element, f"{W}tr"):
                texts = (self._cell(inner) for inner in _children(row, f"{W}tc"))
                lines.append(" ".join(filter(None, texts)))
        return "\n".join(line for line in lines if line.strip())


def _xml(part: "Part") -> "_Element":
    """The root of a part, also of one that python-docx has no class for."""
    from docx.oxml import parse_xml

    element = getattr(part, "element", None)
    return parse_xml(part.blob) if element is None else element


def _children(parent: "_Element", tag: str) -> Iterator["_Element"]:
    """Children by their tag, those in wrappers among them."""
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag in _WRAPPERS:
            yield from _children(child, tag)


def _paragraphs_and_tables(parent: "_Element") -> Iterator["_Element"]:
    """In order; those of the boxes that are anchored in a paragraph come after it."""
    for child in parent:
        if child.tag in _WRAPPERS:
            yield from _paragraphs_and_tables(child)
        elif child.tag == f"{W}tbl":
            yield child
        elif child.tag == f"{W}p":
            yield child
            for box in _outermost_boxes(child):
                yield from _paragraphs_and_tables(box)


def _outermost_boxes(parent: "_Element") -> Iterator["_Element"]:
    for child in parent:
        if child.tag == f"{W}txbxContent":
            yield child
        elif child.tag not in (FALLBACK, f"{W}del", f"{W}moveFrom"):
            yield from _outermost_boxes(child)


def _is_deleted_row(row: "_Element") -> bool:
    return row.find(f"{W}trPr/{W}del") is not None


def _number(value: str | None, default: int) -> int:
    return int(value) if value is not None and value.isdecimal() and len(value) < 4 else default


def _text_of(block: Block) -> str:
    return block.text if isinstance(block, Heading) else block


def _is_page_number(line: str) -> bool:
    return _PAGE_WORDS.fullmatch(line) is not None
