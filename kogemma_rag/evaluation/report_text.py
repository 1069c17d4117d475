"""Texts and figures of a run in, what a reader sees of them out. Knows no HTML."""

import re
from typing import NamedTuple

# Control characters but tab and new line, the marks that turn the direction of writing or have no
# width, and lone surrogates: shown by their number, so that no text looks like another one.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    r"\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with what would steer its display, or be dropped from it, as <U+202E>."""
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


class Piece(NamedTuple):
    """A part of a passage; marked where it is the answer."""

    text: str
    marked: bool


def excerpt(text: str, start: int | None, end: int | None, *, around: int) -> list[Piece]:
    """A passage cut to what stands around a place in it, which is marked.

    Args:
        text: The passage.
        start: Of the place, in characters; None gives the passage's beginning.
        end: Of the place.
        around: How many characters stay on either side.
    """
    if start is None or end is None or not 0 <= start < end <= len(text):
        rest = "…" if len(text) > 2 * around else ""
        return [Piece(text[: 2 * around] + rest, False)]
    before, after = text[max(0, start - around) : start], text[end : end + around]
    return [
        Piece(("…" if start > around else "") + before, False),
        Piece(text[start:end][: 2 * around], True),
        Piece(after + ("…" if end + around < len(text) else ""), False),
    ]
