"""A filter on metadata in, chunk keys out: SQL queries over the table `fields`, joined here.

Knows the shape of that table and nothing else. Values only ever travel as bound parameters.
"""

import math
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
"""Ascending, none twice."""
Select = Callable[[str, Sequence[Any]], Keys]
"""Runs an SQL query for keys, with its bound parameters."""
Filter = Callable[[Select, int], Keys]
"""The keys above a given one that a filter holds for."""

# Kinds keep True apart from 1, and text apart from numbers, where SQLite would not.
NULL, BOOLEAN, NUMBER, TEXT, OTHER = range(5)
_IN_LIST = 5  # is added to the kind of a list's element in the table

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_MAX_DEPTH = 20
_MAX_VALUES = 10_000
_MAX_PARTS = 1_000


class FilterError(ValueError):
    """A metadata filter that is not understood; the message says where and what is possible."""


def field_values(metadata: Mapping[str, Any]) -> list[tuple[str, int, Any, bool]]:
    """What is searchable of metadata: (name, kind, value, whether in a list), no two the same.

    Names and texts are in NFC. A list counts as each of its plain elements; what is inside a
    nested mapping cannot be searched, only that the field exists.

    Raises:
        ValueError: If a whole number does not fit into 64 bits.
    """
    found: dict[tuple[str, int, Any, bool], None] = {}
    for name, value in metadata.items():
        in_list = isinstance(value, list | tuple)
        kinds = [_typed(element) for element in (value if in_list else [value])] or [(OTHER, 0)]
        found.update(dict.fromkeys((nfc(name), kind, plain, in_list) for kind, plain in kinds))
    return list(found)


def field_rows(metadata: Mapping[str, Any]) -> list[tuple[str, int, Any]]:
    """What `field_values` finds as the table `fields` holds it: rows of (name, kind, value)."""
    return [
        (name, kind + _IN_LIST if in_list else kind, value)
        for name, kind, value, in_list in field_values(metadata)
    ]


def compile_filter(condition: Mapping[str, Any]) -> Filter:
    """Turn a filter into what finds the keys of the chunks it holds for.

    Fields are compared by `$eq $ne $in $nin $gt $gte $lt $lte $like $exists $not`; conditions are
    joined by `$and $or $not`; several in one mapping must all hold. A number never equals a text
    or a boolean. A list matches when one of its elements does. `$ne`, `$nin` and `$not` are the
    exact opposites of `$eq`, `$in` and the condition: chunks without the field match. In `$like`,
    `%` is any text and `_` one character, a backslash takes their meaning away, case counts. A
    field whose name begins with "$" cannot be asked for.

    Returns:
        A function of what runs the queries and of a key. Keys grow: what was found earlier is
        brought up to date by asking for those above the last key of then.

    Raises:
        FilterError: If an operator is unknown or its operand has the wrong type.
    """
    return _condition(condition, _MAX_DEPTH)


