"""Korean text in, content morphemes and sentence spans out. Knows no index and no file.

Both take NFC text (the analyzer leaves decomposed syllables whole); loaders and query entry points
bring text there.
"""

import re
from functools import cache, lru_cache
from typing import Any

# Parts of speech that carry content: nouns, numerals, foreign words, hanja, numbers, roots, stems
# of verbs and adjectives, unknown words. Adverbs, determiners and pronouns were measured and left
# out: on the TyDi Korean questions they cost one point of recall@1.
# Tags: https://bitbucket.org/eunjeon/mecab-ko-dic
_CONTENT_TAGS = frozenset({"NNG", "NNP", "NNB", "NNBC", "NR", "SL", "SH", "SN", "VV", "VA", "XR"})
_UNKNOWN_TAGS = frozenset({"UNKNOWN", "UNA"})

_CLOSERS = "\"'”’」』》〉)\\]）］】"
# A sentence ends at marks followed by white space, or at "…다." that runs into the next word.
# One that begins inside a row of marks would look at the rest of it again and again.
_SENTENCE_END = re.compile(
    rf"(?:(?<![.!?。！？…])[.!?。！？…]+[{_CLOSERS}]*(?=\s|$))|(?:(?<=[다요까죠음임함됨])[.!?](?=[가-힣A-Z“‘「『〈《(]))"
)
# Not ends: "1." and "가." in front of list items, initials, and abbreviations.
_NOT_AN_END = re.compile(
    r"(?:^|[\s(])(?:\d{1,3}|[가-하]|[A-Za-z]|Mr|Mrs|Ms|Dr|St|No|vs|etc|cf|Jr|Inc|Sgt|Op|Vol|pp|Fig|al|Co|Ltd)\.$"
)
_NOT_WORD = re.compile(r"[\W_]+")
_LINE_BREAK = re.compile(r"(?<![ \t])[ \t]*\n\s*")
# The analyzer ends at a NUL and takes no lone surrogates; its answer has a line for each morpheme.
_UNREADABLE = re.compile(r"[\x00-\x1f\ud800-\udfff]")
_NEW_ITEM = re.compile(
    r"[|#>\-*•·○●◦□■◇◆▶▷※❍ㅇ]|\d{1,3}[.)]\s|[가-하][.)]\s|[①-⑳]|제\s?\d+\s?[장절조항]|\[\d|\([\d가-하]\)"
)
# A line this long that ends without a mark was wrapped by its layout, not ended by its author.
_WRAPPED_LINE = 25
# Characters; one in two hundred of Wikipedia's sentences is longer.
_LONG_SENTENCE = 200
# Characters; the analyzer takes quadratic time over one kind of them in a row.
_MOST_ANALYZED = 5_000


@cache
def _tagger() -> Any:
    from mecab import MeCab

    return MeCab()._tagger


def content_morphemes(text: str) -> list[str]:
    """Content morphemes of a text in order, lower-cased, repeats kept.

    Compounds are taken apart and inflected stems brought to their dictionary form:
    "서울은", "서울의" -> "서울"; "뽑았다" -> "뽑".
    """
    return [morpheme for line in _analyzed(text) for morpheme in _content(line)]


def _analyzed(text: str) -> list[str]:
    """Lines of a morpheme, a tab, and its eight features.

    python-mecab-ko's own objects for them take twice the time of the analysis.
    """
    from mecab.utils import create_lattice

    lattice = create_lattice(_UNREADABLE.sub(" ", text))
    if not _tagger().parse(lattice):
        raise RuntimeError(f"MeCab cannot analyze a text: {lattice.what()}")
    lines: list[str] = lattice.to_string().split("\n")
    return lines[:-2]  # without "EOS" and what comes after its line break


@lru_cache(maxsize=2**15)  # the same words come again and again
def _content(line: str) -> tuple[str, ...]:
    surface, _, features = line.partition("\t")
    tag, *_, expression = features.split(",")
    units = [(surface, tag)]
    if expression != "*":  # "하/VV/*+았/EP/*" has two
        parts = (unit.split("/") for unit in expression.split("+"))
        units = [(part[0], part[1]) for part in parts if len(part) > 1]
    return tuple(
        surface.lower() for surface, tag in units if tag in _CONTENT_TAGS or tag in _UNKNOWN_TAGS
    )


