"""How large chunks should be, and how much they should overlap: retrieval from whole pages.

    python benchmarks/chunk_sizes.py KorQuAD_v1.0_dev.json --documents FOLDER --plot sizes.png

Pages are the articles of a question set in SQuAD form, their paragraphs joined. A chunk is a hit if
it holds the whole marked answer, where it is marked. Larger chunks hit more easily and fill more of
the prompt, so next to recall by rank there is recall within 2,000 characters of prompt: the best
chunks, as many as fit. With --documents, the same for the files of a folder: half of the content
morphemes of a random sentence are the question, the sentence is the answer.
"""

import argparse
import itertools
import json
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from langchain_core.documents import Document
from tqdm import tqdm

from kogemma_rag import DocumentIndex, KoreanTextSplitter, load_documents
from kogemma_rag.morphemes import content_morphemes, sentence_spans

SIZES = (150, 200, 300, 400, 500, 700, 1000, 1500)
OVERLAPS = (0.0, 0.16, 0.3)  # of the size
PROMPT_CHARACTERS = 2000
FEWEST_MORPHEMES = 8


class Question(NamedTuple):
    """A question, and where its answer stands in which page."""

    text: str
    page: int
    start: int
    end: int


class Found(NamedTuple):
    """Of one setting; shares of the questions."""

    chunks: int
    recall_at_1: float
    recall_at_5: float
    mrr: float
    in_prompt: float


def squad_pages(path: Path, most: int) -> tuple[list[Document], list[Question]]:
    """Articles as pages, and a sample of their questions."""
    pages, questions = [], []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        text = ""
        for paragraph in article["paragraphs"]:
            offset = len(text)
            text += paragraph["context"] + "\n\n"
            for qa in paragraph["qas"]:
                answer = qa["answers"][0]
                start = offset + answer["answer_start"]
                end = start + len(answer["text"])
                questions.append(Question(qa["question"], len(pages), start, end))
        pages.append(Document(text, metadata={"source": article["title"]}))
    return pages, random.Random(1).sample(questions, min(most, len(questions)))  # noqa: S311


def folder_pages(folder: Path, most: int) -> tuple[list[Document], list[Question]]:
    """What a folder's files hold, and questions made of sentences."""
    choose = random.Random(1)  # noqa: S311
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pages = list(load_documents(folder))
    questions = []
    for number, page in enumerate(pages):
        for start, end in sentence_spans(page.page_content):
            words = content_morphemes(page.page_content[start:end])
            if len(words) >= FEWEST_MORPHEMES:
                kept = sorted(choose.sample(range(len(words)), len(words) // 2))
                text = " ".join(words[place] for place in kept)
                questions.append(Question(text, number, start, end))
    return pages, choose.sample(questions, min(most, len(questions)))


def measure(
    pages: Sequence[Document], questions: Sequence[Question], size: int, overlap: int
) -> Found:
    """Retrieval from an index of the pages' chunks."""
    splitter = KoreanTextSplitter(chunk_size=size, chunk_overlap=overlap)
    numbered = [Document(p.page_content, metadata={"page": n}) for n, p in enumerate(pages)]
    chunks = splitter.split_documents(numbered)
    first = fifth = prompt = 0
    reciprocal = 0.0
    with TemporaryDirectory() as folder, DocumentIndex.open(folder) as index:
        index.add_documents(chunks)
        retriever = index.as_retriever(k=max(10, PROMPT_CHARACTERS // size))
        for question in tqdm(questions, desc=f"{size}/{overlap}", leave=False):
            used = 0
            for rank, found in enumerate(retriever.invoke(question.text), 1):
                used += len(found.page_content)
                if not _holds(found, question):
                    continue
                first += rank == 1
                fifth += rank <= 5
                reciprocal += 1 / rank if rank <= 10 else 0
                prompt += used <= PROMPT_CHARACTERS
                break
    count = len(questions)
    return Found(len(chunks), first / count, fifth / count, reciprocal / count, prompt / count)


def _holds(chunk: Document, question: Question) -> bool:
    start = chunk.metadata["start_index"]
    end = start + len(chunk.page_content)
    return (
        chunk.metadata["page"] == question.page and start <= question.start <= question.end <= end
    )


def main() -> None:
    """Measure, print a table for each set, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("squad", type=Path)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--questions", type=int, default=1500)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    sets = {"pages": squad_pages(options.squad, options.questions)}
    if options.documents:
        sets["documents"] = folder_pages(options.documents, options.questions)
    drawn: dict[str, dict[float, list[Found]]] = {}
    for name, (pages, questions) in sets.items():
        print(f"\n{name}: {len(pages)} of them, {len(questions)} questions")
        print("| size | overlap | chunks | recall@1 | recall@5 | MRR@10 | in 2,000 characters |")
        print("|---|---|---|---|---|---|---|")
        for share, size in itertools.product(OVERLAPS, SIZES):
            found = measure(pages, questions, size, round(share * size))
            drawn.setdefault(name, {}).setdefault(share, []).append(found)
            figures = " | ".join(f"{value:.3f}" for value in found[1:])
            print(f"| {size} | {round(share * size)} | {found.chunks} | {figures} |", flush=True)
    if options.plot:
        draw(drawn, options.plot)


def draw(drawn: dict[str, dict[float, list[Found]]], path: Path) -> None:
    """Recall within the prompt against the size, a line for each overlap."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, len(drawn), figsize=(6 * len(drawn), 4), squeeze=False)
    for axis, (name, by_overlap) in zip(axes[0], drawn.items(), strict=True):
        for share, found in by_overlap.items():
            axis.plot(SIZES, [one.in_prompt for one in found], "o-", label=f"overlap {share:.0%}")
        axis.set(title=name, xlabel="chunk size (characters)", ylabel="recall in 2,000 characters")
        axis.legend()
    pyplot.tight_layout()
    pyplot.savefig(path)


if __name__ == "__main__":
    main()
