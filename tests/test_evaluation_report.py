"""Reports: the figures that a reader sees, and that no text of the data is anything but text."""

import hashlib
import re
from base64 import b64encode
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from kogemma_rag.evaluation.comparison import compare_runs
from kogemma_rag.evaluation.report import render_report, show_report
from kogemma_rag.evaluation.report_plots import Figure, bar_plot, line_plot, point_plot
from kogemma_rag.evaluation.report_systems import terminal_tables
from kogemma_rag.evaluation.report_tables import cost_table, metric_table, shown_metrics
from kogemma_rag.evaluation.report_text import Piece, excerpt, visible
from kogemma_rag.evaluation.runs import RunError

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;",
    "</style></title></textarea><!--",
    "javascript:alert(1)",
)


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def retrieval_run(text: str = "", *, first: float = 0.5, rank: int = 2) -> dict[str, Any]:
    """Two systems, one question that the first gets wrong; `text` stands wherever data stands."""
    right, wrong = f"옳은 문서{text}", f"틀린 문서{text}"
    names = (f"하나{text}", f"둘{text}")
    metrics = {"recall@1": figure(first), "hit@1": figure(first), "recall@5": figure(0.875)}
    others = {"recall@1": figure(0.75), "hit@1": figure(0.75), "recall@5": figure(0.75)}
    hits = [{"id": wrong, "score": 0.75}, {"id": right, "score": 0.5}]
    return {
        "kind": "retrieval",
        "format": 1,
        "title": f"시험{text}",
        "started": f"2026-11-26T10:00:00+09:00{text}",
        "seconds": 12.5,
        "versions": {f"numpy{text}": f"2.0{text}"},
        "machine": {"processor": f"CPU{text}", "cores": 2, "gpu": None},
        "data": {"name": f"자료{text}", "fingerprint": "ab", "documents": 2, "questions": 1},
        "settings": {"ks": [1, 5], f"열쇠{text}": text},
        "systems": [
            {
                "name": name,
                "settings": {f"설정{text}": text},
                "metrics": values,
                "latency": {"p50_ms": 10.0 + number, "p95_ms": 20.0},
                "index": {"bytes": 2_500_000, "chunks": 1234, "seconds": 0.5},
            }
            for number, (name, values) in enumerate(zip(names, (metrics, others), strict=True))
        ],
        "comparisons": [
            {
                "metric": "recall@1",
                "a": names[1],
                "b": names[0],
                "difference": 0.25,
                "low": 0.05,
                "high": 0.45,
                "p": 0.0004,
            }
        ],
        "questions": [
            {
                "id": f"q1{text}",
                "question": f"서울은 어디인가요?{text}",
                "answers": [f"정답{text}"],
                "relevant": {right: 1},
                "results": {
                    names[0]: {
                        "found": hits if rank == 2 else hits[::-1],
                        "rank": rank,
                        "wrong": wrong if rank == 2 else None,
                        "ms": 1.0,
                    },
                    names[1]: {"found": hits[::-1], "rank": 1, "wrong": None, "ms": 1.0},
                },
            }
        ],
        "documents": {
            right: {"title": f"제목{text}", "text": f"앞 정답{text} 뒤"},
            wrong: {"title": "", "text": f"엉뚱한 글{text}"},
        },
        "notes": [f"알아 둘 것{text}"],
    }


def answers_run(text: str = "") -> dict[str, Any]:
    run = retrieval_run(text)
    names = [system["name"] for system in run["systems"]]
    cited = [{"number": 1, "document": f"옳은 문서{text}", "quote": text, "start": 0, "end": 1}]
    run["kind"] = "answers"
    run["questions"][0]["results"] = {
        names[0]: {
            "answer": f"2025년입니다{text} [1]",
            "refused": False,
            "citations": cited,
            "documents": [f"틀린 문서{text}"],
            "scores": {"containment_spaceless": 0.0, "f1": 0.25},
            "ungrounded": [{"sentence": text, "missing": [f"2025년{text}"]}],
        },
        names[1]: {"error": f"ModelTimeoutError: {text}"},
    }
    for system in run["systems"]:
        system["counts"] = {"questions": 1, "failed": 1}
        system["tokens"] = {"input": 1000, "output": 20}
    return run


