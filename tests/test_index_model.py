"""Ten thousand operations on an index in a folder, each equal to a dict and brute force over it."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from langchain_core.documents import Document

from kogemma_rag import DocumentIndex
from kogemma_rag.morphemes import character_bigrams, content_morphemes

OPERATIONS = 10_000
STEPS = 100  # of one index
# On Linux a folder that costs no waiting for a disk; `mkdtemp` makes one of its own in it.
MEMORY = Path("/dev/shm")  # noqa: S108

IDS = st.integers(0, 39).map("{:02d}".format)
WORDS = st.sampled_from(["연차휴가", "출장비", "회의실", "재택근무", "비품", "영수증", "총무팀"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
METADATA = st.fixed_dictionaries(
    {"n": st.integers(0, 5)}, optional={"부서": st.sampled_from(["총무", "인사", None, True, 1])}
)
DOCUMENTS = st.builds(Document, page_content=TEXTS, id=IDS, metadata=METADATA)
MISSING = object()


def same(one, other):
    """Whether values are equal and of one kind: True is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


# Each filter with what it means.
FILTERS = st.one_of(
    st.just(({}, lambda m: True)),
    st.integers(0, 5).map(lambda n: ({"n": n}, lambda m: m["n"] == n)),
    st.integers(0, 5).map(lambda n: ({"n": {"$gte": n}}, lambda m: m["n"] >= n)),
    st.sampled_from(["총무", None, True, 1]).map(
        lambda v: ({"부서": {"$ne": v}}, lambda m: not same(m.get("부서", MISSING), v))
    ),
    st.just(
        (
            {"$or": [{"부서": {"$exists": False}}, {"부서": {"$like": "총%"}}]},
            lambda m: "부서" not in m or m["부서"] == "총무",
        )
    ),
)


class IndexMachine(RuleBasedStateMachine):
    """Compares after every step what is cheap, in rules of their own what is not."""

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.embedding = CountingEmbeddings()
        self.model = {}
        self.index = DocumentIndex.open(self.folder, self.embedding)

    def teardown(self):
        if hasattr(self, "index"):
            self.index.close()
            shutil.rmtree(self.folder)

    @rule(documents=st.lists(DOCUMENTS, min_size=1, max_size=6))
    def add(self, documents):
        assert self.index.add_documents(documents) == [document.id for document in documents]
        self.model.update({document.id: document for document in documents})

    @rule(ids=st.lists(IDS, min_size=1, max_size=6))
    def delete(self, ids):
        self.index.delete(ids)
        for id_ in ids:
            self.model.pop(id_, None)

    # One rule: each of these alone would be drawn as often as a change of the documents.
    @rule(how=st.sampled_from(["reopen", "lose vectors", "lose lexical", "rebuild", "verify"]))
    def keep_up(self, how):
        if how == "rebuild":
            self.index.rebuild()
        elif how == "verify":
            self.index.verify()
        else:
            self.index.close()
            if how != "reopen":
                for path in self.folder.glob(f"{how.removeprefix('lose ')}*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.index = DocumentIndex.open(self.folder, self.embedding)

    @rule(query=TEXTS, k=st.integers(1, 12), chosen=FILTERS)
    def search_by_vector(self, query, k, chosen):
        condition, holds = chosen
        found = self.index.vectorstore.similarity_search_with_score(query, k, filter=condition)
        vector = np.array(self.embedding.embed_query(query))
        scores = {}
        for id_, document in self.model.items():
            if holds(document.metadata):
                other = np.array(self.embedding.embed_documents([document.page_content])[0])
                cosine = vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)
                scores[id_] = (1 + cosine) / 2
        best = sorted(scores.values(), reverse=True)[:k]
        assert [score for _, score in found] == pytest.approx(best, abs=1e-6)
        for document, score in found:
            assert document == self.model[document.id]
            assert score == pytest.approx(scores[document.id], abs=1e-6)
        assert found == sorted(found, key=lambda one: (-one[1], one[0].id))

    @rule(query=TEXTS, k=st.integers(1, 12), chosen=FILTERS)
    def search_by_all(self, query, k, chosen):
        condition, holds = chosen
        found = [document for document, _ in self.index.search(query, k, filter=condition)]
        possible = {id_ for id_, document in self.model.items() if holds(document.metadata)}
        assert len(found) == min(k, len(possible))
        assert len({document.id for document in found}) == len(found)
        assert all(
            document.id in possible and self.model[document.id] == document for document in found
        )

    @rule(query=WORDS, chosen=FILTERS)
    def search_by_words(self, query, chosen):
        condition, holds = chosen
        retriever = self.index.as_retriever(k=40, fetch_k=40, weights=(0.0, 1.0, 1.0))
        terms = {*content_morphemes(query), *character_bigrams(query)}
        hits = retriever.search(query, filter=condition)
        matching = {
            id_
            for id_, document in self.model.items()
            if holds(document.metadata)
            and terms
            & {*content_morphemes(document.page_content), *character_bigrams(document.page_content)}
        }
        # Those that share a term come before those that do not.
        assert {document.id for document, _ in hits[: len(matching)]} == matching

    @invariant()
    def holds_what_the_dict_holds(self):
        if not hasattr(self, "index"):
            return
        everything = [f"{n:02d}" for n in range(40)]
        got = {document.id: document for document in self.index.vectorstore.get_by_ids(everything)}
        assert got == self.model


IndexMachine.TestCase.settings = settings(
    max_examples=OPERATIONS // STEPS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestIndexModel = IndexMachine.TestCase
