"""Documents in, chunks out: slices of the text that end where sentences end.

Sentences come from `morphemes`. Knows Markdown headings, tables and lists, as the loaders write
them, and no file format.
"""

import copy
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from kogemma_rag.morphemes import sentence_spans

_Kind = Literal["heading", "table", "list", "text"]

_HEADING = re.compile(
    r"#{1,6}[ \t]|제\s?\d+\s?[편장절관](?![가-힣])|제\s?\d+\s?조(?:의\s?\d+)?\s?\([^)]*\)$"
)
_LIST_ITEM = re.compile(r"[-*+•·○●◦□■◇◆▶▷※ㅇ]\s|\d{1,3}[.)]\s|[가-하][.)]\s|[①-⑳]")
_CAPTION_CHARACTERS = 60
_SENTENCE_END = re.compile(r"[.!?…]$")
# Where a sentence too long for a chunk is cut, best first: after a clause, between words.
_CLAUSE_END = re.compile(r"[,;:·)」』”’]\s+|(?<=[고며나서면])\s+")
_WORD_END = re.compile(r"\s+")
_MOST_MARKS = 32


@dataclass(frozen=True)
class _Unit:
    """What is never cut: a sentence, a heading, a table row, or a piece of a sentence too long."""

    start: int
    end: int
    kind: _Kind
    block: int
    """Units of one table, list or paragraph share this number."""
    leads: bool
    """Belongs to what follows: a heading, or the caption of a table."""


class KoreanTextSplitter(TextSplitter):
    """Cuts text into chunks of whole sentences.

    Every chunk is a slice of the text: `page_content[start_index:start_index + len(chunk)]`. Chunks
    miss nothing but white space. A heading stays with the text under it; a table or list that fits
    into a chunk is kept whole. A sentence longer than a chunk is cut after a clause or a word.

    For sizes in tokens: `KoreanTextSplitter.from_huggingface_tokenizer(tokenizer, chunk_size=256)`.

    Args:
        chunk_size: The most characters of a chunk, or what else `length_function` counts.
        chunk_overlap: The most that a chunk repeats of the one before, in whole sentences; nothing
            is repeated at headings and within tables.
        length_function: The length of a text. A longer text is never shorter by it.
        sentence_spans: Where the sentences of a text stand, such as
            `kogemma_rag.morphemes.kiwi_sentence_spans`.

    Raises:
        ValueError: If chunk_size is not positive, or chunk_overlap negative or larger than it.
    """

    def __init__(
        self,
        *,
        chunk_size: int = 500,
        chunk_overlap: int = 80,
        length_function: Callable[[str], int] = len,
        sentence_spans: Callable[[str], list[tuple[int, int]]] = sentence_spans,
    ) -> None:
        super().__init__(
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            length_function=length_function,
            add_start_index=True,
        )
        self._sentence_spans = sentence_spans

    def split_text(self, text: str) -> list[str]:
        """Chunks of a text, in order."""
        return [text[start:end] for start, end in self.split_spans(text)]

    def create_documents(
        self, texts: list[str], metadatas: list[dict[Any, Any]] | None = None
    ) -> list[Document]:
        """Chunks of texts, each with its text's metadata and its start_index."""
        return [
            Document(
                page_content=text[start:end],
                metadata={**copy.deepcopy(metadata), "start_index": start},
            )
            for text, metadata in zip(texts, metadatas or [{}] * len(texts), strict=True)
            for start, end in self.split_spans(text)
        ]

    def split_spans(self, text: str) -> list[tuple[int, int]]:
        """Where each chunk stands in the text, as [start, end) offsets."""
        measure = _Measure(text, self._length_function)
        spans = self._sentence_spans(text)
        units = _units(measure, spans, self._chunk_size)
        return _Filling(measure, units, self._chunk_size, self._chunk_overlap).spans()


class _Measure:
    """Lengths of slices of a text."""

    def __init__(self, text: str, length: Callable[[str], int]) -> None:
        self.text = text
        self._length = length
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, start: int, end: int) -> int:
        if self._length is len:
            return end - start
        if (start, end) not in self._known:
            self._known[start, end] = self._length(self.text[start:end])
        return self._known[start, end]

    def furthest(self, start: int, end: int, limit: int) -> int:
        """The last place up to which a slice fits the limit; one character at least."""
        if self._length is len:
            return min(end, start + limit)
        places = range(start + 1, end + 1)
        fitting = bisect_right(places, limit, key=lambda place: self(start, place))
        return start + max(fitting, 1)


