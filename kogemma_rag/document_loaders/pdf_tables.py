"""A page of pdfplumber in, its ruled tables out, filled with PDFium's characters.

Unruled tables stay lines of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.pdf_lines import PageText, Table
from kogemma_rag.document_loaders.pdf_objects import Box, Objects, around
from kogemma_rag.document_loaders.sections import is_table

if TYPE_CHECKING:
    from pdfplumber.page import Page

# A ruled table of two rows and two columns needs at least this many lines or boxes; above the
# upper bound it is a drawing. Finding tables is slow (0.1 s a page), reading text is not (3 ms).
_TABLE_PATHS = range(4, 1500)
_MAX_CHARACTERS = 20_000
# Stricter than elsewhere: lines that are drawn for looks make grids of many empty cells.
FILLED_SHARE = 0.5


def may_have_tables(objects: Objects, text: PageText) -> bool:
    """Whether looking for tables is worth its time."""
    return objects.paths in _TABLE_PATHS and 0 < len(text.text) <= _MAX_CHARACTERS


@dataclass
class _Grid:
    """The box of each cell (None where merged) and its text."""

    boxes: list[list[Box | None]]
    texts: list[list[str]] = field(init=False)
    characters: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.texts = [["" for _ in row] for row in self.boxes]

    @property
    def box(self) -> Box:
        return around([box for row in self.boxes for box in row if box])

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        for row, boxes in enumerate(self.boxes):
            for column, box in enumerate(boxes):
                if box and box.left <= x <= box.right and box.top <= y <= box.bottom:
                    return row, column
        return None


def ruled_tables(page: "Page", text: PageText) -> tuple[list[Table], set[int]]:
    """The tables of a page, and the numbers of the characters in them."""
    left, top = page.bbox[:2]
    grids = []
    for table in page.find_tables():
        boxes = [
            [
                cell and Box(cell[0] - left, cell[1] - top, cell[2] - left, cell[3] - top)
                for cell in row.cells
            ]
            for row in table.rows
        ]
        if len(boxes) > 1 and len(boxes[0]) > 1:
            grids.append(_Grid(boxes))
    _fill(grids, text)
    real = [grid for grid in grids if is_table(grid.texts, FILLED_SHARE)]
    tables = [Table(tuple(map(tuple, grid.texts)), grid.characters[0], grid.box) for grid in real]
    return tables, {index for grid in real for index in grid.characters}


def _fill(grids: Sequence[_Grid], text: PageText) -> None:
    frames = [(grid, grid.box) for grid in grids]
    owner: tuple[_Grid, tuple[int, int]] | None = None
    for index, character in enumerate(text.text):
        # White space has no place of its own: it stays with the character before it.
        if not character.isspace():
            box = text.box(index)
            x, y = (box.left + box.right) / 2, box.middle
            owner = next(
                (
                    (grid, cell)
                    for grid, frame in frames
                    if frame.left <= x <= frame.right
                    and frame.top <= y <= frame.bottom
                    and (cell := grid.cell_at(x, y))
                ),
                None,
            )
        if owner:
            grid, (row, column) = owner
            grid.texts[row][column] += character
            grid.characters.append(index)
