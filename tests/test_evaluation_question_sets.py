"""Files of questions: what is read of each form, and what each mistake is answered with."""

import hashlib
import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from langchain_core.documents import Document

from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.question_sets import (
    Answer,
    Question,
    QuestionSet,
    read_question_set,
    write_question_set,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
DOG = "진돗개는 진도에서 자란 개이다."


def qa(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "question": f"질문 {id_}?", "answers": [], **fields}


def squad(*paragraphs: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    parts = [{"context": context, "qas": qas} for context, qas in paragraphs]
    return {"version": "1", "data": [{"title": "개", "paragraphs": parts}]}


def written(folder: Path, value: Any) -> Path:
    path = folder / "set.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_squad_is_read(tmp_path: Path) -> None:
    answered = qa("a", answers=[{"text": "진도", "answer_start": 5}, {"text": "섬"}])
    impossible = qa("b", is_impossible=True, plausible_answers=[{"text": "개", "answer_start": 2}])
    path = written(tmp_path, squad((DOG, [answered, impossible]), ("둘째", []), (DOG, [qa("c")])))
    found = read_question_set(path)
    assert found == QuestionSet(
        "set.json",
        (
            Document(DOG, id="0", metadata={"title": "개"}),
            Document("둘째", id="1", metadata={"title": "개"}),
        ),
        (
            Question("a", "질문 a?", {"0": 1}, (Answer("진도", 5), Answer("섬"))),
            Question("b", "질문 b?", {}),
            Question("c", "질문 c?", {"0": 1}),
        ),
        hashlib.sha256(hashlib.sha256(path.read_bytes()).digest()).hexdigest(),
    )


@pytest.mark.parametrize("answer_form", ["NFC", "NFD"])
def test_offsets_of_decomposed_text_are_those_of_the_composed(
    tmp_path: Path, answer_form: str
) -> None:
    decomposed = normalize("NFD", DOG)
    start = decomposed.index(normalize("NFD", "진도에서"))
    assert start == 12
    answer = {"text": normalize(answer_form, "진도"), "answer_start": start}
    found = read_question_set(written(tmp_path, squad((decomposed, [qa("a", answers=[answer])]))))
    assert found.documents[0].page_content == DOG
    assert found.questions[0].answers == (Answer("진도", 5),)


def test_written_set_is_read_back_alike(tmp_path: Path) -> None:
    documents = (
        Document(DOG, id="진돗개", metadata={"title": "개"}),
        Document("고양이는 \u200b집에 산다.\n", id="7"),
        Document("아무도 묻지 않는다.", id="8"),
    )
    questions = (
        Question("1", "어디서 자랐나?", {"진돗개": 1}, (Answer("진도", 5), Answer("진도에서", 5))),
        Question("2", "답이 있나?", {}),
        Question("3", "어디에 사나?", {"7": 2, "진돗개": 1}, (Answer("집"),)),
    )
    path = tmp_path / "made.json"
    write_question_set(QuestionSet("made.json", documents, questions, "-"), path)
    found = read_question_set(path)
    assert (found.documents, found.questions) == (documents, questions)
    with pytest.raises(FileExistsError, match=r"made\.json: 이미 있는"):
        write_question_set(found, path)
    assert read_question_set(path) == found


def test_own_paragraph_stands_before_others_that_answer(tmp_path: Path) -> None:
    """The offsets of answers are of that one."""
    asked = qa("a", relevant={"0": 3, "1": 2})
    found = read_question_set(written(tmp_path, squad((DOG, []), ("둘째", [asked]))))
    assert list(found.questions[0].relevant.items()) == [("1", 2), ("0", 3)]


def broken(**answer: Any) -> dict[str, Any]:
    return squad((DOG, [qa("a"), qa("b", answers=[answer])]))


PLACE = "data[0].paragraphs[0]"


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("  \n", ["빈 파일"]),
        ('{"data": [\n{"title": "개",,}]}', ["2번째 줄", "JSON 형식이 아닙니다"]),
        ("[" * 200_000, ["너무 깊이"]),
        ('{"data": ' + "9" * 5000 + "}", ["읽을 수 없는 JSON"]),
        ({"version": "1"}, ["data: 이 항목이 없습니다"]),
        ({"data": {}}, ["data: 목록이어야"]),
        ({"data": []}, ["질문이 하나도 없습니다"]),
        (squad((DOG, [{"id": "a"}])), [f"{PLACE}.qas[0].question: 이 항목이 없습니다"]),
        (squad((DOG, [qa("a", question="")])), [f"{PLACE}.qas[0].question: 비어"]),
        (squad((DOG, [qa("a", question="\ud800")])), [f"{PLACE}.qas[0].question: 글자가 아닌"]),
        (squad((DOG, [qa(7)])), [f"{PLACE}.qas[0].id: 글이어야"]),
        (squad((7, [])), [f"{PLACE}.context: 글이어야"]),
        (broken(text="진도", answer_start="6"), [f"{PLACE}.qas[1].answers[0].answer_start: 정수"]),
        (broken(text="진도", answer_start=-1), [f"{PLACE}.qas[1].answers[0].answer_start: 0 이상"]),
        (
            broken(text="진도", answer_start=4),
            [f"{PLACE}.qas[1].answers[0].answer_start: 4번째", "대신 ' 진'", "5(으)로 고치거나"],
        ),
        (
            broken(text="제주", answer_start=99),
            [f"{PLACE}.qas[1].answers[0].answer_start: 99번째", "대신 ''", "문단의 글을 고치거나"],
        ),
        (
            squad((DOG, [qa("a", is_impossible=True, answers=[{"text": "개"}])])),
            [f"{PLACE}.qas[0].answers: is_impossible"],
        ),
        (
            squad((DOG, [qa("a"), qa("a")])),
            [f"{PLACE}.qas[1].id: 질문 a이(가)", f"{PLACE}.qas[0])"],
        ),
        (squad((DOG, [qa("a", relevant={"9": 1})])), [f"{PLACE}.qas[0].relevant: '9'"]),
        (squad((DOG, [qa("a", relevant={"0": 0})])), [f"{PLACE}.qas[0].relevant.0: 1 이상"]),
    ],
)
def test_mistake_in_json_is_named(tmp_path: Path, value: Any, parts: list[str]) -> None:
    path = written(tmp_path, value)
    with pytest.raises(EvaluationDataError) as caught:
        read_question_set(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert [part for part in parts if part not in message] == []


def test_two_paragraphs_of_one_id_are_refused(tmp_path: Path) -> None:
    value = squad((DOG, [qa("a")]), ("둘째", []))
    for paragraph in value["data"][0]["paragraphs"]:
        paragraph["id"] = "x"
    with pytest.raises(EvaluationDataError, match=r"paragraphs\[1\]\.id: 문단 x.*paragraphs\[0\]"):
        read_question_set(written(tmp_path, value))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationDataError, match=r"none\.csv: 파일이 없습니다"):
        read_question_set(tmp_path / "none.csv")


