"""Headings, paragraphs and table rows in, texts of sections with their heading path out.

Markdown is the form of all structured text here: headings as "## …", tables with "|". Knows no
file format.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# A table longer than this is written as several, each with the header row, so that a chunk of it
# still says what its columns are. Below the splitter's default chunk size.
TABLE_CHARACTERS = 450
# A hostile span would fill the memory with empty cells.
MAX_COLUMN_SPAN = 256
# A grid with less than this share of its cells filled is the layout of a form or a drawing.
FILLED_SHARE = 0.3


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the highest."""

    level: int
    text: str

    @property
    def line(self) -> str:
        """The heading as a Markdown line."""
        return "#" * min(max(self.level, 1), 6) + " " + self.text


Block = Heading | str


def sections(blocks: Iterable[Block]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Text of each section, its heading on top, with {"title", "headings"}.

    "headings" is the path from the highest heading down to the section's own. A heading with no
    text of its own stands on top of the next section. "title" is the document's first block where
    that is a heading.
    """
    path: list[Heading] = []
    parts: list[str] = []
    has_body = False
    title: str | None = None
    for number, block in enumerate(blocks):
        if isinstance(block, str):
            has_body = has_body or bool(block.strip())
            parts.append(block)
            continue
        heading = Heading(block.level, " ".join(block.text.split()))
        if number == 0:
            title = heading.text
        if has_body:
            yield "\n\n".join(parts), _section_metadata(title, path)
            parts, has_body = [], False
        path = [above for above in path if above.level < heading.level] + [heading]
        parts.append(heading.line)
    if parts:
        yield "\n\n".join(parts), _section_metadata(title, path)


def _section_metadata(title: str | None, path: Sequence[Heading]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"title": title}
    if path:
        metadata["headings"] = [heading.text for heading in path]
    return metadata


def table_grid(rows: Iterable[Iterable[tuple[str, int, int]]]) -> list[list[str]]:
    """Cells (text, row span, column span) placed on a grid, as HTML places them.

    A merged cell's text stands in its first place; the others are "". Spans are cut at the last
    row and at MAX_COLUMN_SPAN.
    """
    lines = [list(row) for row in rows]
    places: list[dict[int, str]] = [{} for _ in lines]
    for y, row in enumerate(lines):
        x = 0
        for text, row_span, column_span in row:
            while x in places[y]:
                x += 1
            width = min(max(1, column_span), MAX_COLUMN_SPAN)
            for below in places[y : y + max(1, row_span)]:
                below.update(dict.fromkeys(range(x, x + width), ""))
            places[y][x] = text
            x += width
    return [[row.get(x, "") for x in range(max(row, default=-1) + 1)] for row in places]


def is_table(rows: Sequence[Sequence[str]], filled_share: float = FILLED_SHARE) -> bool:
    """Whether a grid is a table: two rows of two filled cells, and a share of all cells filled.

    Else it is a box around text or the layout of a form, however many cells it was drawn with.
    """
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    columns = sum(any(cell.strip() for cell in column) for column in zip(*rows, strict=True))
    kept = sum(map(bool, filled))
    several = sum(count > 1 for count in filled)
    return several > 1 and sum(filled) >= filled_share * kept * columns


def table_parts(rows: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """A table as Markdown in parts of about TABLE_CHARACTERS, each with the header row on top.

    The first row of two filled cells is the header; what stands above it is the caption. Empty
    rows and columns are left out. What is no table (`is_table`) becomes lines.

    Returns:
        For each part the index in `rows` of its first row below the header, and its text.
    """
    width = max((len(row) for row in rows), default=0)
    padded = [[*row, *[""] * (width - len(row))] for row in rows]
    columns = [x for x in range(width) if any(row[x].strip() for row in padded)]
    kept = [
        (y, [row[x] for x in columns]) for y, row in enumerate(padded) if any(map(str.strip, row))
    ]
    if not kept:
        return []
    if not is_table([row for _, row in kept]):
        return [(kept[0][0], "\n".join(_plain_line(row) for _, row in kept))]
    top = next(n for n, (_, row) in enumerate(kept) if sum(map(bool, map(str.strip, row))) > 1)
    caption = "\n".join(_plain_line(row) for _, row in kept[:top])
    return _repeat_header(caption, kept[top:])


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The parts of `table_parts` as one text."""
    return "\n\n".join(text for _, text in table_parts(rows))


def _plain_line(row: Sequence[str]) -> str:
    filled = [cell.strip("\n") for cell in row if cell.strip()]
    return filled[0] if len(filled) == 1 else " ".join(" ".join(cell.split()) for cell in filled)


def _repeat_header(
    caption: str, rows: Sequence[tuple[int, Sequence[str]]]
) -> list[tuple[int, str]]:
    lines = [(y, _table_line(row)) for y, row in rows]
    header = f"{lines[0][1]}\n|{' --- |' * len(rows[0][1])}"
    if caption and len(caption) < TABLE_CHARACTERS // 3:
        header, caption = f"{caption}\n\n{header}", ""
    parts: list[tuple[int, str]] = []
    for y, line in lines[1:]:
        # At least as much content as header, however wide the table is.
        full = parts and len(parts[-1][1]) + len(line) >= max(TABLE_CHARACTERS, 2 * len(header))
        if not parts or full:
            parts.append((y, f"{header}\n{line}"))
        else:
            first, text = parts[-1]
            parts[-1] = (first, f"{text}\n{line}")
    if caption:
        parts[0] = (parts[0][0], f"{caption}\n\n{parts[0][1]}")
    return parts


def _table_line(row: Sequence[str]) -> str:
    cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
    return "| " + " | ".join(cells) + " |"
