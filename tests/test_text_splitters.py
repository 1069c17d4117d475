import random
import time
import unicodedata

import pytest
import tiny_gemma
from langchain_core.documents import Document

from kogemma_rag.morphemes import kiwi_sentence_spans, sentence_spans
from kogemma_rag.text_splitters import KoreanTextSplitter


def random_text(rng: random.Random) -> str:
    words = "휴가는 연차를 15일 받는다 (다만, 신청) “누리”라고 하였다. 3.5% 끝났다! 왜? A/B 😀 각"
    starts = [
        "",
        "",
        "- ",
        "1. ",
        "가. ",
        "# ",
        "## ",
        "| 가 | 나 |\n| --- | --- |\n| ",
        "제3조(휴가)\n",
        "□ ",
        "  ",
    ]
    lines = []
    for _ in range(rng.randrange(1, 40)):
        line = rng.choice(starts) + " ".join(rng.choices(words.split(), k=rng.randrange(0, 30)))
        lines.append(
            line + rng.choice([".", "", "다.", " |", "…", "요?"]) + rng.choice(["\n", "\n\n", " "])
        )
    return "".join(lines)


@pytest.mark.parametrize("seed", range(150))
def test_chunks_are_slices_in_order_that_lose_nothing(seed: int) -> None:
    rng = random.Random(seed)
    text = random_text(rng)
    size = rng.choice([1, 2, 7, 40, 120, 500])
    splitter = KoreanTextSplitter(chunk_size=size, chunk_overlap=rng.randrange(0, size + 1))
    chunks = splitter.create_documents([text])
    covered = [False] * len(text)
    previous = (-1, -1)
    for chunk in chunks:
        start = chunk.metadata["start_index"]
        end = start + len(chunk.page_content)
        assert text[start:end] == chunk.page_content == chunk.page_content.strip()
        assert 0 < len(chunk.page_content) <= size
        assert previous < (start, end)
        assert previous[1] < end
        assert previous[1] - start <= splitter._chunk_overlap
        covered[start:end] = [True] * (end - start)
        previous = (start, end)
    assert all(seen or c.isspace() for seen, c in zip(covered, text, strict=True))
    assert splitter.create_documents([text]) == chunks
    assert splitter.split_text(text) == [chunk.page_content for chunk in chunks]


@pytest.mark.parametrize("seed", range(30))
def test_chunks_end_where_sentences_end(seed: int) -> None:
    text = random_text(random.Random(seed))
    spans = sentence_spans(text)
    if any(end - start > 300 for start, end in spans):
        pytest.skip("has a sentence longer than a chunk")
    starts, ends = {start for start, _ in spans}, {end for _, end in spans}
    for start, end in KoreanTextSplitter(chunk_size=700).split_spans(text):
        assert start in starts
        assert end in ends


SENTENCES = [f"{number}번째 문장은 여기에서 끝난다." for number in range(10, 30)]


def test_overlap_is_whole_sentences() -> None:
    text = " ".join(SENTENCES)
    chunks = KoreanTextSplitter(chunk_size=100, chunk_overlap=40).split_text(text)
    assert chunks[0] == " ".join(SENTENCES[:5])
    assert chunks[1] == " ".join(SENTENCES[3:8])  # two of 18 characters fit into 40
    assert KoreanTextSplitter(chunk_size=100, chunk_overlap=17).split_text(text)[1] == " ".join(
        SENTENCES[5:10]
    )


def test_repeated_sentences_have_their_own_offsets() -> None:
    text = "같은 문장이다. " * 50
    chunks = KoreanTextSplitter(chunk_size=30, chunk_overlap=10).create_documents([text])
    starts = [chunk.metadata["start_index"] for chunk in chunks]
    assert starts == sorted(set(starts))
    assert starts[-1] + len(chunks[-1].page_content) == len(text.rstrip())


def test_heading_stays_with_its_text() -> None:
    text = "가" * 80 + ".\n\n# 휴가\n\n## 연차\n\n" + "연차는 15일이다. " * 8
    chunks = KoreanTextSplitter(chunk_size=110, chunk_overlap=0).split_text(text)
    assert chunks[0] == "가" * 80 + "."
    assert chunks[1].startswith("# 휴가\n\n## 연차\n\n연차는 15일이다.")


def test_heading_moves_on_when_its_first_sentence_does_not_fit() -> None:
    text = "가" * 30 + ".\n\n# 휴가\n\n## 연차\n\n" + "나" * 80 + "."
    chunks = KoreanTextSplitter(chunk_size=110, chunk_overlap=0).split_text(text)
    assert chunks == ["가" * 30 + ".", "# 휴가\n\n## 연차\n\n" + "나" * 80 + "."]


def test_heading_before_one_long_sentence() -> None:
    text = "# 휴가\n\n" + "아주 긴 문장이 이어지고, " * 20
    first = KoreanTextSplitter(chunk_size=100, chunk_overlap=0).split_text(text)[0]
    assert first.startswith("# 휴가\n\n아주 긴")
    assert first.endswith("이어지고,")


def test_article_headings_of_plain_text_begin_chunks() -> None:
    article = "이 규정은 휴가에 관한 사항을 정함을 목적으로 한다. 모든 직원에게 적용한다."
    text = "\n".join(f"제{n}조(목적)\n{article}" for n in range(1, 6))
    chunks = KoreanTextSplitter(chunk_size=100, chunk_overlap=20).split_text(text)
    assert chunks == [f"제{n}조(목적)\n{article}" for n in range(1, 6)]


