"""Where a passage stands: boxes against reportlab's own places, and against what is drawn."""

import json
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pypdfium2
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from served import served

from kogemma_rag import ExtractiveChatModel
from kogemma_rag.document_loaders import load_file
from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage_errors import StorageError
from kogemma_rag.text_splitters import KoreanTextSplitter
from kogemma_rag.web import page_looks
from kogemma_rag.web.document_library import DocumentLibrary, DocumentNotFoundError
from kogemma_rag.web.document_states import file_id
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.page_boxes import Share, find_quote, quote_boxes
from kogemma_rag.web.places import Mark, NoPageError, PageView, Places

WIDTH, HEIGHT = 600.0, 800.0
FONT, SIZE = "Helvetica", 20.0
EXAMPLES = Path(__file__).parent.parent / "examples" / "documents"


def pdf(lines: list[tuple[float, float, str]], **options: Any) -> pypdfium2.PdfPage:
    """A page with lines of text at (x, y), y from below."""
    file = BytesIO()
    canvas = Canvas(file, pagesize=(WIDTH, HEIGHT), **options)
    canvas.setFont(FONT, SIZE)
    for x, y, text in lines:
        canvas.drawString(x, y, text)
    canvas.save()
    return pypdfium2.PdfDocument(file.getvalue())[0]


def boxes_of(page: pypdfium2.PdfPage, passage: str, quote: str) -> list[Share]:
    start = passage.index(quote)
    return quote_boxes(page, passage, start, start + len(quote))


def assert_box(box: Share, x: float, y: float, text: str) -> None:
    """Whether a box lies over a text that was drawn at (x, y): to a point across, its line down."""
    width = stringWidth(text, FONT, SIZE)
    assert box.x * WIDTH == pytest.approx(x, abs=2)
    assert (box.x + box.width) * WIDTH == pytest.approx(x + width, abs=2)
    baseline = HEIGHT - y
    assert baseline - 1.3 * SIZE < box.y * HEIGHT < baseline - 0.5 * SIZE
    assert baseline - 1 <= (box.y + box.height) * HEIGHT < baseline + 0.5 * SIZE


def test_sentence_in_a_line() -> None:
    page = pdf([(50, 700, "Before it. The leave is 15 days. After it.")])
    [box] = boxes_of(page, "Before it. The leave is 15 days. After it.", "The leave is 15 days.")
    # Full stops are not compared, and not boxed at the end.
    assert_box(box, 50 + stringWidth("Before it. ", FONT, SIZE), 700, "The leave is 15 days")


def test_quote_over_two_lines() -> None:
    page = pdf([(50, 700, "One. The leave of a"), (50, 670, "year is 15 days. Two.")])
    first, second = boxes_of(
        page, "One. The leave of a year is 15 days. Two.", "The leave of a year is 15 days"
    )
    assert_box(first, 50 + stringWidth("One. ", FONT, SIZE), 700, "The leave of a")
    assert_box(second, 50, 670, "year is 15 days")


def test_hyphenated_word() -> None:
    page = pdf([(50, 700, "The reimburse-"), (50, 670, "ment is paid monthly.")])
    first, second = boxes_of(page, "The reimbursement is paid monthly.", "reimbursement is paid")
    assert_box(first, 50 + stringWidth("The ", FONT, SIZE), 700, "reimburse")
    assert_box(second, 50, 670, "ment is paid")


def test_two_columns() -> None:
    # The lines of both columns in one order in the file, row by row, and in another to be read.
    rows = [(f"left column line {n}", f"right column line {n}") for n in range(8)]
    lines = [
        (x, 700 - 30 * n, text)
        for n, row in enumerate(rows)
        for x, text in zip((50, 330), row, strict=True)
    ]
    page = pdf(lines)
    passage = " ".join(right for _, right in rows)
    first, second = boxes_of(page, passage, "line 2 right column line 3")
    assert_box(first, 330 + stringWidth("right column ", FONT, SIZE), 640, "line 2")
    assert_box(second, 330, 610, "right column line 3")


def test_same_words_twice_are_told_by_what_stands_around_them() -> None:
    page = pdf([(50, 700, "Seoul: up to 90 dollars."), (50, 600, "Busan: up to 90 dollars.")])
    [box] = boxes_of(page, "Busan: up to 90 dollars.", "up to 90 dollars")
    assert_box(box, 50 + stringWidth("Busan: ", FONT, SIZE), 600, "up to 90 dollars")


def test_row_of_a_table() -> None:
    cells = [(50, "Director"), (200, "First class"), (400, "150 dollars")]
    page = pdf([(x, 700, text) for x, text in cells])
    passage = "| Director | First class | 150 dollars |"
    found = boxes_of(page, passage, passage)
    assert len(found) == 3
    for box, (x, text) in zip(found, cells, strict=True):
        assert_box(box, x, 700, text)


