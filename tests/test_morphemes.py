import random
from itertools import pairwise

import pytest

from kogemma_rag.morphemes import character_bigrams, content_morphemes, sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def test_content_morphemes_drop_particles_endings_and_marks() -> None:
    assert content_morphemes("서울은 한국의 수도이다.") == ["서울", "한국", "수도"]
    assert content_morphemes("서울의") == content_morphemes("서울은") == ["서울"]


def test_content_morphemes_take_compounds_apart_and_find_stems() -> None:
    assert content_morphemes("재택근무") == ["재택", "근무"]
    assert "아름답" in content_morphemes("아름다운 산")


def test_content_morphemes_keep_numbers_latin_and_unknown_syllables() -> None:
    assert content_morphemes("COVID-19 뷁쀍") == ["covid", "19", "뷁", "쀍"]


@pytest.mark.parametrize("text", ["", "   ", "…!?"])
def test_text_without_content_has_no_morphemes(text: str) -> None:
    assert content_morphemes(text) == []


def test_nul_and_lone_surrogates_hide_nothing() -> None:
    assert content_morphemes("서울\x00 연차 \ud800휴가") == ["서울", "연차", "휴가"]


def test_character_bigrams_run_over_white_space_and_marks() -> None:
    assert character_bigrams("서울 시, A!") == ["서울", "울시", "시a"]
    assert character_bigrams("가") == []


def test_sentences_end_at_marks_followed_by_space() -> None:
    assert sentences("연차는 15일이다. 끝입니까? 네…  그래요!") == [
        "연차는 15일이다.",
        "끝입니까?",
        "네…",
        "그래요!",
    ]


def test_numbers_list_marks_and_initials_end_no_sentence() -> None:
    assert sentences("1. 요율은 3.5%이다. 가. J. K. 롤링이 썼다.") == [
        "1. 요율은 3.5%이다.",
        "가. J. K. 롤링이 썼다.",
    ]


def test_a_quotation_stays_in_its_sentence() -> None:
    assert sentences('그는 "갔다."라고 말했다. 끝.') == ['그는 "갔다."라고 말했다.', "끝."]


def test_a_sentence_that_runs_into_the_next_is_cut() -> None:
    assert sentences("비가 왔다.그는 갔다.") == ["비가 왔다.", "그는 갔다."]


def test_table_rows_lists_and_headings_stand_alone() -> None:
    text = "# 휴가\n제1조 목적\n| 구분 | 일수 |\n| --- | --- |\n| 연차 | 15 |\n- 하나\n- 둘"
    assert sentences(text) == text.split("\n")


def test_a_line_wrapped_by_its_layout_is_not_cut() -> None:
    wrapped = "이 문장은 길어서 지면의 너비에 맞추어 줄이 바뀌어\n있으므로 한 문장이다."
    assert sentences(wrapped + " 다음 문장.") == [wrapped, "다음 문장."]


def test_spans_leave_out_nothing_but_white_space() -> None:
    alphabet = '가나다. !?\n\t|#-1)"”(다요.음A…　'
    generator = random.Random(0)
    for _ in range(500):
        text = "".join(generator.choices(alphabet, k=generator.randrange(80)))
        spans = sentence_spans(text)
        pieces = [text[start:end] for start, end in spans]
        assert "".join("".join(pieces).split()) == "".join(text.split())
        assert all(piece and piece == piece.strip() for piece in pieces)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_sentences_that_nobody_marked_end_at_their_endings() -> None:
    said = [
        "어제는 회의실에서 새 규정을 두고 오래 이야기했습니다",
        "연차휴가는 열다섯 날이고 다음 해로 넘길 수 있어요",
        "그런데 출장비를 정산하려면 영수증이 있어야 한다고 총무과에서 분명히 말했다",
        "재택근무는 한 주에 이틀까지 할 수 있다",
        "신청은 전날 오후 여섯 시까지 해야 하는데 그 뒤에 팀장이 승인해야 한다",
        "이 규정은 다음 달부터 서울과 부산의 모든 부서에 적용된다",
        "물어볼 것이 있으면 인사과에 전화를 걸거나 메일을 보내면 된다",
    ]
    text = " ".join(said)
    assert len(text) > 200
    assert sentences(f"# 제목\n{text}\n끝.") == ["# 제목", *said, "끝."]
    assert sentences("비가 온다 바람이 분다") == ["비가 온다 바람이 분다"]  # short, so one
