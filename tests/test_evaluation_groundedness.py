"""What of an answer stands in its passages, counted by hand."""

from unicodedata import normalize

import pytest
from langchain_core.documents import Document

from kogemma_rag.evaluation.groundedness import Kind, UngroundedSentence, groundedness, things_of


@pytest.mark.parametrize(
    ("text", "kind", "things"),
    [
        ("2024년 5월 3일에 열었다", "dates", {"2024-05-03"}),
        ("2024-05-03", "dates", {"2024-05-03"}),
        ("2024.5.3에", "dates", {"2024-05-03"}),
        ("2024. 5. 3.", "dates", {"2024-05-03"}),
        ("2024/05/03", "dates", {"2024-05-03"}),
        (normalize("NFD", "2024년 5월과 6월 7일"), "dates", {"2024-05", "06-07"}),
        ("2024-05/03", "dates", set()),  # two kinds of marks are no date
        ("2024년 5월 3일", "numbers", set()),
        ("1,000명과 1000개", "numbers", {"1000"}),
        ("3.50과 3.5", "numbers", {"3.5"}),
        ("3%, 4 퍼센트, 5％", "numbers", {"3%", "4%", "5%"}),
        ("12만 원", "numbers", {"120000"}),
        ("3만 5천 원", "numbers", {"35000"}),
        ("1억 2,000만", "numbers", {"120000000"}),
        ("1.5조", "numbers", {"1500000000000"}),
        ("3 4", "numbers", {"3", "4"}),
        ("007", "numbers", {"7"}),
        ("GPU와 gpu, Café", "latin", {"gpu", "café"}),
        ("서울은 서울의 GPU 3개", "morphemes", {"서울", "개"}),
    ],
)
def test_things_have_one_form(text: str, kind: Kind, things: set[str]) -> None:
    assert things_of(text)[kind] == things


PASSAGES = [
    Document("숙박비는 서울에서 하루 120,000원이다. 2024년 5월 3일부터 준다."),
    Document("이용률은 3%이고 LAN을 쓴다."),
]


def test_particles_spacing_and_forms_do_not_matter() -> None:
    reply = normalize("NFD", "서울의 숙박비가 12만 원입니다. [1] 이용률 3 퍼센트, 3 [2]")
    found = groundedness(reply, PASSAGES)
    # 서울, 숙박, 비, 원; then 이용률.
    assert dict(found.total) == {"dates": 0, "numbers": 3, "latin": 0, "morphemes": 5}
    assert dict(found.found) == dict(found.total)
    assert found.shares() == {"numbers": 1.0, "morphemes": 1.0, "all": 1.0}
    assert found.ungrounded == ()


def test_sentence_rests_on_its_own_marks() -> None:
    found = groundedness("LAN은 3%이다 [1]. LAN은 3%이다 [2].", PASSAGES)
    assert dict(found.total) == {"dates": 0, "numbers": 2, "latin": 2, "morphemes": 0}
    assert found.ungrounded == (UngroundedSentence("LAN은 3%이다", ("3%",)),)
    assert found.shares() == {"numbers": 0.5, "latin": 0.5, "all": 0.5}


def test_parts_of_a_date_rest_on_the_whole_and_not_the_other_way() -> None:
    assert groundedness("5월 3일부터 [1]", PASSAGES).ungrounded == ()
    assert groundedness("2024년 5월 [1]", PASSAGES).ungrounded == ()
    assert groundedness("2024년 [1]", PASSAGES).ungrounded == ()
    passage = [Document("5월 3일부터 준다.")]
    assert groundedness("2024.5.3부터 준다. [1]", passage).ungrounded == (
        UngroundedSentence("2024.5.3부터 준다.", ("2024-05-03",)),
    )


def test_what_has_no_mark_rests_on_all_that_is_cited_else_on_all() -> None:
    missing = UngroundedSentence("이용률은 3%이다.", ("3%",))
    assert groundedness("12만 원이다. [1] 이용률은 3%이다.", PASSAGES).ungrounded == (missing,)
    assert groundedness("이용률은 3%이다. 12만 원이다.", PASSAGES).ungrounded == ()


def test_each_missing_number_is_named_once_by_sentence() -> None:
    found = groundedness("9명이 9명과 10명이다. 5%다. [2]", PASSAGES)
    assert found.ungrounded == (
        UngroundedSentence("9명이 9명과 10명이다.", ("10", "9")),
        UngroundedSentence("5%다.", ("5%",)),
    )
    assert (found.found["numbers"], found.total["numbers"]) == (0, 3)


def test_nothing_said_has_no_share() -> None:
    assert groundedness("", PASSAGES).shares() == {}
    assert groundedness("3 [1]", []).shares() == {"numbers": 0.0, "all": 0.0}


def test_hostile_row_of_digits_takes_no_long_time() -> None:
    assert len(things_of("1" * 5_000)["numbers"]) < 10
