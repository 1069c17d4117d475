"""MultilingualEmbeddings against HuggingFaceEmbeddings, one thread, side by side in one run.

python benchmarks/embedding_speed.py [--texts kowiki_paragraphs.tsv.xz] [--count 2000] [--rounds 3]

A BERT of multilingual-e5-small's shape with random weights (its speed is that of the real one), or
any model by --model. Chunks are 200 to 500 characters: cut from the last column of a table of
Korean paragraphs, or made of random words. All models embed the same block of chunks before the
next block begins; ratios are of the processor's time, medians over the blocks.
"""

import argparse
import lzma
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
from langchain_huggingface import HuggingFaceEmbeddings
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging

from kogemma_rag import MultilingualEmbeddings

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def paragraphs(table: Path | None) -> Iterator[str]:
    """Korean text: the table's, else words of random syllables whose frequencies follow Zipf."""
    if table is not None:
        opened = lzma.open if table.suffix == ".xz" else open
        with opened(table, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield line.rstrip("\n").split("\t")[-1]
    choose = random.Random(0)  # noqa: S311 - text, not secrets
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4, 23)]
    words = ["".join(choose.choices(syllables, k=choose.randint(1, 4))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    while True:
        yield " ".join(choose.choices(words, weights, k=80)) + "."


def chunks(table: Path | None, count: int, seed: int = 1) -> list[str]:
    """Pieces of 200 to 500 characters."""
    sizes = random.Random(seed)  # noqa: S311
    found: list[str] = []
    text, size = "", sizes.randint(200, 500)
    for paragraph in paragraphs(table):
        text += paragraph + " "
        while len(text) >= size:
            found.append(text[:size])
            text, size = text[size:], sizes.randint(200, 500)
            if len(found) == count:
                return found
    raise ValueError(f"the table holds {len(found)} chunks, {count} are wanted")


def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A unigram tokenizer in XLM-R's manner: about two characters of Korean to a token."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=16_000,
        special_tokens=list(SPECIAL.values()),
        unk_token=SPECIAL["unk_token"],
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=512, **SPECIAL)


def save_model(folder: Path, texts: list[str]) -> Path:
    """Write a model of multilingual-e5-small's shape; the same weights at every call."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=250_037,
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
        pad_token_id=1,
        # Wider than usual, so that different texts get vectors that differ.
        initializer_range=0.08,
    )
    source = folder / "source"
    BertModel(config).save_pretrained(source)
    tokenizer(texts).save_pretrained(source)
    modules = [Transformer(str(source)), Pooling(384, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


def cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Row by row."""
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return (some * others).sum(axis=1) / lengths


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--model", help="a hub name or directory, in place of random weights")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--batch-tokens", type=int)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    texts = chunks(options.texts, options.count)
    with tempfile.TemporaryDirectory() as folder:
        name = options.model or str(save_model(Path(folder), chunks(options.texts, 5000, seed=2)))
        ours = {"device": "cpu", "batch_tokens": options.batch_tokens, "passage_prompt": ""}
        embedders = {
            "HuggingFaceEmbeddings": HuggingFaceEmbeddings(
                model=name, model_kwargs={"device": "cpu"}
            ),
            "ours, float32": MultilingualEmbeddings(name, **ours),
            "ours, int8": MultilingualEmbeddings(name, quantization="int8", **ours),
        }
        seconds: dict[str, list[float]] = {each: [] for each in embedders}
        vectors: dict[str, list[list[float]]] = {each: [] for each in embedders}
        for each in embedders.values():
            each.embed_documents(texts[:8])
        for block in range(options.blocks):
            some = texts[block :: options.blocks]
            for each, embedder in embedders.items():
                started = time.process_time()
                vectors[each] += embedder.embed_documents(some)
                seconds[each].append(time.process_time() - started)
    report(seconds, {each: np.array(rows, np.float32) for each, rows in vectors.items()})


def report(seconds: dict[str, list[float]], vectors: dict[str, np.ndarray]) -> None:
    """Print rates, ratios and how near the vectors are to the peer's, which come first."""
    peer = next(iter(seconds))
    count, of_peer = len(vectors[peer]), vectors[peer]
    for name, each in seconds.items():
        ratios = [a / b for a, b in zip(seconds[peer], each, strict=True)]
        near = cosines(of_peer, vectors[name])
        print(
            f"{name:24} {count / sum(each):6.2f} chunks/s  x {statistics.median(ratios):.2f}"
            f"  (blocks {min(ratios):.2f} to {max(ratios):.2f})"
            f"  cosine: least {near.min():.6f}, mean {near.mean():.6f}"
        )
    between = cosines(of_peer, np.roll(of_peer, 1, axis=0))
    print(f"{count} chunks; cosine of different chunks: mean {between.mean():.4f}")


if __name__ == "__main__":
    main()
