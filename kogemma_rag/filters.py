"""A filter on metadata in, a set of chunk keys out: an SQL query over the table `fields`.

Knows the shape of that table and nothing else. Values only ever travel as bound parameters.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Query = tuple[str, list[Any]]
"""SQL that selects keys, and its bound parameters."""

# Kinds keep True apart from 1, and text apart from numbers, where SQLite would not.
NULL, BOOLEAN, NUMBER, TEXT, OTHER = range(5)

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_MAX_DEPTH = 20
_MAX_VALUES = 10_000
_FIELD = "SELECT key FROM fields WHERE name = ?"


_MOST_PARTS = 400  # SQLite joins at most 500 SELECTs


class FilterError(ValueError):
    """A metadata filter that is not understood; the message says where and what is possible."""


def field_rows(metadata: Mapping[str, Any]) -> list[tuple[str, int, Any]]:
    """What is searchable of a chunk's metadata: rows of (name, kind, value), no two the same.

    Names and texts are in NFC. A list counts as each of its plain elements; what is inside a
    nested mapping cannot be searched, only that the field exists.

    Raises:
        ValueError: If a whole number does not fit into 64 bits.
    """
    rows: dict[tuple[str, int, Any], None] = {}
    for name, value in metadata.items():
        values = value if isinstance(value, list | tuple) else [value]
        kinds = [_typed(element) for element in values] or [(OTHER, 0)]
        rows.update(dict.fromkeys((nfc(name), kind, stored) for kind, stored in kinds))
    return list(rows)


def compile_filter(condition: Mapping[str, Any]) -> Query:
    """Turn a filter into a query for the keys of the chunks it holds for.

    Fields are compared by `$eq $ne $in $nin $gt $gte $lt $lte $like $exists $not`; conditions are
    joined by `$and $or $not`; several in one mapping must all hold. A number never equals a text
    or a boolean. A list matches when one of its elements does. `$ne`, `$nin` and `$not` are the
    exact opposites of `$eq`, `$in` and the condition: chunks without the field match. In `$like`,
    `%` is any text and `_` one character, a backslash takes their meaning away, case counts. A
    field whose name begins with "$" cannot be asked for.

    Raises:
        FilterError: If an operator is unknown or its operand has the wrong type.
    """
    return _all_of([_entry(name, operand, _MAX_DEPTH) for name, operand in condition.items()])


def nfc(text: str) -> str:
    """The text in Unicode's composed form, in which all text is compared."""
    return unicodedata.normalize("NFC", text)


def _entry(name: str, operand: Any, depth: int) -> Query:
    if depth == 0:
        raise FilterError(f"the filter is nested deeper than {_MAX_DEPTH} levels")
    if name in ("$and", "$or"):
        if not isinstance(operand, Sequence) or isinstance(operand, str) or not operand:
            raise FilterError(f"{name} takes a list of filters, not {operand!r}")
        parts = [_condition(part, depth - 1) for part in operand]
        return _all_of(parts) if name == "$and" else _joined(" UNION ", parts)
    if name == "$not":
        return _negated(_condition(operand, depth - 1))
    if not isinstance(name, str) or name.startswith("$"):
        raise FilterError(
            f"unknown operator {name!r}; between conditions there are $and, $or and $not"
        )
    if isinstance(operand, Mapping):
        return _field(nfc(name), operand, depth - 1)
    return _equal(nfc(name), operand)


def _condition(condition: Any, depth: int) -> Query:
    if not isinstance(condition, Mapping) or not condition:
        raise FilterError(f"a filter is a mapping with at least one entry, not {condition!r}")
    return _all_of([_entry(name, operand, depth) for name, operand in condition.items()])


def _field(name: str, operators: Mapping[str, Any], depth: int) -> Query:
    if not operators:
        raise FilterError(f"the condition on {name!r} is empty")
    if depth == 0:
        raise FilterError(f"the filter is nested deeper than {_MAX_DEPTH} levels")
    parts = []
    for operator, operand in operators.items():
        if operator == "$not" and isinstance(operand, Mapping):
            parts.append(_negated(_field(name, operand, depth - 1)))
        elif operator in _OPERATORS:
            parts.append(_OPERATORS[operator](name, operand))
        elif operator in _COMPARISONS:
            parts.append(_compared(name, operator, operand))
        else:
            known = ", ".join([*_OPERATORS, *_COMPARISONS, "$not"])
            raise FilterError(f"unknown operator {operator!r} on {name!r}; there are {known}")
    return _all_of(parts)


