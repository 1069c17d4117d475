"""A file or folder in, documents out, parsed in worker processes. Knows no format."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from langchain_core.documents import Document

from kogemma_rag.document_loaders.errors import DocumentLoadError
from kogemma_rag.document_loaders.file_loader import source_name
from kogemma_rag.document_loaders.sandbox import parser_process


def find_files(path: str | Path) -> list[Path]:
    """Every regular file under a folder, in the order of their names; a file gives itself.

    Files of unsupported formats are among them, so that they can be reported. Hidden files and
    folders, the lock files of Office ("~$…") and symbolic links are left out.

    Raises:
        FileNotFoundError: If there is nothing at the path.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder at {path}")
    if not path.is_dir():
        return [path]
    found = []
    for folder, subfolders, names in os.walk(path, onerror=_warn_unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        files = (Path(folder, name) for name in names if not name.startswith((".", "~$")))
        found += [file for file in files if file.is_file() and not file.is_symlink()]
    return sorted(found)


def _warn_unreadable(error: OSError) -> None:
    warnings.warn(f"{error.filename}: {error.strerror}", stacklevel=2)


def load_file(path: str | Path, *, root: Path | None = None) -> list[Document]:
    """Read one file in a worker process.

    Args:
        path: The file.
        root: metadata["source"] is relative to it; without it, it is the path as given.

    Returns:
        Documents in the order of the file, with metadata source, media_type, title and, where it
        applies, page, slide, row (from 1), sheet and headings (the path, highest first).

    Raises:
        DocumentLoadError: If the file cannot be read: locked, damaged, without text, not supported,
            too large, or over the limits of time and memory.
    """
    path = Path(path)
    return parser_process.load(path, source_name(path, root))


def load_documents(path: str | Path) -> Iterator[Document]:
    """Read a file or everything under a folder.

    A file of a folder that cannot be read is named by a warning, and the rest goes on.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        DocumentLoadError: If the path is a file that cannot be read.
    """
    files = find_files(path)
    return _load_all(files) if Path(path).is_dir() else iter(load_file(path))


def _load_all(files: list[Path]) -> Iterator[Document]:
    for file in files:
        try:
            yield from load_file(file)
        except DocumentLoadError as error:
            warnings.warn(str(error), stacklevel=2)
