import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from kogemma_rag.document_loaders import DocumentLoadError, sandbox
from kogemma_rag.document_loaders.sandbox import ParserProcess

# A worker whose text loader does what the file says.
HOSTILE = """
import sys; sys.path[:] = sys.argv[2:]
import os, time
from kogemma_rag.document_loaders import worker
from kogemma_rag.document_loaders.text import TextLoader
def read(self):
    order = self.path.read_text()
    if order == "hang":
        time.sleep(60)
    elif order == "crash":
        os.abort()
    elif order == "memory":
        bytearray(4 * 2**30)
    elif order == "raise":
        raise KeyError("part")
    elif order == "much":
        for part in range(20):
            yield f"{part} " + "글" * 10_000, {}
    elif order == "litter":
        import tempfile
        tempfile.mkdtemp()
        os.abort()
    elif order == "drip":
        for part in range(40):
            time.sleep(0.03)
            yield f"{part}", {}
    elif order == "print":
        print("noise between the frames", flush=True)
        os.write(1, b"more noise")
    yield f"{order} {os.getpid()}", {}
TextLoader._read = read
worker.TIME_LIMIT = 0.5
worker.main()
"""


@pytest.fixture
def process(monkeypatch):
    monkeypatch.setattr(sandbox, "_START", HOSTILE)
    process = ParserProcess()
    yield process
    process.close()


def order(process: ParserProcess, folder: Path, text: str) -> str:
    path = folder / f"{text}.txt"
    path.write_text(text)
    return read(process, path)[0]


def read(process: ParserProcess, path: Path) -> list[str]:
    request = {"path": str(path), "source": path.name, "ocr": False}
    return [answer["text"] for answer in process.answers(request)]


def test_one_worker_serves_many_files(process, tmp_path) -> None:
    assert order(process, tmp_path, "good") == order(process, tmp_path, "good")


def test_a_file_that_gives_little_by_little_may_take_no_longer(process, tmp_path) -> None:
    with pytest.raises(DocumentLoadError, match="걸려"):
        order(process, tmp_path, "drip")
    assert order(process, tmp_path, "good").startswith("good ")


@pytest.mark.parametrize(("text", "reason"), [("hang", "걸려"), ("crash", "죽었")])
def test_a_dead_worker_is_one_refused_file(process, tmp_path, text, reason) -> None:
    before = order(process, tmp_path, "good")
    with pytest.raises(DocumentLoadError, match=reason) as caught:
        order(process, tmp_path, text)
    assert caught.value.path.name == f"{text}.txt"
    assert order(process, tmp_path, "good") != before  # another process


@pytest.mark.parametrize(("text", "reason"), [("memory", "메모리"), ("raise", "KeyError: 'part'")])
def test_an_error_leaves_the_worker_alive(process, tmp_path, text, reason) -> None:
    before = order(process, tmp_path, "good")
    with pytest.raises(DocumentLoadError, match=reason):
        order(process, tmp_path, text)
    assert order(process, tmp_path, "good") == before


def test_a_worker_waits_for_a_slow_reader(process, tmp_path) -> None:
    path = tmp_path / "much.txt"
    path.write_text("much")
    answers = process.answers({"path": str(path), "source": "much.txt", "ocr": False})
    parts = [next(answers)["text"]]
    time.sleep(1.5)  # three times what a parser may take for a part
    parts += [answer["text"] for answer in answers]
    assert [part.split()[0] for part in parts] == [*map(str, range(20)), "much"]


def test_answers_that_nobody_wants_end_the_worker(process, tmp_path) -> None:
    before = order(process, tmp_path, "good")
    path = tmp_path / "much.txt"
    path.write_text("much")
    answers = process.answers({"path": str(path), "source": "much.txt", "ocr": False})
    next(answers)
    answers.close()
    assert order(process, tmp_path, "good") != before  # another process


def test_an_interrupted_worker_fails_its_file(process, tmp_path) -> None:
    path = tmp_path / "much.txt"
    path.write_text("much")
    answers = process.answers({"path": str(path), "source": "much.txt", "ocr": False})
    next(answers)
    process.interrupt()
    with pytest.raises(DocumentLoadError, match="죽었"):
        list(answers)
    assert order(process, tmp_path, "good").startswith("good ")


def test_what_a_parser_prints_stays_out_of_the_frames(process, tmp_path) -> None:
    assert order(process, tmp_path, "print").startswith("print ")
    assert order(process, tmp_path, "good").startswith("good ")


def test_what_a_dead_worker_left_is_gone(process, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    order(process, tmp_path, "good")
    assert list(tmp_path.glob("kogemma-rag-*"))
    with pytest.raises(DocumentLoadError):
        order(process, tmp_path, "litter")
    assert not list(tmp_path.glob("kogemma-rag-*"))


def test_a_missing_file_is_refused(process, tmp_path) -> None:
    with pytest.raises(DocumentLoadError, match="열 수 없습니다"):
        read(process, tmp_path / "없음.txt")


def test_script_without_main_guard_and_hostile_working_directory(tmp_path) -> None:
    scripts, documents = tmp_path / "scripts", tmp_path / "documents"
    scripts.mkdir()
    documents.mkdir()
    (documents / "글.txt").write_text("본문이다.", encoding="utf-8")
    for name in ("json.py", "struct.py", "charset_normalizer.py"):
        (documents / name).write_text("raise SystemExit('imported from the documents')")
    script = scripts / "script.py"
    script.write_text(
        "from kogemma_rag import load_documents\n"
        "print('started')\n"
        "print([d.page_content for d in load_documents('글.txt')])\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, str(script)], cwd=documents, capture_output=True, text=True, check=True
    )
    assert run.stdout == "started\n['본문이다.']\n"


def test_a_forked_process_leaves_the_parsers_folder_alone(tmp_path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.txt", "hello")
    script = f"""
import os, sys
from kogemma_rag.document_loaders import load_file
load_file({str(path)!r})
if os.fork() == 0:
    sys.exit()
os.wait()
print(load_file({str(path)!r})[0].page_content)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "hello\n", done.stderr
