"""Documents in, the nearest documents out: LangChain's VectorStore over the chunks in a database.

Means what `FaissVectorStore` means: the same scores, filters, ids and errors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from kogemma_rag.cosine_vectorstore import Batch, CosineVectorStore, Nearest, refuse_unknown
from kogemma_rag.engines.chunk_table import Chunk, ChunkTable
from kogemma_rag.engines.words import words_of
from kogemma_rag.lexical import LexicalIndex
from kogemma_rag.passage_text import indexed_text
from kogemma_rag.similarity import cosines
from kogemma_rag.storage_errors import EmbedderMismatchError

# An engine's cosines differ in the last bits from those by which results are put in order.
_MORE = 16


class EngineVectorStore(CosineVectorStore):
    """Nearest-neighbour search by cosine in a database.

    Exact, unless the database was told to `build_vector_index`. For scores, ties, ids and filters
    see `CosineVectorStore`.

    Args:
        embedding: Any LangChain embeddings; vectors are brought to unit length here.
        table: Of the database.

    Raises:
        EmbedderMismatchError: If the collection was made with another embedding model.
    """

    def __init__(self, embedding: Embeddings, table: ChunkTable) -> None:
        super().__init__(embedding)
        self.table = table
        self._check_embedder(None)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        table: ChunkTable | None = None,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> "EngineVectorStore":
        """A store that holds the texts, and what the table held. See `add_texts`."""
        if table is None:
            raise ValueError("tell the table of a database: from_texts(…, table=…)")
        store = cls(embedding, table)
        store.add_texts(texts, metadatas, ids=ids, **kwargs)
        return store

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, all of them when ids is None; unknown ids are no error."""
        refuse_unknown(kwargs)
        self.table.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of ids, in their order, each once; unknown ids are left out."""
        wanted = list(dict.fromkeys(ids))
        with self.table.reading() as view:
            found = view.fetch(wanted)
        return [found[id_][0] for id_ in wanted if id_ in found]

    def check_dimension(self, dimension: int) -> None:
        """See `CosineVectorStore.check_dimension`."""
        self._check_embedder(dimension)

    def bind(self, dimension: int) -> None:
        """Record what makes the vectors, or check it when that is done. Inside `writing`.

        Raises:
            EmbedderMismatchError: If another fingerprint or dimension is recorded.
        """
        if not self._check_embedder(dimension):
            self.table.bind(self.embedder.fingerprint, dimension)

    def _write(self, batch: Batch) -> None:
        texts = [indexed_text(document) for document in batch.documents]
        rows = zip(batch.documents, batch.vectors, LexicalIndex.prepare(texts), strict=True)
        chunks = [Chunk(document, vector, words_of(text)) for document, vector, text in rows]
        with self.table.writing("adding documents"):
            self.bind(batch.vectors.shape[1])
            self.table.put(chunks)

    def _nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        filter: Mapping[str, Any] | None,
        *,
        with_vectors: bool = False,
    ) -> Nearest:
        with self.table.reading() as view:
            found = view.fetch(view.nearest(query, k + _MORE, filter))
        vectors = np.array([vector for _, vector in found.values()], np.float32)
        to_query = cosines(query, vectors)
        ids = list(found)
        order = sorted(range(len(ids)), key=lambda row: (-to_query[row], ids[row]))[:k]
        return Nearest([found[ids[row]][0] for row in order], to_query[order], vectors[order])

    def _check_embedder(self, dimension: int | None) -> bool:
        """Whether an embedding model is recorded; it is ours."""
        facts, fingerprint = self.table.facts(), self.embedder.fingerprint
        if not facts:
            return False
        if facts["embedder"] != fingerprint:
            raise EmbedderMismatchError(
                f"{self.table.address} was made with the embedding model {facts['embedder']}, "
                f"not with {fingerprint}; open it with the model it was made with, or index the "
                "documents again into another collection"
            )
        if dimension is not None and facts["dimension"] != dimension:
            raise EmbedderMismatchError(
                f"{self.table.address} holds vectors of dimension {facts['dimension']}, the "
                f"embedding model gives {dimension}; open it with the model it was made with"
            )
        return True
