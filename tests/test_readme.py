"""What the READMEs, the examples and the notebook show is what happens."""

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient

from kogemma_rag import ChatKoGemma, DocumentIndex
from kogemma_rag.cli import main

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.en.md")
FENCE = re.compile(
    r"(?:<!-- (?P<mark>.+?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL
)


def blocks(readme: str) -> list[re.Match[str]]:
    return list(FENCE.finditer((ROOT / readme).read_text(encoding="utf-8")))


def run(*arguments: str, cwd: Path = ROOT) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sample_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    with DocumentIndex.open(folder) as index:
        index.sync(ROOT / "examples" / "documents", progress=False)
    return folder


@pytest.mark.parametrize("readme", READMES)
def test_shown_answers_are_the_real_output(readme: str, sample_index: Path) -> None:
    shown = [block for block in blocks(readme) if (block["mark"] or "").startswith("output: ask ")]
    assert len(shown) == 2
    for block in shown:
        question = block["mark"].removeprefix("output: ask ")
        output = run("-m", "kogemma_rag", "ask", question, "--in", str(sample_index))
        assert output.strip() == block["code"].strip()


@pytest.mark.parametrize("readme", READMES)
def test_python_runs(readme: str, tmp_path: Path) -> None:
    (code,) = [block["code"] for block in blocks(readme) if block["mark"] == "run"]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    output = run("-c", code, cwd=tmp_path)
    assert output.startswith("업무용 노트북의 교체 주기는 4년입니다. [1]")
    assert "비품구매안내.txt" in output


