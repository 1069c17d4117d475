"""Lines in reading order in, paragraphs out: which line goes on in the next, and how they join.

Korean lines are broken between words or inside them, as the program that wrote the PDF was set,
and a PDF does not say which. Knows no pages.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from statistics import median
from typing import Any, Literal

from kogemma_rag.document_loaders.pdf_lines import LINE_END_HYPHEN, Line, Piece, Table
from kogemma_rag.document_loaders.sections import Block, Heading, table_parts

Breaks = Literal["words", "characters", "marked"]
"""Where lines are broken: between words, anywhere, or anywhere with white space at words' ends."""

# Lines of running text are longer, in heights of their letters.
_MIN_LINE = 18
# What a line may lack to its column's right edge beside the next word, in heights of its letters.
_SLACK = 0.5
# Distance of the lines of a paragraph: in heights of letters, and against the column's usual one.
_MAX_LEADING, _MORE_LEADING = 2.4, 1.3
# Points within which lines end at one edge, and the share of lines that has to.
_SAME_EDGE, _JUSTIFIED = 4.0, 0.3
# A first line may stand so far in; what stands further in is of another block.
_MAX_OUTDENT = 4
_INDENT = 0.7
_SAME_SIZE = 0.2
# Words at each side of a line end that the analyzer is shown, and letters of the broken word.
_CONTEXT_WORDS, _CONTEXT_LETTERS = 2, 12
# Line ends that are looked at to tell how a file breaks its lines.
_SAMPLE = 200
# Shares of them: ends at words of a file that breaks between words (about 0.3 where it breaks
# anywhere); ends with white space that make it a mark of words.
_AT_WORDS, _MARKED = 0.8, 0.1

_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"})
_CAPTION = re.compile(
    r"[\[<(〈《【]?\s*(?:표|Table|TABLE)\s*[\dⅠ-Ⅻ]+(?:[-.]\d+)*\s*[\]>)〉》】.:]?"
)
_NEW_ITEM = re.compile(
    r"[|#>\-–•·○●◦□■◇◆▶▷▪※❍ㅇ*]\s?|\d{1,3}(?:\.\d{1,3})*[.)]\s|[가-하][.)]\s|[①-⑳㉮-㉻]"
    r"|제\s?\d+\s?[편장절관조항]|\[\d+\]|\([\d가-하]\)|[Ⅰ-Ⅻ]\.|[\[<〈《【]\s?(?:표|그림)\s?[\d.-]+[\]>〉》】]\s"
)
_REFERENCE = re.compile(r"제\s?\d|[\[<〈《【(]")
_LATIN_WORD = re.compile(r"[A-Za-z0-9.,'’()-]+")
_LATIN_HYPHEN = re.compile(r"[^\W\d_가-힣][-‐]$")
_OPENERS = "([{<“‘「『〈《【"
_CLOSERS = ".,;:!?)]}>”’」』〉》】%"
# Parts of speech that are written to the word before them: particles, endings, suffixes, "이다".
_BOUND_TAGS = ("J", "E", "XS", "VCP")
# The analyzer ends at a NUL and takes no lone surrogates.
_UNREADABLE = re.compile(r"[\x00-\x1f\ud800-\udfff]")
_SENTENCE_END = re.compile(r"[.!?。][\"'”’)\]」』》〉]*$")
_HANGUL = re.compile("[가-힣]")
_SOFT_HYPHEN = "\xad"


@dataclass(frozen=True)
class _Column:
    """The edges of a run of lines and the usual distance of its lines."""

    left: float
    right: float
    leading: float

    @classmethod
    def of(cls, run: Iterable[Piece | Heading]) -> "_Column | None":
        lines = [piece for piece in run if isinstance(piece, Line)]
        if not lines:
            return None
        steps = [b.box.middle - a.box.middle for a, b in pairwise(lines)]
        downward = [step for step, line in zip(steps, lines, strict=False) if step > line.em / 2]
        return cls(
            min(line.box.left for line in lines),
            _right_edge(lines),
            median(downward) if downward else 0.0,
        )


def _right_edge(lines: Sequence[Line]) -> float:
    """Where most long lines end; where they end anywhere, the end of the longest."""
    longest = max(line.box.right for line in lines)
    ends = [line.box.right for line in lines]
    common, count = Counter(round(end / _SAME_EDGE) for end in ends).most_common(1)[0]
    return common * _SAME_EDGE if count >= _JUSTIFIED * len(lines) else longest


