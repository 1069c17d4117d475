"""What is remembered of files whose chunks are in a store that cannot remember it: one SQLite file.

An entry is written before the chunks of its file and completed after them, so that a sync that was
cut off is gone on with.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path

from kogemma_rag.database import Database
from kogemma_rag.storage import IndexedFile

_FILE = "files.sqlite3"
_FORMAT_VERSION = 1
_SCHEMA = """
CREATE TABLE files (path TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks (id TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX chunks_by_path ON chunks (path);
"""


class Ledger:
    """Files, and which chunks came from which.

    Args:
        folder: Where it is kept, made when absent.

    Raises:
        StorageError: If it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = Database(folder / _FILE, schema=_SCHEMA, format_version=_FORMAT_VERSION)
        self.writing = self._database.writing

    def files(self) -> dict[str, IndexedFile]:
        """Every file, by its path."""
        records = self._database.rows("SELECT record FROM files")
        files = (IndexedFile(*json.loads(record)) for (record,) in records)
        return {file.path: file for file in files}

    def ids(self, path: str) -> list[str]:
        """The chunks of a file."""
        return [
            id_ for (id_,) in self._database.rows("SELECT id FROM chunks WHERE path = ?", [path])
        ]

    def path(self, id_: str) -> str | None:
        """The file of a chunk; None for an unknown one."""
        rows = self._database.rows("SELECT path FROM chunks WHERE id = ?", [id_])
        return rows[0][0] if rows else None

    def record(self, files: Iterable[IndexedFile], chunks: Iterable[tuple[str, str]] = ()) -> None:
        """Remember files, each in the place of what was remembered, and (id, path) of chunks."""
        with self._database.transaction():
            rows = [(file.path, json.dumps(astuple(file))) for file in files]
            self._database.run_many("REPLACE INTO files VALUES (?, ?)", rows)
            self._database.run_many("REPLACE INTO chunks VALUES (?, ?)", list(chunks))

    def forget(self, paths: Sequence[str]) -> None:
        """Forget files and their chunks."""
        with self._database.transaction():
            rows = [(path,) for path in paths]
            self._database.run_many("DELETE FROM files WHERE path = ?", rows)
            self._database.run_many("DELETE FROM chunks WHERE path = ?", rows)

    def forget_chunks(self, ids: Iterable[str]) -> None:
        """Forget chunks; their files stay."""
        with self._database.transaction():
            rows = [(id_,) for id_ in ids]
            self._database.run_many("DELETE FROM chunks WHERE id = ?", rows)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def unfinished(file: IndexedFile, before: IndexedFile | None) -> IndexedFile:
    """What is remembered of a file while its chunks are being written: as if it had changed."""
    loaded = before is not None and before.loaded
    return IndexedFile(file.path, -1, -1, -1, 0, "", loaded, None, file.version)
