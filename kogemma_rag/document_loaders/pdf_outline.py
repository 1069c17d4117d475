"""A PDF's bookmarks in, headings in their places among a page's lines out.

Bookmarks are what anyone wrote: they may lead nowhere, name no line and never end.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.pdf_lines import Line, Piece
from kogemma_rag.document_loaders.sections import Block, Heading

if TYPE_CHECKING:
    from pypdfium2 import PdfBookmark, PdfDocument

_MAX_ENTRIES = 20_000
_MAX_DEPTH = 10
_MAX_TITLE = 300
# A heading may be broken into so many lines.
_MAX_LINES = 3
# A title of less is not looked for at the start of a longer line.
_MIN_PREFIX = 4
_NUMBER = re.compile(
    r"^(?:제\d+[편장절관조항]|\d+(?:[.\-]\d+)*[.)]?|[가-하][.)]|[IVXⅠ-Ⅻ]+[.)]?|\(\d+\))"
)


@dataclass(frozen=True)
class Bookmark:
    """An entry of the outline.

    Attributes:
        level: 1 is the highest.
        page: From 0.
    """

    title: str
    level: int
    page: int


def bookmarks(document: "PdfDocument") -> list[Bookmark]:
    """The outline in its order, without entries that lead to no page."""
    found = []
    for entry in islice(document.get_toc(max_depth=_MAX_DEPTH), _MAX_ENTRIES):
        if bookmark := _bookmark(entry):
            found.append(bookmark)
    return found


def _bookmark(entry: "PdfBookmark") -> Bookmark | None:
    import pypdfium2

    title = unicodedata.normalize("NFC", " ".join(entry.get_title().split()))[:_MAX_TITLE]
    try:
        target = entry.get_dest()
        page = target.get_index() if target else None
    except pypdfium2.PdfiumError:
        return None
    return Bookmark(title, entry.level + 1, page) if title and page is not None else None


def path_after(path: Sequence[Heading], heading: Heading) -> list[Heading]:
    """The headings in force after one more."""
    return [*(above for above in path if above.level < heading.level), heading]


def page_sections(
    blocks: Iterable[Block], path: Sequence[Heading]
) -> Iterator[tuple[str, Sequence[Heading]]]:
    """Text of each section of a page with its path.

    A heading with no text of its own stands on top of the next section.

    Args:
        blocks: Headings, paragraphs and tables of the page.
        path: The headings in force at its top.
    """
    parts: list[Block] = []
    has_body = False
    for block in blocks:
        if isinstance(block, Heading):
            if has_body:
                yield _text(parts), path
                parts, has_body = [], False
            path = path_after(path, block)
        else:
            has_body = True
        parts.append(block)
    if parts:
        yield _text(parts), path


def _text(blocks: Iterable[Block]) -> str:
    """Paragraphs as lines; blank lines around headings and tables."""
    text, tight = "", False
    for block in blocks:
        part = block if isinstance(block, str) else block.line
        is_paragraph = isinstance(block, str) and "\n" not in block
        between = "\n" if tight and is_paragraph else "\n\n"
        text = f"{text}{between}{part}" if text else part
        tight = is_paragraph
    return text


@dataclass(frozen=True)
class Marked:
    """A page with its headings.

    Attributes:
        runs: As of `reading_order`, lines that are an entry's title as headings.
        above: The path of the entries that lead to the page's top but are no line of it.
        pending: Entries after the last that was found; their line may be on the next page.
    """

    runs: list[list[Piece | Heading]]
    above: list[Heading]
    pending: list[Bookmark]


def with_headings(
    runs: Sequence[Sequence[Piece]], entries: Sequence[Bookmark], pending: Sequence[Bookmark] = ()
) -> Marked:
    """Find the lines that are titles of the outline.

    Args:
        runs: A page's, as of `reading_order`.
        entries: Those that lead to the page, in their order.
        pending: Those that were left over from the page before.
    """
    page = Marked([list(run) for run in runs], [], [])
    start = (0, 0)
    for entry in (*pending, *entries):
        title = _folded(entry.title)
        place = _place(page.runs, title, start) or _place(page.runs, title, (0, 0))
        if place is None:
            if entry not in pending:
                page.pending.append(entry)
                if start == (0, 0) and (not page.above or page.above[-1].level < entry.level):
                    page.above.append(Heading(entry.level, entry.title))
            continue
        run, first, found = place
        text = entry.title if _folded(found.text) == title else found.text
        page.runs[run][first : first + found.lines] = [Heading(entry.level, text), *found.rest]
        page.pending.clear()
        start = (run, first + 1)
    return page


@dataclass(frozen=True)
class _Found:
    """A title in the text: its words there, in how many lines, and what else the line says."""

    text: str
    lines: int
    rest: tuple[Line, ...] = ()


def _place(
    runs: Sequence[Sequence[Piece | Heading]], title: str, start: tuple[int, int]
) -> tuple[int, int, _Found] | None:
    for run in range(start[0], len(runs)):
        for first in range(start[1] if run == start[0] else 0, len(runs[run])):
            if found := _title_at(runs[run][first : first + _MAX_LINES], title):
                return run, first, found
    return None


def _title_at(pieces: Sequence[Piece | Heading], title: str) -> _Found | None:
    text = ""
    for number, line in enumerate(pieces, start=1):
        if not isinstance(line, Line):
            return None
        text = f"{text} {line.text}".strip()
        folded = _folded(text)
        unnumbered = _NUMBER.sub("", folded, count=1)
        if title in (folded, unnumbered):
            return _Found(text, number)
        if number == 1 and folded.startswith(title) and len(title) >= _MIN_PREFIX:
            return _title_and_rest(line, title)
        if not title.startswith(folded) and not (unnumbered and title.startswith(unnumbered)):
            return None
    return None


def _title_and_rest(line: Line, title: str) -> _Found | None:
    """A title that the text follows on its line, as in "제1조(목적) 이 규정은 …"."""
    for match in re.finditer(r"\s+", line.text):
        if _folded(line.text[: match.start()]) == title:
            rest = replace(line, text=line.text[match.end() :], parts=())
            return _Found(line.text[: match.start()], 1, (rest,))
    return None


def _folded(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())
