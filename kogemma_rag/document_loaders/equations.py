"""An equation of Office (OMML) in, one line of text out."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element

M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"


def equation_text(element: "_Element") -> str:
    """Linear text as one would type it: (a+b)/2, x^2, √(y), ∑_(i=1)^n i."""
    name = str(element.tag).removeprefix(M)
    if name == "t":
        return element.text or ""
    write = _WRITERS.get(name)
    return write(element) if write is not None else _joined(element)


def _joined(element: "_Element") -> str:
    return "".join(equation_text(child) for child in element)


def _part(element: "_Element", name: str) -> str:
    part = element.find(M + name)
    return "" if part is None else _joined(part)


def _grouped(text: str) -> str:
    return text if text.isalnum() or len(text) < 2 else f"({text})"


def _character(element: "_Element", properties: str, name: str, default: str) -> str:
    found = element.find(f"{M}{properties}/{M}{name}")
    return default if found is None else found.get(f"{M}val", "")


def _script(element: "_Element", name: str, mark: str) -> str:
    text = _part(element, name)
    return mark + _grouped(text) if text else ""


def _fraction(element: "_Element") -> str:
    return f"{_grouped(_part(element, 'num'))}/{_grouped(_part(element, 'den'))}"


def _scripts(element: "_Element") -> str:
    return _part(element, "e") + _script(element, "sub", "_") + _script(element, "sup", "^")


def _root(element: "_Element") -> str:
    return f"{_part(element, 'deg')}√({_part(element, 'e')})"


def _operator(element: "_Element") -> str:
    sign = _character(element, "naryPr", "chr", "∫")
    limits = _script(element, "sub", "_") + _script(element, "sup", "^")
    return f"{sign}{limits} {_part(element, 'e')}"


def _brackets(element: "_Element") -> str:
    parts = _character(element, "dPr", "sepChr", "|").join(map(_joined, element.findall(f"{M}e")))
    begin = _character(element, "dPr", "begChr", "(")
    return begin + parts + _character(element, "dPr", "endChr", ")")


def _matrix(element: "_Element") -> str:
    rows = element.findall(f"{M}mr")
    return "; ".join(", ".join(map(_joined, row.findall(f"{M}e"))) for row in rows)


def _limit(element: "_Element") -> str:
    return _part(element, "e") + _script(element, "lim", "_")


def _applied(element: "_Element") -> str:
    return f"{_part(element, 'fName')} {_part(element, 'e')}"


_WRITERS = {
    "f": _fraction,
    "sSub": _scripts,
    "sSup": _scripts,
    "sSubSup": _scripts,
    "rad": _root,
    "nary": _operator,
    "d": _brackets,
    "m": _matrix,
    "limLow": _limit,
    "limUpp": _limit,
    "func": _applied,
}
