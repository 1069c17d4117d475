"""EPUB, OpenDocument, reStructuredText and JSON, and how formats are recognised."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from kogemma_rag.document_loaders import (
    DocumentLoadError,
    EPUBLoader,
    JSONLinesLoader,
    JSONLoader,
    ODSLoader,
    ODTLoader,
    RSTLoader,
    UnsupportedFormatError,
    ZIPLoader,
    data,
    formats,
    load_file,
    open_document,
)
from kogemma_rag.document_loaders.errors import PASSWORD, SkippedPart


def write_zip(path: Path, files: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


BOMB = (
    '<!DOCTYPE x [<!ENTITY a0 "하하하하하하하하하하">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + '<!ENTITY file SYSTEM "file:///etc/hostname">]>'
)

# EPUB

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="책/내용.opf" media-type="application/oebps-package+xml"/>'
    "</rootfiles></container>"
)
PACKAGE = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>규정 해설</dc:title><dc:creator>홍길동</dc:creator>
<dc:creator>김철수</dc:creator><dc:date>2026-03</dc:date>
<meta property="dcterms:modified">2026-07-01T09:00:00Z</meta></metadata>
<manifest>
<item id="b" href="2%EC%9E%A5.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="1장.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="주.xhtml" media-type="application/xhtml+xml"/>
<item id="i" href="a.png" media-type="image/png"/>
</manifest>
<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="n"/><itemref idref="i"/></spine>
</package>"""
XHTML = (
    '<?xml version="1.0" encoding="utf-8"?>{declaration}<html xmlns="http://www.w3.org/1999/xhtml"'
    ' xmlns:epub="http://www.idpf.org/2007/ops"><head><title/></head><body>{body}</body></html>'
)


def xhtml(body: str, declaration: str = "") -> str:
    return XHTML.format(body=body, declaration=declaration)


def book(**chapters: str) -> dict[str, str | bytes]:
    return {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "책/내용.opf": PACKAGE,
        **{f"책/{name}.xhtml": content for name, content in chapters.items()},
    }


CHAPTERS = {
    "1장": xhtml(
        '<h1>제1부</h1><h2>휴가</h2><p>연차는 15일<a epub:type="noteref" href="#f1">1</a>이고'
        ' 병가는 60일<a role="doc-noteref" href="주.xhtml#f2"><sup>2</sup></a>이다.</p>'
        '<script>x()</script><img src="http://127.0.0.1:9/x.png"/>'
        '<aside epub:type="footnote" id="f1"><p>근로기준법 제60조</p></aside>'
    ),
    "2장": xhtml("<h2>출장</h2><p>숙박비&nbsp;9만 원</p><ul><li>첫째</li><li>둘째</li></ul>"),
    "주": xhtml(
        '<ol><li epub:type="endnote" id="f2"><p>취업규칙 '
        '<a role="doc-backlink" href="1장.xhtml">↩</a></p></li></ol>'
        '<p epub:type="footnote" id="f3">부르지 않은 주</p><p>판권</p>'
    ),
}


def test_epub(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "책.epub", book(**CHAPTERS))
    first, second = EPUBLoader(path).load()
    assert first.page_content == (
        "# 제1부\n\n## 휴가\n\n연차는 15일 (각주: 근로기준법 제60조)이고 "
        "병가는 60일 (미주: 취업규칙)이다."
    )
    assert first.metadata == {
        "source": f"{tmp_path}/책.epub",
        "media_type": "application/epub+zip",
        "title": "규정 해설",
        "headings": ["제1부", "휴가"],
        "author": "홍길동, 김철수",
        "created": "2026-03",
        "modified": "2026-07-01T09:00:00+00:00",
    }
    assert (
        second.page_content
        == "## 출장\n\n숙박비 9만 원\n\n- 첫째\n- 둘째\n\n부르지 않은 주\n\n판권"
    )
    assert second.metadata["headings"] == ["제1부", "출장"]
    assert load_file(path.rename(tmp_path / "사실은_epub.zip"))[0].page_content == (
        first.page_content
    )


