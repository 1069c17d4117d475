import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from kogemma_rag.document_loaders import DocumentLoadError, PDFLoader
from kogemma_rag.document_loaders.pdf_lines import Line, Table
from kogemma_rag.document_loaders.pdf_margins import Margins
from kogemma_rag.document_loaders.pdf_objects import Box, Frame
from kogemma_rag.document_loaders.pdf_paragraphs import line_breaks, paragraphs
from kogemma_rag.document_loaders.pdf_properties import iso_date, properties

FONT = "HYSMyeongJo-Medium"
NANUM = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")


def write_pdf(path: Path, *pages: Callable[[Canvas], None], **options: Any) -> Path:
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    canvas = Canvas(str(path), pagesize=(595, 842), **options)
    for draw in pages:
        canvas.setFont(FONT, 10)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return path


def lines(*texts: str, x: float = 72, top: float = 700, step: float = 14) -> Any:
    def draw(canvas: Canvas) -> None:
        for number, text in enumerate(texts):
            canvas.drawString(x, top - number * step, text)

    return draw


def bodies(documents: list[Document]) -> list[str]:
    return [d.page_content for d in documents if "region" not in d.metadata]


# Outline


def test_outline_titles_split_pages_into_sections(tmp_path: Path) -> None:
    def first(canvas: Canvas) -> None:
        canvas.setTitle("출장 규정집")
        canvas.setAuthor("재무팀")
        for key, title, level in (("a", "제1장 총칙", 0), ("b", "목적", 1), ("c", "범위", 1)):
            canvas.bookmarkPage(key)
            canvas.addOutlineEntry(title, key, level)
        lines("머리말이다.", "제1장  총칙", "1. 목적", "출장비를 정한다.", "2. 범위", "직원이다.")(
            canvas
        )

    def second(canvas: Canvas) -> None:
        canvas.bookmarkPage("d")
        canvas.addOutlineEntry("제2장 부칙", "d", 0)
        lines("임원도 같다.", "제2장 부칙 오늘부터 시행한다.")(canvas)

    path = write_pdf(tmp_path / "규정.pdf", first, second)
    documents = PDFLoader(path).load()
    assert [
        (d.page_content, d.metadata["page"], d.metadata.get("headings")) for d in documents
    ] == [
        ("머리말이다.", 1, None),
        ("# 제1장 총칙\n\n## 1. 목적\n\n출장비를 정한다.", 1, ["제1장 총칙", "1. 목적"]),
        ("## 2. 범위\n\n직원이다.", 1, ["제1장 총칙", "2. 범위"]),
        ("임원도 같다.", 2, ["제1장 총칙", "범위"]),
        ("# 제2장 부칙\n\n오늘부터 시행한다.", 2, ["제2장 부칙"]),
    ]
    assert {d.metadata["title"] for d in documents} == {"출장 규정집"}
    assert {d.metadata["author"] for d in documents} == {"재무팀"}


def test_outline_entries_without_a_line_are_in_force_from_the_top(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        for key, title, level in (("a", "1부", 0), ("b", "1과", 1), ("c", "2과", 1)):
            canvas.bookmarkPage(key)
            canvas.addOutlineEntry(title, key, level)
        lines("그림 제목의 쪽이다.")(canvas)

    path = write_pdf(tmp_path / "그림.pdf", draw, lines("다음 쪽이다."))
    first, second = PDFLoader(path).load()
    assert first.metadata["headings"] == ["1부", "1과"]
    assert second.metadata["headings"] == ["1부", "2과"]
    assert first.metadata["title"] == "1부"


def outline_pdf(path: Path, entries: list[str]) -> Path:
    """By hand: the outline is objects 5, 6, …"""
    content = b"BT /F 12 Tf 72 700 Td (Body text) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R/Outlines 5 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
        "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        f"<</Length {len(content)}>>stream\n{content.decode()}\nendstream",
        *entries,
    ]
    body, offsets = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    trailer += f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    path.write_bytes(body + trailer.encode())
    return path


