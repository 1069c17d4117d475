"""SIGTERM to a process of `kogemma-rag serve` that is streaming an answer."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from langchain_core.documents import Document
from scripted_server import ScriptedServer, begin, event, write

from kogemma_rag import DocumentIndex

DRAIN_SECONDS = 1
# The command as it is, but for the time that it leaves to answers under way.
DRAINS_SOON = (
    "from kogemma_rag.cli import main, serve_commands; "
    f"serve_commands._DRAIN_SECONDS = {DRAIN_SECONDS}; main()"
)
BODY = {"messages": [{"role": "user", "content": "연차휴가는 며칠인가요?"}], "stream": True}
_CLIENT = httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), timeout=30)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shutdown") / "index"
    with DocumentIndex.open(folder) as index:
        index.add_documents([Document("직원은 해마다 연차휴가를 15일 쓴다.")])
    return folder


def test_answer_under_way_is_finished(index: Path, server: ScriptedServer) -> None:
    go_on = threading.Event()

    def pauses(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        for piece in ("연차는", " 해마다"):  # the chat model holds the last one back
            write(handler, event(piece))
        assert go_on.wait(30)
        for piece in (" 15일이다.", " [1]"):
            time.sleep(0.1)
            write(handler, event(piece))
        write(handler, event(finish="stop") + "data: [DONE]\n\n")
        handler.wfile.write(b"0\r\n\r\n")

    server.answers = [pauses]
    with _served(index, server.url, "-m", "kogemma_rag") as (url, process), _stream(url) as lines:
        seen = _until_first_piece(lines)
        process.send_signal(signal.SIGTERM)
        _wait_until_refused(url, seconds=5)
        assert process.poll() is None
        go_on.set()
        *chunks, done = seen + list(lines)
        process.wait(5)
    told = [json.loads(chunk) for chunk in chunks]
    pieces = [one["choices"][0]["delta"].get("content", "") for one in told]
    assert "".join(pieces) == "연차는 해마다 15일이다. [1]"
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
    assert told[-1]["answered"] is True
    assert done == "[DONE]"
    assert process.returncode == -signal.SIGTERM  # of the signal, once all is closed


def test_answer_without_end_is_cut(index: Path, server: ScriptedServer) -> None:
    hung_up = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        with suppress(OSError):
            while True:
                write(handler, event(" 그리고"))
                time.sleep(0.05)
        hung_up.set()

    server.answers = [endless]
    with _served(index, server.url, "-c", DRAINS_SOON) as (url, process), _stream(url) as lines:
        _until_first_piece(lines)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            list(lines)
        seconds = time.monotonic() - began
        process.wait(5)
    assert DRAIN_SECONDS <= seconds < DRAIN_SECONDS + 5
    assert process.returncode == -signal.SIGTERM
    assert hung_up.wait(5)


@contextmanager
def _served(
    index: Path, chat_model: str, *program: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The address and the process of a server that is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, *program, "serve", "--in", str(index), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--chat-model", chat_model], env={**os.environ, "PYTHONUTF8": "1"}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _is_ready(url):
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        yield url, process
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return _CLIENT.get(f"{url}/health/ready").status_code == 200
    return False


@contextmanager
def _stream(url: str) -> Iterator[Iterator[str]]:
    """The data of the events of a streamed answer."""
    with _CLIENT.stream("POST", f"{url}/v1/chat/completions", json=BODY) as response:
        lines = response.iter_lines()
        yield (line.removeprefix("data: ") for line in lines if line.startswith("data: "))


def _until_first_piece(lines: Iterator[str]) -> list[str]:
    seen: list[str] = []
    for line in lines:
        seen.append(line)
        if json.loads(line)["choices"][0]["delta"].get("content"):
            return seen
    raise AssertionError("the answer has no text")


def _wait_until_refused(url: str, *, seconds: float) -> None:
    """New connections must be refused within some seconds."""
    host, port = url.removeprefix("http://").split(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError("the server lets others in while it ends")
