"""Korean text in, questions that it answers out, by rule: no model, no knowledge but grammar.

Asked for are amounts, dates, what something is or is called, and cells of Markdown tables. Rules
rather leave a sentence out than ask it badly: what points elsewhere ("그", "이 규정"), names no
topic, or gives an answer that stands in the text twice is not asked.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kogemma_rag.evaluation.question_amounts import AMOUNT, CLOCK, DATE, amount_word
from kogemma_rag.evaluation.question_cells import cell_questions
from kogemma_rag.evaluation.question_clauses import Clause, Token, clauses
from kogemma_rag.morphemes import content_morphemes, sentence_spans

_LONGEST_SENTENCE, _LONGEST_QUESTION, _LONGEST_ANSWER = 160, 70, 60  # characters
_LEAST_CONTENT = 2  # morphemes of a question beside its question word

# Behind a date, what can stand behind 언제.
_AFTER_DATE = re.compile(r"(?P<taken>에)(?=\s)|(?:부터|까지)(?=[\s이입인])|$")
_VAGUE_NOUNS = frozenset(
    {"것", "때문", "예정", "정도", "경우", "원칙", "편", "때", "수", "등", "바", "이상", "이하"}
)
_POINTING = re.compile(r": |다음|아래|위의|앞의|같은|해당|당시|이때|후자|전자|[\"'“”‘’…]")
_POINTING_DETERMINERS = frozenset(
    {"이", "그", "저", "이런", "그런", "저런", "이러한", "그러한", "어떤", "어느", "본", "동", "전"}
)
# 원 and 일 end in a consonant, 얼마 does not: the particle behind it changes.
_PARTICLES = {"을": "를", "이": "가", "은": "는", "과": "와", "으로": "로", "이나": "나"}
_PARTICLE = re.compile(r"(?:을|이나|이|은|과|으로)(?=[\s,]|$)")
_JOINED_BEFORE, _JOINED_BEHIND = re.compile(r"\d\S*[과와]\s$"), re.compile(r"\S{0,2}[과와]\s\d")
_NAMING = re.compile(r"(?P<before>.+[을를은는]\s)(?P<name>[^\s,]{2,20}?)(?P<mark>이?라고)\s\S*$")
_DEFINING = re.compile(
    r"(?P<term>[^,]{1,25}?)(?P<mark>이란|란|은|는)\s(?P<said>[^,]{4,60}?)[을를]\s"
    r"(?P<verb>말|뜻|의미)(?:한다|합니다)\.$"
)


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
    made += [MadeQuestion(*cell) for cell in cell_questions(text)]
    return [one for one in made if _is_good(one, text)]


def _of_sentence(sentence: str) -> Iterator[tuple[str, str, int]]:
    """Question, answer and its offset in the sentence."""
    if _POINTING.search(sentence):
        return
    yield from _with_definition(sentence)
    for clause in clauses(sentence):
        if not any(_points(token) for token in clause.tokens) and not clause.asked.startswith("않"):
            yield from _with_amounts(clause)
            yield from _with_dates(clause)
            yield from _with_names(clause)


def _points(token: Token) -> bool:
    """Whether a word points at what another sentence says: 그, 이 (규정)."""
    return token.tag == "NP" or (token.tag == "MM" and token.surface in _POINTING_DETERMINERS)


def _asked(clause: Clause, word: str, start: int, end: int) -> str:
    """The clause as a question, with a question word in the place of [start, end)."""
    topic = f"{clause.topic} " if clause.topic else ""
    before, behind = clause.text[clause.start : start], clause.text[end : clause.end]
    return f"{topic}{before}{word}{behind}{clause.asked}?"


def _is_about(clause: Clause, start: int, end: int) -> bool:
    """Whether what the clause is about stands before [start, end)."""
    if clause.topic:
        return True
    # "A가 3월에 펴낸 안내서이다" has a subject, but is about something that it does not name.
    if clause.copula and end != clause.end and not clause.own_topic():
        return False
    topic_end = clause.topic_end()
    return topic_end is not None and topic_end <= start


def _with_amounts(clause: Clause) -> Iterator[tuple[str, str, int]]:
    clocks = list(CLOCK.finditer(clause.text))
    parts = [match.span() for match in (*DATE.finditer(clause.text), *clocks)]
    amounts = [
        match
        for match in AMOUNT.finditer(clause.text)
        if not any(match.start() < end and start < match.end() for start, end in parts)
    ]
    amounts = [
        match
        for match in (*amounts, *clocks)
        if clause.start <= match.start() and match.end() <= clause.end
    ]
    # "A는 3년, B는 5년마다": asked for one of them, the other is in the way.
    if len(amounts) > 1 and ", " in clause.text[clause.start : clause.end]:
        return
    for match in amounts:
        start, end = match.span()
        if _is_about(clause, start, end) and _stands_alone(clause, match):
            word = amount_word(match)
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
    # "100년이 지났지만 …": asked for, the statement behind it would be asked as well.
    contrasted = any(
        token.start >= match.end() and (token.last_tag, token.units[-1][0][-2:]) == ("EC", "지만")
        for token in clause.tokens
    )
    return not (
        rate
        or contrasted
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


def _with_dates(clause: Clause) -> Iterator[tuple[str, str, int]]:
    for match in DATE.finditer(clause.text):
        start, end = match.span()
        if not (clause.start <= start and end <= clause.end and _is_about(clause, start, end)):
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


def _is_good(made: MadeQuestion, text: str) -> bool:
    return (
        len(made.text) <= _LONGEST_QUESTION
        and 0 < len(made.answer) <= _LONGEST_ANSWER
        and made.answer not in made.text
        and text.count(made.answer) == 1
        and text.startswith(made.answer, made.start)
        and len(content_morphemes(made.text)) >= _LEAST_CONTENT
    )
