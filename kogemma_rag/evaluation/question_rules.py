"""Korean text in, questions that it answers out, by rule: no model, no knowledge but grammar.

Asked for are amounts, dates, what something is or is called, and cells of Markdown tables. Rules
rather leave a sentence out than ask it badly: what points elsewhere ("그", "이 규정"), names no
topic, or gives an answer that stands in the text twice is not asked.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kogemma_rag.evaluation.question_clauses import Clause, Token, clauses, read_tokens
from kogemma_rag.morphemes import content_morphemes, sentence_spans

_LONGEST_SENTENCE, _LONGEST_QUESTION, _LONGEST_ANSWER = 160, 70, 60  # characters
_LEAST_CONTENT = 3  # morphemes of a question beside its question word

_UNITS = (
    *("개월", "시간", "세기", "퍼센트", "가지", "차례", "킬로미터", "미터", "제곱미터"),
    *("원", "일", "명", "분", "초", "개", "년", "회", "번", "쪽", "층", "대", "권", "살", "세"),
    *("주", "자", "곳", "마리", "점", "건", "배", "톤", "달러", "km", "kg", "GB", "MB", "%", "m"),
)
_AMOUNT = re.compile(
    r"(?<![\w.,~–-])(?P<number>\d[\d,]{0,15}(?:\.\d{1,6})?\s?(?:[천만억조]\s?)*)"
    rf"(?P<unit>{'|'.join(_UNITS)})(?!\s?[\d~–-])"
)
_CLOCK = re.compile(
    r"(?:(?:오전|오후|새벽|아침|낮|저녁|밤)\s)?\d{1,2}시(?:\s?\d{1,2}분)?(?![가-힣]*\s?\d)"
)
_DATE = re.compile(
    r"(?<![\w.])(?:[12]\d{3}년(?:\s\d{1,2}월(?:\s\d{1,2}일)?)?|\d{1,2}월\s\d{1,2}일)(?!\s?[\d~–-])"
)
# Behind a date, what can stand behind 언제.
_AFTER_DATE = re.compile(r"(?P<taken>에)(?=\s)|(?:부터|까지)(?=[\s이입인])|$")
_VAGUE_NOUNS = frozenset(
    {"것", "때문", "예정", "정도", "경우", "원칙", "편", "때", "수", "등", "바", "이상", "이하"}
)
_POINTING = re.compile(r": |다음|아래|위의|앞의|같은|해당|당시|이때|후자|전자|[\"'“”‘’…]")
_CELL = re.compile(r"(?<=\|)[^|\n]*(?=\|)")
_RULE_ROW = re.compile(r"\|?[\s|:-]+\|?$")
_NOTHING = re.compile(r"^[-–—·./oOxX○×\s]*$|없음$")
_PLAIN_NUMBER = re.compile(r"\d{3,}(?![\d,]*\s?[가-힣%])|\d+$")
# 원 and 일 end in a consonant, 얼마 does not: the particle behind it changes.
_PARTICLES = {"을": "를", "이": "가", "은": "는", "과": "와", "으로": "로", "이나": "나"}
_PARTICLE = re.compile(r"(?:을|이나|이|은|과|으로)(?=[\s,]|$)")
_JOINED_BEFORE, _JOINED_BEHIND = re.compile(r"\d\S*[과와]\s$"), re.compile(r"\S{0,2}[과와]\s\d")
_NAMING = re.compile(r"(?P<before>.+[을를은는]\s)(?P<name>[^\s,]{2,20}?)(?P<mark>이?라고)\s\S*$")
_DEFINING = re.compile(
    r"(?P<term>[^,]{1,25}?)(?P<mark>이란|란|은|는)\s(?P<said>[^,]{4,60}?)[을를]\s"
    r"(?P<verb>말|뜻|의미)(?:한다|합니다)\.$"
)
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


class MadeQuestion(NamedTuple):
    """A question and its answer, which stands in the text at `start`."""

    text: str
    answer: str
    start: int


def questions_of(text: str) -> list[MadeQuestion]:
    """All questions that the rules make of a text, in its order.

    Args:
        text: In NFC.
    """
    made = []
    for start, end in sentence_spans(text):
        sentence = text[start:end]
        if not sentence.startswith(("|", "#")) and len(sentence) <= _LONGEST_SENTENCE:
            made += [
                MadeQuestion(question, answer, start + at)
                for question, answer, at in _of_sentence(sentence)
            ]
    made += _of_tables(text)
    return [one for one in made if _is_good(one, text)]


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


def _of_sentence(sentence: str) -> Iterator[tuple[str, str, int]]:
    """Question, answer and its offset in the sentence."""
    if _POINTING.search(sentence):
        return
    yield from _with_definition(sentence)
    for clause in clauses(sentence):
        points = any(token.tag in ("NP", "MM") for token in clause.tokens)
        if not points and not clause.asked.startswith("않"):
            yield from _with_amounts(clause)
            yield from _with_dates(clause)
            yield from _with_names(clause)


def _asked(clause: Clause, word: str, start: int, end: int) -> str:
    """The clause as a question, with a question word in the place of [start, end)."""
    topic = f"{clause.topic} " if clause.topic else ""
    before, behind = clause.text[clause.start : start], clause.text[end : clause.end]
    return f"{topic}{before}{word}{behind}{clause.asked}?"


def _is_about(clause: Clause, place: int) -> bool:
    """Whether what the clause is about stands before a place."""
    topic_end = clause.topic_end()
    return bool(clause.topic) or (topic_end is not None and topic_end <= place)


def _with_amounts(clause: Clause) -> Iterator[tuple[str, str, int]]:
    dates = [match.span() for match in _DATE.finditer(clause.text)]
    amounts = [*_AMOUNT.finditer(clause.text), *_CLOCK.finditer(clause.text)]
    amounts = [it for it in amounts if clause.start <= it.start() and it.end() <= clause.end]
    # "A는 3년, B는 5년마다": asked for one of them, the other is in the way.
    if len(amounts) > 1 and ", " in clause.text[clause.start : clause.end]:
        return
    for match in amounts:
        start, end = match.span()
        in_date = any(start < last and first < end for first, last in dates)
        if not in_date and _is_about(clause, start) and _stands_alone(clause, match):
            word = _amount_word(match)
            particle = _PARTICLE.match(clause.text, end) if word == "얼마" else None
            if particle and (particle.end() < clause.end or not clause.copula):
                word, end = word + _PARTICLES[particle[0]], particle.end()
            yield _asked(clause, word, start, end), match[0], start


def _stands_alone(clause: Clause, match: re.Match[str]) -> bool:
    """Whether an amount is one by itself: no day of a month, rate ("1년에") or list of amounts."""
    before, behind = clause.text[: match.start()], clause.text[match.end() :]
    rate = match[0].startswith("1") and len(match[0]) == 2 and behind.startswith("에 ")
    # "50대" is an age, not fifty machines.
    age = re.fullmatch(r"[1-9]0대", match[0]) is not None
    return not (
        rate
        or age
        or behind.startswith(("(", "도"))
        or before.rstrip().endswith("월")
        or _JOINED_BEFORE.search(before)
        or _JOINED_BEHIND.match(behind)
        or not _ends_word(clause, match.end())
    )


def _ends_word(clause: Clause, place: int) -> bool:
    """Whether a noun ends at a place: a particle, a copula or white space follows."""
    if place == clause.end or not clause.text[place].isalnum():
        return True
    return any(token.start == place and token.tag[0] in "JV" for token in clause.tokens)


def _amount_word(match: re.Match[str]) -> str:
    unit = match.groupdict().get("unit")
    if unit is None:
        return "몇 시"
    return {"원": "얼마", "일": "며칠", "%": "몇 퍼센트"}.get(unit, f"몇 {unit}")


def _with_dates(clause: Clause) -> Iterator[tuple[str, str, int]]:
    for match in _DATE.finditer(clause.text):
        start, end = match.span()
        if not (clause.start <= start and end <= clause.end and _is_about(clause, start)):
            continue
        behind = _AFTER_DATE.match(clause.text[: clause.end], end)
        described = any(it.end == start - 1 and it.last_tag == "ETM" for it in clause.tokens)
        if behind is None or described or (end == clause.end and not clause.copula):
            continue
        end += len(behind["taken"] or "")
        yield _asked(clause, "언제", start, end), match[0], start


def _with_names(clause: Clause) -> Iterator[tuple[str, str, int]]:
    """Of "X는 Y이다" and "X를 Y라고 한다"."""
    if (naming := _NAMING.match(clause.text, clause.start, clause.end)) and not clause.topic:
        start, end = naming.start("name"), naming.end("mark")
        yield _asked(clause, "무엇이라고", start, end), naming["name"], start
    topic_end = clause.topic_end()
    if clause.copula and topic_end is not None and not clause.topic:
        said = [token for token in clause.tokens if token.start >= topic_end]
        if word := _word_for(said):
            start, end = said[0].start, said[-1].end
            topic = clause.text[clause.start : topic_end]
            yield f"{topic} {word}인가요?", clause.text[start:end], start


def _with_definition(sentence: str) -> Iterator[tuple[str, str, int]]:
    """Of "X란 Y를 말한다"."""
    if defining := _DEFINING.match(sentence):
        term, mark = defining["term"], defining["mark"]
        asked = f"무엇을 {defining['verb']}하나요?" if mark in "은는" else "무엇인가요?"
        yield f"{term}{mark} {asked}", defining["said"], defining.start("said")


def _word_for(said: Sequence[Token]) -> str | None:
    """누구, 어디 or 무엇, for what a copula says; None for what is no plain noun phrase."""
    if not said or said[-1].last_tag not in ("NNG", "NNP", "SL", "SN"):
        return None
    # Adverbs and particles of subjects show that the noun belongs to a longer statement.
    if any(token.tag in ("JX", "JKS", "JKO", "JKB", "EC", "MAG", "SN") for token in said):
        return None
    if said[-1].surface in _VAGUE_NOUNS or said[0].tag.startswith(("J", "E", "X")):
        return None
    kind = said[-1].semantic if said[-1].tag == "NNP" else None
    return {"인명": "누구", "지명": "어디"}.get(kind or "", "무엇")


def _of_tables(text: str) -> Iterator[MadeQuestion]:
    """Of each cell whose row and column have a name: "서울의 숙박비 한도는 얼마인가요?"."""
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
                    yield MadeQuestion(question, cell[0].strip(), place + cell.start() + indent)
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
    if _DATE.fullmatch(cell):
        return "언제"
    if amount := _AMOUNT.fullmatch(cell):
        return _amount_word(amount)
    if cell.endswith("원") and any(it.end() == len(cell) for it in _AMOUNT.finditer(cell)):
        return "얼마"
    return next((word for name, word in _COLUMN_WORDS if name.search(column)), "무엇")


def _is_good(made: MadeQuestion, text: str) -> bool:
    return (
        len(made.text) <= _LONGEST_QUESTION
        and 0 < len(made.answer) <= _LONGEST_ANSWER
        and made.answer not in made.text
        and text.count(made.answer) == 1
        and text.startswith(made.answer, made.start)
        and len(content_morphemes(made.text)) >= _LEAST_CONTENT
    )
