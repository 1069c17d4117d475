"""Files in, documents that answer out, with a state that users can watch. Knows no HTTP.

Uploads are kept in a folder of the library's own, under random names; a served folder is only read.
Files that were indexed before are documents too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

from kogemma_rag.storage_errors import StorageError
from kogemma_rag.web.document_indexing import Indexing
from kogemma_rag.web.document_records import DocumentRecords, Record
from kogemma_rag.web.document_states import DocumentState, file_id, file_state, record_state
from kogemma_rag.web.indexed_files import library_folder, open_files
from kogemma_rag.web.upload_files import UploadFiles
from kogemma_rag.web.upload_names import display_name, stored_name, unique_name

if TYPE_CHECKING:
    from kogemma_rag.engines import EngineIndex
    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.web.options import ServeOptions


class DocumentNotFoundError(LookupError):
    """There is no such document; the message is for users."""

    def __init__(self) -> None:
        super().__init__("그런 문서가 없습니다. 지워졌을 수 있으니 목록을 다시 여세요.")


class DocumentRefusedError(ValueError):
    """What was asked cannot be done with this document; the message, for users, says why.

    Attributes:
        code: The same for programs.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class FilePlace:
    """The file that chunks were read from.

    Attributes:
        title: What it is called.
        media_type: As its content says; None for one without chunks.
    """

    path: str
    title: str
    media_type: str | None


