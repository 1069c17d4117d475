"""Outlook messages (.msg) in: headers and text, then what is attached, other messages with it.

The storages are read by oxmsg; strings are decoded here, since it knows no CP949 and no broken
string. The format is public: [MS-OXMSG] and [MS-OXPROPS], Microsoft.
"""

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.mail import Mail, decode_bytes, html_text
from kogemma_rag.document_loaders.parts import (
    MAX_DEPTH,
    NESTED,
    TOO_DEEP,
    ContainerLoader,
    part_name,
)

if TYPE_CHECKING:
    from oxmsg.storage import Storage

_UNICODE, _STRING8, _BINARY, _OBJECT = 0x001F, 0x001E, 0x0102, 0x000D
_PROPERTIES = "__properties_version1.0"
# Where the properties begin in their stream, by what they are of.
_MESSAGE_HEADER, _EMBEDDED_HEADER, _PART_HEADER = 32, 24, 8
_PROPERTY = struct.Struct("<HHI8s")
_TO, _COPY = 1, 2  # PidTagRecipientType
_EPOCH = datetime(1601, 1, 1, tzinfo=timezone.utc)
_CODEPAGES = {949: "cp949", 51949: "cp949", 65001: "utf-8", 20127: "ascii", 50225: "iso2022_kr"}
_RTF_ONLY = "본문이 서식 있는 글(RTF)로만 저장되어 있습니다. Outlook에서 일반 글로 다시 저장하세요"


