"""The command line: texts, JSON, exit codes and errors, on the sample documents.

Most tests run a process of their own, as users do; where only the text matters, CliRunner.
"""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from scripted_server import stream
from typer.testing import CliRunner

from kogemma_rag.cli import app

DOCUMENTS = Path(__file__).parents[1] / "examples" / "documents"
NOT_FOUND = "문서에서 답을 찾지 못했습니다."
COMMANDS = ("index", "load", "search", "ask", "chat", "info")


def run(*arguments: str | Path, text: str = "", **environment: str) -> subprocess.CompletedProcess:
    """A run of the program with KOGEMMA_* variables taken out but for those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KOGEMMA_")}
    return subprocess.run(
        [sys.executable, "-m", "kogemma_rag", *map(str, arguments)],
        input=text,
        env={**kept, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the sample documents, made by the command itself."""
    folder = tmp_path_factory.mktemp("index") / "색인"
    done = run("index", DOCUMENTS, "--into", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("추가 9, 변경 0, 삭제 0, 그대로 0, 실패 0 · 문단 ")
    return folder


# --- Help, usage, speed ---


def test_help_is_korean_and_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "한국어 문서를 색인하고, 문서에 근거해 질문에 답합니다." in result.stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} .*[가-힣]", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert re.search("[가-힣]+니다", result.stdout)
    assert "--format <text|json>" in result.stdout
    assert ("--chat-model" in result.stdout) == (command in ("ask", "chat"))
    assert ("--embeddings" in result.stdout) == (command == "index")


def test_version() -> None:
    from kogemma_rag import __version__

    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"kogemma-rag {__version__}\n")


LOADED = (
    "import sys\nfrom kogemma_rag.cli import main\n"
    "try: main(sys.argv[1:])\n"
    "finally: print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
)


