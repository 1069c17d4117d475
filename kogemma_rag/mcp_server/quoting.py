"""Text of documents in, text that an assistant can tell from its own and from ours out.

Documents are not to be trusted: their text comes in lines that begin with "> ", which it cannot
leave, and never more of it than an assistant can read.
"""

import re
from collections.abc import Mapping
from typing import Any

from kogemma_rag.prompts import describe_source
from kogemma_rag.terminal import one_line, printable

_MOST_TITLE = 300  # characters
# Letters of no width that spell a text which models read and people do not see.
_UNSEEN = re.compile("[\U000e0000-\U000e007f]")
_PLACES = ("source", "page", "slide", "sheet", "row", "headings")


def quoted(text: str, most_characters: int) -> str:
    """A document's text, each line marked as quoted; nothing in it can end the marks."""
    return "\n".join(f"> {_clean(line)}" for line in _cut(text, most_characters).splitlines())


def title(metadata: Mapping[str, Any]) -> str:
    """Where a passage stands, in one line that is not too long."""
    return _cut(one_line(_clean(describe_source(metadata))), _MOST_TITLE)


def place(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Where a passage stands, by name; documents may hold anything here."""
    known: dict[str, Any] = {}
    for name in _PLACES:
        value = metadata.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            known[name] = value
        elif isinstance(value, str | list) and value:
            listed = value if isinstance(value, list) else [value]
            known[name] = _cut(
                " > ".join(one_line(_clean(str(one))) for one in listed), _MOST_TITLE
            )
    return known


def _clean(text: str) -> str:
    return printable(_UNSEEN.sub("", text))


def _cut(text: str, most_characters: int) -> str:
    return text if len(text) <= most_characters else text[: most_characters - 1] + "…"
