"""Sentence ends of our rules against Kiwi's: agreement, and characters a second of the splitter.

    python benchmarks/sentences.py kowiki_paragraphs.tsv.xz

Paragraphs are the last column of a table. An end is the place of a sentence's last character.
Precision is the share of our ends that are Kiwi's, recall the share of Kiwi's that are ours. Then
the marks are taken out of the paragraphs, and the ends that were marked are looked for.
"""

import argparse
import lzma
import random
import time
from collections.abc import Callable
from pathlib import Path

from kogemma_rag import KoreanTextSplitter
from kogemma_rag.morphemes import kiwi_sentence_spans, sentence_spans

Spans = Callable[[str], list[tuple[int, int]]]


def paragraphs(table: Path, count: int) -> list[str]:
    """A sample of paragraphs of several sentences."""
    with lzma.open(table, "rt", encoding="utf-8") as lines:
        texts = [line.rstrip("\n").split("\t")[-1] for line in lines]
    usable = [text for text in texts if 100 < len(text) < 2000]
    return random.Random(0).sample(usable, count)  # noqa: S311


def ends(texts: list[str], spans: Spans) -> tuple[list[set[int]], float]:
    """Ends in each text, and characters a second of one core."""
    spans(texts[0])  # loads the model
    started = time.process_time()
    found = [{end for _, end in spans(text)} for text in texts]
    return found, sum(map(len, texts)) / (time.process_time() - started)


def agreement(found: list[set[int]], wanted: list[set[int]]) -> str:
    """Precision and recall."""
    both = sum(len(a & b) for a, b in zip(found, wanted, strict=True))
    return f"precision {both / sum(map(len, found)):.4f}, recall {both / sum(map(len, wanted)):.4f}"


def unmarked(texts: list[str]) -> tuple[list[str], list[set[int]]]:
    """Texts whose sentences all end with a full stop, without those; and where they ended."""
    bare, places = [], []
    for text in texts:
        spans = sentence_spans(text)
        if "\n" in text or not all(text[end - 1] == "." for _, end in spans):
            continue
        parts = [text[start : end - 1] for start, end in spans]
        bare.append(" ".join(parts))
        places.append({sum(map(len, parts[: n + 1])) + n for n in range(len(parts))})
    return bare, places


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    texts = paragraphs(options.table, options.count)
    ours, rate = ends(texts, sentence_spans)
    kiwis, kiwi_rate = ends(texts, kiwi_sentence_spans)
    print(
        f"{sum(map(len, kiwis))} ends of Kiwi in {len(texts)} paragraphs: {agreement(ours, kiwis)}"
    )
    print(f"characters a second: ours {rate:,.0f}, Kiwi {kiwi_rate:,.0f}, {rate / kiwi_rate:.0f} x")
    bare, places = unmarked(texts)
    for name, spans in {"ours": sentence_spans, "Kiwi": kiwi_sentence_spans}.items():
        found, rate = ends(bare, spans)
        print(
            f"{len(bare)} without marks, {name}: {agreement(found, places)}, {rate:,.0f} a second"
        )
    text = "\n\n".join(texts)
    for name, spans in {"ours": sentence_spans, "Kiwi": kiwi_sentence_spans}.items():
        splitter = KoreanTextSplitter(sentence_spans=spans)
        started = time.process_time()
        splitter.split_text(text)
        print(f"splitter, {name}: {len(text) / (time.process_time() - started):,.0f} a second")


if __name__ == "__main__":
    main()