BEIR = {
    "corpus.jsonl": '{"_id": "d1", "title": "개", "text": "진돗개"}\n'
    '{"_id": "d2", "text": "고양이", "metadata": {}}\n\n{"_id": "d3", "title": "새", "text": ""}\n',
    "queries.jsonl": '{"_id": "q1", "text": "개는?"}\n{"_id": "q2", "text": "고양이는?"}\n'
    '{"_id": "q3", "text": "아무도"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq2\td2\t2\nq2\td1\t1\nq1\td1\t0\n",
    "qrels/dev.tsv": "q1\td1\t1\n",
}


def beir(folder: Path, **changed: str) -> Path:
    (folder / "qrels").mkdir()
    for name, text in {**BEIR, **changed}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_beir_is_read(tmp_path: Path) -> None:
    found = read_question_set(beir(tmp_path))
    assert found.documents == (
        Document("진돗개", id="d1", metadata={"title": "개"}),
        Document("고양이", id="d2"),
        Document("새", id="d3", metadata={"title": "새"}),
    )
    assert found.questions == (
        Question("q1", "개는?", {}),
        Question("q2", "고양이는?", {"d2": 2, "d1": 1}),
    )
    # Without a header, and another split is another set.
    dev = read_question_set(tmp_path, split="dev")
    assert dev.questions == (Question("q1", "개는?", {"d1": 1}),)
    assert dev.fingerprint != found.fingerprint


@pytest.mark.parametrize(
    ("file", "text", "parts"),
    [
        ("corpus.jsonl", '{"_id": "a", "text": "가"}\n{"_id"}', ["2번째 줄", "JSON 형식이"]),
        ("corpus.jsonl", '{"id": "a", "text": "가"}', ["1번째 줄: _id: 이 항목이 없습니다"]),
        ("corpus.jsonl", '{"_id": "a", "text": " "}', ["1번째 줄", "비어"]),
        (
            "corpus.jsonl",
            '{"_id": "a", "text": "가"}\n\n{"_id": "a", "text": "나"}',
            ["3번째 줄", "'a'이(가) 1번째 줄에도"],
        ),
        ("queries.jsonl", '["q1"]', ["1번째 줄: 이름과 값의 묶음이어야"]),
        ("qrels/test.tsv", "q1\td1\n", ["1번째 줄: 칸이 2개"]),
        ("qrels/test.tsv", "a\tb\tc\nq1\td1\thigh\n", ["2번째 줄", "'high'은(는) 정수가"]),
        ("qrels/test.tsv", "a\tb\tc\nq9\td1\t1\n", ["2번째 줄", "'q9'이(가) queries.jsonl에"]),
        ("qrels/test.tsv", "q1\td1\t1\nq1\td9\t1\n", ["2번째 줄", "'d9'이(가) corpus.jsonl에"]),
        ("qrels/test.tsv", "q1\td1\t1\nq1\td1\t0\n", ["2번째 줄", "1번째 줄에도"]),
        ("qrels/test.tsv", "a\tb\tc\n", ["질문이 하나도 없습니다"]),
    ],
)
def test_mistake_in_beir_is_named(tmp_path: Path, file: str, text: str, parts: list[str]) -> None:
    with pytest.raises(EvaluationDataError) as caught:
        read_question_set(beir(tmp_path, **{file: text}))
    message = str(caught.value)
    assert "하나도" in message or message.startswith(f"{tmp_path / file}: ")
    assert [part for part in parts if part not in message] == []


