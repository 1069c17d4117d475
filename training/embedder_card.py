"""The model card of the embedded model: what it is, its figures, its data and their licences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedder_data import MEASURING_FILES, TRAINING_FILES, sha256

_SOURCES = {
    "train/kowiki_paragraphs.tsv.xz": (
        "Korean Wikipedia paragraphs (97danielj/WordEmbedding)",
        "CC BY-SA 3.0/4.0",
    ),
    "train/tydiqa_ko_train.json": ("TyDi QA gold passage, Korean", "Apache-2.0, CC BY-SA 3.0 text"),
    "train/tydiqa_en_train.json": (
        "TyDi QA gold passage, English",
        "Apache-2.0, CC BY-SA 3.0 text",
    ),
    "train/korsts_train.tsv": ("KorSTS (kakaobrain/kor-nlu-datasets)", "CC BY-SA 4.0"),
    "train/klue_nli_dev.json": ("KLUE-NLI (KLUE-benchmark/KLUE)", "CC BY-SA 4.0"),
    "train/paraKQC_v1.txt": ("paraKQC (warnikchow/paraKQC)", "CC BY-SA 4.0"),
    "train/songys_qpair_train.csv": ("Question pairs (songys/Question_pair)", "MIT"),
    "train/klue_sts_dev.json": ("KLUE-STS (KLUE-benchmark/KLUE)", "CC BY-SA 4.0"),
    "KorQuAD_v1.0_dev.json": ("KorQuAD 1.0 dev (korquad/korquad.github.io)", "CC BY-ND 2.0 KR"),
}

_CARD = """\
---
language: [ko, en]
license: cc-by-sa-4.0
library_name: model2vec
tags: [static-embeddings, sentence-similarity]
---

# The embedded model of kogemma-rag

A static embedding model for Korean, with some English: one {dimension}-dimensional int8 vector for
each of {vocabulary:,} sub-words; a text's vector is the mean of its sub-words' vectors, brought to
unit length. It needs no torch, no GPU and no download, and reads a text to its end. It is there so
that search works everywhere; a transformer from the presets of `MultilingualEmbeddings` ranks
better.

```python
from model2vec import StaticModel

model = StaticModel.from_pretrained("kogemma_rag/models/embedded")
model.encode(["휴가는 며칠 전에 신청해야 하나요?"])
```

It knows no word order: "A가 B를 이겼다" and "B가 A를 이겼다" are the same to it. Negation and
numbers count as any other word. A Korean question does not find an English text: both languages
work, each by itself.

## Figures

Of the shipped int8 file, vectors alone, no lexical search. TyDi: questions and passages kept out
of training, the passages among 6,676 paragraphs of Wikipedia. KorQuAD dev: 964 paragraphs, 5,774
questions. No text of the measuring sets was trained on, but their figures were seen while the
settings were chosen, so they flatter a little.

| data | measure | value |
|---|---|---|
{figures}

## Training

`training/train_embedder.py`: sentence-transformers' `StaticEmbedding` and
`MultipleNegativesRankingLoss` on a CPU, {minutes:.0f} minutes. Settings: {settings}.
Packages: {packages}.

| trained on | licence | SHA-256 |
|---|---|---|
{training}

| measured on, not trained on | licence | SHA-256 |
|---|---|---|
{measuring}

The weights hold no text of the data. They are given under CC BY-SA 4.0, the licence of most of it,
which is the cautious reading; name Wikipedia's authors and the sets above as their sources.
"""


def write_card(
    out: Path,
    *,
    data: Path,
    settings: Mapping[str, Any],
    packages: Mapping[str, str],
    figures: Mapping[str, Mapping[str, float]],
    seconds: float,
) -> None:
    """Write `README.md` into the model's folder."""
    card = _CARD.format(
        dimension=settings["dimension"],
        vocabulary=settings["vocabulary"],
        figures="\n".join(
            f"| {name} | {measure} | {value:.3f} |"
            for name, values in figures.items()
            for measure, value in values.items()
        ),
        minutes=seconds / 60,
        settings=", ".join(f"{key} {value}" for key, value in settings.items()),
        packages=", ".join(f"{name} {number}" for name, number in packages.items()),
        training=_rows(data, TRAINING_FILES),
        measuring=_rows(data, MEASURING_FILES),
    )
    (out / "README.md").write_text(card, encoding="utf-8")


def _rows(data: Path, names: tuple[str, ...]) -> str:
    return "\n".join(
        f"| {' | '.join(_SOURCES[name])} | `{sha256(data / name)}` |" for name in names
    )
