"""A chart of Office in, its title and its numbers as a table out."""

from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.number_formats import shown_number
from kogemma_rag.document_loaders.sections import markdown_table

if TYPE_CHECKING:
    from lxml.etree import _Element

_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
# A hostile index would fill the memory with empty rows.
_MAX_POINTS = 1000


def chart_text(root: "_Element") -> str:
    """Its title, then a row for each category with a column for each series.

    From what the chart keeps of its workbook, so nothing else is read.
    """
    title = root.find(f".//{_C}chart/{_C}title")
    named = "" if title is None else "".join(text.text or "" for text in title.iter(f"{_A}t"))
    columns: list[dict[int, str]] = [{}]
    names = [""]
    for series in root.iter(f"{_C}ser"):
        columns[0] = {**_points(series, "cat", "xVal"), **columns[0]}
        columns.append(_points(series, "val", "yVal"))
        names.append(" ".join(_points(series, "tx").values()))
    places = sorted({place for column in columns for place in column})
    rows = [names, *([column.get(place, "") for column in columns] for place in places)]
    return "\n\n".join(filter(None, (" ".join(named.split()), markdown_table(rows))))


def _points(series: "_Element", *roles: str) -> dict[int, str]:
    """Place (from 0) -> text of the points that play the first of the roles to be there."""
    for role in roles:
        found = series.find(_C + role)
        if found is None:
            continue
        # Categories of several levels: the innermost comes first.
        level = found.find(f".//{_C}lvl")
        cache = found if level is None else level
        code = cache.findtext(f".//{_C}formatCode") or "General"
        points = {}
        for point in cache.iter(f"{_C}pt"):
            index = point.get("idx", "")
            if index.isdecimal() and int(index) < _MAX_POINTS:
                points[int(index)] = _written(point, code)
        return points
    return {}


def _written(point: "_Element", code: str) -> str:
    text = point.findtext(f"{_C}v") or ""
    if point.getparent().tag != f"{_C}numCache":
        return text
    try:
        return shown_number(float(text), point.get("formatCode", code))
    except ValueError:
        return text