def plain_letters(text: str) -> str:
    """Text without typographic ligatures, soft hyphens and PDFium's marks."""
    return text.translate(_LIGATURES).replace(LINE_END_HYPHEN, "-").replace(_SOFT_HYPHEN, "")


def line_breaks(runs: Sequence[Sequence[Piece]]) -> Breaks:
    """How a file breaks its lines, told from those that go on in the next.

    Args:
        runs: As of `reading_order`.
    """
    ends = list(islice(_line_ends(runs), _SAMPLE)) or list(islice(_cell_ends(runs), _SAMPLE))
    if not ends:
        return "words"
    unmarked = [not _in_word(before, after) for before, after, spaced in ends if not spaced]
    marked = len(ends) - len(unmarked)
    # White space is no mark where words end without it all the same.
    if (
        unmarked
        and marked >= _MARKED * len(ends)
        and sum(unmarked) <= max(1, _AT_WORDS * len(unmarked))
    ):
        return "marked"
    return "words" if sum(unmarked) + marked >= _AT_WORDS * len(ends) else "characters"


def paragraphs(runs: Sequence[Sequence[Piece | Heading]], breaks: Breaks) -> list[Block]:
    """Headings, paragraphs and tables (as Markdown) in order."""
    blocks: list[Block] = []
    before: Line | None = None
    over: _Column | None = None
    for run in runs:
        column = _Column.of(run)
        for number, piece in enumerate(run):
            if isinstance(piece, Line) and column:
                if before and over and blocks and _goes_on(before, piece, over, column, breaks):
                    blocks[-1] = _join(str(blocks[-1]), before.spaced, piece.text, breaks)
                else:
                    blocks.append(piece.text)
                before, over = piece, column
            elif isinstance(piece, Table):
                above = run[number - 1] if number else None
                caption = ""
                if isinstance(above, Line) and _CAPTION.match(str(blocks[-1])):
                    caption = str(blocks.pop())
                blocks.append(_markdown(piece, caption, breaks))
                before = None
            elif isinstance(piece, Heading):
                blocks.append(piece)
                before = None
    return [plain_letters(block) if isinstance(block, str) else block for block in blocks]


def _goes_on(
    line: Line, after: Line, column: _Column, next_column: _Column, breaks: Breaks
) -> bool:
    """Whether a line's paragraph goes on in the next line."""
    if _LATIN_HYPHEN.search(_visible_hyphen(line.text)) and after.text[:1].islower():
        return True
    em = line.em
    if abs(em - after.em) > _SAME_SIZE * max(em, after.em) or (line.parts and after.parts):
        return False
    if column.right - column.left < _MIN_LINE * em or _is_item(line, after, breaks):
        return False
    if column is next_column:
        step = after.box.middle - line.box.middle
        if not 0 < step <= min(_MAX_LEADING * em, _MORE_LEADING * column.leading):
            return False
        indent = after.box.left - max(column.left, line.box.left)
        hanging = _NEW_ITEM.match(line.text) is not None
    else:
        # At the top of the next column, the rest of a sentence.
        if _SENTENCE_END.search(line.text) or after.box.top > line.box.top:
            return False
        indent, hanging = after.box.left - next_column.left, False
    outdent = line.box.left - after.box.left if column is next_column else 0.0
    if (indent > _INDENT * em and not hanging) or outdent > _MAX_OUTDENT * em:
        return False
    word = after.text.split(maxsplit=1)[0] if breaks == "words" else _latin_word(after.text)
    wanted = max(em, after.box.width * len(word) / len(after.text))
    return column.right - line.box.right < wanted + _SLACK * em


def _latin_word(text: str) -> str:
    match = _LATIN_WORD.match(text)
    return match.group() if match else ""


def _is_item(line: Line, after: Line, breaks: Breaks) -> bool:
    """Whether a line starts with the mark of an item, and not with the rest of a sentence.

    "다." may end a verb, and "제3조" or "[표 2]" may be what the sentence speaks of.
    """
    if after.text.startswith("다.") and breaks != "words" and _HANGUL.match(line.text[-1]):
        return False
    if _REFERENCE.match(after.text) and _HANGUL.match(line.text[-1]):
        return False
    return _NEW_ITEM.match(after.text) is not None


