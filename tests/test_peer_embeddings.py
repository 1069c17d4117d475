"""What langchain-huggingface's embeddings get wrong, measured, and ours do right.

One test for each fault of the row "embeddings" in the list of measured faults.
"""

import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny_bert import save_tiny_bert

from kogemma_rag.embeddings import MultilingualEmbeddings

TEXT = "서울의 수도 요금"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def ours(folder: Path) -> MultilingualEmbeddings:
    return MultilingualEmbeddings(folder, device="cpu")


def raw_vector(folder: Path, text: str) -> np.ndarray:
    """The mean of the last layer, from transformers alone."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
    return states[0].mean(dim=0).numpy()


def test_peer_models_query_and_passage_prompts_never_used(
    folder: Path, ours: MultilingualEmbeddings
) -> None:
    for prompt, vector in (
        ("질문: ", ours.embed_query_array(TEXT)),
        ("본문: ", ours.embed_documents_array([TEXT])[0]),
    ):
        expected = raw_vector(folder, prompt + TEXT)
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_peer_query_and_document_normalized_differently(
    folder: Path, ours: MultilingualEmbeddings
) -> None:
    assert np.linalg.norm(raw_vector(folder, TEXT)) > 1.5
    for model in (ours, MultilingualEmbeddings()):
        assert np.linalg.norm(model.embed_query(TEXT)) == pytest.approx(1, abs=1e-6)
        lengths = np.linalg.norm(model.embed_documents([TEXT, "휴가", ""]), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_peer_nfd_and_nfc_differ(folder: Path, ours: MultilingualEmbeddings) -> None:
    decomposed = unicodedata.normalize("NFD", TEXT)
    assert not np.allclose(raw_vector(folder, decomposed), raw_vector(folder, TEXT), atol=1e-3)
    for model in (ours, MultilingualEmbeddings()):
        assert model.embed_query(decomposed) == model.embed_query(TEXT)
        assert model.embed_documents([decomposed]) == model.embed_documents([TEXT])


def test_peer_tail_cut_silently(ours: MultilingualEmbeddings) -> None:
    long = "서울의 수도 요금은 해마다 오르고 물값은 그대로이다. " * 5
    with pytest.warns(UserWarning, match="reads 48 tokens of a text: 1 of 2 texts are longer"):
        ours.embed_documents([TEXT, long])
    with pytest.warns(UserWarning, match="1 of 1 texts are longer"):
        ours.embed_query(long)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.embed_documents([TEXT, TEXT])
        MultilingualEmbeddings().embed_documents([long * 100])
