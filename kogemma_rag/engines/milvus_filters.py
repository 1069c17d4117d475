"""Filters as Milvus expressions over the array `facets` and the JSON field `metadata`.

Equality, membership and presence ask for hashes in `facets`, so nothing of a filter stands in the
expression. Only comparisons and patterns carry names and values, quoted.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kogemma_rag.filters import NUMBER, TEXT, FilterError, field_values

_CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")


def facets(metadata: Mapping[str, Any]) -> list[str]:
    """Hashes of what can be searched of metadata: fields, plain numbers and texts, values."""
    found = set()
    for name, kind, value, in_list in field_values(metadata):
        found |= {_hash(name), _hash(name, kind, value)}
        if kind in (NUMBER, TEXT) and not in_list:
            found.add(_hash(name, kind))
    return sorted(found)


class MilvusDialect:
    """See `Dialect`; a list is not compared by size, nor with patterns."""

    def member(self, name: str, values: Sequence[Any]) -> str:
        """See `Dialect.member`."""
        fields = [field_values({name: value})[0] for value in values]
        return _any_facet([_hash(name, kind, plain) for _, kind, plain, _ in fields])

    def compared(self, name: str, operator: str, value: Any) -> str:
        """See `Dialect.compared`."""
        if isinstance(value, str):
            return self._plain(name, TEXT, f"{operator} {_quoted(value)}")
        if abs(value) == float("inf"):
            everything = (value > 0) == operator.startswith("<")
            return _any_facet([_hash(name, NUMBER)]) if everything else self.any_of([])
        return self._plain(name, NUMBER, f"{operator} {value!r}")

    def like(self, name: str, pattern: str) -> str:
        """See `Dialect.like`."""
        if "\\" in pattern:
            raise FilterError(f"Milvus has no way to say a literal % or _, as in {pattern!r}")
        return self._plain(name, TEXT, f"like {_quoted(pattern)}")

    def exists(self, name: str) -> str:
        """See `Dialect.exists`."""
        return _any_facet([_hash(name)])

    def all_of(self, parts: Sequence[str]) -> str:
        """See `Dialect.all_of`."""
        return " and ".join(f"({part})" for part in parts)

    def any_of(self, parts: Sequence[str]) -> str:
        """See `Dialect.any_of`."""
        return " or ".join(f"({part})" for part in parts) or 'pk == ""'

    def negated(self, part: str) -> str:
        """See `Dialect.negated`."""
        return f"not ({part})"

    def _plain(self, name: str, kind: int, comparison: str) -> str:
        """A comparison of one plain value: unknown where there is none, which `not` would keep."""
        return f"{_any_facet([_hash(name, kind)])} and metadata[{_quoted(name)}] {comparison}"


def id_list(hashes: Sequence[str]) -> str:
    """A list of hashes, as an expression."""
    return json.dumps(list(hashes))


def _any_facet(hashes: Sequence[str]) -> str:
    return f"array_contains_any(facets, {id_list(hashes)})"


def _hash(name: str, kind: int | None = None, *value: Any) -> str:
    plain = [int(one) if isinstance(one, float) and one.is_integer() else one for one in value]
    content = json.dumps([name, kind, *plain])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _quoted(text: str) -> str:
    if _CONTROL.search(text):
        raise FilterError(
            f"Milvus compares no texts with control characters, as in {text!r}; use $eq or $in"
        )
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
