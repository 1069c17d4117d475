"""Dates as documents and pages write them in, ISO 8601 out."""

import re
from datetime import date, datetime, timedelta, timezone

_DATE = re.compile(r"(\d{4})[-./년]\s*(\d{1,2})[-./월]\s*(\d{1,2})(?!\d)")
_TIME = re.compile(r"일?\.?[T\s]\s*(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?")


def iso_date(text: str) -> str | None:
    """A date, with its time of day and offset where they are written; None for what is no date.

    The year comes first, as in "2026-07-01T09:00:00Z", "2026. 7. 1." and "2026년 7월 1일".
    """
    day = _DATE.match(text.strip())
    if day is None:
        return None
    year, month, number = map(int, day.groups())
    time = _TIME.match(text.strip(), day.end())
    try:
        if time is None:
            return date(year, month, number).isoformat()
        hour, minute, second = (int(part or 0) for part in time.groups()[:3])
        zone = _zone(time.group(4))
        return datetime(year, month, number, hour, minute, second, tzinfo=zone).isoformat()
    except ValueError:
        return None


def _zone(offset: str | None) -> timezone | None:
    if offset is None:
        return None
    if offset == "Z":
        return timezone.utc
    shift = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
    return timezone(-shift if offset[0] == "-" else shift)
