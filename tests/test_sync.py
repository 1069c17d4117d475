"""Folders of small text files; what is parsed and embedded is counted."""

import os
import signal
import sqlite3
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import Document

from kogemma_rag import ingest, local_target, sync
from kogemma_rag.chunk_readers import ChunkReaders
from kogemma_rag.document_loaders import DocumentLoadError, SkippedPart, parser_pool
from kogemma_rag.embedder import Embedder
from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage import Storage
from kogemma_rag.storage_errors import StorageFullError


@pytest.fixture
def parsed(monkeypatch):
    """Names of the files that were parsed."""
    names = set()
    read = ChunkReaders.read

    def counted(self, path, source, **options):
        names.add(path.name)
        return read(self, path, source, **options)

    monkeypatch.setattr(ChunkReaders, "read", counted)
    return names


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "문서"
    write(folder / "가.txt", "서울은 한국의 수도이다.")
    write(folder / "나.md", "# 휴가\n\n연차는 15일이다.")
    write(folder / "하위" / "다.txt", "출장비는 영수증으로 정산한다.")
    return folder


@pytest.fixture
def embedding():
    return CountingEmbeddings()


@pytest.fixture
def index(tmp_path, embedding):
    with DocumentIndex.open(tmp_path / "index", embedding) as index:
        yield index


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def counts(report):
    return (report.added, report.updated, report.deleted, report.unchanged)


def texts(index):
    keys = [key for key, _ in index.vectorstore.storage.added_texts(0, 2**62)]
    documents = index.vectorstore.storage.documents(keys)
    return {(document.metadata["source"], document.page_content) for document in documents}


def test_new_changed_and_gone_files(index, folder, parsed, embedding):
    report = index.sync(folder, progress=False)
    assert counts(report) == (3, 0, 0, 0)
    assert (report.chunks, report.failed) == (3, ())
    assert report.seconds > 0
    first = texts(index)
    assert ("가.txt", "서울은 한국의 수도이다.") in first
    assert {source for source, _ in first} == {"가.txt", "나.md", "하위/다.txt"}

    write(folder / "가.txt", "부산은 항구 도시이다.")
    write(folder / "라.txt", "새 문서이다.")
    (folder / "하위" / "다.txt").unlink()
    parsed.clear()
    embedding.texts.clear()
    report = index.sync(folder, progress=False)
    assert counts(report) == (1, 1, 1, 1)
    assert parsed == {"가.txt", "라.txt"}
    assert len(embedding.texts) == 2
    assert {text for source, text in texts(index) if source != "나.md"} == {
        "부산은 항구 도시이다.",
        "새 문서이다.",
    }
    assert "부산" in index.search("부산 항구")[0][0].page_content
    assert not [d for d, _ in index.search("출장비 영수증 정산", k=9) if "출장비" in d.page_content]
    index.verify()


def test_an_unchanged_folder_costs_nothing(index, folder, parsed, embedding, tmp_path):
    write(folder / "깨짐.docx", "no archive")
    index.sync(folder, progress=False)
    watched = [file for file in (tmp_path / "index").rglob("*") if file.is_file()]
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in watched}
    parsed.clear()
    embedding.calls = 0
    report = index.sync(folder)
    assert counts(report) == (0, 0, 0, 3)
    assert [source for source, _ in report.failed] == ["깨짐.docx"]
    assert parsed == set()
    assert embedding.calls == 0
    assert before == {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in watched}


def test_old_files_are_known_by_size_and_times_alone(index, folder, monkeypatch):
    # As if all had been written long ago: only then the times prove anything.
    monkeypatch.setattr(sync, "_CLOCK_RESOLUTION_NS", -(10**18))
    index.sync(folder, progress=False)
    monkeypatch.setattr(sync, "sha256_of", lambda path: pytest.fail(f"{path} was read"))
    assert counts(index.sync(folder)) == (0, 0, 0, 3)


def test_same_size_and_time_do_not_hide_a_change(index, folder):
    index.sync(folder, progress=False)
    file = folder / "가.txt"
    before = file.stat()
    write(file, "부산은 한국의 수도이다.")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert counts(index.sync(folder, progress=False)) == (0, 1, 0, 2)
    assert ("가.txt", "부산은 한국의 수도이다.") in texts(index)


