"""A chunk and the others of its source in, one longer passage out. Knows no index.

Chunks are slices of one text: `start_index` says where each begins, and between two that follow
each other nothing is left out but white space.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from langchain_core.documents import Document

Context = Literal["chunk", "neighbours", "section"]

_MAX_GAP = 16  # characters of white space between two chunks; what is further apart lacks a chunk


class Passage(NamedTuple):
    """A found chunk with others around it, and the ids of all that are in it."""

    document: Document
    ids: frozenset[str]


def joined(
    document: Document,
    siblings: Sequence[Document],
    context: Context,
    *,
    most_characters: int,
    taken: Collection[str] = (),
) -> Passage:
    """A chunk with those before and after it in the same text, as one document.

    What chunks repeat of each other stands in it once. White space between them, which no chunk
    holds, becomes line breaks, as many as there were characters: `start_index` and every offset in
    the passage are those of the text. A chunk whose words contradict the passage is of another
    text and left out.

    Args:
        document: The chunk that was found; its id and metadata are kept.
        siblings: Chunks of the same source in any order; only those of the same page, slide, row
            and heading path are joined.
        context: "neighbours" is one chunk before and one after, "section" all there are.
        most_characters: Of the passage; a chunk that does not fit is left out with all beyond it.
        taken: Ids of chunks that stand in another passage already.
    """
    alone = Passage(document, frozenset({str(document.id)}))
    begin = _start(document)
    if begin is None or context == "chunk":
        return alone
    text, ids, ends = document.page_content, {str(document.id)}, [True, True]
    others = [one for one in siblings if _same_text(one, document) and one.id not in taken]
    while any(ends):
        for forward in (True, False):
            found = _next(text, begin, others, forward=forward) if ends[forward] else None
            longer = None if found is None else _merged(text, begin, found)
            if found is None or longer is None or len(longer) > most_characters:
                ends[forward] = False
                continue
            text, begin = longer, min(begin, _begin(found))
            ids.add(str(found.id))
            ends[forward] = context == "section"
    if len(ids) == 1:
        return alone
    metadata = {**document.metadata, "start_index": begin}
    whole = Document(id=document.id, page_content=text, metadata=metadata)
    return Passage(whole, frozenset(ids))


def with_duplicates(documents: Sequence[Document]) -> list[Document]:
    """The documents, those whose text stands in other sources too as copies that name these.

    `metadata["duplicates"]` lists the other `source` values in order. Each document stays one of
    its own: equal texts in two files may not be equally valid. An own value of that name stays.
    """
    sources: dict[str, set[str]] = {}
    for document in documents:
        if isinstance(source := document.metadata.get("source"), str):
            sources.setdefault(document.page_content, set()).add(source)
    return [_marked(document, sources.get(document.page_content, set())) for document in documents]


def _marked(document: Document, sources: set[str]) -> Document:
    others = sorted(sources - {document.metadata.get("source")})
    if not others or "duplicates" in document.metadata:
        return document
    return document.model_copy(update={"metadata": {**document.metadata, "duplicates": others}})


def _next(text: str, begin: int, others: Sequence[Document], *, forward: bool) -> Document | None:
    """The chunk that continues a passage, or comes before it, the nearest one that agrees."""
    end = begin + len(text)
    reaching = [
        one
        for one in others
        if (
            begin < _begin(one) <= end + _MAX_GAP and _end(one) > end
            if forward
            else _begin(one) < begin <= _end(one) + _MAX_GAP and _end(one) <= end
        )
        and _merged(text, begin, one) is not None
    ]
    order = sorted(reaching, key=lambda one: (_begin(one), str(one.id)), reverse=not forward)
    return order[0] if order else None


def _merged(text: str, begin: int, other: Document) -> str | None:
    """A passage and a chunk that overlaps or follows it; None where they contradict each other."""
    (first, start), (second, then) = sorted(
        [(text, begin), (other.page_content, _begin(other))], key=lambda part: part[1]
    )
    end = start + len(first)
    if then >= end:
        return first + "\n" * (then - end) + second
    return first + second[end - then :] if second.startswith(first[then - start :]) else None


def _same_text(one: Document, other: Document) -> bool:
    """Whether two chunks were cut from one text: all that is known of them is the same."""
    place = {**one.metadata, "start_index": 0} == {**other.metadata, "start_index": 0}
    return place and _start(one) is not None and one.id != other.id


def _start(document: Document) -> int | None:
    start = document.metadata.get("start_index")
    return start if isinstance(start, int) and not isinstance(start, bool) and start >= 0 else None


def _begin(document: Document) -> int:
    return int(document.metadata["start_index"])


def _end(document: Document) -> int:
    return _begin(document) + len(document.page_content)
