"""Texts and values in, lines on stdout and stderr out. Knows nothing of the library.

Documents are not to be trusted: nothing in them may steer the terminal that shows them.
"""

import io
import json
import re
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

# Escape sequences: CSI, OSC and its like up to their end, and the two-byte ones.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    # Bounded: looking for an end that never comes would take quadratic time.
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# Control characters but tab and new line, and the marks that turn the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def accept_any_encoding() -> None:
    """Let characters that the terminal's encoding lacks become "?", instead of an error."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def printable(text: str) -> str:
    """The text without escape sequences and control characters but tab and new line."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def show(text: str, *, end: str = "\n") -> None:
    """Write a result to stdout, at once."""
    sys.stdout.write(printable(text) + end)
    sys.stdout.flush()


def notify(text: str) -> None:
    """Write a notice to stderr."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def show_json(value: Mapping[str, Any]) -> None:
    """Write one line of JSON to stdout; control characters are escaped, so that none is lost.

    Raises:
        TypeError: If the value holds what has no JSON form; dates and paths have one.
    """
    is_utf_8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not is_utf_8, default=_json_value)
    sys.stdout.write(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def _json_value(value: object) -> str:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form: {value!r}")
