"""HWP 5 and HWPX in, sections with tables out. Old HWP 3 is refused before it gets here.

unhwp reads both; a document locked for distribution is encrypted with a key that it holds itself,
which only rhwp reads. The format is public: HWP 5.0 specification revision 1.3, Hancom, section
3.2.1 (FileHeader) and 4.2.10 (outlines).
"""

import ctypes
import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, PASSWORD, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.formats import true_suffix
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    markdown_table,
    sections,
    table_grid,
)

_FLAGS_OFFSET = 36
_PASSWORD_FLAG = 1 << 1
_DISTRIBUTION_FLAG = 1 << 2

# An outline paragraph longer than this, or one that ends as a sentence does, is numbered text.
_HEADING_CHARACTERS = 60
_SENTENCE_END = re.compile(r"[.?!:;,]$|다$")
# Government documents set their headings as a box of one row: number | title.
_ROMAN = re.compile(r"([ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ]|[IVX]{1,4}(?=[.\s]))\.?\s*(.*)", re.DOTALL)
_ANNEX = re.compile(r"(참고|붙임|별첨|부록|별표)\s*\d*$")
_NUMBER = re.compile(r"\d{1,2}\.?$")
# Hancom's fonts hold these in private use areas, where no other font shows them: the bullets of
# symbol fonts, and digits in boxes (in order in the documents that have them).
_PRIVATE_SYMBOLS = {
    **dict.fromkeys(range(0xF020, 0xF100), "•"),
    **{0xF02B1 + number: chr(ord("①") + number) for number in range(9)},
}


class HWPLoader(FileLoader):
    """HWP 5 and HWPX: a document for each section under a heading."""

    media_types: ClassVar[dict[str, str]] = {
        ".hwp": "application/vnd.hancom.hwp",
        ".hwpx": "application/vnd.hancom.hwpx",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        flags = self._flags() if true_suffix(self.path) == ".hwp" else 0
        if flags & _PASSWORD_FLAG:
            raise DocumentLoadError(self.path, PASSWORD)
        # Every reader but rhwp gives a placeholder sentence for it, as if it were the text.
        locked = flags & _DISTRIBUTION_FLAG
        blocks = self._distribution_blocks() if locked else self._blocks()
        for text, metadata in sections(blocks):
            yield text.translate(_PRIVATE_SYMBOLS), metadata

    def _flags(self) -> int:
        import olefile

        with olefile.OleFileIO(self.path) as ole:
            header = ole.openstream("FileHeader").read()
        if len(header) < _FLAGS_OFFSET + 4 or not header.startswith(b"HWP Document File"):
            raise DocumentLoadError(self.path, DAMAGED)
        return int.from_bytes(header[_FLAGS_OFFSET : _FLAGS_OFFSET + 4], "little")

    def _blocks(self) -> Iterator[Block]:
        import unhwp

        try:
            with unhwp.parse_bytes(self.path.read_bytes()) as result:
                document = json.loads(result.json)
        except unhwp.UnhwpError as error:
            locked = error.kind in (
                unhwp.ErrorKind.ENCRYPTED,
                unhwp.ErrorKind.DISTRIBUTION_RESTRICTED,
            )
            raise DocumentLoadError(self.path, PASSWORD if locked else DAMAGED) from error
        for section in document["sections"]:
            yield from _grouped(_unhwp_blocks(section["content"]))

    def _distribution_blocks(self) -> Iterator[Block]:
        try:
            # The wheel uses FreeType's symbols without loading the library.
            ctypes.CDLL("libfreetype.so.6", mode=ctypes.RTLD_GLOBAL)
            import rhwp
        except (OSError, ImportError) as error:
            raise DocumentLoadError(
                self.path,
                "배포용으로 잠긴 HWP입니다. 읽으려면 FreeType 라이브러리가 필요합니다"
                "(Debian/Ubuntu: apt install libfreetype6). 또는 원본을 받아 넣으세요",
            ) from error
        try:
            document = json.loads(rhwp.Document.from_bytes(self.path.read_bytes()).to_ir_json())
        except ValueError as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        return _grouped(_rhwp_blocks(document))


def _grouped(blocks: Iterator[Block | list[str]]) -> Iterator[Block]:
    """Paragraphs (lists of lines) that follow each other as one block; others as they are."""
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, list):
            lines += block
            continue
        if lines:
            yield "\n".join(lines)
            lines = []
        yield block
    if lines:
        yield "\n".join(lines)