class MSGLoader(ContainerLoader):
    """An Outlook message: a document of its headers and text, then its attachments."""

    media_types: ClassVar[dict[str, str]] = {".msg": "application/vnd.ms-outlook"}

    def _read_container(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import olefile
        from oxmsg.storage import Storage

        try:
            with olefile.OleFileIO(self.path) as ole:
                root = Storage.from_ole(ole)
        except (OSError, ValueError, LookupError, AttributeError, RecursionError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        yield from self._message(_Properties(root, _MESSAGE_HEADER), "")

    def _message(
        self, message: "_Properties", within: str, depth: int = 0
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """A message and its attachments, the names of parts after those that they are within."""
        mail = _mail(message)
        if not mail.body.strip() and message.holds("PID_RTF_COMPRESSED", _BINARY):
            self._skip(f"{within}본문", _RTF_ONLY)
        yield mail.text(), mail.metadata()
        for number, storage in enumerate(message.storage.iter_attachment_storages(), 1):
            attachment = _Properties(storage, _PART_HEADER)
            embedded = _embedded_message(storage)
            name = within + (_attachment_name(attachment) or f"첨부 {number}")
            if embedded is None:
                data = attachment.binary("PID_ATTACH_DATA_BINARY")
                yield from self._read_part(name, partial(BytesIO, data))
            elif self.depth + depth >= MAX_DEPTH:
                self._skip(name, TOO_DEEP)
            else:
                yield from self._embedded(_Properties(embedded, _EMBEDDED_HEADER), name, depth + 1)

    def _embedded(
        self, message: "_Properties", name: str, depth: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        name = part_name(name)
        for text, metadata in self._message(message, f"{name}{NESTED}", depth):
            # Of its attachments, their own names.
            yield text, {"title": name.split(NESTED)[-1], "attachment": name, **metadata}


def _mail(message: "_Properties") -> Mail:
    recipients: dict[int, list[str]] = {_TO: [], _COPY: []}
    for storage in message.storage.iter_recipient_storages():
        recipient = _Properties(storage, _PART_HEADER, message.codepage)
        kind = recipient.integer("PID_RECIPIENT_TYPE") or _TO
        address = recipient.string("PID_SMTP_ADDRESS") or recipient.string("PID_EMAIL_ADDRESS")
        shown = _person(recipient.string("PID_DISPLAY_NAME"), address)
        recipients.setdefault(kind, []).append(shown)
    address = message.string("PID_SENDER_SMTP_ADDRESS") or message.string(
        "PID_SENDER_EMAIL_ADDRESS"
    )
    name = message.string("PID_SENDER_NAME") or message.string("PID_SENT_REPRESENTING_NAME")
    return Mail(
        subject=message.string("PID_SUBJECT"),
        sender=_person(name, address),
        recipients=", ".join(recipients[_TO]) or message.string("PID_DISPLAY_TO"),
        copies=", ".join(recipients[_COPY]) or message.string("PID_DISPLAY_CC"),
        sent=message.time("PID_CLIENT_SUBMIT_TIME") or message.time("PID_MESSAGE_DELIVERY_TIME"),
        body=message.string("PID_BODY") or html_text(message.html()),
    )


def _person(name: str, address: str) -> str:
    """A name with its address, where that is one of the internet and not of a directory."""
    if "@" not in address or address == name:
        return name
    return f"{name} <{address}>" if name else address


def _attachment_name(attachment: "_Properties") -> str:
    return (
        attachment.string("PID_ATTACH_LONG_FILENAME")
        or attachment.string("PID_ATTACH_FILENAME")
        or attachment.string("PID_DISPLAY_NAME")
    )


def _embedded_message(attachment: "Storage") -> "Storage | None":
    from oxmsg.domain.constants import PID_ATTACH_DATA_BINARY

    name = _stream_name(PID_ATTACH_DATA_BINARY, _OBJECT)
    for storage in attachment.storages:
        if storage.name == name and any(s.name == _PROPERTIES for s in storage.streams):
            return storage
    return None


def _stream_name(number: int, kind: int) -> str:
    return f"__substg1.0_{number:04X}{kind:04X}"


class _Properties:
    """What a storage holds, by the names of the properties in `oxmsg.domain.constants`.

    What is not there is "", b"", 0 or None.
    """

    def __init__(self, storage: "Storage", header: int, codepage: int = 0) -> None:
        from oxmsg.domain import constants

        self.storage = storage
        self._numbers = vars(constants)
        self._streams = {stream.name: stream.bytes_ for stream in storage.streams}
        data = self._streams.get(_PROPERTIES, b"")[header:]
        data = data[: len(data) - len(data) % _PROPERTY.size]
        self._fixed = {number: value for _, number, _, value in _PROPERTY.iter_unpack(data)}
        self.codepage = self.integer("PID_MESSAGE_CODEPAGE") or codepage

    def holds(self, name: str, kind: int) -> bool:
        return _stream_name(self._numbers[name], kind) in self._streams

    def binary(self, name: str) -> bytes:
        return self._streams.get(_stream_name(self._numbers[name], _BINARY), b"")

    def string(self, name: str) -> str:
        number = self._numbers[name]
        text = self._streams.get(_stream_name(number, _UNICODE))
        if text is not None:
            return text.decode("utf-16-le", "replace").rstrip("\x00")
        data = self._streams.get(_stream_name(number, _STRING8), b"")
        codepage = self.integer("PID_INTERNET_CODEPAGE") if name == "PID_BODY" else 0
        return decode_bytes(data, _charset(codepage or self.codepage)).rstrip("\x00")

    def integer(self, name: str) -> int:
        return int.from_bytes(self._fixed.get(self._numbers[name], b"")[:4], "little")

    def time(self, name: str) -> datetime | None:
        value = int.from_bytes(self._fixed.get(self._numbers[name], b""), "little")
        try:
            return _EPOCH + timedelta(seconds=value // 10**7) if value else None
        except OverflowError:
            return None

    def html(self) -> str:
        data = self.binary("PID_HTML")
        charset = _charset(self.integer("PID_INTERNET_CODEPAGE"))
        return decode_bytes(data, charset) if data else self.string("PID_BODY_HTML")


def _charset(codepage: int) -> str | None:
    return _CODEPAGES.get(codepage, f"cp{codepage}") if codepage else None