def test_hostile_outlines_are_bounded(tmp_path: Path) -> None:
    cycle = [
        "<</First 6 0 R/Last 6 0 R/Count 2>>",
        "<</Title(A)/Parent 5 0 R/Next 7 0 R/First 6 0 R/Dest[3 0 R/Fit]>>",
        "<</Title(B)/Parent 5 0 R/Next 6 0 R/Dest[99 0 R/XYZ 0 0 0]>>",
        "<</Title(C)/Parent 5 0 R/Dest(nowhere)>>",
    ]
    (document,) = PDFLoader(outline_pdf(tmp_path / "고리.pdf", cycle)).load()
    assert (document.page_content, document.metadata["headings"]) == ("Body text", ["A"])
    many = ["<</First 6 0 R/Last 6 0 R/Count 25000>>"]
    many += [
        f"<</Title(T{number})/Parent 5 0 R/Next {number + 7} 0 R/Dest[3 0 R/Fit]>>"
        for number in range(25_000)  # more than are read
    ]
    path = outline_pdf(tmp_path / "많다.pdf", many)
    started = time.process_time()
    (document,) = PDFLoader(path).load()
    assert document.metadata["headings"] == ["T0"]
    assert time.process_time() - started < 15


# Columns

LEFT = [f"왼쪽 단의 {n}째 줄은 이렇게 길게 이어진다" for n in "첫둘셋넷닷엿"]
RIGHT = [f"오른 단의 {n}째 줄은 이렇게 길게 이어진다" for n in "첫둘셋넷닷엿"]