class DocumentLibrary:
    """The documents of one index.

    Args:
        index: Where they answer.
        options: The served folder, whether it is watched, how many uploads there may be, and where
            they are kept.

    Attributes:
        folder: The library's own: uploads and records. One that was not asked for, as there is
            none in an engine, is deleted by `close`.
        files: What the index holds of each file.
        served: The served folder, or None.

    Raises:
        StorageError: If the records cannot be opened, or the folder is another program's.
    """

    def __init__(self, index: "DocumentIndex | EngineIndex", options: "ServeOptions") -> None:
        self._temporary: TemporaryDirectory[str] | None = None
        folder = options.data.resolve() if options.data else library_folder(index)
        if folder is None:
            self._temporary = TemporaryDirectory(prefix="kogemma-rag-web-")
            folder = Path(self._temporary.name).resolve()
        self.folder = folder
        self.files = open_files(index)
        self.served = None if options.documents is None else Path(options.documents).resolve()
        self._index = index
        self._most = options.max_documents
        records, uploads = self.folder / "documents.sqlite", self.folder / "uploads"
        if options.data and not records.exists() and any(uploads.glob("*")):
            # Files without a record are deleted; these are somebody's.
            raise StorageError(f"{uploads} holds files of something else; choose an empty folder")
        self._uploads = UploadFiles(uploads)
        self._records = DocumentRecords(records)
        self._indexing = Indexing(
            index,
            self.files,
            self._records,
            self._uploads,
            served=self.served,
            watched=options.watch,
        )

    def start(self) -> None:
        """Begin to index: what was under way when the server ended, and the served folder."""
        self._indexing.start()

    def close(self) -> None:
        """End the work; what is not done yet is begun again by the next start."""
        self._indexing.close()
        self._records.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def documents(self) -> list[DocumentState]:
        """Every document: the uploaded ones, the last one first, then others by name."""
        return self._uploaded(self._records.all()) + self._others()

    def document(self, id_: str) -> DocumentState:
        """One document.

        Raises:
            DocumentNotFoundError: If there is none of that id.
        """
        record = self._records.get(id_)
        known = self._others() if record is None else self._uploaded([record])
        for one in known:
            if one.id == id_:
                return one
        raise DocumentNotFoundError

    def uploaded(self, ids: Iterable[str]) -> list[DocumentState]:
        """Of these uploaded documents those that there are, in this order."""
        found = (self._records.get(id_) for id_ in ids)
        return self._uploaded(record for record in found if record is not None)

    def document_ids(self, chunk_ids: Iterable[str]) -> dict[str, str]:
        """The ids of the documents that chunks are of, by chunk id; of chunks of files."""
        paths = self.files.paths(chunk_ids)
        ids = {path: self._id(path) for path in paths.values() if path is not None}
        return {chunk: ids[path] for chunk, path in paths.items() if path is not None}

    def file_place(self, id_: str, chunk_id: str | None = None) -> FilePlace:
        """The file that a document answers from.

        Args:
            id_: Of the document.
            chunk_id: Of a chunk: while one file replaces another, either may be its own.

        Raises:
            DocumentNotFoundError: If there is no such document, or it has no such chunk.
        """
        record = self._records.get(id_)
        if record is None:
            paths = [path for path in self.files.files() if file_id(path) == id_]
        else:
            paths = [self._uploads.path(name) for name in record.names]
        if chunk_id is not None:
            of_chunk = self.files.paths([chunk_id]).get(chunk_id)
            paths = [path for path in paths if path == of_chunk]
        if not paths or (record is not None and record.state == "deleting"):
            raise DocumentNotFoundError
        summaries = self.files.summaries()
        path = next((path for path in paths if path in summaries), paths[0])
        summary = summaries.get(path)
        title = (summary and summary.source) or (record.title if record else Path(path).name)
        return FilePlace(path, title, summary.media_type if summary else None)

    def add(self, name: str | None, content: BinaryIO, *, replaces: str | None = None) -> str:
        """Keep a file; it is indexed soon.

        Args:
            name: As the client gave it; only shown.
            content: Copied from where it stands.
            replaces: Id of an uploaded document, which answers until this one does.

        Returns:
            The id of the document.

        Raises:
            DocumentNotFoundError: If there is nothing to replace.
            DocumentRefusedError: If there are too many documents, or the one to replace was not
                uploaded.
        """
        shown = display_name(name)
        stored = stored_name(shown)
        self._check_room(replaces)
        size = self._uploads.keep(content, stored)
        with self._indexing.changing:
            before = self._check_room_for(stored, replaces)
            id_ = uuid4().hex if before is None else before.id
            earlier = None if before is None else self._answering(before)
            title = unique_name(shown, self._titles(but=id_))
            self._records.put(Record(id_, title, stored, size, "queued", earlier=earlier))
        if before is not None:
            self._indexing.forget(set(before.names) - {earlier})
        self._indexing.wake()
        return id_

    def delete(self, id_: str) -> None:
        """Let a document answer no more, at once, and delete its file if it was uploaded.

        A file of the served folder stays where it is, and out of the index until somebody indexes
        it from the command line.

        Raises:
            DocumentNotFoundError: If there is none of that id.
        """
        with self._indexing.changing:
            record = self._records.get(id_)
            if record is not None:
                self._records.put(replace(record, state="deleting"))
        if record is not None:
            self._indexing.finish_deleting(record)
            return
        path = self.file_place(id_).path
        if self._is_served(path):
            self._records.leave_out(path)
        self._index.forget([path])

    def retry(self, id_: str) -> None:
        """Read a document again that failed.

        Raises:
            DocumentNotFoundError: If there is none of that id.
            DocumentRefusedError: If it did not fail, or only a changed file can help.
        """
        if self.document(id_).state != "failed":
            raise DocumentRefusedError("not_failed", "실패한 문서만 다시 시도할 수 있습니다.")
        record = self._records.get(id_)
        if record is not None:
            # What is remembered of a file that failed keeps it from being read again.
            self._index.forget([self._uploads.path(record.stored)])
            with self._indexing.changing:
                if self._records.get(id_) == record:  # neither deleted nor replaced meanwhile
                    self._records.put(replace(record, state="queued", reason=None))
            self._indexing.wake()
            return
        path = self.file_place(id_).path
        if not self._is_served(path) or self.files.files()[path].loaded:
            raise DocumentRefusedError(
                "file_of_folder", "원본 파일을 고친 뒤 폴더를 다시 동기화하세요."
            )
        self._index.forget([path])
        self._indexing.sync()

    def sync(self) -> None:
        """Read the served folder again, soon.

        Raises:
            DocumentRefusedError: If no folder is served.
        """
        if self.served is None:
            raise DocumentRefusedError(
                "no_folder", "함께 둔 폴더가 없습니다. 서버를 --documents로 시작하세요."
            )
        self._indexing.sync()

    def _uploaded(self, records: Iterable[Record]) -> list[DocumentState]:
        underway, summaries = self._indexing.underway(), self.files.summaries()
        states = []
        for record in records:
            if record.state != "deleting":
                paths = [self._uploads.path(name) for name in record.names]
                answers = next((summaries[path] for path in paths if path in summaries), None)
                states.append(record_state(record, underway.get(paths[0]), answers))
        return states

    def _others(self) -> list[DocumentState]:
        files, summaries = self.files.files(), self.files.summaries()
        underway = self._indexing.underway()
        states = [
            file_state(path, files.get(path), underway.get(path), summaries.get(path))
            for path in files.keys() | underway.keys()
            if not self._uploads.holds(path)
        ]
        return sorted(states, key=lambda one: (one.title, one.id))

    def _check_room(self, replaces: str | None) -> Record | None:
        """The record to replace, if any, or else there is room for one more."""
        if replaces is None:
            if self._records.count() >= self._most:
                raise DocumentRefusedError(
                    "too_many_documents",
                    f"문서가 너무 많습니다(최대 {self._most:,}개). 쓰지 않는 것을 지우고 올리세요.",
                )
            return None
        record = self._records.get(replaces)
        if record is None:
            self.document(replaces)
            raise DocumentRefusedError(
                "file_of_folder",
                "폴더에 있는 문서입니다. 그 파일을 바꾸고 폴더를 다시 동기화하세요.",
            )
        if record.state == "deleting":
            raise DocumentNotFoundError
        return record

    def _check_room_for(self, stored: str, replaces: str | None) -> Record | None:
        """See `_check_room`; a file that has none any more is deleted."""
        try:
            return self._check_room(replaces)
        except (DocumentNotFoundError, DocumentRefusedError):
            self._uploads.drop([stored])
            raise

    def _id(self, path: str) -> str:
        owner = self._records.owner(Path(path).name) if self._uploads.holds(path) else None
        return owner or file_id(path)

    def _answering(self, record: Record) -> str | None:
        """Of the files of a document, the one that answers now."""
        files = self.files.files()
        known = ((name, files.get(self._uploads.path(name))) for name in record.names)
        return next((name for name, file in known if file is not None and file.loaded), None)

    def _titles(self, *, but: str) -> set[str]:
        uploaded = {title for id_, title in self._records.titles().items() if id_ != but}
        return uploaded | {
            summary.source
            for path, summary in self.files.summaries().items()
            if summary.source and not self._uploads.holds(path)
        }

    def _is_served(self, path: str) -> bool:
        return self.served is not None and self.served in Path(path).parents
