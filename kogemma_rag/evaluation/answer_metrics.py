"""An answer and the right ones in, numbers out. Knows no model and no retriever.

Exact match and character F1 are those of KorQuAD 1.0 (its evaluate-korquad_v1.0.py), written anew
from their definition. Every number is from 0 to 1, higher is better.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from unicodedata import normalize

from langchain_core.documents import Document

from kogemma_rag.citations import Citation
from kogemma_rag.evaluation.question_sets import Question
from kogemma_rag.morphemes import bare_characters
from kogemma_rag.prompts import NOT_FOUND

QUOTE_DEPTHS = (1, 3)

# As `kogemma_rag.citations` leaves them in an answer, where every one names a passage.
CITATION_MARKS = re.compile(r"(?:\s?\[\d{1,4}(?:,\s?\d{1,4})*\])+")

_BECOME_SPACE = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_VANISH = str.maketrans(dict.fromkeys(string.punctuation, ""))


def normalized(text: str) -> str:
    """A text as KorQuAD compares it.

    Quotes and brackets become a space, other ASCII punctuation vanishes, letters are lower case,
    and white space is single. “”, 「」 and decomposed syllables stay as they are.
    """
    return " ".join(text.translate(_BECOME_SPACE).lower().translate(_VANISH).split())


def exact_match(prediction: str, answer: str) -> float:
    """1 where the normalized texts are equal, white space included."""
    return float(normalized(prediction) == normalized(answer))


def character_f1(prediction: str, answer: str) -> float:
    """F1 over the characters of the normalized texts, without white space, repeats counted."""
    predicted = Counter(normalized(prediction).replace(" ", ""))
    wanted = Counter(normalized(answer).replace(" ", ""))
    shared = (predicted & wanted).total()
    return 2 * shared / (predicted.total() + wanted.total()) if shared else 0.0


def containment(text: str, answer: str) -> float:
    """1 where the answer stands in the text as it is."""
    return float(answer in text)


def containment_spaceless(text: str, answer: str) -> float:
    """1 where the answer stands in the text when white space is taken out of both."""
    return float(_spaceless(answer) in _spaceless(text))


def answer_scores(reply: str, answers: Sequence[str]) -> dict[str, float]:
    """How near a reply comes to the right answers; the nearest of them counts, for each number.

    Citation marks are taken out of the reply first. `*_official` compare the reply as the model
    wrote it, as KorQuAD's own script does; the others bring it to NFC, as the answers are.

    Args:
        reply: With or without [n].
        answers: In NFC, one at least.
    """
    raw = without_marks(reply)
    composed = normalize("NFC", raw)

    def best(measure: Callable[[str, str], float], text: str) -> float:
        return max(measure(text, answer) for answer in answers)

    return {
        "exact_match": best(exact_match, composed),
        "f1": best(character_f1, composed),
        "exact_match_official": best(exact_match, raw),
        "f1_official": best(character_f1, raw),
        "containment": best(containment, composed),
        "containment_spaceless": best(containment_spaceless, composed),
    }


def without_marks(reply: str) -> str:
    """A reply without its [n]."""
    return CITATION_MARKS.sub("", reply).strip()


def is_refusal(reply: str) -> bool:
    """Whether a reply says that the documents hold no answer, and nothing else.

    Marks, quotes and white space around the sentence do not matter.
    """
    return _bare(without_marks(reply)) == _bare(NOT_FOUND)


def holds_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in a text, white space aside."""
    text = normalize("NFC", text)
    return any(containment_spaceless(text, answer) for answer in answers)


def evaluated_id(passage: Document) -> str:
    """Id of the question set's document that a passage is, as `EvaluatedRetriever` tells it."""
    return str(passage.metadata.get("document_id", passage.id))


def quote_scores(
    citations: Sequence[Citation], documents: Sequence[Document], question: Question
) -> dict[str, float]:
    """Whether the quoted sentences hold the answer: quote@n and place@n, of the first n quotes.

    quote@n: an answer's text stands in one of them, as it is. place@n: one of them is of a relevant
    document and covers the place where an answer begins; absent where the data tells no place.

    Args:
        citations: In the order of the reply.
        documents: The passages that [n] names.
        question: With one answer at least.
    """
    texts = [
        any(answer.text in normalize("NFC", citation.quote) for answer in question.answers)
        for citation in citations
    ]
    scores = {f"quote@{n}": float(any(texts[:n])) for n in QUOTE_DEPTHS}
    if any(answer.start is not None for answer in question.answers):
        places = [
            _covers(citation, documents[citation.number - 1], question) for citation in citations
        ]
        scores |= {f"place@{n}": float(any(places[:n])) for n in QUOTE_DEPTHS}
    return scores


def citation_scores(
    citations: Sequence[Citation], documents: Sequence[Document], question: Question
) -> dict[str, float]:
    """How well the cited passages bear a reply.

    citation_precision: share of the cited passages that hold an answer's text (white space aside);
    citation_relevance: share of them that the data calls relevant; both absent where nothing is
    cited. citation_recall: 1 where one of the cited passages holds an answer's text.
    """
    answers = [answer.text for answer in question.answers]
    cited = [documents[number - 1] for number in dict.fromkeys(it.number for it in citations)]
    scores = {}
    if answers:
        holding = [holds_answer(passage.page_content, answers) for passage in cited]
        scores["citation_recall"] = float(any(holding))
        if cited:
            scores["citation_precision"] = sum(holding) / len(cited)
    if cited and question.relevant:
        relevant = sum(is_relevant(passage, question.relevant) for passage in cited)
        scores["citation_relevance"] = relevant / len(cited)
    return scores


def is_relevant(passage: Document, relevant: Mapping[str, int]) -> bool:
    """Whether a passage is one of the relevant documents, or a chunk of one."""
    return evaluated_id(passage) in relevant


def _covers(citation: Citation, passage: Document, question: Question) -> bool:
    """Whether the cited sentence covers the beginning of an answer, in a relevant document."""
    if not is_relevant(passage, question.relevant):
        return False
    offset = passage.metadata.get("start_index", 0)
    return any(
        answer.start is not None and citation.start <= answer.start - offset < citation.end
        for answer in question.answers
    )


def _bare(text: str) -> str:
    return bare_characters(normalize("NFC", text))


def _spaceless(text: str) -> str:
    return "".join(text.split())
