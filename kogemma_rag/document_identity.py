"""Documents in, documents with an id and metadata that can be stored out. Knows no index."""

import hashlib
import json

from langchain_core.documents import Document

from kogemma_rag.filters import field_rows


def document_id(document: Document, *, salt: str = "") -> str:
    """The id of a document that has none: a hash of its text and metadata (source and position).

    Args:
        document: Its metadata must be fit for JSON.
        salt: Makes another id, for the same text at the same place in a file of the same name.
    """
    content = json.dumps(
        [document.page_content, document.metadata, salt],
        ensure_ascii=False,
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def with_id(document: Document, id_: str | None) -> Document:
    """A copy of a document under an id, the hash of its text and metadata when that is None.

    Raises:
        ValueError: If the document cannot be stored.
    """
    if id_ is not None and not (isinstance(id_, str) and id_):
        raise ValueError(f"an id is a text that is not empty, not {id_!r}")
    copy = Document(
        id=id_ or document_id(document),
        page_content=document.page_content,
        metadata=document.metadata,
    )
    encoded_metadata(copy)
    return copy


def encoded_metadata(document: Document) -> str:
    """The metadata as JSON, after a look at all that could not be kept of a document.

    Raises:
        ValueError: If the text or the metadata cannot be stored.
    """
    try:
        metadata = json.dumps(document.metadata, ensure_ascii=False, allow_nan=False)
        f"{document.id}{document.page_content}{metadata}".encode()
        field_rows(document.metadata)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a document of source {document.metadata.get('source')!r} cannot be stored: {error}; "
            "metadata must be fit for JSON, and text for UTF-8"
        ) from error
    if any(not isinstance(name, str) for name in document.metadata):
        raise ValueError(f"the names of metadata must be texts: {list(document.metadata)}")
    return metadata
