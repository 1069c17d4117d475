"""Plain text, Markdown and CSV in, documents out; any encoding Korean files come in."""

import codecs
import csv
import re
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.formats import utf16_without_mark
from kogemma_rag.document_loaders.sections import Block, Heading, sections, table_parts

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# Of what is not ASCII, at least this share must be everyday Hangul for bytes to count as CP949...
_HANGUL_SHARE = 0.5
# ...or there are only hanja and symbols, none of them inside a word of Latin letters.
_IN_LATIN_WORD = re.compile("[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]")
_BLOCK_BYTES = 1 << 20
_GUESSED_BYTES = 1 << 16
# Of one document: a longer text comes as several, so that a file of any size fits into memory.
PART_CHARACTERS = 1_000_000

_UNKNOWN_ENCODING = "글자 인코딩을 알 수 없습니다. UTF-8로 다시 저장하세요"
_LINE_END = re.compile("\r\n?|\n")
_PARAGRAPH_END = re.compile("(?:\r?\n){2,}")
_WORD_END = re.compile(" +")

_ATX_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)")
_SETEXT_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_NOT_A_PARAGRAPH = re.compile(r"\s*([-*+>|#]|\d+[.)]\s|$)")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
_FRONT_MATTER_TITLE = re.compile(r"^title:(.*)$", re.MULTILINE)


def encoding_of(file: BinaryIO) -> str:
    """The encoding of a text: what a Korean file in these bytes would be in.

    By its byte order mark, else UTF-16 if zero bytes say so, else UTF-8, else CP949 (which holds
    EUC-KR), else by the best guess of charset-normalizer. All of the file fits it.

    Args:
        file: Can be sought; read from its start, in blocks.

    Raises:
        UnicodeError: If no encoding fits.
    """
    file.seek(0)
    head = file.read(_BLOCK_BYTES)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if b"\x00" in head and (order := utf16_without_mark(head)):
        return order
    for encoding, fits in (("utf-8", None), ("cp949", _is_korean)):
        if _decodes(file, encoding, fits):
            return encoding
    return _guessed(file)


def decode_text(data: bytes) -> str:
    """Bytes as text in the encoding that `encoding_of` finds, without its mark.

    Raises:
        UnicodeError: If no encoding fits.
    """
    return data.decode(encoding_of(BytesIO(data))).removeprefix("\ufeff")


def read_text(path: Path) -> str:
    """The text of a file in whatever encoding it is; see `encoding_of`.

    Raises:
        DocumentLoadError: If no encoding fits.
    """
    try:
        return decode_text(path.read_bytes())
    except UnicodeError as error:
        raise DocumentLoadError(path, _UNKNOWN_ENCODING) from error


def _decodes(file: BinaryIO, encoding: str, fits: Callable[[str], bool] | None) -> bool:
    """Whether a file holds text in an encoding, and its beginning is as it should be."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    try:
        while block := file.read(_BLOCK_BYTES):
            text = decoder.decode(block)
            if fits is not None and not fits(text):
                return False
            fits = None
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_korean(text: str) -> bool:
    foreign = [character for character in text if ord(character) > 127]
    hangul = sum("가" <= character <= "힣" for character in foreign)
    if hangul >= _HANGUL_SHARE * len(foreign):
        return True
    return not hangul and not _IN_LATIN_WORD.search(text)


def _guessed(file: BinaryIO) -> str:
    from charset_normalizer import from_bytes

    file.seek(0)
    best = from_bytes(file.read(_GUESSED_BYTES)).best()
    if best is None or not _decodes(file, best.encoding, None):
        raise UnicodeError("the bytes are text in no encoding")
    return best.encoding


class TextLoader(FileLoader):
    """Plain text: one document; of what is very long several, with metadata "line"."""

    media_types: ClassVar[dict[str, str]] = {".txt": "text/plain"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self.path.open("rb") as file:
            try:
                for text, line in _parts(file, encoding_of(file)):
                    self.bytes_read = file.tell()
                    yield text, {"line": line} if line > 1 else {}
            except UnicodeError as error:
                raise DocumentLoadError(self.path, _UNKNOWN_ENCODING) from error


def _parts(file: BinaryIO, encoding: str) -> Iterator[tuple[str, int]]:
    """The text in parts of at most PART_CHARACTERS, each with the number of its first line."""
    file.seek(0)
    reader = TextIOWrapper(file, encoding, newline="")
    line, text = 1, ""
    try:
        while piece := reader.read(PART_CHARACTERS - len(text)):
            text += piece
            if len(text) < PART_CHARACTERS:
                continue
            end = _part_end(text)
            yield text[:end], line
            line += len(_LINE_END.findall(text, 0, end))
            text = text[end:]
        if text:
            yield text, line
    finally:
        reader.detach()  # the caller closes the file


def _part_end(text: str) -> int:
    """Where a part that is full ends: after a paragraph, a line, a word."""
    last = len(text) - (2 if text.endswith("\r\n") else 1)  # never between the two
    for pattern in (_PARAGRAPH_END, _LINE_END, _WORD_END):
        ends = [match.end() for match in pattern.finditer(text, len(text) // 2, last)]
        if ends:
            return ends[-1]
    return len(text)


class MarkdownLoader(FileLoader):
    """Markdown: a document for each section, its text as written."""

    media_types: ClassVar[dict[str, str]] = {
        ".md": "text/markdown",
        ".markdown": "text/markdown",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        text = _LINE_END.sub("\n", read_text(self.path))
        title = None
        if front_matter := _FRONT_MATTER.match(text):
            text = text[front_matter.end() :]
            if named := _FRONT_MATTER_TITLE.search(front_matter.group(1)):
                title = _unquoted(named.group(1).strip())
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
            heading = Heading(len(atx.group(1)), _without_closing(atx.group(2)))
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


def _without_closing(heading: str) -> str:
    """The text of a heading without the row of "#" that may close it."""
    text = heading.rstrip(" \t")
    bare = text.rstrip("#")
    return bare.rstrip(" \t") if bare.endswith((" ", "\t")) else text


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text


class CSVLoader(FileLoader):
    """CSV and TSV: the first row is the header; a document for each group of rows under it."""

    media_types: ClassVar[dict[str, str]] = {
        ".csv": "text/csv",
        ".tsv": "text/tab-separated-values",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        text = read_text(self.path)
        try:
            # Not by `splitlines`, to which characters inside of cells end lines, too.
            rows = list(csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text)))
        except csv.Error as error:
            raise DocumentLoadError(self.path, f"{DAMAGED} ({error})") from error
        for first, part in table_parts(rows):
            yield part, {"row": first + 1}


def _delimiter(text: str) -> str:
    """The candidate that stands most often in the first line; a comma when none does."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max(",\t;|", key=line.count)
