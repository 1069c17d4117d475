"""Pages of a PDF in, their lines and tables out, and what all pages of a file have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.errors import DAMAGED
from kogemma_rag.document_loaders.pdf_columns import reading_order
from kogemma_rag.document_loaders.pdf_lines import Line, PageText, Piece, Table
from kogemma_rag.document_loaders.pdf_margins import Margins
from kogemma_rag.document_loaders.pdf_objects import Box, Frame, page_objects
from kogemma_rag.document_loaders.pdf_paragraphs import Breaks, line_breaks
from kogemma_rag.document_loaders.pdf_tables import may_have_tables, ruled_tables

if TYPE_CHECKING:
    from pdfplumber.page import Page as PlumberPage
    from pdfplumber.pdf import PDF
    from pypdfium2 import PdfDocument, PdfPage

DAMAGED_PAGE = f"쪽을 읽을 수 없습니다. {DAMAGED}"
# Pages from all over the file that are looked at before the first is given out: what returns on
# them is a header, and how their lines end tells how to join them.
_SAMPLE_PAGES = 40


class PageError(ValueError):
    """A page cannot be read; the message is a Korean sentence."""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        pieces: Lines and tables in the order they were written in.
        picture: The page to look at, where it shows images.
    """

    pieces: tuple[Piece, ...]
    frame: Frame
    picture: "PdfPage | None" = None


@dataclass(frozen=True)
class Habits:
    """What returns on the pages of a file, and how it breaks its lines."""

    margins: Margins
    breaks: Breaks


class PageReader:
    """Reads pages of one file.

    Args:
        document: Of PDFium.
        path: The file, for pdfplumber.
    """

    def __init__(self, document: "PdfDocument", path: Path) -> None:
        self._document = document
        self._path = path
        self._plumber: PDF | None = None
        self._kept: dict[int, Page] = {}

    def close(self) -> None:
        """Let go of the file; PDFium's document stays open."""
        if self._plumber is not None:
            self._plumber.close()

    def sample(self, count: int) -> list[Page]:
        """Pages from all over the first `count`; they are kept until they are read."""
        step = max(1, -(-count // _SAMPLE_PAGES))
        for number in range(0, count, step):
            try:
                self._kept[number] = self.read(number)
            except PageError:
                continue
        return list(self._kept.values())

    def read(self, number: int) -> Page:
        """A page.

        Args:
            number: From 0.

        Raises:
            PageError: If it is damaged.
        """
        import pypdfium2

        if number in self._kept:
            return self._kept.pop(number)
        try:
            page = self._document[number]
            return self._page(page, number)
        except pypdfium2.PdfiumError as error:
            raise PageError(DAMAGED_PAGE) from error

    def _page(self, page: "PdfPage", number: int) -> Page:
        frame = Frame.of(page)
        objects = page_objects(page, frame)
        text = PageText(page.get_textpage(), frame)
        tables: list[Table] = []
        taken: set[int] = set()
        lines: Sequence[Line]
        if may_have_tables(objects, text):
            tables, taken = self._tables(number, text)
        if text.text.strip() or not objects.texts:
            lines = text.lines(objects.spaces, taken)
        else:
            lines = self._plain_lines(number)
        found: list[Piece] = [*lines, *tables]
        pieces = sorted(found, key=lambda piece: piece.start)
        return Page(tuple(pieces), frame, page if objects.pictures else None)

    def _tables(self, number: int, text: PageText) -> tuple[list[Table], set[int]]:
        from pdfminer.pdfexceptions import PDFException
        from pdfplumber.utils.exceptions import PdfminerException

        try:
            page = self._plumber_page(number)
            try:
                return ruled_tables(page, text)
            finally:
                page.close()
        except (PDFException, PdfminerException):
            # The text is whole without: PDFium repairs what pdfminer cannot.
            return [], set()

    def _plain_lines(self, number: int) -> list[Line]:
        """By pdfminer, which keeps letters without a width; PDFium drops them."""
        from pdfminer.pdfexceptions import PDFException
        from pdfplumber.utils.exceptions import PdfminerException

        try:
            page = self._plumber_page(number)
            found = page.extract_text_lines(return_chars=False)
            page.close()
        except (PDFException, PdfminerException):
            return []
        return [
            Line(
                line["text"],
                start,
                Box(line["x0"], line["top"], line["x1"], line["bottom"]),
                line["bottom"] - line["top"],
            )
            for start, line in enumerate(found)
        ]

    def _plumber_page(self, number: int) -> "PlumberPage":
        import pdfplumber

        if self._plumber is None:
            self._plumber = pdfplumber.open(self._path)
        return self._plumber.pages[number]


def page_habits(reader: PageReader, count: int) -> Habits:
    """What a sample of the first `count` pages shows of all."""
    pages = reader.sample(count)
    margins = Margins([(page.pieces, page.frame.height) for page in pages])
    bodies = [margins.taken_off(page.pieces, page.frame.height) for page in pages]
    # Pages that all say one thing say it as their text.
    if not any(bodies) and not any(page.picture for page in pages):
        margins = Margins([])
    return Habits(margins, line_breaks([run for body in bodies for run in reading_order(body)]))
