"""The lines of many pages in, those out that return on most of them: page headers and footers.

Knows no text but theirs.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

from kogemma_rag.document_loaders.pdf_lines import Line, Piece

Region = Literal["header", "footer"]

# Shares of the page's height above and below.
_MARGIN = 0.15
# A text on so many of the pages is a header; two, left and right, may take turns.
_MIN_PAGES, _MOST_PAGES = 3, 0.4
# Points by which its height may differ.
_SAME_HEIGHT = 4.0
_DIGITS = re.compile(r"\d+")
_ROMAN = re.compile(r"[ivxlc]+|[IVXLC]+|[Ⅰ-Ⅻⅰ-ⅻ]")
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:p(?:age|\\.)?|쪽|페이지)?[\W_]*#(?:[\W_]*(?:/|of|중)?[\W_]*#)?[\W_]*(?:쪽|페이지|p|면)?[\W_]*",
    re.IGNORECASE,
)
# A page number beside a header's text.
_NUMBER_BESIDE = re.compile(r"^[-–\s|]*\d+[-–\s|]*(?=\s)|(?<=\s)[-–\s|]*\d+[-–\s|]*$")


class _Key(NamedTuple):
    region: Region
    text: str


class Margins:
    """What returns at the upper and lower edge of pages.

    Args:
        pages: Lines of pages and the height of each page.
    """

    def __init__(self, pages: Sequence[tuple[Sequence[Piece], float]]) -> None:
        places: dict[_Key, list[float]] = {}
        for pieces, height in pages:
            found: dict[_Key, float] = {}
            for line, key in _candidates(pieces, height):
                found.setdefault(key, _from_edge(line, key.region, height))
            for key, place in found.items():
                places.setdefault(key, []).append(place)
        least = max(_MIN_PAGES, _MOST_PAGES * len(pages))
        self._heights: Mapping[_Key, float] = {
            key: middle
            for key, found_at in places.items()
            if len(found_at) >= least
            for middle in [median(found_at)]
            if sum(abs(place - middle) <= _SAME_HEIGHT for place in found_at) >= least
        }
        self._texts: dict[_Key, list[str]] = {}

    def taken_off(self, pieces: Sequence[Piece], height: float) -> list[Piece]:
        """The body of a page; what is taken off is noted for `texts`."""
        marginal = {
            id(line): key
            for line, key in _candidates(pieces, height)
            if key in self._heights
            and abs(_from_edge(line, key.region, height) - self._heights[key]) <= _SAME_HEIGHT
        }
        for piece in pieces:
            if isinstance(piece, Line) and (key := marginal.get(id(piece))):
                texts = self._texts.setdefault(key, [])
                if len(texts) < 2 and piece.text not in texts:
                    texts.append(piece.text)
        return [piece for piece in pieces if id(piece) not in marginal]

    def texts(self, region: Region) -> list[str]:
        """Each header or footer that was taken off, once; no page numbers."""
        found = []
        for key, texts in self._texts.items():
            if key.region == region and not _PAGE_NUMBER.fullmatch(key.text):
                text = texts[0] if len(texts) == 1 else _NUMBER_BESIDE.sub("", texts[0]).strip()
                if text not in found:
                    found.append(text)
        return found


def _candidates(pieces: Sequence[Piece], height: float) -> list[tuple[Line, _Key]]:
    found = []
    for piece in pieces:
        if isinstance(piece, Line):
            if piece.box.middle < _MARGIN * height:
                found.append((piece, _Key("header", _pattern(piece.text))))
            elif piece.box.middle > (1 - _MARGIN) * height:
                found.append((piece, _Key("footer", _pattern(piece.text))))
    return found


def _pattern(text: str) -> str:
    folded = "".join(text.split())
    return "#" if _ROMAN.fullmatch(folded) else _DIGITS.sub("#", folded)


def _from_edge(line: Line, region: Region, height: float) -> float:
    """Distance from the nearer edge: pages may differ in height."""
    return line.box.middle if region == "header" else height - line.box.middle
