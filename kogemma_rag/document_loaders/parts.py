"""Files inside a file in, their documents out, each by the loader that its content calls for.

A part is unpacked into a temporary file of our own; its name in the container is only a label.
Knows neither archives nor mail.
"""

import re
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar

from kogemma_rag.document_loaders.errors import (
    DAMAGED,
    PASSWORD,
    DocumentLoadError,
    SkippedPart,
    UnsupportedFormatError,
)
from kogemma_rag.document_loaders.file_loader import FileLoader, clean_text
from kogemma_rag.document_loaders.formats import MAX_FILE_BYTES, MAX_UNPACKED_BYTES, true_suffix

MAX_PARTS = 1_000
MAX_DEPTH = 3
NESTED = " › "  # between the name of a part and the name of a part of it

TOO_MANY = f"파일이 {MAX_PARTS:,}개 넘게 들어 있습니다. 나누어 저장하세요"
TOO_LARGE = f"풀면 너무 큽니다(하나에 최대 {MAX_FILE_BYTES >> 20}MB). 나누어 저장하세요"
TOO_LARGE_TOGETHER = f"모두 풀면 너무 큽니다(최대 {MAX_UNPACKED_BYTES >> 20}MB). 나누어 저장하세요"
TOO_DEEP = f"{MAX_DEPTH}겹보다 깊이 들어 있습니다. 꺼내어 넣으세요"
ARCHIVE_IN_ARCHIVE = "압축 파일 안의 압축 파일은 읽지 않습니다. 압축을 풀어 넣으세요"

# `zipfile` decompresses a block of bzip2 or LZMA at once, however large it becomes.
_BLOCK_BYTES = 1 << 12
_PLAIN_SUFFIX = re.compile(r"\.[0-9a-z]{1,10}", re.ASCII)


@dataclass
class _Allowance:
    """What is left for all parts of one file, those of its parts included."""

    parts: int = MAX_PARTS
    unpacked: int = MAX_UNPACKED_BYTES


class ContainerLoader(FileLoader):
    """Base of the loaders of files that hold files: a subclass gives each to `_read_part`.

    Metadata of a part's documents are those of its own loader, with "attachment": the part's name,
    after the names of the parts that it is in ("메일.eml › 보고서.hwp").
    """

    is_archive: ClassVar[bool] = False
    """Whether it only packs files; such a one is never opened inside another."""

    outer: "ContainerLoader | None" = None
    """The loader of the file that this one is a part of."""

    _allowance: _Allowance

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        self._allowance = _Allowance() if self.outer is None else self.outer._allowance
        yield from self._read_container()

    @abstractmethod
    def _read_container(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """As `_read`: the container's own text, and what `_read_part` gives."""

    @property
    def depth(self) -> int:
        """How many files this one is inside of."""
        return 0 if self.outer is None else self.outer.depth + 1

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(SkippedPart(name, reason))

    def _read_part(
        self, name: str, open_part: Callable[[], BinaryIO]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Documents of a part; what cannot be read of it is added to `skipped`.

        Args:
            name: The part's name for people; its suffix is believed where the content tells
                nothing.
            open_part: Gives the part's bytes; may raise anything when they cannot be read.
        """
        name = part_name(name)
        try:
            self._take_part()
            with tempfile.TemporaryDirectory(prefix="kogemma-rag-") as folder:
                path = Path(folder, f"part{_suffix(name)}")
                with closing(open_part()) as content:
                    self._unpack(content, path)
                yield from self._documents(name, path)
        except DocumentLoadError as error:
            self._skip(name, error.reason)
        except MemoryError:
            self._skip(name, "읽는 데 메모리가 모자랍니다. 나누어 저장하세요")
        except ImportError as error:  # says which package to install
            self._skip(name, str(error))
        except NotImplementedError:
            self._skip(name, "모르는 방식으로 압축했습니다. 압축을 풀어 넣으세요")
        except Exception as error:  # noqa: BLE001 - parsers raise anything; the other parts go on
            self._skip(name, f"{DAMAGED} ({type(error).__name__}: {error})"[:500])

    def _take_part(self) -> None:
        if self.depth >= MAX_DEPTH:
            raise DocumentLoadError(self.path, TOO_DEEP)
        if self._allowance.parts == 0:
            raise DocumentLoadError(self.path, TOO_MANY)
        self._allowance.parts -= 1

    def _unpack(self, content: BinaryIO, path: Path) -> None:
        """Copy no more than the limits allow, whatever the container says about the size."""
        limit = min(MAX_FILE_BYTES, self._allowance.unpacked)
        with path.open("wb") as file:
            try:
                while limit and (block := content.read(min(_BLOCK_BYTES, limit))):
                    limit -= file.write(block)
            finally:  # what turns out to be damaged was unpacked, too
                self._allowance.unpacked -= file.tell()
            if not limit and content.read(1):
                whole = self._allowance.unpacked > 0
                raise DocumentLoadError(path, TOO_LARGE if whole else TOO_LARGE_TOGETHER)

    def _documents(self, name: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        loader = self._loader(name, path)
        try:
            for document in loader.lazy_load():
                metadata = dict(document.metadata)
                metadata.pop("source")
                inner = metadata.pop("attachment", None)
                metadata["attachment"] = f"{name}{NESTED}{inner}" if inner else name
                yield document.page_content, metadata
        finally:
            for part, reason in loader.skipped:
                self._skip(f"{name}{NESTED}{part}", reason)

    def _loader(self, name: str, path: Path) -> FileLoader:
        # The formats are listed in the package, which imports this module.
        from kogemma_rag.document_loaders import LOADERS

        # As its source, the part's name: where it has no title of its own, its loader takes it.
        label = name.split(NESTED)[-1]
        loader = LOADERS[true_suffix(path)](path, source=label, ocr=self.ocr)
        if isinstance(loader, ContainerLoader):
            loader.outer = self
            if loader.is_archive and self._is_in_archive():
                raise UnsupportedFormatError(path, ARCHIVE_IN_ARCHIVE)
        return loader

    def _is_in_archive(self) -> bool:
        return self.is_archive or (self.outer is not None and self.outer._is_in_archive())

    def _empty_reason(self) -> str:
        if not self.skipped:
            return super()._empty_reason()
        reasons = {reason for _, reason in self.skipped}
        if reasons == {PASSWORD}:
            return PASSWORD
        part, reason = self.skipped[0]
        more = f" 외 {len(self.skipped) - 1:,}개" if len(self.skipped) > 1 else ""
        return f"안에 든 파일 가운데 읽을 수 있는 것이 없습니다({part}{more}: {reason})"


def part_name(name: str) -> str:
    """A part's name for people: with "/", without "." and "..", never absolute."""
    steps = clean_text(name).replace("\\", "/").split("/")
    shown = [" ".join(step.split()) for step in steps if step.strip() not in ("", ".", "..")]
    return "/".join(shown)[-300:] or "이름 없음"


def _suffix(name: str) -> str:
    """The suffix of a name, where it is of letters and digits alone."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if _PLAIN_SUFFIX.fullmatch(suffix) else ""
