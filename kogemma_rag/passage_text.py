"""A chunk in, the text by which it is found out. Loads nothing heavy: parser processes use it."""

import unicodedata

from langchain_core.documents import Document

_MAX_PREFIX = 200  # characters; a title of a thousand would drown the passage


def indexed_text(document: Document) -> str:
    """The text by which a document is found, NFC: title and heading path, then its passage.

    What is quoted is `page_content` alone, untouched.
    """
    headings = document.metadata.get("headings")
    path = [document.metadata.get("title"), *(headings if isinstance(headings, list) else [])]
    prefix = " > ".join(part for part in path if isinstance(part, str) and part)[:_MAX_PREFIX]
    return unicodedata.normalize(
        "NFC", f"{prefix}\n{document.page_content}" if prefix else document.page_content
    )