def test_columns_written_row_by_row_are_read_column_by_column(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(
            72, 720, "두 단에 걸친 제목은 가운데를 지나 오른쪽 단의 위까지 닿을 만큼 길다"
        )
        for number, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
            canvas.drawString(72, 690 - 14 * number, left)
            canvas.drawString(310, 690 - 14 * number, right)
        canvas.drawString(
            72, 590, "두 단 아래의 맺음말은 다시 한 줄로 쪽의 너비를 다 쓰며 끝까지 간다"
        )

    (document,) = PDFLoader(write_pdf(tmp_path / "단.pdf", draw)).load()
    found = document.page_content.replace("\n", " ").split(" ")
    wanted = [
        "두 단에 걸친 제목은 가운데를 지나 오른쪽 단의 위까지 닿을 만큼 길다",
        *LEFT,
        *RIGHT,
        "두 단 아래의 맺음말은 다시 한 줄로 쪽의 너비를 다 쓰며 끝까지 간다",
    ]
    assert found == " ".join(wanted).split(" ")


def test_three_columns(tmp_path: Path) -> None:
    texts = [[f"{c}단 {n}째 줄의 글이다 길다" for n in "첫둘셋넷닷"] for c in "가나다"]

    def draw(canvas: Canvas) -> None:
        for number, row in enumerate(zip(*texts, strict=True)):
            for column, text in enumerate(row):
                canvas.drawString(40 + 180 * column, 690 - 14 * number, text)

    (document,) = PDFLoader(write_pdf(tmp_path / "세단.pdf", draw)).load()
    assert document.page_content.split("\n") == [text for column in texts for text in column]


def test_unruled_table_is_no_column(tmp_path: Path) -> None:
    rows = [("구분", "금액"), ("숙박비", "90,000원"), ("식비", "30,000원"), ("일비", "20,000원")]
    rows += [("교통비", "실비"), ("통신비", "15,000원")]

    def draw(canvas: Canvas) -> None:
        for number, (name, value) in enumerate(rows):
            canvas.drawString(72, 690 - 14 * number, name)
            canvas.drawString(310, 690 - 14 * number, value)

    (document,) = PDFLoader(write_pdf(tmp_path / "표.pdf", draw)).load()
    assert document.page_content.split("\n") == [f"{name} {value}" for name, value in rows]


def test_page_written_from_below_is_read_from_above(tmp_path: Path) -> None:
    texts = [f"{n}째 줄." for n in "첫둘셋넷"]

    def draw(canvas: Canvas) -> None:
        for number in (3, 2, 1, 0):
            canvas.drawString(72, 690 - 30 * number, texts[number])

    (document,) = PDFLoader(write_pdf(tmp_path / "거꾸로.pdf", draw)).load()
    assert document.page_content.split("\n") == texts


# Page headers and footers


def test_page_headers_are_kept_apart_and_numbers_dropped(tmp_path: Path) -> None:
    def page(number: int) -> Any:
        def draw(canvas: Canvas) -> None:
            canvas.drawString(72, 800, f"한빛나래 규정집 {number}")
            lines(f"{'가나다라'[number]}쪽의 본문이다.")(canvas)
            canvas.drawString(280, 40, f"- {number + 1} -")
            canvas.drawString(72, 55, "대외비 2026")

        return draw

    path = write_pdf(tmp_path / "머리.pdf", *(page(number) for number in range(4)))
    documents = PDFLoader(path).load()
    assert [
        (d.page_content, d.metadata.get("page"), d.metadata.get("region")) for d in documents
    ] == [
        *((f"{c}쪽의 본문이다.", n, None) for n, c in enumerate("가나다라", start=1)),
        ("한빛나래 규정집", None, "header"),
        ("대외비 2026", None, "footer"),
    ]


def test_two_pages_are_too_few_for_a_header() -> None:
    line = Line("규정집", 0, Box(72, 40, 120, 50), 10)
    pages = [([line], 842.0)] * 2
    assert Margins(pages).taken_off([line], 842.0) == [line]
    assert Margins(pages * 2).taken_off([line], 842.0) == []


def test_pages_that_say_the_same_keep_their_text(tmp_path: Path) -> None:
    page = lines("같은 쪽이다.", top=800)
    documents = PDFLoader(write_pdf(tmp_path / "같다.pdf", page, page, page)).load()
    assert bodies(documents) == ["같은 쪽이다."] * 3


# Lines and paragraphs


def run(*texts: str, spaced: tuple[int, ...] = (), right: float = 400) -> list[Line]:
    """Lines of 10 points that reach from 100 to `right`, the last one short."""
    return [
        Line(
            text,
            number,
            Box(
                100, 100 + 15 * number, right if number + 1 < len(texts) else 250, 109 + 15 * number
            ),
            10,
            number in spaced,
        )
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("multi-", "lingual model", "multilingual model"),
        ("multi\xad", "lingual model", "multilingual model"),
        ("multi\x02", "lingual model", "multilingual model"),
        ("감염병 COVID-", "19는", "감염병 COVID-19는"),
        ("논문집, 539-", "541, 2018.", "논문집, 539-541, 2018."),
        ("the ﬁrst of\xadﬁce", "is ﬂat ﬀ ﬃ ﬄ", "the first office is flat ff ffi ffl"),
        ("the end of", "a line", "the end of a line"),
    ],
)
def test_hyphens_and_ligatures(first: str, second: str, joined: str) -> None:
    assert paragraphs([run(first, second)], "words") == [joined]


def test_real_hyphen_at_a_line_end_in_a_file(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "hyphen.pdf", lines("A multi-", "lingual model of COVID-", "19."))
    assert PDFLoader(path).load()[0].page_content == "A multilingual model of COVID-\n19."


KOREAN = ("표준 데", "이터는 기계독해를 위한", "한국어 질의응답을 다루", "며 도전적이다.")


@pytest.mark.parametrize(
    ("breaks", "spaced", "joined"),
    [
        ("words", (), "표준 데 이터는 기계독해를 위한 한국어 질의응답을 다루 며 도전적이다."),
        ("characters", (), "표준 데이터는 기계독해를 위한 한국어 질의응답을 다루며 도전적이다."),
        ("marked", (1,), "표준 데이터는 기계독해를 위한 한국어 질의응답을 다루며 도전적이다."),
        ("marked", (), "표준 데이터는 기계독해를 위한한국어 질의응답을 다루며 도전적이다."),
    ],
)
def test_korean_line_ends(breaks: Any, spaced: tuple[int, ...], joined: str) -> None:
    assert paragraphs([run(*KOREAN, spaced=spaced)], breaks) == [joined]


