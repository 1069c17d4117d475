"""ZIP archives in, the documents of the files in them out. Nothing is unpacked under its own name.

Archives made on Korean Windows name their files in CP949 without saying so.
"""

import re
import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, ClassVar, cast

from kogemma_rag.document_loaders.errors import DAMAGED, PASSWORD, DocumentLoadError
from kogemma_rag.document_loaders.formats import MAX_FILE_BYTES, ZIP_ERRORS
from kogemma_rag.document_loaders.parts import TOO_LARGE, ContainerLoader, part_name

_ENCRYPTED_FLAG = 1
_UTF8_FLAG = 1 << 11
# Two bytes that are one syllable of CP949 may be one of these in UTF-8, but no Hangul.
_NOT_KOREAN = re.compile("[\x80-\u07ff]")


class ZIPLoader(ContainerLoader):
    """ZIP: the documents of each file in it, in the order of their names.

    Archives inside it are not opened.
    """

    media_types: ClassVar[dict[str, str]] = {".zip": "application/zip"}
    is_archive: ClassVar[bool] = True

    def _read_container(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            archive = zipfile.ZipFile(self.path)
        except ZIP_ERRORS as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        with archive:
            entries = [(part_name(_file_name(entry)), entry) for entry in archive.infolist()]
            for name, entry in sorted(entries, key=lambda named: named[0]):
                if entry.filename.endswith(("/", "\\")) or _is_left_out(name):
                    continue
                if reason := _refusal(entry):
                    self._skip(name, reason)
                else:
                    yield from self._read_part(name, partial(_open, archive, entry))


def _open(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO:
    return cast(BinaryIO, archive.open(entry))


def _file_name(entry: zipfile.ZipInfo) -> str:
    """The name as it was meant; without the flag of UTF-8, `zipfile` takes it for CP437."""
    if entry.flag_bits & _UTF8_FLAG:
        return entry.filename
    try:
        name = entry.filename.encode("cp437")
    except UnicodeEncodeError:  # from a field that holds it in Unicode
        return entry.filename
    for encoding in ("utf-8", "cp949"):
        try:
            text = name.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _NOT_KOREAN.search(text):
            return text
    return entry.filename


def _is_left_out(name: str) -> bool:
    """Whether it is of the kind that a folder's reading leaves out, too."""
    steps = name.split("/")
    return (
        "__MACOSX" in steps
        or any(step.startswith(".") for step in steps)
        or steps[-1].startswith("~$")
    )


def _refusal(entry: zipfile.ZipInfo) -> str | None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "다른 파일을 가리키는 링크입니다. 원본을 넣으세요"
    if entry.flag_bits & _ENCRYPTED_FLAG:
        return PASSWORD
    return TOO_LARGE if entry.file_size > MAX_FILE_BYTES else None
