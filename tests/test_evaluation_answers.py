"""Scores of answers worked by hand, and whole runs with models that are scripts."""

from unicodedata import normalize

import pytest
from langchain_core.documents import Document

from kogemma_rag.citations import Citation
from kogemma_rag.evaluation.answer_metrics import (
    answer_scores,
    character_f1,
    citation_scores,
    exact_match,
    is_refusal,
    normalized,
    quote_scores,
    without_marks,
)
from kogemma_rag.evaluation.question_sets import Answer, Question
from kogemma_rag.prompts import NOT_FOUND


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("《훈민정음》은 '1443년'에", "훈민정음 은 1443년 에"),
        ("Seoul, KOREA.", "seoul korea"),  # other punctuation vanishes without a space
        ("1,000원(약)", "1000원 약"),
        ("  가\t나\n다  ", "가 나 다"),
        ("“가” 「나」", "“가” 「나」"),  # not among the marks of the official script
    ],
)
def test_normalized_as_korquad_does(text: str, expected: str) -> None:
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("prediction", "answer", "match", "f1"),
    [
        ("<서울>", "서울", 1.0, 1.0),
        # 3 of the 5 characters of the reply are the 3 of the answer: precision 3/5, recall 1.
        ("1989년", "198", 0.0, 3 / 4),
        # Repeats count: 가 twice of three.
        ("가가가", "가가나", 0.0, 2 / 3),
        ("서 울", "서울", 0.0, 1.0),  # white space breaks the match, not F1
        ("부산", "서울", 0.0, 0.0),
        ("", "서울", 0.0, 0.0),
        ("...", "!", 1.0, 0.0),  # both normalize to nothing
    ],
)
def test_korquad_scores_worked_by_hand(
    prediction: str, answer: str, match: float, f1: float
) -> None:
    assert exact_match(prediction, answer) == match
    assert character_f1(prediction, answer) == pytest.approx(f1)


def test_official_variant_takes_the_reply_as_written_and_ours_in_nfc() -> None:
    scores = answer_scores(normalize("NFD", "서울") + " [1]", ["부산", "서울"])
    assert scores == {
        "exact_match": 1.0,
        "f1": 1.0,
        "exact_match_official": 0.0,
        "f1_official": 0.0,
        "containment": 1.0,
        "containment_spaceless": 1.0,
    }


def test_containment_as_it_is_and_without_white_space() -> None:
    scores = answer_scores("문을 연 것은 2024년5월이다. [1, 2][3]", ["2024년 5월"])
    assert (scores["containment"], scores["containment_spaceless"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("가다. [1]\n나다. [2]", "가다.\n나다."),
        ("가다[1, 2].", "가다."),
        ("가다 [1][2]", "가다"),
        ("[가] 나", "[가] 나"),
    ],
)
def test_marks_are_taken_out(reply: str, text: str) -> None:
    assert without_marks(reply) == text


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (NOT_FOUND, True),
        (f'"{NOT_FOUND}" [1]', True),
        (normalize("NFD", NOT_FOUND), True),
        (f"{NOT_FOUND} 다만 3일로 보입니다.", False),
        ("", False),
    ],
)
def test_refusal_is_the_sentence_alone(reply: str, refusal: bool) -> None:
    assert is_refusal(reply) is refusal


PASSAGES = [
    Document("서울은 크다. 인구는 900만 명이다.", id="a"),
    Document("부산의 인구는 900만 명이 아니다.", id="b"),
    Document("대구는 덥다.", id="c"),
]
QUESTION = Question("q", "서울의 인구는?", {"a": 1}, (Answer("900만 명", 12),))


def cite(number: int, start: int, end: int) -> Citation:
    passage = PASSAGES[number - 1]
    return Citation(number, passage.id, passage.page_content[start:end], start, end, {})


def test_quotes_hold_the_answer_anywhere_or_at_its_place() -> None:
    elsewhere, before, at_place = cite(2, 0, 18), cite(1, 0, 7), cite(1, 8, 20)
    scores = quote_scores([elsewhere, before, at_place], PASSAGES, QUESTION)
    assert scores == {"quote@1": 1.0, "quote@3": 1.0, "place@1": 0.0, "place@3": 1.0}
    scores = quote_scores([before], PASSAGES, QUESTION)
    assert scores == {"quote@1": 0.0, "quote@3": 0.0, "place@1": 0.0, "place@3": 0.0}


def test_place_in_a_chunk_counts_from_where_the_chunk_begins() -> None:
    chunk = Document(
        "인구는 900만 명이다.", id="chunk", metadata={"document_id": "a", "start_index": 8}
    )
    quote = Citation(1, "chunk", chunk.page_content, 0, 12, {})
    assert quote_scores([quote], [chunk], QUESTION)["place@1"] == 1.0
    moved = Document(chunk.page_content, metadata={"document_id": "a", "start_index": 13})
    assert quote_scores([quote], [moved], QUESTION)["place@1"] == 0.0


def test_no_place_where_the_data_tells_none() -> None:
    question = Question("q", "서울의 인구는?", {"a": 1}, (Answer("900만 명"),))
    assert quote_scores([cite(1, 8, 20)], PASSAGES, question) == {"quote@1": 1.0, "quote@3": 1.0}


def test_citations_count_each_passage_once() -> None:
    scores = citation_scores([cite(1, 0, 7), cite(1, 8, 20), cite(3, 0, 7)], PASSAGES, QUESTION)
    assert scores == {
        "citation_recall": 1.0,
        "citation_precision": 0.5,
        "citation_relevance": 0.5,
    }
    # b holds the text too, but is not relevant.
    scores = citation_scores([cite(2, 0, 18)], PASSAGES, QUESTION)
    assert (scores["citation_precision"], scores["citation_relevance"]) == (1.0, 0.0)
    assert citation_scores([], PASSAGES, QUESTION) == {"citation_recall": 0.0}
