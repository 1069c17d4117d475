"""A chat model without weights: it answers by quoting the passages that stand in its prompt.

Reads passages and question back from the prompt (see `prompts`); knows no retriever and no index.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from kogemma_rag.morphemes import character_bigrams, content_morphemes, sentence_spans
from kogemma_rag.prompts import NOT_FOUND, parse_history, parse_passages

NO_PASSAGES = (
    "저는 번호가 붙은 문서의 문장을 그대로 인용해 답하는 모델입니다."
    " 문서를 찾아 함께 주거나, 글을 짓는 답이 필요하면 ko-gemma 같은 생성 모델을 고르세요."
)

# Of the columns of `sentence_features`, fitted on the TyDi Korean questions by
# training/fit_extractive.py.
_WEIGHTS = np.array([3.39, 2.32, 0.99, 0.91, 2.98, 1.47, 2.18])
# Below this share of the question (morphemes with neighbours, plus bigrams; 0 to 2) nothing in the
# passages bears on it.
_RELEVANT = 0.55
# Further sentences are quoted while they hold this share of what the best one holds.
_FURTHER = 0.5

# What kind of thing a question asks for, and what shows that a sentence holds one.
_KINDS = (
    (
        re.compile(r"언제|며칠|몇\s?[년월일시]|연도|날짜|년도|[해날][는은]|시기|기한|기간"),
        re.compile(r"(\d+)\s?(?:영업)?(?:년|월|일|세기|시|분|주|개월)"),
    ),
    (
        re.compile(r"몇|얼마|금액|한도|비율"),
        re.compile(r"(\d[\d,.]*|[한두세네]\s|다섯|여섯|일곱|여덟|아홉)"),
    ),
)
# No answer holds these: they say only that something is asked.
_QUESTION_WORDS = frozenset({"며칠", "얼마", "무엇", "누구", "언제", "뭐"})
_QUESTION_ENDING = re.compile(
    r"(?:인가요?|나요|습니까|입니까|[는은]가요?|일까요?|까요|을까|죠|요)$"
)
_COUNTED = re.compile(r"몇\s?([가-힣])")
_COUNT = r"[\d일이삼사오육칠팔구십백천만한두세네]\s?"
_FOLLOW_UP = re.compile(r"^(?:그|이|저|거기|또|위)(?=[\s가-힣])")


class ExtractiveChatModel(BaseChatModel):
    """Quotes the sentences of the numbered passages in its prompt that bear most on the question.

    Each quotation is followed by its passage's number, "연차는 15일이다. [1]". Says that the
    documents hold no answer when nothing in them bears on the question. Asked to rewrite a
    follow-up question, it puts the question before it in front. It writes nothing of its own.
    """

    model_config = ConfigDict(extra="forbid")

    max_sentences: int = Field(default=3, gt=0)

    @property
    def _llm_type(self) -> str:
        return "extractive"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = "".join(self._pieces(messages, stop, kwargs))
        message = AIMessage(text, response_metadata=self._metadata())
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        pieces = self._pieces(messages, stop, kwargs)
        for number, piece in enumerate(pieces, start=1):
            last = number == len(pieces)
            message = AIMessageChunk(
                content=piece,
                response_metadata=self._metadata() if last else {},
                chunk_position="last" if last else None,
            )
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    def _pieces(
        self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, options: dict[str, Any]
    ) -> list[str]:
        """The answer, a sentence a piece."""
        if options:
            raise ValueError(
                f"ExtractiveChatModel takes no {', '.join(sorted(options))}; it only quotes"
            )
        pieces = _answer(messages, self.max_sentences)
        text = "".join(pieces)
        ends = [at for string in stop or () if (at := text.find(string)) >= 0]
        return [text[: min(ends)]] if ends else pieces

    def _metadata(self) -> dict[str, str]:
        return {"model_name": self._llm_type, "finish_reason": "stop"}


def _answer(messages: Sequence[BaseMessage], max_sentences: int) -> list[str]:
    passages: list[str] = []
    question = ""
    question_alone = False
    previous: list[str] = []
    for message in messages:
        found, asked = parse_passages(message.text)
        passages = found or passages
        if isinstance(message, HumanMessage):
            earlier, follow_up = parse_history(message.text)
            if follow_up and not (found or asked):
                return [_standalone(earlier or previous, follow_up)]
            previous.append(message.text)
            question = asked or ("" if found else message.text.strip())
            question_alone = bool(asked)
    if not passages:
        return [NOT_FOUND if question_alone else NO_PASSAGES]
    quotations = quote(question, passages, max_sentences=max_sentences)
    if not quotations:
        return [NOT_FOUND]
    lines = [
        # Lines that a page wrapped are one sentence.
        f"{' '.join(passages[passage][start:end].split())} [{passage + 1}]"
        for passage, start, end in quotations
    ]
    return [line + "\n" for line in lines[:-1]] + lines[-1:]


def _standalone(earlier: Sequence[str], follow_up: str) -> str:
    """The follow-up question, behind the last question that stands by itself if it does not."""
    if not _depends(follow_up):
        return follow_up
    leading = next((question for question in reversed(earlier) if not _depends(question)), "")
    return f"{leading} {follow_up}".strip()


def _depends(question: str) -> bool:
    return bool(_FOLLOW_UP.match(question)) or len(content_morphemes(question)) < 2


def quote(
    question: str, passages: Sequence[str], *, max_sentences: int = 3
) -> list[tuple[int, int, int]]:
    """The sentences that bear most on a question.

    Returns:
        Index of the passage (from 0), start and end in it; best first, at most `max_sentences`,
        none where nothing bears on the question. A sentence that stands in two passages is taken
        from the higher one.
    """
    spans, features = sentence_features(question, passages)
    if not spans:
        return []
    relevance = features[:, :4].sum(axis=1)
    ranking = np.argsort(-(features @ _WEIGHTS), kind="stable")
    if relevance[ranking[0]] < _RELEVANT:
        return []
    threshold = _FURTHER * relevance[ranking[0]]
    chosen: dict[str, tuple[int, int, int]] = {}
    for row in ranking:
        passage, start, end = spans[row]
        if len(chosen) < max_sentences and relevance[row] >= threshold:
            chosen.setdefault(passages[passage][start:end], spans[row])
    return list(chosen.values())


def sentence_features(
    question: str, passages: Sequence[str]
) -> tuple[list[tuple[int, int, int]], NDArray[np.float64]]:
    """Every sentence of the passages that can be quoted, and how it bears on the question.

    Returns:
        Passage index, start and end of each sentence; and shape (sentences, 7): shares, 0 to 1, of
        the question's morphemes and of its bigrams in the sentence (rarer ones weigh more), of its
        morphemes that only the context before or after holds, whether the sentence holds the kind
        of thing and the unit asked for (0 or 1), and 1 / rank of its passage.
    """
    sentences = [
        _Sentence.of(passage, start, end, text[start:end])
        for passage, text in enumerate(passages)
        for start, end in sentence_spans(text)
    ]
    # Not by the expression: it would look at long white space again from each of its places.
    asked = _QUESTION_ENDING.sub("", question.rstrip().rstrip("?？").rstrip())
    asked_words = [word for word in content_morphemes(asked) if word not in _QUESTION_WORDS]
    word_weights = _rarity(asked_words, [it.words for it in sentences])
    pair_weights = _rarity(character_bigrams(asked), [it.pairs for it in sentences])
    kind = next((shown for kind_asked, shown in _KINDS if kind_asked.search(question)), None)
    counted = _COUNTED.search(question)
    unit = re.compile(_COUNT + counted[1]) if counted else None
    spans = []
    rows = []
    for sentence, before, after in _with_context(sentences):
        spans.append((sentence.passage, sentence.start, sentence.end))
        rows.append(
            [
                _share(word_weights, sentence.words),
                _share(pair_weights, sentence.pairs),
                _share(word_weights, before - sentence.words),
                _share(word_weights, after - sentence.words),
                float(kind is not None and _holds_another(kind, sentence.text, question)),
                float(unit is not None and bool(unit.search(sentence.text))),
                1 / (1 + sentence.passage),
            ]
        )
    return spans, np.array(rows, dtype=np.float64).reshape(len(rows), len(_WEIGHTS))


@dataclass(frozen=True)
class _Sentence:
    passage: int
    start: int
    end: int
    text: str
    words: frozenset[str]
    pairs: frozenset[str]

    @classmethod
    def of(cls, passage: int, start: int, end: int, text: str) -> "_Sentence":
        words = frozenset(content_morphemes(text))
        return cls(passage, start, end, text, words, frozenset(character_bigrams(text)))

    @property
    def is_row(self) -> bool:
        return self.text.startswith("|")

    @property
    def is_rule(self) -> bool:
        return not self.words and not self.pairs

    @property
    def is_heading(self) -> bool:
        return self.text.startswith("#")


def _with_context(
    sentences: Sequence[_Sentence],
) -> Iterator[tuple[_Sentence, frozenset[str], frozenset[str]]]:
    """Sentences that can be quoted, with the words of the context before and after each.

    Before a table row stands its table's header row; headings and header rows are only context.
    """
    nothing: frozenset[str] = frozenset()
    header = nothing
    for at, sentence in enumerate(sentences):
        previous, following = (
            sentences[i]
            if 0 <= i < len(sentences) and sentences[i].passage == sentence.passage
            else None
            for i in (at - 1, at + 1)
        )
        if sentence.is_row and following is not None and following.is_rule:
            header = sentence.words
        elif not (sentence.is_rule or sentence.is_heading):
            before = header if sentence.is_row else previous.words if previous else nothing
            yield sentence, before, following.words if following else nothing
        if not sentence.is_row:
            header = nothing


def _rarity(terms: Sequence[str], sentences: Sequence[frozenset[str]]) -> dict[str, float]:
    """Inverse sentence frequency of each term, as in BM25, scaled to sum to 1."""
    frequency = Counter(term for sentence in sentences for term in sentence.intersection(terms))
    weights = {
        term: math.log1p((len(sentences) - frequency[term] + 0.5) / (frequency[term] + 0.5))
        for term in terms
    }
    total = sum(weights.values())
    return {term: weight / total for term, weight in weights.items()}


def _share(weights: dict[str, float], terms: frozenset[str]) -> float:
    return sum(weight for term, weight in weights.items() if term in terms)


def _holds_another(kind: re.Pattern[str], sentence: str, question: str) -> bool:
    """Whether the sentence holds a thing of the kind that the question does not name itself."""
    return any(found not in question for found in kind.findall(sentence))