def test_epub_with_drm_is_refused_and_with_hidden_fonts_read(tmp_path: Path) -> None:
    encryption = (
        '<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
        '<enc:EncryptionMethod Algorithm="{}"/></enc:EncryptedData></encryption>'
    )
    path = tmp_path / "책.epub"
    font = encryption.format("http://www.idpf.org/2008/embedding")
    write_zip(path, {**book(**CHAPTERS), "META-INF/encryption.xml": font})
    assert len(load_file(path)) == 2
    drm = encryption.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    write_zip(path, {**book(**CHAPTERS), "META-INF/encryption.xml": drm})
    with pytest.raises(DocumentLoadError, match="DRM"):
        load_file(path)


@pytest.mark.parametrize("entity", ["&a9;", "&file;"])
def test_epub_entities_do_nothing(tmp_path: Path, entity: str) -> None:
    chapters = {**CHAPTERS, "1장": xhtml(f"<p>앞 {entity} 뒤</p>", BOMB)}
    documents = load_file(write_zip(tmp_path / "폭탄.epub", book(**chapters)))
    assert "앞" in documents[0].page_content
    assert all(len(d.page_content) < 100 for d in documents)
    assert "하하" not in documents[0].page_content


def test_epub_skips_a_chapter_that_is_no_markup(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "책.epub", book(**{**CHAPTERS, "1장": "", "주": "<p>끊긴 <b>장"}))
    loader = EPUBLoader(path)
    assert [d.page_content for d in loader.lazy_load()] == [
        "## 출장\n\n숙박비 9만 원\n\n- 첫째\n- 둘째\n\n끊긴 장"
    ]
    assert [part for part, _ in loader.skipped] == ["책/1장.xhtml"]
    write_zip(path, {"mimetype": "application/epub+zip", "META-INF/container.xml": "<x/>"})
    with pytest.raises(DocumentLoadError, match="손상"):
        EPUBLoader(path).load()


# OpenDocument

NAMESPACES = (
    " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{full}:1.0"'
        for name, full in {
            "office": "office",
            "text": "text",
            "table": "table",
            "draw": "drawing",
            "style": "style",
            "meta": "meta",
        }.items()
    )
    + ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
META = f"""<office:document-meta {NAMESPACES}><office:meta><dc:title>재택근무 안내</dc:title>
<meta:initial-creator>홍길동</meta:initial-creator><dc:creator>김철수</dc:creator>
<meta:creation-date>2026-06-01T10:00:00.123</meta:creation-date><dc:date>2026-07-01T09:00:00</dc:date>
</office:meta></office:document-meta>"""
STYLES = f"""<office:document-styles {NAMESPACES}><office:master-styles>
<style:master-page><style:header><text:p>총무과 내부용</text:p></style:header>
<style:footer><text:p>- <text:page-number>1</text:page-number> -</text:p></style:footer>
</style:master-page>
<style:master-page><style:header><text:p>총무과 내부용</text:p></style:header>
<style:footer-left><text:p>한빛나래 <text:page-number>2</text:page-number>쪽</text:p>
</style:footer-left>
</style:master-page></office:master-styles></office:document-styles>"""


def open_document_file(
    path: Path, kind: str, body: str, *, declaration: str = "", **parts: str
) -> Path:
    """A document of a body; parts by their names without ".xml"."""
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?>{declaration}<office:document-content {NAMESPACES}>'
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
        "</office:document-content>"
    )
    return write_zip(
        path,
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": content,
            **{f"{name}.xml": part for name, part in parts.items()},
        },
    )


