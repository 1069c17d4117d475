"""Paragraphs of HWP 5 and HWPX in, blocks for `sections` out. Knows no file format."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kogemma_rag.document_loaders.hwp_numbering import ParagraphHeads
from kogemma_rag.document_loaders.hwp_paragraphs import (
    Box,
    Cell,
    Note,
    PageText,
    Paragraph,
    SectionStart,
    Table,
)
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    is_table,
    markdown_table,
    table_grid,
)

# An outline paragraph longer than this, or one that ends as a sentence does, is numbered text.
_HEADING_CHARACTERS = 60
_SENTENCE_END = re.compile(r"[.?!:;,]$|다$")
# Government documents set their headings as a box of one row: number | title.
_ROMAN = re.compile(r"([ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ]|[IVX]{1,4}(?=[.\s]))\.?\s*(.*)", re.DOTALL)
_ANNEX = re.compile(r"(참고|붙임|별첨|부록|별표)\s*\d*$")
_NUMBER = re.compile(r"\d{1,2}\.?$")


@dataclass
class _Parts:
    """A paragraph taken apart: text with its notes, and what is anchored before and after it."""

    mark: str
    plain: str
    text: str
    notes: list[str]
    before: list[Box | Table]
    after: list[Box | Table]


class BlockWriter:
    """Turns paragraphs into blocks, once, in the document's order.

    Args:
        heads: Counts what is written before paragraphs.

    Attributes:
        page_texts: Texts of "header" and "footer", each distinct one once.
    """

    def __init__(self, heads: ParagraphHeads) -> None:
        self._heads = heads
        self.page_texts: dict[Literal["header", "footer"], list[str]] = {"header": [], "footer": []}

    def blocks(self, paragraphs: Iterable[Paragraph]) -> Iterator[Block]:
        """Headings, tables, and paragraphs that follow each other as one block."""
        lines: list[str] = []
        for paragraph in paragraphs:
            for block in self._body(paragraph, headings=True):
                if isinstance(block, list):
                    lines += [line.rstrip() for line in block if line.strip()]
                    continue
                if lines:
                    yield "\n".join(lines)
                    lines = []
                yield block
        if lines:
            yield "\n".join(lines)

    def _body(self, paragraph: Paragraph, *, headings: bool) -> Iterator[Block | list[str]]:
        parts = self._parts(paragraph)
        for part in parts.before:
            yield from self._part(part)
        level = self._heads.outline_level(paragraph.shape) if headings else None
        heading = _outline(f"{parts.mark} {parts.plain}", level) if parts.plain.strip() else None
        if heading:
            yield heading
            yield [note.strip() for note in parts.notes]
        else:
            yield [parts.text]
        for part in parts.after:
            yield from self._part(part)

    def _part(self, part: Box | Table) -> Iterator[Block | list[str]]:
        if isinstance(part, Table):
            yield from self._table(part)
            return
        for paragraph in part.paragraphs:
            yield from self._body(paragraph, headings=False)
        yield self._lines(part.caption)

    def _parts(self, paragraph: Paragraph) -> _Parts:
        for part in paragraph.content:
            if isinstance(part, SectionStart):
                self._heads.outline = part.outline
        parts = _Parts(self._heads.next_mark(paragraph.shape), "", "", [], [], [])
        for part in paragraph.content:
            match part:
                case str():
                    parts.plain += part
                    parts.text += part
                case Note():
                    if note := " ".join(" ".join(self._lines(part.paragraphs)).split()):
                        space = " " if parts.text[-1:].strip() else ""
                        parts.notes.append(f"({part.name}: {note})")
                        parts.text += space + parts.notes[-1]
                case PageText():
                    self._add_page_text(part)
                case Box() | Table():
                    (parts.after if parts.text.strip() else parts.before).append(part)
        if parts.mark and parts.text.strip():
            parts.text = f"{parts.mark} {parts.text.strip()}"
        return parts

    def _add_page_text(self, part: PageText) -> None:
        text = "\n".join(line.strip() for line in self._lines(part.paragraphs))
        # Where the page number was, hyphens or brackets are left.
        if re.search(r"\w", text) and text not in self.page_texts[part.region]:
            self.page_texts[part.region].append(text)

    def _lines(self, paragraphs: Sequence[Paragraph]) -> list[str]:
        """All text of paragraphs, tables in them row by row."""
        lines: list[str] = []
        for paragraph in paragraphs:
            parts = self._parts(paragraph)
            for part in parts.before:
                lines += self._part_lines(part)
            lines.append(parts.text.rstrip())
            for part in parts.after:
                lines += self._part_lines(part)
        return [line for line in lines if line.strip()]

    def _part_lines(self, part: Box | Table) -> list[str]:
        lines = self._lines(part.caption)
        if isinstance(part, Box):
            return self._lines(part.paragraphs) + lines
        for row in part.rows:
            cells = (" ".join(self._lines(cell.paragraphs)) for cell in row)
            lines.append(" ".join(filter(None, cells)))
        return lines

    def _table(self, table: Table) -> Iterator[Block | list[str]]:
        caption = "\n".join(self._lines(table.caption))
        if _is_layout(table):
            yield [caption]
            for row in table.rows:
                for cell in row:
                    for paragraph in cell.paragraphs:
                        yield from self._body(paragraph, headings=False)
            return
        grid = table_grid(
            [
                ("\n".join(self._lines(cell.paragraphs)), cell.row_span, cell.column_span)
                for cell in row
            ]
            for row in table.rows
        )
        yield from _table_blocks(grid, caption)


def _outline(text: str, level: int | None) -> Heading | None:
    """A heading, when an outline paragraph of a level (from 0) reads like one."""
    text = " ".join(text.split())
    if level is None or not 0 < len(text) <= _HEADING_CHARACTERS or _SENTENCE_END.search(text):
        return None
    return Heading(level + 1, text)


def _is_layout(table: Table) -> bool:
    """Whether a table is only drawn around other tables and boxes, to place them."""
    holds_more = any(
        isinstance(part, Box | Table)
        for row in table.rows
        for cell in row
        for paragraph in cell.paragraphs
        for part in paragraph.content
    )
    if not holds_more:
        return False
    return not is_table(
        _padded(
            table_grid(
                [("x" if _has_text(cell) else "", cell.row_span, cell.column_span) for cell in row]
                for row in table.rows
            )
        )
    )


def _padded(grid: list[list[str]]) -> list[list[str]]:
    width = max(map(len, grid), default=0)
    return [row + [""] * (width - len(row)) for row in grid]


def _has_text(cell: Cell) -> bool:
    return any(
        isinstance(part, str) and part.strip()
        for paragraph in cell.paragraphs
        for part in paragraph.content
    )


def _table_blocks(grid: list[list[str]], caption: str) -> Iterator[Block | list[str]]:
    """A table, or the heading that a box of one row is in government documents."""
    filled = [[cell.strip() for cell in row if cell.strip()] for row in grid]
    filled = [row for row in filled if row]
    if (
        not caption
        and filled
        and all(len(row) == 1 for row in filled[1:])
        and (head := _banner(filled[0]))
    ):
        yield head
        yield from ([row[0]] for row in filled[1:])
        return
    # What stands above the first row of several cells is repeated with it, when it is short.
    table = markdown_table([[caption], *grid] if caption else grid)
    yield table if "\n| ---" in table else table.split("\n")


def _banner(cells: list[str]) -> Heading | None:
    text = " ".join(" ".join(cells).split())
    if len(text) > _HEADING_CHARACTERS:
        return None
    if _ROMAN.match(text) or (len(cells) == 2 and _ANNEX.match(cells[0])):
        return Heading(1, text)
    if len(cells) == 2 and _NUMBER.match(cells[0]):
        return Heading(2, f"{cells[0].rstrip('.')}. {cells[1].strip()}")
    return None
