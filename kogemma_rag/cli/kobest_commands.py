"""The command that measures a model on KoBEST: eval kobest."""

import sys
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kogemma_rag.cli.app import Format, FormatOption, chat_model_of
from kogemma_rag.cli.evaluation import evaluation, run_folder, tell_report
from kogemma_rag.terminal import show, show_json

if TYPE_CHECKING:
    from kogemma_rag.evaluation.runs import RunFolder


class ChatTemplate(str, Enum):
    """Whether prompts go through the model's chat template."""

    auto = "auto"
    on = "on"
    off = "off"


def _existing_folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise typer.BadParameter(f"'{path}' 폴더가 없습니다. KoBEST 배포판의 폴더를 적으세요.")
    return path


def _known_tasks(tasks: str) -> str:
    from kogemma_rag.evaluation.kobest_data import TASKS

    names = [name.strip() for name in tasks.split(",")]
    if unknown := [name for name in names if name not in TASKS]:
        raise typer.BadParameter(
            f"'{unknown[0]}'은(는) 모르는 과제입니다. {', '.join(TASKS)} 가운데에서 적으세요."
        )
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"'{tasks}'에 같은 과제가 둘입니다. 하나를 빼세요.")
    return ",".join(names)


@evaluation.command("kobest")
def _run_kobest(
    model: Annotated[
        str, typer.Option(metavar="이름", help="허브 이름이나 폴더. --generation이면 서버 주소도")
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="폴더",
            help="KoBEST의 TSV 파일이 있는 폴더. 없으면 허브에서 받습니다.",
            callback=_existing_folder,
        ),
    ] = None,
    tasks: Annotated[
        str, typer.Option(metavar="과제,과제", help="쉼표로 나눈 과제", callback=_known_tasks)
    ] = "boolq,copa,hellaswag,sentineg,wic",
    num_fewshot: Annotated[int, typer.Option(min=0, metavar="수", help="보기로 줄 예시 수")] = 5,
    chat_template: Annotated[
        ChatTemplate, typer.Option(help="대화 템플릿으로 물을지. auto: 있으면")
    ] = ChatTemplate.auto,
    multiturn: Annotated[
        bool, typer.Option("--multiturn/--no-multiturn", help="예시를 따로따로 된 차례로 줍니다.")
    ] = True,
    generation: Annotated[
        bool,
        typer.Option("--generation", help="확률이 아니라 지은 답으로 채점합니다(표와 비교 안 함)."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="수", help="과제마다 처음 몇 문항만")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="폴더", help="보고서를 둘 새 폴더")
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """KoBEST 다섯 과제로 모델을 재고 Ko-Gemma가 공개한 표와 견줍니다."""
    from kogemma_rag.evaluation.kobest_data import fingerprint

    options: dict[str, Any] = {
        "data_dir": data_dir,
        "tasks": tasks.split(","),
        "num_fewshot": num_fewshot,
        "limit": limit,
    }
    if not generation:
        options |= {"chat_template": chat_template.value, "multiturn": multiturn}
    if into is None:
        run = _evaluate(model, options, None, generation=generation)
    else:
        asked = {**options, "data_dir": None, "generation": generation}
        if data_dir is not None:
            asked["data_dir"] = [str(data_dir), fingerprint(data_dir, options["tasks"])]
        with run_folder(into, {"command": "kobest", "model": model, **asked}) as folder:
            run = _evaluate(model, options, folder, generation=generation)
            folder.finish(run)
    if format is Format.json:
        show_json({key: value for key, value in run.items() if key != "questions"})
    else:
        show(_text(run))
    if into is not None:
        tell_report(into)


def _evaluate(
    model: str, options: dict[str, Any], folder: "RunFolder | None", *, generation: bool
) -> dict[str, Any]:
    from kogemma_rag.evaluation.kobest import evaluate_kobest
    from kogemma_rag.evaluation.kobest_generation import evaluate_kobest_by_generation
    from kogemma_rag.evaluation.runs import RUN_FORMAT

    started = datetime.now().astimezone().isoformat(timespec="seconds")
    options = {**options, "folder": folder, "progress": sys.stderr.isatty()}
    if generation:
        run = evaluate_kobest_by_generation(chat_model_of(model), name=model, **options)
    else:
        run = evaluate_kobest(model, **options)
    return {"format": RUN_FORMAT, "title": f"{run['model']}의 KoBEST", "started": started, **run}


def _text(run: Mapping[str, Any]) -> str:
    from kogemma_rag.evaluation.report_kobest import published_tables, task_tables

    tables = [*task_tables(run)]
    if run["published"]["comparison"]:
        tables += published_tables(run)
    parts = [*map(str, tables), *(f"* {note}" for note in run["notes"])]
    if (requests := run.get("requests")) is not None:
        parts.append(f"요청 {requests['count']:,}개 가운데 <bos> 하나: {requests['one_bos']:,}개")
    return "\n\n".join(parts)