def test_breaks_are_told_from_the_lines() -> None:
    assert line_breaks([run(*KOREAN)]) == "characters"
    assert line_breaks([run(*KOREAN, spaced=(1,))]) == "marked"
    words = ("회사는 피보험자에게", "약정한 보험금을", "지급하고 그 사유를", "알린다.")
    assert line_breaks([run(*words)]) == "words"
    assert line_breaks([run(*words, spaced=(0, 1, 2))]) == "words"
    assert line_breaks([]) == "words"


def test_list_items_short_lines_and_indents_start_paragraphs() -> None:
    long = "이 줄은 오른쪽 끝까지 이어진다"
    assert paragraphs([run(long, "1. 첫째 항목", long, "② 둘째", long, "끝")], "words") == [
        long,
        f"1. 첫째 항목 {long}",
        f"② 둘째 {long} 끝",
    ]
    short = [
        Line(t, n, Box(100, 100 + 15 * n, 200, 109 + 15 * n), 10) for n, t in enumerate("가나")
    ]
    assert paragraphs([short], "words") == ["가", "나"]
    first, second, third = run(long, long, "끝")
    indented = Line(second.text, 1, second.box._replace(left=115), 10)
    assert paragraphs([[first, indented, third]], "words") == [long, f"{long} 끝"]


def test_reference_at_the_start_of_a_line_goes_on() -> None:
    texts = ("제3자는 의료법", "제3조에 따른 의사를 말하고 [표 2]와", "[표 3] 을 본다.")
    assert paragraphs([run(*texts)], "words") == [" ".join(texts)]
    assert paragraphs([run("정한다.", "제3조(정의) 뜻은")], "words") == [
        "정한다.",
        "제3조(정의) 뜻은",
    ]


# Tables


def test_caption_stands_over_each_part_of_a_long_table(tmp_path: Path) -> None:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate
    from reportlab.platypus import Table as DrawnTable

    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    style = getSampleStyleSheet()["Normal"]
    style.fontName = FONT
    look = [("FONT", (0, 0), (-1, -1), FONT), ("GRID", (0, 0), (-1, -1), 1, "black")]
    rows = [["구분", "설명"], *([f"항목{n}", "가나다라마바사 " * 4] for n in range(20))]
    path = tmp_path / "표.pdf"
    SimpleDocTemplate(str(path)).build(
        [
            Paragraph("앞의 글이다.", style),
            Paragraph("&lt;표 1&gt; 항목", style),
            DrawnTable(rows, style=look),
        ]
    )
    (document,) = PDFLoader(path).load()
    parts = document.page_content.split("<표 1> 항목\n\n| 구분 | 설명 |\n| --- | --- |\n")
    assert parts[0] == "앞의 글이다.\n\n"
    assert len(parts) > 2
    assert "".join(parts[1:]).count("| 항목") == 20


def test_lines_of_a_cell_are_joined_as_the_text_is() -> None:
    rows = (("구분", "뜻"), ("표준 데\r\n이터", "multi\x02lingual 모\r\n델"))
    table = Table(rows, 0, Box(100, 100, 400, 200))
    wanted = "| 구분 | 뜻 |\n| --- | --- |\n"
    assert paragraphs([[table]], "characters") == [f"{wanted}| 표준 데이터 | multilingual 모델 |"]
    assert paragraphs([[table]], "words") == [f"{wanted}| 표준 데 이터 | multilingual 모 델 |"]


# Scanned pages


