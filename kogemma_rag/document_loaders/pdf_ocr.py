"""A page that is a picture in, its lines of text out, by Tesseract with its Korean data."""

import csv
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.errors import DocumentLoadError
from kogemma_rag.document_loaders.pdf_lines import WIDE_GAP, Line
from kogemma_rag.document_loaders.pdf_objects import Box, around

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

LANGUAGES = "kor+eng"
# Tesseract's own search for columns takes the spaces between Korean words for gutters: of 1,100
# characters on a page it found 20 to 65 %, as one column 99 %. Columns are found by
# `reading_order`.
_OPTIONS = "--psm 4 -c tessedit_create_txt=1 -c tessedit_create_tsv=1"
NO_TESSERACT = (
    "글자를 알아볼 Tesseract나 그 한국어 자료가 없습니다. "
    "데비안에서는 apt install tesseract-ocr tesseract-ocr-kor로 설치하세요"
)
_THREADS = "OMP_THREAD_LIMIT"
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


def recognized_lines(page: "PdfPage") -> list[Line]:
    """The lines of text that are seen on a page.

    Args:
        page: Of PDFium.

    Raises:
        ValueError: If Tesseract fails or takes too long.
    """
    width, height = page.get_size()
    scale = min(_DPI / _POINTS_PER_INCH, (_MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    picture = page.render(scale=scale, grayscale=True).to_pil()
    with TemporaryDirectory() as folder:
        picture.save(Path(folder, "page.png"))
        text, table = _run(folder)
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    written = deque(line.split() for line in text.splitlines() if line.strip())
    lines: list[Line] = []
    for _, group in groupby(rows, key=itemgetter("block_num", "par_num", "line_num")):
        words = [(row["text"], _box(row, scale)) for row in group if (row["text"] or "").strip()]
        if words:
            lines.append(_line(_as_written(words, written), len(lines)))
    return lines


def _run(folder: str) -> tuple[str, str]:
    """What Tesseract reads in a folder's picture: as text and as a table of words."""
    from pytesseract.pytesseract import run_tesseract

    page = str(Path(folder, "page"))
    try:
        with _one_thread():
            run_tesseract(
                f"{page}.png", page, "", lang=LANGUAGES, config=_OPTIONS, timeout=_TIME_LIMIT
            )
    # What pytesseract raises when the time is up is a plain RuntimeError, above its own.
    except RuntimeError as error:
        raise ValueError(f"글자를 알아보지 못했습니다({error})") from error
    text, table = (Path(f"{page}{suffix}").read_text("utf-8") for suffix in (".txt", ".tsv"))
    return text, table


def _box(row: Mapping[str, str], scale: float) -> Box:
    left, top, width, height = (
        int(row[name]) / scale for name in ("left", "top", "width", "height")
    )
    return Box(left, top, left + width, top + height)


def _as_written(
    words: Sequence[tuple[str, Box]], written: deque[list[str]]
) -> list[tuple[str, Box]]:
    """Words as in the text: the table takes many Korean ones apart into syllables."""
    if not written or "".join(written[0]) != "".join(text for text, _ in words):
        return list(words)
    whole: list[tuple[str, Box]] = []
    rest = deque(words)
    for word in written.popleft():
        length, boxes = 0, []
        while rest and length < len(word):
            text, box = rest.popleft()
            length += len(text)
            boxes.append(box)
        if boxes:
            whole.append((word, around(boxes)))
    return whole


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tesseract's threads wait for each other most of the time, on a busy machine all of it."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def _line(words: Sequence[tuple[str, Box]], start: int) -> Line:
    em = median(box.bottom - box.top for _, box in words)
    groups: list[list[tuple[str, Box]]] = [[words[0]]]
    for (_, before), word in pairwise(words):
        if word[1].left - before.right > WIDE_GAP * em:
            groups.append([])
        groups[-1].append(word)
    parts = [
        Line(" ".join(text for text, _ in group), start, around([box for _, box in group]), em)
        for group in groups
    ]
    text, box = " ".join(part.text for part in parts), around([part.box for part in parts])
    return Line(text, start, box, em, parts=tuple(parts) if len(parts) > 1 else ())
