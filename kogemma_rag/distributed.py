"""The ingest of a sync on many machines, by Ray Data: read in tasks, embedded in actors.

    model = partial(MultilingualEmbeddings, "intfloat/multilingual-e5-base")
    index.sync("documents", ingest=RayIngest(model, actors=8, gpus_per_actor=1))

Whoever takes the batches writes them, in the driver: a file's chunks and its record together, so
that a sync that was killed goes on where it was. Knows no index.
"""

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from kogemma_rag.chunk_readers import ChunkReaders, ReadChunk
from kogemma_rag.document_loaders import SkippedPart
from kogemma_rag.embedder import Embedder
from kogemma_rag.ingest import Batch, FileToRead, Prepared, ReadFile, in_batches, slices
from kogemma_rag.lexical import PreparedText
from kogemma_rag.storage_errors import EmbedderMismatchError

_TASK_FILES = 16  # of one reading task; its parser process starts once
_BATCH_CHUNKS = 256  # embedded at a time

Rows = dict[str, list[Any]]


@dataclass(frozen=True)
class RayIngest:
    """Reads and embeds on the machines of a Ray cluster; all of them see the files by their paths.

    A Ray that runs already is used, else one is started here, which tells nobody of it. Every
    machine has this package.

    Args:
        embeddings: Makes the embedding model, once in each actor; the one of the index.
        actors: How many models embed at once.
        gpus_per_actor: What each takes of the cluster's GPUs; a fraction shares one.
        cpus_per_actor: What each takes of the cluster's CPUs.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If the cluster has no room for the actors and one more CPU for reading.
        ray.exceptions.RayError: If Ray fails; what was written stays, and the next sync goes on.
    """

    embeddings: Callable[[], Embeddings]
    actors: int = 1
    gpus_per_actor: float = 0.0
    cpus_per_actor: float = 1.0

    def __call__(
        self, files: Sequence[FileToRead], *, embedder: Embedder | None, analyze: bool
    ) -> Generator[Batch, None, None]:
        """See `kogemma_rag.ingest.ingest`; the embedder's model is not used."""
        data = self._data()
        rows = data.from_items(
            [
                {
                    "number": number,
                    "path": os.fsencode(file.path),
                    "source": file.source,
                    "ocr": file.ocr,
                }
                for number, file in enumerate(files)
            ],
            override_num_blocks=-(-len(files) // _TASK_FILES),
        )
        rows = rows.map_batches(
            _read, batch_size=None, batch_format="numpy", fn_kwargs={"analyze": analyze}
        )
        if embedder is not None:
            rows = rows.map_batches(
                _Embed,
                fn_constructor_args=[self.embeddings, embedder.fingerprint],
                batch_size=_BATCH_CHUNKS,
                batch_format="numpy",
                compute=data.ActorPoolStrategy(size=self.actors),
                num_gpus=self.gpus_per_actor,
                num_cpus=self.cpus_per_actor,
            )
        # The rows of a file follow each other.
        rows.context.execution_options.preserve_order = True
        rows.context.enable_progress_bars = False
        batches = rows.iter_batches(batch_size=None, batch_format="numpy")
        read = _files(files, (row for batch in batches for row in _rows(batch)))
        for batch in in_batches(read):
            yield _batch(batch, analyze=analyze)

    def _data(self) -> Any:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ImportError(
                "distributed ingest needs Ray: pip install 'kogemma-rag[ray]'"
            ) from error
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(include_dashboard=False, log_to_driver=False)
        has = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cpus = 1 + self.actors * self.cpus_per_actor
        gpus = self.actors * self.gpus_per_actor
        if cpus > has.get("CPU", 0) or gpus > has.get("GPU", 0):
            raise ValueError(
                f"{self.actors} actors and a reader need {cpus:g} CPUs and {gpus:g} GPUs, the Ray "
                f"cluster has {has.get('CPU', 0):g} and {has.get('GPU', 0):g}; ask for fewer, or "
                "for a smaller share with cpus_per_actor and gpus_per_actor"
            )
        return ray.data


def _read(files: dict[str, Any], *, analyze: bool) -> Iterator[Rows]:
    """In a task: a row for each chunk of some files, and one behind those of each file."""
    with ChunkReaders(1) as readers:
        columns = (files["number"], files["path"], files["source"], files["ocr"])
        for number, path, source, ocr in zip(*columns, strict=True):
            read = ReadFile(FileToRead(Path(os.fsdecode(path)), str(source), bool(ocr)))
            for chunks in slices(read, readers, analyze=analyze):
                yield _chunk_rows(int(number), chunks)
            yield _end_row(int(number), read)


def _chunk_rows(number: int, chunks: Sequence[ReadChunk]) -> Rows:
    words = [chunk.words or PreparedText("", "") for chunk in chunks]
    return {
        "number": [number] * len(chunks),
        "ends": [False] * len(chunks),
        "text": [chunk.document.page_content for chunk in chunks],
        "metadata": [json.dumps(chunk.document.metadata) for chunk in chunks],
        "morphemes": [text.morphemes for text in words],
        "characters": [text.characters for text in words],
    }


def _end_row(number: int, read: ReadFile) -> Rows:
    outcome = json.dumps({"sha256": read.sha256, "error": read.error, "skipped": read.skipped})
    return {
        "number": [number],
        "ends": [True],
        "text": [""],
        "metadata": [outcome],
        "morphemes": [""],
        "characters": [""],
    }


class _Embed:
    """In an actor: rows with a column of vectors, as bytes, empty where a file ends."""

    def __init__(self, embeddings: Callable[[], Embeddings], fingerprint: dict[str, Any]) -> None:
        self._embedder = Embedder(embeddings())
        if self._embedder.fingerprint != fingerprint:
            raise EmbedderMismatchError(
                f"the actors embed with {self._embedder.fingerprint}, the index with {fingerprint}"
            )

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        chunks = np.flatnonzero(~rows["ends"])
        documents = [
            Document(page_content=rows["text"][row], metadata=json.loads(rows["metadata"][row]))
            for row in chunks
        ]
        column = np.full(len(rows["ends"]), b"", object)
        for row, vector in zip(chunks, self._embedder.passages(documents), strict=True):
            column[row] = vector.tobytes()
        return {**rows, "vector": column}


@dataclass
class _EmbeddedFile(ReadFile):
    vectors: Sequence[bytes] = ()


def _files(files: Sequence[FileToRead], rows: Iterator[dict[str, Any]]) -> Iterator[_EmbeddedFile]:
    for number, of_file in groupby(rows, key=lambda row: int(row["number"])):
        *chunks, end = of_file
        outcome = json.loads(end["metadata"])
        yield _EmbeddedFile(
            files[number],
            sha256=outcome["sha256"],
            error=outcome["error"],
            skipped=[SkippedPart(*part) for part in outcome["skipped"]],
            documents=[
                Document(page_content=row["text"], metadata=json.loads(row["metadata"]))
                for row in chunks
            ],
            words=[PreparedText(row["morphemes"], row["characters"]) for row in chunks],
            vectors=[row["vector"] for row in chunks],
        )


def _rows(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = list(batch)
    return (dict(zip(names, row, strict=True)) for row in zip(*batch.values(), strict=True))


def _batch(files: Sequence[_EmbeddedFile], *, analyze: bool) -> Batch:
    blobs = [blob for file in files for blob in file.vectors]
    vectors = np.frombuffer(b"".join(blobs), np.float32).reshape(len(blobs), -1 if blobs else 0)
    words = [words for file in files for words in file.words] if analyze else []
    return Batch(files, Prepared(vectors, words))