def test_table_and_list_are_kept_whole_where_they_fit() -> None:
    table = "[표 1] 일수\n\n| 구분 | 일수 |\n| --- | --- |\n" + "\n".join(
        f"| 휴가{n} | {n}일 |" for n in range(8)
    )
    items = "\n".join(f"- 항목 {n}번의 설명" for n in range(8))
    for block in (table, table.partition("\n\n")[2], items):
        text = f"{' '.join(SENTENCES[:5])}\n\n{block}\n\n{' '.join(SENTENCES[:3])}"
        chunks = KoreanTextSplitter(chunk_size=180, chunk_overlap=40).split_text(text)
        assert sum(block in chunk for chunk in chunks) == 1


def test_long_sentence_is_cut_between_words_and_never_in_a_character() -> None:
    text = "낱말 " * 300
    assert all(
        set(chunk.split()) == {"낱말"}
        for chunk in KoreanTextSplitter(chunk_size=50, chunk_overlap=0).split_text(text)
    )
    decomposed = unicodedata.normalize("NFD", "각닭값" * 100)
    for chunk in KoreanTextSplitter(chunk_size=50, chunk_overlap=0).split_text(decomposed):
        assert set(unicodedata.normalize("NFC", chunk)) <= set("각닭값")


@pytest.mark.parametrize(
    "text",
    [
        "." * 200_000 + "x",
        "(" * 200_000,
        "x" * 200_000,
        "e" + "\u0301" * 200_000,
        "제1장 " + "그렇다. " * 40_000,
        "제1조(" + "그렇다. " * 40_000,
    ],
    ids=["dots", "brackets", "letters", "marks", "heading", "article"],
)
def test_what_repeats_without_end_takes_no_quadratic_time(text: str) -> None:
    started = time.monotonic()
    spans = KoreanTextSplitter().split_spans(text)
    assert spans[-1][1] == len(text.rstrip())
    assert time.monotonic() - started < 10  # it took from twenty seconds to minutes


def test_metadata_is_kept_and_copied() -> None:
    document = Document(page_content=" ".join(SENTENCES), metadata={"headings": ["가"], "page": 3})
    chunks = KoreanTextSplitter(chunk_size=100).split_documents([document])
    assert [chunk.metadata["page"] for chunk in chunks] == [3] * len(chunks)
    chunks[0].metadata["headings"].append("나")
    assert document.metadata == {"headings": ["가"], "page": 3}


def test_nothing_in_nothing_out() -> None:
    assert KoreanTextSplitter().split_text("") == []
    assert KoreanTextSplitter().split_text(" \n\n ") == []


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (10, 11), (10, -1)])
def test_impossible_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        KoreanTextSplitter(chunk_size=size, chunk_overlap=overlap)


@pytest.mark.parametrize("seed", range(30))
def test_a_budget_in_words_is_kept_and_used(seed: int) -> None:
    def words(text: str) -> int:
        return len(text.split())

    rng = random.Random(seed)
    text = random_text(rng)
    size = rng.choice([1, 3, 10, 40])
    splitter = KoreanTextSplitter(chunk_size=size, chunk_overlap=size // 3, length_function=words)
    spans = splitter.split_spans(text)
    covered = set()
    for (start, end), following in zip(spans, [*spans[1:], (len(text), len(text))], strict=True):
        assert 0 < words(text[start:end]) <= size
        assert words(text[following[0] : end]) <= size // 3
        covered.update(range(start, end))
    assert all(place in covered or text[place].isspace() for place in range(len(text)))


def test_a_budget_in_tokens_of_a_tokenizer() -> None:
    tokenizer = tiny_gemma.build_tokenizer()
    text = "연차휴가는 열다섯 날이다. 출장비는 영수증으로 정산한다. " * 20
    splitter = KoreanTextSplitter.from_huggingface_tokenizer(
        tokenizer, chunk_size=120, chunk_overlap=0
    )
    sizes = [len(tokenizer.tokenize(chunk)) for chunk in splitter.split_text(text)]
    assert max(sizes) <= 120
    # One more sentence would have been too many.
    longest = max(
        len(tokenizer.tokenize(s))
        for s in ("연차휴가는 열다섯 날이다. ", "출장비는 영수증으로 정산한다. ")
    )
    assert all(size > 120 - 2 * longest for size in sizes[:-1])


def test_sentences_of_kiwi_in_the_place_of_ours() -> None:
    text = "# 제목\n\n비가 온다 그리고 바람이 분다. 우산을 챙겼다고 말했다.\n- 첫째\n- 둘째"
    splitter = KoreanTextSplitter(
        chunk_size=12, chunk_overlap=0, sentence_spans=kiwi_sentence_spans
    )
    spans = [text[start:end] for start, end in kiwi_sentence_spans(text)]
    assert spans[0] == "# 제목"
    assert spans[-2:] == ["- 첫째", "- 둘째"]
    assert spans[1].startswith("비가 온다")
    assert "우산을 챙겼다고 말했다." in spans
    chunks = "".join("".join(splitter.split_text(text)).split())
    assert chunks == "".join(text.split())
