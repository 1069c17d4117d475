"""KOGEMMA_* variables become defaults, and wrong ones are refused."""

import pytest
from pydantic import ValidationError

from kogemma_rag.settings import Settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHAT_MODEL", "EMBEDDINGS", "API_KEY", "K", "DEBUG"):
        monkeypatch.delenv(f"KOGEMMA_{name}", raising=False)


def test_defaults() -> None:
    assert Settings().model_dump() == {
        "chat_model": "extractive",
        "embeddings": None,
        "api_key": None,
        "k": 4,
        "debug": False,
    }


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOGEMMA_CHAT_MODEL", "nlpai-lab/ko-gemma-2b-v1")
    monkeypatch.setenv("KOGEMMA_EMBEDDINGS", "BAAI/bge-m3")
    monkeypatch.setenv("KOGEMMA_K", "7")
    monkeypatch.setenv("KOGEMMA_DEBUG", "1")
    assert Settings().model_dump() == {
        "chat_model": "nlpai-lab/ko-gemma-2b-v1",
        "embeddings": "BAAI/bge-m3",
        "api_key": None,
        "k": 7,
        "debug": True,
    }


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOGEMMA_CHAT_MODEL", "")
    monkeypatch.setenv("KOGEMMA_K", "")
    assert (Settings().chat_model, Settings().k) == ("extractive", 4)


@pytest.mark.parametrize("k", ["0", "101", "넷", "-1"])
def test_a_number_out_of_bounds_is_refused(k: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOGEMMA_K", k)
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert raised.value.errors()[0]["loc"] == ("k",)


def test_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOGEMMA_API_KEY", "sk-secret")
    assert "sk-secret" not in repr(Settings())
    key = Settings().api_key
    assert key is not None
    assert key.get_secret_value() == "sk-secret"
