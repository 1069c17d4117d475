"""Retrieval and extractive answers on a question set in SQuAD form, each paragraph one document.

    python benchmarks/korquad.py KorQuAD_v1.0_dev.json
    python benchmarks/korquad.py tydiqa_ko_train.json --sweep      # fusion weights, for choosing

Retrieval: recall@1, recall@10 and MRR@10 of vectors alone, words alone and both fused. Answers: how
often the answer's text stands in the first, or in the first three, quoted sentences, end to end:
from the index through the chain to the extractive chat model. Strict: quoted from the question's
own paragraph, at the place where the answer is marked.
"""

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document
from tqdm import tqdm

from kogemma_rag import DocumentIndex, ExtractiveChatModel, create_rag_chain

ONLY_VECTORS = (1.0, 0.0, 0.0)
ONLY_WORDS = (0.0, 1.0, 0.5)
SWEEP = [
    (vectors, 1.0, bigrams)
    for vectors, bigrams in itertools.product((0.0, 0.3, 0.5, 0.7, 1.0, 1.5), (0.25, 0.5, 1.0))
]


class Question(NamedTuple):
    """A question, the number of its paragraph, and the answers with their offsets in it."""

    text: str
    paragraph: int
    answers: list[tuple[str, int]]


def read_squad(path: Path) -> tuple[list[str], list[Question]]:
    """Paragraphs without repeats, and the questions."""
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs: dict[str, int] = {}
    questions = []
    for paragraph in (paragraph for article in data for paragraph in article["paragraphs"]):
        number = paragraphs.setdefault(paragraph["context"], len(paragraphs))
        for qa in paragraph["qas"]:
            answers = [(answer["text"], answer["answer_start"]) for answer in qa["answers"]]
            questions.append(Question(qa["question"], number, answers))
    return list(paragraphs), questions


def retrieval(
    index: DocumentIndex, questions: Sequence[Question], weights: tuple[float, float, float]
) -> str:
    """Recall at 1 and 10 and MRR at 10 of one fusion, and milliseconds a question."""
    retriever = index.as_retriever(k=10, weights=weights)
    start = time.perf_counter()
    ranks = []
    for question in tqdm(questions, leave=False):
        found = [document.id for document, _ in retriever.search(question.text)]
        wanted = str(question.paragraph)
        ranks.append(found.index(wanted) + 1 if wanted in found else np.inf)
    milliseconds = (time.perf_counter() - start) / len(questions) * 1000
    table = np.array(ranks)
    first, ten, mrr = (table <= 1).mean(), (table <= 10).mean(), (1 / table).mean()
    return f"recall@1 {first:.4f}  recall@10 {ten:.4f}  MRR@10 {mrr:.4f}  {milliseconds:.1f} ms"


def answers(index: DocumentIndex, questions: Sequence[Question]) -> str:
    """Shares of questions answered by the first and by the first three quoted sentences."""
    chain = create_rag_chain(index.as_retriever(), ExtractiveChatModel())
    hits = np.zeros((len(questions), 5))
    for row, question in enumerate(tqdm(questions, leave=False)):
        output = chain.invoke(question.text)
        quoted = []
        for citation in output["citations"]:
            text = any(answer in citation.quote for answer, _ in question.answers)
            place = citation.document_id == str(question.paragraph) and any(
                citation.start <= offset < citation.end for _, offset in question.answers
            )
            quoted.append((text, place))
        hits[row, :4] = [
            *(any(text for text, _ in quoted[:count]) for count in (1, 3)),
            *(any(place for _, place in quoted[:count]) for count in (1, 3)),
        ]
        hits[row, 4] = not quoted
    first, three, strict_first, strict_three, refused = hits.mean(axis=0)
    return (
        f"first sentence {first:.4f}  first three {three:.4f}  "
        f"strict: {strict_first:.4f}  {strict_three:.4f}  no answer {refused:.4f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--sweep", action="store_true", help="try many fusion weights")
    arguments = parser.parse_args()
    paragraphs, questions = read_squad(arguments.file)
    with TemporaryDirectory() as folder, DocumentIndex.open(folder) as index:
        start = time.perf_counter()
        documents = [Document(text, id=str(number)) for number, text in enumerate(paragraphs)]
        index.add_documents(documents)
        seconds = time.perf_counter() - start
        print(f"{len(paragraphs)} paragraphs in {seconds:.1f} s, {len(questions)} questions")
        if arguments.sweep:
            for weights in SWEEP:
                print(f"weights {weights}: {retrieval(index, questions, weights)}")
            return
        print("vectors alone:", retrieval(index, questions, ONLY_VECTORS))
        print("words alone:  ", retrieval(index, questions, ONLY_WORDS))
        print("hybrid:       ", retrieval(index, questions, index.as_retriever().weights))
        print("answers:      ", answers(index, questions))


if __name__ == "__main__":
    main()
