"""A page of PDFium in, its lines of text with their boxes out. Knows no columns and no paragraphs.

Coordinates are those of the page as it is shown: points from its left and from its top edge.
"""

import ctypes
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pypdfium2 import PdfPage, PdfTextPage

# A gap in a line that may lie between two columns, in heights of the text.
WIDE_GAP = 1.5
# A gap in a line that is a space between words.
_SPACE_GAP = 0.3
# Points; larger images may be a page that was scanned.
_LOGO = 72
# Where PDFium knows no size.
_USUAL_EM = 10.0
# Points; lines find the spaces at their ends in rows of this height.
_ROW = 8
# Objects of a page that are looked at: drawings have hundreds of thousands.
_MAX_OBJECTS = 50_000
_MAX_NESTING = 3
# What PDFium writes for a hyphen at a line's end, and the end with it.
LINE_END_HYPHEN = "\x02"
_LINE = re.compile(r"((?:(?!\r\n)[^\x02])*\x02?)(?:\r\n)?", re.DOTALL)
_HANGUL = re.compile("[가-힣]")
_ROTATIONS = (0, 90, 180, 270)


class Box(NamedTuple):
    """A rectangle; top is less than bottom."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """Half way between top and bottom."""
        return (self.top + self.bottom) / 2

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    def shares_row(self, other: "Box") -> bool:
        """Whether the two stand side by side: most of the lower one's height is common."""
        common = min(self.bottom, other.bottom) - max(self.top, other.top)
        return common >= 0.6 * min(self.bottom - self.top, other.bottom - other.top)


def around(boxes: Sequence[Box]) -> Box:
    """The box that holds all of them."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


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


@dataclass(frozen=True)
class Frame:
    """How a page is shown: the corners of its medium in PDF's coordinates, and its rotation."""

    left: float
    bottom: float
    right: float
    top: float
    rotation: int = 0

    @classmethod
    def of(cls, page: "PdfPage") -> "Frame":
        """The frame of a page."""
        rotation = page.get_rotation()
        left, bottom, right, top = page.get_mediabox()
        return cls(left, bottom, right, top, rotation if rotation in _ROTATIONS else 0)

    def shown(self, left: float, bottom: float, right: float, top: float) -> Box:
        """A rectangle of PDF's bottom-up coordinates, as shown."""
        if self.rotation == 90:
            return Box(bottom - self.bottom, left - self.left, top - self.bottom, right - self.left)
        if self.rotation == 180:
            return Box(
                self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
            )
        if self.rotation == 270:
            return Box(self.top - top, self.right - right, self.top - bottom, self.right - left)
        return Box(left - self.left, self.top - top, right - self.left, self.top - bottom)

    @property
    def height(self) -> float:
        """Of the page as shown."""
        if self.rotation in (90, 270):
            return self.right - self.left
        return self.top - self.bottom


@dataclass
class Objects:
    """What a page is drawn with.

    Attributes:
        paths: Lines and shapes.
        texts: Pieces of text.
        pictures: Images larger than a logo.
        spaces: Where pieces of text stand that have no width. PDFium leaves them out; at a line's
            end they are the space between two words.
    """

    paths: int = 0
    texts: int = 0
    pictures: int = 0
    spaces: tuple[tuple[float, float], ...] = ()


def page_objects(page: "PdfPage", frame: Frame) -> Objects:
    """Count a page's objects."""
    from pypdfium2 import raw

    objects = Objects()
    spaces: list[tuple[float, float]] = []
    edges = [ctypes.c_float() for _ in range(4)]
    for kind, item, nested in _raw_objects(page):
        if kind == raw.FPDF_PAGEOBJ_PATH:
            objects.paths += 1
        elif kind == raw.FPDF_PAGEOBJ_TEXT:
            objects.texts += 1
            raw.FPDFPageObj_GetBounds(item, *edges)
            # Inside a form the coordinates are the form's own.
            if edges[2].value - edges[0].value < 0.01 and not nested:
                box = frame.shown(*(edge.value for edge in edges))
                spaces.append((box.left, box.middle))
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            raw.FPDFPageObj_GetBounds(item, *edges)
            left, bottom, right, top = (edge.value for edge in edges)
            objects.pictures += nested or min(right - left, top - bottom) > _LOGO
    objects.spaces = tuple(spaces)
    return objects


def _raw_objects(page: "PdfPage") -> Iterator[tuple[int, "ctypes.c_void_p", bool]]:
    """Type and handle of each object, and whether it is nested; in order, to a bound."""
    from pypdfium2 import raw

    left = _MAX_OBJECTS
    stack = [(page.raw, raw.FPDFPage_GetObject, 0, raw.FPDFPage_CountObjects(page), 0)]
    while stack and left > 0:
        holder, get, index, count, depth = stack.pop()
        while index < count and left > 0:
            item = get(holder, index)
            index, left = index + 1, left - 1
            kind = raw.FPDFPageObj_GetType(item)
            if kind != raw.FPDF_PAGEOBJ_FORM:
                yield kind, item, depth > 0
            elif depth < _MAX_NESTING:
                stack.append((holder, get, index, count, depth))
                inside = raw.FPDFFormObj_CountObjects(item)
                stack.append((item, raw.FPDFFormObj_GetObject, 0, inside, depth + 1))
                break


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
