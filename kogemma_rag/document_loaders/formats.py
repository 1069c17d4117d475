"""A file's first bytes in, the suffix of its true format out. Reads no text.

A suffix lies when a file was renamed or saved under another program's name; the content decides
wherever it can. Formats that look like nothing in particular (text, CSV, JSON, mail) keep theirs.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import Literal

from kogemma_rag.document_loaders.errors import (
    DAMAGED,
    PASSWORD,
    DocumentLoadError,
    UnsupportedFormatError,
)

MAX_FILE_BYTES = 256 * 2**20
# Formats that are read piece by piece, so that a file of any size fits into memory.
_STREAMED_FILE_BYTES = dict.fromkeys((".txt", ".jsonl", ".ndjson"), 16 * 2**30)
# A zip-based document is refused above these: a bomb holds gigabytes in kilobytes.
MAX_UNPACKED_BYTES = 512 * 2**20
MAX_ZIP_ENTRIES = 20_000

TEXT_SUFFIXES = frozenset(
    {".txt", ".md", ".markdown", ".csv", ".tsv", ".html", ".htm", ".rst", ".eml"}
    | {".json", ".jsonl", ".ndjson"}
)
_BINARY_SUFFIXES = frozenset(
    {".pdf", ".docx", ".pptx", ".xlsx", ".hwp", ".hwpx", ".odt", ".ods", ".epub", ".msg", ".zip"}
)

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What `zipfile` raises for damaged archives and those it cannot read.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError, OSError)
_HEAD_BYTES = 1024
_UTF16: tuple[Literal["utf-16-le"], Literal["utf-16-be"]] = ("utf-16-le", "utf-16-be")
# ASCII, punctuation, symbols, hanja, Hangul: what Korean text is made of.
_USUAL = re.compile(r"[\t\n\r -~\u2000-\u27ff\u3000-\u31ff\u3200-\u9fff가-힣\uff00-\uffee]")
_USUAL_SHARE = 0.9
_EVERYDAY = re.compile(r"[\t\n\r -~가-힣]")
# First bytes -> what the file is, as named to the user.
_REFUSED_MAGIC = {
    b"HWP Document File V": "한글 3.0 이하의 옛 HWP 문서입니다. 한글에서 HWPX로 다시 저장하세요",
    b"\x89PNG\r\n": "PNG 그림",
    b"\xff\xd8\xff": "JPEG 그림",
    b"GIF8": "GIF 그림",
    b"BM": "BMP 그림",
    b"II*\x00": "TIFF 그림",
    b"MM\x00*": "TIFF 그림",
    b"RIFF": "미디어 파일",
    b"Rar!": "RAR 압축 파일",
    b"7z\xbc\xaf": "7z 압축 파일",
    b"\x1f\x8b": "gzip 압축 파일",
    b"BZh": "bzip2 압축 파일",
    b"\xfd7zXZ": "xz 압축 파일",
    b"{\\rtf": "RTF 문서",
    b"SQLite format 3": "SQLite 데이터베이스",
    b"\x7fELF": "실행 파일",
    b"MZ": "실행 파일",
}
# A part that a zip-based format always has -> suffix.
_ZIP_PARTS = {
    "word/document.xml": ".docx",
    "ppt/presentation.xml": ".pptx",
    "xl/workbook.xml": ".xlsx",
    "Contents/content.hpf": ".hwpx",
    "Contents/section0.xml": ".hwpx",
    "META-INF/container.xml": ".epub",
}
# The only ways that their standards allow; `zipfile` bounds the memory of no others.
_DOCUMENT_COMPRESSION = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
# How the entry "mimetype" of a zip-based format begins or is -> suffix.
_ZIP_MIMETYPES = {
    "application/hwp+zip": ".hwpx",
    "application/epub+zip": ".epub",
    f"{_OPEN_DOCUMENT}text": ".odt",
    f"{_OPEN_DOCUMENT}text-template": ".odt",
    f"{_OPEN_DOCUMENT}spreadsheet": ".ods",
    f"{_OPEN_DOCUMENT}spreadsheet-template": ".ods",
}


def true_suffix(path: Path) -> str:
    """The suffix that the content calls for, e.g. ".hwpx" for an HWPX file named "a.hwp".

    Raises:
        UnsupportedFormatError: If no loader reads its format.
        DocumentLoadError: If the file is empty, too large, damaged, locked by a password or a zip
            bomb.
        OSError: If the file cannot be opened.
    """
    size = path.stat().st_size
    if size == 0:
        raise DocumentLoadError(path, "빈 파일입니다")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    container = head.startswith((_OLE, *_ZIP)) or b"%PDF-" in head
    streamed = {} if container else _STREAMED_FILE_BYTES
    limit = streamed.get(path.suffix.lower(), MAX_FILE_BYTES)
    if size > limit:
        raise DocumentLoadError(
            path, f"파일이 너무 큽니다({size:,}바이트, 최대 {limit:,}). 나누어 저장하세요"
        )
    if head.startswith(_OLE):
        return _ole_suffix(path)
    if head.startswith(_ZIP):
        return _zip_suffix(path)
    return ".pdf" if container else _plain_suffix(path, head)


def unsupported(path: Path, name: str) -> UnsupportedFormatError:
    """The refusal of a format by its name."""
    return UnsupportedFormatError(path, f"지원하지 않는 형식입니다: {name}")


def _plain_suffix(path: Path, head: bytes) -> str:
    suffix = path.suffix.lower()
    text = _looks_like_text(head)
    for magic, name in _REFUSED_MAGIC.items():
        # "BM" and "MZ" may open a text.
        if head.startswith(magic) and not (text and len(magic) == 2):
            if magic.startswith(b"HWP"):
                raise DocumentLoadError(path, name)
            raise unsupported(path, name)
    if suffix in TEXT_SUFFIXES:
        if not text:
            raise DocumentLoadError(path, "글이 아닌 이진 파일입니다. 확장자를 확인하세요")
        return suffix
    if suffix in _BINARY_SUFFIXES:
        if text and head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            return ".html"  # Korean sites serve pages named .xls or .hwp
        raise DocumentLoadError(path, f"{suffix[1:].upper()} 형식이 아니거나, {DAMAGED}")
    raise unsupported(path, suffix or "확장자 없음")


def _looks_like_text(head: bytes) -> bool:
    """Whether bytes could be text: no control bytes, or UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\x00" in head:
        return utf16_without_mark(head) is not None
    return not any(byte < 9 or 13 < byte < 27 for byte in head)