@dataclass(frozen=True)
class _Filling:
    """Fills chunks with units, one after another."""

    measure: _Measure
    units: list[_Unit]
    size: int
    overlap: int

    def spans(self) -> list[tuple[int, int]]:
        """Where the chunks stand in the text."""
        units = self.units
        spans = []
        begin = new = 0
        while new < len(units):
            end = self._fill(begin, new)
            spans.append((units[begin].start, units[end - 1].end))
            begin, new = self._repeated(begin, end), end
        return spans

    def _fill(self, begin: int, new: int) -> int:
        """The unit before which a chunk ends that begins with one unit and adds from another."""
        units = self.units
        end = new + 1
        only_leads = units[new].leads
        while end < len(units) and self._fits(begin, end + 1):
            if not only_leads:
                if units[end].leads and 2 * self._length(begin, end) >= self.size:
                    break
                if self._would_cut(begin, end):
                    break
            only_leads = only_leads and units[end].leads
            end += 1
        if end < len(units):
            while end > new + 1 and units[end - 1].leads:
                end -= 1
        return end

    def _would_cut(self, begin: int, end: int) -> bool:
        """Whether a table or list begins at a unit that fits into the next chunk but not here."""
        unit = self.units[end]
        if unit.kind not in ("table", "list") or self.units[end - 1].block == unit.block:
            return False
        after = end + 1
        while after < len(self.units) and self.units[after].block == unit.block:
            after += 1
        return self._fits(end, after) and not self._fits(begin, after)

    def _repeated(self, begin: int, end: int) -> int:
        """The unit with which the chunk after `end` begins."""
        units = self.units
        if end == len(units) or units[end].leads or units[end].kind == "table":
            return end
        first = end
        while (
            first - 1 > begin
            and units[first - 1].kind in ("text", "list")
            and not units[first - 1].leads
            and self._length(first - 1, end) <= self.overlap
            and self._fits(first - 1, end + 1)
        ):
            first -= 1
        return first

    def _fits(self, begin: int, end: int) -> bool:
        return self._length(begin, end) <= self.size

    def _length(self, begin: int, end: int) -> int:
        return self.measure(self.units[begin].start, self.units[end - 1].end)


def _units(measure: _Measure, spans: list[tuple[int, int]], chunk_size: int) -> list[_Unit]:
    text = measure.text
    kinds = list(_kinds(text, spans))
    units: list[_Unit] = []
    block = 0
    led_from: int | None = None  # where the headings above this unit begin
    for number, ((start, end), kind) in enumerate(zip(spans, kinds, strict=True)):
        gap = text[spans[number - 1][1] : start] if number else ""
        if number and (kind != kinds[number - 1] or gap.count("\n") > 1):
            block += 1
        before_table = number + 1 < len(kinds) and kinds[number + 1] == "table"
        leads = kind == "heading" or (
            before_table and kind != "table" and _is_caption(text, start, end)
        )
        # Room for the headings in the same chunk, unless they are absurdly long.
        room = chunk_size if led_from is None else chunk_size - measure(led_from, start)
        limit = room if 2 * room >= chunk_size else chunk_size
        units += [
            _Unit(piece_start, piece_end, kind, block, leads)
            for piece_start, piece_end in _pieces(measure, start, end, limit, chunk_size)
        ]
        led_from = (start if led_from is None else led_from) if leads else None
    return units


def _kinds(text: str, spans: list[tuple[int, int]]) -> Iterator[_Kind]:
    """What each span is. A line is looked at once, however many sentences it holds."""
    line_start = line_end = before = 0
    is_heading = False
    for start, end in spans:
        new_line = text.rfind("\n", before, start) + 1 or line_start
        before = start
        if new_line > line_start or end > line_end:
            line_start = new_line
            found = text.find("\n", end)
            line_end = found if found >= 0 else len(text)
            is_heading = _is_heading(text[line_start:line_end].strip())
        if text.startswith("|", start):
            yield "table"
        elif is_heading:
            yield "heading"
        else:
            yield "list" if _LIST_ITEM.match(text, start) else "text"


def _is_heading(line: str) -> bool:
    return _HEADING.match(line) is not None and (
        line.startswith("#") or not _SENTENCE_END.search(line)
    )


def _is_caption(text: str, start: int, end: int) -> bool:
    return end - start <= _CAPTION_CHARACTERS and not _SENTENCE_END.search(text[start:end])


def _pieces(
    measure: _Measure, start: int, end: int, first_limit: int, limit: int
) -> Iterator[tuple[int, int]]:
    """A span in pieces that fit a limit, the first of them another."""
    text = measure.text
    while measure(start, end) > first_limit:
        cut = _cut(text, start, measure.furthest(start, end, first_limit))
        yield start, start + len(text[start:cut].rstrip())
        start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
        first_limit = limit
    if start < end:
        yield start, end


def _cut(text: str, start: int, most: int) -> int:
    """The best place for a cut after `start` and not after `most`."""
    half = (start + most) // 2
    for pattern in (_CLAUSE_END, _WORD_END):
        # White space right behind the piece counts too.
        ends = [match.end() for match in pattern.finditer(text, half, most + 1)]
        fitting = [cut for cut in ends if len(text[start:cut].rstrip()) <= most - start]
        if fitting:
            return fitting[-1]
    # No letter has so many marks; a run of nothing else is cut anywhere.
    near = range(most, max(start, most - _MOST_MARKS), -1)
    return next((cut for cut in near if cut == len(text) or not _joins(text[cut])), most)


def _joins(character: str) -> bool:
    """Whether a character belongs to the one before: marks, vowels and finals of syllables."""
    return bool(
        unicodedata.combining(character)
        or "\u1160" <= character <= "\u11ff"
        or character in "\u200d\ufe0e\ufe0f"
    )
