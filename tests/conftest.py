"""Fixtures that several test modules share."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tiny models gain nothing by threads, and wait long for them on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_tokenizer():
    import tiny_gemma

    return tiny_gemma.build_tokenizer()


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer):
    import tiny_gemma

    return tiny_gemma.build_model(len(tiny_tokenizer))


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_gemma

    return tiny_gemma.save(tmp_path_factory.mktemp("tiny-gemma"))


@pytest.fixture
def server() -> Iterator:
    """A `scripted_server.ScriptedServer`."""
    from scripted_server import ScriptedServer

    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running `transformers serve`, by its address."""
    home = tmp_path_factory.mktemp("hub-home")
    (home / "hub").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def is_ready() -> bool:
        assert process.poll() is None, "transformers serve has ended"
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answered,
        ):
            return answered.status == 200
        return False

    try:
        deadline = time.monotonic() + 60
        while not is_ready():
            assert time.monotonic() < deadline, "transformers serve does not answer"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def say() -> Iterator:
    """`say(*ids)` makes tiny models reply with these tokens; its result counts forward passes."""
    import tiny_gemma

    scripts = []

    def start(*tokens: int, pause: float = 0.0) -> tiny_gemma.Script:
        scripts.append(tiny_gemma.Script(tokens, pause))
        return scripts[-1]

    yield start
    for script in reversed(scripts):
        script.remove()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL with pgvector, by its address."""
    server = start_postgres()
    yield server.get_uri()
    server.cleanup()


def start_postgres():
    import pgserver

    for tries in range(3):
        # Not below pytest's own folder, which each session closes to other users, such as the one
        # that PostgreSQL runs as when this is root.
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            return pgserver.get_server(folder, cleanup_mode="delete")
        except subprocess.SubprocessError:  # it waits ten seconds, too few on a busy machine
            if tries == 2:
                raise
    raise AssertionError


@pytest.fixture(scope="session")
def milvus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Milvus Lite, by its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("milvus")
    command = [Path(sys.executable).with_name("milvus-lite"), "server", "--data-dir", folder]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, "milvus-lite has ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, "milvus-lite does not answer"
            time.sleep(0.1)
        yield f"milvus://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
