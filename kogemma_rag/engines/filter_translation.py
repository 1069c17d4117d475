"""A metadata filter in, a condition of a database out, in whatever dialect it speaks.

What a filter may say, and what it means, stands in `kogemma_rag.filters.compile_filter`, which
also refuses what is wrong; here it is only taken apart.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from kogemma_rag.filters import compile_filter, nfc

Condition = TypeVar("Condition")

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Dialect(Protocol[Condition]):
    """How one database says what a filter is made of. Names and texts are NFC."""

    def member(self, name: str, values: Sequence[Any]) -> Condition:
        """A field, or an element of it, is one of some texts, numbers, booleans and None."""
        ...

    def compared(self, name: str, operator: str, value: Any) -> Condition:
        """A field, or an element of it, is above or below a number or a text.

        Texts stand in the order of their code points. `operator` is > >= < or <=.
        """
        ...

    def like(self, name: str, pattern: str) -> Condition:
        """A text is like a pattern of % and _; a backslash takes their meaning away."""
        ...

    def exists(self, name: str) -> Condition:
        """The field is there."""
        ...

    def all_of(self, parts: Sequence[Condition]) -> Condition:
        """All hold."""
        ...

    def any_of(self, parts: Sequence[Condition]) -> Condition:
        """One holds at least; of none, none does."""
        ...

    def negated(self, part: Condition) -> Condition:
        """The exact opposite."""
        ...


def translated(filter: Mapping[str, Any], dialect: Dialect[Condition]) -> Condition:
    """Say a filter in a dialect.

    Raises:
        FilterError: If the filter is not understood, or the dialect has no words for it.
    """
    compile_filter(filter)
    return _condition(filter, dialect)


def _condition(filter: Mapping[str, Any], dialect: Dialect[Condition]) -> Condition:
    parts = []
    for name, operand in filter.items():
        if name in ("$and", "$or"):
            inner = [_condition(part, dialect) for part in operand]
            parts.append(dialect.all_of(inner) if name == "$and" else dialect.any_of(inner))
        elif name == "$not":
            parts.append(dialect.negated(_condition(operand, dialect)))
        elif isinstance(operand, Mapping):
            parts.append(_field(nfc(name), operand, dialect))
        else:
            parts.append(_member(nfc(name), [operand], dialect))
    return dialect.all_of(parts)


def _field(name: str, operators: Mapping[str, Any], dialect: Dialect[Condition]) -> Condition:
    return dialect.all_of(
        [_operator(name, operator, operand, dialect) for operator, operand in operators.items()]
    )


def _operator(name: str, operator: str, operand: Any, dialect: Dialect[Condition]) -> Condition:
    said: dict[str, Callable[[], Condition]] = {
        "$eq": lambda: _member(name, [operand], dialect),
        "$ne": lambda: dialect.negated(_member(name, [operand], dialect)),
        "$in": lambda: _member(name, list(operand), dialect),
        "$nin": lambda: dialect.negated(_member(name, list(operand), dialect)),
        "$not": lambda: dialect.negated(_field(name, operand, dialect)),
        "$like": lambda: dialect.like(name, nfc(operand)),
        "$exists": lambda: (
            dialect.exists(name) if operand else dialect.negated(dialect.exists(name))
        ),
    }
    if operator in _COMPARISONS:
        value = nfc(operand) if isinstance(operand, str) else operand
        return dialect.compared(name, _COMPARISONS[operator], value)
    return said[operator]()


def _member(name: str, values: Sequence[Any], dialect: Dialect[Condition]) -> Condition:
    # No stored number is infinite.
    possible = [value for value in values if not (isinstance(value, float) and math.isinf(value))]
    plain = [nfc(value) if isinstance(value, str) else value for value in possible]
    return dialect.member(name, plain) if plain else dialect.any_of([])
