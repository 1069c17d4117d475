"""Commands that keep running: serve for browsers and programs, mcp for assistants."""

import contextlib
import ctypes
import gc
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kogemma_rag.cli.app import (
    ChatModelOption,
    CommandError,
    KOption,
    LocationOption,
    answering_model,
    app,
    current_settings,
    existing_path,
)
from kogemma_rag.terminal import notify

if TYPE_CHECKING:
    import uvicorn

    from kogemma_rag.web.options import ServeOptions

_DRAIN_SECONDS = 30
# Longer than clients wait to try again: else they do just as their connection is closed.
_KEEP_ALIVE_SECONDS = 75
_REMOTE_RATE = 600  # requests a minute from one address, where others may ask
_MEGABYTE = 1024 * 1024
_M_ARENA_MAX = -8  # of glibc's malloc.h

_Host = Annotated[
    str,
    typer.Option(metavar="주소", help="여는 주소. 이 컴퓨터 밖에서도 닿으면 토큰을 묻습니다."),
]
_Port = Annotated[
    int, typer.Option(metavar="번호", min=0, max=65535, help="포트. 0이면 빈 것을 고릅니다.")
]
_Token = Annotated[
    str | None,
    typer.Option(
        envvar="KOGEMMA_TOKEN",
        show_envvar=False,
        metavar="글자",
        help="요청마다 물을 토큰(22자 이상). generated이면 새로 만들어 보입니다. 명령에 적으면 "
        "다른 사용자에게 보이니 KOGEMMA_TOKEN에 두세요.",
    ),
]


@app.command("serve")
def _run_serve(
    location: LocationOption,
    documents: Annotated[
        Path | None,
        typer.Option(
            metavar="폴더", help="색인해 둘 문서 폴더", callback=lambda path: _there(path)
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="문서 폴더가 바뀔 때마다 다시 색인합니다.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="폴더",
            file_okay=False,
            help="올린 문서와 의견을 둘 폴더 [기본값: 색인 폴더, 엔진이면 서버가 끝날 때 지우는 "
            "임시 폴더]",
        ),
    ] = None,
    chat_model: ChatModelOption = None,
    k: KOption = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    token: _Token = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="이름", help="이 서버를 부를 이름(Host). 여러 번 적을 수 있습니다."),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="주소", help="이 서버에 물을 수 있는 다른 사이트(Origin)."),
    ] = None,
    max_upload_mb: Annotated[
        int, typer.Option(min=1, metavar="MB", help="한 번에 올릴 수 있는 크기")
    ] = 200,
    max_documents: Annotated[
        int, typer.Option(min=0, metavar="개수", help="올려 둘 수 있는 문서의 수")
    ] = 10_000,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="개수", help="한꺼번에 답할 질문의 수")
    ] = 16,
    max_waiting: Annotated[
        int, typer.Option(min=0, metavar="개수", help="기다릴 수 있는 질문의 수")
    ] = 64,
    rate_limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="개수",
            help="한 주소에서 1분에 받을 요청의 수, 0이면 제한 없음 "
            f"[기본값: 이 컴퓨터에서만 열면 0, 아니면 {_REMOTE_RATE}]",
        ),
    ] = None,
    answer_seconds: Annotated[
        float, typer.Option(min=1, metavar="초", help="답 하나에 쓸 수 있는 시간")
    ] = 120,
) -> None:
    """문서에 묻는 웹 페이지와 API를 엽니다. Ctrl-C로 마칩니다."""
    _share_heaps()
    with _garbage_kept():
        _need_extra()
        from kogemma_rag.web.options import ServeOptions, is_loopback

        remote = not is_loopback(host)
        generated = token == "generated" or (token is None and remote)  # noqa: S105 - no token
        if rate_limit is None:
            rate_limit = _REMOTE_RATE if remote else 0
        try:
            options = ServeOptions(
                index=location,
                chat_model=answering_model(chat_model),
                k=k or current_settings.get().k,
                documents=documents,
                watch=watch,
                data=data,
                host=host,
                port=port,
                token=secrets.token_urlsafe(32) if generated else token,
                allowed_hosts=tuple(allowed_host or ()),
                allowed_origins=tuple(allowed_origin or ()),
                max_upload_bytes=max_upload_mb * _MEGABYTE,
                max_documents=max_documents,
                max_waiting=max_waiting,
                concurrency=concurrency,
                rate_limit=rate_limit or None,
                answer_seconds=answer_seconds,
            )
        except ValueError as error:
            raise CommandError("서버를 이렇게 열 수 없습니다.") from error
        if generated:
            notify(f"토큰: {options.token}")
        listening = _listen(options.host, options.port)
        server = _server(options)
    name = f"[{host}]" if ":" in host else host
    notify(f"http://{name}:{listening.getsockname()[1]} 에서 엽니다. 마치려면 Ctrl-C를 누르세요.")
    with listening, contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


@app.command("mcp")
def _run_mcp(
    location: LocationOption,
    chat_model: ChatModelOption = None,
    k: KOption = None,
    http: Annotated[
        bool, typer.Option("--http", help="표준 입출력 대신 이 컴퓨터의 HTTP로 엽니다.")
    ] = False,
    port: _Port = 8001,
    page_url: Annotated[
        str | None,
        typer.Option(
            metavar="주소",
            help="결과의 url이 여는 kogemma-rag serve의 주소 [기본값: http://127.0.0.1:8000]",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="폴더", exists=True, file_okay=False, help="그 서버에 준 --data와 같은 폴더"
        ),
    ] = None,
) -> None:
    """문서에서 찾고 묻는 도구를 어시스턴트에 엽니다(MCP, search·fetch·ask)."""
    _need_extra()
    from kogemma_rag import mcp_server

    mcp_server.run(
        location,
        chat_model=answering_model(chat_model),
        k=k or current_settings.get().k,
        http=http,
        port=port,
        page_url=page_url or mcp_server.PAGE_URL,
        data=data,
    )


def _server(options: "ServeOptions") -> "uvicorn.Server":
    import uvicorn

    from kogemma_rag.web.app import create_app
    from kogemma_rag.web.log_lines import log_to_stderr

    application = create_app(options)
    log_to_stderr()
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    return uvicorn.Server(config)


def _share_heaps() -> None:
    """Let threads share two heaps: glibc keeps eight a core, each with what its threads freed."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
    """What imports make stays: to look for garbage among it takes a tenth of the start."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CommandError(
            f"{host}의 {port} 포트를 열 수 없습니다. --port로 다른 번호를 적으세요."
        ) from error


def _there(path: Path | None) -> Path | None:
    return None if path is None else existing_path(path)


def _need_extra() -> None:
    try:
        import fastapi  # noqa: F401 - the first of the extra that would be missed
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed: pip install 'kogemma-rag[serve]'"
        ) from error
