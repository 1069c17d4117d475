"""Names from outside are shown, made harmless, and never become a path."""

import io
import itertools
import random
import re
import unicodedata
from pathlib import Path

import pytest

from kogemma_rag.web.upload_files import UploadFiles
from kogemma_rag.web.upload_names import (
    MOST_CHARACTERS,
    UNNAMED,
    display_name,
    stored_name,
    unique_name,
)

STORED = re.compile(r"[0-9a-f]{32}(\.[a-z0-9]{1,10})?")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("휴가규정.hwp", "휴가규정.hwp"),
        (unicodedata.normalize("NFD", "휴가규정.hwp"), "휴가규정.hwp"),
        ("인사/2026/휴가규정.hwp", "인사/2026/휴가규정.hwp"),
        ("인사\\휴가규정.hwp", "인사/휴가규정.hwp"),
        ("./a//b.txt", "a/b.txt"),
        ("../../etc/passwd", "passwd"),
        ("a/../b.txt", "b.txt"),
        ("/etc/cron.d/x", "x"),
        ("C:\\Windows\\system32\\x.dll", "x.dll"),
        ("c:x.txt", "x.txt"),
        ("\\\\server\\share\\x.txt", "x.txt"),
        ("..%2f..%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd"),
        ("a\x00b\r\nc.txt", "ab c.txt"),
        ("\u202egpj.exe", "gpj.exe"),
        ("\u200f규정\u200b.pdf", "규정.pdf"),
        ("\ud800.txt", ".txt"),
        ("CON", "CON"),
        ("", UNNAMED),
        (None, UNNAMED),
        ("..", UNNAMED),
        ("/", UNNAMED),
        (". .", UNNAMED),
        ("  휴가   규정 .pdf ", "휴가 규정 .pdf"),
    ],
)
def test_shown_name(given: str | None, shown: str) -> None:
    assert display_name(given) == shown


def test_long_name_keeps_its_end() -> None:
    assert display_name("가" * 500 + ".hwpx") == "가" * 194 + "….hwpx"
    assert display_name("폴더" * 90 + "/" + "가" * 30 + ".hwp") == "가" * 30 + ".hwp"


@pytest.mark.parametrize(
    ("name", "taken", "unique"),
    [
        ("규정.hwp", set(), "규정.hwp"),
        ("규정.hwp", {"규정.hwp"}, "규정 (2).hwp"),
        ("규정.hwp", {"규정.hwp", "규정 (2).hwp"}, "규정 (3).hwp"),
        ("규정", {"규정"}, "규정 (2)"),
        ("v1.2 초안", {"v1.2 초안"}, "v1.2 초안 (2)"),
    ],
)
def test_unique_name(name: str, taken: set[str], unique: str) -> None:
    assert unique_name(name, taken) == unique


def hostile_names() -> list[str]:
    """1,000 names: ways out of a folder, reserved ones, odd characters, and mixtures of these."""
    ways = ["../", "..\\", "/", "\\", "C:\\", "//host/", "%2e%2e%2f", "..%5c", "....//", "~/", "./"]
    ways += ["\x00/", "..\x00/", "file:///", "\u2215..\u2215", "\uff0e\uff0e\uff0f", "..\u202e/"]
    stems = [
        "etc/passwd",
        "CON",
        "NUL.txt",
        "aux",
        "COM1.pdf",
        "a" * 5000,
        ".htaccess",
        "-rf",
        "$(id)",
    ]
    stems += [
        "`id`",
        "a;b|c&d",
        "<img src=x onerror=alert(1)>",
        "'\"",
        "\u202efdp.exe",
        "\ud83d",
        "\r\nX: y",
    ]
    stems += [
        unicodedata.normalize("NFD", "휴가규정.hwp"),
        "규정.hwp\x00.exe",
        "a:stream",
        "index.faiss",
        " ",
    ]
    ends = ["", ".pdf", ".PDF", ".", "..", "::$DATA", ".txt ", "/", ".한글", ".a/b", "\x00"]
    made = [way * 3 + stem + end for way, stem, end in itertools.product(ways, stems, ends)]
    return random.Random(7).sample(made, 1000)


def test_hostile_names_write_and_read_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("secret")
    uploads = UploadFiles(tmp_path / "inside" / "uploads")
    before = {file for file in tmp_path.rglob("*") if uploads.folder not in file.parents}
    for number, given in enumerate(hostile_names()):
        shown = display_name(given)
        assert shown == unicodedata.normalize("NFC", shown)
        assert 0 < len(shown) <= MOST_CHARACTERS
        assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs"}
        assert not {"", ".", ".."} & set(shown.split("/"))
        name = stored_name(shown)
        assert STORED.fullmatch(name)
        if number < 100:  # what is on disk takes its time
            uploads.keep(io.BytesIO(b"%d" % number), name)
            assert Path(uploads.path(name)).read_bytes() == b"%d" % number
    after = {file for file in tmp_path.rglob("*") if uploads.folder not in file.parents}
    assert after == before
    assert len(list(uploads.folder.iterdir())) == 100
    assert (tmp_path / "passwd").read_text() == "secret"


def test_hostile_names_by_http(tmp_path: Path) -> None:
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from starlette.testclient import TestClient

    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.web.app import create_app
    from kogemma_rag.web.options import ServeOptions

    inside = tmp_path / "a" / "b" / "index"
    with DocumentIndex.open(inside, DeterministicFakeEmbedding(size=8)) as index:
        # Not entered, so that nothing is indexed meanwhile.
        client = TestClient(create_app(ServeOptions(index=index)), base_url="http://127.0.0.1")
        before = {file for file in tmp_path.rglob("*") if "web" not in file.parts}
        # The form's parser refuses longer headers.
        names = [name[:3000] for name in hostile_names()[:50]]
        body = b"".join(map(part, names)) + b"--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert client.post("/v1/documents", content=body, headers=headers).status_code == 202
        titles = [one["title"] for one in client.get("/v1/documents").json()["data"]]
        assert len(set(titles)) == 50
        uploads = inside / "web" / "uploads"
        assert all(STORED.fullmatch(file.name) for file in uploads.iterdir())
        assert len(list(uploads.iterdir())) == 50
        after = {file for file in tmp_path.rglob("*") if "web" not in file.parts}
        assert after == before


def part(name: str) -> bytes:
    """One file of a form, its name as hostile clients write it: only quotes are escaped."""
    written = name.replace('"', "%22").replace("\r\n", "%0D%0A").encode("utf-8", "surrogatepass")
    head = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + written + b'"\r\n\r\n'
    )
    return head + b"text\r\n"