def test_a_change_within_one_tick_of_the_clock_is_seen(index, folder, monkeypatch):
    index.sync(folder, progress=False)
    stated = sync._stated
    before = {file.path: file for file in index.vectorstore.storage.files().values()}

    def stopped_clock(path):
        now, then = stated(path), before[str(path)]
        return replace(now, mtime_ns=then.mtime_ns, ctime_ns=then.ctime_ns)

    monkeypatch.setattr(sync, "_stated", stopped_clock)
    write(folder / "가.txt", "부산은 한국의 수도이다.")  # as long as before
    assert counts(index.sync(folder, progress=False)) == (0, 1, 0, 2)


def test_a_touched_file_is_not_parsed_again(index, folder, parsed):
    index.sync(folder, progress=False)
    parsed.clear()
    os.utime(folder / "가.txt", (1, 1))
    generation = index.info()["generation"]
    assert counts(index.sync(folder)) == (0, 0, 0, 3)
    assert parsed == set()
    assert index.info()["generation"] == generation


def test_unreadable_files_are_reported_and_the_rest_goes_on(index, folder):
    write(folder / "깨짐.docx", "no archive")
    write(folder / "빈.txt", "")
    write(folder / "그림.png", b"\x89PNG\r\n\x1a\n")
    report = index.sync(folder, progress=False)
    assert counts(report) == (3, 0, 0, 0)
    assert [source for source, _ in report.failed] == ["그림.png", "깨짐.docx", "빈.txt"]
    assert all(reason for _, reason in report.failed)
    write(folder / "빈.txt", "이제는 글이 있다.")
    report = index.sync(folder, progress=False)
    assert counts(report) == (1, 0, 0, 3)
    assert [source for source, _ in report.failed] == ["그림.png", "깨짐.docx"]
    (folder / "깨짐.docx").unlink()
    report = index.sync(folder, progress=False)
    assert counts(report) == (0, 0, 0, 4)  # nothing of it had been there to delete


def test_a_file_that_became_unreadable_keeps_its_earlier_version(index, folder):
    index.sync(folder, progress=False)
    before = texts(index)
    write(folder / "가.txt", "")
    for _ in range(2):
        report = index.sync(folder, progress=False)
        assert counts(report) == (0, 0, 0, 2)
        [(source, reason)] = report.failed
        assert source == "가.txt"
        assert reason.endswith("(이전에 읽은 내용은 그대로 검색됩니다)")
        assert texts(index) == before
    write(folder / "가.txt", "다시 읽을 수 있다.")
    assert counts(index.sync(folder, progress=False)) == (0, 1, 0, 2)
    assert ("가.txt", "다시 읽을 수 있다.") in texts(index)


def test_a_failure_is_tried_again_after_a_touch_or_by_another_version(
    index, folder, parsed, monkeypatch
):
    write(folder / "깨짐.docx", "no archive")
    index.sync(folder, progress=False)
    parsed.clear()
    os.utime(folder / "깨짐.docx", (1, 1))
    index.sync(folder, progress=False)
    assert parsed == {"깨짐.docx"}
    parsed.clear()
    monkeypatch.setattr(sync, "__version__", "99")
    index.sync(folder, progress=False)
    assert parsed == {"깨짐.docx"}
    parsed.clear()
    index.sync(folder, progress=False)
    assert parsed == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_reported_and_kept(index, folder):
    index.sync(folder, progress=False)
    before = texts(index)
    (folder / "가.txt").chmod(0)
    (folder / "하위").chmod(0)
    report = index.sync(folder, progress=False)
    assert report.deleted == 0
    assert {source for source, _ in report.failed} == {"가.txt", "하위/다.txt"}
    assert texts(index) == before


def test_a_file_out_of_reach_is_not_taken_for_gone(index, folder, monkeypatch):
    index.sync(folder, progress=False)
    before = texts(index)
    lost = folder / "하위" / "다.txt"
    find_files = sync.find_files
    monkeypatch.setattr(
        sync, "find_files", lambda path, **how: [f for f in find_files(path, **how) if f != lost]
    )
    report = index.sync(folder, progress=False)
    assert (report.deleted, [source for source, _ in report.failed]) == (0, ["하위/다.txt"])
    assert texts(index) == before


def test_a_single_file_and_a_folder_are_kept_apart(index, folder, tmp_path):
    other = tmp_path / "다른"
    write(other / "가.txt", "서울은 한국의 수도이다.")  # same name, same text
    assert counts(index.sync(folder / "가.txt", progress=False)) == (1, 0, 0, 0)
    assert counts(index.sync(folder, progress=False)) == (2, 0, 0, 1)
    assert counts(index.sync(other, progress=False)) == (1, 0, 0, 0)
    hits = [d for d, _ in index.search("한국의 수도", k=9) if d.metadata["source"] == "가.txt"]
    assert len({document.id for document in hits}) == 2
    (other / "가.txt").unlink()
    assert counts(index.sync(other, progress=False)) == (0, 0, 1, 0)
    assert len([d for d, _ in index.search("한국의 수도", k=9) if "수도" in d.page_content]) == 1
    index.verify()


