"""Commands about documents: see what can be read of them."""

import json
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer

from kogemma_rag.cli.app import (
    CommandError,
    Format,
    FormatOption,
    LinksOption,
    OCROption,
    WorkersOption,
    app,
    existing_path,
)
from kogemma_rag.terminal import show, show_json


@app.command("load")
def _run_load(
    path: Annotated[
        Path,
        typer.Argument(metavar="경로", help="문서나 문서가 있는 폴더", callback=existing_path),
    ],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="파일", help="읽은 글을 JSON Lines로 적을 새 파일"),
    ] = None,
    follow_symlinks: LinksOption = False,
    ocr: OCROption = False,
    workers: WorkersOption = None,
    format: FormatOption = Format.text,
) -> None:
    """색인하지 않고 읽어 보기만 합니다: 무엇을 읽고 무엇을 왜 못 읽는지 알립니다."""
    from dataclasses import asdict

    from kogemma_rag.document_loaders import DocumentLoadError, FolderLoader

    root = path if path.is_dir() else path.parent
    if into is not None and path.is_dir() and path.resolve() in into.resolve().parents:
        raise CommandError(f"'{into}'은(는) 읽을 폴더 안에 있습니다. 다른 곳에 적으세요.")
    loader = FolderLoader(
        path,
        root=root,
        follow_symlinks=follow_symlinks,
        ocr=ocr,
        workers=workers,
        progress=sys.stderr.isatty(),
    )
    with warnings.catch_warnings(), suppress(DocumentLoadError), _new_file(into) as file:
        warnings.simplefilter("ignore")  # the report says it all
        for document in loader.lazy_load():
            line = {"text": document.page_content, "metadata": document.metadata}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    if format is Format.json:
        show_json(asdict(loader.report))
    else:
        show(str(loader.report))
    if not loader.report.count("read"):
        raise CommandError(f"'{path}'에서 읽은 문서가 없습니다.")


def _new_file(path: Path | None) -> TextIO:
    try:
        if path is None:
            return Path(os.devnull).open("w", encoding="utf-8")
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise CommandError(f"'{path}'이(가) 이미 있습니다. 다른 이름을 적으세요.") from None
    except OSError as error:
        raise CommandError(f"'{path}'을(를) 만들 수 없습니다: {error.strerror}") from error
