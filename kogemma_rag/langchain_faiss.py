"""A folder that LangChain's FAISS store saved in, its documents and vectors out.

The folder holds a pickle. It is read by an unpickler that makes nothing but plain values, documents
and their store, whatever the pickle asks for. Knows no storage.
"""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

_VECTORS, _DOCUMENTS = "index.faiss", "index.pkl"
_PAGE = 1024  # documents at a time

_DOCUMENT_CLASSES = {
    ("langchain_core.documents.base", "Document"),
    ("langchain.schema.document", "Document"),
    ("langchain.schema", "Document"),
    ("langchain.docstore.document", "Document"),
}
_STORE_CLASSES = {
    ("langchain_community.docstore.in_memory", "InMemoryDocstore"),
    ("langchain.docstore.in_memory", "InMemoryDocstore"),
}
# What damaged or hostile pickles raise.
_PICKLE_ERRORS = (
    *(pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError),
    *(MemoryError, OverflowError, RecursionError, TypeError, ValueError),
)


class _State:
    """Stands for an object of a pickle; holds the state that was saved of it."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def values(self) -> dict[str, Any]:
        """The attributes saved, those of a pydantic model too."""
        state = self.state
        if isinstance(state, dict) and isinstance(state.get("__dict__"), dict):
            state = state["__dict__"]
        if not isinstance(state, dict):
            raise ValueError("an object in it has no attributes")
        return state


class _SavedDocument(_State):
    pass


class _SavedStore(_State):
    pass


class _Unpickler(pickle.Unpickler):
    """Makes no object of any class but the two above."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _DOCUMENT_CLASSES:
            return _SavedDocument
        if (module, name) in _STORE_CLASSES:
            return _SavedStore
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no document needs")


def is_langchain_folder(folder: Path) -> bool:
    """Whether LangChain's FAISS store saved a folder."""
    return (folder / _DOCUMENTS).is_file() and (folder / _VECTORS).is_file()


def read_langchain_folder(
    folder: Path,
) -> Iterator[tuple[list[Document], NDArray[np.float32]]]:
    """Documents with ids, and their vectors as saved, shape (n, dim), some at a time.

    Raises:
        ImportError: If FAISS is not installed.
        ValueError: If the folder is damaged, or asks for anything but documents.
    """
    documents = _documents(folder / _DOCUMENTS)
    index = _index(folder / _VECTORS)
    if index.ntotal != len(documents):
        raise ValueError(f"{folder} holds {len(documents)} documents but {index.ntotal} vectors")
    for start in range(0, len(documents), _PAGE):
        page = documents[start : start + _PAGE]
        try:
            vectors = np.asarray(index.reconstruct_n(start, len(page)), np.float32)
        except RuntimeError as error:
            raise ValueError(f"the vectors of {folder} cannot be read back: {error}") from error
        yield page, vectors


def _index(path: Path) -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "LangChain's FAISS folders need FAISS: pip install 'kogemma-rag[cpu]'"
        ) from error
    try:
        index = faiss.read_index(str(path))
        if hasattr(index, "make_direct_map"):
            index.make_direct_map()
    except RuntimeError as error:
        raise ValueError(f"{path} is no FAISS index: {error}") from error
    return index


def _documents(path: Path) -> list[Document]:
    """In the order of their vectors."""
    try:
        with path.open("rb") as file:
            store, ids = _Unpickler(file).load()
        if not isinstance(store, _SavedStore) or not isinstance(ids, dict):
            raise ValueError("it holds no store of documents")
        saved = store.values()["_dict"]
        return [_document(saved[ids[row]], ids[row]) for row in range(len(ids))]
    except _PICKLE_ERRORS as error:
        raise ValueError(f"{path} is not read: {error or type(error).__name__}") from error


def _document(saved: Any, id_: Any) -> Document:
    if not isinstance(saved, _SavedDocument):
        raise ValueError("something in it is no document")
    values = saved.values()
    text, metadata = values["page_content"], values.get("metadata") or {}
    if not (isinstance(text, str) and isinstance(metadata, dict) and isinstance(id_, str) and id_):
        raise ValueError("a document in it has no text, metadata or id of the right type")
    return Document(id=id_, page_content=text, metadata=metadata)