def kobest_run(text: str = "") -> dict[str, Any]:
    value = {"value": 0.5, "stderr": 0.02}
    compared = {"task": "boolq", "metric": "f1", "ours": 0.5, "stderr": 0.02}
    return {
        "kind": "kobest",
        "format": 1,
        "title": f"KoBEST{text}",
        "started": "2026-11-26",
        "method": "loglikelihood",
        "model": f"모델{text}",
        "settings": {"num_fewshot": 5},
        "data": {"source": text},
        "versions": {},
        "machine": {},
        "requests": {"count": 16, "one_bos": 16, "longest": 80, "window": 8192},
        "tasks": {
            "boolq": {
                "examples": 8,
                "version": "1.0",
                "unparsed": {"count": 1, "share": 0.125},
                "metrics": {"acc": {"value": 0.625, "stderr": None}, "f1": value},
            }
        },
        "averages": {},
        "published": {
            "num_fewshot": 5,
            "rows": [
                {
                    "model": f"공개{text}",
                    "cells": [{"task": "boolq", "metric": "f1", "value": 0.594}],
                }
            ],
            "comparison": [
                {
                    **compared,
                    "model": f"공개{text}",
                    "published": 0.594,
                    "difference": -0.094,
                    "within": False,
                }
            ],
        },
        "questions": [
            {
                "id": f"boolq-0{text}",
                "task": "boolq",
                "question": f"질문{text}",
                "choices": [f"아니오{text}", f"예{text}"],
                "gold": 1,
                "chosen": 0,
                "correct": False,
            }
        ],
        "notes": [f"표의 열{text}"],
        "seconds": {"loading": 1.0, "evaluating": 2.0},
    }


def comparison(text: str = "") -> dict[str, Any]:
    return compare_runs(retrieval_run(text, rank=2), retrieval_run(text, rank=1))


