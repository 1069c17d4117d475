"""The name that a client gives a file in, what is shown of it and the name it is kept under out.

A name from outside never becomes a path: files are kept under names that are made here.
"""

import re
import unicodedata
from collections.abc import Collection
from uuid import uuid4

MOST_CHARACTERS = 200
UNNAMED = "이름 없는 문서"

_SEPARATORS = re.compile(r"[/\\]+")
# Of an absolute path, or one that climbs, only the last part is a name.
_FOREIGN_PATH = re.compile(r"^\s*(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\s*\.\.\s*(?:[/\\]|$)")
_DRIVE = re.compile(r"^\s*[A-Za-z]:")
# Controls, marks that turn the direction of writing, lone surrogates, what is not assigned.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")
_STORED = re.compile(r"[0-9a-f]{32}(?:\.[a-z0-9]{1,10})?")


def display_name(given: str | None) -> str:
    """What is shown of a file's name, with the folders it was dragged in, in NFC and on one line.

    Never empty, at most `MOST_CHARACTERS` long; the end with the suffix stays.
    """
    given = given or ""
    parts = _SEPARATORS.split(_DRIVE.sub("", given))
    if _FOREIGN_PATH.search(given):
        parts = parts[-1:]
    shown = [part for part in map(_shown, parts) if part.strip(". ")]
    name = "/".join(shown)
    while len(name) > MOST_CHARACTERS and len(shown) > 1:
        shown.pop(0)
        name = "/".join(shown)
    if len(name) > MOST_CHARACTERS:
        suffix = stored_suffix(name)
        name = name[: MOST_CHARACTERS - len(suffix) - 1] + "…" + suffix
    return name or UNNAMED


def unique_name(name: str, taken: Collection[str]) -> str:
    """A name that is not taken: "규정.hwp", "규정 (2).hwp", and so on."""
    if name not in taken:
        return name
    suffix = stored_suffix(name)
    stem = name[: len(name) - len(suffix)]
    number = 2
    while (numbered := f"{stem} ({number}){suffix}") in taken:
        number += 1
    return numbered


def stored_name(name: str) -> str:
    """A new name to keep a file under: random, with the suffix of its own name where it has one."""
    return uuid4().hex + stored_suffix(name).lower()


def is_stored_name(name: str) -> bool:
    """Whether a name is one that `stored_name` makes."""
    return _STORED.fullmatch(name) is not None


def stored_suffix(name: str) -> str:
    """The suffix of a name, with its dot; "" where it holds more than letters and digits."""
    _, dot, end = name.rpartition(".")
    suffix = dot + end
    return suffix if _SUFFIX.fullmatch(suffix.lower()) else ""


def _shown(part: str) -> str:
    visible = "".join(
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", part)
        if character.isspace() or unicodedata.category(character) not in _UNSHOWN
    )
    return " ".join(visible.split())
