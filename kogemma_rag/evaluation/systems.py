"""Settings of retrievers, or retrievers, in; systems that find documents of a question set out.

Knows no measures. Systems of like documents and embeddings share one index.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from tqdm import tqdm

from kogemma_rag.embeddings import MultilingualEmbeddings
from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.evaluated_documents import document_of
from kogemma_rag.evaluation.question_sets import QuestionSet
from kogemma_rag.evaluation.retriever_settings import RetrieverSettings
from kogemma_rag.evaluation.runs import write_whole
from kogemma_rag.index import DocumentIndex
from kogemma_rag.retrievers import HybridRetriever

_BATCH = 1000  # documents between two commits: what a stop costs at most
_BUILT_FILE = "built.json"


class Hit(NamedTuple):
    """A document that was found; the score is None where its retriever tells none."""

    id: str
    score: float | None


@dataclass(frozen=True)
class System:
    """A retriever whose hits are documents of a question set.

    Attributes:
        settings: What the retriever is, fit for JSON.
        known: Ids of the documents of the set.
        index: Its size and what it took, as in a run; None of a retriever from elsewhere.
    """

    name: str
    retriever: BaseRetriever
    settings: Mapping[str, Any]
    known: Collection[str]
    index: Mapping[str, Any] | None = None

    def find(self, question: str) -> list[Hit]:
        """The documents found, best first, each once: at the rank of its first chunk."""
        hits: dict[str, Hit] = {}
        for document, score in self._search(question):
            id_ = document_of(document, self.known)
            hits.setdefault(id_, Hit(id_, score))
        return list(hits.values())

    def check(self, question: str) -> None:
        """Ask a question that nobody counts, which also loads what is loaded at the first use.

        Raises:
            EvaluationDataError: If the set has none of the documents.
        """
        hits = self.find(question)
        if hits and not any(hit.id in self.known for hit in hits):
            raise EvaluationDataError(
                f"{self.name}: 질문 {question!r}에 찾은 문서 {[hit.id for hit in hits[:3]]}이(가) "
                "평가 자료에 없습니다. 문서의 id나 metadata의 document_id, source를 평가 자료의 "
                "문서 id와 같게 하세요"
            )

    def _search(self, question: str) -> list[tuple[Document, float | None]]:
        if isinstance(self.retriever, HybridRetriever):
            return [(document, score) for document, score in self.retriever.search(question)]
        found = self.retriever.invoke(question)
        return [(document, document.metadata.get("relevance_score")) for document in found]


@dataclass(frozen=True)
class Systems:
    """What is compared, opened one after another.

    Attributes:
        asked: Settings or a retriever of any kind, by name.
        k: Documents to find.
        kept: Folder where indexes stay, to go on after a stop; None throws them away.
        embeddings: Models by the names that settings call them; others are loaded.
    """

    question_set: QuestionSet
    asked: Mapping[str, RetrieverSettings | BaseRetriever]
    k: int
    kept: Path | None = None
    embeddings: Mapping[str, Embeddings] = field(default_factory=dict)
    progress: bool = True

    def opened(self) -> Generator[System, None, None]:
        """Every system, while it is open; those that share an index follow each other.

        Raises:
            EvaluationDataError: If an index is asked for and a document has no text.
        """
        known = frozenset(str(document.id) for document in self.question_set.documents)
        groups: dict[str, dict[str, RetrieverSettings]] = {}
        for name, asked in self.asked.items():
            if isinstance(asked, RetrieverSettings):
                groups.setdefault(_index_key(asked), {})[name] = asked
            else:
                yield System(name, asked, {"retriever": type(asked).__name__}, known)
        for key, group in groups.items():
            with self._index(key, next(iter(group.values()))) as (index, about):
                for name, settings in group.items():
                    retriever = _retriever(index, settings, self.k)
                    yield System(name, retriever, settings.model_dump(mode="json"), known, about)

    @contextmanager
    def _index(
        self, key: str, settings: RetrieverSettings
    ) -> Iterator[tuple[DocumentIndex, dict[str, Any]]]:
        """The index of settings, filled, with what it took."""
        model = self.embeddings.get(settings.embeddings)
        if model is None:
            model = MultilingualEmbeddings(settings.embeddings)
        with ExitStack() as stack:
            parent = self.kept or Path(stack.enter_context(TemporaryDirectory()))
            folder = parent / hashlib.sha256(key.encode()).hexdigest()[:16]
            index = stack.enter_context(DocumentIndex.open(folder, model))
            yield index, self._fill(index, folder / _BUILT_FILE, settings)

    def _fill(
        self, index: DocumentIndex, built: Path, settings: RetrieverSettings
    ) -> dict[str, Any]:
        """Add the documents that are not there yet; what the index is and took, as in a run."""
        documents = self.question_set.documents
        done: dict[str, Any] = {"documents": 0, "seconds": 0.0}
        if built.exists():
            done = json.loads(built.read_text(encoding="utf-8"))
        with tqdm(
            desc="색인",
            total=len(documents),
            initial=done["documents"],
            disable=not self.progress,
            leave=False,
        ) as bar:
            while (first := done["documents"]) < len(documents):
                batch = documents[first : first + _BATCH]
                start = time.perf_counter()
                index.add_documents(_indexed(batch, settings, self.question_set.name))
                done["seconds"] += time.perf_counter() - start
                done["documents"] += len(batch)
                done |= _size(index)
                write_whole(built, json.dumps(done))
                bar.update(len(batch))
        return {name: done[name] for name in ("bytes", "chunks", "seconds")}


def _size(index: DocumentIndex) -> dict[str, int]:
    info = index.info()
    files = ("storage_bytes", "vector_bytes", "lexical_bytes")
    return {"bytes": sum(info[name] for name in files), "chunks": info["chunks"]}


def _index_key(settings: RetrieverSettings) -> str:
    """What two systems must have in common to share an index."""
    overlap = None if settings.chunk_size is None else settings.chunk_overlap
    return json.dumps([settings.embeddings, settings.titles, settings.chunk_size, overlap])


def _indexed(
    documents: Collection[Document], settings: RetrieverSettings, name: str
) -> list[Document]:
    """Documents as they are added to an index: whole, or as chunks that name their document."""
    from kogemma_rag.text_splitters import KoreanTextSplitter

    if empty := [document.id for document in documents if not document.page_content.strip()]:
        raise EvaluationDataError(
            f"{name}: 문서 {empty[0]!r}에 글이 없어 색인할 수 없습니다. 문단의 글을 넣거나, 그 "
            "문서가 든 색인의 검색기를 쓰세요"
        )
    added = []
    for document in documents:
        title = document.metadata.get("title") if settings.titles else None
        metadata = {"title": title} if title else {}
        if settings.chunk_size is None:
            added.append(Document(document.page_content, id=document.id, metadata=metadata))
            continue
        splitter = KoreanTextSplitter(
            chunk_size=settings.chunk_size, chunk_overlap=settings.chunk_overlap
        )
        metadata |= {"document_id": document.id, "source": document.id}
        chunks = splitter.create_documents([document.page_content], [metadata])
        for number, chunk in enumerate(chunks):
            added.append(chunk.model_copy(update={"id": f"{document.id}#{number}"}))
    return added


def _retriever(index: DocumentIndex, settings: RetrieverSettings, k: int) -> BaseRetriever:
    k = settings.k or k
    if settings.reranker:
        most = settings.rerank_k
    else:
        most = k if settings.chunk_size is None else max(k, settings.fetch_k)
    retriever: BaseRetriever = index.as_retriever(
        k=most,
        fetch_k=settings.fetch_k,
        fusion=settings.fusion,
        weights=settings.weights,
        context=settings.context,
    )
    if settings.expansion:
        retriever = _expanded(retriever, settings, most)
    if settings.reranker is None:
        return retriever
    from kogemma_rag.rerankers import CrossEncoderReranker, RerankedRetriever

    reranker = CrossEncoderReranker(model=settings.reranker, top_n=most)
    return RerankedRetriever(retriever=retriever, reranker=reranker)


def _expanded(retriever: BaseRetriever, settings: RetrieverSettings, k: int) -> BaseRetriever:
    from kogemma_rag import query_expansion
    from kogemma_rag.chat_model_loading import load_chat_model

    made_by: dict[str, Callable[[BaseChatModel], Runnable[str, Any]]] = {
        "query": query_expansion.rewrite_query,
        "variants": query_expansion.query_variants,
        "passage": query_expansion.hypothetical_passage,
    }
    expansion = made_by[str(settings.expansion)](load_chat_model(str(settings.chat_model)))
    return query_expansion.ExpandedRetriever(retriever=retriever, expansion=expansion, k=k)
