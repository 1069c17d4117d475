"""A run of retrieval or of answers in, the page about it out."""

import re
from collections.abc import Mapping
from typing import Any

from kogemma_rag.evaluation.report_failures import system_failures
from kogemma_rag.evaluation.report_pages import Page, Section
from kogemma_rag.evaluation.report_plots import Figure, Plot, bar_plot, line_plot, point_plot
from kogemma_rag.evaluation.report_tables import (
    Cell,
    Table,
    compared_metrics,
    comparison_table,
    cost_table,
    count_table,
    fact_table,
    metric_names,
    metric_table,
    shown_metrics,
)

_KINDS = {"retrieval": "검색 평가", "answers": "답변 평가"}
_AT = re.compile(r"(?P<name>.+)@(?P<k>\d+)")
# Of the plot against latency: the first that a run has.
_QUALITY = ("mrr@10", "ndcg@10", "mrr", "ndcg", "containment", "recall@1")
_MEANINGS = {
    "recall": "첫 k개 안에 든, 맞는 문서의 몫",
    "hit": "첫 k개 안에 맞는 문서가 하나라도 있는 질문의 몫",
    "mrr": "첫 맞는 문서의 순위로 1을 나눈 값의 평균",
    "ndcg": "맞는 문서가 위에 있을수록 1에 가까운 값",
    "exact_match": "답이 정답과 똑같은 질문의 몫(문장으로 답하면 0에 가깝습니다)",
    "f1": "답과 정답이 함께 가진 글자의 F1",
    "exact_match_official": "NFC로 모으지 않은 글로 잰 exact_match(KorQuAD 공식)",
    "f1_official": "NFC로 모으지 않은 글로 잰 f1(KorQuAD 공식)",
    "containment": "답에 정답의 글이 그대로 든 질문의 몫",
    "containment_spaceless": "띄어쓰기를 빼고 본 containment",
    "quote": "인용한 첫 n문장에 정답의 글이 든 질문의 몫",
    "place": "인용한 첫 n문장이 정답이 표시된 자리를 담은 질문의 몫",
    "citation_precision": "인용한 문단 가운데 정답의 글이 든 것의 몫",
    "citation_relevance": "인용한 문단 가운데 맞는 문서에서 온 것의 몫",
    "citation_recall": "인용한 문단에 정답의 글이 든 질문의 몫",
    "false_refusal": "답이 있는데 없다고 한 질문의 몫(낮을수록 좋음)",
    "refusal_unanswerable": "본디 답이 없는 질문 가운데 없다고 답한 것의 몫",
    "refusal": "답이 든 문서를 뺀 질문 가운데 없다고 답한 것의 몫",
    "dropped_citations": "없는 문단을 가리켜 뺀 인용의 수(낮을수록 좋음)",
    "failed": "모델의 오류로 답을 받지 못한 질문의 몫(낮을수록 좋음)",
    "groundedness": "답의 수·날짜·로마자·낱말 가운데 인용한 문단에 있는 것의 몫",
    "judge": "LLM이 판정한 값: 사람의 판정이 아닙니다",
}


def systems_page(run: Mapping[str, Any]) -> Page:
    """Metrics, comparisons, costs, failures and conditions of a run."""
    sections = [
        _notes(run),
        Section("metrics", "얼마나 맞는가", plots=_plots(run), tables=_metric_tables(run)),
        _comparisons(run),
        Section("costs", "시간과 크기", plots=_latency_plots(run), tables=_cost_tables(run)),
        system_failures(run),
        Section("conditions", "조건", tables=(fact_table(run),)),
    ]
    return Page(
        run["title"],
        _KINDS[run["kind"]],
        told_facts(run),
        tuple(section for section in sections if section is not None),
    )


def terminal_tables(run: Mapping[str, Any]) -> list[Table]:
    """What a terminal shows of a run: metrics, differences, costs."""
    tables = [metric_table(run)]
    shown = set(compared_metrics(run))
    comparisons = [each for each in run["comparisons"] if each["metric"] in shown]
    if comparisons:
        tables.append(comparison_table(comparisons))
    return [*tables, cost_table(run)]


