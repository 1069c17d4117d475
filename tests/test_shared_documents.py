"""Real documents that nobody on this project wrote: each is read or refused as it should be."""

import ctypes
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from langchain_core.documents import Document

from kogemma_rag.document_loaders import find_files, load_file
from kogemma_rag.text_splitters import KoreanTextSplitter

DOCS = Path(__file__).parents[1].parent / "shared" / "data" / "docs"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not DOCS.is_dir(), reason=f"no measuring data at {DOCS}"),
]
LOCKED = "hwp/hwplib_distribution.hwp"
PLACEHOLDER = "상위 버전의 배포용 문서입니다"


def has_freetype() -> bool:
    try:
        ctypes.CDLL("libfreetype.so.6")
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[Document]]:
    documents = {}
    for path in find_files(DOCS):
        name = path.relative_to(DOCS).as_posix()
        documents[name] = load_file(path, root=DOCS)
    return documents


def text_of(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


FACTS = [
    ("hwp/hwpjs_lists.hwp", "나. 3-2\n1) 3-2-1", {"author": "user"}),
    ("hwp/hwpjs_lists.hwp", "III. 3\nA. 3-1\nB. 3-2\n1. 3-2-1", {}),
    ("hwp/hwpjs_lists.hwp", "# 제3장 3\n\n## 제1절 3-1\n\n## 제2절 3-2\n\n### 제1항 3-2-1", {}),
    ("hwp/hwpjs_lists.hwp", "# 제4장 4", {"headings": ["제4장 4"]}),
    (
        "hwp/hwpjs_noori.hwp",
        "새로운 이름으로 “누리”가 선정되었다고 밝혔다.",
        {
            "title": "hwpjs_noori",
            "author": "이은지",
            "created": "2014-02-11T02:24:40Z",
            "modified": "2021-07-26T09:29:14Z",
        },
    ),
    (
        "hwp/hwpjs_noori.hwp",
        "| 목 적 | 1.5톤급 실용위성을 지구저궤도(600~800km)에 투입 |",
        {"headings": ["붙임 한국형발사체(누리호)와 시험발사체 비교"]},
    ),
    ("hwp/hwpjs_noori.hwp", "약 6,300여명의 국민이 참여하여 총 10,000건 이상의 응모작을", {}),
    (
        "hwpx/hwpjs_noori.hwpx",
        "| 총 길이 | 47.2 m | 25.8 m |",
        {
            "headings": ["붙임 한국형발사체(누리호)와 시험발사체 비교"],
            "author": "이은지",
            "created": "2014-02-11T02:24:40Z",
            "modified": "2026-03-16T10:45:42Z",
        },
    ),
    (
        "hwp/hwpjs_selfintroduce.hwp",
        "저에게 微笑天使라고 부르곤 했습니다.",
        {"title": "나를 소개 합니다", "author": "지현", "created": "2022-11-09T21:14:21Z"},
    ),
    ("hwp/hwplib_footnote_endnote.hwp", " (미주: sssd)", {}),
    ("hwp/hwplib_headerfooter.hwp", "## 가. 2233", {"title": "1. aaa"}),
    ("hwp/hwplib_headerfooter.hwp", "## 하. gf\n\n## 거. g\n\n## 너. fg", {}),
    ("hwp/hwplib_headerfooter.hwp", "개요1", {"region": "header", "title": "1. aaa"}),
    (
        "hwp/hwplib_table.hwp",
        "표 1\n\n| ABC 123 | DEF | GHI |\n| --- | --- | --- |\n| LMN |",
        {},
    ),
    (
        "hwp/langchainkr_digital_gov_plan.hwp",
        "UN전자정부평가에서 2010‧12‧14년 1위",
        {"headings": ["Ⅰ. 개 요"]},
    ),
    (
        "hwp/langchainkr_digital_gov_plan.hwp",
        "운영하여 사회문제 해결을 위한 시민참여의 장 제공",
        {"headings": ["Ⅱ. 디지털 정부혁신 추진계획", "3. 시민 참여를 위한 플랫폼 고도화"]},
    ),
    (
        "hwp/langchainkr_digital_gov_plan.hwp",
        "| ③ | 사각지대 예방을 위한 선제적 서비스 제공 | 마스터플랜 |",
        {"headings": ["참고 2 주요 과제별·연도별 추진일정"], "created": "2020-03-27T01:37:01Z"},
    ),
    (
        "hwpx/hwpjs_selfintroduce.hwpx",
        "A sound mind in a sound body.",
        {"title": "나를 소개 합니다", "author": "지현", "modified": "2026-03-16T11:02:05Z"},
    ),
    (
        "hwpx/hwpxlib_table.hwpx",
        "C반 기말고사\n날짜\n\n| 이름 | 국어 | 영어 | 수학 |",
        {"title": "hwpxlib_table", "author": "fff", "created": "2023-01-26T23:01:12Z"},
    ),
    ("hwpx/hwpxlib_table.hwpx", "| 칠득이 | 77 | 77 | 77 |", {}),
    (
        "hwpx/pyhwpx_mpm_recruitment_notice.hwpx",
        "2023. 6. 19.(월) ~ 6. 25.(일)",
        {"title": "pyhwpx_mpm_recruitment_notice", "modified": "2023-06-16T07:26:42Z"},
    ),
    (
        "hwpx/pyhwpx_public_official_table.hwpx",
        "12개 세부 추진과제로 구성됐다.",
        {"title": "pyhwpx_public_official_table", "created": "2025-11-21T06:00:19Z"},
    ),
    (
        "hwpx/pyhwpx_public_official_table.hwpx",
        "⑩ 공공부문 AI 대전환을 위한 인프라 구축 ⑪ 공공 AI 리터러시 강화",
        {"headings": ["참고 정부혁신 비전 및 추진전략"]},
    ),
    (
        "hwpx/pyhwpx_seoul_sihaengmun.hwpx",
        "| 수신 | 국토교통부장관(도심주택공급협력과장) |",
        {"created": "2021-07-05T15:25:13Z", "modified": "2025-10-24T17:44:30Z"},
    ),
    ("hwpx/pyhwpx_seoul_sihaengmun.hwpx", "전략주택공급과-13666", {}),
    ("office/langchainkr_sample-ppt.pptx", "# Embedding\n\n정의: 임베딩은", {"slide": 3}),
    (
        "office/langchainkr_sample-word-document.docx",
        "멀티모달은 여러 종류의 데이터",
        {"author": "Teddy Lee", "modified": "2024-07-29T18:09:00+00:00"},
    ),
    (
        "office/langchainkr_titanic.xlsx",
        "| 3 | 1 | 3 | Heikkinen, Miss. Laina | female | 26 |",
        {"sheet": "titanic", "row": 4},
    ),
    (
        "pdf/autorag_kbo_only_table.pdf",
        "| KBO 피치클락 규정 | - | 경기장 내 카운트다운",
        {"page": 1},
    ),
    ("pdf/autorag_korean_two_page.pdf", "1. 실종선고를 받은 경우: 법원에서", {"page": 2}),
    (
        "pdf/autorag_korean_two_page.pdf",
        "이 계약의 다른 조항에서 달리 정의되지 않는 한 다음과 같습니다.",
        {"page": 1, "title": "insurance_biz", "created": "2024-08-09T10:35:19+00:00"},
    ),
    ("pdf/korquad2_paper.pdf", "기존 질의응답 표준 데이터인 KorQuAD 1.0과의", {"page": 1}),
    (
        "pdf/korquad2_paper.pdf",
        "기계독해 모델은 KorQuAD 1.0[1]과 달리 자연어로 구성된 질문과 HTML 코드로 이루어진",
        {"page": 1, "author": "한영진"},
    ),
    ("pdf/korquad2_paper.pdf", "사용하여 KorQuAD 2.0 학습 데이터를", {"page": 4}),
    ("pdf/korquad2_paper.pdf", "textbook question answering for multimodal", {"page": 6}),
    ("pdf/korquad2_paper.pdf", "제31회 한글 및 한국어 정보처리 학술대회", {"region": "header"}),
    ("pdf/korquad2_paper.pdf", "[표 1] 문서 및 질문 개수\n\n|", {"page": 3}),
    ("pdf/korquad2_paper.pdf", "| 문서 | 38,496 |", {"page": 3}),
    ("pdf/korquad2_paper.pdf", "F1 85.7%로 기계학습에 비해", {"page": 4}),
]


def test_there_is_a_fact_for_every_file() -> None:
    names = {path.relative_to(DOCS).as_posix() for path in find_files(DOCS)}
    assert names - {LOCKED} == {name for name, _, _ in FACTS}


@pytest.mark.parametrize(("name", "fact", "place"), FACTS)
def test_known_facts_stand_where_they_should(loaded, name, fact, place) -> None:
    holders = [document for document in loaded[name] if fact in document.page_content]
    assert len(holders) == 1
    for key, value in place.items():
        assert holders[0].metadata[key] == value
    assert holders[0].metadata["source"] == name


def test_hwp_and_hwpx_of_one_press_release_say_the_same(loaded) -> None:
    hwp, hwpx = (words(text_of(loaded[f"{k}/hwpjs_noori.{k}"])) for k in ("hwp", "hwpx"))
    assert hwp == hwpx


def test_hwpx_words_against_their_own_xml(loaded) -> None:
    from lxml import etree

    found = wanted = 0
    for path in sorted(DOCS.glob("hwpx/*.hwpx")):
        with zipfile.ZipFile(path) as archive:
            roots = [
                etree.fromstring(archive.read(name))
                for name in archive.namelist()
                if re.fullmatch(r"Contents/section\d+\.xml", name)
            ]
        own = words(
            "\n".join(
                "".join("".join(text.itertext()) for text in paragraph.findall("{*}run/{*}t"))
                for root in roots
                for paragraph in root.iter("{*}p")
            )
        )
        found += (own & words(text_of(loaded[f"hwpx/{path.name}"]))).total()
        wanted += own.total()
    assert wanted > 1500
    assert found == wanted


def test_page_headers_and_notes_of_hwp_are_kept_apart_from_its_text(loaded) -> None:
    header_file = loaded["hwp/hwplib_headerfooter.hwp"]
    assert [d.page_content for d in header_file if d.metadata.get("region")] == ["개요1"]
    body = text_of([d for d in header_file if not d.metadata.get("region")])
    assert "개요1" not in body
    (notes,) = loaded["hwp/hwplib_footnote_endnote.hwp"]
    # Both footnotes are empty.
    assert notes.page_content.strip() == "(미주: sssd)"


@pytest.mark.skipif(not has_freetype(), reason="rhwp needs FreeType")
def test_words_of_hwp_against_those_that_rhwp_finds(loaded) -> None:
    ctypes.CDLL("libfreetype.so.6", mode=ctypes.RTLD_GLOBAL)
    rhwp = pytest.importorskip("rhwp")
    from lxml import etree

    for path in sorted(DOCS.glob("hwp/*.hwp")):
        hwpx = rhwp.Document.from_bytes(path.read_bytes()).to_hwpx_bytes()
        with zipfile.ZipFile(io.BytesIO(hwpx)) as archive:
            names = [n for n in archive.namelist() if n.startswith("Contents/section")]
            roots = [etree.fromstring(archive.read(name)) for name in names]
        lines = [
            "".join("".join(text.itertext()) for text in paragraph.findall("{*}run/{*}t"))
            for root in roots
            for paragraph in root.iter("{*}p")
        ]
        theirs, ours = words("\n".join(lines)), words(text_of(loaded[f"hwp/{path.name}"]))
        # Theirs joins lines that are broken by hand.
        assert (theirs & ours).total() >= 0.999 * theirs.total()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("langchainkr_sample-word-document.docx", r"word/document\.xml"),
        ("langchainkr_sample-ppt.pptx", r"ppt/slides/slide\d+\.xml"),
    ],
)
def test_office_words_against_their_own_xml(loaded, name, part) -> None:
    from lxml import etree

    with zipfile.ZipFile(DOCS / "office" / name) as archive:
        roots = [
            etree.fromstring(archive.read(entry))
            for entry in archive.namelist()
            if re.fullmatch(part, entry)
        ]
    own = words(
        "\n".join(
            "".join(text.text or "" for text in paragraph.iter("{*}t"))
            for root in roots
            for paragraph in root.iter("{*}p")
        )
    )
    assert own.total() > 100
    assert words(text_of(loaded[f"office/{name}"])) == own