def character_bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters in order, white space and marks removed, lower-cased.

    They find what the analyzer cuts wrongly: names, new words, wrong spacing.
    """
    characters = bare_characters(text)
    return [characters[i : i + 2] for i in range(len(characters) - 1)]


@lru_cache(maxsize=256)
def question_terms(question: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Content morphemes and bigrams of a question; several parts of one search look at them."""
    return tuple(content_morphemes(question)), tuple(character_bigrams(question))


def bare_characters(text: str) -> str:
    """The characters that bigrams are made of."""
    return _NOT_WORD.sub("", text.lower())


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where each sentence, heading, list item or table row stands, as [start, end) offsets.

    Spans are ordered, do not overlap, begin and end on visible characters, and leave out nothing
    but white space between them. Text in brackets or quotes is not cut from its sentence, nor is a
    line that its layout wrapped. Only where marks leave a very long sentence are its morphemes
    looked at, for endings of sentences that nobody marked.
    """
    marked = _spans(text, {*_mark_cuts(text), *_line_cuts(text)})
    long = [
        (start, min(start + _MOST_ANALYZED, end))
        for first, end in marked
        if end - first > _LONG_SENTENCE
        for start in range(first, end, _MOST_ANALYZED)
    ]
    unmarked = {start + cut for start, end in long for cut in _ending_cuts(text[start:end])}
    return _spans(text, {*(end for _, end in marked), *unmarked}) if unmarked else marked


def kiwi_sentence_spans(text: str) -> list[tuple[int, int]]:
    """As `sentence_spans`, with the sentences of Kiwi in each line: 90 times as slow.

    Raises:
        ImportError: If Kiwi is not installed.
    """
    lines = _spans(text, set(_line_cuts(text)))
    found = _kiwi().split_into_sents(text[start:end] for start, end in lines)
    cuts = {start + one.end for (start, _), line in zip(lines, found, strict=True) for one in line}
    return _spans(text, cuts | {end for _, end in lines})


def _spans(text: str, cuts: set[int]) -> list[tuple[int, int]]:
    spans = []
    start = 0
    for cut in sorted({*cuts, len(text)}):
        piece = text[start:cut]
        stripped = piece.strip()
        if stripped:
            offset = start + piece.index(stripped[0])
            spans.append((offset, offset + len(stripped)))
        start = cut
    return spans


def _ending_cuts(sentence: str) -> list[int]:
    """Behind sentence-final endings before white space, unless what follows goes on with them.

    Without a mark the analyzer takes most final endings for connective ones (EC).
    """
    cuts: list[int] = []
    place, ended = 0, False
    for line in _analyzed(sentence):
        surface, _, features = line.partition("\t")
        tags = features.split(",", 1)[0].split("+")
        start = sentence.find(surface, place)
        if start < 0:  # what the analyzer could not read
            continue
        goes_on = tags[0].startswith(("J", "E", "XS")) or (
            tags[0].startswith("V") and surface[0] in "하해한할했"
        )
        if ended and start > place and not goes_on:
            cuts.append(place)
        final = tags[-1] == "EF" or (tags[-1] == "EC" and surface[-1] in "다요까죠")
        place, ended = start + len(surface), final
    return cuts


@cache
def _kiwi() -> Any:
    try:
        from kiwipiepy import Kiwi
    except ImportError as error:
        raise ImportError("Kiwi is not installed: pip install 'kogemma-rag[kiwi]'") from error
    return Kiwi()


def _mark_cuts(text: str) -> list[int]:
    return [
        match.end()
        for match in _SENTENCE_END.finditer(text)
        if not _NOT_AN_END.search(text, max(0, match.end() - 8), match.end())
    ]


def _line_cuts(text: str) -> list[int]:
    cuts = []
    line_start = 0
    for match in _LINE_BREAK.finditer(text):
        line = text[line_start : match.start()]
        blank_line = match.group().count("\n") > 1
        wrapped = (
            len(line) >= _WRAPPED_LINE
            and not line.lstrip().startswith(("|", "#"))
            and not _NEW_ITEM.match(text, match.end())
        )
        if blank_line or not wrapped:
            cuts.append(match.end())
        line_start = match.end()
    return cuts