def test_what_is_not_on_the_page_has_no_box() -> None:
    page = pdf([(50, 700, "Something else entirely.")])
    assert boxes_of(page, "The leave is 15 days.", "The leave is 15 days.") == []
    assert boxes_of(page, "...", "...") == []


@pytest.mark.parametrize(
    ("page", "quote", "found"),
    [
        ("연차\r\n휴가는 15일", "연차휴가는 15일", "연차휴가는15일"),
        ("연차", "연차", "연차"),  # NFD on the page
        ("가나 다라마바 사아", "가나다라 틈 마바사아", "가나다라마바사아"),
        ("가나다라", "마바사아", ""),
    ],
)
def test_quote_is_found_by_its_letters(page: str, quote: str, found: str) -> None:
    import unicodedata

    places = find_quote(page, quote, 0, len(quote))
    text = "".join(page[place] for place in places)
    assert unicodedata.normalize("NFC", text) == found


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_lie_over_what_is_drawn_of_a_turned_and_cropped_page(rotation: int) -> None:
    page = pdf([(150, 500, "Quoted words alone")])
    page.set_cropbox(100, 300, 550, 700)
    page.set_rotation(rotation)
    [box] = boxes_of(page, "Quoted words alone", "Quoted words alone")
    image = page.render(scale=2).to_pil().convert("L").point(lambda shade: 255 * (shade < 128))
    left, top, right, bottom = image.getbbox()
    assert box.x * image.width <= left + 2
    assert box.y * image.height <= top + 2
    assert (box.x + box.width) * image.width >= right - 2
    assert (box.y + box.height) * image.height >= bottom - 2
    assert box.width * box.height < 0.25


class Shelf:
    """An index of example documents, and where passages stand in them."""

    def __init__(self, folder: Path) -> None:
        self.index = DocumentIndex.open(folder / "index", DeterministicFakeEmbedding(size=8))
        for name in ("휴가규정.hwpx", "출장비규정.pdf"):
            self.index.sync(EXAMPLES / name, progress=False, workers=1)
        self.documents = DocumentLibrary(self.index, ServeOptions(index=self.index))
        self.places = Places(self.documents)
        self.ids = {one.title: one.id for one in self.documents.documents()}

    def chunk(self, source: str, words: str) -> Any:
        path = str((EXAMPLES / source).resolve())
        chunks = self.documents.files.documents(path)
        return next(chunk for chunk in chunks if words in chunk.page_content)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    yield shelf
    shelf.places.close()
    shelf.documents.close()
    shelf.index.close()


@pytest.mark.parametrize("source", ["휴가규정.hwpx", "출장비규정.pdf"])
def test_text_is_that_of_the_loader_with_the_quote_marked(shelf: Shelf, source: str) -> None:
    loaded = load_file(EXAMPLES / source)
    chunk = KoreanTextSplitter().split_documents(loaded)[3]
    stored = shelf.chunk(source, chunk.page_content)
    start = len(stored.page_content) // 2
    found = shelf.places.text(shelf.ids[source], stored.id, start, start + 5)
    assert found.title == source
    texts = [section.text for section in found.sections]
    assert "\n\n".join(texts) == "\n\n".join(one.page_content for one in loaded)
    [mark] = found.marks
    marked = found.sections[mark.section].text[mark.start : mark.end]
    assert marked == stored.page_content[start : start + 5]
    assert stored.id in found.sections[mark.section].chunk_ids


def test_text_without_offsets_marks_the_whole_passage(shelf: Shelf) -> None:
    chunk = shelf.chunk("출장비규정.pdf", "택시는 대중교통이")
    found = shelf.places.text(shelf.ids["출장비규정.pdf"], chunk.id, 5, 3)
    [mark] = found.marks
    assert found.sections[mark.section].text[mark.start : mark.end] == chunk.page_content
    assert shelf.places.text(shelf.ids["출장비규정.pdf"]).marks == ()


def test_page_of_a_document(shelf: Shelf) -> None:
    chunk = shelf.chunk("출장비규정.pdf", "택시는 대중교통이")
    quote = "택시는 대중교통이 끊긴 시각"
    start = chunk.page_content.index(quote)
    id_ = shelf.ids["출장비규정.pdf"]
    view = shelf.places.page(id_, 1, chunk.id, start, start + len(quote))
    assert (view.width, view.height) == pytest.approx((595.276, 841.89), abs=0.01)
    # Where pdfplumber, which reads the file by pdfminer, finds the same words.
    import pdfplumber

    with pdfplumber.open(EXAMPLES / "출장비규정.pdf") as file:
        [there] = file.pages[0].search("택시는 대중교통이 끊긴 시각")
    [box] = view.boxes
    assert box["x"] * view.width == pytest.approx(there["x0"], abs=2)
    assert (box["x"] + box["width"]) * view.width == pytest.approx(there["x1"], abs=2)
    middle = (box["y"] + box["height"] / 2) * view.height
    assert there["top"] < middle < there["bottom"]
    assert shelf.places.page(id_, 2, chunk.id, start, start + 5).boxes == ()  # of another page