def test_every_row_of_the_workbook_once(loaded) -> None:
    documents = loaded["office/langchainkr_titanic.xlsx"]
    rows = [line for document in documents for line in document.page_content.split("\n")[2:]]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 892))


def test_distribution_locked_hwp_is_read_and_not_its_placeholder(loaded) -> None:
    (document,) = loaded[LOCKED]
    text = document.page_content
    assert text.startswith("강남세움복지관 공고 제 2024-08호\n2025년 강남세움센터 시설관리원")
    assert "  ②기초금액 : 금72,300,000원(금칠천이백삼십만원)(※부가가치세 포함)\n" in text
    assert text.endswith("2024.   12.   13.\n강남세움복지관장")
    # Its title is that of a document of 2002.
    assert document.metadata["title"] == "hwplib_distribution"
    assert document.metadata["modified"] == "2024-12-13T01:03:33Z"


def test_no_placeholder_and_no_stray_character_anywhere(loaded) -> None:
    for documents in loaded.values():
        text = text_of(documents)
        assert PLACEHOLDER not in text
        assert not re.search("[\ufffd\ue000-\uf8ff\x00-\x08]", text)


def test_chunks_of_all_are_exact_slices(loaded) -> None:
    splitter = KoreanTextSplitter()
    for documents in loaded.values():
        for document in documents:
            chunks = splitter.split_documents([document])
            covered = [False] * len(document.page_content)
            for chunk in chunks:
                start = chunk.metadata["start_index"]
                end = start + len(chunk.page_content)
                assert document.page_content[start:end] == chunk.page_content
                covered[start:end] = [True] * (end - start)
            assert all(
                seen or character.isspace()
                for seen, character in zip(covered, document.page_content, strict=True)
            )


def test_metadata_is_json(loaded) -> None:
    for documents in loaded.values():
        for document in documents:
            assert json.loads(json.dumps(document.metadata)) == document.metadata
            assert document.metadata["title"]