ODT = """<text:tracked-changes><text:changed-region><text:deletion><text:p>지운 글</text:p>
</text:deletion></text:changed-region></text:tracked-changes>
<text:table-of-content><text:index-body><text:p>차례 신청 3</text:p></text:index-body>
</text:table-of-content>
<text:h text:outline-level="1">신청</text:h>
<text:p>전주<text:s text:c="3"/>목요일<text:tab/>까지
   신청<text:change-start text:change-id="x"/>한다<text:note text:note-class="footnote">
<text:note-citation>1</text:note-citation><text:note-body><text:p>공휴일 <text:span>제외</text:span>
</text:p></text:note-body></text:note>.<text:line-break/>둘째 줄<office:annotation><text:p>검토 의견
</text:p></office:annotation><text:note text:note-class="endnote"><text:note-body><text:p>규정 3조
</text:p></text:note-body></text:note></text:p>
<text:list><text:list-item><text:p>첫째</text:p><text:list><text:list-item><text:p>속</text:p>
</text:list-item></text:list></text:list-item><text:list-item><text:p>둘째</text:p><text:p>이어서
</text:p></text:list-item></text:list>
<text:p><draw:frame><draw:text-box><text:p>상자 속 글</text:p></draw:text-box></draw:frame></text:p>
<text:section text:display="none"><text:p>숨긴 글</text:p></text:section>
<text:section><text:h text:outline-level="2">비용</text:h>
<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>항목</text:p>
</table:table-cell><table:table-cell table:number-columns-spanned="2"><text:p>금액</text:p>
</table:table-cell><table:covered-table-cell/></table:table-row></table:table-header-rows>
<table:table-row><table:table-cell table:number-rows-spanned="2"><text:p>통신</text:p>
</table:table-cell><table:table-cell table:number-columns-repeated="2"><text:p>3만</text:p>
</table:table-cell></table:table-row>
<table:table-row><table:covered-table-cell/><table:table-cell><text:p>5만</text:p><text:p>이하</text:p>
</table:table-cell><table:table-cell table:number-columns-repeated="1000000000"/></table:table-row>
</table:table></text:section>"""


def test_odt(tmp_path: Path) -> None:
    path = open_document_file(tmp_path / "안내.odt", "text", ODT, meta=META, styles=STYLES)
    documents = ODTLoader(path).load()
    assert [d.page_content for d in documents] == [
        "# 신청\n\n전주   목요일\t까지 신청한다 (각주: 공휴일 제외).\n둘째 줄 (미주: 규정 3조)\n\n"
        "- 첫째\n  - 속\n- 둘째\n  이어서\n\n상자 속 글",
        "## 비용\n\n| 항목 | 금액 |  |\n| --- | --- | --- |\n| 통신 | 3만 | 3만 |\n"
        "|  | 5만 이하 |  |",
        "총무과 내부용",
        "한빛나래 쪽",
    ]
    about = {
        "source": f"{tmp_path}/안내.odt",
        "media_type": "application/vnd.oasis.opendocument.text",
        "title": "재택근무 안내",
        "author": "홍길동",
        "created": "2026-06-01T10:00:00",
        "modified": "2026-07-01T09:00:00",
    }
    assert [d.metadata for d in documents] == [
        {**about, "headings": ["신청"]},
        {**about, "headings": ["신청", "비용"]},
        {**about, "region": "header"},
        {**about, "region": "footer"},
    ]
    assert load_file(path.rename(tmp_path / "사실은_odt.docx"))[1].page_content == (
        documents[1].page_content
    )


def cells(*texts: str, row: str = "") -> str:
    inner = "".join(
        f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in texts
    )
    return f"<table:table-row {row}>{inner}</table:table-row>"


ODS = (
    '<table:table table:name="예산">'
    + cells("2026년 예산")
    + '<table:table-row table:number-rows-repeated="2"><table:table-cell'
    ' table:number-columns-repeated="16384"/></table:table-row><table:table-header-rows>'
    + cells("항목", "금액", "비율")
    + "</table:table-header-rows>"
    + "<table:table-row><table:table-cell><office:annotation><text:p>메모</text:p>"
    "</office:annotation><text:p>여비</text:p></table:table-cell>"
    '<table:table-cell office:value="1234567"><text:p>1,234,567원</text:p></table:table-cell>'
    '<table:table-cell office:value="0.125"/></table:table-row>'
    + cells("같음", "0", "0%", row='table:number-rows-repeated="2"')
    + '<table:table-row table:number-rows-repeated="1048570"><table:table-cell'
    ' table:number-columns-repeated="16384"/></table:table-row></table:table>'
    '<table:table table:name="빈 시트"/>'
    '<table:table table:name="인원">' + cells("부서", "명") + cells("총무", "12") + "</table:table>"
)


def test_ods(tmp_path: Path) -> None:
    path = open_document_file(tmp_path / "예산.ods", "spreadsheet", ODS, meta=META, styles=STYLES)
    first, second = ODSLoader(path).load()
    assert first.page_content == (
        "2026년 예산\n\n| 항목 | 금액 | 비율 |\n| --- | --- | --- |\n"
        "| 여비 | 1,234,567원 | 0.125 |\n| 같음 | 0 | 0% |\n| 같음 | 0 | 0% |"
    )
    assert (first.metadata["sheet"], first.metadata["row"]) == ("예산", 5)
    assert first.metadata["author"] == "홍길동"
    assert second.page_content == "| 부서 | 명 |\n| --- | --- |\n| 총무 | 12 |"
    assert (second.metadata["sheet"], second.metadata["row"]) == ("인원", 2)
    assert load_file(path) == [first, second]


