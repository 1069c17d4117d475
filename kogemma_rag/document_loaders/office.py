"""DOCX, PPTX and XLSX in; sections, slides and groups of rows out. Macros and links are ignored."""

import datetime
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from zipfile import BadZipFile

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    markdown_table,
    sections,
    table_grid,
    table_parts,
)

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from lxml.etree import _Element
    from openpyxl.cell.cell import Cell
    from pptx.slide import Slide

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_FOOTNOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
_BODY_TEXT_LEVEL = 9  # w:outlineLvl of what is no heading


class DOCXLoader(FileLoader):
    """Word: a document for each section under a heading; footnotes follow their paragraph."""

    media_types: ClassVar[dict[str, str]] = {
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import docx
        from docx.opc.exceptions import PackageNotFoundError

        try:
            document = docx.Document(str(self.path))
        except (PackageNotFoundError, SyntaxError, BadZipFile, KeyError, ValueError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        yield from sections(_word_blocks(document))


def _word_blocks(document: "WordDocument") -> Iterator[Block]:
    styles = _WordStyles(document)
    notes = _footnotes(document)
    items: list[str] = []
    for element in _body_elements(document.element.body):
        if element.tag == f"{_W}tbl":
            block: Block = markdown_table(_word_rows(element))
        else:
            text = _word_text(element, notes)
            level = styles.heading_level(element)
            block = text if level is None or not text.strip() else Heading(level, text)
            if isinstance(block, str) and styles.is_list_item(element):
                if text.strip():
                    items.append(f"- {text}")
                continue
        if items:
            yield "\n".join(items)
            items = []
        if isinstance(block, Heading) or block.strip():
            yield block
    if items:
        yield "\n".join(items)


def _body_elements(parent: "_Element") -> Iterator["_Element"]:
    """Paragraphs and tables in order, those in content controls and text boxes with them."""
    for child in parent:
        if child.tag == f"{_W}sdt":
            content = child.find(f"{_W}sdtContent")
            if content is not None:
                yield from _body_elements(content)
        elif child.tag == f"{_W}tbl":
            yield child
        elif child.tag == f"{_W}p":
            yield child
            for box in child.iter(f"{_W}txbxContent"):
                if next(box.iterancestors(_FALLBACK), None) is None:
                    yield from _body_elements(box)


def _word_text(paragraph: "_Element", notes: dict[str, str]) -> str:
    """Visible text of a paragraph: no deleted text, none of the boxes anchored in it."""
    parts: list[str] = []
    for child in paragraph:
        if child.tag in (f"{_W}del", f"{_W}moveFrom", f"{_W}pPr", f"{_W}txbxContent", _FALLBACK):
            continue
        if child.tag == f"{_W}t":
            parts.append(child.text or "")
        elif child.tag == f"{_W}tab":
            parts.append("\t")
        elif child.tag in (f"{_W}br", f"{_W}cr"):
            parts.append("\n")
        elif child.tag == f"{_W}noBreakHyphen":
            parts.append("-")
        elif child.tag == f"{_W}footnoteReference":
            parts.append(f" (각주: {notes.get(child.get(f'{_W}id', ''), '')})")
        else:
            parts.append(_word_text(child, notes))
    return "".join(parts)


def _word_rows(table: "_Element") -> list[list[str]]:
    rows = []
    for row in table.iterchildren(f"{_W}tr"):
        cells = []
        for cell in row.iter(f"{_W}tc"):
            if (
                next(cell.iterancestors(f"{_W}tc"), None) is not None
                and cell.getparent() is not row
            ):
                continue  # of a table in a cell
            merge = cell.find(f"{_W}tcPr/{_W}vMerge")
            continued = merge is not None and merge.get(f"{_W}val") != "restart"
            span = cell.find(f"{_W}tcPr/{_W}gridSpan")
            columns = span.get(f"{_W}val", "1") if span is not None else "1"
            text = "" if continued else _cell_text(cell)
            cells.append((text, 1, int(columns) if columns.isdecimal() else 1))
        rows.append(cells)
    return table_grid(rows)


def _cell_text(cell: "_Element") -> str:
    return "\n".join(_word_text(paragraph, {}) for paragraph in cell.iter(f"{_W}p"))


class _WordStyles:
    """What a paragraph takes from its style and the styles that this is based on."""

    def __init__(self, document: "WordDocument") -> None:
        self._styles = {
            style.get(f"{_W}styleId", ""): style
            for style in document.styles.element.iterchildren(f"{_W}style")
        }

    def heading_level(self, paragraph: "_Element") -> int | None:
        for element in self._chain(paragraph):
            outline = element.find(f"{_W}pPr/{_W}outlineLvl")
            if outline is not None:
                value = outline.get(f"{_W}val", "")
                level = int(value) if value.isdecimal() else _BODY_TEXT_LEVEL
                return level + 1 if level < _BODY_TEXT_LEVEL else None
            name = element.find(f"{_W}name")
            if name is not None and name.get(f"{_W}val") == "Title":
                return 0
        return None

    def is_list_item(self, paragraph: "_Element") -> bool:
        return any(e.find(f"{_W}pPr/{_W}numPr") is not None for e in self._chain(paragraph))

    def _chain(self, paragraph: "_Element") -> Iterator["_Element"]:
        """The paragraph, its style, the style that this is based on, and so on."""
        element: _Element | None = paragraph
        reference = paragraph.find(f"{_W}pPr/{_W}pStyle")
        seen: set[str] = set()
        while element is not None:
            yield element
            style_id = "" if reference is None else reference.get(f"{_W}val", "")
            element = None if style_id in seen else self._styles.get(style_id)
            seen.add(style_id)
            reference = None if element is None else element.find(f"{_W}basedOn")


def _footnotes(document: "WordDocument") -> dict[str, str]:
    """Footnote id -> its text; python-docx has no footnotes of its own."""
    from docx.oxml import parse_xml

    for relation in document.part.rels.values():
        if relation.reltype == _FOOTNOTES and not relation.is_external:
            root = parse_xml(relation.target_part.blob)
            return {
                note.get(f"{_W}id", ""): " ".join(_word_text(note, {}).split())
                for note in root.iterchildren(f"{_W}footnote")
            }
    return {}


class PPTXLoader(FileLoader):
    """PowerPoint: a document for each slide, title first, the speaker's notes last."""

    media_types: ClassVar[dict[str, str]] = {
        ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import pptx
        from pptx.exc import PackageNotFoundError

        try:
            slides = list(pptx.Presentation(str(self.path)).slides)
        except (PackageNotFoundError, SyntaxError, BadZipFile, KeyError, ValueError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        title = _slide_title(slides[0]) if slides else ""
        for number, slide in enumerate(slides, 1):
            yield _slide_text(slide), {"title": title, "slide": number}


def _slide_title(slide: "Slide") -> str:
    shape = slide.shapes.title
    return " ".join(shape.text_frame.text.split()) if shape is not None else ""


def _slide_text(slide: "Slide") -> str:
    title = _slide_title(slide)
    parts = [f"# {title}"] if title else []
    title_id = slide.shapes.title.shape_id if slide.shapes.title is not None else None
    for shape in slide.shapes:
        if shape.shape_id != title_id:
            parts += _shape_texts(shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        parts.append(f"발표자 메모: {notes}" if notes else "")
    return "\n\n".join(filter(None, parts))


def _shape_texts(shape: Any) -> Iterator[str]:
    for inner in getattr(shape, "shapes", ()):  # of a group
        yield from _shape_texts(inner)
    if shape.has_text_frame:
        yield shape.text_frame.text.replace("\v", "\n").strip()
    if getattr(shape, "has_table", False):
        yield markdown_table([[cell.text for cell in row.cells] for row in shape.table.rows])


class XLSXLoader(FileLoader):
    """Excel: each sheet in groups of rows, the header row on top, cells as they are shown.

    Formulas count by their stored result.
    """

    media_types: ClassVar[dict[str, str]] = {
        ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException

        try:
            book = openpyxl.load_workbook(
                self.path, read_only=True, data_only=True, keep_links=False
            )
        except (InvalidFileException, BadZipFile, SyntaxError, KeyError, ValueError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        try:
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # as written they may be wrong
                rows = [[_shown(cell) for cell in row] for row in sheet.iter_rows()]
                for row, part in table_parts(rows):
                    yield part, {"sheet": sheet.title, "row": row + 1}
        except (SyntaxError, ValueError, KeyError, BadZipFile) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        finally:
            book.close()


def _shown(cell: "Cell") -> str:
    """A cell as a spreadsheet shows it, for dates, per cent, thousands and decimal places."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number(value, str(cell.number_format))
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else str(value)
    return str(value)


def _number(value: float, number_format: str) -> str:
    pattern = re.sub(r'"[^"]*"|\[[^\]]*\]|\\.|_.', "", number_format.split(";")[0])
    places = re.search(r"[0#?]\.([0#?]+)", pattern)
    decimals = len(places.group(1)) if places else 0
    comma = "," if re.search(r"[0#],[0#]", pattern) else ""
    if "%" in pattern:
        return f"{value * 100:{comma}.{decimals}f}%"
    if re.fullmatch(r"[^0#?]*[0#?,]+(\.0+)?[^0#?]*", pattern):
        return f"{value:{comma}.{decimals}f}"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(value)
