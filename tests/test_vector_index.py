"""The FAISS cache against plain numpy, and its file against damage."""

import gc
import os
import stat
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from kogemma_rag.vector_index import VectorIndex

DIMENSION = 24


def unit_vectors(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def keys_of(*ranges):
    return np.concatenate([np.arange(*one, dtype=np.int64) for one in ranges])


def update(index, added=None, vectors=None, deleted=(), generation=1):
    blocks = [] if added is None else [(added, vectors)]
    index.update(added=blocks, deleted=np.array(deleted, np.int64), generation=generation)


def brute_force(vectors_by_key, query, k):
    scored = [(float(vector @ query), key) for key, vector in vectors_by_key.items()]
    return [key for _, key in sorted(scored, key=lambda one: -one[0])[:k]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vectors.faiss"


@pytest.mark.parametrize("saved", [False, True])
def test_equals_brute_force_through_adds_deletes_and_choices(path, saved):
    rng = np.random.default_rng(3)
    index = VectorIndex(path)
    vectors = unit_vectors(500)
    keys = keys_of((1, 301), (1001, 1201))
    model = dict(zip(keys.tolist(), vectors, strict=True))
    update(index, keys[:400], vectors[:400])
    if saved:
        index.save()
    dropped = [1, 5, 300, 1001, 7777]
    update(index, keys[400:], vectors[400:], dropped, 2)
    for key in dropped:
        model.pop(key, None)
    update(index, deleted=dropped, generation=3)  # once more is no error
    assert len(index) == len(model) == 496
    for query in unit_vectors(20, seed=1):
        found, products = index.search(query, 7)
        assert found.tolist() == brute_force(model, query, 7)
        np.testing.assert_allclose(products, [model[key] @ query for key in found.tolist()], 1e-5)
        chosen = rng.choice(np.append(keys, [5000, 9**9]), 40, replace=False)
        gc.collect()  # FAISS must keep the bitmap that it was given alive
        found, _ = index.search(query, 10, keys=chosen)
        some = {key: vector for key, vector in model.items() if key in chosen}
        assert found.tolist() == brute_force(some, query, 10)
    assert len(index.search(unit_vectors(1)[0], 9999)[0]) == 496
    assert not len(index.search(unit_vectors(1)[0], 5, keys=np.empty(0, np.int64))[0])


def test_an_empty_index_finds_nothing(path):
    index = VectorIndex(path)
    assert not len(index.search(unit_vectors(1)[0], 5)[0])
    index.save()
    assert not path.exists()


def test_a_saved_index_is_the_same_when_opened(path):
    index = VectorIndex(path)
    vectors = unit_vectors(300)
    update(index, keys_of((1, 301)), vectors, generation=41)
    update(index, deleted=[7], generation=42)
    index.save()
    again = VectorIndex(path)
    assert again.generation == index.generation == 42
    assert len(again) == 299
    keys, blocks = zip(*again.blocks(), strict=True)
    assert np.concatenate(keys).tolist() == [key for key in range(1, 301) if key != 7]
    assert np.concatenate(blocks).tobytes() == np.delete(vectors, 6, axis=0).tobytes()
    assert not list(path.parent.glob("*.tmp"))


def test_the_file_is_mapped_not_read(path):
    index = VectorIndex(path)
    update(index, keys_of((1, 301)), unit_vectors(300))
    index.save()
    assert faiss.downcast_index(index._base.index).codes.is_owned is False


def test_the_file_is_on_disk_before_it_takes_the_old_ones_place(path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace

    def seen_fsync(descriptor):
        done.append(("fsync", stat.S_ISDIR(os.fstat(descriptor).st_mode)))
        fsync(descriptor)

    def seen_replace(old, new):
        done.append(("replace", old.stat().st_size > 300 * DIMENSION * 4))
        return replace(old, new)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    index = VectorIndex(path)
    update(index, keys_of((1, 301)), unit_vectors(300))
    index.save()
    assert done == [("fsync", False), ("replace", True), ("fsync", True)]


def test_every_cut_and_every_bit_flip_is_detected(path):
    index = VectorIndex(path)
    update(index, keys_of((1, 31)), unit_vectors(30))
    index.save()
    assert index.check_file() is None
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    places = {*rng.integers(0, len(sound), 150).tolist(), *range(len(sound) - 28, len(sound))}
    for place in places:
        flipped = bytearray(sound)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        damaged = VectorIndex(path)
        assert (damaged.generation, len(damaged)) == (0, 0)
        assert "damaged" in damaged.check_file()
    for length in {*rng.integers(0, len(sound), 60).tolist(), 0, 27, 28}:
        path.write_bytes(sound[:length])
        assert VectorIndex(path).generation == 0
        assert VectorIndex(path).check_file()


def test_small_changes_are_not_worth_a_new_file(path):
    index = VectorIndex(path)
    update(index, keys_of((1, 257)), unit_vectors(256))
    assert not index.worth_saving()
    update(index, keys_of((257, 259)), unit_vectors(2))
    assert index.worth_saving()
    index.save()
    assert not index.worth_saving()
    assert not VectorIndex(None).worth_saving()


def test_without_faiss_the_extras_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"kogemma-rag\[cpu\].*kogemma-rag\[gpu\]"):
        update(VectorIndex(), keys_of((1, 2)), unit_vectors(1))
