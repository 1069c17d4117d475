"""A Ray of two CPUs on this machine, two actors; all it makes is what a plain sync makes."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings

from kogemma_rag.embedder import Embedder
from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage_errors import EmbedderMismatchError

ray = pytest.importorskip("ray")
distributed = pytest.importorskip("kogemma_rag.distributed")

SENTENCES = "서울은 한국의 수도이다. 부산은 항구 도시이다. 연차는 십오 일이다."


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """The address of a Ray that sees the modules of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        try:
            ray.init(
                num_cpus=2,
                object_store_memory=100 * 2**20,
                include_dashboard=False,
                address="local",
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (OSError, RuntimeError, ValueError) as error:
            pytest.skip(f"Ray does not start here: {error}")
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "문서"
    folder.mkdir()
    for number in range(20):
        text = "\n\n".join(
            f"# {number}장 {place}절\n{SENTENCES * 4}" for place in range(number + 1)
        )
        (folder / f"{number:02d}.md").write_text(text)
    (folder / "깨짐.docx").write_text("no archive")
    (folder / "빈.txt").write_text("")
    with open(os.fsencode(folder) + b"/\xc7\xd1\xb1\xdb.txt", "wb") as file:  # 한글 in CP949  # noqa: PTH123
        file.write("이름이 옛 글자인 파일".encode())
    return folder


def ingest():
    return distributed.RayIngest(CountingEmbeddings, actors=2, cpus_per_actor=0.5)


def content(index):
    """Everything by which two indexes can differ, in the order of the keys."""
    storage = index.vectorstore.storage
    keys = [key for key, _ in storage.added_texts(0, 2**62)]
    documents = storage.documents(keys)
    return (
        [(document.id, document.page_content, document.metadata) for document in documents],
        storage.vectors(keys),
        {path: (file.sha256, file.loaded, file.error) for path, file in storage.files().items()},
    )


def assert_same(index, folder, plain_folder):
    with DocumentIndex.open(plain_folder, CountingEmbeddings()) as plain:
        plain.sync(folder, progress=False)
        expected = content(plain)
        words = [[d.id for d, _ in i.search("항구 도시", k=9)] for i in (plain, index)]
    found = content(index)
    assert found[0] == expected[0]
    assert np.array_equal(found[1], expected[1])
    assert found[2] == expected[2]
    assert words[0] == words[1]


def test_the_index_is_that_of_a_plain_sync(folder, tmp_path):
    with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as index:
        report = index.sync(folder, progress=False, ingest=ingest())
        assert report.added == 21
        assert [source for source, _ in report.failed] == ["깨짐.docx", "빈.txt"]
        assert_same(index, folder, tmp_path / "plain")
        index.verify()


DRIVER = """
import json, os, sys
from functools import partial
import ray
from counting_embeddings import CountingEmbeddings
import kogemma_rag.ingest
from kogemma_rag.distributed import RayIngest
from kogemma_rag.index import DocumentIndex
from kogemma_rag.local_target import LocalTarget

address, folder, documents = sys.argv[1:]
ray.init(address=address, log_to_driver=False, logging_level="ERROR")
kogemma_rag.ingest._BATCH_FILES = 2
write = LocalTarget.write

def told(self, changes, prepared):
    written = write(self, changes, prepared)
    print(json.dumps(sorted(written)), flush=True)
    return written

LocalTarget.write = told
with DocumentIndex.open(folder, CountingEmbeddings()) as index:
    ingest = RayIngest(CountingEmbeddings, cpus_per_actor=0.5)
    index.sync(documents, progress=False, ingest=ingest)
"""


def test_a_sync_goes_on_after_its_driver_was_killed(folder, tmp_path, cluster):
    command = [sys.executable, "-c", DRIVER, cluster, str(tmp_path / "index"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as driver:
        committed = json.loads(driver.stdout.readline()) + json.loads(driver.stdout.readline())
        driver.send_signal(signal.SIGKILL)
    assert len(committed) == 4
    with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as index:
        known = set(index.vectorstore.storage.files())
        assert set(committed) <= known
        report = index.sync(folder, progress=False, ingest=ingest())
        assert report.added == 21 - len(known)
        index.verify()
        assert_same(index, folder, tmp_path / "plain")


def test_actors_with_another_model_are_refused():
    fingerprint = Embedder(CountingEmbeddings()).fingerprint
    distributed._Embed(CountingEmbeddings, fingerprint)
    with pytest.raises(EmbedderMismatchError, match="the actors embed with"):
        distributed._Embed(partial(CountingEmbeddings, 8), fingerprint)


def test_more_than_the_cluster_has_is_refused(folder, tmp_path):
    with DocumentIndex.open(tmp_path / "index", CountingEmbeddings()) as index:
        greedy = distributed.RayIngest(CountingEmbeddings, actors=2, gpus_per_actor=1)
        with pytest.raises(ValueError, match="2 actors and a reader need 3 CPUs and 2 GPUs"):
            index.sync(folder, progress=False, ingest=greedy)
        assert index.vectorstore.storage.files() == {}
