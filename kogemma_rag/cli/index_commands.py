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
    LinksOption,
    LocationOption,
    OCROption,
    WorkersOption,
    app,
    current_settings,
    existing_path,
    open_index,
    open_location,
)
from kogemma_rag.terminal import notify, one_line, show, show_json

if TYPE_CHECKING:
    from kogemma_rag.engines import EngineIndex
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


EmbeddingsOption = Annotated[
    str | None,
    typer.Option(
        metavar="이름",
        help="새 색인의 임베딩 모델: embedded 또는 허브 이름이나 폴더. 있던 색인에는 그 색인을 "
        "만든 모델을 씁니다. [기본값: KOGEMMA_EMBEDDINGS, embedded]",
    ),
]


@app.command("index")
def _run_index(
    path: Annotated[
        Path,
        typer.Argument(metavar="경로", help="문서나 문서가 있는 폴더", callback=existing_path),
    ],
    into: Annotated[
        str,
        typer.Option("--into", metavar="폴더", help="색인을 둘 폴더, 또는 색인 서버의 주소"),
    ],
    embeddings: EmbeddingsOption = None,
    follow_symlinks: LinksOption = False,
    ocr: OCROption = False,
    workers: WorkersOption = None,
    format: FormatOption = Format.text,
) -> None:
    """문서를 색인합니다. 다시 부르면 새로 생기거나 바뀌거나 없어진 것만 반영합니다.

    읽지 못한 파일은 까닭과 함께 알리고 나머지를 색인합니다. 하나도 색인하지 못하면 실패(1)입니다.
    """
    from dataclasses import asdict

    with _make_index(into, embeddings) as index:
        report = index.sync(
            path,
            progress=sys.stderr.isatty(),
            follow_symlinks=follow_symlinks,
            ocr=ocr,
            workers=workers,
        )
    if report.failed:
        notify(f"읽지 못한 파일 {len(report.failed)}개")
    for source, reason in report.failed:
        notify(f"  {one_line(source)}: {reason}")
    if report.skipped:
        notify(f"읽지 못한 첨부나 일부 {len(report.skipped)}개")
    for part, reason in report.skipped:
        notify(f"  {one_line(part)}: {reason}")
    if format is Format.json:
        failed = [{"source": source, "reason": reason} for source, reason in report.failed]
        skipped = [{"part": part, "reason": reason} for part, reason in report.skipped]
        told = {**asdict(report), "failed": failed, "skipped": skipped}
        show_json({"index": into, "path": path, **told})
    else:
        show(
            f"추가 {report.added}, 변경 {report.updated}, 삭제 {report.deleted}, "
            f"그대로 {report.unchanged}, 실패 {len(report.failed)} · "
            f"문단 {report.chunks}개 · {report.seconds:.1f}초"
        )
    if not (report.added or report.updated or report.unchanged or report.deleted):
        raise CommandError(f"'{path}'에서 색인한 문서가 없습니다. 읽을 수 있는 문서를 넣으세요.")


@app.command("info")
def _run_info(location: LocationOption, format: FormatOption = Format.text) -> None:
    """색인에 무엇이 들어 있는지 보입니다."""
    with open_location(location) as index:
        facts = index.info()
    if format is Format.json:
        show_json(facts)
        return
    for name, value in facts.items():
        show(f"{_FACTS.get(name, name)}: {value}")


@app.command("verify")
def _run_verify(folder: IndexOption) -> None:
    """색인을 모두 읽어 적힌 그대로인지 확인합니다."""
    with open_index(folder) as index:
        index.verify()
    show("색인에 이상이 없습니다.")


@app.command("rebuild")
def _run_rebuild(folder: IndexOption) -> None:
    """벡터와 낱말 색인을 저장소에서 다시 만듭니다. 임베딩은 다시 하지 않습니다."""
    with open_index(folder) as index:
        index.rebuild()
    show("벡터와 낱말 색인을 다시 만들었습니다.")


@app.command("compact")
def _run_compact(folder: IndexOption) -> None:
    """지운 문서의 자리를 돌려줍니다. 색인만 한 빈자리가 잠시 필요합니다."""
    with open_index(folder) as index:
        freed = index.compact()
    show(f"{freed:,}바이트를 돌려주었습니다.")


@app.command("export")
def _run_export(
    folder: IndexOption,
    to: Annotated[Path, typer.Option("--to", metavar="폴더", help="새로 만들 폴더")],
) -> None:
    """색인을 JSON Lines와 Parquet 파일로 내보냅니다."""
    with open_index(folder) as index:
        index.export(to)
    show(f"'{to}'에 내보냈습니다. kogemma-rag import {to} --into 폴더 로 들일 수 있습니다.")


@app.command("import")
def _run_import(
    path: Annotated[
        Path, typer.Argument(metavar="폴더", help="내보낸 폴더", callback=existing_path)
    ],
    into: Annotated[Path, typer.Option("--into", metavar="폴더", help="색인을 둘 폴더")],
    embeddings: EmbeddingsOption = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle",
            help="LangChain의 FAISS가 저장한 폴더(피클)도 읽습니다. 같은 임베딩 모델로 만든 것만 "
            "쓸 수 있습니다.",
        ),
    ] = False,
) -> None:
    """내보낸 색인을 임베딩을 다시 하지 않고 들입니다."""
    with _make_folder_index(into, embeddings) as index:
        count = index.import_from(path, allow_pickle=allow_pickle)
    show(f"문단 {count}개를 들였습니다.")


def _make_index(location: str, embeddings: str | None) -> "DocumentIndex | EngineIndex":
    """The index in a folder or an engine, a new one where there is none."""
    from kogemma_rag.embeddings import MultilingualEmbeddings
    from kogemma_rag.engines import is_engine_url, open_engine

    if is_engine_url(location):
        return open_engine(location, MultilingualEmbeddings(embeddings) if embeddings else None)
    return _make_folder_index(Path(location), embeddings)


def _make_folder_index(folder: Path, embeddings: str | None) -> "DocumentIndex":
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