def test_ods_repeats_its_header_and_counts_rows(tmp_path: Path) -> None:
    body = cells("이름", "부서") + "".join(cells(f"직원{n}", "총무") for n in range(100))
    path = open_document_file(
        tmp_path / "직원.ods", "spreadsheet", f'<table:table table:name="가">{body}</table:table>'
    )
    documents = ODSLoader(path).load()
    assert len(documents) > 3
    rows = [line for d in documents for line in d.page_content.split("\n")[2:]]
    assert rows == [f"| 직원{n} | 총무 |" for n in range(100)]
    for document in documents:
        assert document.page_content.startswith("| 이름 | 부서 |\n| --- | --- |\n")
        number = document.metadata["row"] - 2
        assert f"\n| 직원{number} | 총무 |" in document.page_content


def test_ods_that_repeats_without_end_is_refused(tmp_path: Path) -> None:
    wide = (
        '<table:table-row table:number-rows-repeated="1000000"><table:table-cell'
        ' table:number-columns-repeated="16384"><text:p>가</text:p></table:table-cell>'
        "</table:table-row>"
    )
    path = open_document_file(
        tmp_path / "폭탄.ods", "spreadsheet", f"<table:table>{wide * 50}</table:table>"
    )
    with pytest.raises(DocumentLoadError) as caught:
        load_file(path)
    assert caught.value.reason == open_document._TABLE_TOO_LARGE


@pytest.mark.parametrize("kind", ["text", "spreadsheet"])
def test_open_document_entities_do_nothing(tmp_path: Path, kind: str) -> None:
    suffix = {"text": "odt", "spreadsheet": "ods"}[kind]

    def document(entity: str) -> Path:
        inner = f"<text:p>앞 {entity} 뒤</text:p>"
        if kind == "spreadsheet":
            inner = f"<table:table>{cells(f'앞 {entity} 뒤')}</table:table>"
        return open_document_file(tmp_path / f"폭탄.{suffix}", kind, inner, declaration=BOMB)

    for entity in ("&a0;", "&file;"):
        assert [d.page_content for d in load_file(document(entity))] == ["앞  뒤"]
    with pytest.raises(DocumentLoadError, match="손상"):
        load_file(document("&a9;"))


def test_bombs_of_entities_in_an_archive(tmp_path: Path) -> None:
    """They are left out, and the other parts are read."""
    inner = "<text:p>앞 &a9;</text:p>"
    odt = open_document_file(tmp_path / "a.odt", "text", inner, declaration=BOMB)
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "<w:body><w:p><w:r><w:t>&a9;</w:t></w:r></w:p></w:body>"
    document = f'{BOMB}<w:document xmlns:w="{word}">{body}</w:document>'
    docx = write_zip(tmp_path / "b.docx", {"word/document.xml": document})
    path = write_zip(
        tmp_path / "묶음.zip",
        {"a.odt": odt.read_bytes(), "b.docx": docx.read_bytes(), "c.txt": "남은 글"},
    )
    loader = ZIPLoader(path)
    assert [d.page_content for d in loader.lazy_load()] == ["남은 글"]
    assert [part for part, _ in loader.skipped] == ["a.odt", "b.docx"]
    assert [d.page_content for d in load_file(path)] == ["남은 글"]


def test_open_document_with_password_and_presentation(tmp_path: Path) -> None:
    path = open_document_file(tmp_path / "잠김.odt", "text", "<text:p>?</text:p>")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("META-INF/manifest.xml", "<manifest:encryption-data/>")
    with pytest.raises(DocumentLoadError) as caught:
        load_file(path)
    assert caught.value.reason == PASSWORD
    path = open_document_file(tmp_path / "발표.odp", "presentation", "")
    with pytest.raises(UnsupportedFormatError, match=r"\.odp"):
        load_file(path)


# reStructuredText

