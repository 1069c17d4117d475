"""PDF in, a document for each page and section out, tables as Markdown in their place.

Here is the way through a file; what a page says is found by the modules `pdf_…` beside this one.
Attachments, scripts and links are not looked at.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.errors import (
    DAMAGED,
    EMPTY,
    PASSWORD,
    DocumentLoadError,
    SkippedPart,
)
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.pdf_columns import reading_order
from kogemma_rag.document_loaders.pdf_lines import Piece
from kogemma_rag.document_loaders.pdf_margins import Region
from kogemma_rag.document_loaders.pdf_ocr import recognized_lines, require_tesseract
from kogemma_rag.document_loaders.pdf_outline import Outline, page_sections
from kogemma_rag.document_loaders.pdf_pages import (
    Habits,
    Page,
    PageError,
    PageReader,
    page_habits,
)
from kogemma_rag.document_loaders.pdf_paragraphs import line_breaks, paragraphs
from kogemma_rag.document_loaders.pdf_properties import properties

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

SCANNED = (
    "글자가 없는 PDF입니다(스캔한 그림). OCR로 글자를 넣어 다시 저장하거나, "
    "pip install 'kogemma-rag[ocr]'로 설치한 뒤 OCR을 켜고 읽으세요"
)
SCANNED_PAGE = "글자 없이 그림만 있는 쪽입니다(스캔). OCR을 켜고 읽으세요"
TOO_MANY_PAGES = "쪽이 너무 많습니다. 나누어 저장하세요"
_MAX_PAGES = 20_000


class PDFLoader(FileLoader):
    """PDF: a document for each page, or for each section of it where the outline names some.

    With `ocr`, pages that are pictures are read by Tesseract, which takes seconds a page; such
    documents have metadata["ocr"].
    """

    media_types: ClassVar[dict[str, str]] = {".pdf": "application/pdf"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import pypdfium2

        try:
            document = pypdfium2.PdfDocument(self.path.read_bytes())
        except pypdfium2.PdfiumError as error:
            locked = "password" in str(error).lower()
            raise DocumentLoadError(self.path, PASSWORD if locked else DAMAGED) from error
        reader = PageReader(document, self.path)
        try:
            yield from self._documents(document, reader)
        finally:
            reader.close()
            document.close()

    def _documents(
        self, document: "PdfDocument", reader: PageReader
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        outline = Outline.of(document)
        known = properties(document.get_metadata_dict())
        if "title" not in known and outline.title:
            known["title"] = outline.title
        count = min(len(document), _MAX_PAGES)
        habits = page_habits(reader, count)
        left_out: dict[str, list[int]] = {}
        empty = True
        for number in range(count):
            try:
                for text, metadata in self._page(reader.read(number), number, habits, outline):
                    empty = False
                    yield text, {**known, "page": number + 1, **metadata}
            except PageError as error:
                left_out.setdefault(str(error), []).append(number + 1)
            outline.leave(number)
        if count < len(document):
            left_out[TOO_MANY_PAGES] = [*range(count + 1, len(document) + 1)]
        self.skipped += [
            SkippedPart(name, reason)
            for reason, numbers in left_out.items()
            for name in _page_names(numbers)
        ]
        regions: tuple[Region, ...] = () if empty else ("header", "footer")
        for region in regions:
            yield "\n".join(habits.margins.texts(region)), {**known, "region": region}

    def _page(
        self, page: Page, number: int, habits: Habits, outline: Outline
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        body = habits.margins.taken_off(page.pieces, page.frame.height)
        breaks = habits.breaks
        seen: dict[str, Any] = {}
        if not body and page.picture:
            body, seen = self._recognized(page.picture), {"ocr": True}
            breaks = line_breaks(reading_order(body))
        runs, path = outline.enter(number, reading_order(body))
        for text, headings in page_sections(paragraphs(runs, breaks), path):
            places = {"headings": [heading.text for heading in headings]} if headings else {}
            yield text, {**places, **seen}

    def _recognized(self, picture: "PdfPage") -> list[Piece]:
        if not self.ocr:
            raise PageError(SCANNED_PAGE)
        require_tesseract(self.path)
        try:
            return [*recognized_lines(picture)]
        except ValueError as error:
            raise PageError(str(error)) from error

    def _empty_reason(self) -> str:
        reason = self.skipped[0].reason if self.skipped else SCANNED_PAGE
        if reason != SCANNED_PAGE:
            return reason
        return EMPTY if self.ocr else SCANNED


def _page_names(numbers: Sequence[int]) -> list[str]:
    """Each page as "3쪽", those that follow each other as "5~9쪽"."""
    names = []
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        pages = [number for _, number in group]
        names.append(f"{pages[0]}쪽" if len(pages) == 1 else f"{pages[0]}~{pages[-1]}쪽")
    return names
