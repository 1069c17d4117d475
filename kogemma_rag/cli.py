"""The command line: arguments in, Korean text or JSON out.

Results go to stdout, notices and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.
Knows nothing of how documents are read, found or answered from. Every heavy import stands in the
command that needs it, so that help comes at once.
"""

import contextlib
import sys
import traceback
import unicodedata
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from kogemma_rag.terminal import accept_any_encoding, notify, one_line, show, show_json

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

    from kogemma_rag.chains import RagOutput
    from kogemma_rag.citations import Citation
    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.settings import Settings

# Plain help: rich doubles its time, and its boxes are noise where the terminal is not UTF-8.
app = typer.Typer(
    name="kogemma-rag",
    help="한국어 문서를 색인하고, 문서에 근거해 질문에 답합니다.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# Of the environment; set before any command runs.
_settings: "ContextVar[Settings]" = ContextVar("settings")

QUIT_COMMANDS = ("/끝", "/quit")
_SNIPPET_LENGTH = 160  # characters
_FACTS = {
    "folder": "색인 폴더",
    "chunks": "문단 수",
    "sources": "문서 수",
    "files": "파일 수",
    "embeddings": "임베딩 모델",
    "dimension": "임베딩 차원",
    "vector_index": "벡터 색인",
    "format_version": "형식 판",
    "generation": "세대",
    "storage_bytes": "저장소 크기(바이트)",
    "vector_bytes": "벡터 크기(바이트)",
    "lexical_bytes": "낱말 색인 크기(바이트)",
}


class Format(str, Enum):
    """How results are printed."""

    text = "text"
    json = "json"


def _clean_text(text: str) -> str:
    """NFC, as the index holds it; what the terminal's encoding could not read becomes "?"."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()).strip()


def _required_text(text: str) -> str:
    if not (text := _clean_text(text)):
        raise typer.BadParameter("내용이 비어 있습니다. 찾거나 물을 말을 적으세요.")
    return text


def _existing_path(path: Path) -> Path:
    if not path.exists():
        raise typer.BadParameter(f"'{path}' 경로가 없습니다. 문서나 폴더의 경로를 확인하세요.")
    return path


_Index = Annotated[Path, typer.Option("--in", metavar="폴더", help="색인이 있는 폴더")]
_Format = Annotated[Format, typer.Option("--format", help="출력 형식")]
_Question = Annotated[
    str, typer.Argument(metavar="질문", help="문서에 물을 말", callback=_required_text)
]
_ChatModel = Annotated[
    str | None,
    typer.Option(
        metavar="이름",
        help="답할 모델: extractive 또는 허브 이름, 폴더, 모델 서버의 주소 "
        "[기본값: KOGEMMA_CHAT_MODEL, extractive]",
    ),
]
_K = Annotated[
    int | None,
    typer.Option("-k", metavar="개수", min=1, max=100, help="찾을 문단 수 [기본값: KOGEMMA_K, 4]"),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from kogemma_rag import __version__

        typer.echo(f"kogemma-rag {__version__}")
        raise typer.Exit


@app.callback()
def _read_common_options(
    debug: Annotated[
        bool, typer.Option("--debug", help="오류의 자세한 내용을 보입니다. [KOGEMMA_DEBUG]")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="버전을 보입니다."),
    ] = False,
) -> None:
    from pydantic import ValidationError

    from kogemma_rag.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"KOGEMMA_{'_'.join(map(str, first['loc'])).upper()}"
        raise typer.BadParameter(
            f"환경 변수 {name}의 값 '{first['input']}'을(를) 쓸 수 없습니다. {first['msg']}"
        ) from error
    _settings.set(settings.model_copy(update={"debug": debug or settings.debug}))


@app.command("index")
def _run_index(
    path: Annotated[
        Path,
        typer.Argument(metavar="경로", help="문서나 문서가 있는 폴더", callback=_existing_path),
    ],
    into: Annotated[Path, typer.Option("--into", metavar="폴더", help="색인을 둘 폴더")],
    embeddings: Annotated[
        str | None,
        typer.Option(
            metavar="이름",
            help="새 색인의 임베딩 모델: embedded 또는 허브 이름이나 폴더. 있던 색인에는 그 색인을 "
            "만든 모델을 씁니다. [기본값: KOGEMMA_EMBEDDINGS, embedded]",
        ),
    ] = None,
    format: _Format = Format.text,
) -> None:
    """문서를 색인합니다. 다시 부르면 새로 생기거나 바뀌거나 없어진 것만 반영합니다.

    읽지 못한 파일은 까닭과 함께 알리고 나머지를 색인합니다. 하나도 색인하지 못하면 실패(1)입니다.
    """
    from dataclasses import asdict

    with _make_index(into, embeddings) as index:
        report = index.sync(path, progress=sys.stderr.isatty())
    if report.failed:
        notify(f"읽지 못한 파일 {len(report.failed)}개")
    for source, reason in report.failed:
        notify(f"  {one_line(source)}: {reason}")
    if format is Format.json:
        failed = [{"source": source, "reason": reason} for source, reason in report.failed]
        show_json({"index": into, "path": path, **asdict(report), "failed": failed})
    else:
        show(
            f"추가 {report.added}, 변경 {report.updated}, 삭제 {report.deleted}, "
            f"그대로 {report.unchanged}, 실패 {len(report.failed)} · "
            f"문단 {report.chunks}개 · {report.seconds:.1f}초"
        )
    if not (report.added or report.updated or report.unchanged or report.deleted):
        raise _CommandError(f"'{path}'에서 색인한 문서가 없습니다. 읽을 수 있는 문서를 넣으세요.")


@app.command("search")
def _run_search(
    query: Annotated[
        str, typer.Argument(metavar="검색어", help="찾을 말", callback=_required_text)
    ],
    folder: _Index,
    k: _K = None,
    format: _Format = Format.text,
) -> None:
    """색인에서 검색어와 가장 가까운 문단을 찾습니다."""
    with _open_index(folder) as index:
        hits = index.search(query, k=k or _settings.get().k)
    if format is Format.json:
        results = [{"score": score, **_document_fields(document)} for document, score in hits]
        show_json({"query": query, "results": results})
        return
    from kogemma_rag.prompts import describe_source

    for number, (document, score) in enumerate(hits, start=1):
        show(f"{number}. {describe_source(document.metadata)} (점수 {score:.2f})")
        show(f"   {_shorten(document.page_content)}")
    if not hits:
        notify("찾은 문단이 없습니다.")


@app.command("ask")
def _run_ask(
    question: _Question,
    folder: _Index,
    chat_model: _ChatModel = None,
    k: _K = None,
    format: _Format = Format.text,
) -> None:
    """질문에 답하고, 답의 근거가 된 파일과 자리와 문장을 보입니다."""
    from kogemma_rag.chains import create_rag_chain

    with _open_index(folder) as index:
        retriever = index.as_retriever(k=k or _settings.get().k)
        chain = create_rag_chain(retriever, _load_chat_model(chat_model))
        _answer(chain, question, question, format)


@app.command("chat")
def _run_chat(
    folder: _Index,
    chat_model: _ChatModel = None,
    k: _K = None,
    format: _Format = Format.text,
) -> None:
    """앞의 문답을 기억하며 이어서 묻고 답합니다. /끝 이나 Ctrl-D로 마칩니다."""
    from langchain_core.messages import AIMessage, HumanMessage

    from kogemma_rag.chains import create_chat_rag_chain

    history: list[BaseMessage] = []
    with _open_index(folder) as index:
        retriever = index.as_retriever(k=k or _settings.get().k)
        chain = create_chat_rag_chain(retriever, _load_chat_model(chat_model))
        for question in _read_questions(echo=format is Format.text):
            turn = {"question": question, "chat_history": list(history)}
            output = _answer(chain, turn, question, format)
            history += [HumanMessage(question), AIMessage(output["answer"])]


@app.command("info")
def _run_info(folder: _Index, format: _Format = Format.text) -> None:
    """색인에 무엇이 들어 있는지 보입니다."""
    with _open_index(folder) as index:
        facts = index.info()
    if format is Format.json:
        show_json(facts)
        return
    for name, value in facts.items():
        show(f"{_FACTS.get(name, name)}: {value}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: Without the program's name; those of the process when not given.
    """
    accept_any_encoding()
    try:
        app(arguments, prog_name="kogemma-rag")
    except Exception as error:  # noqa: BLE001 - the outer edge: errors end as sentences here
        settings = _settings.get(None)
        if settings is not None and settings.debug:
            traceback.print_exc()
        notify(f"오류: {_describe_error(error)}")
    sys.exit(1)


class _CommandError(Exception):
    """What failed and what to do next, in Korean."""


def _describe_error(error: Exception) -> str:
    from kogemma_rag.error_sentences import explain

    if isinstance(error, _CommandError):
        sentence, cause = str(error), error.__cause__
    else:
        sentence, cause = explain(error), error
    if cause is None:
        return sentence
    return f"{sentence} 원인: {one_line(str(cause)) or type(cause).__name__}"


def _make_index(folder: Path, embeddings: str | None) -> "DocumentIndex":
    """The index in a folder, a new one where there is none."""
    from kogemma_rag.embeddings import MultilingualEmbeddings
    from kogemma_rag.index import DocumentIndex

    if DocumentIndex.recorded_embedder(folder) is None:
        embeddings = embeddings or _settings.get().embeddings
    if embeddings is None:
        return DocumentIndex.open(folder)
    try:
        model = MultilingualEmbeddings(embeddings)
    except OSError as error:
        raise _CommandError(
            f"임베딩 모델 '{embeddings}'을(를) 불러오지 못했습니다. "
            "이름과 인터넷 연결을 확인하거나 모델이 있는 폴더를 적으세요."
        ) from error
    return DocumentIndex.open(folder, model)


def _open_index(folder: Path) -> "DocumentIndex":
    from kogemma_rag.index import DocumentIndex

    if not DocumentIndex.exists(folder):
        raise _CommandError(
            f"'{folder}'에 색인이 없습니다. "
            f"먼저 kogemma-rag index 경로 --into {folder} 로 만드세요."
        )
    return DocumentIndex.open(folder)


def _load_chat_model(name: str | None) -> Any:
    from kogemma_rag.chat_models import load_chat_model

    name = name or _settings.get().chat_model
    if name == "extractive":
        notify(
            "알림: 기본 모델(extractive)은 글을 새로 쓰지 않고 문서의 문장을 그대로 옮깁니다. "
            "ko-gemma로 답하려면 --chat-model nlpai-lab/ko-gemma-2b-v1 을 붙이세요."
        )
    key = {"api_key": _settings.get().api_key} if "://" in name else {}
    return load_chat_model(name, **key)


def _read_questions(*, echo: bool) -> Iterator[str]:
    """Questions from a terminal with a prompt, or one a line from a pipe, then shown if `echo`."""
    interactive = sys.stdin.isatty()
    for line in _prompt_lines() if interactive else sys.stdin:
        question = _clean_text(line)
        if question in QUIT_COMMANDS:
            return
        if question:
            if echo and not interactive:
                show(f"\n질문> {question}")
            yield question


def _prompt_lines() -> Iterator[str]:
    with contextlib.suppress(ImportError):  # Windows has its own
        import readline  # noqa: F401 - gives input() line editing and history
    notify("문서에 물어보세요. 마치려면 /끝 을 쓰거나 Ctrl-D를 누르세요.")
    while True:
        try:
            yield input("\n질문> ")
        except EOFError:
            notify("")
            return


def _answer(
    chain: "Runnable[Any, RagOutput]", chain_input: object, question: str, format: Format
) -> "RagOutput":
    """Run the chain and print its answer, as it comes when it is text."""
    if format is Format.json:
        output = chain.invoke(chain_input)
        show_json(_answer_fields(question, output))
        return output
    whole: Any = None
    for piece in chain.stream(chain_input):
        whole = piece if whole is None else whole + piece
        show(piece.get("answer", ""), end="")
    show("")
    _show_sources(whole["answer"], whole["citations"])
    return cast("RagOutput", whole)


def _show_sources(answer: str, citations: "Sequence[Citation]") -> None:
    """The cited passages by number, each with the sentences quoted from it."""
    if citations:
        show("\n출처")
    elif _is_answer(answer):
        notify("주의: 모델이 근거를 밝히지 않은 답입니다. 문서에서 확인하세요.")
    shown = 0
    for citation in sorted(citations, key=lambda citation: citation.number):
        if citation.number != shown:
            show(f"[{citation.number}] {one_line(citation.source)}")
        shown = citation.number
        show(f'    "{one_line(citation.quote)}"')


def _is_answer(answer: str) -> bool:
    from kogemma_rag.prompts import NOT_FOUND

    return bool(answer.strip()) and answer.strip() != NOT_FOUND


def _answer_fields(question: str, output: "RagOutput") -> dict[str, Any]:
    return {
        "question": question,
        "answer": output["answer"],
        "answered": _is_answer(output["answer"]),
        "citations": [_citation_fields(citation) for citation in output["citations"]],
        "documents": [_document_fields(document) for document in output["documents"]],
    }


def _citation_fields(citation: "Citation") -> dict[str, Any]:
    places = ("source", "title", "page", "slide", "sheet", "headings")
    return {
        "number": citation.number,
        **{name: citation.metadata.get(name) for name in places},
        "quote": citation.quote,
        "start": citation.start,
        "end": citation.end,
        "document_id": citation.document_id,
    }


def _document_fields(document: "Document") -> dict[str, Any]:
    return {"id": document.id, "text": document.page_content, "metadata": document.metadata}


def _shorten(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _SNIPPET_LENGTH else text[: _SNIPPET_LENGTH - 1] + "…"
