"""Commands that measure on questions: eval retrieval, answers, compare."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kogemma_rag.cli.app import (
    ChatModelOption,
    CommandError,
    Format,
    FormatOption,
    chat_model_of,
    current_settings,
    existing_path,
    open_location,
)
from kogemma_rag.cli.evaluation import (
    evaluation,
    refuse_existing,
    run_folder,
    tell_report,
)
from kogemma_rag.terminal import notify, show, show_json

if TYPE_CHECKING:
    from kogemma_rag.evaluation.question_sets import QuestionSet
    from kogemma_rag.evaluation.retrieval import RetrieverSettings

_SYSTEMS = ("hybrid", "vectors", "words")
_FETCHED = 30  # passages of an index of one's own, several of which may be one document

_Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="파일",
        help="질문: SQuAD·KorQuAD JSON, BEIR 폴더, CSV·TSV",
        callback=existing_path,
    ),
]
_Into = Annotated[
    Path,
    typer.Option(
        "--into", metavar="폴더", help="보고서를 둘 새 폴더, 또는 이어서 할 같은 평가의 폴더"
    ),
]
_Index = Annotated[
    str | None,
    typer.Option(
        "--in", metavar="색인", help="질문의 문서를 색인하는 대신, 있는 색인에서 찾습니다."
    ),
]
_Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="수", help="질문을 고르게 이만큼만 골라 묻습니다."),
]
_Embeddings = Annotated[
    str | None,
    typer.Option(metavar="이름", help="임베딩 모델 [기본값: KOGEMMA_EMBEDDINGS, embedded]"),
]


@evaluation.command("retrieval")
def _run_retrieval(
    data: _Data,
    into: _Into,
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="설정",
            help="견줄 검색, 여러 번 쓸 수 있습니다: hybrid, vectors, words, bm25, morphemes, "
            "bigrams, 또는 '이름: words chunk_size=300' [기본값: hybrid, vectors, words]",
        ),
    ] = None,
    location: _Index = None,
    embeddings: _Embeddings = None,
    ks: Annotated[
        str, typer.Option("--k", metavar="수,수", help="몇 개까지 볼지, 쉼표로 나눕니다.")
    ] = "1,3,5,10",
    limit: _Limit = None,
    format: FormatOption = Format.text,
) -> None:
    """질문에 답이 든 문서를 찾는지 재고, 검색 방법을 견줍니다. 첫 설정과 나머지를 견줍니다."""
    from kogemma_rag.evaluation.indexed_documents import IndexedDocuments
    from kogemma_rag.evaluation.retrieval import evaluate_retrieval

    if location and tries:
        raise typer.BadParameter("--in의 색인에는 --try를 쓸 수 없습니다. 하나를 빼세요.")
    depths, questions = _depths(ks), _questions(data, limit)
    systems = {} if location else _systems(tries or _SYSTEMS, embeddings)
    settings = {
        "command": "retrieval",
        "data": questions.fingerprint,
        "limit": limit,
        "systems": {name: each.model_dump(mode="json") for name, each in systems.items()},
        "ks": depths,
    }
    with ExitStack() as stack:
        asked: dict[str, Any] = dict(systems)
        if location:
            index: Any = stack.enter_context(open_location(location))
            settings["index"] = _state(index)
            k = max(_FETCHED, *depths)
            asked = {location: IndexedDocuments.of(index, questions, k=k)}
        folder = stack.enter_context(run_folder(into, settings))
        run = evaluate_retrieval(
            questions, asked, ks=depths, folder=folder, progress=sys.stderr.isatty()
        )
        run = _with_options(run, limit=limit, index=location)
        folder.finish(run)
    _show_run(run, into, format)


@evaluation.command("answers")
def _run_answers(
    data: _Data,
    into: _Into,
    chat_model: ChatModelOption = None,
    location: _Index = None,
    embeddings: _Embeddings = None,
    k: Annotated[
        int, typer.Option("-k", metavar="개수", min=1, max=100, help="모델에 줄 문단 수")
    ] = 4,
    unanswerable: Annotated[
        int,
        typer.Option(
            "--unanswerable",
            min=0,
            metavar="수",
            help="답이 든 문서를 빼고 다시 물을 질문 수: 없다고 답하는지 봅니다.",
        ),
    ] = 0,
    judge: Annotated[
        str | None,
        typer.Option(metavar="이름", help="답을 판정할 모델. 보고서에 LLM의 판정이라고 적습니다."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, metavar="수", help="한꺼번에 물을 질문 수")
    ] = 1,
    limit: _Limit = None,
    format: FormatOption = Format.text,
) -> None:
    """문서에 근거한 답이 맞는지, 인용과 근거가 있는지, 없는 것을 없다고 하는지 잽니다."""
    from kogemma_rag.evaluation.answers import answer_systems, evaluate_answers
    from kogemma_rag.evaluation.indexed_documents import IndexedDocuments

    questions = _questions(data, limit)
    name = chat_model or current_settings.get().chat_model
    systems = {} if location else _systems(_SYSTEMS[:1], embeddings)
    settings = {
        "command": "answers",
        "data": questions.fingerprint,
        "limit": limit,
        "systems": {key: each.model_dump(mode="json") for key, each in systems.items()},
        "chat_model": name,
        "k": k,
        "unanswerable": unanswerable,
        "judge": judge,
        "concurrency": concurrency,
    }
    with ExitStack() as stack:
        retrievers: dict[str, Any] = dict(systems)
        if location:
            index: Any = stack.enter_context(open_location(location))
            settings["index"] = _state(index)
            retrievers = {location: IndexedDocuments.of(index, questions, k=k)}
        folder = stack.enter_context(run_folder(into, settings))
        models = {name: chat_model_of(name)}
        progress = sys.stderr.isatty()
        run = evaluate_answers(
            questions,
            answer_systems(questions, retrievers, models, k=k, folder=folder, progress=progress),
            unanswerable=unanswerable,
            judge=None if judge is None else chat_model_of(judge),
            concurrency=concurrency,
            folder=folder,
            progress=progress,
        )
        run = _with_options(run, limit=limit, index=location)
        folder.finish(run)
    _show_run(run, into, format)


@evaluation.command("compare")
def _run_compare(
    first: Annotated[Path, typer.Argument(metavar="처음", callback=existing_path)],
    second: Annotated[Path, typer.Argument(metavar="나중", callback=existing_path)],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="파일", help="보고서로 적을 새 HTML 파일")
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """평가 둘(폴더나 run.json)을 같은 질문끼리 견주고, 나아지고 나빠진 질문을 보입니다."""
    from kogemma_rag.evaluation.comparison import compare_runs
    from kogemma_rag.evaluation.report import render_report
    from kogemma_rag.evaluation.report_comparison import difference_tables
    from kogemma_rag.evaluation.runs import read_run, write_whole

    if into is not None:
        refuse_existing(into)
    comparison = compare_runs(read_run(first), read_run(second))
    if into is not None:
        write_whole(into, render_report(comparison))
    if format is Format.json:
        show_json(comparison)
    else:
        show("\n\n".join(map(str, difference_tables(comparison))))
        show(f"\n나아진 질문 {comparison['better']['count']:,}개, ", end="")
        show(f"나빠진 질문 {comparison['worse']['count']:,}개")
    for note in comparison["notes"]:
        notify(f"주의: {note}")
    notify(f"보고서: {into}" if into else "--into 파일.html 을 붙이면 보고서로 적습니다.")


def _questions(data: Path, limit: int | None) -> "QuestionSet":
    """The question set, of it `limit` questions at equal distances; all documents stay."""
    from kogemma_rag.evaluation.question_sets import read_question_set

    questions = read_question_set(data)
    every = questions.questions
    if limit is None or limit >= len(every):
        return questions
    chosen = tuple(every[number * len(every) // limit] for number in range(limit))
    return replace(questions, questions=chosen)


def _state(index: Any) -> dict[str, Any]:
    """Which index, and as of which change: a run does not go on with another one."""
    facts, names = index.info(), ("folder", "address", "collection", "generation", "chunks")
    return {name: facts.get(name) for name in names}


def _with_options(run: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The run with the options of the command among its settings."""
    given = {name: value for name, value in options.items() if value is not None}
    return {**run, "settings": {**run["settings"], **given}}


