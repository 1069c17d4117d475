"""HWP 5, a compound file of packed streams of records, in; records, flags and properties out.

By the HWP 5.0 specification revision 1.3, Hancom: 3 (streams) and 4.1 (records). Knows not what
records mean.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kogemma_rag.document_loaders.hwp_distribution import unlock

COMPRESSED = 1 << 0
PASSWORD_FLAG = 1 << 1
DISTRIBUTION_FLAG = 1 << 2
# Protected by DRM, by a certificate, or by a certificate's DRM.
PROTECTED = 1 << 4 | 1 << 8 | 1 << 10
_FLAGS_OFFSET = 36
# A stream of a few kilobytes may unpack to gigabytes.
MAX_STREAM_BYTES = 128 * 2**20
_PROPERTIES = {2: "title", 4: "author", 12: "created", 13: "modified"}
_MOST_PROPERTIES = 100
_TEXT, _TIME = 0x1F, 0x40
_WINDOWS_EPOCH = datetime(1601, 1, 1)  # UTC, as all times here


@dataclass
class Record:
    """A record and those that belong to it."""

    tag: int
    data: bytes
    children: list["Record"] = field(default_factory=list)


def file_flags(ole: Any) -> int:
    """The flags of the document, whose other streams may be locked.

    Raises:
        ValueError: If the header is not one.
    """
    header = ole.openstream("FileHeader").read()
    if len(header) < _FLAGS_OFFSET + 4 or not header.startswith(b"HWP Document File"):
        raise ValueError("FileHeader is not that of HWP 5")
    return int.from_bytes(header[_FLAGS_OFFSET : _FLAGS_OFFSET + 4], "little")


def properties(ole: Any) -> dict[str, str]:
    """Of title, author, created and modified those that the document states."""
    stream = "\x05HwpSummaryInformation"
    if not ole.exists(stream):
        return {}
    data = ole.openstream(stream).read()
    found = {}
    # olefile reads every property, and lists in them of any length.
    with suppress(struct.error, OverflowError):  # properties that are damaged do the text no harm
        for number, place in _property_places(data):
            if number in _PROPERTIES and (value := _property(data, place)):
                found[_PROPERTIES[number]] = value
    return found


def _property_places(data: bytes) -> Iterator[tuple[int, int]]:
    """Number and place of each property of a property set (MS-OLEPS)."""
    (start,) = struct.unpack_from("<I", data, 44)
    (count,) = struct.unpack_from("<4xI", data, start)
    for index in range(min(count, _MOST_PROPERTIES)):
        number, place = struct.unpack_from("<II", data, start + 8 + 8 * index)
        yield number, start + place


def _property(data: bytes, place: int) -> str:
    """A text, or a time in ISO 8601; "" of others."""
    kind, length = struct.unpack_from("<II", data, place)
    if kind == _TEXT:
        text = data[place + 8 : place + 8 + 2 * length].decode("utf-16-le", "replace")
        return text.partition("\0")[0].strip()
    if kind == _TIME and (ticks := struct.unpack_from("<Q", data, place + 4)[0]):
        return f"{_WINDOWS_EPOCH + timedelta(microseconds=ticks // 10):%Y-%m-%dT%H:%M:%SZ}"
    return ""


def doc_info_records(ole: Any) -> list[Record]:
    """The records of what paragraphs refer to, which is never locked.

    Raises:
        ValueError: If they are damaged.
    """
    return records(_unpacked(ole.openstream("DocInfo").read(), file_flags(ole)))


def section_records(ole: Any) -> Iterator[list[Record]]:
    """The records of each section of the body.

    Raises:
        ValueError: If there is none, or it is damaged.
    """
    flags = file_flags(ole)
    locked = flags & DISTRIBUTION_FLAG
    # In the place of a locked body there is a sentence that says so.
    storage = "ViewText" if locked else "BodyText"
    pattern = re.compile(rf"{storage}/Section(\d{{1,5}})")
    names = ["/".join(parts) for parts in ole.listdir()]
    found = [match for name in names if (match := pattern.fullmatch(name))]
    if not found:
        raise ValueError("there is no section")
    for match in sorted(found, key=lambda match: int(match[1])):
        data = ole.openstream(match[0]).read()
        yield records(_unpacked(unlock(data) if locked else data, flags))


def _unpacked(data: bytes, flags: int) -> bytes:
    return inflate(data) if flags & COMPRESSED else data


def inflate(data: bytes) -> bytes:
    """A stream unpacked.

    Raises:
        ValueError: If it is damaged, cut off or larger than MAX_STREAM_BYTES.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, MAX_STREAM_BYTES)
    except zlib.error as error:
        raise ValueError("a stream is damaged") from error
    if not unpacker.eof:
        raise ValueError("a stream is cut off, or too large")
    return unpacked


def records(stream: bytes) -> list[Record]:
    """The records at the top, with those of lower levels in them.

    Raises:
        ValueError: If a record goes on past the end.
    """
    top = Record(0, b"")
    above = [top]
    place = 0
    while place + 4 <= len(stream):
        (header,) = struct.unpack_from("<I", stream, place)
        place += 4
        tag, level, size = header & 0x3FF, header >> 10 & 0x3FF, header >> 20
        if size == 0xFFF and place + 4 <= len(stream):
            (size,) = struct.unpack_from("<I", stream, place)
            place += 4
        if place + size > len(stream):
            raise ValueError(f"a record of {size} bytes goes on past the end of its stream")
        record = Record(tag, stream[place : place + size])
        place += size
        del above[level + 1 :]
        above[-1].children.append(record)
        above.append(record)
    return top.children
