"""What amounts, clock times and dates look like in Korean text, and the words that ask for them."""

import re

_UNITS = (
    *("개월", "시간", "세기", "퍼센트", "가지", "차례", "킬로미터", "미터", "제곱미터"),
    *("원", "일", "명", "분", "초", "개", "년", "회", "번", "쪽", "층", "대", "권", "살", "세"),
    *("주", "자", "곳", "마리", "점", "건", "배", "톤", "달러", "km", "kg", "GB", "MB", "%", "m"),
)
AMOUNT = re.compile(
    r"(?<![\w.,~–-])(?P<number>\d[\d,]{0,15}(?:\.\d{1,6})?\s?(?:[천만억조]\s?)*)"
    rf"(?P<unit>{'|'.join(_UNITS)})(?!\s?[\d~–-])"
)
CLOCK = re.compile(
    r"(?:(?:오전|오후|새벽|아침|낮|저녁|밤)\s)?\d{1,2}시(?:\s?\d{1,2}분)?(?![가-힣]*\s?\d)"
)
DATE = re.compile(
    r"(?<![\w.])(?:[12]\d{3}년(?:\s\d{1,2}월(?:\s\d{1,2}일)?)?|\d{1,2}월\s\d{1,2}일)(?!\s?[\d~–-])"
)


def amount_word(match: re.Match[str]) -> str:
    """The question word for what `AMOUNT` or `CLOCK` matched."""
    unit = match.groupdict().get("unit")
    if unit is None:
        return "몇 시"
    return {"원": "얼마", "일": "며칠", "%": "몇 퍼센트"}.get(unit, f"몇 {unit}")