def loaded_by(*arguments: object) -> set[str]:
    """Packages that a command has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"]])
def test_help_loads_next_to_nothing(arguments: list[str]) -> None:
    heavy = {"torch", "transformers", "langchain_core", "numpy", "faiss", "tantivy", "openai"}
    assert not heavy & loaded_by(*arguments)


@pytest.mark.parametrize("command", ["ask", "search"])
def test_an_answer_loads_no_torch(command: str, index: Path) -> None:
    heavy = {"torch", "transformers", "sentence_transformers", "xgrammar", "openai"}
    assert not heavy & loaded_by(command, "안식휴가", "--in", index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "--in", "x"], "질문"),
        (["ask", "질문"], "--in"),
        (["ask", "   ", "--in", "x"], "내용이 비어 있습니다"),
        (["search", "", "--in", "x"], "내용이 비어 있습니다"),
        (["ask", "질문", "--in", "x", "-k", "0"], "-k"),
        (["ask", "질문", "--in", "x", "--format", "xml"], "xml"),
        (["index", "없는폴더", "--into", "x"], "'없는폴더' 경로가 없습니다"),
        (["없는명령"], "없는명령"),
    ],
)
def test_wrong_usage_exits_with_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_variable_exits_with_2_and_its_name() -> None:
    done = run("info", "--in", "x", KOGEMMA_K="넷")
    assert done.returncode == 2
    assert "환경 변수 KOGEMMA_K의 값 '넷'을(를) 쓸 수 없습니다." in done.stderr


# --- index ---


def test_index_again_changes_nothing(index: Path) -> None:
    done = run("index", DOCUMENTS, "--into", index, "--workers", 1)
    assert done.returncode == 0
    assert done.stdout.startswith("추가 0, 변경 0, 삭제 0, 그대로 9, 실패 0 · 문단 0개")
    assert done.stderr == ""


def test_index_follows_the_folder_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    folder, into = tmp_path / "문서", tmp_path / "색인"
    folder.mkdir()
    (folder / "점심.md").write_text("# 점심\n\n점심은 열두 시에 먹습니다.", "utf-8")
    (folder / "저녁.txt").write_text("저녁은 여섯 시에 먹습니다.", "cp949")
    (folder / "고장.pdf").write_bytes(b"%PDF-1.7 this is no PDF")
    (folder / "그림.xyz").write_bytes(b"\x00\x01")

    first = run("index", folder, "--into", into, "--format", "json")
    assert first.returncode == 0
    report = json.loads(first.stdout)
    assert (report["added"], report["chunks"]) == (2, 2)
    assert (report["index"], report["path"]) == (str(into), str(folder))
    assert [failure["source"] for failure in report["failed"]] == ["고장.pdf", "그림.xyz"]
    assert all(re.search("[가-힣]", failure["reason"]) for failure in report["failed"])
    assert first.stderr.splitlines()[0] == "읽지 못한 파일 2개"
    assert f"  고장.pdf: {report['failed'][0]['reason']}" in first.stderr.splitlines()

    (folder / "저녁.txt").unlink()
    (folder / "점심.md").write_text("# 점심\n\n점심은 한 시에 먹습니다.", "utf-8")
    (folder / "아침.md").write_text("# 아침\n\n아침은 일곱 시에 먹습니다.", "utf-8")
    second = run("index", folder, "--into", into)
    assert second.stdout.startswith("추가 1, 변경 1, 삭제 1, 그대로 0, 실패 2")
    answer = run("ask", "점심은 몇 시에 먹나요?", "--in", into).stdout
    assert "점심은 한 시에 먹습니다. [1]" in answer
    assert "열두 시" not in answer


@pytest.mark.parametrize("content", [None, b"%PDF-1.7 this is no PDF"])
def test_nothing_to_index_exits_with_1(content: bytes | None, tmp_path: Path) -> None:
    folder = tmp_path / "문서"
    folder.mkdir()
    if content:
        (folder / "고장.pdf").write_bytes(content)
    done = run("index", folder, "--into", tmp_path / "색인")
    assert done.returncode == 1
    assert f"오류: '{folder}'에서 색인한 문서가 없습니다." in done.stderr
    assert ("고장.pdf: " in done.stderr) == bool(content)


def test_load_tells_what_it_reads_and_what_not(tmp_path: Path) -> None:
    folder, into = tmp_path / "문서", tmp_path / "글.jsonl"
    folder.mkdir()
    (folder / "점심.md").write_text("# 점심\n\n점심은 열두 시에 먹습니다.", "utf-8")
    (folder / "고장.pdf").write_bytes(b"%PDF-1.7 this is no PDF")
    (folder / "그림.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run("load", folder, "--into", into)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "읽음 1, 건너뜀 1, 실패 1 · 문서 1개"
    assert lines[1].startswith("  실패: 고장.pdf: ")
    assert lines[2] == "  건너뜀: 그림.png: 지원하지 않는 형식입니다: PNG 그림"
    [line] = into.read_text("utf-8").splitlines()
    assert json.loads(line)["text"] == "# 점심\n\n점심은 열두 시에 먹습니다."
    assert json.loads(line)["metadata"]["source"] == "점심.md"
    inside = run("load", folder, "--into", folder / "글.jsonl")  # it would read what it writes
    assert inside.returncode == 1
    assert "읽을 폴더 안에 있습니다" in inside.stderr
    assert not (folder / "글.jsonl").exists()
    again = run("load", folder, "--into", into, "--format", "json")
    assert again.returncode == 1
    assert "이미 있습니다" in again.stderr
    told = json.loads(run("load", folder, "--format", "json").stdout)["files"]
    assert [file["outcome"] for file in told] == ["failed", "skipped", "read"]
    assert run("load", folder / "고장.pdf").returncode == 1


def test_a_file_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "문서").mkdir()
    (tmp_path / "문서" / "\x1b[31m고장.pdf").write_bytes(b"%PDF-1.7 this is no PDF")
    done = run("index", tmp_path / "문서", "--into", tmp_path / "색인")
    assert "  고장.pdf: " in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


# --- search, ask, info ---


def test_ask_answers_with_numbered_sources(index: Path) -> None:
    done = run("ask", "2026년 7월부터 재택근무는 한 주에 며칠까지 할 수 있나요?", "--in", index)
    assert done.returncode == 0
    answer, sources = done.stdout.split("\n\n출처\n")
    quote = "2026년 7월 1일부터 재택근무를 한 주에 3일까지 할 수 있습니다."
    assert answer.startswith(f"{quote} [1]\n")
    assert sources.startswith(
        "[1] 공지_재택근무와_출장비_변경.md, 공지: 재택근무와 출장비 기준이 바뀝니다 > 재택근무\n"
        f'    "{quote}"\n'
    )
    assert "기본 모델(extractive)" in done.stderr
    assert "--chat-model nlpai-lab/ko-gemma-2b-v1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ask_gives_the_page_of_a_pdf(index: Path) -> None:
    done = run("ask", "프리미엄 이코노미석은 언제 탈 수 있나요?", "--in", index)
    place = "2쪽, 국내외 출장비 규정 > 4. 해외 출장 > 4.1 항공권"
    assert f"\n[1] 출장비규정.pdf, {place}\n" in done.stdout


def test_ask_says_when_it_is_not_in_the_documents(index: Path) -> None:
    done = run("ask", "스톡옵션은 언제부터 행사할 수 있나요?", "--in", index)
    assert (done.returncode, done.stdout) == (0, f"{NOT_FOUND}\n")


def test_ask_in_json(index: Path) -> None:
    question = "한빛나래의 대표이사는 누구인가요?"
    answer = json.loads(run("ask", question, "--in", index, "-k", "2", "--format", "json").stdout)
    assert list(answer) == ["question", "answer", "answered", "citations", "documents"]
    assert (answer["question"], answer["answered"]) == (question, True)
    citation = answer["citations"][0]
    assert list(citation) == [
        *("number", "source", "title", "attachment", "page", "slide", "sheet", "row", "line"),
        *("headings", "region"),
        *("quote", "start", "end", "document_id"),
    ]
    assert (citation["source"], citation["slide"], citation["page"]) == (
        "신입사원안내.pptx",
        2,
        None,
    )
    assert citation["quote"].startswith("대표이사는 서하늘이며")
    assert len(answer["documents"]) == 2
    document = answer["documents"][citation["number"] - 1]
    assert document["id"] == citation["document_id"]
    assert document["text"][citation["start"] : citation["end"]] == citation["quote"]
    assert document["metadata"]["slide"] == 2


def test_unanswerable_in_json(index: Path) -> None:
    done = run("ask", "스톡옵션은 언제부터 행사할 수 있나요?", "--in", index, "--format", "json")
    answer = json.loads(done.stdout)
    assert (answer["answer"], answer["answered"], answer["citations"]) == (NOT_FOUND, False, [])


def test_search_shows_place_score_and_text(index: Path) -> None:
    done = run("search", "안식휴가", "--in", index, "-k", "3")
    assert done.returncode == 0
    assert re.match(
        r"1\. 휴가규정\.hwpx, .*제10조 \(안식휴가\).* \(점수 \d+\.\d\d\)\n   ", done.stdout
    )
    assert len(re.findall(r"^\d+\. ", done.stdout, re.MULTILINE)) == 3
    assert done.stderr == ""


def test_search_in_json_is_what_the_index_finds(index: Path) -> None:
    from kogemma_rag import DocumentIndex

    done = run("search", "사원증 재발급", "--in", index, "--format", "json", KOGEMMA_K="5")
    found = json.loads(done.stdout)
    with DocumentIndex.open(index) as opened:
        hits = opened.search("사원증 재발급", k=5)
    assert found["query"] == "사원증 재발급"
    assert [(hit["id"], hit["text"], hit["metadata"]) for hit in found["results"]] == [
        (document.id, document.page_content, document.metadata) for document, _ in hits
    ]
    assert [hit["score"] for hit in found["results"]] == pytest.approx([score for _, score in hits])


def test_questions_in_nfd_are_the_same_questions(index: Path) -> None:
    question = "업무용 노트북의 교체 주기는 몇 년인가요?"
    decomposed = unicodedata.normalize("NFD", question)
    assert decomposed != question
    composed, other = (
        run("ask", each, "--in", index, "--format", "json").stdout
        for each in (question, decomposed)
    )
    assert composed == other
    assert json.loads(other)["question"] == question


def test_info_in_text_and_json(index: Path) -> None:
    facts = json.loads(run("info", "--in", index, "--format", "json").stdout)
    assert (facts["files"], facts["sources"], facts["embeddings"]) == (9, 9, "embedded")
    shown = run("info", "--in", index).stdout
    assert f"문단 수: {facts['chunks']}\n" in shown
    assert f"색인 폴더: {index}\n" in shown
    assert not re.search(r"^\w+_?\w*: ", shown.replace("파일", ""), re.MULTILINE | re.ASCII)


def test_a_hostile_document_cannot_steer_the_terminal(tmp_path: Path) -> None:
    from langchain_core.documents import Document

    from kogemma_rag import DocumentIndex

    text = "비밀 암호는 \x1b]0;제목\x07\x1b[31m사과\x1b[0m[bold]입니다[/bold].\x1b[2J\u202e"
    with DocumentIndex.open(tmp_path) as opened:
        opened.add_documents([Document(text, metadata={"source": "\x1b[31m악성.txt"})])
    for command in ("ask", "search"):
        done = run(command, "비밀 암호는 무엇입니까?", "--in", tmp_path)
        assert "비밀 암호는 사과[bold]입니다[/bold]." in done.stdout
        assert "악성.txt" in done.stdout
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout + done.stderr)
    found = run("search", "암호", "--in", tmp_path, "--format", "json").stdout
    assert json.loads(found)["results"][0]["text"] == text
    assert "\x1b" not in found


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_terminal_that_is_not_utf_8_is_no_error(format: str, index: Path) -> None:
    done = run(
        *("ask", "안식휴가는 얼마나 받나요?", "--in", index, "--format", format),
        PYTHONIOENCODING="ascii",
    )
    assert done.returncode == 0
    if format == "json":  # nothing is lost
        assert json.loads(done.stdout)["question"] == "안식휴가는 얼마나 받나요?"
    else:
        assert "[1]" in done.stdout
        assert done.stdout.isascii()


# --- chat ---


def test_chat_reads_questions_from_a_pipe_and_remembers(index: Path) -> None:
    first, second = "가람홀에는 몇 명까지 들어갈 수 있나요?", "그건 며칠 전까지 신청하나요?"
    alone = run("ask", second, "--in", index).stdout
    assert alone.startswith("국내 출장은 출발하기 3일 전까지")
    done = run("chat", "--in", index, text=f"{first}\n\n{second}\n/끝\n남음\n")
    assert done.returncode == 0
    turns = done.stdout.split("\n질문> ")[1:]
    assert turns[0].startswith(f"{first}\n")
    assert "60명까지 들어갈 수 있습니다. [1]" in turns[0]
    # With the question before it in mind, the best sentence is another one.
    assert turns[1].startswith(f"{second}\n가람홀은 총무 담당")
    assert "쓰려는 날의 5일 전까지 신청합니다. [1]" in turns[1]
    assert "남음" not in done.stdout


def test_chat_in_json_is_one_object_a_line(index: Path) -> None:
    done = run("chat", "--in", index, "--format", "json", text="복지포인트는 얼마인가요?\n정년은?")
    first, second = map(json.loads, done.stdout.splitlines())
    assert "1,200,000원" in first["answer"]
    assert second["question"] == "정년은?"


@pytest.mark.parametrize("leave", ["/끝\n", "\x04"])
def test_chat_in_a_terminal_prompts_and_leaves(leave: str, index: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kogemma_rag", "chat", "--in", index],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "PYTHONUTF8": "1", "TERM": "dumb"},
    )
    os.close(child)

    def read_until(mark: str) -> str:
        seen = b""
        while mark not in seen.decode("utf-8", "replace"):
            assert select.select([parent], [], [], 60)[0], seen.decode("utf-8", "replace")
            seen += os.read(parent, 4096)
        return seen.decode("utf-8", "replace")

    try:
        assert "마치려면 /끝 을 쓰거나 Ctrl-D를 누르세요." in read_until("질문> ")
        os.write(parent, "비밀번호는 몇 자 이상이어야 하나요?\n".encode())
        assert "12자 이상" in read_until("질문> ")
        os.write(parent, leave.encode())
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(parent)


# --- Errors ---


@pytest.mark.parametrize("command", [["ask", "질문"], ["search", "말"], ["chat"], ["info"]])
def test_no_index_says_how_to_make_one(command: list[str], tmp_path: Path) -> None:
    done = run(*command, "--in", tmp_path / "없음")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        f"오류: '{tmp_path / '없음'}'에 색인이 없습니다. "
        f"먼저 kogemma-rag index 경로 --into {tmp_path / '없음'} 로 만드세요."
    )
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_without_traceback_unless_asked(index: Path, tmp_path: Path) -> None:
    broken = tmp_path / "색인"
    shutil.copytree(index, broken)
    for left in broken.glob("index.sqlite3-*"):  # by a command that was killed before
        left.unlink()
    (broken / "index.sqlite3").write_bytes(b"not a database, but as long as one" * 1000)
    plain = run("info", "--in", broken)
    assert plain.returncode == 1
    assert plain.stderr.startswith("오류: 색인이 손상되었습니다.")
    assert "원인: " in plain.stderr
    assert len(plain.stderr.splitlines()) == 1
    for shown in (
        run("--debug", "info", "--in", broken),
        run("info", "--in", broken, KOGEMMA_DEBUG="1"),
    ):
        assert shown.returncode == 1
        assert shown.stderr.startswith("Traceback (most recent call last):")
        assert shown.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]


def test_a_missing_chat_model_is_named(index: Path, tmp_path: Path) -> None:
    done = run("ask", "질문", "--in", index, "--chat-model", tmp_path / "없는모델")
    assert done.returncode == 1
    assert done.stderr.startswith("오류: ")
    assert str(tmp_path / "없는모델") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_asking_by_a_model_server(index: Path, server) -> None:
    server.answers = [stream("4년입니다. [1]")]
    question = "업무용 노트북의 교체 주기는 몇 년인가요?"
    done = run(
        *("ask", question, "--in", index, "--chat-model", server.url), KOGEMMA_API_KEY="sk-secret"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4년입니다. [1]")
    assert question in server.requests[0]["messages"][-1]["content"]
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    away = run("ask", question, "--in", index, "--chat-model", "http://127.0.0.1:9/v1")
    assert away.returncode == 1
    assert away.stderr.startswith("오류: 모델에 연결하지 못했습니다.")


def test_another_embedding_model_than_the_index_has_is_refused(index: Path) -> None:
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from kogemma_rag.cli.app import describe_error
    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.storage import EmbedderMismatchError

    with pytest.raises(EmbedderMismatchError) as raised:
        DocumentIndex.open(index, DeterministicFakeEmbedding(size=8))
    assert describe_error(raised.value).startswith(
        "이 색인은 다른 임베딩 모델로 만들었습니다. "
        "--embeddings를 빼거나 새 폴더에 색인하세요. 원인: "
    )


def test_the_reader_of_a_pipe_may_leave(index: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kogemma_rag", "chat", "--in", index],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate("복지포인트는 얼마인가요?\n".encode(), timeout=60)
    assert b"Traceback" not in errors
    assert process.returncode != 0
