"""OpenDocument text (.odt) and spreadsheets (.ods) in; sections and groups of rows out.

Read from the XML by lxml: odfdo resolves the entities of a hostile file, and holds a sheet as one
tree. The format is public: OASIS OpenDocument 1.3, part 3.
"""

import re
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.formats import ZIP_ERRORS
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    markdown_table,
    sections,
    table_parts,
)
from kogemma_rag.document_loaders.xml import SAFELY, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

_NAMESPACE = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
_OFFICE, _TEXT, _TABLE = (_NAMESPACE % name for name in ("office", "text", "table"))
_DRAW, _STYLE, _META = (_NAMESPACE % name for name in ("drawing", "style", "meta"))
_DC = "{http://purl.org/dc/elements/1.1/}"

_NOTES = {"footnote": "각주", "endnote": "미주"}
# Not the text: comments, deleted text, the page's own numbers, what a reader does not see.
_LEFT_OUT = frozenset(
    {
        *(f"{_TEXT}{name}" for name in ("tracked-changes", "note-citation", "hidden-text")),
        *(f"{_TEXT}{name}" for name in ("ruby-text", "sequence-decls", "variable-decls")),
        *(f"{_TEXT}{name}" for name in ("page-number", "page-count", "user-field-decls")),
        *(f"{_OFFICE}{name}" for name in ("annotation", "annotation-end", "forms")),
        f"{_TEXT}table-of-content",
    }
)
_CELLS = (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell")
_TABLE_ROW = f"{_TABLE}table-row"
_SHEET = f"{_TABLE}table"
_REPEATED_COLUMNS = f"{_TABLE}number-columns-repeated"
_REPEATED_ROWS = f"{_TABLE}number-rows-repeated"
_SPACE = re.compile("[ \t\r\n]+")
# Attributes of a few characters stand for any number of spaces, cells and rows.
_MAX_SPACES = 100
_MAX_COLUMNS = 1_024
_MAX_ROWS = 2**24
_MAX_REPEATED_ROWS = 1_000
_MAX_CELLS = 2_000_000
_TABLE_TOO_LARGE = f"표의 칸이 너무 많습니다(최대 {_MAX_CELLS:,}). 나누어 저장하세요"


class _OpenDocumentLoader(FileLoader):
    """What text and spreadsheets share: the package, and what it says of itself."""

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                about = _properties(archive)
                for text, metadata in self._documents(archive):
                    yield text, {**metadata, **about}
        except DocumentLoadError:
            raise
        except OverflowError as error:
            raise DocumentLoadError(self.path, _TABLE_TOO_LARGE) from error
        except (*ZIP_ERRORS, KeyError, SyntaxError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error

    @abstractmethod
    def _documents(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, dict[str, Any]]]:
        """As `_read`, without what the document says of itself."""


class ODTLoader(_OpenDocumentLoader):
    """OpenDocument text: a document for each section under a heading, notes at their marks."""

    media_types: ClassVar[dict[str, str]] = {".odt": "application/vnd.oasis.opendocument.text"}

    def _documents(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, dict[str, Any]]]:
        body = parse_xml(archive.read("content.xml")).find(f"{_OFFICE}body/{_OFFICE}text")
        if body is None:
            raise DocumentLoadError(self.path, DAMAGED)
        yield from sections(_Text().blocks(body))
        if "styles.xml" in archive.namelist():
            yield from _regions(parse_xml(archive.read("styles.xml")))


def _regions(styles: "_Element") -> Iterator[tuple[str, dict[str, Any]]]:
    """Headers and footers of the pages, each text once."""
    seen = set()
    for region in ("header", "footer"):
        for variant in ("", "-left", "-first"):
            for element in styles.iter(f"{_STYLE}{region}{variant}"):
                text = "\n\n".join(map(_line, _Text().blocks(element)))
                if any(character.isalnum() for character in text) and (region, text) not in seen:
                    seen.add((region, text))
                    yield text, {"region": region}


def _line(block: Block) -> str:
    return block.line if isinstance(block, Heading) else block


