"""Commands that look for answers: search, ask, chat."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kogemma_rag.cli.app import (
    ChatModelOption,
    Format,
    FormatOption,
    KOption,
    LocationOption,
    answering_model,
    app,
    clean_text,
    current_settings,
    open_location,
    required_text,
)
from kogemma_rag.terminal import notify, one_line, show, show_json

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

    from kogemma_rag.chains import RagOutput
    from kogemma_rag.citations import Citation

QUIT_COMMANDS = ("/끝", "/quit")
_SNIPPET_LENGTH = 160  # characters

_Question = Annotated[
    str, typer.Argument(metavar="질문", help="문서에 물을 말", callback=required_text)
]


@app.command("search")
def _run_search(
    query: Annotated[str, typer.Argument(metavar="검색어", help="찾을 말", callback=required_text)],
    location: LocationOption,
    k: KOption = None,
    format: FormatOption = Format.text,
) -> None:
    """색인에서 검색어와 가장 가까운 문단을 찾습니다."""
    with open_location(location) as index:
        hits = index.search(query, k=k or current_settings.get().k)
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
    location: LocationOption,
    chat_model: ChatModelOption = None,
    k: KOption = None,
    format: FormatOption = Format.text,
) -> None:
    """질문에 답하고, 답의 근거가 된 파일과 자리와 문장을 보입니다."""
    from kogemma_rag.chains import create_rag_chain

    with open_location(location) as index:
        retriever = index.as_retriever(k=k or current_settings.get().k)
        chain = create_rag_chain(retriever, answering_model(chat_model))
        _answer(chain, question, question, format)


@app.command("chat")
def _run_chat(
    location: LocationOption,
    chat_model: ChatModelOption = None,
    k: KOption = None,
    format: FormatOption = Format.text,
) -> None:
    """앞의 문답을 기억하며 이어서 묻고 답합니다. /끝 이나 Ctrl-D로 마칩니다."""
    from langchain_core.messages import AIMessage, HumanMessage

    from kogemma_rag.chains import create_chat_rag_chain

    history: list[BaseMessage] = []
    with open_location(location) as index:
        retriever = index.as_retriever(k=k or current_settings.get().k)
        chain = create_chat_rag_chain(retriever, answering_model(chat_model))
        for question in _read_questions(echo=format is Format.text):
            turn = {"question": question, "chat_history": list(history)}
            output = _answer(chain, turn, question, format)
            history += [HumanMessage(question), AIMessage(output["answer"])]


def _read_questions(*, echo: bool) -> Iterator[str]:
    """Questions from a terminal with a prompt, or one a line from a pipe, then shown if `echo`."""
    interactive = sys.stdin.isatty()
    for line in _prompt_lines() if interactive else sys.stdin:
        question = clean_text(line)
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
    places = (
        *("source", "title", "attachment", "page", "slide", "sheet", "row", "line"),
        *("headings", "region"),
    )
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
