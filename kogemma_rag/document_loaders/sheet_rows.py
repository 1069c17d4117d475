"""The XML of an Excel sheet in, its rows that are not empty out, each cell as it is shown.

Read here and not by openpyxl, which takes a minute and keeps half a gigabyte for a sheet whose
million rows are formatted and empty.
"""

import datetime
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kogemma_rag.document_loaders.date_formats import shown_date
from kogemma_rag.document_loaders.number_formats import GENERAL, shown_number, shown_text
from kogemma_rag.document_loaders.xml import SAFELY

if TYPE_CHECKING:
    from lxml.etree import _Element
    from openpyxl.workbook import Workbook

_MAX_COLUMN = 16_384
_LETTERS = re.compile("[A-Z]{1,3}")
# Built-in formats of Korean Excel, which openpyxl does not know.
_KOREAN_DATES = {
    **dict.fromkeys((27, 36, 50, 57), 'yyyy"年" mm"月" dd"日"'),
    **dict.fromkeys((28, 29, 51, 54, 58), "mm-dd"),
    30: "mm-dd-yy",
    31: 'yyyy"년" mm"월" dd"일"',
    32: 'h"시" mm"분"',
    33: 'h"시" mm"분" ss"초"',
    **dict.fromkeys((34, 35, 52, 53, 55, 56), "yyyy-mm-dd"),
}


def sheet_rows(sheet: Any, codes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The number (from 1) and the cells of each row that holds something.

    Args:
        sheet: Of a workbook that openpyxl opened for reading only.
        codes: From `format_codes` of its workbook.
    """
    from lxml import etree

    reader = _CellReader(sheet, codes)
    number = 0
    with sheet._get_source() as source:
        rows = etree.iterparse(source, events=("end",), tag="{*}row", **SAFELY)
        for _, row in rows:
            written = row.get("r", "")
            number = int(written) if written.isdecimal() else number + 1
            cells = reader.cells(row)
            row.clear()
            while row.getprevious() is not None:
                del row.getparent()[0]
            if cells:
                yield number, cells


def format_codes(book: "Workbook") -> list[str]:
    """The format code of each cell style of a workbook."""
    from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE

    codes = []
    for style in book._cell_styles:
        number = style.numFmtId
        custom = number - BUILTIN_FORMATS_MAX_SIZE
        if 0 <= custom < len(book._number_formats):
            codes.append(str(book._number_formats[custom]))
        else:
            codes.append(_KOREAN_DATES.get(number) or BUILTIN_FORMATS.get(number, GENERAL))
    return codes


class _CellReader:
    """Shows the cells of one sheet."""

    def __init__(self, sheet: Any, codes: list[str]) -> None:
        from openpyxl.styles.numbers import is_date_format, is_timedelta_format

        self._strings = sheet._shared_strings
        self._epoch = sheet.parent.epoch
        self._codes = codes
        self._dates = [is_date_format(code) for code in codes]
        self._durations = [is_timedelta_format(code) for code in codes]

    def cells(self, row: "_Element") -> list[str]:
        """Cells from the first column to the last one that shows something."""
        texts: dict[int, str] = {}
        column = 0
        for cell in row:
            column += 1
            if not len(cell):
                continue
            column = _column(cell.get("r", ""), column)
            if column <= _MAX_COLUMN and (text := self._shown(cell)):
                texts[column] = text
        return [texts.get(number, "") for number in range(1, max(texts, default=0) + 1)]

    def _shown(self, cell: "_Element") -> str:
        kind = cell.get("t", "n")
        style = cell.get("s", "0")
        style_number = int(style) if style.isdecimal() else 0
        code = self._codes[style_number] if style_number < len(self._codes) else GENERAL
        if kind == "inlineStr":
            # What an "rPh" holds tells how the text is pronounced.
            texts = cell.iterfind("{*}is//{*}t")
            own = (text for text in texts if not str(text.getparent().tag).endswith("}rPh"))
            return shown_text("".join(text.text or "" for text in own), code)
        value = cell.findtext("{*}v") or ""
        if not value:
            return ""
        if kind == "s":
            return shown_text(str(self._strings[int(value)]), code)
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if kind == "n":
            return self._number(value, style_number, code)
        if kind == "d":
            return _iso_moment(value, code)
        return value if kind == "e" else shown_text(value, code)

    def _number(self, value: str, style: int, code: str) -> str:
        from openpyxl.utils.datetime import from_excel

        try:
            number = float(value) if re.search("[.eE]", value) else int(value)
            if style >= len(self._dates) or not self._dates[style]:
                return shown_number(number, code)
        except (ValueError, ArithmeticError):  # none that any program shows
            return value
        try:
            moment = from_excel(number, self._epoch, timedelta=self._durations[style])
        except (ValueError, OverflowError):
            return shown_number(number, GENERAL)
        return shown_date(moment, code)


def _column(reference: str, following: int) -> int:
    letters = _LETTERS.match(reference)
    if letters is None:
        return following
    number = 0
    for letter in letters.group():
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _iso_moment(value: str, code: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(value.removesuffix("Z"))
    except ValueError:
        return value
    return shown_date(moment, code)