class Page(HTMLParser):
    """Tags with their attributes, and texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Numbers of drawings and labels that hold titles may differ; their names may not.
        self.tags.append((tag, tuple((name, None) for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


MAKERS = (retrieval_run, answers_run, kobest_run, comparison)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("make", MAKERS)
def test_no_element_and_no_attribute_comes_of_data(make: Any, text: str) -> None:
    run, plain = make(text), make("")
    html = render_report(run)
    harmless = render_report(plain)
    ours, expected = Page(html), Page(harmless)
    assert ours.tags == expected.tags
    assert " ".join(text.split()) in ours.text
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert scripts == re.findall(r"<script>(.*?)</script>", harmless, re.DOTALL)


@pytest.mark.parametrize("make", MAKERS)
def test_the_policy_lets_in_our_style_and_script_alone(make: Any) -> None:
    html = render_report(make())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.+?)"', html)
    digests = [
        b64encode(hashlib.sha256(body.encode()).digest()).decode()
        for tag in ("style", "script")
        for body in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    ]
    assert unescape(policy) == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://|url\(|@import|style=", html.replace("http-equiv", ""))
    assert '<html lang="ko">' in html


@pytest.mark.parametrize("make", [retrieval_run, answers_run, kobest_run, comparison])
def test_no_two_regions_have_one_name(make: Any) -> None:
    html = render_report(make())
    names = re.findall(r'role="region" aria-label="([^"]+)"', html)
    names += re.findall(r'<h2 id="[^"]+-title">([^<]+)<', html)
    assert len(names) >= 2
    assert len(set(names)) == len(names), sorted(names)


def test_marks_that_turn_or_hide_text_are_shown_by_their_number() -> None:
    assert visible("가\u202e나\x00다\u200b\n\t라") == "가<U+202E>나<U+0000>다<U+200B>\n\t라"
    html = render_report(retrieval_run("\u202ex\u2066\x07\ud800"))
    assert not set("\u202e\u2066\x07\ud800") & set(html)
    assert "시험&lt;U+202E&gt;x&lt;U+2066&gt;&lt;U+0007&gt;&lt;U+D800&gt;" in html


def test_retrieval_shows_figures_failure_and_wrong_hit() -> None:
    text = Page(render_report(retrieval_run())).text
    for shown in (
        "recall@1 0.5000 (0.4000 ~ 0.6000) 0.7500 (0.6500 ~ 0.8500)",
        "recall과 값이 모두 같은 1개는 뺐습니다",
        "둘 − 하나 recall@1 +0.2500 (+0.0500 ~ +0.4500) < 0.001 앞이 낫다",
        "하나 10.0 20.0 2.50 1,234 0.5",
        "질문 1개 가운데 어느 하나라도 첫 문서가 맞지 않은 것이 1개입니다.",
        "제목 1 1 (100%) 0",
        "맞는 문서 제목 · 정답: 정답 앞 정답 뒤",
        "하나 맞는 문서는 2위 · 1위는 틀린 문서, 점수 0.75 엉뚱한 글",
        "설정 · ks 1, 5",
    ):
        assert shown in text, shown
    assert "<mark>정답</mark>" in render_report(retrieval_run())


def test_answers_show_what_has_no_ground_and_what_failed() -> None:
    text = Page(render_report(answers_run())).text
    assert "하나 인용: 제목 · 인용한 문단에 없는 것: 2025년 · 맞는 문서를 찾지 못함" in text
    assert "둘 모델 오류: ModelTimeoutError:" in text
    assert "하나 10.0 20.0 2.50 1,234 0.5 1,000 20" in text


def test_kobest_stands_beside_the_published_table_with_a_verdict() -> None:
    text = Page(render_report(kobest_run())).text
    assert "BoolQ 0.6250 – 0.5000 ± 0.0200 8 1 (12.5%)" in text
    assert "BoolQ macro-F1 0.594 0.5000 -0.0940 0.0200 표준 오차 둘 밖" in text
    assert "요청 16개 가운데 <bos> 하나인 것 16개" in text
    assert "1문항 가운데 1개 틀림, 1개 보임 질문 정답 예 고른 것 아니오" in text


def test_a_comparison_counts_common_questions_and_tells_which_got_better() -> None:
    compared = comparison()
    assert [(row["system"], row["metric"]) for row in compared["rows"]][:2] == [
        ("하나", "recall@1"),
        ("하나", "hit@1"),
    ]
    row = compared["rows"][0]
    # One question, which went from rank 2 to rank 1: every resample is that question.
    assert (row["a"], row["b"], row["difference"], row["low"], row["high"]) == (0, 1, 1, 1, 1)
    assert row["p"] == 1.0  # of two signs both are as large
    better = compared["better"]
    assert better["count"] == 1
    assert (better["shown"][0]["question"], better["shown"][0]["metric"]) == (
        "서울은 어디인가요?",
        "mrr@5",
    )
    assert (better["shown"][0]["a"], better["shown"][0]["b"]) == (0.5, 1.0)
    assert compared["worse"] == {"count": 0, "shown": []}
    assert compared["notes"] == []


def test_runs_with_nothing_in_common_are_refused_and_other_data_is_told() -> None:
    first, second = retrieval_run(), retrieval_run()
    with pytest.raises(RunError, match="name two runs of one kind"):
        compare_runs(first, kobest_run())
    second["data"]["fingerprint"] = "cd"
    assert "자료가 같지 않습니다" in compare_runs(first, second)["notes"][0]
    second["questions"][0]["question"] = "다른 말"
    with pytest.raises(RunError, match="no question in common"):
        compare_runs(first, second)
    renamed = retrieval_run()
    for system in renamed["systems"]:
        system["name"] += "x"
    with pytest.raises(RunError, match="no system in common: 하나, 둘 and 하나x, 둘x"):
        compare_runs(first, renamed)


def test_refusals_are_compared_and_fewer_failures_are_better() -> None:
    before, after = answers_run(), answers_run()
    for run, refused, failed in ((before, False, True), (after, True, False)):
        (question,) = run["questions"]
        question["results"]["하나"] = {
            "answer": "",
            "scores": {"false_refusal": 0.0},
            "without_relevant": {"refused": refused, "counted": True},
        }
        question["results"]["둘"] = {"error": "멈춤"} if failed else {"scores": {}}
    compared = compare_runs(before, after)
    told = {(row["system"], row["metric"]): (row["a"], row["b"]) for row in compared["rows"]}
    assert told["하나", "refusal"] == (0.0, 1.0)
    assert told["둘", "failed"] == (1.0, 0.0)
    better = [(each["system"], each["metric"]) for each in compared["better"]["shown"]]
    assert better == [("하나", "refusal"), ("둘", "failed")]
    assert compared["worse"]["count"] == 0


def test_measures_below_the_hits_that_a_run_keeps_are_not_compared() -> None:
    run = retrieval_run()
    run["settings"]["ks"] = [5, 20]
    compared = compare_runs(run, run)
    assert {row["metric"] for row in compared["rows"]} == {"recall@5", "hit@5", "mrr@5", "ndcg@5"}
    assert "20은" in compared["notes"][0]
    run["settings"]["ks"] = [20]
    with pytest.raises(RunError, match=r"keeps 10 hits .* \[20\].*--k 10"):
        compare_runs(run, run)


def test_a_large_run_stays_small_and_counts_what_it_leaves_out() -> None:
    run = retrieval_run()
    question = run["questions"][0]
    run["documents"] = {id_: {**one, "text": "글" * 5000} for id_, one in run["documents"].items()}
    run["questions"] = [{**question, "id": f"q{number}"} for number in range(5774)]
    html = render_report(run)
    assert "300개를 보이고 5,474개는 뺐습니다" in html
    assert html.count('class="failure') == 300
    assert len(html.encode()) < 2_000_000


def test_a_notebook_shows_the_report_in_a_frame_of_its_own() -> None:
    report = show_report(retrieval_run("</iframe>"))
    frame = report._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts" ')
    assert [tag for tag, _ in Page(frame).tags] == ["iframe"]
    (source,) = re.findall(r'srcdoc="([^"]*)"', frame)
    assert unescape(source) == report.html == render_report(retrieval_run("</iframe>"))


def test_an_unknown_kind_has_no_report() -> None:
    with pytest.raises(ValueError, match="a run of kind 'x' has no report"):
        render_report({"kind": "x"})


def test_tables_are_aligned_for_hangul_of_double_width() -> None:
    table = metric_table(retrieval_run())
    assert str(table).splitlines() == [
        "지표",
        "지표                          하나                        둘",
        "--------  ------------------------  ------------------------",
        "recall@1  0.5000 (0.4000 ~ 0.6000)  0.7500 (0.6500 ~ 0.8500)",
        "recall@5  0.8750 (0.7750 ~ 0.9750)  0.7500 (0.6500 ~ 0.8500)",
    ]
    assert [cell.tone for cell in table.rows[0]] == ["", "", "best"]
    assert [one.title for one in terminal_tables(retrieval_run())] == [
        *("지표", "짝지은 비교", "걸린 시간과 크기"),
    ]


def test_times_of_questions_asked_at_once_are_told_so() -> None:
    run = answers_run()
    assert cost_table(run).note == "질문을 하나씩 물었을 때의 시간입니다."
    run["settings"]["concurrency"] = 4
    assert cost_table(run).note == "질문을 4개씩 한꺼번에 물었을 때의 시간입니다."


def test_what_recall_says_already_is_left_out() -> None:
    run = retrieval_run()
    assert shown_metrics(run) == ["recall@1", "recall@5"]
    run["systems"][1]["metrics"]["hit@1"] = figure(0.8)
    assert shown_metrics(run) == ["recall@1", "hit@1", "recall@5"]


def test_excerpts_are_cut_around_the_place() -> None:
    assert excerpt("가나다라마바사", 3, 4, around=2) == [
        Piece("…나다", False),
        Piece("라", True),
        Piece("마바…", False),
    ]
    assert excerpt("가나", 0, 1, around=2)[1:] == [Piece("가", True), Piece("나", False)]
    assert excerpt("가나다라마", None, None, around=2) == [Piece("가나다라…", False)]
    assert excerpt("가나", 1, 9, around=2) == [Piece("가나", False)]


def test_plots_draw_values_to_scale_and_tell_them_as_a_table() -> None:
    plot = line_plot("선", ["k = 1", "k = 3"], [("하나", [Figure(0.5, 0.4, 0.6), Figure(1.0)])])
    # 0.35 to 1.0 by 0.2 from 0.2: (0.5 - 0.2) / 0.8 of 276 from the bottom at 290.
    assert 'points="212.0,186.5 508.0,14.0"' in plot.svg
    assert [[cell.text for cell in row] for row in plot.table.rows] == [
        ["하나", "0.5000 (0.4000 ~ 0.6000)", "1.0000"]
    ]
    points = point_plot("점", "ms", "mrr", [("가", 10.0, Figure(0.5)), ("나", 20.0, Figure(0.7))])
    # 0 to 25: 10 is 0.4 of 592 from 64.
    assert re.search(r'd="M296\.3 ', points.svg)
    bars = bar_plot("막대", ["갑", "을"], [("하나", [Figure(0.25), None])])
    assert bars.svg.count("<rect") == 1
    assert 'width="105.0"' in bars.svg  # a quarter of 420
    assert [[cell.text for cell in row] for row in bars.table.rows] == [["하나", "0.2500", "–"]]
