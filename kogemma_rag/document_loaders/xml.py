"""XML bytes in, trees out, safely: no entity is resolved, nothing fetched, and no tree is huge."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element

SAFELY: Mapping[str, bool] = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
"""Options of lxml's parsers and of `iterparse`."""


def parse_xml(data: bytes, *, recover: bool = False) -> "_Element":
    """The root of an XML document.

    Args:
        data: The document.
        recover: Read what is no well-formed XML as far as it goes.

    Raises:
        SyntaxError: If it is no XML.
    """
    from lxml import etree

    root = etree.fromstring(data, etree.XMLParser(recover=recover, **SAFELY))
    if root is None:
        raise SyntaxError("there is no element")
    return root
