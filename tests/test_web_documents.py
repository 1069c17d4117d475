"""Documents come, answer, are replaced and go, by the library and by HTTP."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from starlette.testclient import TestClient

from kogemma_rag.engines import EngineIndex
from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage_errors import StorageError
from kogemma_rag.web.app import create_app
from kogemma_rag.web.document_library import (
    DocumentLibrary,
    DocumentNotFoundError,
    DocumentRefusedError,
)
from kogemma_rag.web.document_states import DocumentState
from kogemma_rag.web.options import ServeOptions

WORKING = {"queued", "parsing", "embedding"}


class Fixture:
    """An index in a folder, and libraries over it, one after another."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.index = DocumentIndex.open(folder / "index", DeterministicFakeEmbedding(size=8))
        self.options = ServeOptions(index=self.index, **options)
        self.library = DocumentLibrary(self.index, self.options)

    def restart(self) -> None:
        self.library.close()
        self.library = DocumentLibrary(self.index, self.options)
        self.library.start()

    def close(self) -> None:
        self.library.close()
        self.index.close()

    def add(self, name: str, text: str, **options: Any) -> str:
        return self.library.add(name, io.BytesIO(text.encode()), **options)

    def settled(self, id_: str) -> DocumentState:
        deadline = time.monotonic() + 60
        while (one := self.library.document(id_)).state in WORKING:
            assert time.monotonic() < deadline, one
            time.sleep(0.01)
        return one

    def texts(self, word: str) -> list[str]:
        """What a search finds that holds the word."""
        found = [document.page_content for document, _ in self.index.search(word, k=20)]
        return sorted(text for text in found if word in text)

    @property
    def stored(self) -> list[Path]:
        return sorted((self.folder / "index" / "web" / "uploads").iterdir())


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Fixture]:
    fixture = Fixture(tmp_path)
    yield fixture
    fixture.close()


def test_upload_answers_under_its_own_name(shelf: Fixture) -> None:
    shelf.library.start()
    id_ = shelf.add("인사/휴가규정.txt", "연차휴가는 열닷새다.")
    one = shelf.settled(id_)
    assert (one.title, one.media_type, one.size) == ("인사/휴가규정.txt", "text/plain", 29)
    assert (one.state, one.progress, one.reason, one.chunks) == ("ready", 1.0, None, 1)
    [(document, _)] = shelf.index.search("연차휴가")
    assert document.metadata["source"] == "인사/휴가규정.txt"
    assert shelf.library.document_ids([str(document.id), "unknown"]) == {document.id: id_}
    [file] = shelf.stored
    assert (file.suffix, len(file.stem), file.read_bytes().decode()) == (
        ".txt",
        32,
        "연차휴가는 열닷새다.",
    )