def test_picture_of_a_page(shelf: Shelf) -> None:
    from PIL import Image

    image = Image.open(BytesIO(shelf.places.picture(shelf.ids["출장비규정.pdf"], 1)))
    assert image.format == "PNG"
    assert image.width == pytest.approx(1400, abs=1)  # PDFium's page is a little wider
    assert image.height == pytest.approx(1400 * 841.89 / 595.276, abs=2)


def test_what_has_no_page_says_so(shelf: Shelf) -> None:
    with pytest.raises(NoPageError, match="이 문서는 모두 3쪽입니다"):
        shelf.places.page(shelf.ids["출장비규정.pdf"], 4)
    with pytest.raises(NoPageError, match="그림으로 볼 수 없는 형식"):
        shelf.places.picture(shelf.ids["휴가규정.hwpx"], 1)
    other = shelf.chunk("휴가규정.hwpx", "휴가")
    with pytest.raises(DocumentNotFoundError):
        shelf.places.text(shelf.ids["출장비규정.pdf"], other.id)
    with pytest.raises(DocumentNotFoundError):
        shelf.places.text("0" * 32)


def test_overlapping_chunks_are_one_text(tmp_path: Path) -> None:
    sentences = " ".join(f"{number}번째 문장은 여기에 있습니다." for number in range(300))
    (tmp_path / "긴글.txt").write_text(sentences, encoding="utf-8")
    with DocumentIndex.open(tmp_path / "index", DeterministicFakeEmbedding(size=8)) as index:
        index.sync(tmp_path / "긴글.txt", progress=False, workers=1)
        documents = DocumentLibrary(index, ServeOptions(index=index))
        places = Places(documents)
        [one] = documents.documents()
        chunks = documents.files.documents(str(tmp_path.resolve() / "긴글.txt"))
        assert len(chunks) > 5
        found = places.text(one.id, chunks[4].id)
        [section] = found.sections
        assert " ".join(section.text.split()) == sentences
        start = chunks[4].metadata["start_index"]
        assert found.marks == (Mark(0, start, start + len(chunks[4].page_content)),)
        places.close()
        documents.close()


@pytest.fixture(scope="module")
def answer_with_pages(shelf: Shelf) -> Iterator[str]:
    options = ServeOptions(index=shelf.index, chat_model=ExtractiveChatModel(max_sentences=2))
    with served(options) as url:
        yield f"{url}/v1/chat/completions"


def ask_of_pages(url: str, *, stream: bool) -> httpx.Response:
    """Ask what stands in the PDF; vectors of this shelf are noise, the words are rare."""
    message = {"role": "user", "content": "택시는 대중교통이 끊긴 시각에 탈 수 있나요?"}
    return httpx.post(url, json={"messages": [message], "stream": stream}, timeout=30)


def test_cited_sources_have_the_boxes_of_their_pages(shelf: Shelf, answer_with_pages: str) -> None:
    sources = ask_of_pages(answer_with_pages, stream=False).json()["sources"]
    cited = [source for source in sources if source["quote"] and source["page"]]
    assert cited
    for source in cited:
        path = str((EXAMPLES / source["source"]).resolve())
        place = (source["page"], source["chunk_id"], source["start"], source["end"])
        assert source["boxes"] == list(shelf.places.page(file_id(path), *place).boxes) != []
    assert all(source["boxes"] == [] for source in sources if source not in cited)

    events = ask_of_pages(answer_with_pages, stream=True).text.split("\n\n")
    told = [json.loads(event[6:]) for event in events if '"sources"' in event]
    assert [one["boxes"] for one in told[0]["sources"]] == [[]] * len(sources)
    assert [one["boxes"] for one in told[-1]["sources"]] == [one["boxes"] for one in sources]


@pytest.mark.parametrize("error", [PermissionError(13, "no"), StorageError("gone")])
def test_answer_stands_where_its_page_cannot_be_looked_at(
    answer_with_pages: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(Places, "page", fail)
    answer = ask_of_pages(answer_with_pages, stream=False).json()
    assert answer["answered"] is True
    assert all(source["boxes"] == [] for source in answer["sources"])


def test_answers_do_not_wait_for_slow_pages(
    shelf: Shelf, answer_with_pages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def look_long(*_: Any, **__: Any) -> Any:
        assert looked.wait(20)
        return PageView(1, 1, ())

    monkeypatch.setattr(page_looks, "_BOX_SECONDS", 0.05)
    monkeypatch.setattr(Places, "page", look_long)
    sources = ask_of_pages(answer_with_pages, stream=False).json()["sources"]
    looked.set()
    assert any(source["quote"] and source["page"] for source in sources)
    assert all(source["boxes"] == [] for source in sources)
