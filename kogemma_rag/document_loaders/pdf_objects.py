"""A page of PDFium in, how it is shown and what it is drawn with out. Reads no text.

Coordinates are those of the page as it is shown: points from its left and from its top edge.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

# Points; larger images may be a page that was scanned.
_LOGO = 72
# Objects of a page that are looked at: drawings have hundreds of thousands.
_MAX_OBJECTS = 50_000
_MAX_NESTING = 3
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
