"""A date or time and its format code in, the text that a spreadsheet shows in Korea out."""

import re
from datetime import date, datetime, time, timedelta

_FIRST_DAY = date(1899, 12, 30)
# Programs allow no longer ones.
_MAX_CODE = 255
_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)"? | \\(?P<escaped>.) | \[(?P<elapsed>h+|m+|s+)\] | \[[^\]]*\] | [_*].?
    | (?P<half>am/pm|a/p|오전/오후) | (?P<part>y+|m+|d+|a{3,4}|h+|s+) | \.(?P<decimals>0+)
    | (?P<plain>.)
    """,
    re.DOTALL | re.VERBOSE | re.IGNORECASE,
)
_KOREAN = re.compile(r"\[\$[^\]]*-(?:412|ko)[^\]]*\]|aaa|오전/오후", re.IGNORECASE)
# "As this computer shows dates": what Korean Windows does.
_SYSTEM_CODES = {
    "[$-F800]": '[$-412]yyyy"년" m"월" d"일" dddd',
    "[$-F400]": "[$-412]AM/PM h:mm:ss",
}
# Built-in formats that stand for those of the place.
_PLACE_CODES = {"mm-dd-yy": "yyyy-mm-dd", "m/d/yy h:mm": "yyyy-mm-dd h:mm"}
_WEEKDAYS = ("월", "화", "수", "목", "금", "토", "일")
_ENGLISH_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


def shown_date(value: datetime | date | time | timedelta, code: str) -> str:
    """A date or time as it is shown; midnight is not, where a code has date and time."""
    moment, elapsed = _moment(value)
    for name, system in _SYSTEM_CODES.items():
        code = system if name.casefold() in code.casefold() else code
    code = _PLACE_CODES.get(code, code).split(";")[0]
    if len(code) > _MAX_CODE:
        return _iso(value)
    tokens = list(_TOKEN.finditer(code))
    kinds = [_kind(tokens, number) for number in range(len(tokens))]
    if not any(kinds):
        return _iso(value)
    if isinstance(value, datetime) and value.time() == time() and "day" in kinds:
        # Dates are often stored with a midnight that nobody meant.
        end = kinds.index("time") if "time" in kinds[kinds.index("day") :] else len(kinds)
        tokens = tokens[:end] or tokens
    korean = _KOREAN.search(code) is not None
    half_days = any(token["half"] for token in tokens)
    return "".join(
        _written(tokens, number, moment, elapsed, korean, half_days)
        for number in range(len(tokens))
    ).strip()


def _moment(value: datetime | date | time | timedelta) -> tuple[datetime, timedelta]:
    """The point in time, and how long it is since the first day that there is."""
    midnight = datetime.combine(_FIRST_DAY, time())
    if isinstance(value, timedelta):
        return midnight + timedelta(seconds=value.total_seconds() % 86400), value
    if isinstance(value, time):
        moment = datetime.combine(_FIRST_DAY, value.replace(tzinfo=None))
    elif isinstance(value, datetime):
        moment = value.replace(tzinfo=None)
    else:
        moment = datetime.combine(value, time())
    return moment, moment - midnight


def _iso(value: datetime | date | time | timedelta) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    return str(value)


def _kind(tokens: list[re.Match[str]], number: int) -> str:
    """What a token writes: "time", "day" (months and weekdays too), or "" for neither."""
    token = tokens[number]
    part = (token["part"] or "").lower()
    if token["elapsed"] or token["half"] or part.startswith(("h", "s")):
        return "time"
    if part.startswith("m") and _is_minute(tokens, number):
        return "time"
    return "day" if part else ""


def _written(
    tokens: list[re.Match[str]],
    number: int,
    moment: datetime,
    elapsed: timedelta,
    korean: bool,
    half_days: bool,
) -> str:
    token = tokens[number]
    if token["part"]:
        part = token["part"].lower()
        if part[0] == "m" and _is_minute(tokens, number):
            return f"{moment.minute:0{min(len(part), 2)}d}"
        hour = (moment.hour % 12 or 12) if half_days else moment.hour
        return _part(part, moment, hour, korean)
    if token["elapsed"]:
        seconds = int(elapsed.total_seconds())
        unit = {"h": 3600, "m": 60, "s": 1}[token["elapsed"][0].lower()]
        return f"{seconds // unit:0{len(token['elapsed'])}d}"
    if token["half"]:
        return _half_day(token["half"], moment.hour, korean)
    if token["decimals"]:
        return "." + f"{moment.microsecond:06d}"[: len(token["decimals"])]
    return token["quoted"] or token["escaped"] or token["plain"] or ""


def _part(part: str, moment: datetime, hour: int, korean: bool) -> str:
    width = f"0{min(len(part), 2)}d"
    if part[0] == "y":
        return f"{moment.year:04d}" if len(part) > 2 else f"{moment.year % 100:02d}"
    if part[0] == "h":
        return f"{hour:{width}}"
    if part[0] == "s":
        return f"{moment.second:{width}}"
    if part[0] == "m":
        if len(part) < 3:
            return f"{moment.month:{width}}"
        return _month(moment.month, len(part), korean)
    if part[0] == "d" and len(part) < 3:
        return f"{moment.day:{width}}"
    if korean:
        return _WEEKDAYS[moment.weekday()] + ("요일" if len(part) > 3 else "")
    name = _ENGLISH_WEEKDAYS[moment.weekday()]
    return name if len(part) > 3 else name[:3]


def _month(month: int, length: int, korean: bool) -> str:
    if korean:
        return str(month) if length == 3 else f"{month}월"
    name = _MONTHS[month - 1]
    return {3: name[:3], 5: name[0]}.get(length, name)


def _half_day(written: str, hour: int, korean: bool) -> str:
    if korean:
        return "오전" if hour < 12 else "오후"
    morning, _, evening = written.partition("/")
    return morning if hour < 12 else evening


def _is_minute(tokens: list[re.Match[str]], number: int) -> bool:
    """Whether an "m" counts minutes: it follows hours or is followed by seconds."""

    def unit(token: re.Match[str]) -> str:
        return (token["part"] or token["elapsed"] or "").lower()[:1]

    before = next((unit(token) for token in reversed(tokens[:number]) if unit(token)), "")
    after = next((unit(token) for token in tokens[number + 1 :] if unit(token)), "")
    return len(tokens[number]["part"]) < 3 and (before == "h" or after == "s")
