"""Against numpy: every search equals brute force where it is exact, and nearly where compressed."""

import dataclasses
import logging
import os
import stat
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kogemma_rag import vector_index
from kogemma_rag.vector_index import VectorIndex
from kogemma_rag.vector_manifest import MANIFEST
from kogemma_rag.vector_segments import open_segment, write_segment

NONE = np.empty(0, np.int64)


class Truth:
    """What an index must hold: storage, so to say."""

    def __init__(self, dimension=8, seed=0):
        self.rng = np.random.default_rng(seed)
        self.dimension = dimension
        self.vectors = {}
        self.last = self.generation = 0

    def add(self, count):
        keys = np.arange(self.last + 1, self.last + count + 1)
        self.last += count
        rows = self.rng.normal(size=(count, self.dimension)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.vectors.update(zip(keys.tolist(), rows, strict=True))
        return [(keys, rows)]

    def delete(self, count):
        gone = self.rng.choice(list(self.vectors), min(count, len(self.vectors)), replace=False)
        for key in gone.tolist():
            del self.vectors[key]
        return gone

    def step(self, index, add, delete=0):
        self.generation += 1
        gone = self.delete(delete) if delete else NONE
        index.advance(added=self.add(add), deleted=gone, generation=self.generation)
        if index.worth_saving():
            index.save(self.blocks)

    def blocks(self, after, until):
        keys = [k for k in sorted(self.vectors) if k > after and (until is None or k <= until)]
        for start in range(0, len(keys), 1000):
            some = keys[start : start + 1000]
            yield np.array(some, np.int64), np.stack([self.vectors[key] for key in some])

    def best(self, query, k, keys=None):
        among = sorted(self.vectors if keys is None else set(keys) & set(self.vectors))
        scored = sorted((-float(self.vectors[key] @ query), key) for key in among)
        return [key for _, key in scored[:k]]

    def query(self):
        row = self.rng.normal(size=self.dimension).astype(np.float32)
        return row / np.linalg.norm(row)


def check(view, truth, k=7):
    query = truth.query()
    keys, products = view.search(query, k)
    assert keys.tolist() == truth.best(query, k)
    expected = [truth.vectors[key] @ query for key in keys.tolist()]
    np.testing.assert_allclose(products, expected, atol=1e-6)
    some = np.sort(truth.rng.choice(truth.last + 5, truth.last // 2, replace=False))
    assert view.search(query, k, keys=some)[0].tolist() == truth.best(query, k, some.tolist())
    assert len(view) == len(truth.vectors)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(vector_index, "_TAIL", 50)


@pytest.mark.parametrize("on_disk", [False, True])
def test_equals_brute_force_after_adds_and_deletes(tmp_path, small, on_disk):
    folder = tmp_path / "vectors" if on_disk else None
    index, truth = VectorIndex(folder), Truth()
    assert index.view.search(truth.query(), 3)[0].tolist() == []
    for number in range(60):
        truth.step(index, add=int(truth.rng.integers(0, 40)), delete=number % 9)
        check(index.view, truth)
        if on_disk and number % 10 == 9:
            index.save(truth.blocks)
            index = VectorIndex(folder)
            assert index.view.generation == truth.generation
            check(index.view, truth)
    keys = np.array([*truth.vectors, truth.last + 1])
    known, vectors = index.view.exact_vectors(keys)
    assert known.tolist() == [True] * (len(keys) - 1) + [False]
    np.testing.assert_array_equal(vectors[:-1], np.stack(list(truth.vectors.values())))


def test_a_view_stays_what_it_was(small, tmp_path):
    index, truth = VectorIndex(tmp_path / "vectors"), Truth()
    truth.step(index, add=30)
    views = []
    for _ in range(20):
        query = truth.query()
        keys, products = index.view.search(query, 9)
        views.append((index.view, query, keys.tolist(), products.tolist()))
        truth.step(index, add=15, delete=5)
    for view, query, keys, products in views:
        found = view.search(query, 9)
        assert (found[0].tolist(), found[1].tolist()) == (keys, products)


def test_segments_are_few_and_written_seldom(small, tmp_path, monkeypatch):
    written = []

    def counted(path, blocks, count, **options):
        written.append(count)
        return write_segment(path, blocks, count, **options)

    monkeypatch.setattr(vector_index, "write_segment", counted)
    index, truth = VectorIndex(tmp_path / "vectors"), Truth()
    for _ in range(400):
        truth.step(index, add=13)
    files = list((tmp_path / "vectors").glob("*.segment"))
    assert len(files) <= 8  # 5,200 vectors in segments of 51 and more: log2 of a hundred, and one
    assert sum(written) <= truth.last * 8
    again = VectorIndex(tmp_path / "vectors")
    again.advance(
        added=truth.blocks(max(map(int, again.view._segments[-1].keys[-1:])), None),
        deleted=NONE,
        generation=truth.generation,
    )
    check(again.view, truth)


def test_many_deletions_make_files_anew(small, tmp_path):
    index, truth = VectorIndex(tmp_path / "vectors"), Truth()
    truth.step(index, add=400)
    size = sum(file.stat().st_size for file in (tmp_path / "vectors").iterdir())
    truth.step(index, add=0, delete=350)
    check(index.view, truth, k=60)
    assert sum(file.stat().st_size for file in (tmp_path / "vectors").iterdir()) < size / 3
    truth.step(index, add=0, delete=50)
    assert len(index.view) == 0
    assert index.view.search(truth.query(), 3)[0].tolist() == []
    index.save(truth.blocks)
    assert len(VectorIndex(tmp_path / "vectors").view) == 0


def test_what_another_process_wrote_is_adopted(small, tmp_path):
    truth = Truth()
    writer = VectorIndex(tmp_path / "vectors")
    truth.step(writer, add=60)
    reader = VectorIndex(tmp_path / "vectors")
    before = reader.view
    truth.step(writer, add=60, delete=10)
    writer.save(truth.blocks)
    reader.reload()
    assert reader.view.generation == truth.generation
    check(reader.view, truth)
    assert len(before) == 60
    assert len(before.search(truth.query(), 100)[0]) == 60  # its file is gone, not its pages
    unchanged = reader.view
    reader.reload()
    assert reader.view is unchanged


def test_processes_that_save_in_turn_build_on_each_others_files(tmp_path, monkeypatch):
    written = []

    def counted(path, blocks, count, **options):
        written.append(count)
        return write_segment(path, blocks, count, **options)

    monkeypatch.setattr(vector_index, "write_segment", counted)
    folder, truth = tmp_path / "vectors", Truth()
    processes = [VectorIndex(folder), VectorIndex(folder)]
    for number in range(12):
        truth.generation += 1
        gone, added = truth.delete(3) if number else NONE, truth.add(100)
        for process in processes:
            process.advance(added=added, deleted=gone, generation=truth.generation)
        processes[number % 2].save(truth.blocks)
        check(processes[0].view, truth)
        check(processes[1].view, truth)
        assert processes[0].check_files() is None
        check(VectorIndex(folder).view, truth)
    assert sum(written) < 1200 * 4


def test_a_save_builds_on_files_with_keys_that_came_and_went_unseen(tmp_path):
    truth, here, other = Truth(), VectorIndex(tmp_path), VectorIndex(tmp_path)
    first = truth.add(40)
    for process in (here, other):
        process.advance(added=first, deleted=NONE, generation=1)
    other.advance(added=truth.add(20), deleted=NONE, generation=2)
    other.save(truth.blocks)
    gone = np.arange(41, 61)
    for key in gone.tolist():
        del truth.vectors[key]
    truth.generation = 3
    here.advance(added=[], deleted=gone, generation=3)
    here.save(truth.blocks)
    for view in (here.view, VectorIndex(tmp_path).view):
        assert view.generation == 3
        check(view, truth, k=40)
    truth.step(here, add=30)
    check(here.view, truth, k=70)


def test_after_clear_nothing_of_the_files_is_used_and_views_stay(tmp_path):
    index, old, new = VectorIndex(tmp_path), Truth(), Truth(seed=1)
    old.generation = 4
    index.advance(added=old.add(40), deleted=NONE, generation=4)
    index.save(old.blocks)
    old.generation = 5
    index.advance(added=old.add(10), deleted=NONE, generation=5)
    view = index.view
    index.clear()
    index.advance(added=new.add(50), deleted=NONE, generation=5)  # the same keys
    check(view, old)
    check(index.view, new)
    index.save(new.blocks)
    check(view, old)
    check(VectorIndex(tmp_path).view, new)


def test_files_are_on_disk_before_the_manifest_that_names_them(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, Path.replace

    def seen_fsync(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def seen_replace(old, new):
        done.append(Path(new).name)
        return rename(old, new)

    index, truth = VectorIndex(tmp_path), Truth()
    truth.step(index, add=300)
    (tmp_path / "killed.segment").write_bytes(b"of a process that was killed")
    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    index.save(truth.blocks)
    assert done == ["file", "file", MANIFEST, "folder"]
    assert len(list(tmp_path.iterdir())) == 2


class Changes(RuleBasedStateMachine):
    """Changes, saves and openings in any order equal a dict and brute force."""

    @initialize()
    def start(self):
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "vectors"
        self.index, self.truth = VectorIndex(self.folder), Truth()

    @rule(add=st.integers(0, 60), delete=st.integers(0, 40))
    def change(self, add, delete):
        self.truth.step(self.index, add, min(delete, len(self.truth.vectors)))

    @rule()
    def save(self):
        self.index.save(self.truth.blocks)

    @rule()
    def rebuild(self):
        truth = self.truth
        self.index.rebuild(truth.blocks, len(truth.vectors), truth.generation)

    @rule()
    def open_again(self):
        self.index.save(self.truth.blocks)
        self.index = VectorIndex(self.folder)

    @invariant()
    def same(self):
        if hasattr(self, "truth"):
            check(self.index.view, self.truth)

    def teardown(self):
        self.place.cleanup()


Changes.TestCase.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
TestChanges = Changes.TestCase


@pytest.mark.parametrize("place", [0.0, 0.001, 0.3, 0.6, 0.999999])
@pytest.mark.parametrize("what", ["manifest", "*.segment"])
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_damaged_files_are_left_aside(small, tmp_path, caplog, what, how, place):
    index, truth = VectorIndex(tmp_path), Truth()
    truth.step(index, add=200)
    assert index.check_files() is None
    [file] = tmp_path.glob(what)
    content = bytearray(file.read_bytes())
    at = int(place * len(content))
    if how == "flip":
        content[at] ^= 1
    file.write_bytes(content[:at] if how == "cut" else content)
    if how == "gone":
        file.unlink()
    with caplog.at_level(logging.WARNING):
        again = VectorIndex(tmp_path)
    assert (again.view.generation, len(again.view)) == (0, 0)
    if (what, how) != ("manifest", "gone"):
        assert "taken from storage" in caplog.text
        assert again.check_files() is not None
    again.rebuild(truth.blocks, len(truth.vectors), truth.generation)
    check(VectorIndex(tmp_path).view, truth)
    assert len(list(tmp_path.iterdir())) == 2  # the damaged file is gone


def test_a_save_that_fails_leaves_what_was(small, tmp_path, monkeypatch):
    index, truth = VectorIndex(tmp_path), Truth()
    truth.step(index, add=200)
    truth.step(index, add=20)

    def no_space(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(vector_index, "write_manifest", no_space)
    with pytest.raises(OSError, match="No space"):
        index.save(truth.blocks)
    check(index.view, truth)
    assert len(VectorIndex(tmp_path).view) == 200


def clustered(count, dimension, seed=3, centers=60):
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centers, dimension))
    rows = middle[rng.integers(0, centers, count)] + 0.7 * rng.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def compressed(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_index, "_MOST_EXACT", 5_000)
    monkeypatch.setattr(vector_index, "_LEAST_COMPRESSED", 2_000)
    rows, keys = clustered(12_000, 32), np.arange(1, 12_001)
    index = VectorIndex(tmp_path)

    def blocks(after, until):
        yield keys[after:until], rows[after:until]

    index.advance(added=blocks(0, 4_000), deleted=NONE, generation=1)
    index.save(lambda after, until: blocks(after, 4_000))
    assert index.view.kind == "Flat"
    index.advance(added=blocks(4_000, None), deleted=NONE, generation=2)
    assert index.worth_saving()
    index.save(blocks)
    return index, keys, rows


def recall(view, keys, rows, queries, chosen=None):
    hits = 0
    for query in queries:
        order = np.argsort(-(rows @ query))
        best = keys[order] if chosen is None else keys[order][np.isin(keys[order], chosen)]
        found, _ = view.search(query, 18, keys=chosen)
        rescored = found[np.argsort(-(rows[found - 1] @ query))][:10]
        hits += len(set(rescored) & set(best[:10].tolist()))
    return hits / (10 * len(queries))


def test_a_large_index_is_compressed_and_finds_nearly_all(compressed, tmp_path):
    index, keys, rows = compressed
    assert index.view.kind == "IVF219,SQ8"
    assert not index.view.exact
    queries = clustered(100, 32, seed=3)[:50]
    assert recall(index.view, keys, rows, queries) >= 0.98
    for share in (0.5, 0.1, 0.01):
        chosen = np.sort(np.random.default_rng(1).choice(keys, int(share * 12_000), replace=False))
        assert recall(index.view, keys, rows, queries, chosen) >= 0.98
    again = VectorIndex(tmp_path)
    assert again.view.search(queries[0], 30)[0].tolist() == (
        index.view.search(queries[0], 30)[0].tolist()
    )
    assert not again.view.exact_vectors(keys[:5])[0].any()


def test_files_are_mapped_not_read(compressed, tmp_path):
    faiss = pytest.importorskip("faiss")
    (segment,) = compressed[0].view._segments
    lists = faiss.downcast_InvertedLists(faiss.downcast_index(segment._index).invlists)
    assert not lists.codes.at(0).is_owned
    index, truth = VectorIndex(tmp_path / "small"), Truth()
    truth.step(index, add=300)
    index.rebuild(truth.blocks, 300, 1)
    assert not index.view._segments[0]._index.codes.is_owned


def test_k_come_whenever_k_exist_in_a_compressed_index(compressed):
    index, keys, rows = compressed
    far = keys[np.argsort(rows @ rows[0])[:30]]  # those least like the query
    found, _ = index.view.search(rows[0], 30, keys=np.sort(far))
    assert sorted(found.tolist()) == sorted(far.tolist())
    index.advance(added=[], deleted=keys[100:], generation=3)
    assert sorted(index.view.search(rows[0], 200)[0].tolist()) == keys[:100].tolist()
    assert index.worth_saving()
    index.save(lambda after, until: iter([(keys[:100], rows[:100])]))
    assert index.view.kind == "Flat"


def test_threads_search_while_another_changes(small, tmp_path):
    index, truth = VectorIndex(tmp_path), Truth(dimension=16)
    truth.step(index, add=200)
    query, errors, done = truth.query(), [], threading.Event()

    def search():
        while not done.is_set():
            view = index.view
            first = view.search(query, 20)
            second = view.search(query, 20)
            if first[0].tolist() != second[0].tolist() or len(set(first[0].tolist())) != 20:
                errors.append(view.generation)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        truth.step(index, add=25, delete=10)
    done.set()
    for thread in threads:
        thread.join()
    assert not errors


@pytest.mark.parametrize("compressed", [False, True])
def test_a_segment_is_written_without_all_blocks_in_memory(tmp_path, compressed):
    seen = []

    def blocks():
        for number in range(40):
            rows = clustered(100, 8, seed=number)
            seen.append(weakref.ref(rows))
            assert sum(one() is not None for one in seen) <= 3
            yield np.arange(100) + 100 * number, rows

    write_segment(tmp_path / "a.segment", blocks, 4000, compressed=compressed)
    assert len(seen) == 40 * (1 + compressed)


def test_an_open_segment_of_another_checksum_is_refused(tmp_path):
    rows = clustered(10, 4)
    path = tmp_path / "a.segment"
    checksum = write_segment(path, lambda: iter([(np.arange(10), rows)]), 10, compressed=False)
    assert open_segment(path, checksum).vectors(np.array([3])).tolist() == [rows[3].tolist()]
    with pytest.raises(ValueError, match="checksum is wrong"):
        open_segment(path, "0" * 16)


class FakeGpu:
    """As FAISS's GPU indexes: one thread at a time, no selectors, 2,048 results and lists."""

    def __init__(self, index):
        self.index, self.searches, self.busy = index, 0, threading.Lock()

    def search(self, queries, k, params):
        assert self.busy.acquire(blocking=False)
        assert k <= 2048
        assert params is None or (params.sel is None and params.nprobe <= 2048)
        try:
            self.searches += 1
            time.sleep(0.001)
            return self.index.search(queries, k, params=params)
        finally:
            self.busy.release()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_gpu_is_asked_only_what_it_can_do(tmp_path, compressed):
    path, rows = tmp_path / "a.segment", clustered(3_000, 8)
    keys = np.arange(1, 3_001)
    checksum = write_segment(path, lambda: iter([(keys, rows)]), 3_000, compressed=compressed)
    segment = open_segment(path, checksum)
    gpu = FakeGpu(segment._index)
    with_gpu = dataclasses.replace(segment, _on_gpu=gpu)
    expected = segment.search(rows[5], 10, None)[0].tolist()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: with_gpu.search(rows[5], 10, None)[0], range(40)))
    assert [one.tolist() for one in found] == [expected] * 40
    assert gpu.searches == 40
    some = np.zeros(3_001, np.bool_)
    some[1:2_000:3] = True
    for k, allowed in ((10, some), (2_500, None)):
        assert with_gpu.search(rows[5], k, allowed)[0].tolist() == (
            segment.search(rows[5], k, allowed)[0].tolist()
        )
    assert gpu.searches == 40


@pytest.mark.gpu
def test_on_a_gpu_it_finds_the_same(compressed):
    faiss = pytest.importorskip("faiss")
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        pytest.skip("needs faiss-gpu and a CUDA device")
    index, keys, rows = compressed
    assert recall(index.view, keys, rows, clustered(50, 32)) >= 0.98


def test_many_blocks_come_in_one_change(tmp_path):
    rows = np.random.default_rng(0).normal(size=(9_000, 4)).astype(np.float32)
    blocks = [
        (np.arange(start + 1, start + 1_001), rows[start : start + 1_000])
        for start in range(0, 9_000, 1_000)
    ]
    index = VectorIndex(tmp_path)
    index.advance(added=blocks, deleted=np.empty(0, np.int64), generation=1)
    keys = np.arange(1, 9_001)
    known, vectors = index.view.exact_vectors(keys)
    assert known.all()
    np.testing.assert_array_equal(vectors, rows)
