"""Filters are compared with a plain evaluation of the same rules in Python."""

import itertools
import random
import re
import unicodedata

import numpy as np
import pytest
from langchain_core.documents import Document

from kogemma_rag.filters import FilterError, compile_filter
from kogemma_rag.storage import Storage

NAMES = ["page", "title", 'a"b', "x.y", "p$.x", "'; DROP TABLE chunks; --", "한글", "tags"]
VALUES = [
    *(0, 1, 2, -3, 2.5, 1e300, 2**53 + 1, True, False, None),
    *("", "a", "A", "서울", "서울시", "50%", "a_b", "a*b", "[x]", "\\", '"', "1"),
    *("\ud7ff", "\ud7ffx", "\ue000", "\U0010ffff", "\U0010ffffx", "\U0010fffea", "서우"),
]

PATTERNS = [
    *("%", "서울%", "_", "a\\_b", "50\\%", "%x]", "\\\\", "서울", "a_b", "\ud7ff%", ""),
    *("\U0010ffff%", "\U0010fffe_", "[x%", "a*%"),
]


def kind_of(value):
    if value is None or isinstance(value, bool):
        return type(value)
    return "number" if isinstance(value, int | float) else type(value)


def plain(value):
    return value if isinstance(value, list) else [value]


def equal(one, other):
    return kind_of(one) == kind_of(other) and one == other


def like(value, pattern):
    if not isinstance(value, str):
        return False
    expression = "".join(
        {"%": ".*", "_": "."}.get(token, re.escape(token[-1]))
        for token in re.findall(r"\\.|.", pattern, re.DOTALL)
    )
    return re.fullmatch(expression, value, re.DOTALL) is not None


def holds(condition, metadata):
    return all(entry_holds(name, operand, metadata) for name, operand in condition.items())


def entry_holds(name, operand, metadata):
    if name == "$and":
        return all(holds(part, metadata) for part in operand)
    if name == "$or":
        return any(holds(part, metadata) for part in operand)
    if name == "$not":
        return not holds(operand, metadata)
    if not isinstance(operand, dict):
        operand = {"$eq": operand}
    return all(operator_holds(op, value, name, metadata) for op, value in operand.items())


def operator_holds(operator, operand, name, metadata):
    values = plain(metadata[name]) if name in metadata else []
    match operator:
        case "$not":
            return not entry_holds(name, operand, metadata)
        case "$exists":
            return (name in metadata) == operand
        case "$eq":
            return any(equal(value, operand) for value in values)
        case "$ne":
            return not any(equal(value, operand) for value in values)
        case "$in":
            return any(equal(value, one) for value in values for one in operand)
        case "$nin":
            return not any(equal(value, one) for value in values for one in operand)
        case "$like":
            return any(like(value, operand) for value in values)
    compared = [value for value in values if kind_of(value) == kind_of(operand)]
    compare = {
        "$gt": lambda value: value > operand,
        "$gte": lambda value: value >= operand,
        "$lt": lambda value: value < operand,
        "$lte": lambda value: value <= operand,
    }[operator]
    return any(compare(value) for value in compared)


def random_condition(rng, depth=2):
    name = rng.choice(NAMES)
    ordered = [value for value in VALUES if kind_of(value) in ("number", str)]
    choices = [
        lambda: {name: rng.choice(VALUES)},
        lambda: {name: {rng.choice(["$eq", "$ne"]): rng.choice(VALUES)}},
        lambda: {name: {rng.choice(["$in", "$nin"]): rng.sample(VALUES, rng.randrange(5))}},
        lambda: {name: {rng.choice(["$gt", "$gte", "$lt", "$lte"]): rng.choice(ordered)}},
        lambda: {name: {"$gte": rng.choice(ordered), "$lt": rng.choice(ordered)}},
        lambda: {name: {"$exists": rng.random() < 0.5}},
        lambda: {name: {"$like": rng.choice(PATTERNS)}},
        lambda: {name: {"$not": {"$eq": rng.choice(VALUES)}}},
    ]
    if depth:
        part = lambda: random_condition(rng, depth - 1)  # noqa: E731
        choices += [
            lambda: {"$and": [part(), part()]},
            lambda: {"$or": [part(), part()]},
            lambda: {"$not": part()},
            lambda: {"$or": [part(), part()], **part()},
        ]
    return rng.choice(choices)()