def _properties(archive: zipfile.ZipFile) -> dict[str, str]:
    """Title, author, created and modified, where the document states them."""
    if "meta.xml" not in archive.namelist():
        return {}
    meta = parse_xml(archive.read("meta.xml"))

    def value(*names: str) -> str:
        found = (element.text for name in names for element in meta.iter(name))
        return next(filter(None, ((text or "").strip() for text in found)), "")

    known = {
        "title": value(f"{_DC}title"),
        "author": value(f"{_META}initial-creator", f"{_DC}creator"),
        "created": iso_date(value(f"{_META}creation-date")),
        "modified": iso_date(value(f"{_DC}date")),
    }
    return {name: text for name, text in known.items() if text}


class _Text:
    """Turns the elements of one document into blocks."""

    def __init__(self) -> None:
        self._cells_left = _MAX_CELLS

    def blocks(self, parent: "_Element") -> Iterator[Block]:
        """Blocks of what an element holds: of a body, a section, a box, a cell."""
        for child in parent:
            if child.tag in _LEFT_OUT or child.get(f"{_TEXT}display") == "none":
                continue
            if child.tag == f"{_TEXT}h":
                yield from self._heading(child)
            elif child.tag == f"{_TEXT}p":
                yield from self._paragraph(child)
            elif child.tag == f"{_TEXT}list":
                if items := list(self._items(child)):
                    yield "\n".join(items)
            elif child.tag == _SHEET:
                if table := markdown_table([row for _, row in self.rows(child)]):
                    yield table
            else:
                yield from self.blocks(child)

    def _heading(self, element: "_Element") -> Iterator[Block]:
        text = self._inline(element).strip()
        if text:
            yield Heading(_number(element, f"{_TEXT}outline-level", 10), text)
        yield from self._boxes(element)

    def _paragraph(self, element: "_Element") -> Iterator[Block]:
        text = self._inline(element)
        if text.strip():
            yield text
        yield from self._boxes(element)

    def _boxes(self, element: "_Element") -> Iterator[Block]:
        """What is in the text boxes that are anchored in a paragraph."""
        for child in element:
            if child.tag == f"{_DRAW}text-box":
                yield from self.blocks(child)
            elif child.tag not in _LEFT_OUT and child.tag != f"{_TEXT}note":
                yield from self._boxes(child)

    def _items(self, element: "_Element", indent: str = "") -> Iterator[str]:
        for item in element:
            mark = f"{indent}- "
            for child in item:
                if child.tag == f"{_TEXT}list":
                    yield from self._items(child, indent + "  ")
                    continue
                text = "\n".join(self._item_lines(child))
                if text.strip():
                    yield mark + text.strip().replace("\n", f"\n{indent}  ")
                    mark = f"{indent}  "

    def _item_lines(self, element: "_Element") -> Iterator[str]:
        if element.tag in (f"{_TEXT}p", f"{_TEXT}h"):
            yield self._inline(element)
            yield from map(_line, self._boxes(element))

    def _inline(self, element: "_Element") -> str:
        """Text of a paragraph, notes at their marks, without the boxes anchored in it."""
        parts = [_joined(element.text)]
        for child in element:
            parts += [self._inline_part(child), _joined(child.tail)]
        return "".join(parts)

    def _inline_part(self, element: "_Element") -> str:
        if element.tag in _LEFT_OUT or element.tag == f"{_DRAW}text-box":
            return ""
        if not isinstance(element.tag, str):  # an entity
            return ""
        if element.tag == f"{_TEXT}s":
            return " " * _number(element, f"{_TEXT}c", _MAX_SPACES)
        if element.tag == f"{_TEXT}tab":
            return "\t"
        if element.tag == f"{_TEXT}line-break":
            return "\n"
        if element.tag == f"{_TEXT}note":
            return self._note(element)
        return self._inline(element)

    def _note(self, note: "_Element") -> str:
        body = note.find(f"{_TEXT}note-body")
        text = "" if body is None else " ".join(" ".join(map(_line, self.blocks(body))).split())
        kind = _NOTES.get(note.get(f"{_TEXT}note-class", ""), "각주")
        return f" ({kind}: {text})" if text else ""

    def rows(self, table: "_Element") -> Iterator[tuple[int, list[str]]]:
        """Rows that are not empty, each with its number from 1."""
        number = 1
        for row in table.iter(_TABLE_ROW):
            if next(row.iterancestors(_SHEET), None) is table:
                repeated = _number(row, _REPEATED_ROWS, _MAX_ROWS)
                for offset in self.row(row, repeated):
                    yield number + offset[0], offset[1]
                number += repeated

    def row(self, row: "_Element", repeated: int) -> Iterator[tuple[int, list[str]]]:
        """A row as often as it is repeated, with the offset of each; an empty one not at all."""
        cells: list[str] = []
        empty = 0
        for cell in row.iterchildren(*_CELLS):
            times = _number(cell, _REPEATED_COLUMNS, _MAX_COLUMNS)
            text = "" if cell.tag == _CELLS[1] else self._cell(cell)
            if text.strip():
                cells += [*[""] * empty, *[text] * times][: _MAX_COLUMNS - len(cells)]
                empty = 0
            else:
                empty += times
        if cells:
            repeated = min(repeated, _MAX_REPEATED_ROWS)
            self._cells_left -= len(cells) * repeated
            if self._cells_left < 0:
                raise OverflowError(_TABLE_TOO_LARGE)
            for offset in range(repeated):
                yield offset, cells

    def _cell(self, cell: "_Element") -> str:
        """A cell as it is shown; a program may have written its value alone."""
        text = "\n".join(map(_line, self.blocks(cell)))
        if text or len(cell):
            return text
        values = ("string-value", "date-value", "time-value", "boolean-value", "value")
        return next(filter(None, (cell.get(f"{_OFFICE}{name}") for name in values)), "")


