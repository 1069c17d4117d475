import pytest
from langchain_core.documents import Document

from kogemma_rag.citations import Citation, CitationCheck, render_html

DOCUMENTS = [
    Document("연차는 15일이다. 반차는 4시간이다.", id="a", metadata={"source": "휴가.md"}),
    Document("출장비는 하루 5만 원이다.", id="b", metadata={"source": "출장.pdf", "page": 3}),
]


def check(answer: str) -> tuple[str, CitationCheck]:
    citation_check = CitationCheck(DOCUMENTS)
    return citation_check.feed(answer) + citation_check.finish(), citation_check


def test_numbers_of_no_passage_are_dropped_and_counted() -> None:
    answer, checked = check("연차는 15일 [1]. 없는 [7] 것, 영 [0], 섞인 [2, 9].")
    assert answer == "연차는 15일 [1]. 없는 것, 영, 섞인 [2]."
    assert checked.dropped == 3
    assert [citation.number for citation in checked.citations()] == [1, 2]


def test_stream_in_single_characters_equals_the_whole() -> None:
    answer = "가 [1] 나[12], 다 [1, 2][9]. [참고] 배열[ 1 ] [3"
    whole, at_once = check(answer)
    piecewise = CitationCheck(DOCUMENTS)
    streamed = "".join(map(piecewise.feed, answer)) + piecewise.finish()
    assert streamed == whole
    assert piecewise.dropped == at_once.dropped
    assert piecewise.citations() == at_once.citations()


@pytest.mark.parametrize(
    "answer",
    [
        "[9[9]] [1[9]] [1[2]]",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
        "x [1," + " " * 30 + "2] y",
        "[1234, 1234, 1234, 1234, 1234, 1234, 1234, 1234, 1234, 1] 끝",
        "[9][9] [9 ] [ 9] [12345]",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_no_answer_breaks_the_check_however_it_is_cut(answer: str, size: int) -> None:
    whole, at_once = check(answer)
    piecewise = CitationCheck(DOCUMENTS)
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    assert "".join(map(piecewise.feed, pieces)) + piecewise.finish() == whole
    assert (piecewise.citations(), piecewise.dropped) == (at_once.citations(), at_once.dropped)
    # What is left names only passages that exist, read however often.
    assert check(whole)[1].dropped == 0


def test_text_is_not_held_back_by_a_lone_bracket() -> None:
    citation_check = CitationCheck(DOCUMENTS)
    assert citation_check.feed("[참고") == "[참고"
    assert citation_check.feed(" [1") == ""
    assert citation_check.feed("] 끝") == " [1] 끝"


def test_quote_is_the_sentence_that_bears_the_claim() -> None:
    _, checked = check("반차는 4시간 단위다. [1]\n출장비는 5만 원. [2]")
    first, second = checked.citations()
    assert first.quote == "반차는 4시간이다."
    assert DOCUMENTS[0].page_content[first.start : first.end] == first.quote
    assert (first.document_id, first.metadata) == ("a", {"source": "휴가.md"})
    assert (second.number, second.quote) == (2, "출장비는 하루 5만 원이다.")
    assert second.source == "출장.pdf, 3쪽"


def test_marks_in_a_row_share_their_claim_and_repeats_are_one_citation() -> None:
    _, checked = check(
        "반차는 4시간이다. [1][1] 출장비는 하루 5만 원이다. [2] 반차는 4시간이다. [1]"
    )
    assert [(citation.number, citation.quote) for citation in checked.citations()] == [
        (1, "반차는 4시간이다."),
        (2, "출장비는 하루 5만 원이다."),
    ]


def test_html_is_escaped() -> None:
    citation = Citation(1, "a", "<script>quote</script>", 0, 5, {"source": "<b>.md"})
    page = render_html("<img src=x onerror=y>\n둘", [citation])
    assert "&lt;img src=x onerror=y&gt;<br>둘" in page
    assert "&lt;script&gt;quote" in page
    assert "<b>&lt;b&gt;.md</b>" in page
    assert "<script" not in page
    assert "<img" not in page
