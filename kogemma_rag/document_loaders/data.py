"""JSON and JSON Lines in, a document for each record out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError, SkippedPart
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.text import decode_text, read_text

# Fields that hold the text of a record, and its title, where nobody says which.
TEXT_FIELDS = ("text", "content", "body", "본문", "내용")
TITLE_FIELDS = ("title", "제목")
# A long name would be repeated with each of the values under it.
_PATH_CHARACTERS = 200
_MAX_LINE_BYTES = 64 * 2**20
# A file that is no JSON Lines would have as many reasons as lines.
_MAX_NAMED_LINES = 100

_NOT_JSON = "JSON 형식이 아닙니다"
_TOO_DEEP = "너무 깊이 겹친 JSON입니다"
_TOO_LONG = f"한 줄이 너무 깁니다(최대 {_MAX_LINE_BYTES >> 20}MB)"


class _Number(str):
    """A number as it is written: of any size, with its zeros."""

    __slots__ = ()


class JSONLoader(FileLoader):
    """JSON: a document for each record of a list, or one of the whole.

    The list is the file's value, or the only list of objects in it; what is said beside it comes
    first. The text of a record is that of its text field, else its strings and numbers as lines
    "name: value".

    Args:
        path: The file.
        source: What metadata["source"] says; the path as given by default.
        ocr: Without effect.
        text_field: Where the text of a record is, with dots between the names ("article.body");
            by default the first of TEXT_FIELDS that it has.
    """

    media_types: ClassVar[dict[str, str]] = {".json": "application/json"}

    def __init__(
        self,
        path: str | Path,
        *,
        source: str | None = None,
        ocr: bool = False,
        text_field: str | None = None,
    ) -> None:
        super().__init__(path, source=source, ocr=ocr)
        self.text_field = text_field

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        text = read_text(self.path)
        try:
            value = _parsed(text)
        except ValueError as error:
            raise DocumentLoadError(self.path, f"{DAMAGED} ({error})") from error
        records = self._records(value)
        if records is None:
            yield from self._record(value, {}, "")
            return
        if about := self._about(value, records):
            yield about, {}
        for row, record in enumerate(records, 1):
            yield from self._record(record, {"row": row}, f"{row}번째 기록")

    def _records(self, value: Any) -> list[Any] | None:
        if isinstance(value, list):
            return value
        if not isinstance(value, dict) or self._text(value) is not None:
            return None
        lists = [
            inner
            for inner in value.values()
            if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner)
        ]
        return lists[0] if len(lists) == 1 else None

    def _about(self, value: Any, records: list[Any]) -> str:
        """What stands beside the list of records, where there is text in it."""
        if not isinstance(value, dict) or self.text_field is not None:
            return ""
        rest = {name: inner for name, inner in value.items() if inner is not records}
        texts = (inner for inner in rest.values() if not isinstance(inner, _Number))
        return "\n".join(_lines(rest)) if any(isinstance(one, str) for one in texts) else ""

    def _record(
        self, record: Any, place: dict[str, Any], part: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        text = self._text(record)
        if text is None and self.text_field is not None:
            reason = f"'{self.text_field}' 항목이 없습니다"
            if not part:
                raise DocumentLoadError(self.path, reason)
            self.skipped.append(SkippedPart(part, reason))
            return
        yield text if text is not None else "\n".join(_lines(record)), {**place, **_title(record)}

    def _text(self, record: Any) -> str | None:
        """What the text field holds; None when a record has none."""
        names = TEXT_FIELDS if self.text_field is None else (self.text_field,)
        for name in names:
            value = _at(record, name)
            if isinstance(value, str) and not isinstance(value, _Number):
                return value
            if self.text_field is not None and value is not None:
                return "\n".join(_lines(value))
        return None


class JSONLinesLoader(JSONLoader):
    """JSON Lines: a document for each line; one that is no JSON is left out."""

    media_types: ClassVar[dict[str, str]] = {
        ".jsonl": "application/jsonl",
        ".ndjson": "application/x-ndjson",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self.path.open("rb") as file:
            if b"\x00" in file.read(4):
                raise DocumentLoadError(self.path, "UTF-16입니다. UTF-8로 다시 저장하세요")
            file.seek(0)
            yield from self._lines(file)

    def _lines(self, file: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
        row = line = broken = 0
        while data := file.readline(_MAX_LINE_BYTES):
            line += 1
            self.bytes_read = file.tell()
            if not data.strip():
                continue
            row += 1
            part = f"{line}번째 줄"
            try:
                _check_whole(file, data)
                record = _parsed(_decoded(data.rstrip()))
            except ValueError as error:
                broken += 1
                if broken <= _MAX_NAMED_LINES:
                    self.skipped.append(SkippedPart(part, str(error)))
                continue
            yield from self._record(record, {"row": row, "line": line}, part)
        if broken > _MAX_NAMED_LINES:
            rest = f"그 밖의 {broken - _MAX_NAMED_LINES:,}줄"
            self.skipped.append(SkippedPart(rest, _NOT_JSON))

    def _empty_reason(self) -> str:
        if not self.skipped:
            return super()._empty_reason()
        part, reason = self.skipped[0]
        return f"읽을 수 있는 줄이 없습니다({part}: {reason})"


def _check_whole(file: BinaryIO, data: bytes) -> None:
    """Read on to the end of a line that is too long.

    Raises:
        ValueError: If it is.
    """
    if len(data) < _MAX_LINE_BYTES or data.endswith(b"\n"):
        return
    while (rest := file.readline(_MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
    raise ValueError(_TOO_LONG)


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return decode_text(line)
    except UnicodeError as error:
        raise ValueError("글자 인코딩을 알 수 없습니다") from error


def _parsed(text: str) -> Any:
    """A JSON value, its numbers as they are written.

    Raises:
        ValueError: Says in Korean why it is none.
    """
    try:
        return json.loads(
            text.lstrip("\ufeff"), parse_int=_Number, parse_float=_Number, parse_constant=_Number
        )
    except json.JSONDecodeError as error:
        place = f"{error.lineno}번째 줄 " if error.lineno > 1 else ""
        raise ValueError(f"{_NOT_JSON}({place}{error.colno}번째 글자: {error.msg})") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def _at(record: Any, path: str) -> Any:
    """The value at a dotted path of names; a name with dots in it counts as one, too."""
    if isinstance(record, dict) and path in record:
        return record[path]
    value = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _title(record: Any) -> dict[str, str]:
    titles = [_at(record, name) for name in TITLE_FIELDS]
    return next(({"title": title} for title in titles if isinstance(title, str) and title), {})


def _lines(value: Any) -> Iterator[str]:
    """Strings, numbers and truth values as "path: value"; lists of numbers are no text."""
    waiting = [("", value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += reversed([(_below(path, name), item) for name, item in value.items()])
        elif isinstance(value, list):
            waiting += [(path, item) for item in reversed(value) if not isinstance(item, _Number)]
        elif isinstance(value, bool):
            yield _line(path, "true" if value else "false")
        elif isinstance(value, str) and value.strip():
            yield _line(path, value)


def _below(path: str, name: str) -> str:
    return (f"{path}.{name}" if path else name)[-_PATH_CHARACTERS:]


def _line(path: str, value: str) -> str:
    return f"{path}: {value}" if path else value
