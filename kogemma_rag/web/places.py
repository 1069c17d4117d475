"""A passage of a document in, where it stands out: in the text of its file, and on the page.

The text is made of the file's chunks, so that every format has one and the file is not read again.
"""

from base64 import b64decode
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from kogemma_rag.document_loaders.parser_pool import ParserPool
from kogemma_rag.neighbours import joined
from kogemma_rag.web.document_library import DocumentLibrary, DocumentNotFoundError
from kogemma_rag.web.page_worker import PROGRAM

_PROCESSES = 2
_CHUNKS_AROUND = 40  # before and after the passage that are shown with it
_MOST_CHARACTERS = 200_000  # of one section
_PDF = "application/pdf"


class NoPageError(LookupError):
    """A document has no such page, or none at all; the message is for users."""


@dataclass(frozen=True)
class Section:
    """A stretch of text in a document.

    Attributes:
        start_index: Where it begins in the text that it was cut from.
        chunk_ids: Of the chunks that are in it.
    """

    headings: tuple[str, ...]
    page: int | None
    slide: int | None
    sheet: str | None
    row: int | None
    text: str
    start_index: int
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True)
class Mark:
    """What is cited; `start` and `end` are offsets in the text of a section, by its number."""

    section: int
    start: int
    end: int


@dataclass(frozen=True)
class PlacedText:
    """The text around a passage.

    Attributes:
        title: Of the document.
        more_before: Whether the document goes on before the first section.
        more_after: Whether it goes on after the last one.
    """

    title: str
    sections: tuple[Section, ...]
    marks: tuple[Mark, ...]
    more_before: bool
    more_after: bool


@dataclass(frozen=True)
class PageView:
    """A page's size in points, and the boxes over what is cited, as shares of it."""

    width: float
    height: float
    boxes: tuple[dict[str, float], ...]


