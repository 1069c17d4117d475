"""A number and the name of a numbering format of Word in, the number as it is written out."""

import re
from collections.abc import Callable

_GANADA = "가나다라마바사아자차카타파하"
_CHOSUNG = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_STEMS = "甲乙丙丁戊己庚辛壬癸"
_BRANCHES = "子丑寅卯辰巳午未申酉戌亥"
_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L")),
    *((40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
_HANGUL_DIGITS = "영일이삼사오육칠팔구"
_HANJA_DIGITS = "〇一二三四五六七八九"
_TENS = ("열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_ONES = ("하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")


def number_label(number: int, number_format: str) -> str:
    """A number in a format of Office Open XML, e.g. "나" for 2 in "ganada"; else in digits."""
    write = _WRITERS.get(number_format, str)
    return write(number) if 0 < number < 10_000 else str(number)


def _repeated(letters: str) -> Callable[[int], str]:
    """Count a, b, … z, aa, bb and so on."""
    return lambda number: letters[(number - 1) % len(letters)] * (1 + (number - 1) // len(letters))


def _once(letters: str) -> Callable[[int], str]:
    return lambda number: letters[number - 1] if number <= len(letters) else str(number)


def _roman(number: int) -> str:
    written = ""
    for value, letters in _ROMAN:
        written += letters * (number // value)
        number %= value
    return written


def _digits(digits: str) -> Callable[[int], str]:
    return lambda number: "".join(digits[int(digit)] for digit in str(number))


def _counted(digits: str, units: str) -> Callable[[int], str]:
    """Numbers read aloud below 10,000: 십이, 百二十."""

    def write(number: int) -> str:
        written = ""
        for place, digit in zip(range(len(str(number)) - 1, -1, -1), str(number), strict=True):
            unit = units[place - 1] if place else ""
            if digit != "0":
                written += unit if digit == "1" and unit else digits[int(digit)] + unit
        return written

    return write


def _native(number: int) -> str:
    if number > 99:
        return str(number)
    tens, ones = divmod(number, 10)
    return (_TENS[tens - 1] if tens else "") + (_ONES[ones - 1] if ones else "")


def _characters(first: str, count: int) -> str:
    return "".join(chr(ord(first) + number) for number in range(count))


_WRITERS: dict[str, Callable[[int], str]] = {
    "decimalZero": "{:02d}".format,
    "upperRoman": _roman,
    "lowerRoman": lambda number: _roman(number).lower(),
    "upperLetter": _repeated(_LATIN.upper()),
    "lowerLetter": _repeated(_LATIN),
    "ganada": _repeated(_GANADA),
    "chosung": _repeated(_CHOSUNG),
    "decimalEnclosedCircle": _once(
        _characters("①", 20) + _characters("㉑", 15) + _characters("㊱", 15)
    ),
    "decimalEnclosedCircleChinese": _once(_characters("①", 20)),
    "decimalEnclosedParen": _once(_characters("⑴", 20)),
    "decimalEnclosedFullstop": _once(_characters("⒈", 20)),
    "decimalFullWidth": lambda number: re.sub(
        "[0-9]", lambda digit: chr(ord(digit[0]) + 0xFEE0), str(number)
    ),
    "numberInDash": "- {} -".format,
    "koreanDigital": _digits(_HANGUL_DIGITS),
    "koreanCounting": _counted(_HANGUL_DIGITS, "십백천"),
    "koreanLegal": _native,
    "koreanDigital2": _digits(_HANJA_DIGITS),
    "ideographDigital": _digits(_HANJA_DIGITS),
    "chineseCounting": _counted(_HANJA_DIGITS, "十百千"),
    "ideographTraditional": _once(_STEMS),
    "ideographZodiac": _once(_BRANCHES),
}
