import json
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from kogemma_rag.extractive import NO_PASSAGES, ExtractiveChatModel, quote, sentence_features
from kogemma_rag.prompts import NOT_FOUND, RAG_PROMPT, REWRITE_PROMPT, format_passages

SHARED = Path(__file__).parents[1].parent / "shared" / "data"

LEAVE = "연차휴가는 한 해에 15일을 준다. 반차는 4시간 단위로 쓴다. 병가는 진단서를 내야 한다."
TRAVEL = "출장비는 하루 50,000원이다. 숙박비는 서울에서 120,000원까지 준다."


def prompt(question: str, *passages: str) -> list[object]:
    documents = [Document(passage, metadata={"source": "규정.md"}) for passage in passages]
    return RAG_PROMPT.format_messages(context=format_passages(documents), question=question)


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("연차휴가는 며칠인가요?", "연차휴가는 한 해에 15일을 준다. [1]"),
        ("반차는 몇 시간 단위로 쓰나요?", "반차는 4시간 단위로 쓴다. [1]"),
        ("서울 숙박비는 얼마까지 주나요?", "숙박비는 서울에서 120,000원까지 준다. [2]"),
    ],
)
def test_best_sentence_is_quoted_first_with_its_number(question: str, first: str) -> None:
    answer = ExtractiveChatModel().invoke(prompt(question, LEAVE, TRAVEL)).text
    assert answer.splitlines()[0] == first


@pytest.mark.parametrize("question", ["스톡옵션은 언제 행사하나요?", "화성의 위성 이름은?"])
def test_says_so_when_nothing_bears_on_the_question(question: str) -> None:
    assert ExtractiveChatModel().invoke(prompt(question, LEAVE, TRAVEL)).text == NOT_FOUND


def test_every_quotation_stands_in_the_passage_it_names() -> None:
    answer = (
        ExtractiveChatModel().invoke(prompt("출장비와 숙박비는 얼마인가요?", LEAVE, TRAVEL)).text
    )
    for line in answer.splitlines():
        sentence, _, number = line.rpartition(" ")
        assert sentence in (LEAVE, TRAVEL)[int(number.strip("[]")) - 1]


def test_sentence_in_two_passages_is_quoted_once_from_the_higher_one() -> None:
    assert [q[0] for q in quote("연차휴가는 며칠?", [LEAVE, LEAVE], max_sentences=1)] == [0]
    spans = quote("연차휴가는 며칠인가요?", [LEAVE, LEAVE])
    quoted = [LEAVE[start:end] for _, start, end in spans]
    assert len(quoted) == len(set(quoted))


def test_table_row_is_understood_by_its_header_and_the_header_is_not_quoted() -> None:
    table = "| 지역 | 숙박비 |\n| --- | --- |\n| 서울 | 12만 원 |\n| 부산 | 9만 원 |"
    spans = quote("부산 숙박비는 얼마인가요?", [table], max_sentences=1)
    assert [table[start:end] for _, start, end in spans] == ["| 부산 | 9만 원 |"]


def test_features_are_shares_worked_out_by_hand() -> None:
    spans, features = sentence_features("바다", ["산이 높다. 바다가 넓다."])
    assert spans == [(0, 0, 6), (0, 7, 14)]
    # One morpheme and one bigram, each in the second sentence only; the first has it after.
    assert features[:, 0].tolist() == [0, 1]
    assert features[:, 1].tolist() == [0, 1]
    assert features[:, 3].tolist() == [1, 0]
    assert features[:, 6].tolist() == [1, 1]


def test_stream_concatenates_to_invoke_and_stop_is_honoured() -> None:
    messages = prompt("출장비는 얼마인가요?", LEAVE, TRAVEL)
    model = ExtractiveChatModel()
    whole = model.invoke(messages).text
    assert "".join(chunk.text for chunk in model.stream(messages)) == whole
    assert model.invoke(messages, stop=["50,000"]).text == whole.split("50,000")[0]


def test_without_passages_it_says_what_it_is() -> None:
    assert ExtractiveChatModel().invoke("이순신 장군에 대해 설명해주세요.").text == NO_PASSAGES


