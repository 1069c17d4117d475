"""The styles of a Word document: what a paragraph is by its own properties or by its style's."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lxml.etree import _Element

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BODY_TEXT_LEVEL = 9  # w:outlineLvl of what is no heading
_HEADING_NAME = re.compile(r"heading ([1-9])$", re.IGNORECASE)


class NumberingReference(NamedTuple):
    """Which list a paragraph belongs to."""

    list_id: str
    level: int | None
    """From 0; None where the level is the one that names the style."""
    style: str


def value_of(element: "_Element", path: str) -> str | None:
    """w:val of the first element at a path of names such as "pPr/pStyle", if it is there."""
    found = element.find("/".join(W + name for name in path.split("/")))
    return None if found is None else found.get(f"{W}val", "")


def is_on(element: "_Element", path: str) -> bool:
    """Whether a property that is on or off is there and on."""
    return (value_of(element, path) or "on") not in ("0", "false", "off") and (
        value_of(element, path) is not None
    )


class WordStyles:
    """What a paragraph takes from its style and the styles that this is based on.

    Args:
        root: The w:styles element; None for a document without styles.
    """

    def __init__(self, root: "_Element | None") -> None:
        styles = () if root is None else root.iterchildren(f"{W}style")
        self._styles = {style.get(f"{W}styleId", ""): style for style in styles}

    def heading_level(self, paragraph: "_Element") -> int | None:
        """0 for the title, 1 for the highest heading; None for other text."""
        for element in self._chain(paragraph):
            outline = value_of(element, "pPr/outlineLvl")
            if outline is not None:
                level = int(outline) if outline.isdecimal() else _BODY_TEXT_LEVEL
                return level + 1 if level < _BODY_TEXT_LEVEL else None
            name = value_of(element, "name") or ""
            if name.casefold() == "title":
                return 0
            if heading := _HEADING_NAME.match(name):
                return int(heading.group(1))
        return None

    def is_caption(self, paragraph: "_Element") -> bool:
        """Whether it is the caption of a table, a figure or an equation."""
        names = (value_of(element, "name") or "" for element in self._chain(paragraph))
        return any(name.casefold() == "caption" for name in names)

    def numbering(self, paragraph: "_Element") -> NumberingReference | None:
        """The list that numbers a paragraph, if one does."""
        level: int | None = None
        for element in self._chain(paragraph):
            written = value_of(element, "pPr/numPr/ilvl")
            if level is None and written is not None and written.isdecimal():
                level = int(written)
            list_id = value_of(element, "pPr/numPr/numId")
            if list_id is not None:
                in_style = element is not paragraph
                style = element.get(f"{W}styleId", "") if in_style else ""
                return NumberingReference(list_id, level if in_style else level or 0, style)
        return None

    def _chain(self, paragraph: "_Element") -> Iterator["_Element"]:
        """The paragraph, its style, the style that this is based on, and so on."""
        element: _Element | None = paragraph
        style_id = value_of(paragraph, "pPr/pStyle")
        seen: set[str | None] = {None}
        while element is not None:
            yield element
            element = None if style_id in seen else self._styles.get(style_id or "")
            seen.add(style_id)
            style_id = None if element is None else value_of(element, "basedOn")