RST = """\
==========
휴가 규정
==========

:Author: 홍길동
:Date: 2026-07-01
:부서: 총무과

연차는 15일이다 [1]_. 자세한 것은 :ref:`출장 규정 <trip>` 과 |회사| 를 보라.

.. [1] 근로기준법
   제60조
.. |회사| replace:: 한빛나래
.. 주석은 빠진다

병가
====

.. include:: /etc/hostname
.. raw:: html

   <b>날것</b>
.. csv-table:: 몰래
   :file: /etc/hostname

.. csv-table:: 병가 일수
   :header: "구분", "일수"

   "일반", 60

+------+------+
| 가   | 나   |
+======+======+
| 1    | 2    |
|      +------+
|      | 3    |
+------+------+

=====  =====
종류    일수
=====  =====
연차    15
=====  =====

자세히
------

#. 하나
#. 둘

   - 속

.. versionadded:: 1.0
   :옵션: x

   새로 생긴 글

::

   x = 1

용어
    뜻풀이

| 첫 줄
| 둘째 줄
"""


def test_rst(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "규정.rst"
    path.write_bytes(RST.encode("cp949"))
    documents = RSTLoader(path).load()
    assert [d.page_content for d in documents] == [
        "# 휴가 규정\n\n부서: 총무과\n\n연차는 15일이다 (각주: 근로기준법 제60조). "
        "자세한 것은 출장 규정 과 한빛나래 를 보라.",
        "## 병가\n\n병가 일수\n\n| 구분 | 일수 |\n| --- | --- |\n| 일반 | 60 |\n\n"
        "| 가 | 나 |\n| --- | --- |\n| 1 | 2 |\n|  | 3 |\n\n"
        "| 종류 | 일수 |\n| --- | --- |\n| 연차 | 15 |",
        "### 자세히\n\n1. 하나\n2. 둘\n  - 속\n\n새로 생긴 글\n\n```\nx = 1\n```\n\n"
        "용어\n뜻풀이\n\n첫 줄\n둘째 줄",
    ]
    assert [d.metadata for d in documents] == [
        {
            "source": f"{tmp_path}/규정.rst",
            "media_type": "text/x-rst",
            "title": "휴가 규정",
            "headings": headings,
            "author": "홍길동",
            "created": "2026-07-01",
        }
        for headings in (
            ["휴가 규정"],
            ["휴가 규정", "병가"],
            ["휴가 규정", "병가", "자세히"],
        )
    ]
    assert load_file(path) == documents
    assert capfd.readouterr() == ("", "")


def test_rst_of_sections_without_a_title_and_korean_fields(tmp_path: Path) -> None:
    path = tmp_path / "글.rst"
    path.write_text(
        ":저자: 김철수\n:작성일: 2026년 7월 1일\n\n머리말\n\n가\n==\n\n첫째\n\n나\n==\n\n둘째\n",
        encoding="utf-8",
    )
    documents = RSTLoader(path).load()
    assert [(d.page_content, d.metadata.get("headings")) for d in documents] == [
        ("머리말", None),
        ("# 가\n\n첫째", ["가"]),
        ("# 나\n\n둘째", ["나"]),
    ]
    assert documents[0].metadata["title"] == "글"
    assert documents[0].metadata["author"] == "김철수"
    assert documents[0].metadata["created"] == "2026-07-01"


def test_rst_of_substitutions_that_grow(tmp_path: Path) -> None:
    lines = [f".. |a0| replace:: {'하' * 100}"]
    lines += [f".. |a{n}| replace:: {f'|a{n - 1}| ' * 10}" for n in range(1, 9)]
    path = tmp_path / "폭탄.rst"
    path.write_text("\n".join([*lines, "", "앞 |a8| 뒤"]), encoding="utf-8")
    try:
        assert len(load_file(path)[0].page_content) < 10**6
    except DocumentLoadError as error:
        assert error.reason  # noqa: PT017 - either is right


# JSON


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def rows(documents: list) -> list[tuple[object, str, str]]:  # type: ignore[type-arg]
    return [(d.metadata.get("row"), d.metadata["title"], d.page_content) for d in documents]


def test_json_records_by_their_text_field(tmp_path: Path) -> None:
    value = [
        {"제목": "휴가", "본문": "연 15일", "조회": 3},
        {"title": "출장", "text": "숙박비 9만 원", "body": "무시"},
        {"이름": "홍길동", "나이": 30, "비율": 1.50, "승인": True, "없음": None},
        "글만",
    ]
    path = write_json(tmp_path / "목록.json", value)
    documents = JSONLoader(path).load()
    assert rows(documents) == [
        (1, "휴가", "연 15일"),
        (2, "출장", "숙박비 9만 원"),
        (3, "목록", "이름: 홍길동\n나이: 30\n비율: 1.5\n승인: true"),
        (4, "목록", "글만"),
    ]
    assert documents[0].metadata == {
        "source": f"{tmp_path}/목록.json",
        "media_type": "application/json",
        "title": "휴가",
        "row": 1,
    }
    assert load_file(path) == documents


def test_json_object_with_one_list_or_none(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"총계": 2, "글": [{"내용": "하나"}, {"내용": "둘"}]})
    assert rows(JSONLoader(path).load()) == [(1, "a", "하나"), (2, "a", "둘")]
    value = {"주소": {"도시": "서울", "동": ["가", "나"]}, "벡터": [0.1, 0.2], "제목": "곳"}
    path = write_json(tmp_path / "b.json", value)
    assert rows(JSONLoader(path).load()) == [
        (None, "곳", "주소.도시: 서울\n주소.동: 가\n주소.동: 나\n제목: 곳")
    ]
    path = write_json(tmp_path / "c.json", {"text": "글", "댓글": [{"text": "댓글"}]})
    assert rows(JSONLoader(path).load()) == [(None, "c", "글")]


