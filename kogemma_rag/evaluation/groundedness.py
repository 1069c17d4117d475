"""An answer with its [n] and its passages in, what of it stands in them out. Needs no judge.

Looks at what can be looked up: dates, numbers, Latin words and content morphemes. A sentence whose
dates and numbers its passages lack was not read from them; one that has all may still be wrong.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from typing import Literal
from unicodedata import normalize

from langchain_core.documents import Document

from kogemma_rag.evaluation.answer_metrics import CITATION_MARKS
from kogemma_rag.morphemes import content_morphemes, sentence_spans

Kind = Literal["dates", "numbers", "latin", "morphemes"]
KINDS: tuple[Kind, ...] = ("dates", "numbers", "latin", "morphemes")
# What a sentence cannot have by another wording.
_EXACT: tuple[Kind, ...] = ("dates", "numbers")

_DAY = r"(?P<month>0?[1-9]|1[0-2])\s?{}\s?(?P<day>0?[1-9]|[12]\d|3[01])"
_DATES = tuple(
    re.compile(form)
    for form in (
        r"(?<!\d)(?P<year>[12]\d{3})\s?년\s?" + _DAY.format("월") + r"\s?일",
        r"(?<![\d.])(?P<year>[12]\d{3})(?P<mark>[-./])\s?" + _DAY.format("(?P=mark)") + r"(?!\d)",
        r"(?<!\d)(?P<year>[12]\d{3})\s?년\s?(?P<month>0?[1-9]|1[0-2])\s?월",
        r"(?<!\d)" + _DAY.format("월") + r"\s?일",
    )
)
# At most so many digits: a number of millions of them takes quadratic time to read.
_TERM = r"(\d[\d,]{0,30}(?:\.\d{1,20})?)(?:\s?([천만억조]))?"
_TERMS = re.compile(_TERM)
_NUMBER = re.compile(rf"{_TERM}(?:(?<=[천만억조])\s?{_TERM})*(?P<percent>\s?(?:%|％|퍼센트|프로))?")
_SCALES = {"": 0, "천": 3, "만": 4, "억": 8, "조": 12}
_EXACTLY = Context(prec=100)
_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏ]+")
_DATE_TAKEN = "\ue000"  # of the private use area
_SPEAKING = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class UngroundedSentence:
    """A sentence of an answer, and its dates and numbers that its passages lack."""

    sentence: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Groundedness:
    """How much of an answer stands in the passages that it cites.

    Attributes:
        found: How many things of a kind stand there; repeats within a sentence count once.
        total: How many there are.
        ungrounded: In the order of the answer.
    """

    found: Mapping[Kind, int]
    total: Mapping[Kind, int]
    ungrounded: tuple[UngroundedSentence, ...]

    def shares(self) -> dict[str, float]:
        """Share found, 0 to 1, by kind and "all" together; absent where there is nothing."""
        counts = {str(kind): (self.found[kind], total) for kind, total in self.total.items()}
        counts["all"] = (sum(self.found.values()), sum(self.total.values()))
        return {kind: found / total for kind, (found, total) in counts.items() if total}


def groundedness(reply: str, documents: Sequence[Document]) -> Groundedness:
    """Look each sentence of a reply up in the passages that it cites.

    A sentence rests on the marks behind it, up to the next sentences with marks; those behind the
    last mark rest on all passages that the reply cites, and where it cites none, on all.

    Args:
        reply: With its [n].
        documents: The passages that [n] names.
    """
    found: Counter[Kind] = Counter()
    total: Counter[Kind] = Counter()
    ungrounded = []
    for sentence, numbers in _claims(reply, len(documents)):
        said = things_of(sentence)
        lacking = _lacking(said, [documents[number - 1].page_content for number in numbers])
        for kind in KINDS:
            total[kind] += len(said[kind])
            found[kind] += len(said[kind]) - len(lacking[kind])
        missing = [thing for kind in _EXACT for thing in sorted(lacking[kind])]
        if missing:
            ungrounded.append(UngroundedSentence(sentence, tuple(missing)))
    return Groundedness(found, total, tuple(ungrounded))


def things_of(text: str) -> dict[Kind, set[str]]:
    """What can be looked up in a text, each in one form however it is written.

    Dates as 2024-05-03, 2024-05 or 05-03; numbers without commas and with what 천, 만, 억, 조 make
    of them, "3%" with its sign; Latin words in lower case; morphemes that are none of these.
    """
    text = normalize("NFC", text)
    dates: set[str] = set()
    for form in _DATES:
        dates |= {_date(match) for match in form.finditer(text)}
        text = form.sub(_DATE_TAKEN, text)
    numbers = {_number(match) for match in _NUMBER.finditer(text)}
    # A plain number in their place keeps what stands around them readable to the analyzer.
    text = _NUMBER.sub("1", text).replace(_DATE_TAKEN, "1")
    words = [word for word in content_morphemes(text) if _SPEAKING.search(word)]
    return {
        "dates": dates,
        "numbers": numbers,
        "latin": {word.lower() for word in _LATIN.findall(text)},
        "morphemes": {word for word in words if not _LATIN.search(word)},
    }


def _lacking(said: Mapping[Kind, set[str]], passages: Sequence[str]) -> dict[Kind, set[str]]:
    """What none of the passages holds."""
    held = [_things_in_passage(passage) for passage in passages]
    lacking = {kind: said[kind].difference(*(it[kind] for it in held)) for kind in KINDS}
    # The analyzer cuts a noun in one sentence and leaves it whole in the next: "이용|률", "이용률".
    composed = [normalize("NFC", passage).lower() for passage in passages]
    lacking["morphemes"] -= {
        word
        for word in lacking["morphemes"]
        if len(word) > 1 and any(word in passage for passage in composed)
    }
    return lacking


@lru_cache(maxsize=1024)  # passages are cited again and again
def _things_in_passage(text: str) -> dict[Kind, frozenset[str]]:
    """What a sentence may rest on: also the parts of dates, and percentages as numbers."""
    text = normalize("NFC", text)
    things = things_of(text)
    dates, numbers = set(things["dates"]), set(things["numbers"])
    for date in things["dates"]:
        parts = date.split("-")
        dates |= {"-".join(parts[:2]), "-".join(parts[-2:])}
        numbers |= {part.lstrip("0") for part in parts}
    numbers |= {number.rstrip("%") for number in numbers}
    return {
        "dates": frozenset(dates),
        "numbers": frozenset(numbers),
        "latin": frozenset(things["latin"]),
        "morphemes": frozenset(content_morphemes(text)),  # with those of dates and numbers
    }


def _claims(reply: str, passages: int) -> Iterator[tuple[str, list[int]]]:
    """Each sentence of a reply without marks, and the numbers of the passages it rests on."""
    reply = normalize("NFC", reply)
    marks = list(CITATION_MARKS.finditer(reply))
    named = [[int(number) for number in re.findall(r"\d+", mark[0])] for mark in marks]
    everything = sorted({number for numbers in named for number in numbers})
    everything = everything or list(range(1, passages + 1))
    starts = [0, *(mark.end() for mark in marks)]
    ends = [*(mark.start() for mark in marks), len(reply)]
    for start, end, numbers in zip(starts, ends, [*named, everything], strict=True):
        claim = reply[start:end].lstrip(" \t\n.,!?。")
        known = [number for number in numbers if 1 <= number <= passages]
        for first, last in sentence_spans(claim):
            yield claim[first:last], known


def _date(match: re.Match[str]) -> str:
    parts = match.groupdict()
    year, month, day = (parts.get(name) for name in ("year", "month", "day"))
    numbers = [*([year] if year else []), *(f"{int(part):02}" for part in (month, day) if part)]
    return "-".join(numbers)


def _number(match: re.Match[str]) -> str:
    """1,000 -> 1000; 3만 5천 -> 35000; 3.0 % -> 3%."""
    value = Decimal(0)
    for digits, scale in _TERMS.findall(match[0]):
        term = Decimal(digits.replace(",", ""))
        value = _EXACTLY.add(value, term.scaleb(_SCALES[scale], _EXACTLY))
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text}%" if match["percent"] else text
