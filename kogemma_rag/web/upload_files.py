"""Uploaded files on disk, in one folder, under names that are made here. Knows no index."""

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import BinaryIO

from kogemma_rag.web.upload_names import is_stored_name

_COPIED = 1 << 20  # bytes at a time


class UploadFiles:
    """The files that were uploaded.

    Args:
        folder: Their own, made when absent.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()

    def path(self, name: str) -> str:
        """Where a file is, as the index remembers it."""
        return str(self.folder / name)

    def holds(self, path: str) -> bool:
        """Whether a path is that of an uploaded file."""
        return os.path.dirname(path) == str(self.folder)  # noqa: PTH120 - asked of very many

    def keep(self, content: BinaryIO, name: str) -> int:
        """Copy a file to disk; how many bytes it has.

        Raises:
            OSError: If there is no space; nothing is left of it.
        """
        path = self.folder / name
        try:
            with path.open("xb") as file:
                shutil.copyfileobj(content, file, _COPIED)
                file.flush()
                os.fsync(file.fileno())
                return file.tell()
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def drop(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone are no error."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def drop_others(self, names: Collection[str]) -> None:
        """Delete every file but those named; what was not uploaded is not ours to delete."""
        kept = filter(is_stored_name, (file.name for file in self.folder.iterdir()))
        self.drop(set(kept) - set(names))
