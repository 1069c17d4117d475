"""A Korean sentence in, its clauses out: their morphemes, what they are about, how each is asked.

Knows no questions: `question_rules` puts the question words in.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

# The analyzer ends at a NUL and takes no lone surrogates.
_UNREADABLE = re.compile(r"[\x00-\x1f\ud800-\udfff]")
_LIST_MARK = re.compile(r"(?:[-*•·○●]|\d{1,3}[.)]|[가-하][.)]|[①-⑳])\s+")
_COORDINATE = frozenset({"고", "며", "으며", "이며", "지만"})
# Jamo as the analyzer's dictionary writes them in the place of a final consonant.
_MERGED = frozenset({"ᆫ다", "ㄴ다", "ᄇ니다", "ㅂ니다", "ᆸ니다"})
_PREDICATES = frozenset({"VV", "VX", "VA", "XSV", "XSA", "EP"})
_FINAL_NIEUN, _FINAL_RIEUL = 4, 8  # the places of ㄴ and ㄹ among the 28 finals of a syllable


@dataclass(frozen=True)
class Token:
    """A morpheme as it stands in a sentence; merged ones, "합니다", have several units."""

    surface: str
    start: int
    end: int
    units: tuple[tuple[str, str], ...]
    semantic: str | None

    @property
    def tag(self) -> str:
        """Of the first unit."""
        return self.units[0][1]

    @property
    def last_tag(self) -> str:
        """Of the last unit."""
        return self.units[-1][1]


@dataclass(frozen=True)
class Clause:
    """A statement of a sentence, with what it needs to be asked by itself.

    Attributes:
        topic: What stands in front when the clause names no topic of its own; may be empty.
        text: Of the sentence, to which offsets of tokens refer.
        start: Offset of the clause in it.
        end: Where its ending begins, which `asked` replaces; the clause is `text[start:end]`.
        asked: The ending of a question: "나요", "인가요", with the stem that merged into it.
        copula: Whether it says that something is something.
        tokens: Those before the ending.
    """

    topic: str
    text: str
    start: int
    end: int
    asked: str
    copula: bool
    tokens: tuple[Token, ...]

    def topic_end(self) -> int | None:
        """Where the first topic or subject, with its particle, ends; None where there is none."""
        for before, token in zip(self.tokens, self.tokens[1:], strict=False):
            marked = token.tag in ("JX", "JKS") and token.surface in "은는이가"
            if marked and before.last_tag.startswith(("N", "S", "ETN", "XSN", "JKB")):
                return token.end
        return None

    def own_topic(self) -> str:
        """All up to the first 은 or 는, with it; empty where it is no plain noun phrase."""
        end = self.topic_end()
        if end is None or self.text[end - 1] not in "은는":
            return ""
        plain = all(token.last_tag != "EC" for token in self.tokens if token.end <= end)
        return self.text[self.start : end] if plain else ""


def read_tokens(text: str) -> list[Token]:
    """The morphemes of a text, with their places in it."""
    tokens = []
    place = 0
    for morpheme in _mecab().parse(_UNREADABLE.sub(" ", text)):
        start = text.find(morpheme.surface, place)
        if start < 0:  # what the analyzer could not read
            continue
        place = start + len(morpheme.surface)
        feature = morpheme.feature
        units = tuple(_units(morpheme.surface, feature.pos, feature.expression))
        tokens.append(Token(morpheme.surface, start, place, units, feature.semantic))
    return tokens


def clauses(sentence: str) -> list[Clause]:
    """The clauses of a statement that can be asked; none of what is no statement.

    "A는 3일이며, B는 5일이다." has two. A clause without a topic of its own has that of the first.
    """
    mark = _LIST_MARK.match(sentence)
    start = mark.end() if mark else 0
    tokens = [token for token in read_tokens(sentence) if token.start >= start]
    if len(tokens) < 4 or tokens[-1].tag != "SF" or not sentence.endswith("."):
        return []
    while tokens and tokens[0].tag in ("MAJ", "SC"):  # "또한, …"
        tokens = tokens[1:]
    found: list[Clause] = []
    first = 0
    topic = ""
    for at, token in enumerate(tokens):
        followed = tokens[at + 1].tag if at + 1 < len(tokens) else ""
        comma = followed == "SC" and token.units[-1][0] in _COORDINATE and token.last_tag == "EC"
        if not (comma or (followed == "SF" and at + 2 == len(tokens))):
            continue
        clause = _clause(sentence, tokens[first : at + 1], topic if first else "")
        if clause is not None:
            found.append(clause)
            if not first:
                topic = clause.own_topic()
        first = at + 2
    return found


def _clause(sentence: str, tokens: Sequence[Token], topic: str) -> Clause | None:
    ending = _ending(tokens)
    if ending is None:
        return None
    taken, asked, copula = ending
    kept = tuple(tokens[: len(tokens) - taken])
    if not kept:
        return None
    clause = Clause("", sentence, kept[0].start, tokens[-taken].start, asked, copula, kept)
    return clause if clause.topic_end() is not None else replace(clause, topic=topic)


def _ending(tokens: Sequence[Token]) -> tuple[int, str, bool] | None:
    """How many tokens are the ending, what asks in their place, whether it is a copula."""
    if len(tokens) < 2:
        return None
    *_, before, last = tokens
    stem, ending = last.units[:-1], last.units[-1][0]
    if stem:  # "합니다", "이다" in one token
        if stem[-1][1] == "VCP":
            return 1, "인가요", True
        if ending in _MERGED and all(tag in _PREDICATES - {"EP"} for _, tag in stem):
            return 1, _open("".join(surface for surface, _ in stem)) + "나요", False
        return None
    if ending not in {"다", "습니다", "는다"} | _COORDINATE:
        return None
    if before.last_tag == "VCP":
        return 2, "인가요", True
    if before.last_tag == "EP":
        return 1, "나요", False
    if before.last_tag not in _PREDICATES:
        return None
    stem_said = before.surface
    if ending == "다" and stem_said not in ("있", "없"):
        # The analyzer takes "만든다" for 만든 and 다; what else ends in 다 so is an adjective.
        if before.last_tag == "VA" or _final(stem_said) != _FINAL_NIEUN:
            return None
        stem_said = _without_final(stem_said)
    return 2, _open(stem_said) + "나요", False


def _open(stem: str) -> str:
    """A stem before 나요: 만들 -> 만드."""
    return _without_final(stem) if _final(stem) == _FINAL_RIEUL else stem


def _final(text: str) -> int:
    """Number of the final consonant of the last syllable, 0 where it has none."""
    code = ord(text[-1]) - ord("가")
    return code % 28 if 0 <= code < 11172 else 0


def _without_final(text: str) -> str:
    return text[:-1] + chr(ord(text[-1]) - _final(text))


def _units(surface: str, tags: str, expression: str | None) -> Iterator[tuple[str, str]]:
    """Surface and tag of each part of a morpheme; nouns stay whole."""
    if "+" not in tags or not expression:
        yield surface, tags
        return
    for part in expression.split("+"):
        pieces = part.split("/")
        yield pieces[0], pieces[1] if len(pieces) > 1 else tags


@cache
def _mecab() -> Any:
    from mecab import MeCab

    return MeCab()
