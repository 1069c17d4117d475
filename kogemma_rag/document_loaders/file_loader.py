"""One file in, LangChain documents out: what every loader shares. Knows no format.

Here are the checks before reading (content, size, locks), the metadata and the cleaning of text:
NFC, no control characters, no lone surrogates. Compatibility characters (㈜, ①, ㎏) stay.
"""

import os
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from kogemma_rag.document_loaders.errors import EMPTY, DocumentLoadError, SkippedPart
from kogemma_rag.document_loaders.formats import true_suffix

# Control characters, lone surrogates, byte order marks inside the text, noncharacters.
_UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n?|[\x0c\x85\u2028\u2029]")
# Only from its start: from within, a long row of spaces would be looked at again and again.
_TRAILING_SPACE = re.compile(r"(?<![ \t\xa0\u3000])[ \t\xa0\u3000]+(?=\n|$)")
# A hostile file of a few kilobytes can unfold into any length; 2**25 characters are 20,000 pages.
_MOST_CHARACTERS = 2**25
_CHARACTERS_PER_BYTE = 8
_BLANK_LINES = re.compile(r"\n{3,}")


def clean_text(text: str) -> str:
    """Text in NFC, lines ended by a line feed, without unprintable and trailing characters."""
    text = _UNWANTED.sub("", _LINE_ENDS.sub("\n", text))
    text = _BLANK_LINES.sub("\n\n", _TRAILING_SPACE.sub("", text))
    return unicodedata.normalize("NFC", text).strip("\n")


def source_name(path: Path, root: Path | None = None) -> str:
    """How a file is named in metadata: relative to root when given, with "/", in NFC.

    Bytes in the name that are not UTF-8 are read as CP949, as archives made on Korean Windows
    leave them.
    """
    shown = path if root is None or path == root else path.relative_to(root)
    name = os.fsencode(shown.as_posix())
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("cp949", "replace")
    return unicodedata.normalize("NFC", text)


def _clean(value: Any) -> Any:
    """Metadata, its texts as clean as the document's."""
    if isinstance(value, list):
        return [_clean(one) for one in value]
    return clean_text(value) if isinstance(value, str) else value


class FileLoader(BaseLoader):
    """Base of the loaders: a subclass says which formats it reads and implements `_read`.

    Args:
        path: The file.
        source: What metadata["source"] says; the path as given by default.
        ocr: Whether text in images is read, where the format has a way to.

    Attributes:
        bytes_read: How many bytes of the file are behind the last document; 0 while unknown.
        skipped: The parts of the file that the last reading left out, and why.
    """

    media_types: ClassVar[dict[str, str]]
    """Suffix (lower case, with its dot) -> media type."""

    def __init__(self, path: str | Path, *, source: str | None = None, ocr: bool = False) -> None:
        self.path = Path(path)
        self.source = source_name(self.path) if source is None else source
        self.ocr = ocr
        self.bytes_read = 0
        self.skipped: list[SkippedPart] = []

    def lazy_load(self) -> Iterator[Document]:
        """Read the file, document by document.

        Raises:
            DocumentLoadError: If the file cannot be read, or holds no text.
            OSError: If the file cannot be opened.
        """
        self.bytes_read, self.skipped = 0, []
        suffix = true_suffix(self.path)
        if suffix not in self.media_types:
            raise DocumentLoadError(
                self.path, f"{type(self).__name__}가 읽는 형식이 아닙니다: 내용이 {suffix}입니다"
            )
        empty, length = True, 0
        most = max(_MOST_CHARACTERS, _CHARACTERS_PER_BYTE * self.path.stat().st_size)
        for text, metadata in self._read():
            length += len(text)
            if length > most:
                raise DocumentLoadError(
                    self.path, f"글이 너무 깁니다({most:,}자가 넘습니다). 나누어 저장하세요"
                )
            text = clean_text(text)
            if not text.strip():
                continue
            empty = False
            title = metadata.pop("title", None) or Path(self.source).stem
            yield Document(
                page_content=text,
                metadata={
                    "source": self.source,
                    "media_type": self.media_types[suffix],
                    "title": clean_text(title),
                    **{name: _clean(value) for name, value in metadata.items()},
                },
            )
        if empty:
            raise DocumentLoadError(self.path, self._empty_reason())

    @abstractmethod
    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Text of each document with its own metadata, where it has any.

        Of the whole file: title, author, created, modified (ISO 8601). Of the place: page, slide,
        row and line (from 1), sheet, headings (the path, highest first), attachment (the name of
        the part of the file that it was read from), region ("header" or "footer" where it is not
        the body; such documents come last).
        """

    def _empty_reason(self) -> str:
        return EMPTY
