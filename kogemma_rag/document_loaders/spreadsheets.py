"""XLSX in, groups of rows of each sheet out, cells as they are shown. Macros are ignored."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from zipfile import BadZipFile

from kogemma_rag.document_loaders.core_properties import core_properties
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError, SkippedPart
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import table_parts
from kogemma_rag.document_loaders.sheet_rows import format_codes, sheet_rows

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

# Cells of a sheet that are held at a time, empty ones included.
BLOCK_CELLS = 200_000
# The header is looked for in so many rows at the top of a sheet.
_HEADER_ROWS = 50
_HIDDEN_SHEET = "숨긴 시트입니다. 읽게 하려면 숨기기를 취소해 저장하세요"


class XLSXLoader(FileLoader):
    """Excel: each sheet in groups of rows, the header row on top, cells as they are shown.

    Formulas count by their stored result. Hidden rows are read; hidden sheets are skipped parts.
    """

    media_types: ClassVar[dict[str, str]] = {
        ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException

        with self.path.open("rb") as file:  # by its name, openpyxl would refuse others than .xlsx
            try:
                book = openpyxl.load_workbook(
                    file, read_only=True, data_only=True, keep_links=False
                )
                yield from self._sheets(book)
            except (
                *(InvalidFileException, BadZipFile, SyntaxError),
                *(KeyError, ValueError, TypeError, IndexError),  # of values that are none
            ) as error:
                raise DocumentLoadError(self.path, DAMAGED) from error

    def _sheets(self, book: "Workbook") -> Iterator[tuple[str, dict[str, Any]]]:
        properties = core_properties(self.path)
        codes = format_codes(book)
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                self.skipped.append(SkippedPart(sheet.title, _HIDDEN_SHEET))
                continue
            for row, part in _parts(sheet_rows(sheet, codes)):
                yield part, {**properties, "sheet": sheet.title, "row": row}


def _parts(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, str]]:
    """`table_parts` with the numbers of rows, for tables of any length."""
    header: list[list[str]] = []
    block: list[list[str]] = []
    numbers: list[int] = []
    width = 0
    for number, row in rows:
        block.append(row)
        numbers.append(number)
        width = max(width, len(row))
        if width * len(block) > BLOCK_CELLS:
            yield from _block_parts(header, block, numbers)
            header = header or _header(block)
            block, numbers, width = [], [], 0
    yield from _block_parts(header, block, numbers)


def _block_parts(
    header: list[list[str]], block: list[list[str]], numbers: list[int]
) -> Iterator[tuple[int, str]]:
    for index, part in table_parts([*header, *block]) if block else ():
        yield numbers[max(0, index - len(header))], part


def _header(rows: list[list[str]]) -> list[list[str]]:
    """The rows of a table down to the first one that has two filled cells."""
    for number, row in enumerate(rows[:_HEADER_ROWS], 1):
        if sum(bool(cell.strip()) for cell in row) > 1:
            return rows[:number]
    return []