def random_metadata(rng):
    names = rng.sample(NAMES, rng.randrange(len(NAMES)))
    metadata = {name: rng.choice(VALUES) for name in names if name != "tags"}
    if "tags" in names:
        metadata["tags"] = rng.sample(VALUES, rng.randrange(4))
    return metadata


def store(metadatas):
    storage = Storage()
    documents = [
        Document(id=str(number), page_content="x", metadata=metadata)
        for number, metadata in enumerate(metadatas)
    ]
    with storage.transaction():
        storage.bind_embedder({}, 1)
        storage.add(documents, np.ones((len(documents), 1), np.float32))
    return storage


def test_equals_plain_evaluation():
    rng = random.Random(7)
    metadatas = [random_metadata(rng) for _ in range(120)]
    storage = store(metadatas)
    hits = 0
    for _ in range(600):
        condition = random_condition(rng)
        expected = [key for key, metadata in enumerate(metadatas, 1) if holds(condition, metadata)]
        assert storage.matching_keys(condition).tolist() == expected, condition
        later = storage.matching_keys(condition, after_key=70).tolist()
        assert later == [key for key in expected if key > 70], condition
        hits += 0 < len(expected) < len(metadatas)
    assert hits > 300  # the conditions tell documents apart


def test_deleted_and_replaced_metadata_is_gone():
    storage = store([{"page": 1}, {"page": 2}])
    with storage.transaction():
        storage.delete(["0"])
        storage.add(
            [Document(id="1", page_content="x", metadata={"page": 3})], np.ones((1, 1), np.float32)
        )
    assert not storage.matching_keys({"page": {"$in": [1, 2]}}).size
    assert storage.matching_keys({"page": 3}).tolist() == [3]


def test_composed_and_decomposed_hangul_are_the_same():
    storage = store([{unicodedata.normalize("NFD", "제목"): unicodedata.normalize("NFD", "서울")}])
    assert storage.matching_keys({"제목": "서울"}).tolist() == [1]
    decomposed = {
        unicodedata.normalize("NFD", "제목"): {"$like": unicodedata.normalize("NFD", "서%")}
    }
    assert storage.matching_keys(decomposed).tolist() == [1]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"page": {"$regex": "x"}}, "unknown operator '\\$regex' on 'page'"),
        ({"$nor": [{"page": 1}]}, "unknown operator '\\$nor'"),
        ({"$and": []}, "\\$and takes a list of filters"),
        ({"$or": {"page": 1}}, "\\$or takes a list of filters"),
        ({"$and": [{}]}, "at least one entry"),
        ({"$not": []}, "at least one entry"),
        ({"page": {}}, "the condition on 'page' is empty"),
        ({"page": {"$in": 3}}, "take a list of values"),
        ({"page": [1, 2]}, "for several values: \\$in"),
        ({"page": {"$gt": True}}, "takes a number or a text"),
        ({"page": {"$gt": None}}, "takes a number or a text"),
        ({"page": float("nan")}, "holds nan"),
        ({"page": 2**63}, "64 bits"),
        ({"page": {"$like": 3}}, "takes a text"),
        ({"page": {"$exists": 1}}, "True or False"),
        ({"page": {"$not": 1}}, "unknown operator '\\$not'"),
        ({"page": {"$in": list(range(10_001))}}, "at most 10000"),
    ],
)
def test_what_is_not_understood_is_refused(condition, message):
    with pytest.raises(FilterError, match=message):
        compile_filter(condition)


def test_deep_nesting_is_refused():
    condition = {"page": 1}
    for _ in itertools.repeat(None, 50):
        condition = {"$not": condition}
    with pytest.raises(FilterError, match="nested deeper than 20"):
        compile_filter(condition)


def test_no_name_or_value_reaches_the_sql():
    hostile = "') OR 1=1; DROP TABLE chunks; --"
    asked = []

    def select(sql, parameters):
        asked.append((sql, parameters))
        return np.arange(1, 3)

    parts = [{"$in": [hostile]}, {"$like": hostile}, {"$gt": hostile}, {"$ne": hostile}]
    condition = {"$and": [{hostile: part} for part in parts], "$or": [{hostile: hostile}]}
    compile_filter(condition)(select, 0)
    assert all(hostile not in sql for sql, _ in asked)
    assert sum(hostile in parameters for _, parameters in asked) == 6
