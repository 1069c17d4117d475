"""What docs/serving.md and docs/serving.en.md tell to run, run; and the notebook on serving."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from served import served
from typer.main import get_command

from kogemma_rag import DocumentIndex, ExtractiveChatModel
from kogemma_rag.cli import app
from kogemma_rag.web.options import ServeOptions

ROOT = Path(__file__).parents[1]
PAGES = ("docs/serving.md", "docs/serving.en.md")
ADDRESS = "http://127.0.0.1:8000"
ANSWER = "업무용 노트북의 교체 주기는 4년입니다. [1]"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def code(page: str, kind: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    [found] = re.findall(rf"<!-- run {kind} -->\n```python\n(.*?)```", text, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    with DocumentIndex.open(tmp_path_factory.mktemp("served") / "index") as index:
        index.sync(ROOT / "examples" / "documents", progress=False)
        yield index


@pytest.fixture(scope="module")
def url(index: DocumentIndex) -> Iterator[str]:
    model = ExtractiveChatModel(max_sentences=1)
    with served(ServeOptions(index=index, chat_model=model)) as url:
        yield url


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["openai", "langchain"])
def test_clients_ask_as_the_page_says(
    page: str, kind: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(code(page, kind).replace(ADDRESS, url), {})  # noqa: S102 - our own page
    printed = capsys.readouterr().out
    assert printed.startswith(ANSWER)
    if kind == "openai":
        assert printed.splitlines()[1].startswith("1 비품구매안내.txt ")


def test_assistants_connect_as_the_pages_say(index: DocumentIndex) -> None:
    folder = repr(str(index.vectorstore.folder))
    korean, english = (re.sub('"(내색인|my-index)"', folder, code(page, "mcp")) for page in PAGES)
    assert folder in korean
    assert korean == english
    done = subprocess.run(
        [sys.executable, "-c", korean], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['search', 'fetch', 'ask']\n"


@pytest.mark.parametrize("page", PAGES)
def test_settings_of_assistants_start_the_command(page: str) -> None:
    [settings] = blocks(page, "json")
    [command] = json.loads(settings)["mcpServers"].values()
    assert command["command"] == "kogemma-rag"
    _parse(command["args"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_curl_asks_as_the_page_says(page: str, url: str) -> None:
    [shown] = [block for block in blocks(page, "bash") if "curl" in block]
    answers = []
    for line in shown.replace(ADDRESS, url).splitlines():
        done = subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, check=True)
        answers.append(json.loads(done.stdout))
    found, accepted, documents, schema = answers
    assert found["data"][0]["source"].startswith("정보보안지침")
    assert accepted["data"][0]["state"] in ("queued", "parsing")
    assert accepted["data"][0]["title"] in {one["title"] for one in documents["data"]}
    assert {"/v1/search", "/v1/documents"} <= schema["paths"].keys()


def _parse(arguments: list[str]) -> None:
    """Wrong usage is an error."""
    command = get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    command.make_context(arguments[0], list(arguments[1:]))


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_ours(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("내폴더", "my-folder"):
        (tmp_path / folder).mkdir()
    lines = [line for block in blocks(page, "sh") for line in block.strip().splitlines()]
    assert len(lines) == 5
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "kogemma-rag"
        _parse(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_is_there(page: str, url: str) -> None:
    """Options of the command line and addresses of the API that the page speaks of."""
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    known = {
        option
        for name in ("serve", "mcp")
        for parameter in commands[name].params
        for option in parameter.opts
    }
    shown = re.sub(r"```bash.*?```", "", text, flags=re.DOTALL)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown)) - {"--profile"}
    assert named <= known
    from kogemma_rag.web.app import _ROUTERS

    paths = {route.path for module in _ROUTERS for route in module.router.routes}
    addresses = set(re.findall(r"(?<=[ `])/(?:v1/[\w/{}]+|health[\w/]*|metrics)(?=`)", text))
    assert len(addresses) >= 10
    assert {path.replace("{id}", "{document_id}") for path in addresses} <= paths


def test_the_pages_are_alike() -> None:
    korean, english = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for part in (r"^#+ ", r"^\|", r"^- ", r"^```", r"^<!-- "):
        pattern = re.compile(part, re.MULTILINE)
        assert len(pattern.findall(korean)) == len(pattern.findall(english))


def test_notebook_serves_and_asks() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "serving.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept clean in the repository
    NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": ROOT / "notebooks"}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    values = [output["data"]["text/plain"] for output in outputs if "data" in output]
    assert "[1] 재택근무안내.docx: 재택근무는 한 주에 2일까지 할 수 있습니다.\n" in printed
    assert "('문서에서 답을 찾지 못했습니다.', False, [])" in values
    assert f"문단 4 개\n{ANSWER}" in printed
    assert "\n인용 [1" in printed
    [boxes] = [json.loads(line) for line in printed.splitlines() if line.startswith("[{")]
    assert set(boxes[0]) == {"x", "y", "width", "height"}
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    assert any(value.startswith("'> ") and "30일 전부터" in value for value in values)
