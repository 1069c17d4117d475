"""The command that makes questions of documents: eval make-questions."""

from pathlib import Path
from typing import Annotated

import typer

from kogemma_rag.cli.app import Format, FormatOption, chat_model_of, existing_path
from kogemma_rag.cli.evaluation import evaluation, refuse_existing
from kogemma_rag.terminal import notify, show, show_json


@evaluation.command("make-questions")
def _run_make_questions(
    path: Annotated[
        Path,
        typer.Argument(metavar="경로", help="문서나 문서가 있는 폴더", callback=existing_path),
    ],
    into: Annotated[Path, typer.Option("--into", metavar="파일", help="질문을 적을 새 JSON 파일")],
    count: Annotated[int, typer.Option(min=1, metavar="수", help="만들 질문 수")] = 100,
    chat_model: Annotated[
        str | None,
        typer.Option(metavar="이름", help="질문을 지을 모델. 없으면 규칙으로 만듭니다(모델 없이)."),
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """내 문서에서 질문과 정답을 만듭니다. 만든 파일은 손으로 고쳐 씁니다."""
    from kogemma_rag.document_loaders import load_documents
    from kogemma_rag.evaluation.question_making import make_questions
    from kogemma_rag.evaluation.question_sets import write_question_set
    from kogemma_rag.text_splitters import KoreanTextSplitter

    refuse_existing(into)
    chunks = KoreanTextSplitter().split_documents(list(load_documents(path)))
    model = None if chat_model is None else chat_model_of(chat_model)
    made = make_questions(chunks, chat_model=model, count=count)
    write_question_set(made, into)
    if format is Format.json:
        show_json(
            {"questions": len(made.questions), "documents": len(made.documents), "into": into}
        )
    else:
        show(f"질문 {len(made.questions)}개를 '{into}'에 적었습니다.")
    notify(
        f"다음: '{into}'의 질문과 정답을 읽고 고친 뒤 "
        f"kogemma-rag eval retrieval --data {into} --into 보고서폴더"
    )