def told_facts(run: Mapping[str, Any]) -> tuple[str, ...]:
    """The line below the title."""
    data = run.get("data") or {}
    facts = [run.get("started", "")]
    if data.get("documents") is not None:
        facts.append(f"문서 {data['documents']:,}개")
    if data.get("questions") is not None:
        facts.append(f"질문 {data['questions']:,}개")
    if isinstance(run.get("seconds"), int | float):
        facts.append(f"{run['seconds']:,.1f}초 걸림")
    return tuple(fact for fact in facts if fact)


def _notes(run: Mapping[str, Any]) -> Section | None:
    notes = tuple(run.get("notes", ()))
    return Section("notes", "먼저 알아 둘 것", sentences=notes) if notes else None


def _comparisons(run: Mapping[str, Any]) -> Section | None:
    if not run.get("comparisons"):
        return None
    shown = set(compared_metrics(run))
    comparisons = [each for each in run["comparisons"] if each["metric"] in shown]
    return Section("comparisons", "차이가 우연인가", tables=(comparison_table(comparisons),))


def _metric_tables(run: Mapping[str, Any]) -> tuple[Table, ...]:
    stems = dict.fromkeys(_AT.sub(r"\g<name>@k", name) for name in shown_metrics(run))
    meanings = tuple((Cell(stem), Cell(text)) for stem in stems if (text := _meaning(stem)))
    return (
        metric_table(run),
        Table("지표의 뜻", ("지표", "뜻"), meanings, figures=False),
    )


def _cost_tables(run: Mapping[str, Any]) -> tuple[Table, ...]:
    counts = count_table(run)
    return (cost_table(run), counts) if counts.rows else (cost_table(run),)


def _meaning(name: str) -> str:
    stem = name.partition("@")[0]
    known = [prefix for prefix in _MEANINGS if stem == prefix or stem.startswith(f"{prefix}_")]
    return _MEANINGS[max(known, key=len)] if known else ""


def _plots(run: Mapping[str, Any]) -> tuple[Plot, ...]:
    """Recall against k as lines; without it, all shares as bars."""
    names = [name for name in shown_metrics(run) if name.startswith("recall@")]
    if len(names) < 2:
        return _bars(run)
    series = [
        (system["name"], [_figure(system["metrics"].get(name)) for name in names])
        for system in run["systems"]
    ]
    columns = [name.replace("recall@", "k = ") for name in names]
    return (line_plot("k에 따른 recall@k", columns, series),)


def _bars(run: Mapping[str, Any]) -> tuple[Plot, ...]:
    names = [
        name
        for name in metric_names(run)
        if all(
            0 <= figure.value <= 1
            for system in run["systems"]
            if (figure := _figure(system["metrics"].get(name)))
        )
    ]
    series = [
        (system["name"], [_figure(system["metrics"].get(name)) for name in names])
        for system in run["systems"]
    ]
    return (bar_plot("지표의 크기", names, series),) if names else ()


def _latency_plots(run: Mapping[str, Any]) -> tuple[Plot, ...]:
    quality = next((name for name in _QUALITY if name in metric_names(run)), None)
    if quality is None:
        return ()
    points = [
        (system["name"], system["latency"]["p50_ms"], figure)
        for system in run["systems"]
        if (system.get("latency") or {}).get("p50_ms") is not None
        and (figure := _figure(system["metrics"].get(quality)))
    ]
    if len(points) < 2:
        return ()
    return (point_plot(f"걸린 시간과 {quality}", "시간의 중앙값(ms)", quality, points),)


def _figure(figure: Mapping[str, Any] | None) -> Figure | None:
    if figure is None or figure.get("value") is None:
        return None
    return Figure(figure["value"], figure.get("low"), figure.get("high"))
