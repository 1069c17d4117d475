"""A page of PDFium in, its lines of text with their boxes out. Knows no columns and paragraphs."""

import ctypes
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.pdf_objects import Box, Frame, around

if TYPE_CHECKING:
    from pypdfium2 import PdfTextPage

# A gap in a line that may lie between two columns, in heights of the text.
WIDE_GAP = 1.5
# A gap in a line that is a space between words.
_SPACE_GAP = 0.3
# Where PDFium knows no size.
_USUAL_EM = 10.0
# Points; lines find the spaces at their ends in rows of this height.
_ROW = 8
# What PDFium writes for a hyphen at a line's end, and the end with it.
LINE_END_HYPHEN = "\x02"
_LINE = re.compile(r"((?:(?!\r\n)[^\x02])*\x02?)(?:\r\n)?", re.DOTALL)
_HANGUL = re.compile("[가-힣]")


@dataclass(frozen=True)
class Line:
    """A line of text.

    Attributes:
        start: The number of its first character on the page.
        em: The size of its letters in points.
        spaced: Whether the file has white space after its last character.
        parts: What stands left and right of its wide gaps, where it has any.
    """

    text: str
    start: int
    box: Box
    em: float
    spaced: bool = False
    parts: tuple["Line", ...] = ()

    @property
    def pieces(self) -> tuple["Line", ...]:
        """Its parts, or itself."""
        return self.parts or (self,)


@dataclass(frozen=True)
class Table:
    """A ruled table; the texts of its cells hold line ends as they are on the page.

    Attributes:
        start: The number of its first character on the page.
    """

    rows: tuple[tuple[str, ...], ...]
    start: int
    box: Box

    @property
    def pieces(self) -> tuple["Table"]:
        """Itself."""
        return (self,)


Piece = Line | Table


class PageText:
    """The characters of a page and where they stand.

    Args:
        page: Of PDFium.
        frame: Of the page.
    """

    def __init__(self, page: "PdfTextPage", frame: Frame) -> None:
        self._page = page
        self._frame = frame
        self._edges = [ctypes.c_double() for _ in range(4)]

    @cached_property
    def text(self) -> str:
        """All characters, one for each of PDFium's, lines ended by CR LF or LINE_END_HYPHEN."""
        from pypdfium2 import raw

        count = self._page.count_chars()
        text: str = self._page.get_text_range() if count else ""
        if len(text) != count:
            # Characters without a code, or two to a code, would shift the boxes.
            codes = (raw.FPDFText_GetUnicode(self._page, index) for index in range(count))
            text = "".join(map(chr, codes))
        return text.replace("\ufffe", LINE_END_HYPHEN)

    def box(self, index: int) -> Box:
        """Where a character stands."""
        from pypdfium2 import raw

        left, right, bottom, top = self._edges
        raw.FPDFText_GetCharBox(self._page, index, left, right, bottom, top)
        return self._frame.shown(left.value, bottom.value, right.value, top.value)

    def lines(
        self, spaces: Sequence[tuple[float, float]] = (), taken: Collection[int] = ()
    ) -> list[Line]:
        """The lines in PDFium's order.

        Args:
            spaces: See `Objects`.
            taken: The numbers of characters that are left out.
        """
        rows: dict[int, list[tuple[float, float]]] = {}
        for x, y in spaces:
            rows.setdefault(int(y) // _ROW, []).append((x, y))
        lines: list[Line] = []
        for start, text in self._runs(taken):
            line = self._line(start, text, rows)
            if lines and _continues(lines[-1], line):
                line = _joined(lines.pop(), line)
            lines.append(line)
        return lines

    def _runs(self, taken: Collection[int]) -> Iterator[tuple[int, str]]:
        """First number and text of what is visible of each line."""
        for match in _LINE.finditer(self.text):
            text = match.group(1)
            numbers = range(match.start(), match.start() + len(text))
            if not taken:
                runs = [(numbers.start, text)]
            else:
                kept = groupby(numbers, lambda number: number in taken)
                runs = []
                for left_out, run in kept:
                    if not left_out:
                        first, *rest = run
                        runs.append((first, self.text[first : first + len(rest) + 1]))
            for first, run_text in runs:
                if visible := run_text.lstrip():
                    yield first + len(run_text) - len(visible), visible

    def _line(
        self, start: int, text: str, spaces: Mapping[int, Sequence[tuple[float, float]]]
    ) -> Line:
        boxes = self._boxes(start, len(text)) or [self.box(start)]
        box = around(boxes)
        # The size of Hangul where there is some: the letters of other fonts stand higher or lower.
        hangul = _HANGUL.search(text)
        middle = hangul.start() if hangul else len(text.rstrip()) // 2
        em = self._em(start + middle) or self._em(start) or _USUAL_EM
        rows = range(int(box.top) // _ROW - 1, int(box.bottom) // _ROW + 2)
        near = (place for row in rows for place in spaces.get(row, ()))
        spaced = text[-1].isspace() or any(
            abs(x - box.right) < em and box.top - 2 <= y <= box.bottom + 2 for x, y in near
        )
        return Line(text.rstrip(), start, box, em, spaced, self._parts(start, text, boxes, em))

    def _boxes(self, start: int, count: int) -> list[Box]:
        from pypdfium2 import raw

        found = raw.FPDFText_CountRects(self._page, start, count)
        left, right, bottom, top = self._edges
        boxes = []
        for index in range(found):
            raw.FPDFText_GetRect(self._page, index, left, top, right, bottom)
            boxes.append(self._frame.shown(left.value, bottom.value, right.value, top.value))
        return boxes

    def _em(self, index: int) -> float:
        from pypdfium2 import raw

        rectangle = raw.FS_RECTF()
        raw.FPDFText_GetLooseCharBox(self._page, index, rectangle)
        box = self._frame.shown(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
        return abs(box.bottom - box.top)

    def _parts(self, start: int, text: str, boxes: Sequence[Box], em: float) -> tuple[Line, ...]:
        wide = WIDE_GAP * em
        if not any(b.left - a.right > wide for a, b in pairwise(boxes)):
            return ()
        groups: list[tuple[int, int, list[Box]]] = []  # from, to, boxes
        for index, character in enumerate(text):
            if character.isspace():
                continue
            box = self.box(start + index)
            if not groups or box.left - groups[-1][2][-1].right > wide:
                groups.append((index, index + 1, [box]))
            else:
                first, _, places = groups[-1]
                places.append(box)
                groups[-1] = (first, index + 1, places)
        if len(groups) < 2:
            return ()
        return tuple(
            Line(text[first:end], start + first, around(places), em, text[end : end + 1].isspace())
            for first, end, places in groups
        )


def _continues(line: Line, after: Line) -> bool:
    """Whether PDFium broke a line at a raised or lowered character."""
    gap = after.box.left - line.box.right
    em = max(line.em, after.em)
    return -0.5 * em <= gap < em and line.box.shares_row(after.box)


def _joined(line: Line, after: Line) -> Line:
    gap = after.box.left - line.box.right
    space = " " if gap > _SPACE_GAP * after.em else ""
    wider = max(line, after, key=lambda one: one.box.width)
    box = around([line.box, after.box])
    text = f"{line.text}{space}{after.text}"
    whole = Line(text, line.start, box, wider.em, after.spaced)
    if not line.parts and not after.parts:
        return whole
    *before, last = line.pieces
    first, *behind = after.pieces
    return replace(whole, parts=(*before, _joined(last, first), *behind))
