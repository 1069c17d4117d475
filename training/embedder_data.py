"""The training and measuring texts of the embedder, read from the data folder as plain strings.

Knows the files' formats and nothing about tokens or training. KorQuAD and KoBEST are for
measuring only: no function here gives a training text from them.
"""

import csv
import hashlib
import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TRAINING_FILES = (
    "train/kowiki_paragraphs.tsv.xz",
    "train/tydiqa_ko_train.json",
    "train/tydiqa_en_train.json",
    "train/korsts_train.tsv",
    "train/klue_nli_dev.json",
    "train/paraKQC_v1.txt",
    "train/songys_qpair_train.csv",
)
MEASURING_FILES = ("KorQuAD_v1.0_dev.json", "train/klue_sts_dev.json")

# About 540 questions: a recall measured on them is good to about two points.
HELD_OUT_PASSAGES = 400
# KorSTS scores run from 0 to 5; from 4 on, two sentences mean "mostly the same".
PARAPHRASE_SCORE = 4.0

_MARKUP = re.compile(r"</?\w+>|\[\d+\](?::\d+)?")


@dataclass(frozen=True)
class WikiParagraph:
    """One paragraph of Korean Wikipedia with the article and the section that it stands in."""

    title: str
    section: str
    text: str


@dataclass(frozen=True)
class QuestionSet:
    """Questions, passages, and for each question the index of the passage that answers it."""

    questions: list[str]
    passages: list[str]
    answers: list[int]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_wiki(data: Path) -> list[WikiParagraph]:
    """All paragraphs, in the file's order, in which an article's paragraphs are neighbours."""
    with lzma.open(data / "train/kowiki_paragraphs.tsv.xz", "rt", encoding="utf-8") as lines:
        return [WikiParagraph(*line.rstrip("\n").split("\t")) for line in lines]


def read_tydi(data: Path, language: str) -> QuestionSet:
    """TyDi QA gold passages (`ko` or `en`), without leftover markup, equal ones merged."""
    raw = _read_squad(data / f"train/tydiqa_{language}_train.json")
    texts = [_MARKUP.sub("", passage) for passage in raw.passages]
    index = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return QuestionSet(raw.questions, list(index), [index[texts[a]] for a in raw.answers])


def read_korquad(data: Path) -> QuestionSet:
    """KorQuAD dev, each of its 964 paragraphs one passage; for measuring only."""
    return _read_squad(data / "KorQuAD_v1.0_dev.json")


def split_tydi(tydi: QuestionSet, *, seed: int) -> tuple[QuestionSet, QuestionSet]:
    """Split into training questions and held-out ones; both keep all passages.

    A passage with several questions has them all on one side.
    """
    passages = np.random.default_rng(seed).permutation(len(tydi.passages))
    held_out = set(passages[:HELD_OUT_PASSAGES].tolist())
    sides: tuple[list[int], list[int]] = ([], [])
    for question, answer in enumerate(tydi.answers):
        sides[answer in held_out].append(question)
    training, held = (
        QuestionSet(
            [tydi.questions[i] for i in side], tydi.passages, [tydi.answers[i] for i in side]
        )
        for side in sides
    )
    return training, held


def read_klue_sts(data: Path) -> list[tuple[str, str, float]]:
    """KLUE-STS dev pairs with their similarity (0 to 5), for measuring only."""
    rows = json.loads((data / "train/klue_sts_dev.json").read_text(encoding="utf-8"))
    return [(r["sentence1"], r["sentence2"], float(r["labels"]["real-label"])) for r in rows]


def read_paraphrase_groups(data: Path) -> list[list[str]]:
    """Groups of at least two sentences that mean the same."""
    return [*_korsts(data), *_klue_nli(data), *_songys(data), *_parakqc(data)]


def _read_squad(path: Path) -> QuestionSet:
    questions, passages, answers = [], [], []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                questions.append(question["question"])
                answers.append(len(passages))
            passages.append(paragraph["context"])
    return QuestionSet(questions, passages, answers)


def _korsts(data: Path) -> Iterator[list[str]]:
    with (data / "train/korsts_train.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if float(row["score"]) >= PARAPHRASE_SCORE and row["sentence1"] != row["sentence2"]:
                yield [row["sentence1"], row["sentence2"]]


def _klue_nli(data: Path) -> Iterator[list[str]]:
    for row in json.loads((data / "train/klue_nli_dev.json").read_text(encoding="utf-8")):
        if row["gold_label"] == "entailment":
            yield [row["premise"], row["hypothesis"]]


def _songys(data: Path) -> Iterator[list[str]]:
    with (data / "train/songys_qpair_train.csv").open(encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines):
            if row["is_duplicate"] == "1" and row["question1"] != row["question2"]:
                yield [row["question1"], row["question2"]]


def _parakqc(data: Path) -> Iterator[list[str]]:
    """Lines of (topic, intention, sentence): ten neighbours in turn are one group."""
    groups: dict[int, list[str]] = {}
    with (data / "train/paraKQC_v1.txt").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            groups.setdefault(number // 10, []).append(line.rstrip("\n").split("\t")[2])
    yield from groups.values()
