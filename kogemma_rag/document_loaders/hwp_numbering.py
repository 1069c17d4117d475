"""The numbers and bullets that Hancom's word processor writes before paragraphs.

Files hold only that a paragraph is the next of a list; what is shown is counted here. Formats are
those of the HWP 5.0 specification revision 1.3, sections 4.2.8 to 4.2.10, and of OWPML (KS X 6101).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# In the order of their codes in HWP 5; OWPML names them.
NUMBER_FORMATS = (
    "DIGIT",
    "CIRCLED_DIGIT",
    "ROMAN_CAPITAL",
    "ROMAN_SMALL",
    "LATIN_CAPITAL",
    "LATIN_SMALL",
    "CIRCLED_LATIN_CAPITAL",
    "CIRCLED_LATIN_SMALL",
    "HANGUL_SYLLABLE",
    "CIRCLED_HANGUL_SYLLABLE",
    "HANGUL_JAMO",
    "CIRCLED_HANGUL_JAMO",
    "HANGUL_PHONETIC",
    "IDEOGRAPH",
    "CIRCLED_IDEOGRAPH",
)

# "하" is followed by "거", "너" …: the vowel changes, as official documents are to be numbered.
_SYLLABLES = [
    chr(0xAC00 + 588 * initial + 28 * vowel)
    for vowel in (0, 4, 8, 13, 18, 20)
    for initial in (0, 2, 3, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18)
]
_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SERIES: dict[str, Sequence[str]] = {
    "LATIN_CAPITAL": _LATIN,
    "LATIN_SMALL": _LATIN.lower(),
    "CIRCLED_LATIN_CAPITAL": [chr(ord("Ⓐ") + n) for n in range(26)],
    "CIRCLED_LATIN_SMALL": [chr(ord("ⓐ") + n) for n in range(26)],
    "HANGUL_SYLLABLE": _SYLLABLES,
    "CIRCLED_HANGUL_SYLLABLE": [chr(ord("㉮") + n) for n in range(14)],
    "HANGUL_JAMO": "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
    "CIRCLED_HANGUL_JAMO": [chr(ord("㉠") + n) for n in range(14)],
    "CIRCLED_IDEOGRAPH": [chr(ord("㊀") + n) for n in range(10)],
}
_CIRCLED = [
    *(chr(ord("①") + n) for n in range(20)),
    *(chr(ord("㉑") + n) for n in range(15)),
    *(chr(ord("㊱") + n) for n in range(15)),
]
_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L")),
    *((40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
_MOST_ROMAN = 3999
_PLACE = re.compile(r"\^(\d{1,2}|n|N)")


@dataclass(frozen=True)
class NumberLevel:
    """How a level of a numbering is written: "^1." is its number and a full stop."""

    text: str
    number_format: str = "DIGIT"
    start: int = 1


@dataclass(frozen=True)
class ParagraphHead:
    """What a shape of paragraphs says stands before them.

    Attributes:
        kind: Of what list; "outline" is numbered by the numbering of its section.
        level: From 0.
        list_id: Of the numbering or the bullet.
    """

    kind: Literal["outline", "number", "bullet"]
    level: int
    list_id: int


@dataclass
class ParagraphHeads:
    """Counts the paragraphs of a document, which come in its order.

    Attributes:
        shapes: Shape of a paragraph -> its head; shapes without one are missing.
        numberings: Id -> its levels.
        bullets: Id -> character.
        outline: The id of the numbering of the section.
    """

    shapes: Mapping[int, ParagraphHead] = field(default_factory=dict)
    numberings: Mapping[int, Sequence[NumberLevel]] = field(default_factory=dict)
    bullets: Mapping[int, str] = field(default_factory=dict)
    outline: int = 0
    _counts: dict[int, list[int]] = field(default_factory=dict, init=False)

    def outline_level(self, shape: int) -> int | None:
        """The level (from 0) of a paragraph that belongs to the outline."""
        head = self.shapes.get(shape)
        return head.level if head is not None and head.kind == "outline" else None

    def next_mark(self, shape: int) -> str:
        """What is written before the next paragraph: "나.", "•" or nothing."""
        head = self.shapes.get(shape)
        if head is None:
            return ""
        if head.kind == "bullet":
            return self.bullets.get(head.list_id, "•")
        list_id = self.outline if head.kind == "outline" else head.list_id
        levels = self.numberings.get(list_id, ())
        if head.level >= len(levels):
            return ""
        counts = self._counts.setdefault(list_id, [])
        # Levels above that no paragraph has had yet count as begun.
        counts += [level.start for level in levels[len(counts) : head.level]]
        if len(counts) == head.level:
            counts.append(levels[head.level].start)
        else:
            counts[head.level] += 1
            del counts[head.level + 1 :]
        return _mark(levels, counts)


def _mark(levels: Sequence[NumberLevel], counts: Sequence[int]) -> str:
    numbers = [
        number_text(count, level.number_format)
        for level, count in zip(levels, counts, strict=False)
    ]

    def place(match: re.Match[str]) -> str:
        name = match[1]
        if name in "nN":
            return ".".join(numbers) + ("." if name == "N" else "")
        return numbers[int(name) - 1] if 0 < int(name) <= len(numbers) else ""

    return _PLACE.sub(place, levels[len(counts) - 1].text).strip()


def number_text(number: int, number_format: str = "DIGIT") -> str:
    """A number as it is written in a format; in digits where the format has no such number."""
    match number_format:
        case "CIRCLED_DIGIT":
            return circled(number)
        case "ROMAN_CAPITAL" | "ROMAN_SMALL" if 0 < number <= _MOST_ROMAN:
            text = _roman(number)
            return text.lower() if number_format == "ROMAN_SMALL" else text
        case "HANGUL_PHONETIC" if 0 < number < 100:
            return _tens(number, " 일이삼사오육칠팔구", "십")
        case "IDEOGRAPH" if 0 < number < 100:
            return _tens(number, " 一二三四五六七八九", "十")
    series = _SERIES.get(number_format, ())
    return series[number - 1] if 0 < number <= len(series) else str(number)


def circled(number: int) -> str:
    """A number in a circle: ① to ㊿, in brackets above."""
    return _CIRCLED[number - 1] if 0 < number <= len(_CIRCLED) else f"({number})"


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        text += letters * count
    return text


def _tens(number: int, digits: str, ten: str) -> str:
    tens, ones = divmod(number, 10)
    text = "" if tens == 0 else ten if tens == 1 else digits[tens] + ten
    return text + digits[ones].strip()
