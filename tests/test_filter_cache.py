"""Answers are kept, extended by later keys, and forgotten when they are many."""

import numpy as np
import pytest
from langchain_core.documents import Document

from kogemma_rag import filter_cache
from kogemma_rag.filter_cache import FilterCache
from kogemma_rag.filters import FilterError
from kogemma_rag.storage import Storage


@pytest.fixture
def storage():
    return Storage()


def add(storage, *values):
    first = storage.last_key()
    documents = [
        Document("글", id=str(first + place), metadata={"n": n}) for place, n in enumerate(values)
    ]
    with storage.transaction():
        storage.bind_embedder({"name": "m"}, 2)
        storage.add(documents, np.ones((len(values), 2), np.float32))


def test_later_keys_are_added_and_only_they_are_asked_for(storage, monkeypatch):
    cache, asked = FilterCache(storage), []
    matching_keys = storage.matching_keys

    def counted(condition, *, after_key=0):
        asked.append(after_key)
        return matching_keys(condition, after_key=after_key)

    monkeypatch.setattr(storage, "matching_keys", counted)
    add(storage, 1, 2, 1)
    assert cache.keys({"n": 1}).tolist() == [1, 3]
    assert cache.keys({"n": 1}).tolist() == [1, 3]
    add(storage, 2, 1)
    assert cache.keys({"n": 1}).tolist() == [1, 3, 5]
    assert cache.keys({"n": True}).tolist() == []  # not the same filter
    assert asked == [0, 3, 0]


def test_they_are_forgotten_when_they_are_many(storage, monkeypatch):
    monkeypatch.setattr(filter_cache, "_KEPT_FILTERS", 3)
    monkeypatch.setattr(filter_cache, "_KEPT_KEYS", 5)
    cache = FilterCache(storage)
    add(storage, *[7] * 4)
    for n in range(10):
        cache.keys({"n": n})
    assert len(cache._known) == 3
    assert cache.keys({"n": 7}).tolist() == [1, 2, 3, 4]
    cache.keys({"n": {"$gte": 0}})  # four more
    assert list(cache._known) == ["{'n': {'$gte': 0}}"]


def test_what_is_not_understood_is_refused_by_an_empty_storage_too(storage):
    with pytest.raises(FilterError):
        FilterCache(storage).keys({"n": {"$near": 1}})
