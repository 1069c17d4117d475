"""A PDF's own account of itself in, metadata out: title, author, created, modified."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

_DATE = re.compile(r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?)?")
# What programs write where nobody gave a title: names of files and of empty documents.
_NO_TITLE = re.compile(
    r"(?:Microsoft \w+ - .*|.*\.(?:hwpx?|docx?|pptx?|xlsx?|pdf|html?|txt|indd|ai|psd)"
    r"|untitled.*|제목\s*없음.*|무제.*|문서\s*\d*|Document\s*\d*|PowerPoint\s*(?:프레젠테이션|Presentation)"
    r"|슬라이드\s*\d*|Slide\s*\d*|\(?anonymous\)?|\(?unspecified\)?|[\W\d_]*|https?:.*|about:blank)",
    re.IGNORECASE,
)
_KOREAN = re.compile("[가-힣]")


def properties(information: Mapping[str, str]) -> dict[str, str]:
    """The metadata that a PDF's information dictionary gives.

    Returns:
        Of title, author, created and modified (ISO 8601) those that are known.
    """
    title = _text(information.get("Title", ""))
    found = {
        "title": "" if _NO_TITLE.fullmatch(title) else title,
        "author": _text(information.get("Author", "")).removeprefix("anonymous"),
        "created": iso_date(information.get("CreationDate", "")),
        "modified": iso_date(information.get("ModDate", "")),
    }
    return {name: value for name, value in found.items() if value}


def _text(value: str) -> str:
    """Some Korean programs write bytes of CP949, which a PDF reads as Latin-1."""
    value = " ".join(value.replace("\x00", "").split())
    if any("\x80" <= character <= "\xff" for character in value):
        try:
            korean = value.encode("latin-1").decode("cp949")
        except UnicodeError:
            return value
        return korean if _KOREAN.search(korean) else value
    return value


def iso_date(value: str) -> str:
    """A PDF's date ("D:20240812093549+09'00'") in ISO 8601; "" where it is none."""
    match = _DATE.match(value.strip())
    if not match:
        return ""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    zulu, sign, hours, minutes = match.groups()[6:]
    zone = None
    if zulu:
        zone = timezone.utc
    elif sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone = timezone(offset if sign == "+" else -offset) if offset < timedelta(days=1) else None
    try:
        moment = datetime(year, month or 1, day or 1, hour, minute, second, tzinfo=zone)
    except ValueError:
        return ""
    return moment.isoformat()
