"""HTML in, sections of the main text out. Nothing is fetched, run or followed."""

import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.number_labels import number_label
from kogemma_rag.document_loaders.sections import (
    MAX_COLUMN_SPAN,
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
    "^(script|style|noscript|template|svg|iframe|object|canvas|head|nav|aside|footer|button|select"
    "|datalist|textarea|audio|video|annotation|rt|rp)$"
)
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?:opacity|font-size)\s*:\s*0(?![.\d]*[1-9])",
    re.IGNORECASE,
)
_BLOCKS = re.compile(
    "^(address|article|blockquote|body|caption|center|dd|details|div|dl|dt|fieldset|figcaption"
    "|figure|form|h[1-6]|header|hr|html|li|main|ol|p|pre|section|summary|table|ul)$"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"[ \t\n\r\f\xa0]+")
# The "type" of <ol> -> format of its numbers.
_NUMBER_FORMATS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
# Names of <meta>, the surest first.
_METADATA = {
    "author": ("author", "article:author", "dc.creator", "dcterms.creator"),
    "created": (
        *("article:published_time", "datepublished", "dcterms.created", "dc.date.issued"),
        *("dc.date", "pubdate", "date"),
    ),
    "modified": (
        *("article:modified_time", "og:updated_time", "datemodified", "dcterms.modified"),
        *("last-modified", "lastmod"),
    ),
}


