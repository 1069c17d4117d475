"""Markup that other formats hold, safely: HTML texts to blocks, XML bytes to trees.

In XML no entity is resolved, nothing is fetched, and trees are not huge.
"""

from typing import TYPE_CHECKING

from kogemma_rag.document_loaders.html import _blocks, _main_part, _merged
from kogemma_rag.document_loaders.sections import Block

if TYPE_CHECKING:
    from lxml.etree import XMLParser, _Element


def html_blocks(html: str) -> list[Block]:
    """The blocks that `HTMLLoader` reads in a page."""
    from bs4 import BeautifulSoup

    return list(_merged(_blocks(_main_part(BeautifulSoup(html, "lxml")))))


def parse_xml(data: bytes, *, recover: bool = False) -> "_Element":
    """The root of an XML document.

    Args:
        data: The document.
        recover: Read what is no well-formed XML as far as it goes.

    Raises:
        SyntaxError: If it is no XML.
    """
    from lxml import etree

    root = etree.fromstring(data, _parser(recover=recover))
    if root is None:
        raise SyntaxError("there is no element")
    return root


def _parser(*, recover: bool) -> "XMLParser":
    from lxml.etree import XMLParser

    return XMLParser(
        recover=recover,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
