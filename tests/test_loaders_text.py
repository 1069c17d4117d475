"""Plain text of any encoding and any length."""

import io
import time
import tracemalloc

import pytest

from kogemma_rag.document_loaders import (
    LOADERS,
    CSVLoader,
    DocumentLoadError,
    MarkdownLoader,
    TextLoader,
)
from kogemma_rag.document_loaders import text as text_module
from kogemma_rag.document_loaders.text import decode_text, encoding_of


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("大韓民國", "cp949"),
        ("㈜ ① ㎏", "euc-kr"),
        ("뷁", "cp949"),
        ("Größe: für Ärzte", "latin-1"),
        ("ⅰ", "cp949"),
    ],
)
def test_little_text_is_decoded_as_what_it_is(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding)) == text


def test_all_of_a_long_text_must_fit_its_encoding() -> None:
    data = "가나다\n".encode() * 300_000 + "마지막".encode("cp949")
    assert len(data) > 2 * (1 << 20)
    with pytest.raises(UnicodeError):
        encoding_of(io.BytesIO(data))
    assert encoding_of(io.BytesIO(data[:-6])) == "utf-8"


def test_a_long_text_comes_in_parts_that_lose_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(text_module, "PART_CHARACTERS", 100)
    paragraphs = [f"{number}번 문단의 첫째 줄\r\n{number}번 문단의 둘째 줄" for number in range(40)]
    file = tmp_path / "긴 글.txt"
    file.write_bytes("\r\n\r\n".join(paragraphs).encode("cp949"))
    documents = list(TextLoader(file).lazy_load())
    assert len(documents) > 10
    assert all(len(document.page_content) <= 100 for document in documents)
    wanted = "\n\n".join(paragraphs).replace("\r\n", "\n")
    assert "\n\n".join(document.page_content for document in documents) == wanted
    lines = wanted.split("\n")
    for document in documents:
        first = document.page_content.split("\n")[0]
        assert lines[document.metadata.get("line", 1) - 1] == first


def test_a_text_without_line_ends_is_cut_between_words(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(text_module, "PART_CHARACTERS", 50)
    file = tmp_path / "한 줄.txt"
    text = "낱말이 이어진다 " * 30
    file.write_text(text, "utf-8")
    parts = [document.page_content for document in TextLoader(file).lazy_load()]
    assert " ".join(parts) == text.strip()
    file.write_text("가" * 120, "utf-8")
    assert [len(d.page_content) for d in TextLoader(file).lazy_load()] == [50, 50, 20]


def test_memory_does_not_grow_with_the_file(tmp_path) -> None:
    file = tmp_path / "크다.txt"
    line = "한국어 문장이 끝없이 이어지는 파일입니다.\n".encode()
    peaks = []
    for count in (200_000, 800_000):
        file.write_bytes(line * count)
        tracemalloc.start()
        assert sum(1 for _ in TextLoader(file).lazy_load()) > count * len(line) // 4_000_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_bytes_of_no_encoding_are_refused(tmp_path) -> None:
    file = tmp_path / "엉망.txt"
    file.write_bytes(b"\xff\xfe\x00\xd8\x00")  # half a surrogate pair
    with pytest.raises(DocumentLoadError, match="UTF-8로 다시 저장"):
        list(TextLoader(file).lazy_load())


def test_parts_never_end_between_the_two_characters_of_a_line_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(text_module, "PART_CHARACTERS", 8)
    path = tmp_path / "a.txt"
    path.write_bytes(b"123456\r\n789012\r\n345678\r\n")
    documents = TextLoader(path).load()
    lines = [document.metadata.get("line", 1) for document in documents]
    assert "".join(document.page_content for document in documents) == "123456789012345678"
    assert lines == sorted(lines)
    assert lines[-1] == 3


def test_marks_that_end_lines_elsewhere_end_no_row(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("이름,값\n가\u2028나,1\n다\x0b라,2\n", encoding="utf-8", newline="")
    (document,) = CSVLoader(path).load()
    assert document.page_content == "| 이름 | 값 |\n| --- | --- |\n| 가 나 | 1 |\n| 다 라 | 2 |"


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("# 가 ##  ", "가"),
        ("# 가##", "가##"),
        ("#  ##", "##"),
        ("# 가 # 나", "가 # 나"),
        ("#\t가\x1b[31m", "가[31m"),
    ],
)
def test_headings_of_markdown(tmp_path, text: str, heading: str) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"{text}\n\n글", encoding="utf-8")
    (document,) = MarkdownLoader(path).load()
    assert document.metadata["headings"] == [heading]


def test_markdown_whose_lines_end_in_carriage_returns(tmp_path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes("# 가\r글\r# 나\r말".encode())
    assert [document.page_content for document in MarkdownLoader(path).load()] == [
        "# 가\n\n글",
        "# 나\n\n말",
    ]


@pytest.mark.parametrize("title", ["휴가", '"휴가"', "'휴가'  "])
def test_title_in_front_matter(tmp_path, title: str) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"---\ndate: 1\ntitle: {title}\n---\n글", encoding="utf-8")
    (document,) = MarkdownLoader(path).load()
    assert document.metadata["title"] == "휴가"


@pytest.mark.parametrize(
    ("before", "name"),
    [("", "a.txt"), ("# a", "a.md"), ("---\ntitle: a", "a.md"), (":a:`b", "a.rst")],
)
def test_spaces_without_end_take_no_quadratic_time(tmp_path, before: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(f"{before}{' ' * 100_000}b\n---\n글", encoding="utf-8")
    loader = LOADERS[path.suffix](path)
    started = time.monotonic()
    loader.load()
    assert time.monotonic() - started < 5  # it took minutes