def write_scan(path: Path, texts: list[str]) -> Path:
    from PIL import Image, ImageDraw, ImageFont

    if not NANUM.is_file():
        pytest.skip("no Nanum font to write Korean with")
    image = Image.new("L", (2480, 1400), 255)
    draw = ImageDraw.Draw(image)
    for number, text in enumerate(texts):
        draw.text((250, 250 + 80 * number), text, font=ImageFont.truetype(str(NANUM), 46), fill=0)
    image.save(path, resolution=300)
    return path


def has_korean_tesseract() -> bool:
    try:
        import pytesseract

        return "kor" in pytesseract.get_languages()
    except (ImportError, OSError):
        return False


SCAN = [
    "휴가와 병가에 관한 안내",
    "연차 휴가는 일 년에 열다섯 날이며 입사한 날부터 셈한다.",
    "병가는 의사의 진단서를 붙여 총무과에 미리 신청해야 한다.",
    "쓰지 않은 휴가는 다음 해로 넘길 수 없으나 수당으로 받는다.",
    "문의할 곳은 본관 삼층 재무팀이며 내선 번호는 1310이다.",
]


@pytest.mark.skipif(not has_korean_tesseract(), reason="no Tesseract with Korean data")
def test_ocr_of_a_scanned_page(tmp_path: Path) -> None:
    loader = PDFLoader(write_scan(tmp_path / "스캔.pdf", SCAN), ocr=True)
    (document,) = loader.load()
    assert (document.metadata["page"], document.metadata["ocr"]) == (1, True)
    wanted = Counter("".join(SCAN).replace(" ", ""))
    found = Counter("".join(document.page_content.split()))
    assert (wanted & found).total() / wanted.total() > 0.95
    assert "진단서를 붙여 총무과에" in document.page_content
    assert loader.skipped == []


def test_scanned_file_and_page_are_named(tmp_path: Path) -> None:
    from PIL import Image

    image = Image.new("L", (600, 800), 200)
    image.save(tmp_path / "스캔.pdf")
    with pytest.raises(DocumentLoadError, match=r"스캔.*kogemma-rag\[ocr\]"):
        PDFLoader(tmp_path / "스캔.pdf").load()

    def picture(canvas: Canvas) -> None:
        canvas.drawInlineImage(image, 0, 0, 595, 842)

    def nothing(canvas: Canvas) -> None:
        canvas.line(0, 0, 9, 9)

    pages = [lines("첫 쪽이다."), picture, nothing, picture, picture, lines("끝 쪽이다.")]
    loader = PDFLoader(write_pdf(tmp_path / "섞임.pdf", *pages))
    assert bodies(loader.load()) == ["첫 쪽이다.", "끝 쪽이다."]
    assert [part.part for part in loader.skipped] == ["2쪽", "4~5쪽"]
    assert "스캔" in loader.skipped[0].reason


def test_ocr_without_its_parts_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    pytesseract = pytest.importorskip("pytesseract")
    Image.new("L", (600, 800), 200).save(tmp_path / "스캔.pdf")
    monkeypatch.setattr(pytesseract, "get_languages", lambda: ["eng"])
    with pytest.raises(DocumentLoadError, match="tesseract-ocr tesseract-ocr-kor"):
        PDFLoader(tmp_path / "스캔.pdf", ocr=True).load()
    monkeypatch.setitem(__import__("sys").modules, "pytesseract", None)
    with pytest.raises(ImportError, match=r"pip install 'kogemma-rag\[ocr\]'"):
        PDFLoader(tmp_path / "스캔.pdf", ocr=True).load()


# Odd files


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_page(tmp_path: Path, rotation: int) -> None:
    texts = ["첫째 줄이다.", "둘째 줄이다.", "셋째 줄이다."]

    def draw(canvas: Canvas) -> None:
        canvas.setPageRotation(rotation)
        canvas.translate(297, 421)
        canvas.rotate(rotation)
        lines(*texts, x=0, top=50, step=40)(canvas)

    (document,) = PDFLoader(write_pdf(tmp_path / "돌림.pdf", draw)).load()
    assert document.page_content.split("\n") == texts


