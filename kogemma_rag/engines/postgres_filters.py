"""Filters as conditions on the column `facets`: {field: [its plain values]}, as JSONB.

Values only ever travel as bound parameters.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kogemma_rag.filters import BOOLEAN, NULL, OTHER, field_values

Sql = tuple[str, list[Any]]
"""A condition and its parameters."""

# PostgreSQL's texts hold no NUL; a character of private use tells where one was.
_MARK = "\ue000"
_NUL = f"{_MARK}0"
_MARKED = re.compile(f"{_MARK}[0{_MARK}]")

_SURROGATE = re.compile("[\ud800-\udfff]")

_ELEMENTS = "jsonb_array_elements(facets -> %s) AS element"


def storable(text: str) -> str:
    """A text as one that PostgreSQL can hold."""
    return text.replace(_MARK, _MARK * 2).replace("\0", _NUL)


def stored(text: str) -> str:
    """The text that `storable` was given."""
    return _MARKED.sub(lambda found: "\0" if found.group() == _NUL else _MARK, text)


def storable_ids(ids: Iterable[str]) -> list[str]:
    """Ids without those that cannot be there: lone surrogates have no encoding."""
    return [storable(id_) for id_ in ids if not _SURROGATE.search(id_)]


def facets(metadata: Mapping[str, Any]) -> str:
    """What can be searched of metadata, as JSON."""
    found: dict[str, list[Any]] = {}
    for name, kind, value, _ in field_values(metadata):
        values = found.setdefault(storable(name), [])
        if kind != OTHER:
            values.append(_plain(kind, value))
    return json.dumps(found, ensure_ascii=False)


def _plain(kind: int, value: Any) -> Any:
    if kind == NULL:
        return None
    return bool(value) if kind == BOOLEAN else _storable_value(value)


def _storable_value(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


class PostgresDialect:
    """See `Dialect`."""

    def member(self, name: str, values: Sequence[Any]) -> Sql:
        """See `Dialect.member`."""
        texts = [json.dumps(_storable_value(value), ensure_ascii=False) for value in values]
        if len(texts) == 1:  # what an index can find
            one = json.dumps({storable(name): [_storable_value(values[0])]}, ensure_ascii=False)
            return "facets @> %s::jsonb", [one]
        condition = "element = ANY(%s::jsonb[])"
        return self._element(name, condition, texts)

    def compared(self, name: str, operator: str, value: Any) -> Sql:
        """See `Dialect.compared`."""
        if isinstance(value, str):
            condition = (
                "jsonb_typeof(element) = 'string' "
                f"AND (element #>> '{{}}') COLLATE \"C\" {operator} %s"
            )
            return self._element(name, condition, storable(value))
        # Only CASE says what is computed first, and a text is no number.
        condition = (
            "CASE WHEN jsonb_typeof(element) = 'number' "
            f"THEN element::numeric {operator} %s::numeric ELSE FALSE END"
        )
        return self._element(name, condition, repr(value))

    def like(self, name: str, pattern: str) -> Sql:
        """See `Dialect.like`."""
        condition = (
            "jsonb_typeof(element) = 'string' "
            "AND (element #>> '{}') COLLATE \"C\" LIKE %s ESCAPE E'\\\\'"
        )
        return self._element(name, condition, storable(_whole(pattern)))

    def exists(self, name: str) -> Sql:
        """See `Dialect.exists`."""
        return "facets -> %s IS NOT NULL", [storable(name)]

    def all_of(self, parts: Sequence[Sql]) -> Sql:
        """See `Dialect.all_of`."""
        return _joined(" AND ", parts)

    def any_of(self, parts: Sequence[Sql]) -> Sql:
        """See `Dialect.any_of`."""
        return _joined(" OR ", parts) if parts else ("FALSE", [])

    def negated(self, part: Sql) -> Sql:
        """See `Dialect.negated`."""
        condition, parameters = part
        return f"NOT ({condition})", parameters

    def _element(self, name: str, condition: str, value: Any) -> Sql:
        sql = f"EXISTS (SELECT FROM {_ELEMENTS} WHERE {condition})"
        return sql, [storable(name), value]


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    sql = word.join(f"({condition})" for condition, _ in parts)
    return sql, [parameter for _, parameters in parts for parameter in parameters]


def _whole(pattern: str) -> str:
    """The pattern; a backslash at its end, which PostgreSQL refuses, as the literal it is."""
    backslashes = len(pattern) - len(pattern.rstrip("\\"))
    return pattern + "\\" * (backslashes % 2)