class Places:
    """Where passages stand.

    Args:
        documents: That they are from.
    """

    def __init__(self, documents: DocumentLibrary) -> None:
        self._documents = documents
        self._pool = ParserPool(_PROCESSES, PROGRAM)

    def close(self) -> None:
        """End the processes that look at pages."""
        self._pool.__exit__(None)

    def text(
        self,
        document_id: str,
        chunk_id: str | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> PlacedText:
        """The text of a document around a chunk, or from its beginning.

        Args:
            document_id: Of the document.
            chunk_id: What is to be marked.
            start: Of what is cited in the chunk; all of it by default.
            end: Of what is cited in the chunk.

        Raises:
            DocumentNotFoundError: If there is no such document, or it has no such chunk.
        """
        place = self._documents.file_place(document_id, chunk_id)
        chunks = self._documents.files.documents(place.path, chunk_id)
        at = _row(chunks, chunk_id)
        first, last = max(at - _CHUNKS_AROUND, 0), at + _CHUNKS_AROUND + 1
        sections = _sections(chunks[first:last])
        marks = _marks(sections, chunks[at], start, end) if chunk_id is not None else ()
        return PlacedText(place.title, sections, marks, first > 0, last < len(chunks))

    def page(
        self,
        document_id: str,
        number: int,
        chunk_id: str | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> PageView:
        """A page, and where on it a chunk stands or what is cited of it; see `text`.

        Args:
            document_id: Of the document.
            number: Of the page, from 1.
            chunk_id: What is to be boxed.
            start: Of what is cited in the chunk.
            end: Of what is cited in the chunk.

        Raises:
            DocumentNotFoundError: If there is no such document, or it has no such chunk.
            NoPageError: If it has no such page.
            DocumentLoadError: If the page cannot be read.
        """
        passage = ""
        if chunk_id is not None:
            [chunk] = self._documents.files.chunks([chunk_id]) or [Document("")]
            passage = chunk.page_content if chunk.metadata.get("page") == number else ""
        span = _span(passage, start, end)
        answer = self._ask(document_id, number, chunk_id, passage=passage, span=span)
        return PageView(answer["width"], answer["height"], tuple(answer["boxes"]))

    def picture(self, document_id: str, number: int, chunk_id: str | None = None) -> bytes:
        """A page as PNG.

        Args:
            document_id: Of the document.
            number: Of the page, from 1.
            chunk_id: A chunk on it: while one file replaces another, it tells which is meant.

        Raises:
            DocumentNotFoundError: If there is no such document, or it has no such chunk.
            NoPageError: If it has no such page.
            DocumentLoadError: If the page cannot be drawn.
        """
        return b64decode(self._ask(document_id, number, chunk_id, picture=True)["png"])

    def _ask(
        self,
        document_id: str,
        number: int,
        chunk_id: str | None,
        *,
        picture: bool = False,
        passage: str = "",
        span: tuple[int, int] = (0, 0),
    ) -> dict[str, Any]:
        place = self._documents.file_place(document_id, chunk_id)
        media_type = place.media_type
        if media_type is None and chunk_id is not None:  # an engine tells it of chunks alone
            [chunk] = self._documents.files.chunks([chunk_id]) or [Document("")]
            media_type = chunk.metadata.get("media_type")
        if media_type != _PDF:
            raise NoPageError("쪽을 그림으로 볼 수 없는 형식입니다. 글로 보세요.")
        if not Path(place.path).is_file():
            raise NoPageError("원본 파일이 없어 쪽을 그릴 수 없습니다. 글로 보세요.")
        request = {"path": place.path, "ocr": False, "page": number, "picture": picture}
        request |= {"passage": passage, "start": span[0], "end": span[1]}
        with closing(self._pool.answers(request)) as answers:
            [answer] = answers
        if "pages" in answer:
            raise NoPageError(f"{number}쪽은 없습니다. 이 문서는 모두 {answer['pages']}쪽입니다.")
        return answer


def _row(chunks: Sequence[Document], chunk_id: str | None) -> int:
    if chunk_id is None:
        return 0
    for row, chunk in enumerate(chunks):
        if chunk.id == chunk_id:
            return row
    raise DocumentNotFoundError


def _span(text: str, start: int | None, end: int | None) -> tuple[int, int]:
    """What is cited of a chunk; all of it, where offsets lack or lie outside."""
    if start is None or end is None or not 0 <= start < end <= len(text):
        return 0, len(text)
    return start, end


def _sections(chunks: Sequence[Document]) -> tuple[Section, ...]:
    """Chunks in reading order as few stretches of text: what chunks repeat stands in one once."""
    sections = []
    for _, group in groupby(chunks, key=_place):
        waiting = list(group)
        while waiting:
            passage = joined(waiting[0], waiting, "section", most_characters=_MOST_CHARACTERS)
            sections.append(_section(passage.document, [c for c in waiting if c.id in passage.ids]))
            waiting = [chunk for chunk in waiting if chunk.id not in passage.ids]
    return tuple(sections)


def _place(chunk: Document) -> dict[str, Any]:
    return {**chunk.metadata, "start_index": 0}


def _section(text: Document, chunks: Sequence[Document]) -> Section:
    metadata = text.metadata
    headings = metadata.get("headings")
    sheet = metadata.get("sheet")
    return Section(
        headings=tuple(map(str, headings)) if isinstance(headings, list) else (),
        page=_number(metadata.get("page")),
        slide=_number(metadata.get("slide")),
        sheet=None if sheet is None else str(sheet),
        row=_number(metadata.get("row")),
        text=text.page_content,
        start_index=_number(metadata.get("start_index")) or 0,
        chunk_ids=tuple(str(chunk.id) for chunk in chunks),
    )


def _number(value: Any) -> int | None:
    """Metadata of other people's documents may hold anything."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _marks(
    sections: Sequence[Section], chunk: Document, start: int | None, end: int | None
) -> tuple[Mark, ...]:
    first, last = _span(chunk.page_content, start, end)
    for number, section in enumerate(sections):
        if str(chunk.id) in section.chunk_ids:
            offset = (_number(chunk.metadata.get("start_index")) or 0) - section.start_index
            return (Mark(number, offset + first, offset + last),)
    return ()