def _equal(name: str, operand: Any) -> Query:
    kind, value = _operand(name, operand)
    return f"{_FIELD} AND kind = ? AND value = ?", [name, kind, value]


def _member(name: str, operand: Any) -> Query:
    if not isinstance(operand, list | tuple | set | frozenset):
        raise FilterError(f"$in and $nin on {name!r} take a list of values, not {operand!r}")
    if len(operand) > _MAX_VALUES:
        raise FilterError(f"{len(operand)} values for {name!r}; at most {_MAX_VALUES} are allowed")
    by_kind: dict[int, list[Any]] = {}
    for element in operand:
        kind, value = _operand(name, element)
        by_kind.setdefault(kind, []).append(value)
    parts = [
        (
            f"{_FIELD} AND kind = ? AND value IN ({','.join('?' * len(values))})",
            [name, kind, *values],
        )
        for kind, values in by_kind.items()
    ]
    return _joined(" UNION ", parts) if parts else ("SELECT key FROM fields WHERE 0", [])


def _compared(name: str, operator: str, operand: Any) -> Query:
    kind, value = _operand(name, operand)
    if kind not in (NUMBER, TEXT):
        raise FilterError(f"{operator} on {name!r} takes a number or a text, not {operand!r}")
    return f"{_FIELD} AND kind = ? AND value {_COMPARISONS[operator]} ?", [name, kind, value]


def _like(name: str, operand: Any) -> Query:
    if not isinstance(operand, str):
        raise FilterError(f"$like on {name!r} takes a text, not {operand!r}")
    return f"{_FIELD} AND kind = ? AND value GLOB ?", [name, TEXT, _glob(nfc(operand))]


def _exists(name: str, operand: Any) -> Query:
    if not isinstance(operand, bool):
        raise FilterError(f"$exists on {name!r} takes True or False, not {operand!r}")
    there: Query = ("SELECT DISTINCT key FROM fields WHERE name = ?", [name])
    return there if operand else _negated(there)


_OPERATORS: dict[str, Callable[[str, Any], Query]] = {
    "$eq": _equal,
    "$ne": lambda name, operand: _negated(_equal(name, operand)),
    "$in": _member,
    "$nin": lambda name, operand: _negated(_member(name, operand)),
    "$like": _like,
    "$exists": _exists,
}


def _glob(pattern: str) -> str:
    """An SQL LIKE pattern as a GLOB pattern, which is the one that tells cases apart."""
    pieces = []
    characters = iter(pattern)
    for character in characters:
        wildcard = {"%": "*", "_": "?"}.get(character)
        literal = next(characters, "\\") if character == "\\" else character
        pieces.append(wildcard or (f"[{literal}]" if literal in "*?[" else literal))
    return "".join(pieces)


def _typed(value: Any) -> tuple[int, Any]:
    if value is None:
        return NULL, 0
    if isinstance(value, bool):
        return BOOLEAN, int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"the whole number {value} does not fit into 64 bits; give it as text")
    if isinstance(value, int | float):
        return NUMBER, value
    if isinstance(value, str):
        return TEXT, nfc(value)
    return OTHER, 0


def _operand(name: str, operand: Any) -> tuple[int, Any]:
    try:
        kind, value = _typed(operand)
    except ValueError as error:
        raise FilterError(f"in the condition on {name!r}: {error}") from error
    if kind == OTHER or (isinstance(value, float) and math.isnan(value)):
        raise FilterError(
            f"the condition on {name!r} holds {operand!r}; a value is a text, number, True, False "
            "or None (for several values: $in)"
        )
    return kind, value


def _all_of(parts: Sequence[Query]) -> Query:
    return _joined(" INTERSECT ", parts)


def _joined(operator: str, parts: Sequence[Query]) -> Query:
    if len(parts) == 1:
        return parts[0]
    if len(parts) > _MOST_PARTS:
        raise FilterError(
            f"a filter joins {len(parts)} conditions, at most {_MOST_PARTS} can be; use $in"
        )
    sql = operator.join(f"SELECT key FROM ({part})" for part, _ in parts)  # noqa: S608 - parts of ours
    return sql, [value for _, values in parts for value in values]


def _negated(query: Query) -> Query:
    sql, values = query
    return f"SELECT key FROM chunks EXCEPT SELECT key FROM ({sql})", values  # noqa: S608 - ours
