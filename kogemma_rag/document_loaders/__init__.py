"""Files in, LangChain documents out. Splits and indexes nothing.

Each format has a `BaseLoader` that reads it in this process. `load_file` and `load_documents` find
the loader by the file's content and run it in a worker process with limits of time and memory.
"""

from collections.abc import Mapping

from kogemma_rag.document_loaders.archives import ZIPLoader
from kogemma_rag.document_loaders.data import JSONLinesLoader, JSONLoader
from kogemma_rag.document_loaders.epub import EPUBLoader
from kogemma_rag.document_loaders.errors import (
    DocumentLoadError,
    SkippedPart,
    UnsupportedFormatError,
)
from kogemma_rag.document_loaders.file_loader import FileLoader, source_name
from kogemma_rag.document_loaders.folder_loader import (
    FileReport,
    FolderLoader,
    LoadReport,
    find_files,
    load_documents,
    load_file,
)
from kogemma_rag.document_loaders.html import HTMLLoader
from kogemma_rag.document_loaders.hwp import HWPLoader
from kogemma_rag.document_loaders.mail import EMLLoader
from kogemma_rag.document_loaders.open_document import ODSLoader, ODTLoader
from kogemma_rag.document_loaders.outlook import MSGLoader
from kogemma_rag.document_loaders.pdf import PDFLoader
from kogemma_rag.document_loaders.powerpoint import PPTXLoader
from kogemma_rag.document_loaders.restructured_text import RSTLoader
from kogemma_rag.document_loaders.spreadsheets import XLSXLoader
from kogemma_rag.document_loaders.text import CSVLoader, MarkdownLoader, TextLoader
from kogemma_rag.document_loaders.word import DOCXLoader

LOADERS: Mapping[str, type[FileLoader]] = {
    suffix: loader
    for loader in (
        TextLoader,
        MarkdownLoader,
        CSVLoader,
        HTMLLoader,
        PDFLoader,
        HWPLoader,
        DOCXLoader,
        PPTXLoader,
        XLSXLoader,
        ODTLoader,
        ODSLoader,
        RSTLoader,
        EPUBLoader,
        JSONLoader,
        JSONLinesLoader,
        EMLLoader,
        MSGLoader,
        ZIPLoader,
    )
    for suffix in loader.media_types
}
"""Suffix (lower case, with its dot) -> loader."""

__all__ = [
    "LOADERS",
    "CSVLoader",
    "DOCXLoader",
    "DocumentLoadError",
    "EMLLoader",
    "EPUBLoader",
    "FileReport",
    "FolderLoader",
    "HTMLLoader",
    "HWPLoader",
    "JSONLinesLoader",
    "JSONLoader",
    "LoadReport",
    "MSGLoader",
    "MarkdownLoader",
    "ODSLoader",
    "ODTLoader",
    "PDFLoader",
    "PPTXLoader",
    "RSTLoader",
    "SkippedPart",
    "TextLoader",
    "UnsupportedFormatError",
    "XLSXLoader",
    "ZIPLoader",
    "find_files",
    "load_documents",
    "load_file",
    "source_name",
]
