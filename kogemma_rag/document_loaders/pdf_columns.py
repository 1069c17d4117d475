"""The lines and tables of a page in, the order in which they are read out.

PDFium gives the order in which a page was written. That is kept, except on pages whose text stands
in columns and on those that were clearly not written from top to bottom.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from kogemma_rag.document_loaders.pdf_lines import Line, Piece, Table
from kogemma_rag.document_loaders.pdf_objects import Box, around

# Lines of text that each column has to have at least, a table counted by its height.
_MIN_LINES = 4
# Of all lines, those that respect the gutter.
_IN_COLUMNS = 0.4
# The gutter, in heights of the text.
_GUTTER = 0.8
# Of the first line of a paragraph, in heights of the text.
_MAX_INDENT = 4
# A column's share of the page's text in width; a narrower one holds numbers or labels.
_MIN_WIDTH = 0.15
# Columns of one layout differ less in width.
_SAME_WIDTH = 0.05
# A column of running text: so many lines are this much of its width. Cells of a table are not.
_FULL_LINES, _FULL_WIDTH = 0.5, 0.7
# Columns in columns: three or four side by side.
_MAX_DEPTH = 2
# Left edges that are tried as a column's, the most frequent ones.
_TRIED_EDGES = 12
_MAX_PIECES = 2000
# Share of lines that stand above the one before them: more is no reading order.
_UPWARD = 0.35


def reading_order(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Runs of pieces: each stands below the one before it, in one column or across all."""
    if not 0 < len(pieces) <= _MAX_PIECES:
        return [list(pieces)] if pieces else []
    return _runs(pieces, around([piece.box for piece in pieces]).width, 0)


def _runs(pieces: Sequence[Piece], width: float, depth: int) -> list[list[Piece]]:
    gutter = _gutter([part for piece in pieces for part in piece.pieces], width, depth)
    if gutter is None:
        return [_downward(pieces)] if pieces else []
    left, right, across = _split(pieces, gutter)
    across.sort(key=lambda piece: (piece.box.middle, piece.box.left))
    runs: list[list[Piece]] = []
    bounds = [float("-inf"), *(piece.box.middle for piece in across), float("inf")]
    for number, (top, bottom) in enumerate(pairwise(bounds)):
        band = [
            [piece for piece in column if top <= piece.box.middle < bottom]
            for column in (left, right)
        ]
        below = _taken_from_below(*band) if number < len(across) else []
        for column in (*band, below):
            runs += _runs(column, width, depth + 1) if column else []
        if number < len(across):
            if not runs or runs[-1][-1] is not across[number - 1] or number == 0:
                runs.append([])
            runs[-1].append(across[number])
    return runs


def _taken_from_below(left: list[Piece], right: Sequence[Piece]) -> list[Piece]:
    """Short lines over what stands across the page, such as its heading; removed from the left."""
    below: list[Piece] = []
    end = max((piece.box.bottom for piece in right), default=0.0)
    if not right:
        return []
    for number in range(len(left) - 1, 0, -1):
        piece, before = left[number], left[number - 1]
        if not isinstance(piece, Line) or piece.box.top < end:
            break
        if piece.box.top - before.box.bottom > piece.em:
            below = left[number:]
    del left[len(left) - len(below) :]
    return below


class _Gutter(NamedTuple):
    """The space between two columns."""

    start: float
    end: float

    def is_before(self, box: Box) -> bool:
        """Whether a box stands in the left column."""
        return box.right <= self.start

    def is_behind(self, box: Box) -> bool:
        """Whether a box stands in the right column; its tables may stand out to the left."""
        return box.left >= self.start


