"""kogemma-rag eval: from documents to a report, and what goes wrong on the way."""

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from kogemma_rag import DocumentIndex
from kogemma_rag.cli import main
from kogemma_rag.evaluation import IndexedDocuments, RunFolder, read_question_set, read_run
from kogemma_rag.evaluation import retrieval as retrieval_module

EXAMPLES = Path(__file__).parents[1] / "examples" / "documents"
FAST = ("정보보안지침.md", "비품구매안내.txt")  # their readers are soon loaded
TABLE = """질문,정답,문단
연차는 며칠인가요?,15일,연차는 15일이다. 입사한 해에는 한 달에 하루씩 생긴다.
재택근무는 한 주에 며칠까지 할 수 있나요?,2일,재택근무는 한 주에 2일까지 할 수 있다.
출장비는 언제까지 정산하나요?,닷새,출장에서 돌아온 날부터 닷새 안에 출장비를 정산한다.
모니터는 몇 년마다 바꾸나요?,6년,모니터는 6년마다 바꾼다. 노트북은 4년이다.
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "질문.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["eval", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_retrieval_prints_tables_and_writes_a_report(tmp_path: Path, table: Path, capsys) -> None:
    into = tmp_path / "평가"
    systems = ("--try", "hybrid", "--try", "작게: words chunk_size=20", "--k", "1,3")
    code, out, err = call(capsys, "retrieval", "--data", table, "--into", into, *systems)
    assert code == 0
    assert "recall@1  1.0000 (1.0000 ~ 1.0000)  1.0000 (1.0000 ~ 1.0000)" in out
    assert f"보고서: {into / 'report.html'}" in err
    assert f"kogemma-rag eval compare {into} 다른폴더" in err
    run = read_run(into)
    assert [system["name"] for system in run["systems"]] == ["hybrid", "작게"]
    assert run["systems"][1]["settings"]["chunk_size"] == 20
    assert "<title>질문.csv의 질문 4개로 잰 검색</title>" in (into / "report.html").read_text(
        "utf-8"
    )


def test_json_holds_the_figures_without_the_questions(tmp_path: Path, table: Path, capsys) -> None:
    into = tmp_path / "평가"
    options = ("--try", "words", "--limit", 2, "--format", "json")
    code, out, _ = call(capsys, "retrieval", "--data", table, "--into", into, *options)
    assert code == 0
    told = json.loads(out)
    assert told["report"] == str(into / "report.html")
    assert told["systems"][0]["metrics"]["mrr@10"]["value"] == 1.0
    assert told["settings"]["limit"] == 2
    assert "questions" not in told
    asked = [question["question"] for question in read_run(into)["questions"]]
    assert asked == ["연차는 며칠인가요?", "출장비는 언제까지 정산하나요?"]  # at equal distances


def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, table: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "평가"
    command = ("retrieval", "--data", table, "--into", into, "--try", "words")
    record = RunFolder.record

    def stop_at_the_third(self: RunFolder, *row: Any) -> None:
        if len(self.finished("words")) == 2:
            raise KeyboardInterrupt
        record(self, *row)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "record", stop_at_the_third)
        code, _, err = call(capsys, *command)
    assert code == 130
    assert "같은 명령을 다시 하면 이어서 합니다" in err
    assert not (into / "report.html").exists()
    code, _, err = call(capsys, "compare", into, into)
    assert code == 1
    assert "is not finished" in err
    asked = []
    monkeypatch.setattr(
        RunFolder, "record", lambda self, *row: (asked.append(row[1]), record(self, *row))
    )
    code, _, _ = call(capsys, *command)
    assert code == 0
    assert len(asked) == 2
    whole = tmp_path / "단번에"
    call(capsys, "retrieval", "--data", table, "--into", whole, "--try", "words")
    names = ("metrics", "name", "settings")
    one, other = (read_run(folder)["systems"][0] for folder in (into, whole))
    assert [one[name] for name in names] == [other[name] for name in names]


def test_answers_are_scored_and_refusals_seen(tmp_path: Path, table: Path, capsys) -> None:
    into = tmp_path / "평가"
    code, out, _ = call(capsys, "answers", "--data", table, "--into", into, "--unanswerable", 4)
    assert code == 0
    metrics = read_run(into)["systems"][0]["metrics"]
    assert metrics["citation_relevance"]["value"] == 1.0
    assert metrics["refusal"]["value"] == 1.0
    assert "containment " in out


def test_two_runs_are_compared_and_a_report_is_never_overwritten(
    tmp_path: Path, table: Path, capsys
) -> None:
    for name, system in (("가", "하나: words"), ("나", "둘: vectors")):
        options = ("--into", tmp_path / name, "--try", system)
        assert call(capsys, "retrieval", "--data", table, *options)[0] == 0
    page = tmp_path / "차이.html"
    command = ("compare", tmp_path / "가", tmp_path / "나" / "run.json", "--into", page)
    code, out, err = call(capsys, *command)
    assert code == 0
    assert out.startswith("하나 → 둘\n")
    assert f"보고서: {page}" in err
    assert "<h2" in page.read_text(encoding="utf-8")
    code, _, err = call(capsys, *command)
    assert code == 1
    assert "이미 있습니다" in err


def test_questions_of_documents_are_made_and_asked_of_their_index(tmp_path: Path, capsys) -> None:
    made, index, documents = tmp_path / "질문.json", tmp_path / "색인", tmp_path / "문서"
    documents.mkdir()
    for name in FAST:
        shutil.copy(EXAMPLES / name, documents)
    code, out, err = call(capsys, "make-questions", documents, "--into", made, "--count", 10)
    assert (code, out) == (0, f"질문 10개를 '{made}'에 적었습니다.\n")
    assert "읽고 고친 뒤" in err
    assert len(read_question_set(made).questions) == 10
    assert call(capsys, "make-questions", documents, "--into", made)[0] == 1
    with DocumentIndex.open(index) as opened:
        opened.sync(documents, progress=False)
    options = ("--into", tmp_path / "평가", "--in", index, "--k", "1,5")
    code, _, _ = call(capsys, "retrieval", "--data", made, *options)
    assert code == 0
    # The documents of the set are the chunks of the index: all of them are known by their text.
    run = read_run(tmp_path / "평가")
    (system,) = run["systems"]
    assert system["metrics"]["recall@5"]["value"] == 1.0
    found = [hit["id"] for each in run["questions"] for hit in each["results"][str(index)]["found"]]
    assert set(found) <= set(run["documents"])
    with DocumentIndex.open(index) as opened:
        opened.add_documents([Document("나중에 더한 문단")])
    code, _, err = call(capsys, "retrieval", "--data", made, *options)
    assert code == 1
    assert "holds a run with other settings (index: " in err


class FixedIndex:
    """Finds the same passages whatever is asked."""

    def __init__(self, *passages: Any) -> None:
        self.passages = passages

    def search(self, query: str, k: int = 4, filter: Any = None) -> list[Any]:
        return [(passage, 1.0 - at / 10) for at, passage in enumerate(self.passages[:k])]


def test_passages_are_matched_by_text_then_by_part_and_source(table: Path) -> None:
    questions = read_question_set(table)
    first, _, third, _ = questions.documents
    passages = (
        Document(third.page_content, id="a", metadata={"source": "x"}),
        Document(first.page_content[8:], id="b", metadata={"source": "x"}),
        Document(f"머리말 {first.page_content}", id="c", metadata={"source": "x"}),
        Document("없는 글", id="d", metadata={"source": "y.txt"}),
    )
    found = IndexedDocuments.of(FixedIndex(*passages), questions, k=4).invoke("물음")
    places = [(one.metadata["document_id"], one.metadata.get("start_index")) for one in found]
    assert places == [(third.id, 0), (first.id, 8), (first.id, -4), ("y.txt#d", None)]
    assert [one.metadata["relevance_score"] for one in found] == [1.0, 0.9, 0.8, 0.7]
    assert "document_id" not in passages[0].metadata


def test_documents_that_are_only_named_are_known_by_source(tmp_path: Path) -> None:
    path = tmp_path / "질문.csv"
    path.write_text("질문,문서\n휴가는?,휴가.hwpx\n출장은?,출장.pdf\n", encoding="utf-8")
    decomposed = unicodedata.normalize("NFD", "출장.pdf")  # as some file systems name it
    passages = (
        Document("숙박비는 하루 9만 원이다.", id="a", metadata={"source": decomposed}),
        Document("없는 글", id="b", metadata={"source": "비품.txt"}),
        Document("", id="c", metadata={"source": "휴가.hwpx"}),
    )
    found = IndexedDocuments.of(FixedIndex(*passages), read_question_set(path), k=4).invoke("물음")
    told = [one.metadata["document_id"] for one in found]
    assert told == ["출장.pdf", "비품.txt#b", "휴가.hwpx"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", (), "질문.csv: 빈 파일입니다"),
        ("질문,정답\n가?,나\n", (), "문단"),
        (TABLE, ("--try", "없는것"), "모르는 검색 방법"),
        (TABLE, ("--try", "a: words x=1"), "'x'은(는) 모르는 설정"),
        (TABLE, ("--try", "words", "--try", "words"), "이름이 같은 'words'"),
    ],
)
def test_wrong_input_is_told_in_korean_with_its_place(
    tmp_path: Path, table: Path, capsys, text: str, options: tuple[str, ...], message: str
) -> None:
    table.write_text(text, encoding="utf-8")
    code, _, err = call(capsys, "retrieval", "--data", table, "--into", tmp_path / "평가", *options)
    assert code == 1
    assert err.startswith("오류: ")
    assert message in err
    assert not (tmp_path / "평가").exists()


def test_files_that_cannot_be_used_are_named(tmp_path: Path, capsys) -> None:
    empty, into = tmp_path / "빈.md", tmp_path / "여기"
    empty.touch()
    code, _, err = call(capsys, "make-questions", empty, "--into", into)
    assert code == 1
    assert err.startswith("오류: 문서를 읽지 못했습니다.")
    assert f"{empty}: 빈 파일입니다" in err
    for options in ((), ("--into", into)):
        command = ("kobest", "--model", "m", "--data-dir", tmp_path, "--tasks", "wic")
        code, _, err = call(capsys, *command, *options)
        assert code == 1
        assert f"{tmp_path / 'WiC' / 'train.tsv'}: 파일이 없습니다" in err
    assert not into.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("retrieval", "--data", "없는파일", "--into", "x"),
        ("retrieval", "--data", ".", "--into", "x", "--k", "0,1"),
        ("retrieval", "--data", ".", "--into", "x", "--in", "y", "--try", "words"),
        ("make-questions", "없는폴더", "--into", "x"),
        ("compare", "없는폴더", "없는폴더"),
        ("kobest", "--model", "m", "--chat-template", "perhaps"),
        ("kobest", "--model", "m", "--data-dir", "없는폴더"),
        ("kobest", "--model", "m", "--tasks", "boolq,klue"),
        ("kobest", "--model", "m", "--tasks", "wic,wic"),
    ],
)
def test_wrong_usage_ends_with_2(capsys, arguments: tuple[str, ...]) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert "Usage: kogemma-rag eval" in err


def test_a_folder_of_another_run_is_refused(tmp_path: Path, table: Path, capsys) -> None:
    command = ("retrieval", "--data", table, "--into", tmp_path / "평가", "--try", "words")
    assert call(capsys, *command)[0] == 0
    code, _, err = call(capsys, *command, "--k", "1,2")
    assert code == 1
    assert "평가 폴더를 쓸 수 없습니다" in err
    assert "ks: [1, 3, 5, 10] became [1, 2]" in err


def test_kobest_tells_its_tables_and_writes_its_report(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_evaluation_report import kobest_run

    from kogemma_rag.evaluation import kobest

    asked: dict[str, Any] = {}
    run = {key: value for key, value in kobest_run().items() if key not in ("format", "title")}
    monkeypatch.setattr(
        kobest, "evaluate_kobest", lambda model, **options: asked.update(options) or run
    )
    into = tmp_path / "평가"
    options = ("--limit", 8, "--tasks", "boolq", "--chat-template", "on", "--no-multiturn")
    code, out, _ = call(capsys, "kobest", "--model", "모델", *options, "--into", into)
    assert code == 0
    folder = asked.pop("folder")
    assert "BoolQ macro-F1      0.594  0.5000  -0.0940     0.0200  표준 오차 둘 밖" in out
    assert asked == {
        "data_dir": None,
        "tasks": ["boolq"],
        "num_fewshot": 5,
        "limit": 8,
        "chat_template": "on",
        "multiturn": False,
        "progress": False,
    }
    assert folder.path == into
    assert read_run(into)["title"] == "모델의 KoBEST"


def test_help_of_eval_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom kogemma_rag.cli import app\n"
        "try: app(['eval', 'retrieval', '--help'])\nexcept SystemExit: pass\n"
        "print(*sorted({'numpy', 'torch', 'jinja2', 'lm_eval', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert retrieval_module.PRESETS.keys() >= {"hybrid", "vectors", "words"}
