"""The sample documents: made again the same, hold the facts asked for, and nothing else."""

import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from kogemma_rag import DocumentIndex, RagOutput, create_rag_chain, load_chat_model

EXAMPLES = Path(__file__).parents[1] / "examples"
DOCUMENTS = EXAMPLES / "documents"
NOT_FOUND = "문서에서 답을 찾지 못했습니다."

# (question, files any of which is right, words of which the answer must hold each)
QUESTIONS = [
    ("연차는 며칠 전까지 신청해야 하나요?", ("휴가규정.hwpx", "신입사원안내.pptx"), ("3영업일",)),
    ("쓰지 못한 연차는 며칠까지 이월할 수 있나요?", ("휴가규정.hwpx",), ("5일까지",)),
    ("배우자가 출산하면 휴가를 며칠 쓸 수 있나요?", ("휴가규정.hwpx",), ("20일",)),
    ("10년 근속하면 안식휴가를 얼마나 받나요?", ("휴가규정.hwpx",), ("4주",)),
    (
        "집중 근무시간은 몇 시부터 몇 시까지인가요?",
        ("휴가규정.hwpx", "재택근무안내.docx"),
        ("오전 11시", "오후 4시"),
    ),
    ("개인 차량으로 출장을 가면 1킬로미터에 얼마를 받나요?", ("출장비규정.pdf",), ("280원",)),
    ("해외 출장은 며칠 전까지 신청해야 하나요?", ("출장비규정.pdf",), ("14일",)),
    ("프리미엄 이코노미석은 언제 탈 수 있나요?", ("출장비규정.pdf",), ("8시간",)),
    ("출장비는 돌아온 뒤 며칠 안에 정산해야 하나요?", ("출장비규정.pdf",), ("7일",)),
    (
        "재택근무는 입사하고 얼마나 지나야 할 수 있나요?",
        ("재택근무안내.docx", "신입사원안내.pptx"),
        ("3개월",),
    ),
    ("재택근무자에게 빌려주는 모니터는 몇 인치인가요?", ("재택근무안내.docx",), ("27인치",)),
    (
        "2026년 7월부터 재택근무는 한 주에 며칠까지 할 수 있나요?",
        ("공지_재택근무와_출장비_변경.md",),
        ("3일",),
    ),
    (
        "서울 출장 숙박비 한도는 얼마로 올랐나요?",
        ("공지_재택근무와_출장비_변경.md",),
        ("140,000원",),
    ),
    ("멘토와 신입사원의 식사비는 매월 얼마를 지원하나요?", ("신입사원안내.pptx",), ("100,000원",)),
    ("한빛나래의 대표이사는 누구인가요?", ("신입사원안내.pptx",), ("서하늘",)),
    ("복지포인트는 1년에 얼마인가요?", ("복리후생.xlsx",), ("1,200,000원",)),
    ("본인이 결혼하면 경조금은 얼마인가요?", ("복리후생.xlsx",), ("500,000원",)),
    ("시설관리실 담당자는 누구인가요?", ("복리후생.xlsx",), ("옥누리",)),
    ("정보보안 사고는 몇 시간 안에 신고해야 하나요?", ("정보보안지침.md",), ("1시간",)),
    ("비밀번호는 몇 자 이상이어야 하나요?", ("정보보안지침.md",), ("12자",)),
    ("회의실은 며칠 전부터 예약할 수 있나요?", ("회의실예약.html",), ("30일",)),
    ("가람홀에는 몇 명까지 들어갈 수 있나요?", ("회의실예약.html",), ("60명",)),
    ("업무용 노트북의 교체 주기는 몇 년인가요?", ("비품구매안내.txt",), ("4년",)),
    ("사무용품 신청은 무슨 요일 몇 시에 마감하나요?", ("비품구매안내.txt",), ("수요일", "11시")),
]

