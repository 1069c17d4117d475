"""One text in every format reads the same, composed or decomposed, and in every encoding."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from langchain_core.documents import Document
from sample_documents import TABLE_WORDS, WORDS, WRITERS, Form, words

from kogemma_rag.document_loaders import LOADERS, DocumentLoadError, load_file
from kogemma_rag.text_splitters import KoreanTextSplitter

# No library writes these; tests of their own make them byte by byte.
UNWRITTEN = {".hwp", ".msg"}
ONLY_TABLES = {".csv", ".tsv", ".xlsx", ".ods"}
# Words that the format itself adds.
ADDED = {".eml": Counter({"제목": 1})}
# What differs from one writing to the next.
OF_THE_WRITER = ("author", "created", "modified")


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def loaded(folder: Path, suffix: str, form: Form) -> list[Document]:
    folder.mkdir()
    path = folder / form(f"규칙{suffix}")
    WRITERS[suffix](path, form)
    documents = load_file(path, root=folder)
    for document in documents:
        for key in OF_THE_WRITER:
            document.metadata.pop(key, None)
    return documents


def test_every_format_is_written() -> None:
    assert set(LOADERS) == set(WRITERS) | UNWRITTEN


@pytest.mark.parametrize("suffix", sorted(set(LOADERS) - UNWRITTEN))
def test_same_words_in_every_format(tmp_path: Path, suffix: str) -> None:
    documents = loaded(tmp_path / "a", suffix, nfc)
    found = words("\n".join(document.page_content for document in documents))
    expected = TABLE_WORDS if suffix in ONLY_TABLES else WORDS
    assert found - expected == ADDED.get(suffix, Counter())
    assert expected - found == Counter()


@pytest.mark.parametrize("suffix", sorted(set(LOADERS) - UNWRITTEN))
def test_decomposed_text_gives_the_same_documents_and_chunks(tmp_path: Path, suffix: str) -> None:
    composed, decomposed = (loaded(tmp_path / form.__name__, suffix, form) for form in (nfc, nfd))
    assert decomposed == composed
    splitter = KoreanTextSplitter(chunk_size=80, chunk_overlap=0)
    chunks = splitter.split_documents(composed)
    assert splitter.split_documents(decomposed) == chunks
    assert len(chunks) >= len(composed) > 0


# Encodings

SHORT = [
    *("가", "네", "휴가", "㈜한빛", "서울시", "안녕하세요", "연차 15일", "A동 3층", "1번"),
    *("제1조(목적)", "문의: 02-123-4567", "끝.", "예산 1,234원", "합계 100%", "大韓民國"),
    *("대한민국(大韓民國)", "③ 병가", "무게 3㎏", "2026. 7. 1.", "“따옴표”", "‘낱말’"),
    *("가나다라마바사아자차카타", "KTX 예매", "e-mail 주소", "Q&A 모음", "~부터 ~까지"),
    *("○○시장 귀하", "※ 주의", "→ 다음", "온도 25℃", "면적 84㎡", "붙임 1부.  끝."),
    *("홍길동 과장", "ID/PW 확인", "a=1; b=2", "[별표 2]", "<공고>", "·가운뎃점", "회의록"),
    "둘째 줄\n셋째 줄",
]
ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8-sig",
    "cp949": "cp949",
    "euc-kr": "euc-kr",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-16-le with mark": "utf-16-le",
    "utf-16-be with mark": "utf-16-be",
}


# Without a mark their bytes, none of them zero, are those of another text.
_OTHERS = {"㈜한빛", "大韓民國", "“따옴표”", "‘낱말’", "·가운뎃점", "회의록"}
TAKEN_FOR_OTHERS = {"utf-16-le": _OTHERS, "utf-16-be": _OTHERS}


@pytest.mark.parametrize("name", ENCODINGS)
def test_short_korean_texts_in_every_encoding(tmp_path: Path, name: str) -> None:
    mark = "\ufeff" if name.endswith("with mark") else ""
    wrong = set()
    for text in SHORT:
        path = tmp_path / "글.txt"
        path.write_bytes((mark + text).encode(ENCODINGS[name]))
        try:
            found = [document.page_content for document in LOADERS[".txt"](path).lazy_load()]
        except DocumentLoadError:
            found = []
        if found != [text]:
            wrong.add(text)
    assert wrong == TAKEN_FOR_OTHERS.get(name, set())


def test_there_are_forty_samples() -> None:
    assert len(set(SHORT)) == 40
