"""Plain text, Markdown and CSV in, documents out; any encoding Korean files come in."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.formats import utf16_without_mark
from kogemma_rag.document_loaders.sections import Block, Heading, sections, table_parts

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# At least this share of what is not ASCII must be everyday Hangul for bytes to count as CP949.
_HANGUL_SHARE = 0.5

_ATX_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_NOT_A_PARAGRAPH = re.compile(r"\s*([-*+>|#]|\d+[.)]\s|$)")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
_FRONT_MATTER_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)


def read_text(path: Path) -> str:
    """The text of a file in whatever encoding it is.

    By its byte order mark, else UTF-16 if zero bytes say so, else UTF-8, else CP949 (which holds
    EUC-KR), else by the best guess of charset-normalizer.

    Raises:
        DocumentLoadError: If no encoding fits.
    """
    data = path.read_bytes()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_utf(path, data, encoding)
    if b"\x00" in data and (order := utf16_without_mark(data)):
        return _decode_utf(path, data, order)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_legacy(path, data)


def _decode_utf(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentLoadError(path, DAMAGED) from error


def _decode_legacy(path: Path, data: bytes) -> str:
    from charset_normalizer import from_bytes

    try:
        text = data.decode("cp949")
    except UnicodeDecodeError:
        pass
    else:
        foreign = [character for character in text if ord(character) > 127]
        hangul = sum("가" <= character <= "힣" for character in foreign)
        if hangul >= _HANGUL_SHARE * len(foreign):
            return text
    best = from_bytes(data).best()
    if best is None:
        raise DocumentLoadError(path, "글자 인코딩을 알 수 없습니다. UTF-8로 다시 저장하세요")
    return str(best)


class TextLoader(FileLoader):
    """Plain text: one document."""

    media_types: ClassVar[dict[str, str]] = {".txt": "text/plain"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield read_text(self.path), {}


class MarkdownLoader(FileLoader):
    """Markdown: a document for each section, its text as written."""

    media_types: ClassVar[dict[str, str]] = {
        ".md": "text/markdown",
        ".markdown": "text/markdown",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        text = read_text(self.path).replace("\r\n", "\n")
        title = None
        if front_matter := _FRONT_MATTER.match(text):
            text = text[front_matter.end() :]
            if named := _FRONT_MATTER_TITLE.search(front_matter.group(1)):
                title = named.group(1)
        for section, metadata in sections(_markdown_blocks(text)):
            yield section, {**metadata, "title": title or metadata["title"]}


def _markdown_blocks(text: str) -> Iterator[Block]:
    """Headings and the text between them; a "#" inside a fence of code is no heading."""
    body: list[str] = []
    fence = ""
    for line in text.split("\n"):
        heading = None
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif opened := _FENCE.match(line):
            fence = opened.group(1)
        elif atx := _ATX_HEADING.match(line):
            heading = Heading(len(atx.group(1)), atx.group(2))
        elif (
            body
            and (underline := _SETEXT_UNDERLINE.match(line))
            and not _NOT_A_PARAGRAPH.match(body[-1])
        ):
            heading = Heading(1 if underline.group(1)[0] == "=" else 2, body.pop())
        if heading is None:
            body.append(line)
            continue
        if "".join(body).strip():
            yield "\n".join(body).strip("\n")
        body = []
        yield heading
    if "".join(body).strip():
        yield "\n".join(body).strip("\n")


class CSVLoader(FileLoader):
    """CSV and TSV: the first row is the header; a document for each group of rows under it."""

    media_types: ClassVar[dict[str, str]] = {
        ".csv": "text/csv",
        ".tsv": "text/tab-separated-values",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        text = read_text(self.path).removeprefix("\ufeff")
        try:
            rows = list(csv.reader(text.splitlines(keepends=True), delimiter=_delimiter(text)))
        except csv.Error as error:
            raise DocumentLoadError(self.path, f"{DAMAGED} ({error})") from error
        for first, part in table_parts(rows):
            yield part, {"row": first + 1}


def _delimiter(text: str) -> str:
    """The candidate that stands most often in the first line; a comma when none does."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max(",\t;|", key=line.count)