def test_json_text_field_by_its_path(tmp_path: Path) -> None:
    value = [{"글": {"본문": "하나"}}, {"글": {}}, {"글": {"본문": ["둘", "셋"]}}]
    path = write_json(tmp_path / "a.json", value)
    loader = JSONLoader(path, text_field="글.본문")
    assert rows(loader.load()) == [(1, "a", "하나"), (3, "a", "둘\n셋")]
    assert loader.skipped == [SkippedPart("2번째 기록", "'글.본문' 항목이 없습니다")]
    with pytest.raises(DocumentLoadError, match="'없음' 항목이 없습니다"):
        JSONLoader(write_json(tmp_path / "b.json", {"가": "나"}), text_field="없음").load()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"가": "하나", "가": "둘"}', "가: 둘"),
        ('{"수": NaN, "끝": -Infinity}', "수: NaN\n끝: -Infinity"),
        ('{"수": 1e999999999, "큰": ' + "9" * 5000 + "}", "수: 1e999999999\n큰: " + "9" * 5000),
        ('{"짝": "\\ud800글"}', "짝: 글"),
        ("[" * 900 + '"속"' + "]" * 900, "속"),
    ],
)
def test_json_that_is_odd(tmp_path: Path, text: str, shown: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8-sig")
    assert [d.page_content for d in JSONLoader(path).load()] == [shown]


@pytest.mark.parametrize("text", ['{"가": ', "글", '{"가": "나"} {"다": "라"}', "[" * 10**6])
def test_json_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentLoadError) as caught:
        JSONLoader(path).load()
    assert caught.value.reason.startswith("파일이 손상되었습니다")


def test_json_long_names_are_not_multiplied(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"가" * 10**5: ["나"] * 10**4})
    assert len(JSONLoader(path).load()[0].page_content) < 10**4 * 220


def test_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        '{"title": "하나", "text": "첫째"}'.encode(),
        b"",
        b'{"text": ',
        '{"본문": "똠방각하"}'.encode("cp949"),
        b'"' + b"x" * 500 + b'"',
        '{"가": "a\\u2028b"}'.encode(),
    ]
    path = tmp_path / "기록.jsonl"
    path.write_bytes(b"\r\n".join(lines))
    monkeypatch.setattr(data, "_MAX_LINE_BYTES", 200)
    loader = JSONLinesLoader(path)
    documents = loader.load()
    assert [(d.metadata["row"], d.metadata["line"], d.page_content) for d in documents] == [
        (1, 1, "첫째"),
        (3, 4, "똠방각하"),
        (5, 6, "가: a\nb"),
    ]
    assert [d.metadata["title"] for d in documents] == ["하나", "기록", "기록"]
    assert loader.skipped == [
        SkippedPart("3번째 줄", "JSON 형식이 아닙니다(9번째 글자: Expecting value)"),
        SkippedPart("5번째 줄", data._TOO_LONG),
    ]
    assert loader.bytes_read == path.stat().st_size


