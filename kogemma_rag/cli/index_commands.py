"""Commands about an index: fill it, look at it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kogemma_rag.cli.app import (
    CommandError,
    Format,
    FormatOption,
    IndexOption,
    app,
    current_settings,
    existing_path,
    open_index,
)
from kogemma_rag.terminal import notify, one_line, show, show_json

if TYPE_CHECKING:
    from kogemma_rag.index import DocumentIndex

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


@app.command("index")
def _run_index(
    path: Annotated[
        Path,
        typer.Argument(metavar="경로", help="문서나 문서가 있는 폴더", callback=existing_path),
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
    format: FormatOption = Format.text,
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
        raise CommandError(f"'{path}'에서 색인한 문서가 없습니다. 읽을 수 있는 문서를 넣으세요.")


@app.command("info")
def _run_info(folder: IndexOption, format: FormatOption = Format.text) -> None:
    """색인에 무엇이 들어 있는지 보입니다."""
    with open_index(folder) as index:
        facts = index.info()
    if format is Format.json:
        show_json(facts)
        return
    for name, value in facts.items():
        show(f"{_FACTS.get(name, name)}: {value}")


def _make_index(folder: Path, embeddings: str | None) -> "DocumentIndex":
    """The index in a folder, a new one where there is none."""
    from kogemma_rag.embeddings import MultilingualEmbeddings
    from kogemma_rag.index import DocumentIndex

    if DocumentIndex.recorded_embedder(folder) is None:
        embeddings = embeddings or current_settings.get().embeddings
    if embeddings is None:
        return DocumentIndex.open(folder)
    try:
        model = MultilingualEmbeddings(embeddings)
    except OSError as error:
        raise CommandError(
            f"임베딩 모델 '{embeddings}'을(를) 불러오지 못했습니다. "
            "이름과 인터넷 연결을 확인하거나 모델이 있는 폴더를 적으세요."
        ) from error
    return DocumentIndex.open(folder, model)