def _joined(text: str | None) -> str:
    """Text with white space as one space: in XML, a line may end anywhere."""
    return _SPACE.sub(" ", text or "")


def _number(element: "_Element", name: str, limit: int) -> int:
    """A count in an attribute, from 1 to a limit."""
    value = element.get(name, "1")
    if not (value.isascii() and value.isdecimal()):
        return 1
    return min(max(int(value[:9]), 1), limit)


class ODSLoader(_OpenDocumentLoader):
    """OpenDocument spreadsheet: each sheet in groups of rows, the header row on top.

    Cells are as they are shown. Formulas count by their stored result.
    """

    media_types: ClassVar[dict[str, str]] = {
        ".ods": "application/vnd.oasis.opendocument.spreadsheet"
    }

    def _documents(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, dict[str, Any]]]:
        reader = _Text()
        for name, rows in _sheets(archive, reader):
            numbers = [number for number, _ in rows]
            for index, part in table_parts([row for _, row in rows]):
                yield part, {"sheet": name, "row": numbers[index]}


def _sheets(
    archive: zipfile.ZipFile, reader: _Text
) -> Iterator[tuple[str, Sequence[tuple[int, list[str]]]]]:
    """Sheets with their rows; the tree of a row is dropped when it was read."""
    rows: list[tuple[int, list[str]]] = []
    depth, number, name = 0, 1, ""
    for event, element in _table_events(archive):
        if element.tag == _SHEET:
            depth += 1 if event == "start" else -1
            if event == "start" and depth == 1:
                rows, number, name = [], 1, element.get(f"{_TABLE}name", "")
            elif event == "end" and depth == 0:
                yield name, rows
        elif event == "end" and depth == 1:
            repeated = _number(element, _REPEATED_ROWS, _MAX_ROWS)
            rows += [(number + offset, cells) for offset, cells in reader.row(element, repeated)]
            number += repeated
            _drop(element)


def _table_events(archive: zipfile.ZipFile) -> Iterator[tuple[str, "_Element"]]:
    """Starts and ends of tables and rows."""
    from lxml import etree

    with archive.open("content.xml") as content:
        yield from etree.iterparse(
            content,
            events=("start", "end"),
            tag=(_SHEET, _TABLE_ROW),
            **SAFELY,
        )


def _drop(element: "_Element") -> None:
    """Free what is behind an element that was read."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]
