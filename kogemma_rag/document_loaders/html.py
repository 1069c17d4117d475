"""HTML in, sections of the main text out. Nothing is fetched, run or followed."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    markdown_table,
    sections,
    table_grid,
)
from kogemma_rag.document_loaders.text import read_text

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

# Not the text of the page; "nav", "aside" and "footer" are what surrounds it.
_LEFT_OUT = re.compile(
    "^(script|style|noscript|template|svg|iframe|object|canvas|head|nav|aside|footer|button|select)$"
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BLOCKS = re.compile(
    "^(address|article|blockquote|body|caption|center|dd|details|div|dl|dt|fieldset|figcaption"
    "|figure|form|h[1-6]|header|hr|html|li|main|ol|p|pre|section|summary|table|ul)$"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"[ \t\n\r\f\xa0]+")


class HTMLLoader(FileLoader):
    """HTML: a document for each section of <main> (or <article>, or <body>)."""

    media_types: ClassVar[dict[str, str]] = {".html": "text/html", ".htm": "text/html"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from bs4 import BeautifulSoup

        soup = BeautifulSoup(read_text(self.path), "lxml")
        title = soup.title.get_text(" ", strip=True) if soup.title else None
        main = _main_part(soup)
        try:
            blocks = list(_merged(_blocks(main)))
        except RecursionError as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        for text, metadata in sections(blocks):
            yield text, {**metadata, "title": title or metadata["title"]}


def _main_part(soup: "BeautifulSoup") -> "Tag":
    main = soup.find("main")
    articles = soup.find_all("article")
    if main is None and len(articles) == 1:
        main = articles[0]
    part = main or soup.body or soup
    for tag in part.find_all(_LEFT_OUT):
        tag.decompose()
    for tag in part.find_all(_is_hidden):
        tag.decompose()
    return part


def _is_hidden(tag: "Tag") -> bool:
    return (
        tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or _HIDDEN.search(str(tag.get("style", ""))) is not None
    )


def _blocks(tag: "Tag", prefix: str = "") -> Iterator[Block]:
    """Headings, paragraphs, list items ("- …") and tables of a tag, in order."""
    from bs4.element import Comment, NavigableString, Tag

    inline: list[str] = []
    for child in tag.children:
        if isinstance(child, Comment):
            continue
        if isinstance(child, NavigableString):
            inline.append(_SPACE.sub(" ", child))
        elif isinstance(child, Tag) and not _holds_blocks(child):
            inline.append("\n" if child.name == "br" else _inline_text(child))
        elif isinstance(child, Tag):
            yield from _paragraph(inline, prefix)
            inline = []
            yield from _block(child, prefix)
    yield from _paragraph(inline, prefix)


def _block(tag: "Tag", prefix: str) -> Iterator[Block]:
    if tag.name in _HEADINGS and (text := _inline_text(tag).strip()):
        yield Heading(_HEADINGS[tag.name], text)
    elif tag.name == "table" and tag.find(["table", *_HEADINGS]) is None:
        if table := markdown_table(_rows(tag)):
            caption = tag.find("caption")
            yield f"{_inline_text(caption).strip()}\n\n{table}".strip() if caption else table
    elif tag.name == "pre":
        yield tag.get_text().strip("\n")
    elif tag.name == "li":
        yield from _blocks(tag, prefix + ("  " if prefix else "- "))
    else:
        yield from _blocks(tag, prefix)


def _holds_blocks(tag: "Tag") -> bool:
    return bool(_BLOCKS.match(tag.name)) or tag.find(_BLOCKS) is not None


def _inline_text(tag: "Tag") -> str:
    for line_break in tag.find_all("br"):
        line_break.replace_with("\n")
    return re.sub(r"[ \t\r\f\xa0]+", " ", tag.get_text())


def _paragraph(inline: list[str], prefix: str) -> Iterator[str]:
    lines = (line.strip() for line in "".join(inline).split("\n"))
    if text := "\n".join(line for line in lines if line):
        yield prefix + text


def _rows(table: "Tag") -> list[list[str]]:
    return table_grid(
        [
            (_inline_text(cell).strip(), _span(cell, "rowspan"), _span(cell, "colspan"))
            for cell in row.find_all(["td", "th"])
        ]
        for row in table.find_all("tr")
    )


def _span(cell: "Tag", name: str) -> int:
    value = str(cell.get(name, "1")).strip()
    return int(value) if value.isdecimal() and len(value) < 6 else 1


def _merged(blocks: Iterator[Block]) -> Iterator[Block]:
    """List items that follow each other, as one block of lines."""
    items: list[str] = []
    for block in blocks:
        if isinstance(block, str) and block.lstrip().startswith("- "):
            items.append(block)
            continue
        if items:
            yield "\n".join(items)
            items = []
        yield block
    if items:
        yield "\n".join(items)
