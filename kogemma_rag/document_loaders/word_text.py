"""A paragraph of Word in, its visible text out: notes at their marks, equations in one line."""

import re
from typing import TYPE_CHECKING, Any

from kogemma_rag.document_loaders.equations import M, equation_text
from kogemma_rag.document_loaders.word_styles import W, is_on

if TYPE_CHECKING:
    from lxml.etree import _Element

FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_INVISIBLE = frozenset(
    {
        *(f"{W}del", f"{W}moveFrom", f"{W}pPr", f"{W}rPr", f"{W}rt", FALLBACK),
        f"{W}txbxContent",  # boxes are read on their own
    }
)
_CHARACTERS = {
    f"{W}tab": "\t",
    f"{W}ptab": "\t",
    f"{W}br": "\n",
    f"{W}cr": "\n",
    f"{W}noBreakHyphen": "-",
}
# Fields that number the pages.
_PAGE_FIELD = re.compile(r"\s*(PAGE|NUMPAGES|SECTIONPAGES)\b", re.IGNORECASE)


class WordText:
    """Text of paragraphs of one document.

    Args:
        footnotes: Text by the id of the note.
        endnotes: Likewise.
    """

    def __init__(
        self, footnotes: dict[str, str] | None = None, endnotes: dict[str, str] | None = None
    ) -> None:
        self._notes = {
            f"{W}footnoteReference": ("각주", footnotes or {}),
            f"{W}endnoteReference": ("미주", endnotes or {}),
        }

    def of(self, paragraph: "_Element") -> str:
        """Text without what was deleted or hidden, page numbers, and boxes anchored in it."""
        parts: list[str] = []
        self._read(paragraph, parts, [])
        return "".join(parts)

    def _read(self, parent: "_Element", parts: list[str], fields: list[Any]) -> None:
        for child in parent:
            tag = child.tag
            if tag in _INVISIBLE or (tag == f"{W}r" and is_on(child, "rPr/vanish")):
                continue
            if tag == f"{W}t":
                parts.append(child.text or "")
            elif tag in _CHARACTERS:
                parts.append(_CHARACTERS[tag])
            elif tag in self._notes:
                parts.append(self._note(child))
            elif tag in (f"{M}oMath", f"{M}oMathPara"):
                parts.append(equation_text(child))
            elif tag == f"{W}fldChar":
                _follow_field(child.get(f"{W}fldCharType", ""), parts, fields)
            elif tag == f"{W}instrText":
                if fields:
                    fields[-1][1] += child.text or ""
            elif tag != f"{W}fldSimple" or not _PAGE_FIELD.match(child.get(f"{W}instr", "")):
                self._read(child, parts, fields)

    def _note(self, reference: "_Element") -> str:
        name, notes = self._notes[reference.tag]
        text = notes.get(reference.get(f"{W}id", ""), "")
        return f" ({name}: {text})" if text else ""


def _follow_field(kind: str, parts: list[str], fields: list[Any]) -> None:
    """Keep track of fields that are open, as [where its text starts, its instruction]."""
    if kind == "begin":
        fields.append([len(parts), ""])
    elif kind == "end" and fields:
        start, instruction = fields.pop()
        if _PAGE_FIELD.match(instruction):
            del parts[start:]


def note_texts(root: "_Element | None") -> dict[str, str]:
    """Text of each note in a w:footnotes or w:endnotes element, by its id."""
    if root is None:
        return {}
    text = WordText()
    return {
        note.get(f"{W}id", ""): " ".join(
            " ".join(text.of(paragraph) for paragraph in note.iter(f"{W}p")).split()
        )
        for note in root
    }
