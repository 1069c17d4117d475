"""A number and its format code in, the text that a spreadsheet shows out.

Codes are those of Office Open XML, e.g. '#,##0"원";[빨강](#,##0"원")'. Colours and the widths of
columns count for nothing.
"""

import math
import operator
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

GENERAL = "General"
# A hostile code would write zeros without end; programs allow no longer ones.
_MAX_CODE = 255
# Spreadsheets compute with so many digits: 0.1 + 0.2 is 0.3.
_DIGITS = 15
_EXACT = Context(prec=1000)
_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)"? | \\(?P<escaped>.) | \[\$(?P<currency>[^\]-]*)[^\]]*\]
    | \[(?P<condition>(?:[<>]=?|<>|=)-?[\d.]+)\] | \[(?P<ignored>[^\]]*)\] | (?P<width>[_*].?)
    | (?P<general>general|g/표준) | (?P<exponent>E[+-]) | (?P<place>[0\#?]) | (?P<point>\.)
    | (?P<comma>,) | (?P<percent>%) | (?P<slash>/) | (?P<at>@) | (?P<end>;) | (?P<plain>.)
    """,
    re.DOTALL | re.VERBOSE | re.IGNORECASE,
)
_MEANINGS = ("place", "point", "comma", "percent", "slash", "exponent", "general", "at")
_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}


class _Token(NamedTuple):
    kind: str
    """literal, place, point, comma, percent, slash, exponent, general or at."""
    text: str


class _Section(NamedTuple):
    """What a code says for some numbers, or for text."""

    tokens: tuple[_Token, ...]
    condition: str

    def holds(self, kind: str) -> bool:
        return any(token.kind == kind for token in self.tokens)

    def accepts(self, value: float) -> bool:
        sign = self.condition.rstrip("-.0123456789")
        try:
            return bool(_COMPARISONS[sign](value, float(self.condition[len(sign) :])))
        except ValueError:
            return False


def shown_number(value: float, code: str) -> str:
    """A number as it is shown. Codes for dates are none of this."""
    if code == GENERAL or not math.isfinite(value) or len(code) > _MAX_CODE:
        return _general(value)
    section, number = _section_for(value, _sections(code))
    sign = "-" if number < 0 else ""
    if section.holds("general") or section.holds("at"):
        text = "".join(
            token.text if token.kind == "literal" else _general(abs(number))
            for token in section.tokens
            if token.kind in ("literal", "general", "at")
        )
        return sign + text.strip()
    text = _written(_decimal(abs(number)), section.tokens).strip()
    return sign + text if re.search("[1-9]", text) else text


def shown_text(text: str, code: str) -> str:
    """Text as it is shown: changed only where the code says what stands around it."""
    if code in (GENERAL, "@") or len(code) > _MAX_CODE:
        return text
    sections = _sections(code)
    section = sections[3] if len(sections) > 3 else sections[-1]
    if len(sections) < 4 and not section.holds("at"):
        return text
    return "".join(text if token.kind == "at" else token.text for token in section.tokens)


@lru_cache(1024)
def _sections(code: str) -> tuple[_Section, ...]:
    sections: list[_Section] = []
    tokens: list[_Token] = []
    condition = ""
    for match in _TOKEN.finditer(code + ";"):
        kind = match.lastgroup
        if kind == "end":
            sections.append(_Section(tuple(tokens), condition))
            tokens, condition = [], ""
        elif kind == "condition":
            condition = match["condition"]
        elif kind in ("quoted", "escaped", "currency", "plain"):
            tokens.append(_Token("literal", match[kind]))
        elif kind in _MEANINGS:
            tokens.append(_Token(kind, match[kind]))
    return tuple(sections)


def _section_for(value: float, sections: Sequence[_Section]) -> tuple[_Section, float]:
    """The section that shows a value, and the number that it shows: without its sign, mostly."""
    numeric = sections[:3]
    if any(section.condition for section in numeric):
        for section in numeric:
            if not section.condition or section.accepts(value):
                return section, value
        return numeric[-1], value
    if value < 0 and len(numeric) > 1:
        return numeric[1], -value
    if value == 0 and len(numeric) > 2:
        return numeric[2], value
    return numeric[0], value


def _general(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 10**_DIGITS:
        return str(int(value))
    return f"{value:.{_DIGITS}g}".upper()


def _decimal(value: float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(f"{value:.{_DIGITS}g}")


def _written(number: Decimal, tokens: Sequence[_Token]) -> str:
    places = [place for place, token in enumerate(tokens) if token.kind == "place"]
    if not places:
        return "".join(token.text for token in tokens if token.kind != "comma")
    number *= 100 ** sum(token.kind == "percent" for token in tokens)
    kinds = [token.kind for token in tokens]
    if "exponent" in kinds[places[0] :]:
        return _scientific(number, tokens, kinds.index("exponent"))
    if "slash" in kinds[places[0] :]:
        return _fraction(number, tokens, kinds.index("slash", places[0]))
    return _fixed(number, tokens)


def _fixed(number: Decimal, tokens: Sequence[_Token]) -> str:
    kinds = [token.kind for token in tokens]
    point = kinds.index("point") if "point" in kinds else len(tokens)
    whole, rest = list(tokens[:point]), tokens[point + 1 :]
    last = max((n for n, token in enumerate(whole) if token.kind == "place"), default=-1)
    thousands = 0
    while last + 1 + thousands < len(whole) and whole[last + 1 + thousands].kind == "comma":
        thousands += 1
    decimals = sum(token.kind == "place" for token in rest)
    rounded = (number / 1000**thousands).quantize(
        Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _EXACT
    )
    digits, _, after = f"{rounded:f}".partition(".")
    grouped = any(token.kind == "comma" for token in whole[: last + 1])
    decimal_part = _decimal_places(rest, after)
    separator = "." if decimal_part[:1].isdigit() else ""
    return _whole_part(whole, digits.lstrip("0"), grouped) + separator + decimal_part


def _whole_part(tokens: Sequence[_Token], digits: str, grouped: bool) -> str:
    """Digits put into places from the right; the first place takes all that are left."""
    first = next((n for n, token in enumerate(tokens) if token.kind == "place"), -1)
    if first < 0:
        return "".join(token.text for token in tokens if token.kind != "comma") + digits
    written: list[str] = []
    count = 0
    for number in range(len(tokens) - 1, -1, -1):
        kind, text = tokens[number]
        if kind == "place":
            taken = digits if number == first else digits[-1:]
            digits = digits[: len(digits) - len(taken)]
            for digit in reversed(taken or ("0" if text == "0" else "")):
                if grouped and count and count % 3 == 0:
                    written.append(",")
                written.append(digit)
                count += 1
        elif kind != "comma":
            written.append(text)
    return "".join(reversed(written))


def _decimal_places(tokens: Sequence[_Token], digits: str) -> str:
    needed = len(digits.rstrip("0"))
    written = ""
    place = 0
    for kind, text in tokens:
        if kind == "place":
            written += digits[place] if text == "0" or place < needed else ""
            place += 1
        elif kind != "comma":
            written += text
    return written


def _scientific(number: Decimal, tokens: Sequence[_Token], mark: int) -> str:
    mantissa, power = tokens[:mark], tokens[mark + 1 :]
    kinds = [token.kind for token in mantissa]
    point = kinds.index("point") if "point" in kinds else len(kinds)
    step = max(1, kinds[:point].count("place"))
    exponent = number.adjusted() // step * step if number else 0
    text = _fixed(number.scaleb(-exponent), mantissa)
    if number and len(text.partition(".")[0]) > step:  # 9.99 was rounded to 10.0
        exponent += step
        text = _fixed(number.scaleb(-exponent), mantissa)
    sign = "-" if exponent < 0 else "+" if tokens[mark].text[1] == "+" else ""
    return f"{text}E{sign}{_whole_part(power, str(abs(exponent)).lstrip('0'), False)}"


def _fraction(number: Decimal, tokens: Sequence[_Token], slash: int) -> str:
    first = next(n for n, token in enumerate(tokens) if token.kind == "place")
    prefix = "".join(token.text for token in tokens[:first] if token.kind == "literal")
    mixed = any(token.kind == "literal" for token in tokens[first:slash])
    below = "".join(token.text for token in tokens[slash + 1 :]).strip()
    fixed = re.match(r"\d*[1-9]\d*", below)
    places = re.match(r"[0#?]+", below)
    suffix = below[(fixed or places or re.match("", below)).end() :]  # type: ignore[union-attr]
    if fixed:
        denominator = int(fixed.group())
        numerator = int((number * denominator).quantize(Decimal(1), ROUND_HALF_UP, _EXACT))
    else:
        limit = 10 ** min(len(places.group()) if places else 1, 6) - 1
        numerator, denominator = Fraction(number).limit_denominator(limit).as_integer_ratio()
    whole = numerator // denominator if mixed else 0
    numerator -= whole * denominator
    parts = [str(whole)] if whole or not numerator else []
    parts += [f"{numerator}/{denominator}"] if numerator else []
    return prefix + " ".join(parts) + suffix