def test_frame_shows_a_rotated_page_upright() -> None:
    # The lower left corner of a page of 200 by 100 points, 10 wide and 5 high.
    corners = [Frame(0, 0, 200, 100, turn).shown(0, 0, 10, 5) for turn in (0, 90, 180, 270)]
    assert corners == [(0, 95, 10, 100), (0, 0, 5, 10), (190, 0, 200, 5), (95, 190, 100, 200)]


def test_empty_user_password_opens(tmp_path: Path) -> None:
    from reportlab.lib.pdfencrypt import StandardEncryption

    encryption = StandardEncryption("", ownerPassword="주인".encode().hex(), strength=128)
    path = write_pdf(tmp_path / "빈 암호.pdf", lines("읽을 수 있다."), encrypt=encryption)
    assert bodies(PDFLoader(path).load()) == ["읽을 수 있다."]


def test_letter_without_a_width_is_read(tmp_path: Path) -> None:
    # PDFium leaves out what covers no ground.
    path = outline_pdf(tmp_path / "폭.pdf", ["<<>>"])
    path.write_bytes(path.read_bytes().replace(b"72 700 Td (Body text)", b"0 Tz 72 700 Td (A)   "))
    assert bodies(PDFLoader(path).load()) == ["A"]


def test_attachments_and_scripts_are_ignored(tmp_path: Path) -> None:
    path = outline_pdf(tmp_path / "붙임.pdf", ["<<>>", "<</S/JavaScript/JS(app.alert\\(1\\))>>"])
    path.write_bytes(path.read_bytes().replace(b"/Outlines 5 0 R", b"/OpenAction 6 0 R"))
    assert bodies(PDFLoader(path).load()) == ["Body text"]


def test_damaged_page_is_left_out(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "깨짐.pdf", *(lines(f"{c}쪽이다.") for c in "가나다"))
    content = path.read_bytes()
    second = [b"/Type /Page\n", content.split(b"/Type /Page\n")]
    assert len(second[1]) == 4
    broken = content.replace(b"/Type /Page\n", b"/Type /Pagf\n", 2).replace(
        b"/Type /Pagf\n", b"/Type /Page\n", 1
    )
    path.write_bytes(broken)
    loader = PDFLoader(path)
    assert bodies(loader.load()) == ["가쪽이다.", "다쪽이다."]
    assert [part.part for part in loader.skipped] == ["2쪽"]
    assert "쪽을 읽을 수 없습니다" in loader.skipped[0].reason


def test_hostile_page_of_many_letters_ends_in_time(tmp_path: Path) -> None:
    def draw(canvas: Canvas) -> None:
        for number in range(20_000):
            canvas.drawString(number % 500, (number * 7) % 800, "가나")

    path = write_pdf(tmp_path / "많다.pdf", draw)
    started = time.process_time()
    (document,) = PDFLoader(path).load()
    assert "".join(document.page_content.split()).count("가") == 20_000
    assert time.process_time() - started < 20


# Properties


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        ("D:20240812093549Z00'00'", "2024-08-12T09:35:49+00:00"),
        ("D:20191104095059+09'00'", "2019-11-04T09:50:59+09:00"),
        ("D:20191104095059-0330", "2019-11-04T09:50:59-03:30"),
        ("20240812", "2024-08-12T00:00:00"),
        ("D:20241399", ""),
        ("어제", ""),
        ("", ""),
    ],
)
def test_dates(value: str, iso: str) -> None:
    assert iso_date(value) == iso


@pytest.mark.parametrize(
    ("title", "known"),
    [
        ("출장비 규정", "출장비 규정"),
        ("출장비 규정".encode("cp949").decode("latin-1"), "출장비 규정"),
        ("Müller GmbH", "Müller GmbH"),
        ("Microsoft Word - 규정.docx", None),
        ("2024_리그규정.pdf", None),
        ("제목 없음", None),
        ("PowerPoint 프레젠테이션", None),
        ("  ", None),
    ],
)
def test_titles(title: str, known: str | None) -> None:
    assert properties({"Title": title}).get("title") == known
