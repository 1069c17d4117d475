"""Train the embedded static embedder and write it, with its model card, as package data.

    python training/train_embedder.py --data ../shared/data --out kogemma_rag/models/embedded

The same data, seed, thread count and package versions give the same file. See README.md beside
this file.
"""

import argparse
import itertools
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import embedder_data
import numpy as np
import torch
from embedder_batches import Batches, Mixture, Pair
from embedder_card import write_card
from embedder_data import QuestionSet, WikiParagraph
from embedder_evaluation import measure
from embedder_tokenizer import train_tokenizer
from model2vec import StaticModel
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

PACKAGES = ("model2vec", "numpy", "sentence-transformers", "tokenizers", "torch")
TOKENIZER_PARAGRAPHS = 60_000


def main() -> None:
    """Read the data, train, quantize, measure the quantized model, write the card."""
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    started = time.perf_counter()
    wiki = embedder_data.read_wiki(options.data)
    korean, _ = embedder_data.split_tydi(
        embedder_data.read_tydi(options.data, "ko"), seed=options.seed
    )
    english = embedder_data.read_tydi(options.data, "en")
    tokenizer = _tokenizer(wiki, [korean, english], options)
    mixture = Mixture()
    batches = Batches(
        tokenizer,
        wiki,
        [korean, english],
        embedder_data.read_paraphrase_groups(options.data),
        mixture=mixture,
        seed=options.seed,
    )
    frequencies = batches.passage_frequencies(tokenizer.get_vocab_size())
    vectors = train(tokenizer, batches, initial_vectors(frequencies, options), options)
    save(tokenizer, vectors, options.out)
    seconds = time.perf_counter() - started
    figures = measure(StaticModel.from_pretrained(options.out).encode, options.data, options.seed)
    settings = {key: value for key, value in vars(options).items() if key not in ("data", "out")}
    write_card(
        options.out,
        data=options.data,
        settings={**settings, **asdict(mixture)},
        packages={name: version(name) for name in PACKAGES},
        figures=figures,
        seconds=seconds,
    )
    print(figures)


def initial_vectors(
    frequencies: NDArray[np.int64], options: argparse.Namespace
) -> NDArray[np.float32]:
    """Random directions, as long as the token is rare (idf): a fair lexical matcher already.

    Args:
        frequencies: Number of passages that hold each token; the last item is that of all passages.
        options: `dimension` and `seed` are read.
    """
    *counts, passages = frequencies
    idf = np.log((passages + 1) / (np.array(counts) + 1))
    directions = np.random.default_rng(options.seed).standard_normal(
        (len(idf), options.dimension), dtype=np.float32
    )
    return directions * (idf / idf.mean())[:, None].astype(np.float32)


def train(
    tokenizer: Tokenizer,
    batches: Batches,
    vectors: NDArray[np.float32],
    options: argparse.Namespace,
) -> NDArray[np.float32]:
    """Contrastive training of one vector a token; returns them, float32, (vocabulary, dim)."""
    module = StaticEmbedding(tokenizer, embedding_weights=vectors)
    model = SentenceTransformer(modules=[module], device="cpu")
    loss = MultipleNegativesRankingLoss(model, scale=options.scale)
    optimizer = torch.optim.Adam(module.parameters(), lr=options.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        options.learning_rate,
        total_steps=options.steps,
        pct_start=0.1,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    for step, batch in enumerate(itertools.islice(batches, options.steps)):
        features = [_features(batch, side) for side in (0, 1)]
        value = loss(features, torch.empty(0))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {value.item():.3f}", flush=True)
    return module.embedding.weight.detach().numpy()


def save(tokenizer: Tokenizer, vectors: NDArray[np.float32], out: Path) -> None:
    """Write the model in model2vec's format: int8 rows, and for each row its scale as weight."""
    scales = np.abs(vectors).max(axis=1) / 127
    rows = np.rint(vectors / scales[:, None]).astype(np.int8)
    model = StaticModel(
        rows,
        tokenizer,
        weights=scales.astype(np.float32),
        normalize=True,
        max_length=None,
        language=["ko", "en"],
    )
    model.save_pretrained(out)
    # Only sentence-transformers would read it, and it cannot read int8 rows with weights.
    (out / "modules.json").unlink()
    (out / "model.safetensors").chmod(0o644)


def _tokenizer(
    wiki: list[WikiParagraph], questions: list[QuestionSet], options: argparse.Namespace
) -> Tokenizer:
    sample = np.random.default_rng(options.seed).permutation(len(wiki))[:TOKENIZER_PARAGRAPHS]
    texts = [f"{wiki[i].title} {wiki[i].section} {wiki[i].text}" for i in sample]
    texts += [text for source in questions for text in (*source.questions, *source.passages)]
    return train_tokenizer(texts, options.vocabulary)


def _features(batch: list[Pair], side: int) -> dict[str, torch.Tensor]:
    lengths = [len(pair[side]) for pair in batch]
    return {
        "input_ids": torch.from_numpy(np.concatenate([pair[side] for pair in batch])),
        "offsets": torch.from_numpy(np.cumsum([0, *lengths[:-1]], dtype=np.int32)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the training data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--vocabulary", type=int, default=18_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--scale", type=float, default=18.0, help="inverse temperature of the loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
