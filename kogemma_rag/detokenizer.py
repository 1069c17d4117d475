"""Token ids of a reply to whole, decodable text, cut at stop strings.

Knows no model and no LangChain.
"""

import codecs
import re
from collections.abc import Collection, Sequence
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Detokenizer:
    """The bytes that each token id of one tokenizer stands for.

    Args:
        tokenizer: A byte-fallback tokenizer of transformers' fast kind.
        silent_ids: Ids that stand for no text.
    """

    def __init__(self, tokenizer: Any, silent_ids: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._bytes: dict[int, bytes] = dict.fromkeys(silent_ids, b"")

    def token_bytes(self, token: int) -> bytes:
        """Give the UTF-8 bytes of a token: part of a character where it is a byte token."""
        found = self._bytes.get(token)
        if found is None:
            found = self._bytes[token] = self._decode(token)
        return found

    def _decode(self, token: int) -> bytes:
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:  # the output layer may be wider than the vocabulary
            return b""
        if byte := _BYTE_TOKEN.fullmatch(piece):
            return bytes([int(byte[1], 16)])
        text: str = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return text.encode()


class StopText:
    """Text as it comes, cut at stop strings.

    The stop string that is complete first ends the text, which is cut before it; of those complete
    at the same character, the longest. Where pieces end makes no difference.

    Args:
        stop: Stop strings, none empty.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.stopped = False
        """Whether a stop string has come; no more text will."""

    def feed(self, piece: str) -> str:
        """Take the next piece and give the text that is now certain, often none."""
        if self.stopped:
            return ""
        text = self._held + piece
        cut = self._find_stop(text)
        if cut is not None:
            self._held, self.stopped = "", True
            return text[:cut]
        keep = self._stop_prefix_length(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Give the text that was held back in case it had begun a stop string."""
        text, self._held = self._held, ""
        return text

    def _find_stop(self, text: str) -> int | None:
        ends = [
            (start + len(stop), start) for stop in self._stop if (start := text.find(stop)) >= 0
        ]
        return min(ends)[1] if ends else None

    def _stop_prefix_length(self, text: str) -> int:
        """How many characters at the end of `text` may turn out to begin a stop string."""
        longest = max(map(len, self._stop), default=0) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return length
        return 0


class ReplyText:
    """The text of one reply as its tokens come, cut as `StopText` cuts it.

    Bytes that never become a character are dropped: a reply cut inside one ends before it.

    Args:
        detokenizer: The bytes of each token.
        stop: Stop strings, none empty.
    """

    def __init__(self, detokenizer: Detokenizer, stop: Sequence[str] = ()) -> None:
        self._detokenizer = detokenizer
        self._text = StopText(stop)
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="ignore")

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come; no more text will."""
        return self._text.stopped

    def feed(self, token: int) -> str:
        """Take the next token and give the text that is now certain, often none."""
        return self._text.feed(self._utf8.decode(self._detokenizer.token_bytes(token)))

    def finish(self) -> str:
        """Give the text that was held back in case it had begun a stop string."""
        return self._text.finish()