@pytest.mark.parametrize("readme", READMES)
def test_three_lines_answer_with_no_prompt_in_the_answer(
    readme: str,
    tiny_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mark = "run with the tiny model"
    (code,) = [block["code"] for block in blocks(readme) if block["mark"] == mark]
    assert sum(bool(line) for line in code.splitlines()) == 3
    name = "nlpai-lab/ko-gemma-2b-v1"
    assert name in code
    # The weights cannot be had offline: the same lines with the directory of the tiny model.
    exec(code.replace(name, str(tiny_directory)), {})  # noqa: S102 - our own README
    answer = capsys.readouterr().out
    assert answer.strip()
    assert "이순신 장군에 대해 설명해주세요." not in answer
    assert ChatKoGemma(name).profile["max_input_tokens"] == 8192  # type: ignore[index]


@pytest.mark.parametrize("readme", READMES)
def test_the_schema_is_kept_by_whatever_model(
    readme: str, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = "run with the tiny model, structured"
    (code,) = [block["code"] for block in blocks(readme) if block["mark"] == mark]
    code = code.replace("nlpai-lab/ko-gemma-2b-v1", str(tiny_directory))
    exec(code, {"__name__": "readme"})  # noqa: S102 - our own README
    assert re.fullmatch(r"city='(서울|부산|제주)' nights=\d+\n", capsys.readouterr().out)


def test_servers_are_documented_alike_and_their_python_runs(server, capsys) -> None:
    from scripted_server import stream

    server.models = ["nlpai-lab/ko-gemma-7b-v1"]
    server.answers = [stream("장군입니다.")]
    shown = []
    for name in ("docs/servers.md", "docs/servers.en.md"):
        found = blocks(name)
        shown.append([(block["language"], block["code"]) for block in found])
        (code,) = [block["code"] for block in found if block["language"] == "python"]
        exec(code.replace("http://localhost:8000/v1", server.url), {})  # noqa: S102
    assert capsys.readouterr().out == "장군입니다.\n" * 2
    korean, english = ([(kind, code.splitlines()) for kind, code in page] for page in shown)
    assert korean == english


def test_the_index_is_documented_alike_and_its_python_runs(tmp_path: Path) -> None:
    shown = []
    for name in ("docs/index.md", "docs/index.en.md"):
        found = blocks(name)
        (code,) = [block["code"] for block in found if block["mark"] == "run"]
        assert run("-c", code, cwd=tmp_path) == "출장비는 닷새 안에 정산합니다.\na\n"
        shown.append([(block["language"], len(block["code"].splitlines())) for block in found])
    assert shown[0] == shown[1]


def test_documents_are_documented_alike_and_their_python_runs(monkeypatch) -> None:
    from kogemma_rag import web_loader

    read = []
    for loader in (web_loader.WebLoader, web_loader.SitemapLoader):
        monkeypatch.setattr(loader, "load", lambda self: read.append(type(self).__name__) or [])
    shown = []
    for name in ("docs/documents.md", "docs/documents.en.md"):
        found = blocks(name)
        (code,) = [block["code"] for block in found if block["mark"] == "run"]
        assert run("-c", code, cwd=ROOT) == "9 0\napplication/vnd.hancom.hwpx\nTrue\n"
        (code,) = [block["code"] for block in found if block["mark"] == "web"]
        exec(code, {})  # noqa: S102 - our own page
        shown.append([(block["language"], block["code"]) for block in found])
    assert read == ["WebLoader", "SitemapLoader"] * 2
    assert shown[0] == shown[1]


@pytest.fixture(scope="module")
def quick_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the project's, with those example documents whose readers load soon."""
    root = tmp_path_factory.mktemp("root")
    documents = root / "examples" / "documents"
    documents.mkdir(parents=True)
    (root / "notebooks").mkdir()
    for pattern in ("*.md", "*.txt", "*.html"):
        for file in (ROOT / "examples" / "documents").glob(pattern):
            shutil.copy(file, documents)
    return root


def test_evaluation_is_documented_alike_and_its_python_runs(
    quick_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for name in ("docs/evaluation.md", "docs/evaluation.en.md"):
        found = blocks(name)
        shown.append([(block["language"], block["code"].partition("  # ")[0]) for block in found])
    (code,) = [block["code"] for block in found if block["mark"] == "run"]
    monkeypatch.chdir(quick_root)
    exec(code, {})  # noqa: S102 - our own page
    assert capsys.readouterr().out == "20 ['기본', '낱말']\n"
    assert shown[0] == shown[1]


@cache
def help_of(*command: str) -> str:
    shown = StringIO()
    with redirect_stdout(shown), pytest.raises(SystemExit):
        main([*command, "--help"])
    return shown.getvalue()


COMMANDS = (
    *READMES,
    *("docs/index.md", "docs/index.en.md", "docs/documents.md", "docs/documents.en.md"),
    *("docs/evaluation.md", "docs/evaluation.en.md"),
)


@pytest.mark.parametrize("readme", COMMANDS)
def test_shell_commands_are_commands_of_ours(readme: str) -> None:
    lines = [
        line
        for block in blocks(readme)
        if block["language"] == "sh"
        for line in block["code"].strip().splitlines()
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE)
        elif program == "kogemma-rag":
            command = arguments[: 2 if arguments[0] == "eval" else 1]
            help_text = help_of(*command)
            assert all(option in help_text for option in arguments if option.startswith("--"))
        else:
            assert line.startswith("pip install -e '.[gpu]'")


def test_both_readmes_show_the_same_things() -> None:
    korean, english = (
        [(block["mark"], block["language"], len(block["code"].splitlines())) for block in found]
        for found in map(blocks, READMES)
    )
    assert korean == english
    rows = [
        re.findall(r"^\| (`[^|]+?) \|", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE)
        for readme in READMES
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 19


def test_first_example_answers_and_says_what_is_not_there() -> None:
    output = run("examples/01_ask_a_folder.py")
    assert "파일 9개" in output
    assert "연차는 쓰려는 날의 3영업일 전까지" in output
    assert output.rstrip().endswith("문서에서 답을 찾지 못했습니다.")


def test_second_example_plugs_into_three_langchain_ways(tiny_directory: Path) -> None:
    output = run("examples/02_plug_into_langchain.py")
    lcel, _, rest = output.partition("create_retrieval_chain:")
    chain, _, tool = rest.partition("도구:")
    assert "30일 전부터 예약할 수 있습니다. [1]" in lcel
    assert "3개월" in chain
    assert "교체 주기는 4년" in tool
    # A Gemma takes the same system prompt and history, which its template alone would refuse.
    assert "create_retrieval_chain:" in run(
        "examples/02_plug_into_langchain.py", str(tiny_directory)
    )


def test_third_example_keeps_to_its_schema_with_any_model(tiny_directory: Path) -> None:
    output = run("examples/03_schema_and_tools.py", str(tiny_directory))
    assert re.search(r"^출장: city='(서울|부산|제주)' nights=\d+$", output, re.MULTILINE)
    assert re.search(r"^도구: (add_days|없음)", output, re.MULTILINE)
    assert "답: " in output


def test_notebook_runs_and_shows_answers_with_their_sources() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept clean in the repository
    NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": ROOT / "notebooks"}}
    ).execute()
    pages = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    assert len(pages) == 3
    assert "재택근무안내.docx" in pages[0]
    assert "한 주에 2일까지 할 수 있습니다. [1]" in pages[0]
    assert "문서에서 답을 찾지 못했습니다." in pages[1]
    assert "모니터는 6년" in pages[2]


def test_evaluation_notebook_makes_questions_and_shows_two_reports(
    quick_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "evaluation.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    # In this process, which has all loaded; the other notebook runs in a kernel.
    monkeypatch.chdir(quick_root / "notebooks")
    shell, pages = InteractiveShell(), []
    monkeypatch.setattr(shell.displayhook, "write_format_data", lambda data, _: pages.append(data))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
    assert capsys.readouterr().out.count(" → ") == 5
    retrieval, answers = (page["text/html"] for page in pages)
    for page in (retrieval, answers):
        assert page.startswith('<iframe sandbox="allow-scripts" ')
    assert "recall@1" in retrieval
    assert "groundedness" in answers
