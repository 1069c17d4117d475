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


class Outline:
    """The bookmarks of a file on the way through its pages.

    Args:
        entries: In their order.
    """

    def __init__(self, entries: Sequence[Bookmark]) -> None:
        self._entries: dict[int, list[Bookmark]] = {}
        for entry in entries:
            self._entries.setdefault(entry.page, []).append(entry)
        self.title = entries[0].title if entries else None
        self._path: list[Heading] = []
        # Entries after the last that was found; their line may be on the next page.
        self._pending: list[Bookmark] = []

    @classmethod
    def of(cls, document: "PdfDocument") -> "Outline":
        """The outline of a file, without entries that lead to no page."""
        entries = islice(document.get_toc(max_depth=_MAX_DEPTH), _MAX_ENTRIES)
        return cls([bookmark for entry in entries if (bookmark := _bookmark(entry))])

    def enter(
        self, number: int, runs: Sequence[Sequence[Piece]]
    ) -> tuple[list[list[Piece | Heading]], list[Heading]]:
        """Find a page's headings.

        Args:
            number: Of the page, from 0.
            runs: As of `reading_order`.

        Returns:
            The runs, lines that are an entry's title as headings, and the path in force at the
            page's top: the first entries that lead there belong to it when no line says them.
        """
        marked: list[list[Piece | Heading]] = [list(run) for run in runs]
        own = self._entries.get(number, [])
        above: list[Heading] = []
        pending: list[Bookmark] = []
        start = (0, 0)
        for entry in (*self._pending, *own):
            title = _folded(entry.title)
            if place := _place(marked, title, start) or _place(marked, title, (0, 0)):
                run, first, found = place
                text = entry.title if _folded(found.text) == title else found.text
                marked[run][first : first + found.lines] = [
                    Heading(entry.level, text),
                    *found.rest,
                ]
                start, pending = (run, first + 1), []
            elif entry not in self._pending:
                pending.append(entry)
                if start == (0, 0) and (not above or above[-1].level < entry.level):
                    above.append(Heading(entry.level, entry.title))
        self._pending = pending
        path = self._path
        for heading in above:
            path = path_after(path, heading)
        return marked, path

    def leave(self, number: int) -> None:
        """Go on behind a page."""
        for entry in self._entries.get(number, []):
            self._path = path_after(self._path, Heading(entry.level, entry.title))


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