def ascending(keys: NDArray[np.int64]) -> Keys:
    """The keys in order, each once."""
    if np.all(keys[1:] > keys[:-1]):
        return keys
    ordered = np.sort(keys)  # numpy.unique makes a hash table first: forty times as slow
    first = np.ones(len(ordered), np.bool_)
    np.greater(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def nfc(text: str) -> str:
    """The text in Unicode's composed form, in which all text is compared."""
    return unicodedata.normalize("NFC", text)


def _entry(name: str, operand: Any, depth: int) -> Filter:
    if depth == 0:
        raise FilterError(f"the filter is nested deeper than {_MAX_DEPTH} levels")
    if name in ("$and", "$or"):
        if not isinstance(operand, Sequence) or isinstance(operand, str) or not operand:
            raise FilterError(f"{name} takes a list of filters, not {operand!r}")
        if len(operand) > _MAX_PARTS:
            raise FilterError(
                f"{name} joins {len(operand)} conditions, at most {_MAX_PARTS} can be; use $in"
            )
        parts = [_condition(part, depth - 1) for part in operand]
        return _all_of(parts) if name == "$and" else _any_of(parts)
    if name == "$not":
        return _negated(_condition(operand, depth - 1))
    if not isinstance(name, str) or name.startswith("$"):
        raise FilterError(
            f"unknown operator {name!r}; between conditions there are $and, $or and $not"
        )
    if isinstance(operand, Mapping):
        return _field(nfc(name), operand, depth - 1)
    return _equal(nfc(name), operand)


def _condition(condition: Any, depth: int) -> Filter:
    if not isinstance(condition, Mapping) or not condition:
        raise FilterError(f"a filter is a mapping with at least one entry, not {condition!r}")
    return _all_of([_entry(name, operand, depth) for name, operand in condition.items()])


def _field(name: str, operators: Mapping[str, Any], depth: int) -> Filter:
    if not operators:
        raise FilterError(f"the condition on {name!r} is empty")
    if depth == 0:
        raise FilterError(f"the filter is nested deeper than {_MAX_DEPTH} levels")
    parts, comparisons = [], {}
    for operator, operand in operators.items():
        if operator == "$not" and isinstance(operand, Mapping):
            parts.append(_negated(_field(name, operand, depth - 1)))
        elif operator in _OPERATORS:
            parts.append(_OPERATORS[operator](name, operand))
        elif operator in _COMPARISONS:
            comparisons[operator] = operand
        else:
            known = ", ".join([*_OPERATORS, *_COMPARISONS, "$not"])
            raise FilterError(f"unknown operator {operator!r} on {name!r}; there are {known}")
    return _all_of([*parts, _compared(name, comparisons)] if comparisons else parts)


def _equal(name: str, operand: Any) -> Filter:
    kind, value = _operand(name, operand)
    return _with(name, kind, "value = ?", value)


def _member(name: str, operand: Any) -> Filter:
    if not isinstance(operand, list | tuple | set | frozenset):
        raise FilterError(f"$in and $nin on {name!r} take a list of values, not {operand!r}")
    if len(operand) > _MAX_VALUES:
        raise FilterError(f"{len(operand)} values for {name!r}; at most {_MAX_VALUES} are allowed")
    by_kind: dict[int, list[Any]] = {}
    for element in operand:
        kind, value = _operand(name, element)
        by_kind.setdefault(kind, []).append(value)
    parts = [
        _with(name, kind, f"value IN ({','.join('?' * len(values))})", *values)
        for kind, values in by_kind.items()
    ]
    return _any_of(parts)


def _compared(name: str, comparisons: Mapping[str, Any]) -> Filter:
    """A single value must pass all of them; in a list each may be passed by another element."""
    conditions, kinds, values = [], [], []
    for operator, operand in comparisons.items():
        kind, value = _operand(name, operand)
        if kind not in (NUMBER, TEXT):
            raise FilterError(f"{operator} on {name!r} takes a number or a text, not {operand!r}")
        conditions.append(f"value {_COMPARISONS[operator]} ?")
        kinds.append(kind)
        values.append(value)
    of_kind = "fields WHERE name = ? AND kind = ? AND"
    lists = _all_of(
        [
            _selected(f"{of_kind} {condition}", name, kind + _IN_LIST, value)
            for condition, kind, value in zip(conditions, kinds, values, strict=True)
        ]
    )
    if len(set(kinds)) > 1:
        return lists  # no value is both a number and a text
    single = _selected(f"{of_kind} {' AND '.join(conditions)}", name, kinds[0], *values)
    return _any_of([single, lists])


def _like(name: str, operand: Any) -> Filter:
    if not isinstance(operand, str):
        raise FilterError(f"$like on {name!r} takes a text, not {operand!r}")
    pattern = nfc(operand)
    start = re.split(r"[%_\\]", pattern, maxsplit=1)[0]
    if not start or ord(start[-1]) == sys.maxunicode:
        return _with(name, TEXT, "value GLOB ?", _glob(pattern))
    # The texts that begin so stand together in the table.
    last = ord(start[-1]) + 1
    end = start[:-1] + chr(0xE000 if last == 0xD800 else last)  # between are no characters
    return _with(
        name, TEXT, "value >= ? AND value < ? AND value GLOB ?", start, end, _glob(pattern)
    )


def _exists(name: str, operand: Any) -> Filter:
    if not isinstance(operand, bool):
        raise FilterError(f"$exists on {name!r} takes True or False, not {operand!r}")
    there = _selected("fields WHERE name = ?", name)
    return there if operand else _negated(there)


_OPERATORS: dict[str, Callable[[str, Any], Filter]] = {
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


def _with(name: str, kind: int, condition: str, *values: Any) -> Filter:
    rows = f"fields WHERE name = ? AND kind IN (?, ?) AND {condition}"
    return _selected(rows, name, kind, kind + _IN_LIST, *values)


def _selected(rows: str, *values: Any) -> Filter:
    sql = f"SELECT key FROM {rows} AND key > ?"  # noqa: S608 - every value is a parameter
    return lambda select, after_key: select(sql, [*values, after_key])


# SQLite joins sets of rows by sorting them anew: ten times as slow and more.
def _all_of(parts: Sequence[Filter]) -> Filter:
    if len(parts) == 1:
        return parts[0]
    return lambda select, after_key: reduce(
        _intersection, (part(select, after_key) for part in parts)
    )


def _any_of(parts: Sequence[Filter]) -> Filter:
    def found(select: Select, after_key: int) -> Keys:
        keys = [part(select, after_key) for part in parts]
        return ascending(np.concatenate([np.zeros(0, np.int64), *keys]))

    return found


def _negated(part: Filter) -> Filter:
    def found(select: Select, after_key: int) -> Keys:
        # All keys stand in a small index, those above a key together with the texts.
        condition, values = (" WHERE key > ?", [after_key]) if after_key else ("", [])
        keys = select(f"SELECT key FROM chunks{condition}", values)  # noqa: S608 - ours
        return keys[~np.isin(keys, part(select, after_key), assume_unique=True)]

    return found


def _intersection(one: Keys, other: Keys) -> Keys:
    return one[np.isin(one, other, assume_unique=True)]
