"""reStructuredText in, sections out. No other file is included, no raw markup kept."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import (
    Block,
    Heading,
    markdown_table,
    sections,
    table_grid,
)
from kogemma_rag.document_loaders.text import read_text

if TYPE_CHECKING:
    from docutils.nodes import Element, Node, document

_SETTINGS = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 5,  # never
    "report_level": 5,
    "warning_stream": False,
    "traceback": True,  # what it raises comes here, and does not end the process
    "input_encoding": "unicode",
    "line_length_limit": 1_000_000,
    "syntax_highlight": "none",
    "smart_quotes": False,
}
# Of the list of fields at the top, docutils knows the English names only.
_AUTHOR_FIELDS = frozenset({"저자", "지은이", "작성자"})
_DATE_FIELDS = frozenset({"날짜", "작성일"})
_LEFT_OUT = frozenset(
    {"comment", "footnote", "image", "meta", "pending", "raw", "substitution_definition"}
    | {"target", "transition"}
)
# A role that docutils does not know, as Sphinx has many: what it shows is inside.
_UNKNOWN_ROLE = re.compile(
    r":[\w:+.-]{1,100}:`!?~?([^`<]*)(?:<[^`]*>)?`|`([^`]*)`:[\w:+.-]{1,100}:"
)
# The first line of a directive and its options.
_DIRECTIVE_HEAD = re.compile(r"\A\.\. .*\n(?:[ \t]+:[^:\n]+:.*\n)*")


class RSTLoader(FileLoader):
    """reStructuredText: a document for each section, footnotes at their marks."""

    media_types: ClassVar[dict[str, str]] = {".rst": "text/x-rst"}

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from docutils.core import publish_doctree

        text = read_text(self.path)
        try:
            tree = publish_doctree(text, settings_overrides=_SETTINGS)
            blocks = list(_Blocks(tree).blocks(tree))
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error
        metadata = _properties(tree)
        for section, place in sections(blocks):
            yield section, {**place, **metadata}


def _properties(tree: "document") -> dict[str, str]:
    """Title, author and created, where the document states them."""
    from docutils import nodes

    authors, dates = [], []
    for info in tree.findall(nodes.docinfo):
        authors += [author.astext() for author in info.findall(nodes.author)]
        dates += [date.astext() for date in info.findall(nodes.date)]
        for field in info.findall(nodes.field):
            name, value = (part.astext().strip() for part in field.children[:2])
            authors += [value] if name in _AUTHOR_FIELDS else []
            dates += [value] if name in _DATE_FIELDS else []
    known = {
        "title": tree.get("title", ""),
        "author": ", ".join(authors),
        "created": next(filter(None, map(iso_date, dates)), ""),
    }
    return {name: value for name, value in known.items() if value}


class _Blocks:
    """Turns the nodes of one document into blocks."""

    def __init__(self, tree: "document") -> None:
        from docutils import nodes

        self._notes = {
            identity: " ".join(" ".join(map(_plain, note.children[1:])).split())
            for note in tree.findall(nodes.footnote)
            for identity in note["ids"]
        }

    def blocks(self, parent: "Element", level: int = 1) -> Iterator[Block]:
        """Blocks of the children of a node, its title with them."""
        for child in _elements(parent):
            kind = _kind(child)
            if kind in _LEFT_OUT:
                continue
            if kind == "title":
                text = self._inline(child)
                yield Heading(level, text) if parent.tagname in ("document", "section") else text
            elif kind == "section":
                yield from self.blocks(child, level + self._has_title(parent))
            else:
                yield from self._block(child, kind, level)

    def _has_title(self, parent: "Element") -> bool:
        return any(map(_is_title, _elements(parent)))

    def _block(self, node: "Element", kind: str, level: int) -> Iterator[Block]:
        if kind == "table":
            yield from self._table(node)
        elif kind in ("literal_block", "doctest_block"):
            yield f"```\n{node.astext()}\n```"
        elif kind == "line_block":
            yield "\n".join(self._line_block(node))
        elif kind in ("bullet_list", "enumerated_list"):
            yield "\n".join(self._list(node))
        elif kind in ("field_list", "docinfo"):
            lines = [self._field(field) for field in _elements(node) if not _is_metadata(field)]
            yield from ["\n".join(lines)] if lines else []
        elif kind == "definition_list_item":
            *terms, definition = _elements(node)
            inner = self.blocks(definition)
            yield "\n".join([" : ".join(map(self._inline, terms)), *map(_shown, inner)])
        elif kind == "system_message":
            yield from _unread(node)
        elif kind == "citation":
            label, *rest = _elements(node)
            yield f"[{label.astext()}] " + "\n".join(map(self._inline, rest))
        elif _is_inline(node):
            yield self._inline(node)
        else:
            yield from self.blocks(node, level)

    def _table(self, table: "Element") -> Iterator[str]:
        from docutils import nodes

        rows = [
            [
                (
                    "\n".join(map(_shown, self.blocks(entry))),
                    int(entry.get("morerows", 0)) + 1,
                    int(entry.get("morecols", 0)) + 1,
                )
                for entry in _elements(row)
            ]
            for row in table.findall(nodes.row)
        ]
        caption = "".join(self._inline(child) for child in _elements(table) if _is_title(child))
        if text := markdown_table(table_grid(rows)):
            yield f"{caption}\n\n{text}".strip()

    def _list(self, node: "Element") -> Iterator[str]:
        for number, item in enumerate(_elements(node), int(node.get("start", 1))):
            mark = "- " if node.tagname == "bullet_list" else f"{number}. "
            text = "\n".join(map(_shown, self.blocks(item)))
            yield mark + text.replace("\n", "\n  ")

    def _line_block(self, node: "Element") -> Iterator[str]:
        for child in _elements(node):
            if child.tagname == "line_block":
                yield from (f"  {line}" for line in self._line_block(child))
            else:
                yield self._inline(child)

    def _field(self, field: "Element") -> str:
        if field.tagname != "field":
            return f"{field.tagname}: {self._inline(field)}"
        name, body = _elements(field)
        return f"{name.astext()}: " + "\n".join(map(_shown, self.blocks(body)))

    def _inline(self, node: "Node") -> str:
        """Text of a node, footnotes at their marks."""
        from docutils import nodes

        if not isinstance(node, nodes.Element):
            return node.astext()
        kind = node.tagname
        if kind == "footnote_reference":
            note = self._notes.get(node.get("refid", ""), "")
            return f" (각주: {note})" if note else f"[{node.astext()}]"
        if kind == "citation_reference":
            return f"[{node.astext()}]"
        if kind == "problematic":
            return _UNKNOWN_ROLE.sub(
                lambda role: (role.group(1) or role.group(2) or "").rstrip(), _plain(node)
            )
        text = ""
        for child in node.children:
            if _kind(child) not in _LEFT_OUT:
                # Markup cannot touch a word: the space before a note's mark is no space.
                before = text.rstrip(" ") if _kind(child) == "footnote_reference" else text
                text = before + self._inline(child)
        return text


def _kind(node: "Node") -> str:
    return type(node).__name__


def _plain(node: "Node") -> str:
    return str(node.astext())


def _shown(block: Block) -> str:
    return block.line if isinstance(block, Heading) else block


def _elements(node: "Element") -> list["Element"]:
    """The children of a node that are no bare text."""
    from docutils import nodes

    return [child for child in node.children if isinstance(child, nodes.Element)]


def _is_inline(node: "Element") -> bool:
    """Whether a node holds text, not blocks."""
    from docutils import nodes

    return isinstance(node, nodes.TextElement)


def _is_title(node: "Element") -> bool:
    return node.tagname == "title"


def _is_metadata(field: "Element") -> bool:
    """Whether it is a field of the document that `_properties` reads."""
    if field.tagname != "field":
        return field.tagname in ("author", "authors", "date")
    name = field.children[0].astext()
    of_document = field.parent is not None and field.parent.tagname == "docinfo"
    return of_document and name in _AUTHOR_FIELDS | _DATE_FIELDS


def _unread(message: "Element") -> Iterator[str]:
    """What stands in a directive that docutils does not know, as Sphinx has many."""
    import textwrap

    source = message.children[-1]
    if "Unknown directive type" in message.children[0].astext() and len(message.children) > 1:
        text = textwrap.dedent(_DIRECTIVE_HEAD.sub("", source.astext() + "\n")).strip("\n")
        if text:
            yield text
