"""Options in, everything that the routes use out: plain objects that know no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.documents import Document
from starlette.concurrency import run_in_threadpool

from kogemma_rag.citations import Citation
from kogemma_rag.web.answering import Answering
from kogemma_rag.web.metrics import Metrics
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.sources import Source, passage_sources

if TYPE_CHECKING:
    from kogemma_rag.engines import EngineIndex
    from kogemma_rag.index import DocumentIndex
    from kogemma_rag.web.document_library import DocumentLibrary
    from kogemma_rag.web.feedback import FeedbackStore
    from kogemma_rag.web.page_looks import PageLooks
    from kogemma_rag.web.places import Places


@dataclass(frozen=True)
class Service:
    """What is served; `request.app.state.service` in a route.

    Attributes:
        index: Where passages are found.
        answers: Questions to answers, so many at a time.
        documents: What is indexed, and its state. `document_ids(chunks)` gives the document id of
            each chunk id; `start()` begins its work, `close()` ends it.
        places: Where a passage stands in its document.
        pages: Who looks at pages.
        feedback: What users thought of answers.
    """

    options: ServeOptions
    index: "DocumentIndex | EngineIndex"
    answers: Answering
    documents: "DocumentLibrary"
    places: "Places"
    pages: "PageLooks"
    feedback: "FeedbackStore"
    metrics: Metrics

    @property
    def index_name(self) -> str:
        """The folder's own name; where it lies, and an engine's address, are nobody's business."""
        folder = getattr(self.index.vectorstore, "folder", None)
        return Path(folder).name if folder else type(self.index).__name__

    async def sources(
        self,
        documents: Sequence[Document],
        scores: Mapping[str, float],
        citations: Sequence[Citation] = (),
    ) -> list[Source]:
        """Passages as clients get them; scores by chunk id, citations of these passages."""
        chunks = [str(document.id) for document in documents]
        document_ids = await run_in_threadpool(self.documents.document_ids, chunks)
        sources = passage_sources(documents, scores, document_ids, citations)
        await self.pages.add_boxes(sources)
        return sources

    def start(self) -> None:
        """Begin the work behind the routes."""
        self.documents.start()

    def close(self) -> None:
        """End it, and close the index if it was opened here."""
        self.places.close()
        self.feedback.close()
        self.documents.close()
        if isinstance(self.options.index, str | Path):
            self.index.close()


def open_service(options: ServeOptions) -> Service:
    """Open the index and load the chat model.

    Raises:
        StorageError: If the index cannot be opened.
        ModelError: If the chat model cannot be reached.
    """
    from kogemma_rag.web.document_library import DocumentLibrary
    from kogemma_rag.web.feedback import FeedbackStore
    from kogemma_rag.web.page_looks import PageLooks
    from kogemma_rag.web.places import Places

    index = _open_index(options)
    documents = DocumentLibrary(index, options)
    metrics = Metrics()
    places = Places(documents)
    return Service(
        options=options,
        index=index,
        answers=Answering(index, options, metrics),
        documents=documents,
        places=places,
        pages=PageLooks(places, most_waiting=options.max_waiting),
        feedback=FeedbackStore(documents.folder / "feedback.sqlite"),
        metrics=metrics,
    )


def _open_index(options: ServeOptions) -> "DocumentIndex | EngineIndex":
    from kogemma_rag.engines import is_engine_url, open_engine
    from kogemma_rag.index import DocumentIndex

    if not isinstance(options.index, str | Path):
        return options.index
    location = str(options.index)
    return open_engine(location) if is_engine_url(location) else DocumentIndex.open(location)