class HTMLLoader(FileLoader):
    """HTML: a document for each section of <main> (or <article>, or <body>)."""

    media_types: ClassVar[dict[str, str]] = {".html": "text/html", ".htm": "text/html"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from bs4 import BeautifulSoup

        soup = BeautifulSoup(read_text(self.path), "lxml")
        properties = _properties(soup)
        try:
            blocks = _page_blocks(soup)
        except RecursionError as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        for text, metadata in sections(blocks):
            yield text, {**metadata, **properties}


def html_blocks(html: str) -> list[Block]:
    """Headings, paragraphs, lists and tables of a page's main text."""
    from bs4 import BeautifulSoup

    return _page_blocks(BeautifulSoup(html, "lxml"))


def _page_blocks(soup: "BeautifulSoup") -> list[Block]:
    return list(_merged(_blocks(_main_part(soup))))


def _properties(soup: "BeautifulSoup") -> dict[str, str]:
    """What the head of a page says of title, author, created and modified."""
    named: dict[str, str] = {}
    for meta in soup.find_all("meta"):
        content = " ".join(str(meta.get("content", "")).split())
        for attribute in ("name", "property", "itemprop", "http-equiv"):
            if content and meta.has_attr(attribute):
                named.setdefault(str(meta[attribute]).casefold(), content)
    found: dict[str, str] = {}
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    if title := title or named.get("og:title", ""):
        found["title"] = title
    for key, names in _METADATA.items():
        values = (named[name] for name in names if name in named)
        if key == "author":
            # "article:author" may be the address of a profile.
            usable = (value for value in values if "://" not in value)
        else:
            usable = (date for value in values if (date := iso_date(value)))
        if value := next(usable, ""):
            found[key] = value
    return found


def _main_part(soup: "BeautifulSoup") -> "Tag":
    """The part of a page that is its text, without what is not to be seen in it."""
    for tag in soup.find_all(_LEFT_OUT):
        tag.decompose()
    for tag in soup.find_all(_is_hidden):
        tag.decompose()
    body = soup.body or soup
    articles = soup.find_all("article")
    main = soup.find("main") or soup.find(role="main")
    if main is None and len(articles) == 1:
        main = articles[0]
    return main if main is not None and main.get_text(strip=True) else body


def _is_hidden(tag: "Tag") -> bool:
    return (
        tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or (tag.name == "dialog" and not tag.has_attr("open"))
        or _HIDDEN.search(str(tag.get("style", ""))) is not None
    )


class _ListLine(str):
    """A line of a list; those that follow each other are one block."""

    __slots__ = ()


class _Verbatim(str):
    """A table or code, which is not indented with its list."""

    __slots__ = ()


def _blocks(tag: "Tag") -> Iterator[Block]:
    """Headings, paragraphs, lines of lists and tables of a tag, in order."""
    from bs4.element import NavigableString, PreformattedString, Tag

    inline: list[str] = []
    for child in tag.children:
        if isinstance(child, PreformattedString):  # comments, declarations
            continue
        if isinstance(child, NavigableString):
            inline.append(_SPACE.sub(" ", child))
        elif isinstance(child, Tag) and not _holds_blocks(child):
            inline.append("\n" if child.name == "br" else _inline_text(child))
        elif isinstance(child, Tag):
            yield from _paragraph(inline)
            inline = []
            yield from _block(child)
    yield from _paragraph(inline)


def _block(tag: "Tag") -> Iterator[Block]:
    if tag.name in _HEADINGS and (text := _inline_text(tag).strip()):
        yield Heading(_HEADINGS[tag.name], text)
    elif tag.name == "table" and tag.find(["table", *_HEADINGS]) is None:
        if table := _table(tag):
            yield _Verbatim(table)
    elif tag.name == "pre":
        yield _Verbatim(tag.get_text().strip("\n"))
    elif tag.name in ("ul", "ol"):
        yield from _merged(_list(tag))
    elif tag.name == "dl":
        yield from _merged(_blocks(tag))
    elif tag.name == "dt":
        yield from map(_ListLine, _paragraph([_inline_text(tag)]))
    elif tag.name in ("dd", "li"):
        yield from _item(tag, ": " if tag.name == "dd" else "- ")
    else:
        yield from _blocks(tag)


def _list(tag: "Tag") -> Iterator[Block]:
    """Items with bullets or their numbers, nested ones indented."""
    items = tag.find_all("li", recursive=False)
    step = -1 if tag.has_attr("reversed") else 1
    number = _integer(tag, "start", len(items) if step < 0 else 1)
    number_format = _NUMBER_FORMATS.get(str(tag.get("type", "")), "decimal")
    for child in tag.find_all(True, recursive=False):
        if child.name != "li":
            yield from _block(child)
            continue
        number = _integer(child, "value", number)
        label = f"{number_label(number, number_format)}. " if tag.name == "ol" else "- "
        yield from _item(child, label)
        number += step


def _item(tag: "Tag", label: str) -> Iterator[Block]:
    blocks = list(_blocks(tag))
    if any(isinstance(block, Heading) for block in blocks):  # the layout of a page
        yield from blocks
        return
    for block in blocks:
        if isinstance(block, _Verbatim | Heading):
            yield block
        else:
            yield _ListLine(label + block.replace("\n", "\n  "))
            label = "  "


def _holds_blocks(tag: "Tag") -> bool:
    return bool(_BLOCKS.match(tag.name)) or tag.find(_BLOCKS) is not None


def _inline_text(tag: "Tag") -> str:
    for line_break in tag.find_all("br"):
        line_break.replace_with("\n")
    return re.sub(r"[ \t\r\f\xa0]+", " ", tag.get_text())


def _paragraph(inline: Iterable[str]) -> Iterator[str]:
    lines = (line.strip() for line in "".join(inline).split("\n"))
    if text := "\n".join(line for line in lines if line):
        yield text


def _table(table: "Tag") -> str:
    caption = table.find("caption")
    title = _inline_text(caption).strip() if caption else ""
    rows = table.find_all("tr")
    cells = [[_cell(cell) for cell in row.find_all(["td", "th"])] for row in rows]
    grid = table_grid(cells)
    headers = _header_rows(table, rows)
    if headers > 1:
        grid = [_joined_header(cells[:headers]), *grid[headers:]]
    # The splitter of tables repeats what stands above the header.
    return markdown_table([[title], *grid] if title else grid)


def _cell(cell: "Tag") -> tuple[str, int, int]:
    texts = (block.text if isinstance(block, Heading) else block for block in _blocks(cell))
    return "\n".join(texts), _integer(cell, "rowspan", 1), _integer(cell, "colspan", 1)


def _header_rows(table: "Tag", rows: Iterable["Tag"]) -> int:
    """How many rows at the top say what the columns are."""
    if table.thead is not None:
        return len(table.thead.find_all("tr"))
    count = 0
    for row in rows:
        if row.find("td") is not None or row.find("th", scope="row") is not None:
            break
        count += 1
    return count


def _joined_header(rows: Iterable[Iterable[tuple[str, int, int]]]) -> list[str]:
    """One header for several rows of them: "금액 수입" for "수입" under a wide "금액"."""
    single = [
        [(text, height, 1) for text, height, width in row for _ in range(_columns(width))]
        for row in rows
    ]
    columns = zip_longest(*table_grid(single), fillvalue="")
    return [" ".join(dict.fromkeys(filter(None, column))) for column in columns]


def _columns(width: int) -> int:
    return min(max(1, width), MAX_COLUMN_SPAN)


def _integer(tag: "Tag", name: str, default: int) -> int:
    value = str(tag.get(name, "")).strip()
    return int(value) if value.isdecimal() and len(value) < 6 else default


def _merged(blocks: Iterable[Block]) -> Iterator[Block]:
    """Lines of lists that follow each other, as one block."""
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, _ListLine):
            lines.append(block)
            continue
        if lines:
            yield "\n".join(lines)
            lines = []
        yield block
    if lines:
        yield "\n".join(lines)
