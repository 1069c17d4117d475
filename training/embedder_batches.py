"""Texts in, batches of (query, passage) token ids out, for contrastive training.

Wikipedia has paragraphs but no questions, so a query is made from a sentence of its passage: some
words are dropped, the article's title or a question's ending may be added. Either the sentence
stays in the passage (the model learns which words identify a passage) or it is taken out (it
learns what belongs together). Passages of one article stand beside each other in a batch: each is
a hard negative of the others. Knows no vectors.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from embedder_data import QuestionSet, WikiParagraph
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int32]
Pair = tuple[Ids, Ids]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# Passages that a batch holds of one article at most: more would be near-duplicates.
_ARTICLE_RUN = 8
_MIN_QUERY_TOKENS = 3
# What turns a part of a sentence into a question; the model learns to pass over it.
_ENDINGS = (
    "은?", "는?", "이?", "무엇인가?", "무엇인가요?", "누구인가?", "누구인가요?", "누구?",
    "언제인가?", "언제?", "언제인가요?", "어디인가?", "어디에 있나요?", "어디?", "어느 것인가?",
    "몇 년인가?", "몇 명인가?", "얼마인가?", "어떻게 되나요?", "어떻게 해야 하나요?", "왜?",
    "이유는?", "이름은?", "무엇이라고 하는가?", "알려 줘", "설명해 주세요", "뭐야?", "있나요?",
    "이었나?", "했는가?", "하는가?", "인가요?",
)  # fmt: skip


@dataclass(frozen=True)
class Mixture:
    """Shares of the kinds of query, and rows of each batch that do not come from Wikipedia."""

    wiki: int = 1024
    questions: int = 32
    paraphrases: int = 96
    sentence_removed: float = 0.5
    heading_query: float = 0.05
    title_in_query: float = 0.25
    ending: float = 0.4
    two_paragraphs: float = 0.5
    title_in_passage: float = 0.2


class Batches:
    """An endless, reproducible stream of batches over all sources."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        wiki: Sequence[WikiParagraph],
        questions: Sequence[QuestionSet],
        paraphrases: Sequence[Sequence[str]],
        *,
        mixture: Mixture,
        seed: int,
    ) -> None:
        self._mixture = mixture
        self._rng = np.random.default_rng(seed)
        self._encode = lambda texts: _encode(tokenizer, texts)
        self._wiki = _EncodedWiki(wiki, tokenizer)
        self._questions = [
            (query, passage)
            for source in questions
            for query, passage in zip(
                self._encode(source.questions),
                self._encode([source.passages[a] for a in source.answers]),
                strict=True,
            )
        ]
        self._paraphrases = [self._encode(group) for group in paraphrases]
        self._endings = self._encode(_ENDINGS)

    def passage_frequencies(self, vocabulary_size: int) -> NDArray[np.int64]:
        """For each token the number of paragraphs that hold it; last, the number of paragraphs."""
        wiki = self._wiki
        count = len(wiki.paragraphs) - 1
        tokens = np.diff(wiki.sentences[wiki.paragraphs])
        owners = np.repeat(np.arange(count, dtype=np.int64), tokens)
        once = np.unique(owners * vocabulary_size + wiki.ids) % vocabulary_size
        return np.append(np.bincount(once, minlength=vocabulary_size), count)

    def __iter__(self) -> Iterator[list[Pair]]:
        questions = self._shuffled(len(self._questions))
        paraphrases = self._shuffled(len(self._paraphrases))
        passages = self._passages()
        while True:
            batch = [self._wiki_pair(*next(passages)) for _ in range(self._mixture.wiki)]
            for _ in range(self._mixture.questions):
                query, passage = self._questions[next(questions)]
                batch.append((self._drop_words(query, None, 0.8), passage))
            for _ in range(self._mixture.paraphrases):
                group = self._paraphrases[next(paraphrases)]
                first, second = self._rng.choice(len(group), 2, replace=False)
                batch.append((group[first], group[second]))
            yield batch

    def _shuffled(self, count: int) -> Iterator[int]:
        while True:
            yield from self._rng.permutation(count).tolist()

    def _passages(self) -> Iterator[tuple[int, int]]:
        """Endless [start, end) runs of one or two paragraphs; an article's stand together."""
        while True:
            runs: list[list[tuple[int, int]]] = []
            for first, last in pairwise(self._wiki.articles):
                joined = self._join(first, last)
                runs += [joined[i : i + _ARTICLE_RUN] for i in range(0, len(joined), _ARTICLE_RUN)]
            for run in self._rng.permutation(len(runs)):
                yield from runs[run]

    def _join(self, first: int, last: int) -> list[tuple[int, int]]:
        passages = []
        while first < last:
            step = 1 + (self._rng.random() < self._mixture.two_paragraphs)
            passages.append((first, min(first + step, last)))
            first += step
        return passages

    def _wiki_pair(self, first: int, last: int) -> Pair:
        wiki, mixture, rng = self._wiki, self._mixture, self._rng
        start, end = wiki.paragraphs[first], wiki.paragraphs[last]
        title = wiki.titles[first]
        passage = wiki.ids[wiki.sentences[start] : wiki.sentences[end]]
        if rng.random() < mixture.heading_query:
            return np.concatenate([title, wiki.sections[first]]), passage
        sentence = int(rng.integers(start, end))
        low, high = wiki.sentences[sentence], wiki.sentences[sentence + 1]
        query = self._drop_words(wiki.ids[low:high], wiki.words[low:high], rng.uniform(0.25, 1))
        if rng.random() < mixture.ending:
            query = np.concatenate([query, self._endings[rng.integers(len(self._endings))]])
        if rng.random() < mixture.title_in_query:
            query = np.concatenate([title, query])
        if end - start > 1 and rng.random() < mixture.sentence_removed:
            passage = np.concatenate(
                [wiki.ids[wiki.sentences[start] : low], wiki.ids[high : wiki.sentences[end]]]
            )
        if rng.random() < mixture.title_in_passage:
            passage = np.concatenate([title, passage])
        return query, passage

    def _drop_words(self, ids: Ids, words: Ids | None, keep: float) -> Ids:
        if words is None:
            kept = ids[self._rng.random(len(ids)) < keep]
        else:
            kept = ids[(self._rng.random(int(words[-1]) + 1) < keep)[words]]
        return kept if len(kept) >= _MIN_QUERY_TOKENS else ids


