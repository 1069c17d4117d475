"""A comparison of two runs in, the page about it out."""

from collections.abc import Mapping
from typing import Any

from kogemma_rag.evaluation.report_pages import Page, Section
from kogemma_rag.evaluation.report_tables import Cell, Table, difference_tone, told_p

_VERDICTS = {"good": "나아졌다", "bad": "나빠졌다", "": "차이가 뚜렷하지 않다", "best": ""}


def comparison_page(comparison: Mapping[str, Any]) -> Page:
    """Differences by metric, and the questions that got better and worse."""
    sections = [Section("differences", "나중 것 − 처음 것", tables=difference_tables(comparison))]
    if comparison["notes"]:
        notes = Section("notes", "먼저 알아 둘 것", sentences=tuple(comparison["notes"]))
        sections.insert(0, notes)
    changed = tuple(
        table
        for key, title in (("worse", "나빠진 질문"), ("better", "나아진 질문"))
        if (table := _question_table(comparison[key], title)).rows
    )
    if changed:
        sections.append(Section("questions", "바뀐 질문", tables=changed))
    facts = tuple(
        f"{label}: {run['title']} ({run['started']})"
        for label, run in zip(("처음", "나중"), comparison["runs"], strict=True)
    )
    return Page(
        comparison["title"],
        "평가 비교",
        (*facts, f"함께 든 질문 {comparison['questions']:,}개"),
        tuple(sections),
    )


def difference_tables(comparison: Mapping[str, Any]) -> tuple[Table, ...]:
    """A table for each system that both runs have."""
    systems = dict.fromkeys(row["system"] for row in comparison["rows"])
    return tuple(_system_table(comparison, system) for system in systems)


def _system_table(comparison: Mapping[str, Any], system: str) -> Table:
    rows = tuple(
        (
            Cell(row["metric"]),
            Cell(f"{row['a']:.4f}"),
            Cell(f"{row['b']:.4f}"),
            Cell(
                f"{row['difference']:+.4f} ({row['low']:+.4f} ~ {row['high']:+.4f})",
                difference_tone(row),
            ),
            Cell(told_p(row["p"])),
            Cell(_VERDICTS[difference_tone(row)]),
        )
        for row in comparison["rows"]
        if row["system"] == system
    )
    return Table(
        system,
        ("지표", "처음", "나중", "차이", "p", "판정"),
        rows,
        note="두 평가에 함께 든 질문만으로 다시 셈했습니다. 구간은 부트스트랩 95%, "
        "p는 부호를 바꾸는 순열 검정(양쪽)입니다.",
    )


def _question_table(changed: Mapping[str, Any], title: str) -> Table:
    rows = tuple(
        (
            Cell(each["question"]),
            Cell(each["system"]),
            Cell(each["metric"]),
            Cell(f"{each['a']:.4g}"),
            Cell(f"{each['b']:.4g}"),
        )
        for each in changed["shown"]
    )
    left_out = changed["count"] - len(rows)
    note = f"{left_out:,}개는 뺐습니다." if left_out else ""
    return Table(
        f"{title} {changed['count']:,}개", ("질문", "이름", "지표", "처음", "나중"), rows, note
    )