def _visible_hyphen(text: str) -> str:
    return text[:-1] + "-" if text.endswith((LINE_END_HYPHEN, _SOFT_HYPHEN)) else text


def _join(text: str, spaced: bool, after: str, breaks: Breaks) -> str:
    soft = text.endswith(_SOFT_HYPHEN)
    text = _visible_hyphen(text)
    if soft or (_LATIN_HYPHEN.search(text) and after[:1].islower()):
        return text[:-1] + after
    if text.endswith("-") and not text.endswith(" -"):
        return text + after
    space = spaced or breaks == "words" or not _without_space(text, after, breaks == "marked")
    return f"{text} {after}" if space else text + after


def _without_space(text: str, after: str, marked: bool) -> bool:
    """Whether nothing stands between two lines of a file that breaks words."""
    last, first = text[-1], after[0]
    if last in _OPENERS or first in _CLOSERS:
        return True
    if last in ".,;:!?" or (_is_latin(last) and _is_latin(first)):
        return False
    return marked or (first in "([" and _HANGUL.match(last) is not None) or _in_word(text, after)


def _is_latin(character: str) -> bool:
    return character.isalnum() and not _HANGUL.match(character)


def _in_word(text: str, after: str) -> bool:
    """Whether the end of one line and the start of the next are one word, by their morphemes.

    Korean writes particles and endings to the word before them. Of 4,194 line ends put into the
    KorQuAD 1.0 paragraphs at random, 95 % came out as they were written.
    """
    left, right = text.split()[-_CONTEXT_WORDS - 1 :], after.split()[: _CONTEXT_WORDS + 1]
    if not left or not right:
        return False
    before = "".join(f"{word} " for word in left[:-1]) + left[-1][-_CONTEXT_LETTERS:]
    behind = " ".join([right[0][:_CONTEXT_LETTERS], *right[1:]])
    last_tag = ""
    for morpheme in _analyzer().parse(_UNREADABLE.sub(" ", before + behind)):
        start, end = morpheme.span
        tag = morpheme.feature.pos
        if start < len(before) < end:
            return True
        if start == len(before):
            return tag.startswith(_BOUND_TAGS) or (last_tag == "SN" and tag.startswith("NNB"))
        last_tag = tag
    return False


@cache
def _analyzer() -> Any:
    from mecab import MeCab

    return MeCab()


def _line_ends(runs: Sequence[Sequence[Piece]]) -> Iterator[tuple[str, str, bool]]:
    """Where Korean lines go on: both lines, and whether the file has white space between."""
    for run in runs:
        column = _Column.of(run)
        for line, after in pairwise(run):
            if column and isinstance(line, Line) and isinstance(after, Line):
                korean = _HANGUL.match(line.text[-1]) and _HANGUL.match(after.text)
                if korean and _goes_on(line, after, column, column, "characters"):
                    yield line.text, after.text, line.spaced


def _cell_ends(runs: Sequence[Sequence[Piece]]) -> Iterator[tuple[str, str, bool]]:
    for table in (piece for run in runs for piece in run if isinstance(piece, Table)):
        for cell in (cell for row in table.rows for cell in row):
            for line, after in pairwise(cell.split("\r\n")):
                stripped = line.rstrip()
                if stripped and _HANGUL.match(stripped[-1]) and _HANGUL.match(after):
                    yield stripped, after, stripped != line


def _markdown(table: Table, caption: str, breaks: Breaks) -> str:
    rows = [[_cell(cell, breaks) for cell in row] for row in table.rows]
    parts = [text for _, text in table_parts(rows)]
    # A long table is written in parts; each says what it is.
    return "\n\n".join(f"{caption}\n\n{part}" if caption else part for part in parts)


def _cell(text: str, breaks: Breaks) -> str:
    """A cell's lines as one. White space at their ends is no mark: PDFium keeps little of it."""
    text = text.replace(LINE_END_HYPHEN, f"{LINE_END_HYPHEN}\r\n")
    lines = [line for line in text.split("\r\n") if line.strip()]
    if not lines:
        return ""
    joined, spaced = lines[0].strip(), lines[0][-1].isspace()
    for line in lines[1:]:
        item = _NEW_ITEM.match(line.lstrip()) is not None
        how: Breaks = "words" if breaks == "words" else "characters"
        joined = _join(joined, spaced or item, line.strip(), how)
        spaced = line[-1].isspace()
    return joined
