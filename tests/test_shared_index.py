"""The whole way on real data: documents of Korean offices, and questions of KorQuAD."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document

from kogemma_rag import DocumentIndex, ExtractiveChatModel, create_rag_chain

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the measuring data is not beside the project"),
]
QUESTIONS_STEP = 20


@pytest.fixture(scope="module")
def office_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    with DocumentIndex.open(tmp_path_factory.mktemp("office")) as index:
        report = index.sync(SHARED / "docs", progress=False)
        files = sum(path.is_file() for path in (SHARED / "docs").rglob("*"))
        assert (report.added, report.failed) == (files, ())
        assert files == 20
        yield index


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("한국형발사체의 이름은 무엇으로 정해졌나요?", "누리"),
        ("백승엽 학생은 언제 과기정통부 장관상을 받나요?", "9월 7일"),
    ],
)
def test_press_release_is_found_from_hwp_and_hwpx(
    office_index: DocumentIndex, question: str, answer: str
) -> None:
    found = [document.metadata["source"] for document, _ in office_index.search(question, k=4)]
    assert {"hwp/hwpjs_noori.hwp", "hwpx/hwpjs_noori.hwpx"} <= set(found)
    output = create_rag_chain(office_index.as_retriever(), ExtractiveChatModel()).invoke(question)
    assert answer in output["answer"]
    assert "hwpjs_noori" in output["citations"][0].source


@pytest.mark.parametrize("kind", ["hwp", "hwpx"])
def test_press_release_answers_from_either_file_alone(
    office_index: DocumentIndex, kind: str
) -> None:
    source = f"{kind}/hwpjs_noori.{kind}"
    hits = office_index.search("누리라는 이름을 제안한 학생은?", k=3, filter={"source": source})
    assert any("백승엽" in document.page_content for document, _ in hits)


def test_unchanged_folder_is_left_alone(office_index: DocumentIndex) -> None:
    generation = office_index.info()["generation"]
    report = office_index.sync(SHARED / "docs", progress=False)
    assert (report.added, report.updated, report.deleted, report.chunks) == (0, 0, 0, 0)
    assert office_index.info()["generation"] == generation


def test_korquad_stays_above_its_floors(tmp_path: Path) -> None:
    """Every twentieth question; `kogemma-rag eval` measures all of them."""
    articles = json.loads((SHARED / "KorQuAD_v1.0_dev.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    texts = list(dict.fromkeys(paragraph["context"] for paragraph in paragraphs))
    asked = [(qa, paragraph["context"]) for paragraph in paragraphs for qa in paragraph["qas"]]
    asked = asked[::QUESTIONS_STEP]
    ranks, first, three = [], 0, 0
    with DocumentIndex.open(tmp_path) as index:
        index.add_documents([Document(text, id=str(n)) for n, text in enumerate(texts)])
        retriever = index.as_retriever(k=10)
        chain = create_rag_chain(index.as_retriever(k=4), ExtractiveChatModel())
        for qa, context in asked:
            found = [document.page_content for document in retriever.invoke(qa["question"])]
            ranks.append(found.index(context) + 1 if context in found else float("inf"))
            quotes = [citation.quote for citation in chain.invoke(qa["question"])["citations"]]
            answers = [answer["text"] for answer in qa["answers"]]
            first += any(answer in quote for quote in quotes[:1] for answer in answers)
            three += any(answer in quote for quote in quotes[:3] for answer in answers)
    count = len(asked)
    assert sum(rank == 1 for rank in ranks) / count >= 0.90
    assert sum(rank <= 10 for rank in ranks) / count >= 0.985
    assert sum(1 / rank for rank in ranks) / count >= 0.94
    assert first / count >= 0.75
    assert three / count >= 0.88