def test_replacement_is_there_before_the_old_version_goes(shelf: Fixture) -> None:
    shelf.library.start()
    id_ = shelf.add("규정.txt", "휴가는 열흘이다.")
    shelf.settled(id_)
    # One that cannot be read leaves the old version answering.
    assert shelf.add("규정.bin", "\x00\x01", replaces=id_) == id_
    failed = shelf.settled(id_)
    assert (failed.state, failed.chunks) == ("failed", 1)
    assert failed.reason == "지원하지 않는 형식입니다: .bin (앞서 올린 내용은 그대로 검색됩니다)"
    assert shelf.texts("휴가") == ["휴가는 열흘이다."]
    assert len(shelf.stored) == 2
    seen: set[tuple[str, ...]] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(tuple(shelf.texts("휴가")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    shelf.add("새규정.txt", "휴가는 열닷새다.", replaces=id_)
    one = shelf.settled(id_)
    done.set()
    watcher.join()
    assert (one.title, one.state, one.chunks) == ("새규정.txt", "ready", 1)
    assert () not in seen  # somebody always answers
    assert shelf.texts("휴가") == ["휴가는 열닷새다."]
    assert len(shelf.stored) == 1
    assert [one.id for one in shelf.library.documents()] == [id_]


def test_deleted_document_answers_no_more(shelf: Fixture) -> None:
    shelf.library.start()
    gone, stays = shelf.add("가.txt", "휴가는 열흘이다."), shelf.add("나.txt", "휴가는 이레다.")
    shelf.settled(stays)
    shelf.library.delete(gone)
    assert shelf.texts("휴가") == ["휴가는 이레다."]
    assert len(shelf.stored) == 1
    with pytest.raises(DocumentNotFoundError):
        shelf.library.document(gone)
    with pytest.raises(DocumentNotFoundError):
        shelf.library.delete(gone)


def test_document_deleted_or_replaced_while_it_is_read(shelf: Fixture) -> None:
    shelf.library.start()
    for _ in range(5):
        id_ = shelf.add("가.txt", "휴가는 열흘이다.")
        time.sleep(0.02)
        shelf.library.delete(id_)
    id_ = shelf.add("나.txt", "휴가는 하루다.")
    for days in ("이틀", "사흘", "나흘"):
        shelf.add("나.txt", f"휴가는 {days}이다.", replaces=id_)
    shelf.settled(id_)
    assert shelf.texts("휴가") == ["휴가는 나흘이다."]
    assert len(shelf.stored) == 1


def test_failure_tells_its_reason_and_can_be_tried_again(shelf: Fixture) -> None:
    shelf.library.start()
    id_ = shelf.add("빈.txt", "")
    assert shelf.settled(id_).reason == "빈 파일입니다"
    [file] = shelf.stored
    file.write_text("이제는 휴가가 있다.", encoding="utf-8")
    shelf.library.retry(id_)
    assert shelf.settled(id_).state == "ready"
    assert shelf.texts("휴가") == ["이제는 휴가가 있다."]
    with pytest.raises(DocumentRefusedError, match="실패한 문서만"):
        shelf.library.retry(id_)


def test_document_deleted_while_it_is_tried_again_stays_away(
    shelf: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.library.start()
    id_ = shelf.add("빈.txt", "")
    shelf.settled(id_)
    forget = shelf.index.forget

    def deleted_meanwhile(paths: Any) -> None:
        monkeypatch.undo()
        forget(paths)
        shelf.library.delete(id_)

    monkeypatch.setattr(shelf.index, "forget", deleted_meanwhile)
    shelf.library.retry(id_)
    assert shelf.library.documents() == []


def test_error_of_the_model_fails_one_document_and_not_the_next(
    shelf: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = shelf.index.vectorstore.embedder.embeddings
    original = type(embeddings).embed_documents

    def embed(self: Any, texts: list[str]) -> Any:
        if any("나쁜" in text for text in texts):
            raise RuntimeError("out of memory")
        return original(self, texts)

    monkeypatch.setattr(type(embeddings), "embed_documents", embed)
    bad, good = shelf.add("가.txt", "나쁜 글이다."), shelf.add("나.txt", "좋은 글이다.")
    shelf.library.start()
    assert shelf.settled(good).state == "ready"
    assert shelf.library.document(bad).state == "failed"


def test_uploads_that_wait_are_read_together(
    shelf: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile one of them is deleted and another one replaced."""
    ids = [shelf.add(f"{number}.txt", f"안내 {number}번이다.") for number in range(40)]
    sync, sizes = shelf.index.sync, []
    model = type(shelf.index.vectorstore.embedder.embeddings)
    embed = model.embed_documents

    def counted(*args: Any, **options: Any) -> Any:
        sizes.append(len(options["sources"]))
        return sync(*args, **options)

    def changed_meanwhile(self: Any, texts: list[str]) -> Any:
        monkeypatch.setattr(model, "embed_documents", embed)
        shelf.library.delete(ids[3])
        shelf.add("새.txt", "안내 새것이다.", replaces=ids[5])
        return embed(self, texts)

    monkeypatch.setattr(shelf.index, "sync", counted)
    monkeypatch.setattr(model, "embed_documents", changed_meanwhile)
    shelf.library.start()
    states = [shelf.settled(id_) for id_ in ids if id_ != ids[3]]
    assert {(one.state, one.chunks) for one in states} == {("ready", 1)}
    assert len(shelf.library.documents()) == len(shelf.stored) == 39
    found = {document.page_content for document, _ in shelf.index.search("안내", k=100)}
    others = {f"안내 {number}번이다." for number in range(40) if number not in (3, 5)}
    assert found == {"안내 새것이다.", *others}
    assert sizes == [8, 8, 8, 8, 8, 1]


def test_what_waited_or_was_being_deleted_goes_on_after_a_restart(shelf: Fixture) -> None:
    waits, gone = shelf.add("가.txt", "휴가는 열흘이다."), shelf.add("나.txt", "휴가는 이레다.")
    uploads = shelf.folder / "index" / "web" / "uploads"
    (uploads / f"{'0a' * 16}.txt").write_text("?")
    (uploads / "another's.txt").write_text("!")
    record = shelf.library._records.get(gone)
    shelf.library._records.put(record.__class__(**{**vars(record), "state": "deleting"}))
    shelf.restart()
    assert shelf.settled(waits).state == "ready"
    assert [one.id for one in shelf.library.documents()] == [waits]
    assert shelf.texts("휴가") == ["휴가는 열흘이다."]
    assert len(shelf.stored) == 2
    assert (uploads / "another's.txt").exists()


def test_names_are_unique_and_uploads_counted(tmp_path: Path) -> None:
    shelf = Fixture(tmp_path, max_documents=2)
    for _ in range(2):
        shelf.add("규정.txt", "글")
    titles = sorted(one.title for one in shelf.library.documents())
    assert titles == ["규정 (2).txt", "규정.txt"]
    with pytest.raises(DocumentRefusedError, match="최대 2개"):
        shelf.add("규정.txt", "글")
    assert len(shelf.stored) == 2
    shelf.close()


def test_upload_that_finds_no_room_any_more_leaves_no_file(shelf: Fixture) -> None:
    gone = shelf.add("가.txt", "휴가는 열흘이다.")

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if gone in [one.id for one in shelf.library.documents()]:
                shelf.library.delete(gone)
            return super().read(size)

    with pytest.raises(DocumentNotFoundError):
        shelf.library.add("나.txt", Slow(b"x"), replaces=gone)
    assert shelf.stored == []


def test_uploads_to_an_engine_are_gone_with_the_server(tmp_path: Path) -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    with EngineIndex(store, ledger=tmp_path / "ledger") as index:
        library = DocumentLibrary(index, ServeOptions(index=index))
        id_ = library.add("가.txt", io.BytesIO("휴가는 열흘이다.".encode()))
        library.start()
        assert wait_for(lambda: library.document(id_).state == "ready")
        assert [file.suffix for file in (library.folder / "uploads").iterdir()] == [".txt"]
        library.close()
        assert not library.folder.exists()


def test_uploads_to_an_engine_are_kept_in_a_folder_that_is_named(tmp_path: Path) -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    with EngineIndex(store, ledger=tmp_path / "ledger") as index:
        options = ServeOptions(index=index, data=tmp_path / "data")
        library = DocumentLibrary(index, options)
        id_ = library.add("가.txt", io.BytesIO("휴가는 열흘이다.".encode()))
        library.start()
        assert wait_for(lambda: library.document(id_).state == "ready")
        library.close()
        again = DocumentLibrary(index, options)
        assert [(one.id, one.title, one.state) for one in again.documents()] == [
            (id_, "가.txt", "ready")
        ]
        kept = Path(again.file_place(id_).path)
        assert kept.is_relative_to(tmp_path / "data")
        assert kept.read_text(encoding="utf-8") == "휴가는 열흘이다."
        again.close()
    fresh = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    with EngineIndex(fresh, ledger=tmp_path / "another ledger") as index:
        library = DocumentLibrary(index, ServeOptions(index=index, data=tmp_path / "data"))
        library.start()  # another index does not have what the records say it has
        assert wait_for(lambda: [one.page_content for one in fresh.similarity_search("휴가")])
        assert wait_for(lambda: library.document(id_).state == "ready")
        library.delete(id_)
        assert not kept.exists()
        assert fresh.similarity_search("휴가") == []
        library.close()


def test_folder_with_uploads_of_another_program_is_refused(shelf: Fixture) -> None:
    theirs = shelf.folder / "site" / "uploads" / f"{'0a' * 16}.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"?")
    options = ServeOptions(index=shelf.index, data=shelf.folder / "site")
    with pytest.raises(StorageError, match="choose an empty folder"):
        DocumentLibrary(shelf.index, options)
    assert theirs.exists()


def test_small_uploads_do_not_wait_for_a_large_one(
    shelf: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, together = shelf.index.sync, []

    def counted(*args: Any, **options: Any) -> Any:
        together.append(sorted(options["sources"].values()))
        return sync(*args, **options)

    monkeypatch.setattr(shelf.index, "sync", counted)
    texts = {"가.txt": "휴가", "나.txt": "출장", "큰.txt": "회의 " * 200_000, "다.txt": "비품"}
    ids = [shelf.add(name, text) for name, text in texts.items()]
    shelf.library.start()
    assert {shelf.settled(id_).state for id_ in ids} == {"ready"}
    assert together == [["가.txt", "나.txt"], ["큰.txt"], ["다.txt"]]


def test_served_folder_is_kept_in_step(tmp_path: Path) -> None:
    served = tmp_path / "served"
    (served / "인사").mkdir(parents=True)
    (served / "인사" / "휴가.txt").write_text("휴가는 열흘이다.", encoding="utf-8")
    (served / "출장.txt").write_text("출장비는 실비다.", encoding="utf-8")
    (served / "빈.txt").write_text("")
    shelf = Fixture(tmp_path, documents=served)
    upload = shelf.add("출장.txt", "올린 출장비다.")
    shelf.library.start()
    assert wait_for(lambda: len(shelf.library.documents()) == 4)
    assert wait_for(lambda: not any(one.state in WORKING for one in shelf.library.documents()))
    states = {one.title: one for one in shelf.library.documents()}
    assert sorted(states) == ["빈.txt", "인사/휴가.txt", "출장.txt"]  # the upload came first
    assert states["빈.txt"].reason == "빈 파일입니다"
    leave = states["인사/휴가.txt"]
    assert (leave.state, leave.chunks, leave.uploaded) == ("ready", 1, False)
    with pytest.raises(DocumentRefusedError, match="폴더에 있는 문서"):
        shelf.add("x.txt", "글", replaces=leave.id)

    shelf.library.delete(leave.id)
    assert shelf.texts("휴가") == []
    (served / "새글.txt").write_text("새 글이다.", encoding="utf-8")
    shelf.library.sync()
    assert wait_for(lambda: shelf.texts("새") == ["새 글이다."])
    assert shelf.texts("휴가") == []  # it stays out
    assert (served / "인사" / "휴가.txt").exists()
    shelf.index.sync(served, progress=False, workers=1)  # unless somebody asks for it
    assert shelf.texts("휴가") == ["휴가는 열흘이다."]
    # A sync of what is around the index leaves uploads alone.
    report = shelf.index.sync(tmp_path, progress=False, workers=1)
    assert [source for source, _ in report.failed] == ["served/빈.txt"]
    assert shelf.library.document(upload).chunks == 1
    assert shelf.texts("올린") == ["올린 출장비다."]
    shelf.close()


def test_sync_of_a_named_file_and_of_a_folder_without_some(shelf: Fixture) -> None:
    folder = shelf.folder / "글"
    folder.mkdir()
    for name in ("가", "나"):
        (folder / f"{name}.txt").write_text(f"{name} 글이다.", encoding="utf-8")
    sources = {str((folder / "가.txt").resolve()): "부서/다른 이름.txt"}
    for count in (1, 0):
        report = shelf.index.sync(folder, progress=False, workers=1, sources=sources)
        assert (report.added, report.unchanged, report.deleted) == (count, 1 - count, 0)
    [(document, _)] = shelf.index.search("글", k=5)
    assert (document.metadata["source"], document.page_content) == (
        "부서/다른 이름.txt",
        "가 글이다.",
    )
    shelf.index.sync(folder, progress=False, workers=1)
    assert sorted(Path(path).name for path in shelf.index.files()) == ["가.txt", "나.txt"]
    report = shelf.index.sync(folder, progress=False, leave_out=[(folder / "가.txt").resolve()])
    assert (report.deleted, report.unchanged, report.failed) == (1, 1, ())
    shelf.index.forget([str(folder.resolve() / "나.txt"), "unknown"])
    assert shelf.index.files() == {}
    assert shelf.index.search("글") == []
    with pytest.raises(ValueError, match="files that are not in"):
        shelf.index.sync(folder, progress=False, sources={str(shelf.folder / "다.txt"): "x"})


def test_watched_folder(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    shelf = Fixture(tmp_path, documents=served, watch=True)
    shelf.library.start()
    # What is there before the watch begins is found by the first sync.
    (served / "가.txt").write_text("휴가는 열흘이다.", encoding="utf-8")
    assert wait_for(lambda: shelf.texts("휴가") == ["휴가는 열흘이다."], again=shelf.library.sync)
    (served / "가.txt").write_text("휴가는 보름이다.", encoding="utf-8")
    assert wait_for(lambda: shelf.texts("휴가") == ["휴가는 보름이다."])
    shelf.close()


def wait_for(holds: Any, *, again: Any = None) -> bool:
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            return False
        if again is not None:
            again()
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("http")
    with DocumentIndex.open(folder / "index", DeterministicFakeEmbedding(size=8)) as index:
        options = ServeOptions(index=index, max_upload_bytes=1_000_000)
        with TestClient(create_app(options), base_url="http://127.0.0.1") as client:
            yield client


def settled(client: TestClient, id_: str) -> dict[str, Any]:
    assert wait_for(lambda: client.get(f"/v1/documents/{id_}").json()["state"] not in WORKING)
    return dict(client.get(f"/v1/documents/{id_}").json())


def test_documents_by_http(client: TestClient) -> None:
    files = [("file", ("휴가.txt", "휴가는 열흘이다.")), ("file", ("../../x.txt", "엑스"))]
    answer = client.post("/v1/documents", files=files)
    assert answer.status_code == 202
    first, second = answer.json()["data"]
    assert (first["title"], second["title"]) == ("휴가.txt", "x.txt")
    one = settled(client, first["id"])
    assert (one["state"], one["chunks"], one["media_type"]) == ("ready", 1, "text/plain")
    listed = client.get("/v1/documents").json()
    assert listed["folder"] is None
    assert {one["id"] for one in listed["data"]} == {first["id"], second["id"]}
    found = client.post("/v1/search", json={"query": "휴가"}).json()["data"][0]
    assert found["document_id"] == first["id"]
    where = {"chunk": found["chunk_id"], "start": 4, "end": 6}
    text = client.get(f"/v1/documents/{first['id']}/text", params=where).json()
    assert text["document"]["title"] == "휴가.txt"
    assert text["marks"] == [{"section": 0, "start": 4, "end": 6}]
    assert text["sections"][0]["text"] == "휴가는 열흘이다."
    assert client.get(f"/v1/documents/{first['id']}/pages/1").status_code == 404
    assert client.get(f"/v1/documents/{first['id']}/pages/1.png").status_code == 404

    replaced = client.post(
        "/v1/documents",
        files=[("file", ("휴가.txt", "휴가는 보름이다."))],
        data={"replace": first["id"]},
    )
    assert replaced.json()["data"][0]["id"] == first["id"]
    settled(client, first["id"])
    assert client.post(f"/v1/documents/{first['id']}/retry").status_code == 409
    for one in (first, second):
        assert client.delete(f"/v1/documents/{one['id']}").status_code == 204
        assert client.get(f"/v1/documents/{one['id']}").status_code == 404
        assert client.delete(f"/v1/documents/{one['id']}").status_code == 404
    assert client.post("/v1/search", json={"query": "휴가"}).json()["data"] == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"files": []}, 415),
        ({"files": [("other", ("a.txt", "x"))]}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400),
        ({"files": [("file", ("a.txt", "x"))], "data": {"replace": "0" * 32}}, 404),
        ({"files": [("file", ("a.txt", "x"))] * 2, "data": {"replace": "0" * 32}}, 400),
        ({"files": [("file", ("a.txt", "x"))] * 201}, 400),
        ({"files": [("file", ("a.txt", b"x" * 1_000_001))]}, 413),
    ],
)
def test_bad_upload_is_an_error_object(
    client: TestClient, request_: dict[str, Any], status: int
) -> None:
    answer = client.post("/v1/documents", **request_)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert client.get("/v1/documents").json()["data"] == []


async def test_upload_that_is_too_large_is_not_read_to_its_end(client: TestClient) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    scope = {
        "type": "http", "method": "POST", "path": "/v1/documents", "raw_path": b"/v1/documents",
        "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=b")],
    }  # fmt: skip
    read, sent = [0], []

    async def receive() -> dict[str, Any]:
        read[0] += 1
        return {"type": "http.request", "body": head if read[0] == 1 else b"x" * 65_536,
                "more_body": True}  # fmt: skip

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await client.app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert read[0] <= 1 + 1_000_000 // 65_536 + 1
    assert json.loads(sent[1]["body"])["error"]["code"]


async def test_pages_that_take_long_leave_others_to_be_answered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = threading.Event()

    def draw(*_: Any) -> bytes:
        drawn.wait(20)
        return b"png"

    monkeypatch.setattr("kogemma_rag.web.places.Places.picture", draw)
    transport = httpx.ASGITransport(app=client.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as others:
        picture = f"/v1/documents/{'0' * 32}/pages/1.png"
        asked = [asyncio.create_task(others.get(picture)) for _ in range(60)]
        await asyncio.sleep(0.2)
        try:
            listed = await asyncio.wait_for(others.get("/v1/documents"), 5)
        finally:
            drawn.set()
        answers = await asyncio.gather(*asked)
    assert listed.status_code == 200
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"png")}


def test_feedback_by_http(client: TestClient) -> None:
    source = {"n": 1, "title": "휴가.txt", "text": "휴가는 열흘이다.", "quote": "휴가는 열흘이다."}
    body = {
        "question": "며칠?",
        "answer": "열흘 [1]",
        "rating": "up",
        "note": "",
        "sources": [source],
    }
    assert client.post("/v1/feedback", json=body).status_code == 201
    assert client.post("/v1/feedback", json={**body, "rating": "so-so"}).status_code == 400
    broken = json.dumps({**body, "question": "\ud800"})
    assert client.post("/v1/feedback", content=broken).status_code == 400
    exported = client.get("/v1/feedback/export").json()
    [paragraph] = exported["data"][0]["paragraphs"]
    assert paragraph["context"] == "휴가는 열흘이다."
    assert paragraph["qas"][0]["answers"] == [{"text": "휴가는 열흘이다.", "answer_start": 0}]
