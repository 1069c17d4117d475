"""Embeddings that are the same for the same text, mean nothing, and count what they are asked."""

from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings


class CountingEmbeddings(Embeddings):
    def __init__(self, size: int = 16) -> None:
        self.size = size
        self.calls = 0
        self.texts: list[str] = []
        self._fake = DeterministicFakeEmbedding(size=size)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls += 1
        self.texts += texts
        return self._fake.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._fake.embed_query(text)
