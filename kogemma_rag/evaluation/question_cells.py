"""Markdown tables in, questions for their cells out."""

import re
from collections.abc import Iterator

from kogemma_rag.evaluation.question_amounts import AMOUNT, DATE, amount_word
from kogemma_rag.evaluation.question_clauses import read_tokens

_CELL = re.compile(r"(?<=\|)[^|\n]*(?=\|)")
_RULE_ROW = re.compile(r"\|?[\s|:-]+\|?$")
_NOTHING = re.compile(r"^[-–—·./oOxX○×\s]*$|없음$")
_PLAIN_NUMBER = re.compile(r"\d{3,}(?![\d,]*\s?[가-힣%])|\d+$")
# What a column asks for, by how its name ends.
_COLUMN_WORDS = (
    (re.compile(r"(?:담당자|책임자|관리자|신청자|작성자|대표|팀장|저자|성명|이름)$"), "누구"),
    (re.compile(r"(?:장소|위치|주소|부서|기관|곳)$"), "어디"),
    (re.compile(r"(?:내선|번호|전화)$"), "몇 번"),
    (re.compile(r"(?:날짜|시행일|기한|마감)$"), "언제"),
)
_HANGUL = re.compile(r"[가-힣]")
_ANSWERS_NOTHING = frozenset({"비고", "번호", "순번", "순서", "참고", "기타", "합계", "계"})
# Of digits, and of letters by their Korean names.
_CLOSED_DIGITS, _CLOSED_LETTERS = "013678", "lmnr"


def cell_questions(text: str) -> Iterator[tuple[str, str, int]]:
    """Question, answer and its offset, of each cell whose row and column have a name.

    "서울의 숙박비 한도는 얼마인가요?"
    """
    header: list[str] = []
    previous: list[str] = []
    place = 0
    for line in text.splitlines(keepends=True):
        cells = list(_CELL.finditer(line)) if line.startswith("|") else []
        names = [cell[0].strip() for cell in cells]
        if cells and _RULE_ROW.match(line.strip()):
            header = previous
        elif len(cells) == len(header) > 1:
            for column, cell in zip(header[1:], cells[1:], strict=True):
                if question := _cell_question(names[0], column, cell[0].strip()):
                    indent = len(cell[0]) - len(cell[0].lstrip())
                    yield question, cell[0].strip(), place + cell.start() + indent
        else:
            header = []
        previous = names
        place += len(line)


def _cell_question(row: str, column: str, cell: str) -> str | None:
    if _NOTHING.search(cell) or not (_is_name(row) and _is_name(column)):
        return None
    if any(token.tag == "JC" for token in read_tokens(column)):  # "야간과 휴일" is two things
        return None
    word = _cell_word(column, cell)
    if _PLAIN_NUMBER.match(cell) and word != "몇 번":
        return None
    return f"{row}의 {with_topic_particle(column)} {word}인가요?"


def _is_name(text: str) -> bool:
    """Whether a plain noun phrase names a row or column: not "필요한 서류", "부모의 칠순"."""
    if not 0 < len(text) <= 25 or text in _ANSWERS_NOTHING or not _HANGUL.search(text):
        return False
    tokens = read_tokens(text)
    return not any(token.tag[0] in "VE" or token.last_tag in ("JKG", "ETM") for token in tokens)


def _cell_word(column: str, cell: str) -> str:
    if DATE.fullmatch(cell):
        return "언제"
    if amount := AMOUNT.fullmatch(cell):
        return amount_word(amount)
    if cell.endswith("원") and any(it.end() == len(cell) for it in AMOUNT.finditer(cell)):
        return "얼마"
    return next((word for name, word in _COLUMN_WORDS if name.search(column)), "무엇")


def with_topic_particle(words: str) -> str:
    """The words with 은, or 는 where they end in a vowel."""
    # What stands in brackets is not read with the particle: "한도(1박)는".
    read = re.sub(r"\s?\([^()]*\)$", "", words) or words
    letters = [letter for letter in read.lower() if letter.isalnum()]
    last = letters[-1] if letters else ""
    code = ord(last) - 0xAC00 if last else -1
    closed = (
        code % 28 > 0
        if 0 <= code < 11172
        else bool(last) and last in _CLOSED_DIGITS + _CLOSED_LETTERS
    )
    return f"{words}{'은' if closed else '는'}"