def _gutter(parts: Sequence[Piece], width: float, depth: int) -> _Gutter | None:
    """The gutter that most parts respect, if they stand in columns."""
    sizes = [part.em for part in parts if isinstance(part, Line)]
    if depth > _MAX_DEPTH or len(sizes) < 2:
        return None
    em = median(sizes)
    total = sum(_weight(part, em) for part in parts)
    edges = Counter(round(part.box.left) for part in parts)
    best: _Gutter | None = None
    most = 0.0
    for edge, _ in edges.most_common(_TRIED_EDGES):
        gutter = _Gutter(edge - _GUTTER * em, edge)
        left = [part for part in parts if gutter.is_before(part.box)]
        right = [part for part in parts if gutter.is_behind(part.box)]
        weights = [sum(_weight(part, em) for part in side) for side in (left, right)]
        if min(weights) < max(_MIN_LINES, most + 1) or sum(weights) < _IN_COLUMNS * total:
            continue
        if _side_by_side(left, right) and _are_columns(left, right, width, depth):
            best, most = gutter, min(weights)
    return best


def _weight(part: Piece, em: float) -> float:
    return 1.0 if isinstance(part, Line) else max(1.0, (part.box.bottom - part.box.top) / (2 * em))


def _side_by_side(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    one, other = (around([part.box for part in side]) for side in (left, right))
    common = min(one.bottom, other.bottom) - max(one.top, other.top)
    return common >= 0.5 * min(one.bottom - one.top, other.bottom - other.top)


def _are_columns(left: Sequence[Piece], right: Sequence[Piece], width: float, depth: int) -> bool:
    one, other = (around([part.box for part in side]).width for side in (left, right))
    if min(one, other) < _MIN_WIDTH * width:
        return False
    # In a page set in equal columns one may be filled by a table.
    agreed = any if abs(one - other) <= _SAME_WIDTH * max(one, other) else all
    return agreed(_is_column(side, width, depth) for side in (left, right))


def _is_column(parts: Sequence[Piece], width: float, depth: int) -> bool:
    extent = around([part.box for part in parts]).width
    full = sum(part.box.width >= _FULL_WIDTH * extent for part in parts)
    return full >= _FULL_LINES * len(parts) or _gutter(parts, width, depth + 1) is not None


def _split(
    pieces: Sequence[Piece], gutter: _Gutter
) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """What stands left and right of the gutter, and what stands across."""
    edge = min(piece.box.left for piece in pieces)
    left: list[Piece] = []
    right: list[Piece] = []
    across: list[Piece] = []
    for piece in pieces:
        before = [part for part in piece.pieces if gutter.is_before(part.box)]
        behind = [part for part in piece.pieces if gutter.is_behind(part.box)]
        if len(before) + len(behind) < len(piece.pieces):
            across.append(piece)
        elif isinstance(piece, Line) and before and behind:
            # Letters of a centred heading may stand wide apart.
            if piece.box.left > edge + _MAX_INDENT * piece.em:
                across.append(piece)
                continue
            left.append(_part_of(piece, before))
            right.append(_part_of(piece, behind))
        else:
            (left if before else right).append(piece)
    return left, right, across


def _part_of(line: Line, parts: Sequence[Piece]) -> Line:
    lines = [part for part in parts if isinstance(part, Line)]
    text = " ".join(part.text for part in lines)
    box = around([part.box for part in lines])
    several = tuple(lines) if len(lines) > 1 else ()
    return Line(text, lines[0].start, box, line.em, lines[-1].spaced, several)


def _downward(pieces: Sequence[Piece]) -> list[Piece]:
    upward = sum(after.box.bottom <= piece.box.top for piece, after in pairwise(pieces))
    if upward <= max(1, _UPWARD * len(pieces)):
        return list(pieces)
    return _sorted(pieces)


def _sorted(pieces: Sequence[Piece]) -> list[Piece]:
    """From top to bottom, what shares a row from left to right."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.box.middle):
        if rows and not isinstance(piece, Table) and _same_row(rows[-1][0].box, piece.box):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [piece for row in rows for piece in sorted(row, key=lambda piece: piece.box.left)]


def _same_row(one: Box, other: Box) -> bool:
    return one.shares_row(other)
