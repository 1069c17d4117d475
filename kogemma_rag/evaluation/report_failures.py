"""Questions that went wrong in, what a reader needs to see of them out, by document."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from kogemma_rag.evaluation.report_pages import Failure, FailureGroup, Failures, Part, Section
from kogemma_rag.evaluation.report_tables import Cell, Table
from kogemma_rag.evaluation.report_text import Piece, excerpt

# So that a page of any run stays a few megabytes.
_MOST_FAILURES = 300
_MOST_DOCUMENTS = 20
_MOST_SYSTEMS = 4  # whose wrong hits are shown below one question
_AROUND = 180  # characters on either side of what is looked for


def system_failures(run: Mapping[str, Any]) -> Section | None:
    """The section of failures: documents with most of them, then the questions themselves."""
    if not run.get("questions"):
        return None
    names = [system["name"] for system in run["systems"]]
    failed = {
        number: systems
        for number, question in enumerate(run["questions"])
        if (systems := _failed_systems(run, question, names))
    }
    shown = _chosen(failed)
    groups = _groups(run, names, {number: failed[number] for number in shown}, failed)
    what = "첫 문서가 맞지 않은" if run["kind"] == "retrieval" else "답이 맞지 않은"
    told = (
        f"질문 {len(run['questions']):,}개 가운데 어느 하나라도 {what} 것이 "
        f"{len(failed):,}개입니다."
    )
    if len(failed) > len(shown):
        told += (
            f" 여럿이 틀린 것부터 {len(shown):,}개를 보이고 {len(failed) - len(shown):,}개는 "
            "뺐습니다. 모두는 run.json에 있습니다."
        )
    return Section(
        "failures",
        "틀린 질문",
        tables=(_document_table(run, names, failed),) if failed else (),
        failures=Failures(told, tuple(names), groups),
    )


def is_right(run: Mapping[str, Any], question: Mapping[str, Any], system: str) -> bool:
    """Whether a system did right by a question.

    That is a relevant document at rank 1; or a reply that holds the right answer, and where there
    is none, a refusal.
    """
    result = question["results"].get(system)
    if result is None:
        return True  # not asked
    if run["kind"] == "retrieval":
        return bool(result["rank"] == 1)
    return bool(_answered_rightly(result))


def _answered_rightly(result: Mapping[str, Any]) -> bool:
    scores = result.get("scores", {})
    for metric in ("containment_spaceless", "refusal_unanswerable"):
        if metric in scores:
            return bool(scores[metric] == 1)
    return "error" not in result and not result["refused"]


def _failed_systems(
    run: Mapping[str, Any], question: Mapping[str, Any], names: Sequence[str]
) -> tuple[int, ...]:
    return tuple(number for number, name in enumerate(names) if not is_right(run, question, name))


def _chosen(failed: Mapping[int, tuple[int, ...]]) -> list[int]:
    """Numbers of the questions that are shown: those that most systems failed at first."""
    worst_first = sorted(failed, key=lambda number: (-len(failed[number]), number))
    return sorted(worst_first[:_MOST_FAILURES])


def _groups(
    run: Mapping[str, Any],
    names: Sequence[str],
    shown: Mapping[int, tuple[int, ...]],
    failed: Iterable[int],
) -> tuple[FailureGroup, ...]:
    counts = Counter(_title(run, run["questions"][number]) for number in failed)
    groups: dict[str, list[Failure]] = {}
    for number, systems in shown.items():
        question = run["questions"][number]
        failure = Failure(question["question"], systems, _parts(run, question, names, systems))
        groups.setdefault(_title(run, question), []).append(failure)
    most_first = sorted(groups, key=lambda title: (-counts[title], title))
    return tuple(
        FailureGroup(title, _told_count(counts[title], len(groups[title])), tuple(groups[title]))
        for title in most_first
    )


def _told_count(count: int, shown: int) -> str:
    return f"틀린 질문 {count:,}개" + (f", {shown:,}개 보임" if shown < count else "")


def _title(run: Mapping[str, Any], question: Mapping[str, Any]) -> str:
    """Of the first relevant document; its id where it has no title."""
    relevant = next(iter(question.get("relevant") or {}), None)
    if relevant is None:
        return "답이 있는 문서가 없는 질문"
    return _name(run, relevant)


def _name(run: Mapping[str, Any], id_: str) -> str:
    return (run.get("documents") or {}).get(id_, {}).get("title") or id_


def _document_table(
    run: Mapping[str, Any], names: Sequence[str], failed: Mapping[int, tuple[int, ...]]
) -> Table:
    """How many questions about a document each system failed at, most of them first."""
    asked = Counter(_title(run, question) for question in run["questions"])
    wrong: dict[str, Counter[int]] = {}
    for number, systems in failed.items():
        wrong.setdefault(_title(run, run["questions"][number]), Counter()).update(systems)
    worst = sorted(wrong, key=lambda title: (-wrong[title].total(), title))
    rows = tuple(
        (
            Cell(title),
            Cell(f"{asked[title]:,}"),
            *(_told_share(wrong[title][number], asked[title]) for number in range(len(names))),
        )
        for title in worst[:_MOST_DOCUMENTS]
    )
    left_out = len(worst) - len(rows)
    note = f"틀린 질문이 더 적은 문서 {left_out:,}개는 뺐습니다." if left_out else ""
    return Table("문서별 틀린 질문", ("문서", "질문", *names), rows, note)


def _told_share(wrong: int, asked: int) -> Cell:
    return Cell(f"{wrong:,} ({wrong / asked:.0%})" if wrong else "0")


def _parts(
    run: Mapping[str, Any],
    question: Mapping[str, Any],
    names: Sequence[str],
    systems: Sequence[int],
) -> tuple[Part, ...]:
    draw = _hit_part if run["kind"] == "retrieval" else _answer_part
    parts = [_right_part(run, question)]
    parts += [draw(run, question, names[number]) for number in islice(systems, _MOST_SYSTEMS)]
    if len(systems) > _MOST_SYSTEMS:
        rest = ", ".join(names[number] for number in systems[_MOST_SYSTEMS:])
        parts.append(Part("이것들도 틀림", rest, tone="bad"))
    return tuple(parts)


def _right_part(run: Mapping[str, Any], question: Mapping[str, Any]) -> Part:
    """The relevant document around the answer."""
    answers = question.get("answers") or ()
    told = f"정답: {' / '.join(dict.fromkeys(answers))}" if answers else ""
    relevant = next(iter(question.get("relevant") or {}), None)
    document = (run.get("documents") or {}).get(relevant)
    if document is None:
        return Part("맞는 문서", told or "없음", tone="good")
    name = document["title"] or relevant
    label = " · ".join(part for part in (name, told) if part)
    return Part("맞는 문서", label, _around_answer(document["text"], answers), "good")


def _around_answer(text: str, answers: Iterable[str]) -> tuple[Piece, ...]:
    for answer in answers:
        if answer and (start := text.find(answer)) >= 0:
            return tuple(excerpt(text, start, start + len(answer), around=_AROUND))
    return tuple(excerpt(text, None, None, around=_AROUND))


def _hit_part(run: Mapping[str, Any], question: Mapping[str, Any], name: str) -> Part:
    """The wrong hit of a system, and where the right document stands."""
    result = question["results"][name]
    rank = result["rank"]
    told = "맞는 문서를 찾지 못함" if rank is None else f"맞는 문서는 {rank}위"
    if not result["found"]:
        return Part(name, "아무것도 찾지 못함", tone="bad")
    hit = result["found"][0]
    score = "" if hit["score"] is None else f", 점수 {hit['score']:.4g}"
    told += f" · 1위는 {_name(run, hit['id'])}{score}"
    document = (run.get("documents") or {}).get(hit["id"])
    pieces = (
        () if document is None else tuple(excerpt(document["text"], None, None, around=_AROUND))
    )
    return Part(name, told, pieces, "bad")


def _answer_part(run: Mapping[str, Any], question: Mapping[str, Any], name: str) -> Part:
    """What a system answered, from which documents, and what of it has no ground there."""
    result = question["results"][name]
    if "error" in result:
        return Part(name, f"모델 오류: {result['error']}", tone="bad")
    cited = dict.fromkeys(_name(run, citation["document"]) for citation in result["citations"])
    told = [f"인용: {', '.join(cited)}" if cited else "인용 없음"]
    missing = [what for each in result.get("ungrounded", ()) for what in each["missing"]]
    if missing:
        told.append(f"인용한 문단에 없는 것: {', '.join(missing)}")
    if not set(question["relevant"]) & set(result["documents"]):
        told.append("맞는 문서를 찾지 못함")
    pieces = tuple(excerpt(result["answer"], None, None, around=2 * _AROUND))
    return Part(name, " · ".join(told), pieces, "bad")
