"""Chunks put together again, against the text that they were cut from."""

from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from kogemma_rag import DocumentIndex, ExtractiveChatModel, KoreanTextSplitter, create_rag_chain
from kogemma_rag.neighbours import joined, with_duplicates

TEXT = "\n".join(f"{n}호 규정은 {chr(0xAC00 + 28 * n)}관에서 정한다." for n in range(12))


def chunks(text: str = TEXT, **metadata: object) -> list[Document]:
    splitter = KoreanTextSplitter(chunk_size=60, chunk_overlap=25)
    cut = splitter.split_documents([Document(text, metadata={"source": "규정.md", **metadata})])
    name = "-".join(map(str, metadata.values()))
    return [
        Document(one.page_content, id=f"{name}{n}", metadata=one.metadata)
        for n, one in enumerate(cut)
    ]


def stands_in(document: Document, text: str) -> bool:
    start = document.metadata["start_index"]
    return text[start : start + len(document.page_content)] == document.page_content


@pytest.fixture
def cut() -> list[Document]:
    found = chunks()
    ends = [one.metadata["start_index"] + len(one.page_content) for one in found]
    starts = [one.metadata["start_index"] for one in found]
    assert len(found) > 5
    assert any(start < end for start, end in zip(starts[1:], ends, strict=False))  # overlaps
    return found


def test_neighbours_are_one_chunk_on_each_side_without_repeats(cut: list[Document]) -> None:
    found, ids = joined(cut[2], cut[::-1], "neighbours", most_characters=500)
    begin = cut[1].metadata["start_index"]
    end = cut[3].metadata["start_index"] + len(cut[3].page_content)
    assert (found.page_content, found.id) == (TEXT[begin:end], cut[2].id)
    assert found.metadata == {"source": "규정.md", "start_index": begin}
    assert ids == {one.id for one in cut[1:4]}
    assert cut[2].metadata["start_index"] > begin  # the hit itself is as it was


def test_a_section_is_all_of_the_text(cut: list[Document]) -> None:
    for hit in cut:
        found, ids = joined(hit, cut, "section", most_characters=len(TEXT))
        assert found.page_content == TEXT
        assert ids == {one.id for one in cut}


@pytest.mark.parametrize("most", range(30, 400, 37))
def test_no_more_characters_than_asked_for(cut: list[Document], most: int) -> None:
    found, ids = joined(cut[3], cut, "section", most_characters=most)
    assert len(found.page_content) <= max(most, len(cut[3].page_content))
    assert stands_in(found, TEXT)
    assert all(one.page_content in found.page_content for one in cut if one.id in ids)


def test_chunks_that_do_not_touch_or_contradict_are_left_out(cut: list[Document]) -> None:
    without = [one for one in cut if one not in cut[3:5]]
    found, ids = joined(cut[1], without, "section", most_characters=10_000)
    assert ids == {one.id for one in cut[:3]}
    assert stands_in(found, TEXT)
    # Another file of the same name with other words at the same places.
    others = [
        Document(
            one.page_content.replace("정한다", "금한다"), id=f"0{one.id}", metadata=one.metadata
        )
        for one in cut
    ]
    found, ids = joined(cut[2], [*others, *cut], "section", most_characters=10_000)
    assert found.page_content == TEXT
    assert ids == {one.id for one in cut}


def test_other_pages_and_headings_are_other_texts(cut: list[Document]) -> None:
    first, second = chunks(page=1), chunks(page=2)
    found, ids = joined(first[0], [*first, *second, *cut], "section", most_characters=10_000)
    assert found.page_content == TEXT
    assert ids == {one.id for one in first}


@pytest.mark.parametrize("start", [None, "3", True, -1])
def test_a_document_without_a_place_stays_alone(cut: list[Document], start: object) -> None:
    alone = Document("글", id="x", metadata={"source": "규정.md", "start_index": start})
    assert joined(alone, [*cut, alone], "section", most_characters=999) == (alone, {"x"})