def test_a_folder_whose_name_begins_the_same_is_another_one(index, tmp_path):
    for name in ("문서", "문서2"):
        write(tmp_path / name / "가.txt", f"{name}의 글")
        index.sync(tmp_path / name, progress=False)
    (tmp_path / "문서" / "가.txt").unlink()
    assert counts(index.sync(tmp_path / "문서", progress=False)) == (0, 0, 1, 0)
    assert texts(index) == {("가.txt", "문서2의 글")}


def test_an_index_inside_the_folder_does_not_index_itself(folder, embedding):
    with DocumentIndex.open(folder / "index", embedding) as index:
        for _ in range(2):
            assert index.sync(folder, progress=False).failed == ()


def test_nothing_at_the_path(index, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder at .*없음"):
        index.sync(tmp_path / "없음")


def test_an_empty_folder(index, tmp_path):
    (tmp_path / "빈").mkdir()
    assert counts(index.sync(tmp_path / "빈")) == (0, 0, 0, 0)


def test_what_was_committed_stays_and_the_next_sync_goes_on(
    index, folder, parsed, embedding, monkeypatch
):
    monkeypatch.setattr(ingest, "_BATCH_FILES", 1)
    read = ChunkReaders.read

    def interrupted(self, path, source, **options):
        if path.name == "나.md":
            raise KeyboardInterrupt
        return read(self, path, source, **options)

    monkeypatch.setattr(ChunkReaders, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.sync(folder, progress=False)
    assert texts(index) == {("가.txt", "서울은 한국의 수도이다.")}
    assert index.search("서울")[0][0].metadata["source"] == "가.txt"
    monkeypatch.setattr(ChunkReaders, "read", read)
    assert counts(index.sync(folder, progress=False)) == (2, 0, 0, 1)


def test_batches_are_bounded(index, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "_BATCH_CHUNKS", 4)
    for number in range(10):
        write(tmp_path / "많은" / f"{number:02d}.txt", f"문서 {number}")
    start = index.info()["generation"]
    assert index.sync(tmp_path / "많은", progress=False).chunks == 10
    assert index.info()["generation"] == start + 3  # 4 + 4 + 2 files, a transaction each


def test_a_file_with_one_chunk_twice_has_it_once(index, tmp_path, monkeypatch):
    write(tmp_path / "행.txt", "행")
    read = ChunkReaders.read
    monkeypatch.setattr(
        ChunkReaders, "read", lambda *given, **how: (c for c in 2 * list(read(*given, **how)))
    )
    assert index.sync(tmp_path / "행.txt", progress=False).chunks == 1


def test_file_names_in_any_form(index, tmp_path):
    folder = tmp_path / "이름"
    folder.mkdir()
    write(folder / unicodedata.normalize("NFD", "각서.txt"), "첫째 글")
    with open(os.fsencode(folder) + b"/\xc7\xd1\xb1\xdb.txt", "wb") as file:  # 한글 in CP949  # noqa: PTH123
        file.write("둘째 글".encode())
    assert index.sync(folder, progress=False).added == 2
    assert texts(index) == {("각서.txt", "첫째 글"), ("한글.txt", "둘째 글")}
    assert counts(index.sync(folder, progress=False)) == (0, 0, 0, 2)


def test_progress_is_drawn_on_stderr_only_when_there_is_work(index, folder, capfd):
    index.sync(folder)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err
    assert "B/s" in shown.err
    index.sync(folder)
    assert capfd.readouterr().err == ""
    write(folder / "새.txt", "새 글")
    index.sync(folder, progress=False)
    assert capfd.readouterr().err == ""


def test_the_bar_moves_within_a_large_file(index, folder, monkeypatch):
    monkeypatch.setattr(ingest, "_MOST_IN_MEMORY", 10)
    monkeypatch.setattr(ingest, "_BATCH_CHUNKS", 10)
    monkeypatch.setattr(ingest, "_SLICE_CHUNKS", 10)
    large = folder / "큰 글.txt"
    write(large, "서울의 봄은 짧다. 부산의 여름은 길다.\n" * 50_000)  # two parts
    done = []
    monkeypatch.setattr(sync._Bar, "_count", lambda self, path, size: done.append((path, size)))
    index.sync(large, progress=False)
    sizes = [size for _, size in done]
    assert sizes == sorted(sizes)
    assert sizes[-1] == large.stat().st_size
    assert len({size for size in sizes if size < sizes[-1] / 2}) >= 1  # read
    assert len({size for size in sizes if sizes[-1] / 2 < size}) > 10  # embedded


def test_links_are_followed_only_when_asked(index, folder, tmp_path):
    write(tmp_path / "밖" / "라.txt", "바깥 글이다.")
    (folder / "링크.txt").symlink_to(tmp_path / "밖" / "라.txt")
    (folder / "폴더").symlink_to(tmp_path / "밖")
    assert counts(index.sync(folder, progress=False))[:1] == (3,)
    asked = index.sync(folder, progress=False, follow_symlinks=True)
    assert counts(asked) == (2, 0, 0, 3)
    assert {("링크.txt", "바깥 글이다."), ("폴더/라.txt", "바깥 글이다.")} <= texts(index)
    assert counts(index.sync(folder, progress=False, follow_symlinks=True)) == (0, 0, 0, 5)
    assert index.sync(folder, progress=False).deleted == 2


def test_parts_that_could_not_be_read_are_told(index, folder, monkeypatch):
    read = ChunkReaders.read

    def partly(self, path, source, **options):
        yield from read(self, path, source, **options)
        if path.name == "나.md":
            yield SkippedPart("그림.png", "지원하지 않는 형식입니다")

    monkeypatch.setattr(ChunkReaders, "read", partly)
    report = index.sync(folder, progress=False)
    assert report.skipped == (("나.md › 그림.png", "지원하지 않는 형식입니다"),)
    assert (report.added, report.failed) == (3, ())


def test_unexpected_errors_are_not_swallowed(index, folder, monkeypatch):
    monkeypatch.setattr(ChunkReaders, "read", lambda *given, **how: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        index.sync(folder, progress=False)


def test_reasons_are_those_of_the_loader(index, folder, monkeypatch):
    def refuse(self, path, source, **options):
        raise DocumentLoadError(path, "암호가 걸려 있습니다")
        yield

    monkeypatch.setattr(ChunkReaders, "read", refuse)
    report = index.sync(folder / "가.txt", progress=False)
    assert report.failed == (("가.txt", "암호가 걸려 있습니다"),)
    with sqlite3.connect(index.vectorstore.folder / "index.sqlite3") as connection:
        assert connection.execute("SELECT COUNT(*) FROM chunks").fetchone() == (0,)


def keyed(index):
    storage = index.vectorstore.storage
    keys = [key for key, _ in storage.added_texts(0, 2**62)]
    return list(zip(storage.ids(keys), storage.paths(storage.ids(keys)).values(), strict=True))


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(parser_pool, "_START_SECONDS", 0.0)
    folder = tmp_path / "문서"
    for number in range(30):
        write(folder / f"{number:02d}.txt", f"{number}번째 글이다. " * (number % 7 * 40))
    write(folder / "깨짐.docx", "no archive")
    seen = []
    for workers in (1, 3):
        with DocumentIndex.open(tmp_path / f"index{workers}", CountingEmbeddings()) as index:
            report = index.sync(folder, progress=False, workers=workers)
            seen.append((replace(report, seconds=0.0), keyed(index)))
    assert seen[0] == seen[1]
    assert len(seen[0][1]) > 30
    assert len(seen[0][0].failed) == 6  # 00, 07, 14, 21, 28 are empty


def test_a_very_large_file_is_written_whole(tmp_path, folder, monkeypatch):
    write(folder / "큰.txt", "\n\n".join(f"{n}번째 문단이다. " * 30 for n in range(60)))
    seen = []
    for name in ("memory", "disk"):
        with DocumentIndex.open(tmp_path / name, CountingEmbeddings()) as index:
            report = index.sync(folder, progress=False)
            words = index.lexical.view.search("번째 문단", 50)
            seen.append((report.chunks, texts(index), keyed(index), len(words)))
            index.verify()
        monkeypatch.setattr(ingest, "_MOST_IN_MEMORY", 20)
        monkeypatch.setattr(ingest, "_SLICE_CHUNKS", 8)
        monkeypatch.setattr(local_target, "_SLICE", 7)
    assert seen[0] == seen[1]
    assert seen[0][0] > 40


def test_workers_and_another_ingest_exclude_each_other(index, folder):
    with pytest.raises(ValueError, match="not both"):
        index.sync(folder, workers=2, ingest=ingest.ingest)
    with pytest.raises(ValueError, match="workers is 0"):
        index.sync(folder, workers=0)


class MeddlingEmbeddings(CountingEmbeddings):
    """Somebody else does something while the first texts are embedded."""

    def __init__(self, meddle):
        super().__init__()
        self.meddle = meddle
        self.fingerprint = Embedder(CountingEmbeddings()).fingerprint  # the same model

    def embed_documents(self, texts):
        meddle, self.meddle = self.meddle, None
        if meddle:
            meddle()
        return super().embed_documents(texts)


def test_two_syncs_at_once_double_nothing(tmp_path, folder):
    reports = []

    def other_sync():
        with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as other:
            reports.append(other.sync(folder, progress=False))

    embeddings = MeddlingEmbeddings(other_sync)
    with DocumentIndex.open(tmp_path / "index", embeddings) as index:
        report = index.sync(folder, progress=False)
        assert [counts(one) for one in (*reports, report)] == [(3, 0, 0, 0), (0, 0, 0, 3)]
        assert (reports[0].chunks, report.chunks, index.info()["chunks"]) == (3, 0, 3)
        index.verify()


def test_others_write_while_a_sync_embeds(tmp_path, folder):
    def add():
        with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as other:
            other.add_documents([Document("사이에 쓴 글")])

    embeddings = MeddlingEmbeddings(add)
    with DocumentIndex.open(tmp_path / "index", embeddings) as index:
        assert index.sync(folder, progress=False).chunks == 3
        assert index.info()["chunks"] == 4
        assert index.search("사이에 쓴")[0][0].page_content == "사이에 쓴 글"


def test_an_error_of_the_model_keeps_what_was_committed(index, folder, embedding, monkeypatch):
    monkeypatch.setattr(ingest, "_BATCH_FILES", 1)
    embed = embedding.embed_documents

    def fail(texts):
        if "연차" in texts[0]:
            raise ConnectionError("the model is gone")
        return embed(texts)

    monkeypatch.setattr(embedding, "embed_documents", fail)
    with pytest.raises(ConnectionError, match="the model is gone"):
        index.sync(folder, progress=False)
    assert {source for source, _ in texts(index)} == {"가.txt"}
    monkeypatch.setattr(embedding, "embed_documents", embed)
    assert counts(index.sync(folder, progress=False)) == (2, 0, 0, 1)


def test_an_error_of_writing_keeps_what_was_committed(index, folder, monkeypatch):
    monkeypatch.setattr(ingest, "_BATCH_FILES", 1)
    record = Storage.record_file

    def full(self, file):
        if file.path.endswith("나.md"):
            raise StorageFullError("no space")
        record(self, file)

    monkeypatch.setattr(Storage, "record_file", full)
    with pytest.raises(StorageFullError):
        index.sync(folder, progress=False)
    assert {source for source, _ in texts(index)} == {"가.txt"}
    monkeypatch.setattr(Storage, "record_file", record)
    assert counts(index.sync(folder, progress=False)) == (2, 0, 0, 1)


INTERRUPTED = """
import sys, time
from counting_embeddings import CountingEmbeddings
from kogemma_rag import ingest
from kogemma_rag.document_loaders import parser_pool
from kogemma_rag.index import DocumentIndex

parser_pool._START_SECONDS = 0.0
ingest._BATCH_FILES = 1
with DocumentIndex.open(sys.argv[1], CountingEmbeddings()) as index:
    write = index.vectorstore.storage.record_file
    index.vectorstore.storage.record_file = lambda file: (print(file.path, flush=True), write(file))
    index.sync(sys.argv[2], progress=False, workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a group of processes")
def test_ctrl_c_keeps_what_was_committed_and_leaves_no_process(tmp_path, embedding):
    for number in range(300):
        write(tmp_path / "문서" / f"{number:03d}.txt", f"{number}번째 글이다.")
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "index"), str(tmp_path / "문서")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    # A group of its own, as a terminal makes one of a command: all of it gets the signal.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        text=True,
    ) as process:
        assert process.stdout.readline().strip().endswith("000.txt")
        assert process.stdout.readline().strip().endswith("001.txt")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody is left of the group
    with DocumentIndex.open(tmp_path / "index", embedding) as index:
        first = index.info()["files"]
        assert 1 <= first < 300
        report = index.sync(tmp_path / "문서", progress=False)
        assert (report.added, report.unchanged, report.failed) == (300 - first, first, ())
        index.verify()
