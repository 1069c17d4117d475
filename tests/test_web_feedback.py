"""Feedback is kept, and comes out as a question set that our evaluation reads."""

import json
from pathlib import Path
from unicodedata import normalize

import pytest

from kogemma_rag.evaluation.question_sets import Answer, read_question_set
from kogemma_rag.web.feedback import FeedbackStore, Passage

LEAVE = Passage("휴가규정.hwp", "연차휴가는 15일이다. 병가는 60일이다.", "병가는 60일이다.")
UNCITED = Passage(LEAVE.title, LEAVE.text)
OTHER = Passage("출장.pdf", '경비는 "실비"로\n\\준다</script>.')


@pytest.fixture
def store(tmp_path: Path):
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    yield store
    store.close()


def exported(store: FeedbackStore, tmp_path: Path):
    (tmp_path / "set.json").write_text(store.question_set(), encoding="utf-8")
    return read_question_set(tmp_path / "set.json")


def test_good_answers_are_questions_with_what_they_cite(store, tmp_path: Path) -> None:
    store.add("병가는 며칠?", "60일입니다 [1].", "up", passages=[LEAVE, OTHER])
    store.add("경비는?", "실비로 줍니다.", "up", passages=[OTHER, UNCITED])
    found = exported(store, tmp_path)
    first, second = found.questions
    texts = {document.id: document.page_content for document in found.documents}
    titles = {document.page_content: document.metadata["title"] for document in found.documents}
    assert titles == {LEAVE.text: "휴가규정.hwp", OTHER.text: "출장.pdf"}
    assert (first.id, first.text) == ("feedback-1", "병가는 며칠?")
    assert [texts[id_] for id_ in first.relevant] == [LEAVE.text]
    assert first.answers == (Answer("병가는 60일이다.", 13),)
    # Nothing is cited: all that the model saw may have been of use.
    assert {texts[id_] for id_ in second.relevant} == {LEAVE.text, OTHER.text}
    assert second.answers == (Answer("실비로 줍니다."),)


def test_bad_answers_and_good_refusals(store, tmp_path: Path) -> None:
    store.add("병가는 며칠?", "3일입니다 [1].", "down", note="60일이 맞음", passages=[LEAVE])
    store.add("주식은 얼마?", "문서에 없습니다.", "up")
    assert json.loads(store.question_set()) == {"version": "kogemma-rag", "data": []}
    store.add("병가는 며칠?", "60일입니다 [1].", "up", passages=[LEAVE])
    refusal, answer = exported(store, tmp_path).questions
    assert (refusal.text, refusal.relevant, refusal.answers) == ("주식은 얼마?", {}, ())
    assert answer.id == "feedback-3"
    [bad, *_] = store.all()
    assert (bad.rating, bad.note, bad.answer) == ("down", "60일이 맞음", "3일입니다 [1].")


def test_what_clients_send_is_checked(store, tmp_path: Path) -> None:
    decomposed = Passage(
        normalize("NFD", "가.txt"), normalize("NFD", LEAVE.text), "병가는 60일이다."
    )
    lying = Passage("x", "다른 글이다.", "여기 없는 문장")
    store.add(normalize("NFD", "병가는 며칠?"), "60일", "up", passages=[decomposed, LEAVE])
    store.add(" ", "?", "up", passages=[LEAVE])
    store.add("다른 것?", "모름", "up", passages=[lying, Passage("빈", " ")])
    found = exported(store, tmp_path)
    assert [document.page_content for document in found.documents] == [LEAVE.text, "다른 글이다."]
    first, second = found.questions
    assert first.text == "병가는 며칠?"
    assert set(first.answers) == {Answer("병가는 60일이다.", 13)}
    assert second.answers == (Answer("모름"),)


def test_feedback_survives_a_restart(tmp_path: Path) -> None:
    for number in range(2):
        store = FeedbackStore(tmp_path / "feedback.sqlite")
        store.add(f"질문 {number}", "답", "up", passages=[LEAVE])
        store.close()
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    assert [one.question for one in store.all()] == ["질문 0", "질문 1"]
    store.close()
