"""Mail in: its headers and text, then what is attached to it. Nothing it points to is fetched.

Headers are decoded here and not by `email.policy.default`, which reads EUC-KR without the
characters that CP949 adds, and fails on some malformed headers.
"""

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.policy import Compat32
from email.utils import parseaddr, parsedate_to_datetime
from functools import partial
from io import BytesIO
from typing import Any, ClassVar

from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.html import html_blocks
from kogemma_rag.document_loaders.parts import ContainerLoader
from kogemma_rag.document_loaders.sections import Heading
from kogemma_rag.document_loaders.text import decode_text

# What Korean mail calls CP949, or is a part of it.
_CP949_NAMES = frozenset(
    {"euc-kr", "euckr", "euc_kr", "ks_c_5601-1987", "ks_c_5601", "ksc5601", "ks_c_5601-1989"}
    | {"korean", "ms949", "uhc", "windows-949", "x-windows-949", "cp949"}
)
# Encoded words (RFC 2047) in a row: a character may begin in one and end in the next.
_ENCODED_WORDS = re.compile(
    r"=\?[^?\s]+\?[bq]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bq]\?[^?]*\?=)*", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")
_MAIL = "message/rfc822"
# Names of attachments without one.
_SUFFIXES = {"text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", _MAIL: ".eml"}


class _RawHeaders(Compat32):
    """Headers as they are, bytes that are no ASCII as surrogates; else these would be lost."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


@dataclass
class Mail:
    """What is read of a mail, whatever the format."""

    subject: str = ""
    sender: str = ""
    recipients: str = ""
    copies: str = ""
    date: str = ""
    """As it is shown where it is no date."""
    sent: datetime | None = None
    body: str = ""

    def text(self) -> str:
        """The headers as lines, then the body."""
        date = self.date
        if self.sent is not None:
            date = self.sent.strftime("%Y-%m-%d %H:%M") + " UTC" * (
                self.sent.tzinfo is timezone.utc
            )
        lines = [
            f"{name}: {' '.join(value.split())}"
            for name, value in (
                ("제목", self.subject),
                ("보낸 사람", self.sender),
                ("받는 사람", self.recipients),
                ("참조", self.copies),
                ("날짜", date),
            )
            if value
        ]
        return "\n".join(lines) + "\n\n" + self.body.strip()

    def metadata(self) -> dict[str, Any]:
        """Title, author and created, where they are known."""
        try:
            name, address = parseaddr(self.sender)
        except RecursionError:  # comments in comments
            name = address = ""
        known = {
            "title": self.subject,
            "author": name or address or self.sender,
            "created": self.sent.isoformat() if self.sent else "",
        }
        return {key: value for key, value in known.items() if value}


def decode_bytes(data: bytes, charset: str | None) -> str:
    """Bytes in a named charset; where they are not, in what a Korean text would be in."""
    if charset and charset.lower() in _CP949_NAMES:
        charset = "cp949"
    try:
        return data.decode(charset or "ascii")
    except (LookupError, ValueError):
        try:
            return decode_text(data)
        except UnicodeError:
            return data.decode("utf-8", "replace")


def html_text(html: str) -> str:
    """The text of a mail in HTML."""
    return "\n\n".join(
        block.line if isinstance(block, Heading) else block for block in html_blocks(html)
    )


class EMLLoader(ContainerLoader):
    """Mail as it is sent (RFC 5322): a document of its headers and text, then its attachments.

    Of a text that is there in both forms the plain one is read. Pictures that are shown inside the
    text are left out.
    """

    media_types: ClassVar[dict[str, str]] = {".eml": _MAIL}

    def _read_container(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with self.path.open("rb") as file:
                message = email.message_from_binary_file(file, policy=_RawHeaders())
            content = _Content()
            content.read(message)
            mail = _mail(message, "\n\n".join(filter(None, content.texts)))
        except RecursionError as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        yield mail.text(), mail.metadata()
        for number, part in enumerate(content.attachments, 1):
            yield from self._read_part(_name(part, number), partial(_open, part))


@dataclass
class _Content:
    """The texts of a mail in order, and its attachments."""

    texts: list[str] = field(default_factory=list)
    attachments: list[Message] = field(default_factory=list)

    def read(self, part: Message) -> None:
        kind = part.get_content_type()
        if kind == "multipart/alternative":
            self._read_alternatives(_children(part))
        elif part.get_content_maintype() == "multipart":
            for child in _children(part):
                self.read(child)
        elif kind in ("text/plain", "text/html") and not _is_attached(part):
            self.texts.append(_text(part))
        elif not _is_shown_inside(part):
            self.attachments.append(part)

    def _read_alternatives(self, parts: list[Message]) -> None:
        """The plain text, or else the first that has any; attachments of all."""
        chosen: list[str] = []
        for part in sorted(parts, key=lambda part: part.get_content_type() != "text/plain"):
            inner = _Content()
            inner.read(part)
            self.attachments += inner.attachments
            if not any(text.strip() for text in chosen):
                chosen = inner.texts
        self.texts += chosen


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if part.is_multipart() else []


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or bool(_file_name(part))


def _is_shown_inside(part: Message) -> bool:
    return (
        part.get_content_maintype() == "image"
        and part.get_content_disposition() != "attachment"
        and "content-id" in part
    )


def _text(part: Message) -> str:
    data = part.get_payload(decode=True)
    text = decode_bytes(data if isinstance(data, bytes) else b"", part.get_content_charset())
    return html_text(text) if part.get_content_subtype() == "html" else text.strip()


def _mail(message: Message, body: str) -> Mail:
    date = _header(message, "date")
    return Mail(
        subject=_header(message, "subject"),
        sender=_header(message, "from"),
        recipients=_header(message, "to"),
        copies=_header(message, "cc"),
        date=date,
        sent=_sent(date),
        body=body,
    )


def _sent(date: str) -> datetime | None:
    try:
        return parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None


def _header(message: Message, name: str) -> str:
    """All headers of a name in one line, decoded; addresses without quotes."""
    values = [_decoded(str(value)) for key, value in message.raw_items() if key.lower() == name]
    text = _SPACE.sub(" ", ", ".join(values)).strip()
    return text if name == "subject" else text.replace('"', "")


def _decoded(value: str) -> str:
    """A header's text: encoded words, and bytes that should have been."""
    if not value.isascii():
        value = decode_bytes(value.encode("utf-8", "surrogateescape"), None)
    return _ENCODED_WORDS.sub(lambda words: _decoded_words(words.group()), value)


def _decoded_words(words: str) -> str:
    try:
        return "".join(
            decode_bytes(data, charset) if isinstance(data, bytes) else data
            for data, charset in decode_header(words)
        )
    except (MessageError, ValueError):
        return words


def _file_name(part: Message) -> str:
    """The name of an attachment, by RFC 2231, RFC 2047 or as its bare bytes."""
    for header, parameter in (("content-disposition", "filename"), ("content-type", "name")):
        value = part.get_param(parameter, None, header)
        if isinstance(value, tuple):
            charset, _, text = value
            value = decode_bytes(text.encode("latin-1", "replace"), charset)
        elif value:
            value = _decoded(str(value))
        if value:
            return value
    return ""


def _name(part: Message, number: int) -> str:
    kind = part.get_content_type()
    suffix = _SUFFIXES.get(kind, "")
    name = _file_name(part)
    if kind == _MAIL and not name and (inner := _children(part)):
        name = _header(inner[0], "subject").replace("/", " ")
    if not name:
        return f"첨부 {number}{suffix}"
    return name if kind != _MAIL or name.lower().endswith(suffix) else name + suffix


def _open(part: Message) -> BytesIO:
    if part.get_content_type() == _MAIL and (inner := _children(part)):
        return BytesIO(inner[0].as_bytes())
    data = part.get_payload(decode=True)
    return BytesIO(data if isinstance(data, bytes) else b"")