def test_chunks_of_another_passage_are_not_repeated(cut: list[Document]) -> None:
    taken = {str(cut[3].id)}
    _, ids = joined(cut[4], cut, "neighbours", most_characters=999, taken=taken)
    assert ids == {cut[4].id, cut[5].id}


def test_duplicates_name_the_other_sources() -> None:
    documents = [
        Document("같은 글", id="1", metadata={"source": "나"}),
        Document("같은 글", id="2", metadata={"source": "가"}),
        Document("같은 글", id="3", metadata={"source": "가", "page": 2}),
        Document("같은 글", id="4"),
        Document("다른 글", id="5", metadata={"source": "가"}),
        Document("같은 글", id="6", metadata={"source": "다", "duplicates": "own"}),
    ]
    found = [one.metadata.get("duplicates") for one in with_duplicates(documents)]
    assert found == [["가", "다"], ["나", "다"], ["나", "다"], ["가", "나", "다"], None, "own"]
    assert all(one.metadata.get("duplicates") in (None, "own") for one in documents)  # copies


@pytest.fixture
def index(tmp_path: Path):
    with DocumentIndex.open(tmp_path, DeterministicFakeEmbedding(size=8)) as index:
        index.add_documents([*chunks(page=1), *chunks("딸기는 온실에서 기른다.", page=2)])
        yield index


def test_hits_of_one_section_are_one_passage(index: DocumentIndex) -> None:
    words = (0, 1, 0.5)
    plain = index.as_retriever(k=3, weights=words).invoke("3호 규정")
    assert {one.metadata["page"] for one in plain} == {1}
    assert len(plain) == 3
    section = index.as_retriever(k=3, weights=words, context="section").invoke("3호 규정")
    assert section[0].page_content == TEXT
    assert section[0].id == plain[0].id
    assert sum(one.metadata["page"] == 1 for one in section) == 1
    near = index.as_retriever(k=9, weights=words, context="neighbours").invoke("3호 규정")
    assert all(stands_in(one, TEXT) for one in near if one.metadata["page"] == 1)
    parts = [one.id for one in near]
    assert len(parts) == len(set(parts))


async def test_citations_stand_in_the_joined_passage(index: DocumentIndex) -> None:
    retriever = index.as_retriever(k=2, weights=(0, 1, 0.5), context="section")
    output = await create_rag_chain(retriever, ExtractiveChatModel()).ainvoke("7호 규정은 어디서?")
    [citation, *_] = output["citations"]
    start = citation.metadata["start_index"]
    assert TEXT[start + citation.start : start + citation.end] == citation.quote
    assert "7호" in citation.quote


def test_equal_texts_of_two_files_are_shown_as_such(index: DocumentIndex) -> None:
    copies = [
        Document("출장비는 하루 3만원이다.", id=name, metadata={"source": name, "start_index": 0})
        for name in ("a.txt", "b.txt")
    ]
    index.add_documents(copies)
    retriever = index.as_retriever(k=2, weights=(0, 1, 0.5))
    found = retriever.invoke("출장비는 하루 얼마?")
    assert {one.id: one.metadata["duplicates"] for one in found} == {
        "a.txt": ["b.txt"],
        "b.txt": ["a.txt"],
    }
    output = create_rag_chain(retriever, ExtractiveChatModel()).invoke("출장비는 하루 얼마?")
    assert output["citations"][0].source == "a.txt, 같은 글 b.txt"


def test_white_space_between_chunks_keeps_its_length() -> None:
    cut = [Document("가나.", id="a"), Document("다라.", id="b"), Document("마바.", id="c")]
    for one, start in zip(cut, (0, 6, 40), strict=True):  # the third is too far away to follow
        one.metadata["start_index"] = start
    found, _ = joined(cut[1], cut, "section", most_characters=99)
    assert (found.page_content, found.metadata) == ("가나.\n\n\n다라.", {"start_index": 0})
