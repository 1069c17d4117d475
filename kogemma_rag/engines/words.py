"""An analyzed text in, the words by which a database finds it out: morphemes and bigrams."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from kogemma_rag.lexical import PreparedText

# As in the index on disk: bigrams find what the analyzer cut wrongly, but know less.
BIGRAM_WEIGHT = 0.5
# Of BM25; tantivy's.
K1 = 1.2
B = 0.75
# BM25 is rounded to so many decimals: sums of the same terms differ by their order in the last.
DECIMALS = 4

_MAX_TERM = 60  # characters; longer ones, which no index takes for a key, are known by a hash


@dataclass(frozen=True)
class Words:
    """How often a text has each word."""

    morphemes: Counter[str]
    bigrams: Counter[str]

    @property
    def terms(self) -> dict[str, int]:
        """Both kinds in one, told apart by their first letter."""
        return {
            f"{kind}{word}": count
            for kind, words in (("m", self.morphemes), ("b", self.bigrams))
            for word, count in words.items()
        }


def words_of(text: PreparedText) -> Words:
    """The words of an analyzed text."""
    characters = text.characters
    bigrams = (characters[i : i + 2] for i in range(len(characters) - 1))
    return Words(Counter(map(_short, text.morphemes.split())), Counter(bigrams))


def _short(word: str) -> str:
    if len(word) <= _MAX_TERM:
        return word
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()
