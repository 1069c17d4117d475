"""Text of a reply against decoding it whole and cutting it whole."""

import random

import pytest
import tiny_gemma

from kogemma_rag.detokenizer import Detokenizer, ReplyText

SILENT = {0, 1, 2, 3, 106, 107}


def byte_tokens(text: str | bytes) -> list[int]:
    raw = text.encode() if isinstance(text, str) else text
    return [tiny_gemma.FIRST_BYTE + byte for byte in raw]


@pytest.fixture
def detokenizer(tiny_tokenizer) -> Detokenizer:
    return Detokenizer(tiny_tokenizer, SILENT)


def pieces_of(detokenizer, tokens, stop=()):
    text = ReplyText(detokenizer, stop)
    pieces = []
    for token in tokens:
        pieces.append(text.feed(token))
        if text.stopped:
            break
    return [*pieces, text.finish()]


@pytest.mark.parametrize("text", ["이순신 장군은 😀 뷁 쀍\n\n  끝.", "a�b", " ", "<b>표</b>"])
def test_text_is_what_was_encoded(tiny_tokenizer, detokenizer, text) -> None:
    tokens = tiny_tokenizer.encode(text, add_special_tokens=False)
    assert "".join(pieces_of(detokenizer, tokens)) == text == tiny_tokenizer.decode(tokens)


def test_a_character_comes_when_its_last_byte_has(detokenizer) -> None:
    tokens = byte_tokens("쀍😀")
    assert pieces_of(detokenizer, tokens) == ["", "", "쀍", "", "", "", "😀", ""]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("안녕".encode()[:-1], "안"),  # cut inside a character
        (b"\xec\x95A", "A"),  # a character that another one interrupts
        (b"\x95\x88A", "A"),  # the middle of a character
        (b"\xed\xa0\x80A", "A"),  # half of a surrogate pair
        (b"\xff\xfe", ""),
    ],
)
def test_bytes_that_are_no_character_are_dropped(detokenizer, raw, text) -> None:
    assert "".join(pieces_of(detokenizer, byte_tokens(raw))) == text


def test_a_piece_after_a_broken_character_is_whole(tiny_tokenizer, detokenizer) -> None:
    tokens = [*byte_tokens(b"\xec\x95"), *tiny_tokenizer.encode("한국", add_special_tokens=False)]
    assert "".join(pieces_of(detokenizer, tokens)) == "한국"


def test_silent_tokens_and_ids_past_the_vocabulary_have_no_text(
    tiny_tokenizer, detokenizer
) -> None:
    beyond = len(tiny_tokenizer) + 5
    assert pieces_of(detokenizer, [106, 2, beyond, 1]) == [""] * 5
    # Line ends, spaces and tags are added tokens too, and text.
    assert pieces_of(detokenizer, [109, 139, 201]) == ["\n\n", "  ", "<b>", ""]


def test_stop_string_over_byte_tokens_is_cut_and_nothing_of_it_is_given(detokenizer) -> None:
    tokens = byte_tokens("답: 쀍쀍끝 그 뒤")
    pieces = pieces_of(detokenizer, tokens, ["쀍끝"])
    assert "".join(pieces) == "답: 쀍"
    assert len(pieces) == len("답: 쀍쀍끝".encode()) + 1  # reading ended there


def test_held_text_comes_when_it_is_no_stop_string(detokenizer) -> None:
    tokens = [token for c in "abab" for token in byte_tokens(c)]
    assert pieces_of(detokenizer, tokens, ["abac"]) == ["", "", "", "ab", "ab"]


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (["bc", "abcd"], "x a"),  # "bc" is complete first
        (["abc", "bc"], "x "),  # complete together: the longest
        (["d", "cd"], "x ab"),
        (["zz"], "x abcd"),
        (["x"], ""),
    ],
)
def test_the_stop_string_that_is_complete_first_wins(detokenizer, stop, text) -> None:
    for order in (stop, stop[::-1]):
        assert "".join(pieces_of(detokenizer, byte_tokens("x abcd"), order)) == text


def reference_cut(text: str, stops: list[str]) -> str:
    """Reads character by character and looks whether what is read ends with a stop string."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - len(max(found, key=len))]
    return text


def test_stop_strings_against_reading_character_by_character(tiny_tokenizer, detokenizer) -> None:
    choose = random.Random(0)
    vocabulary = [*tiny_tokenizer.encode("가나 다\n\n▁이순신", add_special_tokens=False)]
    vocabulary += byte_tokens("뷁") + byte_tokens("ab")
    cut = 0
    for _ in range(500):
        tokens = choose.choices(vocabulary, k=40)
        text = "".join(pieces_of(detokenizer, tokens))
        stops = ["".join(choose.choices("가나다 \nab뷁이", k=choose.randint(1, 3)))]
        start = choose.randrange(max(1, len(text) - 6))
        stops += [text[start : start + 5]] if text[start : start + 5] else []
        expected = reference_cut(text, stops)
        assert "".join(pieces_of(detokenizer, tokens, stops)) == expected
        cut += expected != text
    assert cut > 400
