"""Fixtures that several test modules share."""

import os
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
