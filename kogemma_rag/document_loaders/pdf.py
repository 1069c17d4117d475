"""PDF in, one document a page out, ruled tables as Markdown in their place.

Pages without text are left out; a file with none is reported as scanned.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, PASSWORD, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import is_table, markdown_table

if TYPE_CHECKING:
    from pdfplumber.pdf import PDF
    from pypdfium2 import PdfPage, PdfTextPage

    Box = tuple[float, float, float, float]

# A ruled table of two rows and two columns needs at least this many lines or boxes; above the
# upper bound it is a drawing. Finding tables is slow (0.1 s a page), reading text is not (3 ms).
_TABLE_PATHS = range(4, 1500)
# Stricter than elsewhere: lines that are drawn for looks make grids of many empty cells.
FILLED_SHARE = 0.5
# PDFium's mark of a hyphen that only a line end made.
_SOFT_HYPHEN = "\x02"


class PDFLoader(FileLoader):
    """PDF: a document for each page that has text."""

    media_types: ClassVar[dict[str, str]] = {".pdf": "application/pdf"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import pdfplumber
        import pypdfium2
        from pdfminer.pdfexceptions import PDFException
        from pdfplumber.utils.exceptions import PdfminerException

        try:
            document = pypdfium2.PdfDocument(self.path.read_bytes())
        except pypdfium2.PdfiumError as error:
            locked = "password" in str(error).lower()
            raise DocumentLoadError(self.path, PASSWORD if locked else DAMAGED) from error
        plumber: PDF | None = None
        try:
            for number in range(len(document)):
                try:
                    page = document[number]
                    text_page = page.get_textpage()
                except pypdfium2.PdfiumError as error:
                    raise DocumentLoadError(
                        self.path, f"{number + 1}쪽을 읽을 수 없습니다. {DAMAGED}"
                    ) from error
                tables: list[_Table] = []
                if _may_have_tables(page):
                    try:
                        plumber = plumber or pdfplumber.open(self.path)
                        tables = _tables(plumber, number, page)
                    except (PDFException, PdfminerException):
                        # The text is whole without: PDFium repairs what pdfminer cannot.
                        tables = []
                text = _text_with_tables(text_page, tables) if tables else _text(text_page)
                yield text, {"page": number + 1}
        finally:
            if plumber is not None:
                plumber.close()
            document.close()

    def _empty_reason(self) -> str:
        return "글자가 없는 PDF입니다(스캔한 그림). OCR로 글자를 넣어 다시 저장하세요"


def _text(page: "PdfTextPage") -> str:
    return _join_hyphens(page.get_text_range())


def _join_hyphens(text: str) -> str:
    return text.replace(_SOFT_HYPHEN + "\r\n", "").replace(_SOFT_HYPHEN, "-")


def _may_have_tables(page: "PdfPage") -> bool:
    from pypdfium2.raw import FPDF_PAGEOBJ_PATH

    paths = sum(1 for _ in page.get_objects(filter=[FPDF_PAGEOBJ_PATH], max_depth=3))
    return paths in _TABLE_PATHS


@dataclass
class _Table:
    """A ruled table: the box of each cell (left, bottom, right, top; None where merged)."""

    boxes: "list[list[Box | None]]"
    texts: list[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.texts = [["" for _ in row] for row in self.boxes]

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        for row, boxes in enumerate(self.boxes):
            for column, box in enumerate(boxes):
                if box and box[0] <= x <= box[2] and box[1] <= y <= box[3]:
                    return row, column
        return None


def _tables(plumber: "PDF", number: int, page: "PdfPage") -> list[_Table]:
    left, _, _, top = page.get_bbox()
    found = []
    for table in plumber.pages[number].find_tables():
        boxes = [
            # From pdfplumber's top-down to PDF's bottom-up coordinates.
            [
                cell and (cell[0] + left, top - cell[3], cell[2] + left, top - cell[1])
                for cell in row.cells
            ]
            for row in table.rows
        ]
        if len(boxes) > 1 and len(boxes[0]) > 1:
            found.append(_Table(boxes))
    return found


def _text_with_tables(page: "PdfTextPage", tables: list[_Table]) -> str:
    """The page's characters in order; those in a table's cells go there, once."""
    characters = list(_characters(page))
    owners = [
        next(((t, cell) for t in tables if (cell := t.cell_at(x, y))), None)
        for _, x, y in characters
    ]
    owner: tuple[_Table, tuple[int, int]] | None = None
    for (character, _, _), own in zip(characters, owners, strict=True):
        # White space has no place of its own: it stays with the character before it.
        if not character.isspace():
            owner = own
        if owner:
            table, (row, column) = owner
            table.texts[row][column] += character
    real = [table for table in tables if is_table(table.texts, FILLED_SHARE)]
    parts: list[str] = []
    written: list[int] = []
    inside = False
    for (character, _, _), own in zip(characters, owners, strict=True):
        if not character.isspace():
            inside = own is not None and own[0] in real
        if not inside:
            parts.append(character)
        elif own and id(own[0]) not in written:
            written.append(id(own[0]))
            parts.append(f"\n\n{markdown_table(own[0].texts)}\n\n")
    return _join_hyphens("".join(parts))


def _characters(page: "PdfTextPage") -> Iterator[tuple[str, float, float]]:
    """Each character and the middle of its box."""
    from pypdfium2 import raw

    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for index in range(page.count_chars()):
        code = raw.FPDFText_GetUnicode(page, index)
        raw.FPDFText_GetCharBox(page, index, left, right, bottom, top)
        yield chr(code), (left.value + right.value) / 2, (bottom.value + top.value) / 2
