"""A line of the command line in, the settings of one retriever out. Opens no index, loads nothing.

Names a preset, settings, or both: "vectors", "작은 조각: words chunk_size=300 chunk_overlap=0".
"""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

_Context = Literal["chunk", "neighbours", "section"]


class RetrieverSettingsError(ValueError):
    """Settings of a retriever that are not understood; a Korean sentence says which."""


class RetrieverSettings(BaseModel):
    """A retriever over an index of the question set's documents; see `HybridRetriever`.

    Attributes:
        embeddings: "embedded", a hub name or a directory.
        weights: Of cosine, BM25 over morphemes, BM25 over bigrams.
        fetch_k: Candidates of each side; with chunks, also how many chunks are asked for, so that
            several of one document leave room for others.
        k: Documents that are found at most; None: as many as the measures look at.
        titles: Whether documents are found by their titles too.
        chunk_size: Characters; None leaves documents whole.
        chunk_overlap: Characters; of no effect on whole documents.
        reranker: A hub name or a directory of a cross-encoder, which judges the best `rerank_k`.
        expansion: What `chat_model` makes of a question, to be searched by beside it: a search
            query, other questions, or a passage that might answer it.
        chat_model: As `load_chat_model` takes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embeddings: str = Field(default="embedded", min_length=1)
    fusion: Literal["confidence", "standardized", "reciprocal_rank"] = "confidence"
    weights: tuple[float, float, float] = (1.0, 1.0, 0.5)
    fetch_k: int = Field(default=30, gt=0)
    k: int | None = Field(default=None, gt=0)
    context: _Context = "chunk"
    titles: bool = False
    chunk_size: int | None = Field(default=None, gt=0)
    chunk_overlap: int = Field(default=0, ge=0)
    reranker: str | None = Field(default=None, min_length=1)
    rerank_k: int = Field(default=30, gt=0)
    expansion: Literal["query", "variants", "passage"] | None = None
    chat_model: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _fit(self) -> "RetrieverSettings":
        if min(self.weights) < 0 or not max(self.weights) > 0:
            raise ValueError("weights는 0 이상이고 하나는 0보다 커야 합니다")
        if self.chunk_size is not None and self.chunk_overlap > self.chunk_size:
            raise ValueError("chunk_overlap은 chunk_size보다 클 수 없습니다")
        if (self.expansion is None) != (self.chat_model is None):
            raise ValueError("expansion과 chat_model은 함께 적어야 합니다")
        return self


_ONLY_WORDS = (0.0, 1.0, 0.5)
PRESETS: Mapping[str, RetrieverSettings] = MappingProxyType(
    {
        "hybrid": RetrieverSettings(),
        "vectors": RetrieverSettings(weights=(1.0, 0.0, 0.0)),
        "words": RetrieverSettings(weights=_ONLY_WORDS),
        # Plain sums of BM25, without a look at the question's wording in the best candidates.
        "bm25": RetrieverSettings(weights=_ONLY_WORDS, fusion="standardized"),
        "morphemes": RetrieverSettings(weights=(0.0, 1.0, 0.0), fusion="standardized"),
        "bigrams": RetrieverSettings(weights=(0.0, 0.0, 1.0), fusion="standardized"),
    }
)
"""The default and its parts: what each side finds alone, and what each analyzer does."""


def parse_settings(text: str) -> tuple[str, RetrieverSettings]:
    """A name and settings of "NAME: PRESET KEY=VALUE KEY=VALUE".

    Without a name it is the text itself; without a preset settings begin from "hybrid". Values with
    spaces stand in quotes, weights are divided by commas.

    Raises:
        RetrieverSettingsError: If a preset, a key or a value is not known; the message names those
            that are.
    """
    name, colon, rest = text.partition(":")
    if not colon or "=" in name:  # a colon of a path is no name's
        name, rest = text, text
    name = name.strip()
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise RetrieverSettingsError(f"{text!r}: 따옴표가 닫히지 않았습니다. 닫으세요") from error
    if not name or not words:
        raise RetrieverSettingsError(
            f"{text!r}: 이름이나 설정이 없습니다. '이름: 키=값' 또는 {_listed(PRESETS)} 가운데 "
            "하나를 적으세요"
        )
    preset = PRESETS["hybrid"] if "=" in words[0] else _preset(words.pop(0))
    given = dict(_pair(word, text) for word in words)
    try:
        return name, RetrieverSettings.model_validate({**preset.model_dump(), **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = str(first["loc"][0]) if first["loc"] else "설정"
        value = f" {given[place]!r}" if place in given else ""
        raise RetrieverSettingsError(
            f"{text!r}: {place}의 값{value}이(가) 맞지 않습니다({first['msg']})"
        ) from error


def _preset(word: str) -> RetrieverSettings:
    if word not in PRESETS:
        raise RetrieverSettingsError(
            f"{word!r}은(는) 모르는 검색 방법입니다. {_listed(PRESETS)} 가운데 하나나 키=값을 "
            "적으세요"
        )
    return PRESETS[word]


def _pair(word: str, text: str) -> tuple[str, Any]:
    key, equals, value = word.partition("=")
    if not equals or key not in RetrieverSettings.model_fields:
        raise RetrieverSettingsError(
            f"{text!r}: {key!r}은(는) 모르는 설정입니다. "
            f"{_listed(RetrieverSettings.model_fields)} 가운데에서 '키=값'으로 적으세요"
        )
    return key, value.split(",") if key == "weights" else value


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names)