# (question, words that occur in no document)
UNANSWERABLE = [
    ("주차장은 지하 몇 층에 있나요?", ("주차", "지하")),
    ("스톡옵션은 언제부터 행사할 수 있나요?", ("스톡", "행사할")),
    ("통근버스는 어디에서 타나요?", ("통근", "버스")),
    ("반려동물을 데려와도 되나요?", ("반려", "동물")),
    ("노동조합 위원장은 누구인가요?", ("노동조합", "위원장")),
    ("사내 수영장은 몇 시에 여나요?", ("수영",)),
]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """examples/make_documents.py as a module."""
    spec = importlib.util.spec_from_file_location("make_documents", EXAMPLES / "make_documents.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class _Text(HTMLParser):
    """The text between tags, style left out."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.in_style = tag == "style"
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.in_style else data


def _text(path: Path) -> str:
    """All text of a document, by the plain libraries, white space squeezed."""
    match path.suffix:
        case ".hwpx":
            import unhwp

            text = unhwp.to_markdown(str(path)).replace("**", "").replace("|", " ")
        case ".pdf":
            import pypdfium2

            pages = pypdfium2.PdfDocument(path)
            text = "\n".join(page.get_textpage().get_text_range() for page in pages)
        case ".docx":
            import docx

            document = docx.Document(str(path))
            cells = [c.text for t in document.tables for row in t.rows for c in row.cells]
            text = "\n".join([*(p.text for p in document.paragraphs), *cells])
        case ".pptx":
            import pptx

            parts = []
            for slide in pptx.Presentation(str(path)).slides:
                for shape in slide.shapes:
                    if shape.has_text_frame:
                        parts.append(shape.text_frame.text)
                    elif shape.has_table:
                        parts += [c.text for row in shape.table.rows for c in row.cells]
                if slide.has_notes_slide:
                    parts.append(slide.notes_slide.notes_text_frame.text)
            text = "\n".join(parts)
        case ".xlsx":
            import openpyxl

            book = openpyxl.load_workbook(path)
            rows = [row for sheet in book for row in sheet.iter_rows(values_only=True)]
            text = "\n".join([*book.sheetnames, *(" ".join(map(str, row)) for row in rows)])
        case ".html":
            parser = _Text()
            parser.feed(path.read_text("utf-8"))
            text = parser.text
        case ".txt":
            text = path.read_bytes().decode("cp949")
        case _:
            text = path.read_text("utf-8")
    return " ".join(text.split())


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {path.name: _text(path) for path in sorted(DOCUMENTS.iterdir())}


def test_one_document_of_each_kind_at_least() -> None:
    suffixes = {path.suffix for path in DOCUMENTS.iterdir()}
    assert suffixes == {".hwpx", ".pdf", ".docx", ".pptx", ".xlsx", ".html", ".md", ".txt"}


def test_the_text_file_is_cp949_and_not_utf_8() -> None:
    data = (DOCUMENTS / "비품구매안내.txt").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        data.decode("utf-8")
    assert data.decode("cp949").startswith("비품 구매와 관리 안내\r\n")


@pytest.mark.parametrize(("question", "files", "words"), QUESTIONS)
def test_the_answer_is_in_the_files_named(
    question: str, files: tuple[str, ...], words: tuple[str, ...], texts: dict[str, str]
) -> None:
    for file in files:
        assert all(word in texts[file] for word in words), f"{question} {file}"


@pytest.mark.parametrize(("question", "words"), UNANSWERABLE)
def test_what_is_nowhere_is_nowhere(
    question: str, words: tuple[str, ...], texts: dict[str, str]
) -> None:
    for file, text in texts.items():
        assert not [word for word in words if word in text], f"{question} {file}"


def _names() -> list[str]:
    return [
        p.name
        for p in sorted(DOCUMENTS.iterdir())
        if p.suffix in (".hwpx", ".pdf", ".docx", ".pptx", ".xlsx")
    ]


@pytest.mark.parametrize("name", _names())
def test_made_again_it_is_the_same(name: str, maker: ModuleType, tmp_path: Path) -> None:
    if name.endswith(".pdf") and not maker.DEFAULT_FONT.is_file():
        pytest.skip(f"no font at {maker.DEFAULT_FONT}")
    first, second = maker.make_document(name), maker.make_document(name)
    assert first == second
    (tmp_path / name).write_bytes(first)
    assert _text(tmp_path / name) == _text(DOCUMENTS / name)


@pytest.mark.parametrize("name", _names())
def test_every_word_of_the_source_is_in_the_document(name: str, texts: dict[str, str]) -> None:
    source = (EXAMPLES / "sources" / name).with_suffix(".md").read_text("utf-8")
    lines = source.splitlines()
    if name.endswith((".pptx", ".xlsx")):
        lines = lines[1:]  # the title is a document property there
    body = "\n".join(re.sub(r"^(#+|-|>) ", "", line) for line in lines)
    words = re.sub(r"\|(-{3}\|)*", " ", body).split()
    assert len(words) > 100
    squeezed = texts[name].replace(" ", "")
    assert [word for word in words if word not in squeezed] == []


def test_hwpx_is_a_package_with_headings_and_a_table() -> None:
    import zipfile

    import unhwp

    path = DOCUMENTS / "휴가규정.hwpx"
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"application/hwp+zip"
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    markdown = unhwp.to_markdown(str(path)).replace("**", "")
    assert "\n# 제3장 휴가\n" in markdown
    assert "\n## 제8조 (경조휴가)\n" in markdown
    assert "\n| 배우자 출산 | 20일 | 출생증명서 |\n" in markdown


def test_pdf_has_three_pages_an_outline_and_an_embedded_font() -> None:
    import pypdfium2

    pdf = pypdfium2.PdfDocument(DOCUMENTS / "출장비규정.pdf")
    assert len(pdf) == 3
    outline = [(item.level, item.get_title()) for item in pdf.get_toc()]
    assert outline[:2] == [(0, "국내외 출장비 규정"), (1, "1. 총칙")]
    assert (2, "3.2 숙박비와 식비") in outline
    assert b"/FontFile2" in (DOCUMENTS / "출장비규정.pdf").read_bytes()


def test_a_missing_font_is_named_with_the_remedy(maker: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.ttf; install it .*fonts-nanum.*--font"):
        maker.make_document("출장비규정.pdf", tmp_path / "none.ttf")


# --- The main job on them: index, retrieve, answer with the extractive model ---


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RagOutput]:
    """The answer to each question, by the embedded defaults."""
    with DocumentIndex.open(tmp_path_factory.mktemp("index")) as index:
        report = index.sync(DOCUMENTS, progress=False)
        assert (report.added, report.failed) == (9, ())
        chain = create_rag_chain(index.as_retriever(k=4), load_chat_model("extractive"))
        questions = [question for question, *_ in [*QUESTIONS, *UNANSWERABLE]]
        return {question: chain.invoke(question) for question in questions}


def test_every_question_finds_a_right_file(outputs: dict[str, RagOutput]) -> None:
    missed = [
        question
        for question, files, _ in QUESTIONS
        if not {d.metadata["source"] for d in outputs[question]["documents"]} & set(files)
    ]
    assert missed == []


def test_nearly_every_question_is_answered_from_a_right_file(
    outputs: dict[str, RagOutput],
) -> None:
    wrong = []
    for question, files, words in QUESTIONS:
        output = outputs[question]
        quotes = " ".join(
            citation.quote
            for citation in output["citations"]
            if citation.metadata["source"] in files
        )
        if not all(word in " ".join(quotes.split()) for word in words):
            wrong.append(question)
    assert len(wrong) <= 2, wrong


def test_an_update_is_quoted_beside_what_it_replaces(outputs: dict[str, RagOutput]) -> None:
    output = outputs["2026년 7월부터 재택근무는 한 주에 며칠까지 할 수 있나요?"]
    quotes = {(c.metadata["source"], c.quote) for c in output["citations"]}
    assert (
        "공지_재택근무와_출장비_변경.md",
        "2026년 7월 1일부터 재택근무를 한 주에 3일까지 할 수 있습니다.",
    ) in quotes
    assert ("재택근무안내.docx", "재택근무는 한 주에 2일까지 할 수 있습니다.") in quotes


@pytest.mark.parametrize("question", [question for question, _ in UNANSWERABLE])
def test_what_is_nowhere_is_not_answered(question: str, outputs: dict[str, RagOutput]) -> None:
    assert (outputs[question]["answer"], outputs[question]["citations"]) == (NOT_FOUND, [])
