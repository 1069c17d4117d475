"""Figures in, inline SVG out: lines, points, bars. Colours and fonts come from the report's CSS.

Every plot carries the same numbers as a table, for those who do not see it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup

from kogemma_rag.evaluation.report_tables import Cell, Table
from kogemma_rag.evaluation.report_text import visible

_WIDTH, _HEIGHT = 680, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 14, 50  # margins around the field of a plot
_STYLES = 8  # colours with marks that report.css knows; more series begin anew
_BAR = 18  # height of a bar


class Figure(NamedTuple):
    """A value and the bounds of its confidence interval, None where there are none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Plot:
    """A drawing with all that stands around it.

    Attributes:
        legend: Names of the series in their order.
        table: The drawing's numbers.
    """

    title: str
    svg: Markup
    legend: tuple[str, ...]
    table: Table


def line_plot(
    title: str, columns: Sequence[str], series: Sequence[tuple[str, Sequence[Figure | None]]]
) -> Plot:
    """Lines over columns at equal distances, with intervals; where a series has None, it has none.

    Args:
        title: What the lines show.
        columns: Names below the axis, one for each figure of a series.
        series: Names and figures, shares between 0 and 1.
    """
    figures = [figure for _, row in series for figure in row if figure is not None]
    axis = _Axis.around([bound for figure in figures for bound in _bounds(figure)])
    root = _drawing(title, _HEIGHT)
    _draw_levels(root, axis)
    step = (_WIDTH - _LEFT - _RIGHT) / len(columns)
    for number, name in enumerate(columns):
        _text(root, _LEFT + step * (number + 0.5), _HEIGHT - 24, name, anchor="middle")
    for number, (_, row) in enumerate(series):
        # Side by side, so that intervals do not lie on each other.
        shift = (number - (len(series) - 1) / 2) * min(9.0, step / (len(series) + 2))
        places = [
            (_LEFT + step * (column + 0.5) + shift, figure)
            for column, figure in enumerate(row)
            if figure is not None
        ]
        _draw_line(root, number, places, axis)
    rows = tuple((name, *(_told(figure) for figure in row)) for name, row in series)
    legend = tuple(name for name, _ in series)
    return Plot(title, _markup(root), legend, _table(title, ("이름", *columns), rows))


def point_plot(
    title: str, x_name: str, y_name: str, points: Sequence[tuple[str, float, Figure]]
) -> Plot:
    """One point for each series, x from 0 on, with the interval of y.

    Args:
        title: What the points show.
        x_name: Of the axis below, with its unit.
        y_name: Of the axis on the left.
        points: Name, x, y.
    """
    axis = _Axis.around([bound for _, _, figure in points for bound in _bounds(figure)])
    across = _Axis.over(0.0, max(x for _, x, _ in points) * 1.05 or 1.0)
    root = _drawing(title, _HEIGHT)
    _draw_levels(root, axis)
    for tick in across.ticks:
        x = _LEFT + across.share(tick) * (_WIDTH - _LEFT - _RIGHT)
        _text(root, x, _HEIGHT - 30, f"{tick:g}", anchor="middle")
    _text(root, (_WIDTH + _LEFT - _RIGHT) / 2, _HEIGHT - 10, x_name, anchor="middle")
    for number, (_, x, figure) in enumerate(points):
        place = _LEFT + across.share(x) * (_WIDTH - _LEFT - _RIGHT)
        _draw_line(root, number, [(place, figure)], axis)
    rows = tuple((name, f"{x:.2f}", _told(figure)) for name, x, figure in points)
    legend = tuple(name for name, _, _ in points)
    return Plot(title, _markup(root), legend, _table(title, ("이름", x_name, y_name), rows))


