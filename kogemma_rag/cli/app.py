"""What every command shares: the application, settings, options, opening an index, errors.

Every heavy import stands in the function that needs it, so that help comes at once.
"""

import unicodedata
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kogemma_rag.terminal import notify, one_line

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from kogemma_rag.engines import EngineIndex
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
current_settings: "ContextVar[Settings]" = ContextVar("settings")


class Format(str, Enum):
    """How results are printed."""

    text = "text"
    json = "json"


def clean_text(text: str) -> str:
    """NFC, as the index holds it; what the terminal's encoding could not read becomes "?"."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()).strip()


def required_text(text: str) -> str:
    """The text, cleaned; a blank one is wrong usage."""
    if not (text := clean_text(text)):
        raise typer.BadParameter("내용이 비어 있습니다. 찾거나 물을 말을 적으세요.")
    return text


def existing_path(path: Path) -> Path:
    """The path; one at which there is nothing is wrong usage."""
    if not path.exists():
        raise typer.BadParameter(f"'{path}' 경로가 없습니다. 문서나 폴더의 경로를 확인하세요.")
    return path


ChatModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="이름",
        help="답할 모델: extractive 또는 허브 이름, 폴더, 모델 서버의 주소 "
        "[기본값: KOGEMMA_CHAT_MODEL, extractive]",
    ),
]
KOption = Annotated[
    int | None,
    typer.Option("-k", metavar="개수", min=1, max=100, help="찾을 문단 수 [기본값: KOGEMMA_K, 4]"),
]
LocationOption = Annotated[
    str, typer.Option("--in", metavar="폴더", help="색인이 있는 폴더, 또는 색인 서버의 주소")
]
IndexOption = Annotated[Path, typer.Option("--in", metavar="폴더", help="색인이 있는 폴더")]
FormatOption = Annotated[Format, typer.Option("--format", help="출력 형식")]
LinksOption = Annotated[
    bool,
    typer.Option("--follow-symlinks", help="심볼릭 링크가 가리키는 것도 읽습니다(폴더 밖도)."),
]
OCROption = Annotated[
    bool,
    typer.Option("--ocr", help="스캔한 쪽의 글자도 읽습니다. 'kogemma-rag[ocr]'이 필요합니다."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="수", help="한꺼번에 읽을 파일 수. [기본값: 코어 수]"),
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
    current_settings.set(settings.model_copy(update={"debug": debug or settings.debug}))


class CommandError(Exception):
    """What failed and what to do next, in Korean."""


def describe_error(error: Exception) -> str:
    """What failed, what to do, and the cause, in one line."""
    from kogemma_rag.error_sentences import explain

    if isinstance(error, CommandError):
        sentence, cause = str(error), error.__cause__
    else:
        sentence, cause = explain(error), error
    if cause is None:
        return sentence
    return f"{sentence} 원인: {one_line(str(cause)) or type(cause).__name__}"


def answering_model(name: str | None) -> "BaseChatModel":
    """The chat model of a name or of the settings; tells of one that only quotes."""
    name = name or current_settings.get().chat_model
    if name == "extractive":
        notify(
            "알림: 기본 모델(extractive)은 글을 새로 쓰지 않고 문서의 문장을 그대로 옮깁니다. "
            "ko-gemma로 답하려면 --chat-model nlpai-lab/ko-gemma-2b-v1 을 붙이세요."
        )
    return chat_model_of(name)


def chat_model_of(name: str) -> "BaseChatModel":
    """The chat model of a name; servers get the key of the settings."""
    from kogemma_rag.chat_model_loading import load_chat_model

    key = {"api_key": current_settings.get().api_key} if "://" in name else {}
    return load_chat_model(name, **key)


def open_location(location: str) -> "DocumentIndex | EngineIndex":
    """The index in a folder, which must be there, or at the address of an engine."""
    from kogemma_rag.engines import is_engine_url, open_engine

    if is_engine_url(location):
        return open_engine(location)
    return open_index(Path(location))


def open_index(folder: Path) -> "DocumentIndex":
    """The index in a folder, which must be there."""
    from kogemma_rag.index import DocumentIndex

    if not DocumentIndex.exists(folder):
        raise CommandError(
            f"'{folder}'에 색인이 없습니다. "
            f"먼저 kogemma-rag index 경로 --into {folder} 로 만드세요."
        )
    return DocumentIndex.open(folder)