def test_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationDataError, match=r"test\.tsv가 없습니다\(있는 것: 없음\).*BEIR"):
        read_question_set(tmp_path)


def test_missing_split_is_named_with_those_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationDataError, match=r"train\.tsv가 없습니다\(있는 것: dev, test\)"):
        read_question_set(beir(tmp_path), split="train")
    (tmp_path / "qrels" / "test.tsv").unlink()
    assert [question.id for question in read_question_set(tmp_path).questions] == ["q1"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_table_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "표.csv"
    text = (
        "질문,정답,문단,제목\n"
        f"어디서 자랐나?,진도,{DOG},개\n"
        '무엇인가?,개,"진돗개는,\n둘째 줄",\n'
        f"어디서 자랐나?,진도에서,{DOG},\n"
        "\n아무도 모르나?,,,\n"
    )
    path.write_bytes(text.encode(encoding))
    found = read_question_set(path)
    assert found.documents == (
        Document(DOG, id="0", metadata={"title": "개"}),
        Document("진돗개는,\n둘째 줄", id="1"),
    )
    assert found.questions == (
        Question(
            "어디서 자랐나?", "어디서 자랐나?", {"0": 1}, (Answer("진도"), Answer("진도에서"))
        ),
        Question("무엇인가?", "무엇인가?", {"1": 1}, (Answer("개"),)),
        Question("아무도 모르나?", "아무도 모르나?", {}),
    )


def test_table_of_tabs_names_documents(tmp_path: Path) -> None:
    path = tmp_path / "set.tsv"
    path.write_text("ID\tQuestion\tDoc_ID\tcontext\n1\t왜?\ta.pdf\t\n1\t왜?\tb.pdf\t글\n", "utf-8")
    found = read_question_set(path)
    assert found.documents == (Document("", id="a.pdf"), Document("글", id="b.pdf"))
    assert found.questions == (Question("1", "왜?", {"a.pdf": 1, "b.pdf": 1}),)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("물음,문단\n왜?,글\n", ["1번째 줄", "질문이 있는 열이", "(있는 열: 물음, 문단)"]),
        ("질문,정답\n왜?,답\n", ["1번째 줄", "문단이나 문서가 있는 열이", "질문, 정답"]),
        ("질문,question,문단\n", ["1번째 줄: question 열이 둘"]),
        ("질문,문단\n", ["질문이 하나도 없습니다"]),
        ('질문,문단\n"왜\n그래?",글\n,글\n', ["4번째 줄: 질문이 비어"]),
        ("질문,문단\n왜?,하나,둘\n", ["2번째 줄: 칸이 3개"]),
        ('질문,문단\n왜?,"글\n', ["2번째 줄: 표로 읽을 수 없습니다"]),
        ("번호,질문,문단\n1,왜?,글\n1,뭐?,글\n", ["3번째 줄: 번호 '1'"]),
        ("질문,문서,문단\n왜?,a,글\n뭐?,a,다른 글\n", ["3번째 줄: 문서 'a'"]),
    ],
)
def test_mistake_in_table_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "set.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationDataError) as caught:
        read_question_set(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert [part for part in parts if part not in message] == []


def test_bytes_of_no_encoding_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(bytes(range(128, 256)) * 3)
    with pytest.raises(EvaluationDataError, match=r"set\.csv: "):
        read_question_set(path)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the measuring data is not beside the project")
def test_korquad_is_read_and_written_back(tmp_path: Path) -> None:
    found = read_question_set(SHARED / "KorQuAD_v1.0_dev.json")
    assert (len(found.documents), len(found.questions)) == (961, 5774)
    first = found.questions[0]
    assert (first.id, first.answers) == ("6548850-0-0", (Answer("1989년 2월 15일", 0),))
    write_question_set(found, tmp_path / "again.json")
    again = read_question_set(tmp_path / "again.json")
    assert again.documents == found.documents
    by_id = {question.id: question for question in found.questions}
    assert {question.id: question for question in again.questions} == by_id
