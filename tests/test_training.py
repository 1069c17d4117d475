"""What the embedder's figures rest on: the split, the pairs and the measures."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from embedder_batches import Batches, Mixture
from embedder_data import HELD_OUT_PASSAGES, QuestionSet, WikiParagraph, split_tydi
from embedder_evaluation import retrieval
from embedder_tokenizer import train_tokenizer

SENTENCES = [
    [f"{name}은 {place}에서 태어났다.", f"그 사람은 {work}을 남겼다.", f"{year}년에 죽었다."]
    for name, place, work, year in [
        ("세종", "한성", "훈민정음", "1450"),
        ("정약용", "광주", "목민심서", "1836"),
        ("허난설헌", "강릉", "시문집", "1589"),
        ("장영실", "동래", "자격루", "1442"),
    ]
]
WIKI = [WikiParagraph(f"사람 {i // 2}", "생애", " ".join(s)) for i, s in enumerate(SENTENCES)]


def test_held_out_passages_have_no_training_question() -> None:
    answers = [i % 900 for i in range(1800)]
    tydi = QuestionSet([f"질문 {i}" for i in range(1800)], [f"글 {i}" for i in range(900)], answers)
    training, held_out = split_tydi(tydi, seed=0)
    assert set(training.answers).isdisjoint(held_out.answers)
    assert len(set(held_out.answers)) == HELD_OUT_PASSAGES
    assert sorted(training.questions + held_out.questions) == sorted(tydi.questions)
    question = held_out.questions.index(next(iter(held_out.questions)))
    assert held_out.answers[question] == int(held_out.questions[question].split()[1]) % 900


def test_retrieval_figures_of_a_worked_example() -> None:
    vectors = {
        "a": [1, 0], "b": [0, 1], "c": [0.6, 0.8], "away": [-1, 0],
        "first": [1, 0], "second": [0.9, 0.1], "tied": [0, -1],
    }  # fmt: skip
    data = QuestionSet(["first", "second", "tied"], ["a", "b", "c"], [0, 2, 0])

    def encode(texts: list[str]) -> np.ndarray:
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    # Ranks 1, 2 and 2: "tied" scores 0 with "a" and with "away", and a tie counts against it.
    figures = retrieval(encode, data, ["away"])
    expected = {"recall@1": 1 / 3, "recall@10": 1, "MRR@10": (1 + 1 / 2 + 1 / 2) / 3}
    assert figures == pytest.approx(expected)


def batches(**shares: float) -> Batches:
    texts = [text for paragraph in SENTENCES for text in paragraph]
    tokenizer = train_tokenizer(texts * 30, 400)
    mixture = Mixture(wiki=4, questions=0, paraphrases=0, **shares)
    return Batches(tokenizer, WIKI, [], [], mixture=mixture, seed=0)


PLAIN = {
    "heading_query": 0.0,
    "title_in_query": 0.0,
    "ending": 0.0,
    "two_paragraphs": 0.0,
    "title_in_passage": 0.0,
}


def test_the_query_stays_in_its_passage_or_leaves_it() -> None:
    for removed in (0.0, 1.0):
        for _, batch in zip(range(20), batches(**PLAIN, sentence_removed=removed), strict=False):
            for query, passage in batch:
                assert set(query.tolist()) <= set(passage.tolist()) or removed
                assert len(passage) > 0
    whole = batches(**PLAIN, sentence_removed=0.0)._wiki.ids
    kept = next(iter(batches(**PLAIN, sentence_removed=0.0)))
    cut = next(iter(batches(**PLAIN, sentence_removed=1.0)))
    assert sum(len(passage) for _, passage in kept) == len(whole)
    assert sum(len(passage) for _, passage in cut) < len(whole)


def test_batches_repeat_with_their_seed() -> None:
    first, second = (next(iter(batches())) for _ in range(2))
    for (query, passage), (same_query, same_passage) in zip(first, second, strict=True):
        np.testing.assert_array_equal(query, same_query)
        np.testing.assert_array_equal(passage, same_passage)


def test_passage_frequencies_count_a_token_once_a_paragraph() -> None:
    made = batches()
    *counts, total = made.passage_frequencies(400)
    wiki = made._wiki
    assert total == len(WIKI)
    full_stop = wiki.ids[wiki.sentences[1] - 1]
    assert counts[full_stop] == len(WIKI)


def test_tokenizer_has_no_word_start_mark_and_falls_back_to_bytes() -> None:
    tokenizer = train_tokenizer(["서울 남서울 서울역 SEOUL 1945년"] * 30, 300)
    assert tokenizer.get_vocab_size() <= 300
    assert tokenizer.encode("Seoul").tokens == tokenizer.encode("seoul").tokens
    assert tokenizer.encode("뷁").tokens == ["<0xEB>", "<0xB7>", "<0x81>"]
    assert tokenizer.encode("서울").ids == tokenizer.encode("서울 ").ids
    assert tokenizer.encode(" \n").ids == []
