"""Indexes in what many machines share: PostgreSQL with pgvector, Milvus, any VectorStore."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from kogemma_rag.engines.engine_index import EngineIndex as EngineIndex

_POSTGRES = ("postgresql://", "postgres://")
_MILVUS = ("milvus://", "milvus+https://")

__all__ = ["EngineIndex", "is_engine_url", "open_engine"]


def is_engine_url(location: str) -> bool:
    """Whether a text is the address of an engine and not a folder."""
    return location.startswith((*_POSTGRES, *_MILVUS))


def open_engine(
    url: str, embeddings: "Embeddings | None" = None, *, collection: str = "kogemma_rag"
) -> "EngineIndex":
    """Open a collection in an engine; it is made with the first document.

    Args:
        url: `postgresql://user:password@host:port/database`, or `milvus://host:port/database`
            (over TLS: `milvus+https://`), `user:password@` before the host where one is asked for.
        embeddings: Any LangChain embeddings. None takes the model that the collection was made
            with, and for a new one `MultilingualEmbeddings()`.
        collection: Its name in the engine: lower-case Latin letters, digits and `_`.

    Raises:
        ImportError: If the engine's extra is not installed.
        ValueError: If the URL or the name cannot be used.
        EmbedderMismatchError: If the collection was made with another embedding model.
        StorageError: If the engine cannot be reached or used.
    """
    from kogemma_rag.embeddings import recorded_embeddings
    from kogemma_rag.engines.engine_index import EngineIndex
    from kogemma_rag.engines.engine_store import EngineVectorStore

    table = _table(url, collection)
    try:
        if embeddings is None:
            embeddings = recorded_embeddings(table.facts().get("embedder"))
        return EngineIndex(EngineVectorStore(embeddings, table))
    except BaseException:
        table.close()
        raise


def _table(url: str, collection: str) -> Any:
    if url.startswith(_POSTGRES):
        from kogemma_rag.engines.postgres import PostgresTable

        return PostgresTable(url, collection)
    if url.startswith(_MILVUS):
        from kogemma_rag.engines.milvus import MilvusTable

        return MilvusTable(url, collection)
    known = ", ".join((*_POSTGRES, *_MILVUS))
    raise ValueError(f"the URL names no engine that is known here; it begins with one of: {known}")


def __getattr__(name: str) -> Any:
    if name == "EngineIndex":
        from kogemma_rag.engines.engine_index import EngineIndex

        return EngineIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
