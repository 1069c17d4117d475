"""HWP 5 and HWPX in, sections with tables out. Old HWP 3 is refused before it gets here.

Each format is read into the same paragraphs. Documents that are locked for distribution are read;
those that are locked by a password or protected in other ways are refused.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from kogemma_rag.document_loaders import hwp5, hwp_records, hwpx
from kogemma_rag.document_loaders.errors import DAMAGED, PASSWORD, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.formats import true_suffix
from kogemma_rag.document_loaders.hwp_blocks import BlockWriter
from kogemma_rag.document_loaders.hwp_numbering import ParagraphHeads, circled
from kogemma_rag.document_loaders.hwp_paragraphs import Paragraph
from kogemma_rag.document_loaders.sections import Block, Heading, sections

_PROTECTED = "DRM이나 인증서로 보호된 문서입니다. 보호를 풀어 다시 저장하세요"
# Stands in the place of a locked text for programs that cannot unlock it.
_PLACEHOLDER = "이 문서는 상위 버전의 배포용 문서입니다. 문서를 읽으려면"
# Hancom's fonts hold these in private use areas, where no other font shows them: the bullets of
# symbol fonts, and digits in boxes (in order in the documents that have them).
_PRIVATE = re.compile("[\uf020-\uf0ff\U000f02b1-\U000f02b9]")
_FIRST_BOXED = 0xF02B1
# Hancom's word processor fills the title of a new document with its first line, and a copy keeps
# that of the document it was made from: only one that the text begins with says anything.
_TITLE_WITHIN = 1000
_GENERIC_TITLE = re.compile(r"(제목(없음)?|(빈)?문서\d*|보도자료|공고|untitled|document\d*)?")
# What readers raise over damaged files.
_DAMAGE = (
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class HWPLoader(FileLoader):
    """HWP 5 and HWPX: a document for each section under a heading, then page headers and footers.

    Footnotes and endnotes stand at their mark, captions above their table, and equations as their
    script. Hidden comments, memos and (in HWPX) text deleted with changes tracked are left out.
    """

    media_types: ClassVar[dict[str, str]] = {
        ".hwp": "application/vnd.hancom.hwp",
        ".hwpx": "application/vnd.hancom.hwpx",
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            properties, heads, paragraphs = self._parsed()
            writer = BlockWriter(heads)
            blocks = [_shown_block(block) for block in writer.blocks(paragraphs)]
        except DocumentLoadError:
            raise
        except _DAMAGE as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        opening = _opening(blocks)
        if opening.startswith("".join(_PLACEHOLDER.split())):
            raise DocumentLoadError(self.path, PASSWORD)
        title = properties.pop("title", "")
        shared: dict[str, Any] = dict(properties)
        if is_telling_title(title, opening):
            shared["title"] = title
        for text, metadata in sections(blocks):
            shared.setdefault("title", metadata["title"])
            yield text, {**metadata, **shared}
        for region, texts in writer.page_texts.items():
            for text in texts:
                yield _shown(text), {**shared, "region": region}

    def _parsed(self) -> tuple[dict[str, str], ParagraphHeads, Iterable[Paragraph]]:
        if true_suffix(self.path) == ".hwp":
            return self._hwp()
        with zipfile.ZipFile(self.path) as archive:
            return (
                hwpx.properties(archive),
                hwpx.paragraph_heads(archive),
                list(hwpx.paragraphs(archive)),
            )

    def _hwp(self) -> tuple[dict[str, str], ParagraphHeads, Iterable[Paragraph]]:
        import olefile

        with olefile.OleFileIO(self.path) as ole:
            flags = hwp_records.file_flags(ole)
            if flags & hwp_records.PASSWORD_FLAG:
                raise DocumentLoadError(self.path, PASSWORD)
            if flags & hwp_records.PROTECTED:
                raise DocumentLoadError(self.path, _PROTECTED)
            properties = hwp_records.properties(ole)
            heads = hwp5.paragraph_heads(ole)
            return properties, heads, list(hwp5.paragraphs(ole))


def is_telling_title(title: str, opening: str) -> bool:
    """Whether a title among the properties of a document is the title of this one.

    Args:
        title: As it was written.
        opening: The beginning of the text, without white space.
    """
    letters = "".join(title.split())
    if not any(map(str.isalpha, letters)) or _GENERIC_TITLE.fullmatch(letters.lower()):
        return False
    return letters in opening


def _shown(text: str) -> str:
    """Text with the characters of Hancom's fonts as others show them."""

    def shown(match: re.Match[str]) -> str:
        number = ord(match[0]) - _FIRST_BOXED + 1
        return circled(number) if number > 0 else "•"

    return _PRIVATE.sub(shown, text)


def _shown_block(block: Block) -> Block:
    if isinstance(block, Heading):
        return Heading(block.level, _shown(block.text))
    return _shown(block)


def _opening(blocks: Iterable[Block]) -> str:
    text = ""
    for block in blocks:
        text += "".join((block if isinstance(block, str) else block.text).split())
        if len(text) >= _TITLE_WITHIN:
            break
    return text[:_TITLE_WITHIN]
