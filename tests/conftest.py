"""Fixtures that several test modules share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


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
def say(tiny_model) -> Iterator:
    """`say(*ids)` makes the tiny model reply with these tokens; its result counts forwards."""
    import tiny_gemma

    scripts = []

    def start(*tokens: int) -> tiny_gemma.Script:
        scripts.append(tiny_gemma.Script(tiny_model, tokens))
        return scripts[-1]

    yield start
    for script in scripts:
        script.remove()