class _EncodedWiki:
    """All paragraphs as one flat run of token ids, with the bounds of sentences and paragraphs."""

    def __init__(self, wiki: Sequence[WikiParagraph], tokenizer: Tokenizer) -> None:
        split = [_SENTENCE_END.split(paragraph.text.strip()) for paragraph in wiki]
        texts = [sentence for sentences in split for sentence in sentences]
        ids, words, lengths = [], [], []
        for low in range(0, len(texts), 4096):
            for encoding in tokenizer.encode_batch(
                texts[low : low + 4096], add_special_tokens=False
            ):
                ids.append(np.array(encoding.ids, dtype=np.int32))
                words.append(np.array(encoding.word_ids, dtype=np.int32))
                lengths.append(len(ids[-1]))
        self.ids = np.concatenate(ids)
        self.words = np.concatenate(words)
        self.sentences = np.concatenate([[0], np.cumsum(lengths)])
        self.paragraphs = np.concatenate([[0], np.cumsum([len(s) for s in split])])
        self.titles = _encode(tokenizer, [paragraph.title for paragraph in wiki])
        self.sections = _encode(tokenizer, [paragraph.section for paragraph in wiki])
        changes = [i for i in range(1, len(wiki)) if wiki[i].title != wiki[i - 1].title]
        self.articles = [0, *changes, len(wiki)]


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
