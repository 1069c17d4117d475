"""A quote and a page of PDFium in, the boxes over the quote out.

A loader joins lines and words that are apart on the page and writes tables with marks of its own:
letters and digits alone are compared, in NFD, so that nothing else stands between the two.
"""

import ctypes
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from kogemma_rag.document_loaders.pdf_columns import reading_order
from kogemma_rag.document_loaders.pdf_lines import PageText
from kogemma_rag.document_loaders.pdf_objects import Box, Frame, around, page_objects

if TYPE_CHECKING:
    from pypdfium2 import PdfPage, PdfTextPage

_DEVICE = 100_000  # to which PDFium rounds places on the page
_CONTEXT = 60  # letters around a quote that tell it from the same words elsewhere on the page
_LEAST_PIECE = 4  # letters that are found together, of a quote that is not in one piece
_FOUND_SHARE = 0.6  # of such a quote's letters
_MOST_COMPARED = 8_000  # letters of a page or a quote for which pieces are looked for
_LINE_GAP = 2.0  # heights of a line between two boxes that are drawn as one


class Share(NamedTuple):
    """A rectangle as shares of the page's width and height, from its left and its top."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Letters:
    """The letters and digits of a text, in NFD, and where each of them stands in it."""

    text: str
    places: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "Letters":
        """Those of a text."""
        kept = [
            (letter, place)
            for place, character in enumerate(text)
            for letter in unicodedata.normalize("NFD", character)
            if letter.isalnum()
        ]
        return cls("".join(letter for letter, _ in kept), tuple(place for _, place in kept))


def quote_boxes(page: "PdfPage", passage: str, start: int, end: int) -> list[Share]:
    """The boxes over a quote, one for each line of it, in reading order; none if it is not found.

    Args:
        page: Of PDFium.
        passage: The text of the chunk that the quote is from.
        start: Of the quote in the passage.
        end: Of the quote in the passage.
    """
    characters = page.get_textpage()
    frame = Frame.of(page)
    read = PageText(characters, frame)
    order = _reading_order(read, page_objects(page, frame).spaces)
    text = "".join(read.text[number] for number in order)
    found = [order[place] for place in find_quote(text, passage, start, end)]
    boxes = [box for number in found if (box := _shown(page, characters, number)) is not None]
    width, height = page.get_size()
    lines = _lines(boxes, turned=frame.rotation in (90, 270))
    return [_share(line, width, height) for line in lines]


def _reading_order(read: PageText, spaces: Sequence[tuple[float, float]]) -> list[int]:
    """The numbers of a page's characters, column by column, as the loader reads them."""
    starts = [piece.start for run in reading_order(read.lines(spaces)) for piece in run]
    ends = dict(pairwise([*sorted(starts), len(read.text)]))
    return [number for start in starts for number in range(start, ends[start])]


def find_quote(page: str, passage: str, start: int, end: int) -> list[int]:
    """The numbers of a page's characters that are those of a quote, ascending.

    Args:
        page: The text of the page.
        passage: The text around the quote.
        start: Of the quote in the passage.
        end: Of the quote in the passage.
    """
    there, quote = Letters.of(page), Letters.of(passage[start:end])
    if not quote.text:
        return []
    before = Letters.of(passage[:start]).text[-_CONTEXT:]
    after = Letters.of(passage[end:]).text[:_CONTEXT]
    starts = list(_occurrences(there.text, quote.text))
    if starts:
        size = len(quote.text)
        best = max(starts, key=lambda at: _agreement(there.text, at, at + size, before, after))
        letters: Sequence[int] = range(best, best + size)
    else:
        letters = _pieces(there.text, quote.text)
    return sorted({there.places[letter] for letter in letters})


def _occurrences(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _agreement(text: str, start: int, end: int, before: str, after: str) -> int:
    """How many letters around an occurrence are those around the quote."""
    left = zip(reversed(text[max(start - len(before), 0) : start]), reversed(before), strict=False)
    right = zip(text[end : end + len(after)], after, strict=False)
    return _equal(left) + _equal(right)


def _equal(pairs: Iterator[tuple[str, str]]) -> int:
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _pieces(text: str, quote: str) -> list[int]:
    """The letters of a quote that lies in pieces on the page, such as a row of a table."""
    if max(len(text), len(quote)) > _MOST_COMPARED:
        return []
    blocks = SequenceMatcher(None, text, quote, autojunk=False).get_matching_blocks()
    pieces = [block for block in blocks if block.size >= min(_LEAST_PIECE, len(quote))]
    if sum(piece.size for piece in pieces) < _FOUND_SHARE * len(quote):
        return []
    return [letter for piece in pieces for letter in range(piece.a, piece.a + piece.size)]


def _shown(page: "PdfPage", characters: "PdfTextPage", place: int) -> Box | None:
    """Where a character is drawn, in points of the page as shown; None for one without a place."""
    left, bottom, right, top = characters.get_charbox(place, loose=True)
    if right <= left and top <= bottom:
        return None
    width, height = page.get_size()
    one, other = _on_device(page, left, top), _on_device(page, right, bottom)
    (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(one, other, strict=True))
    box = Box(
        max(x0, 0.0) * width, max(y0, 0.0) * height, min(x1, 1.0) * width, min(y1, 1.0) * height
    )
    return box if box.left < box.right and box.top < box.bottom else None


def _on_device(page: "PdfPage", x: float, y: float) -> tuple[float, float]:
    """A point as shares of the page as PDFium draws it: cropped and turned."""
    from pypdfium2 import raw

    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, _DEVICE, _DEVICE, 0, x, y, across, down)
    return across.value / _DEVICE, down.value / _DEVICE


def _lines(boxes: Sequence[Box], *, turned: bool) -> list[Box]:
    """Boxes of letters that follow each other in a line as one; lines of a turned page go down."""
    lines: list[Box] = []
    for box in map(_turned, boxes) if turned else boxes:
        if lines and _follows(lines[-1], box):
            lines[-1] = around([lines[-1], box])
        else:
            lines.append(box)
    return list(map(_turned, lines)) if turned else lines


def _follows(line: Box, box: Box) -> bool:
    """Whether a box stands in the row of a line, and near it."""
    gap = max(box.left - line.right, line.left - box.right)
    height = min(line.bottom - line.top, box.bottom - box.top)
    return line.shares_row(box) and gap <= _LINE_GAP * height


def _turned(box: Box) -> Box:
    return Box(box.top, box.left, box.bottom, box.right)


def _share(box: Box, width: float, height: float) -> Share:
    places = (box.left / width, box.top / height, box.width / width)
    return Share(*(round(place, 5) for place in (*places, (box.bottom - box.top) / height)))