def _outline(text: str, level: int | None) -> Heading | None:
    """A heading, when an outline paragraph of a level (from 0) reads like one."""
    text = text.strip()
    if level is None or not 0 < len(text) <= _HEADING_CHARACTERS or _SENTENCE_END.search(text):
        return None
    return Heading(level + 1, text)


def _unhwp_blocks(content: list[dict[str, Any]]) -> Iterator[Block | list[str]]:
    for block in content:
        if "Table" in block:
            yield from _unhwp_table(block["Table"])
            continue
        text = _unhwp_text(block["Paragraph"])
        head = block["Paragraph"]["style"]["head"]
        outline = head["level"] if head and head["kind"] == "Outline" else None
        if heading := _outline(text, outline):
            yield heading
        elif text.strip():
            yield [text.rstrip()]


def _unhwp_text(paragraph: dict[str, Any]) -> str:
    parts = []
    for item in paragraph["content"]:
        if item == "LineBreak":
            parts.append("\n")
        elif "Text" in item:
            parts.append(item["Text"]["text"])
        elif "Link" in item:
            parts.append(item["Link"]["text"])
        elif "Equation" in item:
            parts.append(item["Equation"]["latex"] or item["Equation"]["script"])
        elif "Footnote" in item:
            parts.append(f" (각주: {item['Footnote'].strip()})")
    return "".join(parts)


def _unhwp_table(table: dict[str, Any]) -> Iterator[Block | list[str]]:
    rows = table["rows"]
    cells = [cell for row in rows for cell in row["cells"]]
    if len(cells) == 1 and cells[0].get("nested_tables"):
        # A box drawn around other things.
        yield [_unhwp_text(paragraph) for paragraph in cells[0]["content"]]
        for nested in cells[0]["nested_tables"]:
            yield from _unhwp_table(nested)
        return
    yield from _table_blocks(
        table_grid(
            [(_unhwp_cell(cell), cell["rowspan"], cell["colspan"]) for cell in row["cells"]]
            for row in rows
        )
    )


def _unhwp_cell(cell: dict[str, Any]) -> str:
    lines = [_unhwp_text(paragraph).strip() for paragraph in cell["content"]]
    for nested in cell.get("nested_tables", ()):
        for row in nested["rows"]:
            lines.append(" ".join(_unhwp_cell(inner) for inner in row["cells"]))
    return "\n".join(filter(None, lines))


def _table_blocks(grid: list[list[str]]) -> Iterator[Block | list[str]]:
    """A table, or the heading that a box of one row is in government documents."""
    filled = [[cell.strip() for cell in row if cell.strip()] for row in grid]
    filled = [row for row in filled if row]
    if filled and all(len(row) == 1 for row in filled[1:]) and (head := _banner(filled[0])):
        yield head
        yield from ([row[0]] for row in filled[1:])
    elif table := markdown_table(grid):
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


def _rhwp_blocks(document: dict[str, Any]) -> Iterator[Block | list[str]]:
    yield from (part for block in document["body"] for part in _rhwp_block(block))
    for kind, name in (("footnotes", "각주"), ("endnotes", "미주")):
        for note in document["furniture"][kind]:
            if lines := _rhwp_lines(note["blocks"]):
                yield [f"({name} {note['number']}: {' '.join(lines)})"]


def _rhwp_block(block: dict[str, Any]) -> Iterator[Block | list[str]]:
    if block["kind"] != "table":
        yield [line.rstrip() for line in _rhwp_lines([block])]
        return
    grid = [[""] * block["cols"] for _ in range(block["rows"])]
    for cell in block["cells"]:
        grid[cell["row"]][cell["col"]] = "\n".join(_rhwp_lines(cell["blocks"]))
    yield from _table_blocks(grid)


def _rhwp_lines(blocks: list[dict[str, Any]]) -> list[str]:
    lines = []
    for block in blocks:
        if block["kind"] == "table":
            lines += [line for cell in block["cells"] for line in _rhwp_lines(cell["blocks"])]
            continue
        text = block.get("text") or block.get("cached_value") or ""
        # The numbers of numbered items are placeholders, "1." for each.
        if block["kind"] == "list_item" and not block["enumerated"]:
            text = f"{block['marker']} {text}"
        lines.append(text)
    return [line for line in lines if line.strip()]
