"""The lists of a Word document: paragraphs in their order in, their numbers as shown out."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from kogemma_rag.document_loaders.number_labels import number_label
from kogemma_rag.document_loaders.word_styles import W, WordStyles, is_on, value_of

if TYPE_CHECKING:
    from lxml.etree import _Element

BULLET = "- "
_PLACE = re.compile("%([1-9])")


class Label(NamedTuple):
    """What stands before a paragraph of a list."""

    level: int
    """From 0."""
    text: str
    """With the space after it: "- ", "1. ", "제1조 "; "" where the list shows nothing."""


class _List(NamedTuple):
    definition: str
    """Lists of one definition count on."""
    levels: dict[int, "_Element"]
    starts: dict[int, int]
    """Level -> where this list starts anew."""


class WordNumbering:
    """Counts the paragraphs of all lists of a document.

    Args:
        root: The w:numbering element; None for a document without lists.
        styles: Of the same document.
    """

    def __init__(self, root: "_Element | None", styles: WordStyles) -> None:
        self._styles = styles
        self._lists = {} if root is None else _lists(root)
        self._counts: dict[str, dict[int, int]] = {}
        self._started: set[tuple[str, int]] = set()

    def label(self, paragraph: "_Element") -> Label | None:
        """Its bullet or number; None for what is in no list. To be asked once for each, in order.

        A list may be asked for by a level that it does not define: that paragraph shows nothing.
        """
        reference = self._styles.numbering(paragraph)
        if reference is None or reference.list_id not in self._lists:
            return None
        numbered = self._lists[reference.list_id]
        level = reference.level
        if level is None:
            level = _level_of_style(numbered.levels, reference.style)
        if level not in numbered.levels:
            return None
        self._count(reference.list_id, numbered, level)
        return Label(level, self._text(numbered, level))

    def _count(self, list_id: str, numbered: _List, level: int) -> None:
        counts = self._counts.setdefault(numbered.definition, {})
        if level in numbered.starts and (list_id, level) not in self._started:
            self._started.add((list_id, level))
            counts[level] = numbered.starts[level]
        elif level in counts:
            counts[level] += 1
        else:
            counts[level] = _start(numbered.levels[level])
        for deeper in [other for other in counts if other > level]:
            defined = numbered.levels.get(deeper)
            restart = "" if defined is None else value_of(defined, "lvlRestart") or ""
            # Restarts after any higher level, or only after one of the first so many.
            if not restart.isdecimal() or level < int(restart):
                del counts[deeper]

    def _text(self, numbered: _List, level: int) -> str:
        properties = numbered.levels[level]
        if value_of(properties, "numFmt") == "bullet":
            return BULLET
        legal = is_on(properties, "isLgl")
        counts = self._counts[numbered.definition]

        def written(place: re.Match[str]) -> str:
            above = int(place.group(1)) - 1
            if above not in numbered.levels:
                return ""
            number = counts.get(above, _start(numbered.levels[above]))
            number_format = value_of(numbered.levels[above], "numFmt") or "decimal"
            if number_format == "none":
                return ""
            return str(number) if legal else number_label(number, number_format)

        text = _PLACE.sub(written, value_of(properties, "lvlText") or "").strip()
        if not text or value_of(properties, "suff") == "nothing":
            return text
        return f"{text} "


def _lists(root: "_Element") -> dict[str, _List]:
    definitions = {
        definition.get(f"{W}abstractNumId", ""): definition
        for definition in root.iterchildren(f"{W}abstractNum")
    }
    by_style = {
        style: name
        for name, definition in definitions.items()
        if (style := value_of(definition, "styleLink")) is not None
    }
    lists = {}
    for number in root.iterchildren(f"{W}num"):
        name = value_of(number, "abstractNumId") or ""
        if name not in definitions:
            continue
        name = by_style.get(value_of(definitions[name], "numStyleLink") or "", name)
        levels = _by_level(definitions[name].iterchildren(f"{W}lvl"))
        starts = {}
        for level, override in _by_level(number.iterchildren(f"{W}lvlOverride")).items():
            own = override.find(f"{W}lvl")
            if own is not None:
                levels[level] = own
            start = value_of(override, "startOverride") or ""
            if start.isdecimal():
                starts[level] = int(start)
        lists[number.get(f"{W}numId", "")] = _List(name, levels, starts)
    return lists


def _by_level(elements: Iterable["_Element"]) -> dict[int, "_Element"]:
    return {
        int(level): element
        for element in elements
        if (level := element.get(f"{W}ilvl", "")).isdecimal()
    }


def _level_of_style(levels: dict[int, "_Element"], style: str) -> int:
    named = (level for level, element in levels.items() if value_of(element, "pStyle") == style)
    return next(named, 0)


def _start(level: "_Element") -> int:
    start = value_of(level, "start") or ""
    return int(start) if start.isdecimal() else 0