def _depths(ks: str) -> list[int]:
    try:
        depths = sorted({int(k) for k in ks.split(",")})
    except ValueError:
        depths = []
    if not depths or depths[0] < 1:
        raise typer.BadParameter(f"--k는 1,3,5처럼 쉼표로 나눈 1 이상의 수이지 '{ks}'이 아닙니다.")
    return depths


def _systems(tries: Sequence[str], embeddings: str | None) -> "dict[str, RetrieverSettings]":
    from kogemma_rag.evaluation.retrieval import parse_settings

    embeddings = embeddings or current_settings.get().embeddings
    systems = {}
    for text in tries:
        name, settings = parse_settings(text)
        if name in systems:
            raise CommandError(f"--try에 이름이 같은 '{name}'이(가) 둘입니다. 이름을 달리하세요.")
        if embeddings and settings.embeddings == "embedded":
            settings = settings.model_copy(update={"embeddings": embeddings})
        systems[name] = settings
    return systems


def _show_run(run: Mapping[str, Any], into: Path, format: Format) -> None:
    """Tables of a run, or its figures as JSON; then where the report is."""
    from kogemma_rag.evaluation.report_systems import terminal_tables

    if format is Format.json:
        left_out = ("questions", "documents")
        figures = {key: value for key, value in run.items() if key not in left_out}
        show_json({**figures, "report": into / "report.html"})
    else:
        show("\n\n".join(map(str, terminal_tables(run))))
    for note in run["notes"]:
        notify(f"알림: {note}")
    tell_report(into)
