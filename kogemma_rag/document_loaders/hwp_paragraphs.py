"""What HWP 5 and HWPX documents hold: paragraphs, and what is anchored in them.

Knows no file format.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from kogemma_rag.document_loaders.hwp_numbering import circled

# Spaces of Hancom's language of equations, of full and quarter width.
_EQUATION_SPACE = re.compile(r"[\s~`]+")
# Halves of a number in a box, one drawn over the other: tens, then ones.
_BOXED_NUMBER = re.compile("([\U000f02ba-\U000f02c2])([\U000f02c3-\U000f02cc])")


@dataclass(frozen=True)
class SectionStart:
    """From this paragraph on, the outline is numbered by another numbering."""

    outline: int


@dataclass(frozen=True)
class Note:
    """A footnote or an endnote, at the place of its mark."""

    name: Literal["각주", "미주"]
    paragraphs: Sequence["Paragraph"]


@dataclass(frozen=True)
class PageText:
    """What is written above or below the text of every page."""

    region: Literal["header", "footer"]
    paragraphs: Sequence["Paragraph"]


@dataclass(frozen=True)
class Box:
    """A text box, or a picture, which may have a caption."""

    paragraphs: Sequence["Paragraph"]
    caption: Sequence["Paragraph"] = ()


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    paragraphs: Sequence["Paragraph"]
    row_span: int = 1
    column_span: int = 1


@dataclass(frozen=True)
class Table:
    """A table; merged cells stand in the first row and column that they cover."""

    rows: Sequence[Sequence[Cell]]
    caption: Sequence["Paragraph"] = ()


Content: TypeAlias = "str | SectionStart | Note | PageText | Box | Table"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph and what is anchored in it.

    Attributes:
        shape: Which of the document's shapes of paragraphs it has.
        content: Text, as it stands, and other things, in their order.
    """

    shape: int
    content: Sequence[Content]


def equation_text(script: str) -> str:
    """An equation as its script, which reads like "{a+b} over 2"."""
    return _EQUATION_SPACE.sub(" ", script).strip()


def overlapped_text(text: str) -> str:
    """Characters drawn over each other; the halves of a number give the number in a circle."""

    def number(match: re.Match[str]) -> str:
        tens, ones = ord(match[1]) - 0xF02B9, ord(match[2]) - 0xF02C3
        return circled(10 * tens + ones)

    return _BOXED_NUMBER.sub(number, text)


def ruby_text(main: str, above: str) -> str:
    """A word with the small one that is set above it, in brackets."""
    return f"{main}({above})" if above.strip() else main
