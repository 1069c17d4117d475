"""A run in, its tables out: the same for the terminal and the page."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Tone = Literal["", "best", "good", "bad"]


class Cell(NamedTuple):
    """A text and what it is marked as; the text says the same without the mark."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """Rows below a head; the first cell of a row names it.

    Attributes:
        note: How the figures are to be read; may be empty.
        figures: Whether all but the first column are figures, which stand to the right.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    figures: bool = True

    def __str__(self) -> str:
        """For a terminal: columns of equal width, Hangul counted double."""
        lines = [self.head, *(tuple(cell.text for cell in row) for row in self.rows)]
        widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
        drawn = [_aligned(line, widths, self.figures) for line in lines]
        drawn.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self.title, *drawn])


def display_width(text: str) -> int:
    """Columns that a terminal takes for a text."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _aligned(line: Sequence[str], widths: Sequence[int], figures: bool) -> str:
    """Names to the left, figures to the right."""
    cells = [
        " " * (width - display_width(text)) + text
        if column and figures
        else text + " " * (width - display_width(text))
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def metric_table(run: Mapping[str, Any]) -> Table:
    """Every metric of every system with its interval; the best of a row is marked."""
    systems = run["systems"]
    rows = []
    for name in shown_metrics(run):
        best = _best(systems, name) if len(systems) > 1 else set()
        cells = (
            Cell(told_figure(system["metrics"].get(name)), "best" if system["name"] in best else "")
            for system in systems
        )
        rows.append((Cell(name), *cells))
    left_out = len(metric_names(run)) - len(rows)
    note = "괄호 안은 95% 신뢰 구간입니다(부트스트랩)."
    if left_out:
        note += f" recall과 값이 모두 같은 {left_out}개는 뺐습니다(run.json에 있습니다)."
    return Table("지표", ("지표", *(system["name"] for system in systems)), tuple(rows), note)


def metric_names(run: Mapping[str, Any]) -> list[str]:
    """Names of the metrics that some system has, in their order."""
    return list(dict.fromkeys(name for system in run["systems"] for name in system["metrics"]))


def shown_metrics(run: Mapping[str, Any]) -> list[str]:
    """The metrics without those that say nothing more than recall at the same k.

    With one right document for each question that is hit@k, and at 1 all of them.
    """
    return [
        name
        for name in metric_names(run)
        if not (name.startswith("hit@") or name.endswith("@1")) or not _is_recall(run, name)
    ]


def _is_recall(run: Mapping[str, Any], name: str) -> bool:
    twin = f"recall@{name.partition('@')[2]}"
    return name != twin and all(
        twin in system["metrics"] and system["metrics"].get(name) == system["metrics"][twin]
        for system in run["systems"]
    )


def compared_metrics(run: Mapping[str, Any]) -> list[str]:
    """The metrics that a reader needs differences of: of mrr and ndcg those at the greatest k."""
    names = shown_metrics(run)
    deepest = {name.partition("@")[0]: name for name in names}
    return [
        name for name in names if not name.startswith(("mrr@", "ndcg@")) or name in deepest.values()
    ]


def _best(systems: Iterable[Mapping[str, Any]], name: str) -> set[str]:
    values = {
        system["name"]: system["metrics"][name]["value"]
        for system in systems
        if _has(system["metrics"].get(name))
    }
    if not values:
        return set()
    most = (min if name.startswith(LOWER_IS_BETTER) else max)(values.values())
    return {system for system, value in values.items() if value == most}


LOWER_IS_BETTER = ("false_refusal", "dropped", "failed")


def _has(figure: Mapping[str, Any] | None) -> bool:
    return figure is not None and figure.get("value") is not None


def told_figure(figure: Mapping[str, Any] | None, digits: int = 4) -> str:
    """A value with its interval, or a dash."""
    if figure is None or figure.get("value") is None:
        return "–"
    told = f"{figure['value']:.{digits}f}"
    if figure.get("low") is None or figure.get("high") is None:
        return told
    return f"{told} ({figure['low']:.{digits}f} ~ {figure['high']:.{digits}f})"


def cost_table(run: Mapping[str, Any]) -> Table:
    """What each system takes: milliseconds, the index's size, tokens."""
    columns = (
        ("중앙값 ms", "latency", "p50_ms", ".1f"),
        ("95% ms", "latency", "p95_ms", ".1f"),
        ("첫 글자 중앙값 ms", "first_text", "p50_ms", ".1f"),
        ("첫 글자 95% ms", "first_text", "p95_ms", ".1f"),
        ("색인 MB", "index", "bytes", "MB"),
        ("문단 수", "index", "chunks", ",d"),
        ("색인 초", "index", "seconds", ".1f"),
        ("넣은 토큰", "tokens", "input", ",.0f"),
        ("나온 토큰", "tokens", "output", ",.0f"),
    )
    used = [
        column
        for column in columns
        if any(
            (system.get(column[1]) or {}).get(column[2]) is not None for system in run["systems"]
        )
    ]
    rows = tuple(
        (
            Cell(system["name"]),
            *(_cost((system.get(group) or {}).get(key), form) for _, group, key, form in used),
        )
        for system in run["systems"]
    )
    at_once = run.get("settings", {}).get("concurrency", 1)
    asked = "하나씩" if at_once == 1 else f"{at_once}개씩 한꺼번에"
    return Table(
        "걸린 시간과 크기",
        ("이름", *(name for name, *_ in used)),
        rows,
        note=f"질문을 {asked} 물었을 때의 시간입니다.",
    )


