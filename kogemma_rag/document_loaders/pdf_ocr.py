"""A page that is a picture in, its text out, by Tesseract with its Korean data."""

from pathlib import Path
from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.errors import DocumentLoadError

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

LANGUAGES = "kor+eng"
NO_TESSERACT = (
    "글자를 알아볼 Tesseract나 그 한국어 자료가 없습니다. "
    "데비안에서는 apt install tesseract-ocr tesseract-ocr-kor로 설치하세요"
)
_DPI = 300
_POINTS_PER_INCH = 72
# An A4 page at 300 dpi has 8.7 million; a poster is read at fewer.
_MAX_PIXELS = 12_000_000
# Seconds; below the worker's for a document.
_TIME_LIMIT = 25


def require_tesseract(path: Path) -> None:
    """Find out whether pages can be read.

    Args:
        path: The file that is to be read, for the error.

    Raises:
        ImportError: If the package for it is not installed.
        DocumentLoadError: If Tesseract or its Korean data is not installed.
    """
    try:
        import pytesseract
    except ImportError as error:
        raise ImportError(
            "reading scanned pages needs pytesseract; pip install 'kogemma-rag[ocr]'"
        ) from error
    try:
        installed = pytesseract.get_languages()
    except (pytesseract.TesseractNotFoundError, pytesseract.TesseractError) as error:
        raise DocumentLoadError(path, NO_TESSERACT) from error
    # Without the Korean data Tesseract would read Hangul as Latin letters.
    if not set(LANGUAGES.split("+")) <= set(installed):
        raise DocumentLoadError(path, NO_TESSERACT)


def recognized_text(page: "PdfPage") -> str:
    """The text that is seen on a page.

    Args:
        page: Of PDFium.

    Raises:
        ValueError: If Tesseract fails or takes too long.
    """
    import pytesseract

    width, height = page.get_size()
    scale = min(_DPI / _POINTS_PER_INCH, (_MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    picture = page.render(scale=scale, grayscale=True).to_pil()
    try:
        text: str = pytesseract.image_to_string(picture, lang=LANGUAGES, timeout=_TIME_LIMIT)
    # What pytesseract raises when the time is up is a plain RuntimeError, above its own.
    except RuntimeError as error:
        raise ValueError(f"글자를 알아보지 못했습니다({error})") from error
    return text