def test_json_lines_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "글.ndjson"
    path.write_text("아무 글\n" * 1000, encoding="utf-8")
    loader = JSONLinesLoader(path)
    with pytest.raises(DocumentLoadError, match=r"읽을 수 있는 줄이 없습니다\(1번째 줄: JSON"):
        loader.load()
    assert len(loader.skipped) == 101
    assert loader.skipped[-1] == SkippedPart("그 밖의 900줄", "JSON 형식이 아닙니다")


# Formats


def test_streamed_formats_may_be_large(tmp_path: Path) -> None:
    for name, allowed in {
        "a.txt": True,
        "a.jsonl": True,
        "a.ndjson": True,
        "a.md": False,
        "a.json": False,
        "a.pdf": False,
    }.items():
        path = tmp_path / name
        with path.open("wb") as file:
            file.write(b"text")
            file.truncate(formats.MAX_FILE_BYTES + 1)  # sparse
            file.seek(4)
            file.write(b"\n" * 2000)
        if allowed:
            assert formats.true_suffix(path) == path.suffix
        else:
            with pytest.raises(DocumentLoadError, match="파일이 너무 큽니다"):
                formats.true_suffix(path)
    large = tmp_path / "사실은_zip.txt"
    with large.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(formats.MAX_FILE_BYTES + 1)
    with pytest.raises(DocumentLoadError, match="파일이 너무 큽니다"):
        formats.true_suffix(large)


def test_zip_based_formats_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for files, suffix in (
        ({"a.txt": "x"}, ".zip"),
        ({"mimetype": "application/epub+zip"}, ".epub"),
        ({"META-INF/container.xml": "<x/>"}, ".epub"),
        ({"mimetype": "application/vnd.oasis.opendocument.text-template"}, ".odt"),
        ({"mimetype": "application/vnd.oasis.opendocument.spreadsheet\n"}, ".ods"),
        ({"mimetype": "application/hwp+zip"}, ".hwpx"),
        ({"word/document.xml": "<x/>"}, ".docx"),
        # A PDF that is stored in it does not make it one.
        ({"mimetype": "무엇", "b.pdf": "%PDF-1.7"}, ".zip"),
    ):
        assert formats.true_suffix(write_zip(path, files)) == suffix
    for files in ({"mimetype": "application/x-krita"}, {"[Content_Types].xml": "<x/>"}):
        with pytest.raises(UnsupportedFormatError):
            formats.true_suffix(write_zip(path, files))


def test_documents_compressed_as_no_document_is(tmp_path: Path) -> None:
    """`zipfile` decompresses a block of bzip2 at once, however large it becomes."""
    path = tmp_path / "폭탄.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(DocumentLoadError, match="손상"):
        formats.true_suffix(path)


@pytest.mark.parametrize(
    ("name", "text", "suffix"),
    [
        ("a.eml", "Subject: 글\n\n본문", ".eml"),
        ("a.json", '{"a": 1}', ".json"),
        ("a.rst", "제목\n====\n", ".rst"),
    ],
)
def test_text_formats_by_their_suffix(tmp_path: Path, name: str, text: str, suffix: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert formats.true_suffix(path) == suffix


@pytest.mark.parametrize("suffix", [".odt", ".ods", ".epub", ".msg", ".zip"])
def test_text_under_the_name_of_a_binary_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"가짜{suffix}"
    path.write_text("글", encoding="utf-8")
    with pytest.raises(DocumentLoadError, match=f"{suffix[1:].upper()} 형식이 아니거나"):
        formats.true_suffix(path)


def test_json_keeps_what_is_said_beside_its_records(tmp_path: Path) -> None:
    path = tmp_path / "공지.json"
    notices = [{"본문": "월요일은 쉰다."}, {"본문": "화요일은 연다."}]
    path.write_text(json.dumps({"설명": "도서관의 공지이다.", "수": 2, "공지": notices}), "utf-8")
    about, first, second = JSONLoader(path).load()
    assert about.page_content == "설명: 도서관의 공지이다.\n수: 2"
    assert "row" not in about.metadata
    assert (first.page_content, first.metadata["row"]) == ("월요일은 쉰다.", 1)
    assert second.metadata["row"] == 2
    path.write_text(json.dumps({"수": 2, "공지": notices}), "utf-8")
    assert len(JSONLoader(path).load()) == 2
