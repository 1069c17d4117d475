"""The program that looks at pages of PDF: a page in, its picture and the boxes over a quote out.

PDFium reads other people's files: it runs in a process with limits, as the parsers do. Run by
`places.py` only.
"""

from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kogemma_rag.document_loaders.errors import DAMAGED, PASSWORD, DocumentLoadError
from kogemma_rag.document_loaders.worker import serve
from kogemma_rag.web.page_boxes import quote_boxes

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

PROGRAM = "kogemma_rag.web.page_worker"
# Pixels: sharp on a screen twice as dense as its panel is wide, and bounded for odd pages.
_WIDTH, _MOST_HEIGHT = 1_400, 4_200


def main() -> None:
    """Serve pages until stdin ends."""
    serve(_messages)


def _messages(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    import pypdfium2

    path = Path(request["path"])
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise DocumentLoadError(path, PASSWORD if locked else DAMAGED) from error
    try:
        number = request["page"]
        if not 1 <= number <= len(document):
            yield {"pages": len(document)}
            return
        try:
            page = document[number - 1]
            yield _picture(page) if request["picture"] else _boxes(page, request)
        except pypdfium2.PdfiumError as error:
            raise DocumentLoadError(path, DAMAGED) from error
    finally:
        document.close()


def _picture(page: "PdfPage") -> dict[str, Any]:
    width, height = page.get_size()
    scale = min(_WIDTH / max(width, 1.0), _MOST_HEIGHT / max(height, 1.0))
    image = page.render(scale=scale).to_pil()
    png = BytesIO()
    image.save(png, "PNG")
    return {"png": b64encode(png.getvalue()).decode("ascii")}


def _boxes(page: "PdfPage", request: dict[str, Any]) -> dict[str, Any]:
    width, height = page.get_size()
    boxes = quote_boxes(page, request["passage"], request["start"], request["end"])
    return {"width": width, "height": height, "boxes": [box._asdict() for box in boxes]}