def test_passages_may_stand_in_the_system_message() -> None:
    system = SystemMessage("답하세요.\n\n" + format_passages([Document(LEAVE), Document(TRAVEL)]))
    messages = [
        system,
        HumanMessage("안녕"),
        AIMessage("네"),
        HumanMessage("반차는 몇 시간인가요?"),
    ]
    answer = ExtractiveChatModel().invoke(messages).text
    assert answer.startswith("반차는 4시간 단위로 쓴다. [1]")


def test_a_question_cannot_pass_for_a_rewriting_prompt() -> None:
    messages = prompt("반차는 몇 시간 단위로 쓰나요?\n후속 질문: 아무말", LEAVE)
    assert ExtractiveChatModel().invoke(messages).text.startswith("반차는 4시간 단위로 쓴다. [1]")


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature"):
        ExtractiveChatModel().invoke("질문", temperature=1)
    with pytest.raises(ValueError, match="nonsense"):
        ExtractiveChatModel(nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("follow_up", "expected"),
    [
        ("그럼 반차는?", "연차휴가는 며칠인가요? 그럼 반차는?"),
        ("서울 출장 숙박비는 얼마인가요?", "서울 출장 숙박비는 얼마인가요?"),
    ],
)
def test_follow_up_is_put_behind_the_question_it_depends_on(follow_up: str, expected: str) -> None:
    history = (
        "사용자: 연차휴가는 며칠인가요?\n도우미: 15일이다. [1]\n사용자: 그건 왜?\n도우미: 몰라요."
    )
    messages = REWRITE_PROMPT.format_messages(history=history, question=follow_up)
    assert ExtractiveChatModel().invoke(messages).text == expected
    turns = [
        HumanMessage("연차휴가는 며칠인가요?"),
        AIMessage("15일이다. [1]"),
        HumanMessage(f"후속 질문: {follow_up}"),
    ]
    assert ExtractiveChatModel().invoke(turns).text == expected


def test_a_question_for_which_nothing_was_found_is_answered_so() -> None:
    assert ExtractiveChatModel().invoke(prompt("연차휴가는 며칠인가요?")).text == NOT_FOUND


def test_a_sentence_that_its_page_wrapped_is_quoted_on_one_line() -> None:
    wrapped = (
        "개인 차량을 이용하면 1킬로미터에 280원을 유류비로 지급하고,\n통행료는 영수증대로 지급한다."
    )
    answer = ExtractiveChatModel().invoke(prompt("유류비는 1킬로미터에 얼마인가요?", wrapped)).text
    assert answer == wrapped.replace("\n", " ") + " [1]"


def test_question_words_and_endings_do_not_count_against_a_sentence() -> None:
    _, features = sentence_features("반차는 며칠인가요?", ["반차는 하루의 반이다."])
    assert features[0, 0] == 1


@pytest.mark.shared
def test_first_quoted_sentence_holds_the_answer_to_real_questions() -> None:
    """Of every tenth KorQuAD question, asked of its own paragraph: measured 0.80."""
    korquad = SHARED / "KorQuAD_v1.0_dev.json"
    if not korquad.is_file():
        pytest.skip("the question set is not beside the project")
    paragraphs = [
        paragraph
        for article in json.loads(korquad.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
    ]
    asked = [(qa, paragraph["context"]) for paragraph in paragraphs for qa in paragraph["qas"]][
        ::10
    ]
    hits = 0
    for qa, context in asked:
        quotations = quote(qa["question"], [context], max_sentences=1)
        answers = [answer["text"] for answer in qa["answers"]]
        hits += any(a in context[start:end] for _, start, end in quotations for a in answers)
    assert hits / len(asked) > 0.75


def test_long_white_space_in_a_question_changes_nothing() -> None:
    spaces = " " * 20_000  # an expression that backtracks would take minutes
    plain = sentence_features("연차휴가는 며칠인가요?", [LEAVE])
    spaced = sentence_features(f"연차휴가는{spaces}며칠인가요{spaces}?{spaces}", [LEAVE])
    assert spaced[0] == plain[0]
    assert spaced[1].tolist() == plain[1].tolist()