def _cost(value: float | None, form: str) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(f"{value / 1e6:.2f}" if form == "MB" else format(value, form))


_COUNTS = {
    "questions": "질문",
    "failed": "모델 오류",
    "refused": "없다고 답함",
    "ungrounded_answers": "근거 없는 수나 날짜가 든 답",
    "without_relevant": "맞는 문서를 빼고 물음",
    "still_answerable": "그래도 답이 남은 것",
    "unreadable_verdicts": "읽을 수 없는 판정",
}


def count_table(run: Mapping[str, Any]) -> Table:
    """Numbers of questions by what became of them; without rows where a run counts none."""
    rows = tuple(
        (
            Cell(system["name"]),
            *(Cell(f"{system['counts'].get(name, 0):,}") for name in _COUNTS),
        )
        for system in run["systems"]
        if system.get("counts")
    )
    return Table("질문의 수", ("이름", *_COUNTS.values()), rows)


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> Table:
    """Differences of pairs with interval and p; those beyond chance are marked."""
    rows = tuple(
        (
            Cell(f"{each['a']} − {each['b']}"),
            Cell(each["metric"]),
            Cell(
                f"{each['difference']:+.4f} ({each['low']:+.4f} ~ {each['high']:+.4f})",
                difference_tone(each),
            ),
            Cell(told_p(each["p"])),
            Cell(verdict(each)),
        )
        for each in comparisons
    )
    return Table(
        "짝지은 비교",
        ("비교", "지표", "차이", "p", "판정"),
        rows,
        note="같은 질문끼리 짝지어 비교했습니다. 구간은 부트스트랩 95%, p는 부호를 바꾸는 순열 "
        "검정(양쪽)입니다. 여러 번 비교하면 우연히 작은 p도 나옵니다.",
    )


def told_p(p: float) -> str:
    """A p-value as it is printed."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


_UNLIKELY = 0.05


def _is_clear(each: Mapping[str, Any]) -> bool:
    return bool((each["low"] > 0 or each["high"] < 0) and each["p"] < _UNLIKELY)


def difference_tone(each: Mapping[str, Any]) -> Tone:
    """Good or bad where the interval of a difference leaves zero out, and p is below 0.05."""
    if not _is_clear(each):
        return ""
    better = (each["difference"] > 0) != each["metric"].startswith(LOWER_IS_BETTER)
    return "good" if better else "bad"


def verdict(each: Mapping[str, Any]) -> str:
    """Whether the first of a pair is better, in a word."""
    return {"good": "앞이 낫다", "bad": "뒤가 낫다", "": "차이가 뚜렷하지 않다"}[
        difference_tone(each)
    ]


def fact_table(run: Mapping[str, Any]) -> Table:
    """When, on what, with which versions and options the run was."""
    facts: list[tuple[str, str]] = [("종류", str(run["kind"]))]
    for title, key in (
        ("시작", "started"),
        ("걸린 초", "seconds"),
        ("자료", "data"),
        ("설정", "settings"),
        ("기계", "machine"),
        ("판", "versions"),
    ):
        facts += _facts(title, run.get(key))
    for system in run.get("systems", ()):
        facts += _facts(f"설정 · {system['name']}", system.get("settings"))
    rows = tuple((Cell(name), Cell(value)) for name, value in facts)
    return Table("이 결과를 낸 조건", ("무엇", "값"), rows, figures=False)


def _facts(title: str, value: Any) -> list[tuple[str, str]]:
    if value is None or value == {}:
        return []
    if isinstance(value, Mapping):
        return [fact for name, each in value.items() for fact in _facts(f"{title} · {name}", each)]
    if isinstance(value, float):
        return [(title, f"{value:.2f}" if abs(value) >= 10 else f"{value:g}")]
    if isinstance(value, list | tuple):
        return [(title, ", ".join(map(str, value)))]
    return [(title, str(value))]