def utf16_without_mark(data: bytes) -> Literal["utf-16-le", "utf-16-be"] | None:
    """The byte order in which bytes with zeros among them are Korean or English UTF-16, if any."""
    head = data[: _HEAD_BYTES - _HEAD_BYTES % 2]
    best: tuple[int, Literal["utf-16-le", "utf-16-be"] | None] = (0, None)
    for encoding in _UTF16:
        text = head.decode(encoding, "replace")
        if len(_USUAL.findall(text)) >= _USUAL_SHARE * len(text):
            best = max(best, (len(_EVERYDAY.findall(text)), encoding), key=lambda found: found[0])
    return best[1]


def _ole_suffix(path: Path) -> str:
    import olefile

    try:
        with olefile.OleFileIO(path) as ole:
            streams = {"/".join(parts) for parts in ole.listdir()}
    except (OSError, ValueError, IndexError) as error:
        raise DocumentLoadError(path, DAMAGED) from error
    if "FileHeader" in streams:
        return ".hwp"
    if "__properties_version1.0" in streams:
        return ".msg"
    if "EncryptedPackage" in streams:
        raise DocumentLoadError(path, PASSWORD)
    for stream, name in {
        "WordDocument": "옛 Word 문서(.doc). DOCX로 다시 저장하세요",
        "Workbook": "옛 Excel 문서(.xls). XLSX로 다시 저장하세요",
        "Book": "옛 Excel 문서(.xls). XLSX로 다시 저장하세요",
        "PowerPoint Document": "옛 PowerPoint 문서(.ppt). PPTX로 다시 저장하세요",
    }.items():
        if stream in streams:
            raise unsupported(path, name)
    raise unsupported(path, "OLE 복합 문서")


def _zip_suffix(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            mimetype = archive.open("mimetype").read(100) if "mimetype" in names else b""
            manifest = "META-INF/manifest.xml"
            locked = manifest in names and b"encryption-data" in archive.open(manifest).read(2**20)
    except ZIP_ERRORS as error:
        raise DocumentLoadError(path, DAMAGED) from error
    if locked:
        raise DocumentLoadError(path, PASSWORD)
    suffix = _zip_document_suffix(path, names, mimetype.decode("ascii", "replace").strip())
    unpacked = sum(entry.file_size for entry in entries)
    if suffix == ".zip":
        unpacked = 0  # of an archive, the parts that fit are read
    elif not _DOCUMENT_COMPRESSION.issuperset(entry.compress_type for entry in entries):
        raise DocumentLoadError(path, DAMAGED)
    if unpacked > MAX_UNPACKED_BYTES or len(entries) > MAX_ZIP_ENTRIES:
        raise DocumentLoadError(
            path, f"압축을 풀면 너무 큽니다({unpacked:,}바이트, 조각 {len(entries):,}개)"
        )
    return suffix


def _zip_document_suffix(path: Path, names: set[str], mimetype: str) -> str:
    if suffix := _ZIP_MIMETYPES.get(mimetype):
        return suffix
    if mimetype.startswith("application/hwp+zip"):
        return ".hwpx"
    if mimetype.startswith(f"{_OPEN_DOCUMENT}presentation"):
        raise unsupported(path, "OpenDocument 프레젠테이션(.odp). PPTX로 다시 저장하세요")
    if mimetype.startswith("application/"):
        raise unsupported(path, mimetype)
    for part, suffix in _ZIP_PARTS.items():
        if part in names:
            return suffix
    if "[Content_Types].xml" in names:
        raise unsupported(path, "Office 문서. DOCX, PPTX 또는 XLSX로 다시 저장하세요")
    return ".zip"
