"""A run of KoBEST in, the page about it out: our figures beside the published ones."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from kogemma_rag.evaluation.report_pages import Failure, FailureGroup, Failures, Page, Part, Section
from kogemma_rag.evaluation.report_plots import Figure, Plot, bar_plot
from kogemma_rag.evaluation.report_tables import Cell, Table, fact_table
from kogemma_rag.evaluation.report_text import Piece

NAMES = {
    "boolq": "BoolQ",
    "copa": "COPA",
    "hellaswag": "HellaSwag",
    "sentineg": "SentiNeg",
    "wic": "WiC",
    "average": "평균",
}
_METRICS = {
    "acc": "정확도",
    "f1": "macro-F1",
    "acc_norm": "정확도(길이로 나눔)",
    "f1_without_sentineg_wic": "macro-F1(SentiNeg·WiC 없이)",
}
_MOST_FAILURES = 60  # of a task


def kobest_page(run: Mapping[str, Any]) -> Page:
    """Figures of each task, beside the published table, wrong answers and conditions."""
    sections = [
        Section("notes", "먼저 알아 둘 것", sentences=tuple(run.get("notes", ()))),
        Section("tasks", "과제별 결과", plots=(_plot(run),), tables=task_tables(run)),
    ]
    if run["published"]["comparison"]:
        sections.append(Section("published", "공개된 표와 비교", tables=published_tables(run)))
    sections.append(Section("failures", "틀린 문항", failures=_failures(run)))
    sections.append(Section("conditions", "조건", tables=(fact_table(run),)))
    facts = [str(run.get("started", "")), f"문항 {len(run['questions']):,}개"]
    if (requests := run.get("requests")) is not None:
        facts.append(
            f"요청 {requests['count']:,}개 가운데 <bos> 하나인 것 {requests['one_bos']:,}개"
        )
    return Page(run["title"], "KoBEST", tuple(fact for fact in facts if fact), tuple(sections))


def task_tables(run: Mapping[str, Any]) -> tuple[Table, ...]:
    """Every metric of every task with its standard error, and the averages."""
    rows = [
        (
            Cell(NAMES[name]),
            *(Cell(_told(task["metrics"].get(metric))) for metric in ("acc", "acc_norm", "f1")),
            Cell(f"{task['examples']:,}"),
            Cell(_unparsed(task.get("unparsed"))),
        )
        for name, task in run["tasks"].items()
    ]
    rows += [
        (Cell(f"평균 {_METRICS[name]}"), Cell("–"), Cell("–"), Cell(_told(each)), *_DASHES)
        for name, each in run["averages"].items()
    ]
    head = ("과제", "정확도", "정확도(길이로 나눔)", "macro-F1", "문항", "알아듣지 못한 답")
    return (Table("과제마다의 값", head, tuple(rows), note="± 뒤는 표준 오차입니다."),)


_DASHES = (Cell("–"), Cell("–"))


def _unparsed(unparsed: Mapping[str, Any] | None) -> str:
    return "–" if unparsed is None else f"{unparsed['count']:,} ({unparsed['share']:.1%})"


def published_tables(run: Mapping[str, Any]) -> tuple[Table, ...]:
    """A table for each published model: its figures, ours, and whether they agree."""
    models = dict.fromkeys(each["model"] for each in run["published"]["comparison"])
    return tuple(_published_table(run, model) for model in models)


def _published_table(run: Mapping[str, Any], model: str) -> Table:
    rows = []
    for each in run["published"]["comparison"]:
        if each["model"] != model:
            continue
        verdict, tone = {
            True: ("표준 오차 둘 안", "good"),
            False: ("표준 오차 둘 밖", "bad"),
            None: ("–", ""),
        }[each["within"]]
        rows.append(
            (
                Cell(f"{NAMES[each['task']]} {_METRICS[each['metric']]}"),
                Cell(f"{each['published']:.3f}"),
                Cell(f"{each['ours']:.4f}"),
                Cell(f"{each['difference']:+.4f}"),
                Cell("–" if each["stderr"] is None else f"{each['stderr']:.4f}"),
                Cell(verdict, tone),  # type: ignore[arg-type]
            )
        )
    head = ("과제와 지표", "공개된 값", "잰 값", "차이", "표준 오차", "판정")
    own = " (이 모델)" if model == run.get("model") else ""
    return Table(f"{model}{own}", head, tuple(rows))


def _plot(run: Mapping[str, Any]) -> Plot:
    """macro-F1 by task: ours with two standard errors, and what was published."""
    groups = [*run["tasks"]]
    ours = [_figure(run["tasks"][name]["metrics"]["f1"]) for name in groups]
    series: list[tuple[str, list[Figure | None]]] = [(f"{run['model']} (잰 값)", list(ours))]
    if run["published"]["comparison"]:
        for row in run["published"]["rows"]:
            cells = {c["task"]: c["value"] for c in row["cells"] if c["metric"] == "f1"}
            figures = [Figure(cells[name]) if name in cells else None for name in groups]
            series.append((f"{row['model']} (공개)", figures))
    return bar_plot("macro-F1", [NAMES[name] for name in groups], series)


def _figure(figure: Mapping[str, Any]) -> Figure:
    value, error = figure["value"], figure["stderr"]
    if error is None:
        return Figure(value)
    return Figure(value, max(0.0, value - 2 * error), min(1.0, value + 2 * error))


def _told(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    error = "" if figure["stderr"] is None else f" ± {figure['stderr']:.4f}"
    return f"{figure['value']:.4f}{error}"


def _failures(run: Mapping[str, Any]) -> Failures:
    groups = []
    for name in run["tasks"]:
        asked = [each for each in run["questions"] if each["task"] == name]
        wrong = [each for each in asked if not each["correct"]]
        shown = tuple(_failure(each) for each in islice(wrong, _MOST_FAILURES))
        told = f"{len(asked):,}문항 가운데 {len(wrong):,}개 틀림, {len(shown)}개 보임"
        groups.append(FailureGroup(NAMES[name], told, shown))
    told = f"과제마다 처음 {_MOST_FAILURES}개까지 보입니다. 모두는 run.json에 있습니다."
    return Failures(told, (run["model"],), tuple(groups))


def _failure(each: Mapping[str, Any]) -> Failure:
    chosen = each["chosen"]
    taken = each.get("reply", "") if chosen is None else each["choices"][chosen]
    right = each["choices"][each["gold"]]
    parts = (
        Part("정답", pieces=(Piece(right, False),), tone="good"),
        Part(
            "고른 것",
            told="보기 하나로 알아듣지 못함" if chosen is None else "",
            pieces=(Piece(taken, False),),
            tone="bad",
        ),
    )
    return Failure(each["question"], (0,), parts)
