"""Korean document question answering with LangChain and ko-gemma.

Every public name is loaded on first use, so that importing the package stays instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kogemma_rag.chains import RagOutput, create_chat_rag_chain, create_rag_chain
    from kogemma_rag.chat_model_loading import load_chat_model
    from kogemma_rag.chat_models import ChatKoGemma
    from kogemma_rag.citations import Citation
    from kogemma_rag.document_loaders import load_documents
    from kogemma_rag.embeddings import MultilingualEmbeddings
    from kogemma_rag.extractive import ExtractiveChatModel
    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.retrievers import HybridRetriever
    from kogemma_rag.text_splitters import KoreanTextSplitter
    from kogemma_rag.vectorstores import FaissVectorStore

__version__ = "0.1.0"

_MODULES = {
    "ChatKoGemma": "chat_models",
    "Citation": "citations",
    "DocumentIndex": "index",
    "ExtractiveChatModel": "extractive",
    "FaissVectorStore": "vectorstores",
    "HybridRetriever": "retrievers",
    "KoreanTextSplitter": "text_splitters",
    "MultilingualEmbeddings": "embeddings",
    "RagOutput": "chains",
    "create_chat_rag_chain": "chains",
    "create_rag_chain": "chains",
    "load_chat_model": "chat_model_loading",
    "load_documents": "document_loaders",
}

__all__ = [
    "ChatKoGemma",
    "Citation",
    "DocumentIndex",
    "ExtractiveChatModel",
    "FaissVectorStore",
    "HybridRetriever",
    "KoreanTextSplitter",
    "MultilingualEmbeddings",
    "RagOutput",
    "create_chat_rag_chain",
    "create_rag_chain",
    "load_chat_model",
    "load_documents",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
