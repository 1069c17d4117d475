"""EPUB in, sections of its chapters in reading order out. Nothing is fetched, run or followed."""

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError, SkippedPart
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.formats import ZIP_ERRORS
from kogemma_rag.document_loaders.html import html_blocks
from kogemma_rag.document_loaders.sections import Block, sections
from kogemma_rag.document_loaders.xml import parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# Fonts are obfuscated in books that anyone may read.
_FONT_ALGORITHMS = frozenset(
    {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
)
_DRM = "복제 방지(DRM)로 잠긴 전자책입니다. 잠기지 않은 파일을 넣으세요"
_CHAPTER_TYPES = frozenset({"application/xhtml+xml", "text/html"})
_YEAR = re.compile(r"\d{4}(-\d\d)?")

_NOTE_REFERENCES = frozenset({"noteref", "doc-noteref"})
_NOTES = {
    **dict.fromkeys(("footnote", "doc-footnote", "note"), "각주"),
    **dict.fromkeys(("endnote", "rearnote", "doc-endnote"), "미주"),
}
_NOTE_ELEMENTS = ("{*}aside", "{*}li", "{*}p", "{*}div", "{*}section")
_EPUB_TYPE = "{http://www.idpf.org/2007/ops}type"


class EPUBLoader(FileLoader):
    """An electronic book: a document for each section under a heading, notes at their marks."""

    media_types: ClassVar[dict[str, str]] = {".epub": "application/epub+zip"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                book = _Book(archive)
                if book.is_locked():
                    raise DocumentLoadError(self.path, _DRM)
                metadata = book.metadata()
                for text, place in sections(book.blocks()):
                    yield text, {**place, **metadata}
                self.skipped += book.skipped
        except (*ZIP_ERRORS, KeyError, SyntaxError) as error:
            if isinstance(error, DocumentLoadError):
                raise
            raise DocumentLoadError(self.path, DAMAGED) from error


class _Book:
    """A book's package document, and what it names."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.skipped: list[SkippedPart] = []
        self._archive = archive
        (path,) = self._root(_CONTAINER).xpath("//*[local-name()='rootfile']/@full-path")[:1]
        self._folder = posixpath.dirname(path)
        self._package = self._root(path)

    def _root(self, name: str, *, recover: bool = False) -> "_Element":
        return parse_xml(self._archive.read(name), recover=recover)

    def is_locked(self) -> bool:
        """Whether more than its fonts is encrypted."""
        if _ENCRYPTION not in self._archive.namelist():
            return False
        methods = self._root(_ENCRYPTION).xpath(
            "//*[local-name()='EncryptedData']/*[local-name()='EncryptionMethod']/@Algorithm"
        )
        return not _FONT_ALGORITHMS.issuperset(methods)

    def metadata(self) -> dict[str, str]:
        """Title, author, created and modified, where they are known."""
        modified = self._package.xpath("//*[local-name()='meta'][@property='dcterms:modified']")
        known = {
            "title": next(iter(self._dublin_core("title")), ""),
            "author": ", ".join(self._dublin_core("creator")),
            "created": _date(next(iter(self._dublin_core("date")), "")),
            "modified": _date(_text(modified[0])) if modified else "",
        }
        return {name: value for name, value in known.items() if value}

    def _dublin_core(self, name: str) -> list[str]:
        found = self._package.xpath(f"//*[local-name()='metadata']//*[local-name()='{name}']")
        return list(filter(None, map(_text, found)))

    def blocks(self) -> Iterator[Block]:
        """The chapters in the order of the spine, those that can be read."""
        names = []
        notes: dict[str, tuple[str, str]] = {}
        called: set[str] = set()
        for name in self._chapters():
            try:
                root = self._root(name, recover=True)
            except (*ZIP_ERRORS, SyntaxError):
                self.skipped.append(SkippedPart(name, DAMAGED))
                continue
            names.append(name)
            notes.update(_notes(root, name))
            called.update(target for _, target in _note_references(root, name))
        notes = {target: note for target, note in notes.items() if target in called}
        for name in names:
            root = self._root(name, recover=True)
            _place_notes(root, name, notes)
            yield from html_blocks(_html(root))

    def _chapters(self) -> list[str]:
        """Names of the entries that are there."""
        entries = frozenset(self._archive.namelist())
        items = {
            item.get("id"): posixpath.normpath(
                posixpath.join(self._folder, unquote(urlsplit(item.get("href", "")).path))
            )
            for item in self._package.xpath("//*[local-name()='manifest']/*[local-name()='item']")
            if item.get("media-type") in _CHAPTER_TYPES
        }
        spine = self._package.xpath("//*[local-name()='spine']/*[local-name()='itemref']/@idref")
        names = (items.get(reference) for reference in dict.fromkeys(spine))
        return [name for name in names if name in entries]


def _date(text: str) -> str:
    return text if _YEAR.fullmatch(text) else iso_date(text) or ""


def _text(element: "_Element") -> str:
    return " ".join("".join(map(str, element.itertext())).split())


def _html(root: "_Element") -> str:
    """A chapter as HTML: an XHTML "<title/>" would hide all that follows from an HTML parser."""
    from lxml import etree

    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    return str(etree.tostring(root, method="html", encoding="unicode", with_tail=False))


def _types(element: "_Element") -> list[str]:
    return f"{element.get(_EPUB_TYPE, '')} {element.get('role', '')}".split()


def _notes(root: "_Element", name: str) -> dict[str, tuple[str, str]]:
    """Where the notes of a chapter are ("name#id") -> their kind and text."""
    found = {}
    for element in root.iter(*_NOTE_ELEMENTS):
        kinds = [_NOTES[kind] for kind in _types(element) if kind in _NOTES]
        if kinds and element.get("id"):
            found[f"{name}#{element.get('id')}"] = (kinds[0], _note_text(element))
    return found


def _note_references(root: "_Element", name: str) -> Iterator[tuple["_Element", str]]:
    """The marks of notes, and where these are."""
    for link in root.iter("{*}a"):
        if _NOTE_REFERENCES.intersection(_types(link)):
            path, _, anchor = unquote(link.get("href", "")).partition("#")
            folder = posixpath.dirname(name)
            target = posixpath.normpath(posixpath.join(folder, path)) if path else name
            yield link, f"{target}#{anchor}"


def _note_text(element: "_Element") -> str:
    """Its text without the link back to the mark."""
    back = [link for link in element.iter("{*}a") if "doc-backlink" in _types(link)]
    return " ".join(_text(element).removesuffix(_text(back[-1]) if back else "").split())


def _place_notes(root: "_Element", name: str, notes: dict[str, tuple[str, str]]) -> None:
    """Put notes at the marks that call them, and take them away where they stood."""
    for link, target in list(_note_references(root, name)):
        if note := notes.get(target):
            for child in list(link):
                link.remove(child)
            link.text = f" ({note[0]}: {note[1]})"
    for element in list(root.iter(*_NOTE_ELEMENTS)):
        parent = element.getparent()
        if f"{name}#{element.get('id')}" in notes and parent is not None:
            _remove(element, parent)


def _remove(element: "_Element", parent: "_Element") -> None:
    """Take an element away, but not the text that follows it."""
    before = element.getprevious()
    if element.tail:
        if before is None:
            parent.text = (parent.text or "") + element.tail
        else:
            before.tail = (before.tail or "") + element.tail
    parent.remove(element)
