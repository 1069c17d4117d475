"""An answer with [n] in it and its passages in, checked citations out. Knows no chain, no model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from langchain_core.documents import Document

from kogemma_rag.morphemes import character_bigrams, sentence_spans
from kogemma_rag.prompts import describe_source

# At most ten numbers, so that a mark has a greatest length and a stream can wait for its end.
_MARK = re.compile(r"(\s?)\[(\d{1,4}(?:\s?,\s?\d{1,4}){0,9})\]")
# What may still become a mark when the next piece of a stream comes.
_OPEN_MARK = re.compile(r"(?:\s|\s?\[[\d,\s]{0,70})$")
_OPEN_BRACKET = re.compile(r"\[[\d,\s]*$")


@dataclass(frozen=True)
class Citation:
    """A passage that the answer names, and the sentence in it that bears the claim.

    Attributes:
        number: The n of [n] in the answer, from 1; the passage is `documents[n - 1]`.
        quote: The sentence of the passage; `start` and `end` are its offsets in the passage.
        metadata: The passage's own: source, title, and page | slide | sheet | headings.
    """

    number: int
    document_id: str | None
    quote: str
    start: int
    end: int
    metadata: dict[str, Any] = field(hash=False)

    @property
    def source(self) -> str:
        """Where the passage stands, in one line."""
        return describe_source(self.metadata)


class CitationCheck:
    """Passes an answer on piece by piece without the numbers that name no passage.

    Attributes:
        answer: What was passed on so far.
        dropped: How many numbers there were that name no passage.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._held = ""
        self._claim = ""
        self._claim_start = 0
        self._citations: dict[tuple[int, int, int], Citation] = {}
        self.answer = ""
        self.dropped = 0

    def feed(self, piece: str) -> str:
        """The part of the text so far that is certain; the rest waits for the next piece."""
        text = self._held + piece
        open_mark = _OPEN_MARK.search(text)
        certain = text[: open_mark.start()] if open_mark else text
        self._held = text[len(certain) :]
        return self._pass_on(certain)

    def finish(self) -> str:
        """What was still held back."""
        rest, self._held = self._held, ""
        return self._pass_on(rest)

    def citations(self) -> list[Citation]:
        """One for each passage and sentence that the answer so far rests on, in its order."""
        return list(self._citations.values())

    def _pass_on(self, text: str) -> str:
        passed = len(self.answer)
        at = 0
        for mark in _MARK.finditer(text):
            self.answer += text[at : mark.start()]
            self._pass_mark(space=mark[1], numbers=[int(number) for number in mark[2].split(",")])
            at = mark.end()
        self.answer += text[at:]
        return self.answer[passed:]

    def _pass_mark(self, space: str, numbers: Sequence[int]) -> None:
        known = [number for number in numbers if 1 <= number <= len(self._documents)]
        self.dropped += len(numbers) - len(known)
        if not known:
            # What stands around a dropped mark must not close up to another: "[1[9]]".
            self.answer += " " if _OPEN_BRACKET.search(self.answer) else ""
            return
        # Marks in a row, "[1][2]", share one claim.
        self._claim = self.answer[self._claim_start :].strip() or self._claim
        for number in known:
            citation = _cite(number, self._claim, self._documents[number - 1])
            key = (number, citation.start, citation.end)
            self._citations.setdefault(key, citation)
        self.answer += f"{space}[{', '.join(map(str, known))}]"
        self._claim_start = len(self.answer)


def _cite(number: int, claim: str, document: Document) -> Citation:
    start, end = _closest_sentence(claim, document.page_content)
    return Citation(
        number=number,
        document_id=document.id,
        quote=document.page_content[start:end],
        start=start,
        end=end,
        metadata=dict(document.metadata),
    )


def _closest_sentence(claim: str, text: str) -> tuple[int, int]:
    """The sentence that shares most bigrams with a claim (Dice), the first one among equals."""
    wanted = set(character_bigrams(claim))

    def likeness(span: tuple[int, int]) -> float:
        pairs = set(character_bigrams(text[span[0] : span[1]]))
        return 2 * len(pairs & wanted) / (len(pairs) + len(wanted) or 1)

    return max(sentence_spans(text), key=likeness, default=(0, 0))


def render_html(answer: str, citations: Sequence[Citation]) -> str:
    """Answer and sources as HTML for a notebook; every text in it is escaped."""
    sources = "".join(
        f"<li value='{citation.number}'><b>{escape(citation.source)}</b>"
        f"<blockquote>{escape(citation.quote)}</blockquote></li>"
        for citation in citations
    )
    body = escape(answer).replace("\n", "<br>")
    return f"<div><p>{body}</p>" + (f"<ol>{sources}</ol>" if sources else "") + "</div>"
