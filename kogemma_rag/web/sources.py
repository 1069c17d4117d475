"""A passage, its score and what is cited of it in, the JSON object that clients get out."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from langchain_core.documents import Document
from typing_extensions import TypedDict

from kogemma_rag.citations import Citation


class Source(TypedDict):
    """A passage that was found.

    Attributes:
        n: The n of [n] in the answer, from 1.
        document_id: Of the document in GET /v1/documents.
        page: From 1; `slide`, `sheet` and `row` likewise stand where the format has them.
        start: Of the cited sentence in `text`, with `end` and `quote`; null where none is cited.
        boxes: Over `quote` on its page, a line each: x, y, width and height as shares of the page
            from its upper left corner. Empty where none is cited or there is no page to draw.
        score: Comparable within one question only.
        url: Of the place, on this server.
    """

    n: int
    document_id: str
    chunk_id: str
    title: str
    source: str
    page: int | None
    slide: int | None
    sheet: str | None
    row: int | None
    headings: list[str]
    start: int | None
    end: int | None
    boxes: list[dict[str, float]]
    text: str
    quote: str | None
    score: float | None
    url: str


class CitedSentence(TypedDict):
    """A sentence that the answer rests on; `start` and `end` are its offsets in the passage."""

    n: int
    chunk_id: str
    quote: str
    start: int
    end: int


def passage_sources(
    documents: Sequence[Document],
    scores: Mapping[str, float],
    document_ids: Mapping[str, str],
    citations: Sequence[Citation] = (),
) -> list[Source]:
    """The passages in their order, numbered from 1.

    Args:
        documents: The passages.
        scores: By chunk id.
        document_ids: By chunk id.
        citations: Of these passages; the first of each gives its `quote`.
    """
    quoted: dict[int, Citation] = {}
    for citation in citations:
        quoted.setdefault(citation.number, citation)
    return [
        _source(
            number,
            document,
            scores.get(str(document.id)),
            document_ids.get(str(document.id), ""),
            quoted.get(number),
        )
        for number, document in enumerate(documents, start=1)
    ]


def cited_sentences(citations: Sequence[Citation]) -> list[CitedSentence]:
    """Citations as clients get them."""
    return [
        {
            "n": citation.number,
            "chunk_id": str(citation.document_id),
            "quote": citation.quote,
            "start": citation.start,
            "end": citation.end,
        }
        for citation in citations
    ]


def _source(
    number: int,
    document: Document,
    score: float | None,
    document_id: str,
    citation: Citation | None,
) -> Source:
    metadata, chunk_id = document.metadata, str(document.id)
    name = str(metadata.get("source") or "")
    start, end = (citation.start, citation.end) if citation else (None, None)
    return {
        "n": number,
        "document_id": document_id,
        "chunk_id": chunk_id,
        "title": str(metadata.get("title") or name),
        "source": name,
        "page": _whole(metadata.get("page")),
        "slide": _whole(metadata.get("slide")),
        "sheet": None if metadata.get("sheet") is None else str(metadata["sheet"]),
        "row": _whole(metadata.get("row")),
        "headings": _headings(metadata.get("headings")),
        "start": start,
        "end": end,
        "boxes": [],
        "text": document.page_content,
        "quote": citation.quote if citation else None,
        "score": score,
        "url": place_url(document_id, chunk_id, start, end),
    }


def place_url(document_id: str, chunk_id: str, start: int | None, end: int | None) -> str:
    """Where the page of this server shows a passage."""
    place = {"chunk": chunk_id, "start": start, "end": end}
    known = {name: value for name, value in place.items() if value is not None}
    return f"/#/documents/{document_id}?{urlencode(known)}"


def _whole(value: Any) -> int | None:
    """Metadata of other people's documents may hold anything."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _headings(value: Any) -> list[str]:
    if not value:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