def bar_plot(
    title: str, groups: Sequence[str], series: Sequence[tuple[str, Sequence[Figure | None]]]
) -> Plot:
    """Bars from 0 to 1 lying below each other, group by group, with intervals.

    Args:
        title: What the bars show.
        groups: Names, one for each figure of a series.
        series: Names and figures, shares between 0 and 1.
    """
    left, field = 190, _WIDTH - 190 - 70
    group_height = _BAR * len(series) + 14
    root = _drawing(title, group_height * len(groups) + 30)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, bottom = left + tick * field, group_height * len(groups)
        _add(root, "line", "grid", x1=x, x2=x, y1=4, y2=bottom)
        _text(root, x, bottom + 18, f"{tick:g}", anchor="middle")
    for row, group in enumerate(groups):
        top = 8 + row * group_height
        _text(root, left - 10, top + (group_height - 14) / 2 + 4, group, anchor="end")
        for number, (_, figures) in enumerate(series):
            figure = figures[row]
            if figure is not None:
                _draw_bar(root, number, figure, left, field, top + number * _BAR)
    rows = tuple((name, *(_told(figure) for figure in figures)) for name, figures in series)
    legend = tuple(name for name, _ in series)
    return Plot(title, _markup(root), legend, _table(title, ("이름", *groups), rows))


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Sequence[float]) -> "_Axis":
        """An axis of shares that holds the values and some room, within 0 and 1."""
        low, high = min(values), max(values)
        room = max((high - low) * 0.08, 0.01)
        return cls.over(max(0.0, low - room), min(1.0, high + room))

    @classmethod
    def over(cls, low: float, high: float) -> "_Axis":
        """An axis from a round value at or below `low` to one at or above `high`."""
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, step)

    @property
    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + number * self.step for number in range(count + 1)]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def _bounds(figure: Figure) -> list[float]:
    return [bound for bound in figure if bound is not None]


def _table(title: str, head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> Table:
    return Table(title, head, tuple(tuple(map(Cell, row)) for row in rows))


def _told(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} ({figure.low:.4f} ~ {figure.high:.4f})"


def _drawing(title: str, height: float) -> ElementTree.Element:
    return ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {_WIDTH} {height:g}",
            "role": "img",
            "aria-label": visible(f"{title}. 같은 수가 아래 표에 있습니다."),
        },
    )


def _draw_levels(root: ElementTree.Element, axis: _Axis) -> None:
    digits = max(1, -math.floor(math.log10(axis.step) + 1e-9))
    for tick in axis.ticks:
        y = _level(axis, tick)
        _add(root, "line", "grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y)
        _text(root, _LEFT - 10, y + 4, f"{tick:.{digits}f}", anchor="end")


def _level(axis: _Axis, value: float) -> float:
    return _TOP + (1 - axis.share(value)) * (_HEIGHT - _TOP - _BOTTOM)


def _draw_line(
    root: ElementTree.Element, number: int, places: Sequence[tuple[float, Figure]], axis: _Axis
) -> None:
    """One series: its line, then intervals and marks on top of it."""
    group = _add(root, "g", f"s{number % _STYLES}")
    points = [(x, _level(axis, figure.value)) for x, figure in places]
    _add(group, "polyline", "line", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    for (x, y), (_, figure) in zip(points, places, strict=True):
        if figure.low is not None and figure.high is not None:
            low, high = _level(axis, figure.low), _level(axis, figure.high)
            _add(group, "line", "interval", x1=x, x2=x, y1=low, y2=high)
        _add(group, "path", "mark", d=mark_path(number, x, y))


def _draw_bar(
    root: ElementTree.Element, number: int, figure: Figure, left: float, field: float, y: float
) -> None:
    group = _add(root, "g", f"s{number % _STYLES}")
    _add(group, "rect", "bar", x=left, y=y, width=figure.value * field, height=_BAR - 3)
    end = figure.value
    if figure.low is not None and figure.high is not None:
        middle, end = y + (_BAR - 3) / 2, max(end, figure.high)
        low, high = left + figure.low * field, left + figure.high * field
        _add(group, "line", "bound", x1=low, x2=high, y1=middle, y2=middle)
    _text(root, left + end * field + 8, y + _BAR - 6, f"{figure.value:.3f}")


def mark_path(number: int, x: float, y: float) -> str:
    """A mark around a place: circle, square, triangle, diamond, then these again."""
    shapes = (
        f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
        f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z",
        f"M{x:.1f} {y - 5:.1f}l5 9h-10z",
        f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    )
    return shapes[number % len(shapes)]


def _add(
    parent: ElementTree.Element, tag: str, kind: str, **attributes: str | float
) -> ElementTree.Element:
    told = {
        name: value if isinstance(value, str) else f"{value:.1f}"
        for name, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, {"class": kind, **told})


def _text(
    parent: ElementTree.Element, x: float, y: float, text: str, *, anchor: str = "start"
) -> None:
    element = ElementTree.SubElement(
        parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    )
    element.text = visible(text)


def _markup(root: ElementTree.Element) -> Markup:
    # The serializer escapes every text and attribute.
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704
