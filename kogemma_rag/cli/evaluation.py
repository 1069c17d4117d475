"""What the commands of eval share: the sub-application, folders, where a report is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kogemma_rag.cli.app import CommandError, app
from kogemma_rag.terminal import notify

if TYPE_CHECKING:
    from kogemma_rag.evaluation.runs import RunFolder

evaluation = typer.Typer(
    help="얼마나 잘 찾고 답하는지 재고, 보고서를 만듭니다.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(evaluation, name="eval")

_STOPPED = 130  # what a shell gives for Ctrl-C


@contextmanager
def run_folder(into: Path, settings: Mapping[str, Any]) -> Iterator["RunFolder"]:
    """The folder of a run; a stop by Ctrl-C says how to go on."""
    from kogemma_rag.evaluation.runs import RunFolder

    folder = RunFolder(into, settings)
    try:
        yield folder
    except KeyboardInterrupt:
        notify(f"\n멈췄습니다. 끝난 것은 '{into}'에 있고, 같은 명령을 다시 하면 이어서 합니다.")
        raise typer.Exit(_STOPPED) from None


def refuse_existing(path: Path) -> None:
    """Nothing is overwritten."""
    if path.exists():
        raise CommandError(f"'{path}'이(가) 이미 있습니다. 다른 이름을 적으세요.")


def tell_report(into: Path) -> None:
    """Where the report of a run is, and what to do next."""
    notify(
        f"보고서: {into / 'report.html'} · 설정을 바꾸어 다른 폴더에 잰 뒤 "
        f"kogemma-rag eval compare {into} 다른폴더 로 견줄 수 있습니다."
    )
