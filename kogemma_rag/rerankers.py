"""A question and passages in, the passages by how well each answers it out: cross-encoders.

Reads the question and one passage together, which is slower and better than comparing vectors.
Knows no index.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PrivateAttr

from kogemma_rag.passage_text import indexed_text

PRESETS = (
    "dragonkue/bge-reranker-v2-m3-ko",
    "BAAI/bge-reranker-v2-m3",
    "Qwen/Qwen3-Reranker-0.6B",
)
"""Rerankers that read Korean well; the first was trained for it."""

# Of the model card of Qwen/Qwen3-Reranker-0.6B; its own words decide how well it judges.
_BEGIN = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
_END = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


class CrossEncoderReranker(BaseDocumentCompressor):
    """Keeps the best `top_n` of the passages it is given, best first.

    Every passage is a copy whose metadata holds `relevance_score`, in [0, 1] for models of one
    label, higher is better; ties are in the order of the ids. Text that looks like a model's own
    marks is read as text.

    Args:
        model: A hub name (see `PRESETS`), a directory, or a `CrossEncoder` of
            sentence-transformers. Models that generate text, such as Qwen3-Reranker, are asked by
            their own prompt for "yes" or "no"; the score is the chance of "yes".
        top_n: At most so many.
        batch_size: Pairs in one forward pass; those of like length go together.
        max_length: Tokens of a pair; more are cut, with a warning that counts them.
        instruction: What the question asks for, for models that generate text.
        device: Such as "cuda"; the best there is by default.

    Raises:
        OSError: If there is no such model.
        ValueError: If it is no reranker.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = PRESETS[0]
    top_n: int = Field(default=4, gt=0)
    batch_size: int = Field(default=16, gt=0)
    max_length: int = Field(default=1024, gt=0)
    instruction: str = _INSTRUCTION
    device: str | None = None

    _scorer: "_Scorer" = PrivateAttr()

    def model_post_init(self, _: Any) -> None:
        """Load the model."""
        encoder = _loaded(self.model, self.device)
        if encoder.num_labels != 1:
            raise ValueError(
                f"{self.model} gives {encoder.num_labels} numbers for a pair; a reranker gives one"
            )
        # Marks in hostile text are read as the characters they are.
        encoder.tokenizer.split_special_tokens = True
        generates = type(encoder.model).__name__.endswith("ForCausalLM")
        self._scorer = (
            _Generating(encoder, self.max_length, self.instruction)
            if generates
            else _Classifying(encoder, self.max_length)
        )

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        """The best of the documents, best first; see the class."""
        if not documents:
            return []
        texts = [indexed_text(document) for document in documents]
        scores = self._scorer.scores(query, texts, self.batch_size)
        order = sorted(
            range(len(documents)), key=lambda row: (-scores[row], documents[row].id or "", row)
        )
        return [
            Document(
                id=documents[row].id,
                page_content=documents[row].page_content,
                metadata={**documents[row].metadata, "relevance_score": float(scores[row])},
            )
            for row in order[: self.top_n]
        ]


class RerankedRetriever(BaseRetriever):
    """What a retriever finds, judged again: let it find many (k of 30 or so) and keep few.

    Args:
        retriever: Any LangChain retriever.
        reranker: Any document compressor.
    """

    retriever: BaseRetriever
    reranker: BaseDocumentCompressor

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        callbacks = run_manager.get_child()
        found = self.retriever.invoke(query, config={"callbacks": callbacks}, **kwargs)
        return list(self.reranker.compress_documents(found, query, callbacks=callbacks))


class _Scorer(Protocol):
    def scores(self, query: str, texts: list[str], batch_size: int) -> NDArray[np.float32]: ...


class _Classifying:
    """A model with one number for a pair."""

    def __init__(self, encoder: Any, max_length: int) -> None:
        self._encoder = encoder
        own = encoder.max_seq_length
        encoder.max_seq_length = self._limit = min(max_length, own) if own else max_length

    def scores(self, query: str, texts: list[str], batch_size: int) -> NDArray[np.float32]:
        pairs = [(query, text) for text in texts]
        ids = self._encoder.tokenizer(*zip(*pairs, strict=True), truncation=False, verbose=False)
        _warn_of_cut([len(row) for row in ids["input_ids"]], self._limit)
        scores: NDArray[np.float32] = self._encoder.predict(
            pairs, batch_size=batch_size, show_progress_bar=False
        )
        return scores


class _Generating:
    """A model that says "yes" or "no"."""

    def __init__(self, encoder: Any, max_length: int, instruction: str) -> None:
        self._model, self._tokenizer = encoder.model.eval(), encoder.tokenizer
        self._limit, self._instruction = max_length, instruction
        encode = self._tokenizer.encode
        options = {"add_special_tokens": False, "split_special_tokens": False}
        self._begin, self._end = encode(_BEGIN, **options), encode(_END, **options)
        self._answers = [self._tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]

    def scores(self, query: str, texts: list[str], batch_size: int) -> NDArray[np.float32]:
        bodies = [
            f"<Instruct>: {self._instruction}\n<Query>: {query}\n<Document>: {text}"
            for text in texts
        ]
        room = self._limit - len(self._begin) - len(self._end)
        encoded = self._tokenizer(bodies, add_special_tokens=False, split_special_tokens=True)
        _warn_of_cut([len(row) for row in encoded["input_ids"]], room)
        rows = [[*self._begin, *row[:room], *self._end] for row in encoded["input_ids"]]
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        scores = np.zeros(len(rows), np.float32)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            scores[batch] = self._chances([rows[number] for number in batch])
        return scores

    def _chances(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """Of "yes" rather than "no" as the next token."""
        import torch

        longest = max(map(len, rows))
        pad = self._tokenizer.pad_token_id or 0
        ids = [[pad] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        device = self._model.device
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                logits_to_keep=1,
            ).logits[:, -1, self._answers]
        chances: NDArray[np.float32] = logits.float().softmax(dim=1)[:, 1].cpu().numpy()
        return chances


def _loaded(model: Any, device: str | None) -> Any:
    if not isinstance(model, str | Path):
        return model
    from sentence_transformers import CrossEncoder

    try:
        return CrossEncoder(str(model), device=device)
    except OSError as error:
        raise OSError(
            f"cannot load the reranker {str(model)!r}: {error}; give a hub name "
            f"({', '.join(PRESETS)}, or another) or a directory"
        ) from error


def _warn_of_cut(lengths: list[int], limit: int) -> None:
    cut = [length for length in lengths if length > limit]
    if cut:
        warnings.warn(
            f"the reranker reads {limit} tokens of a question with a passage: {len(cut)} of "
            f"{len(lengths)} are longer (up to {max(cut)}) and were cut; raise max_length or use "
            "smaller chunks",
            stacklevel=5,
        )
