"""Keys and texts in, BM25 candidates and scores out, over morphemes and bigrams (tantivy).

A cache of the chunk texts in storage. Knows no documents and no vectors, only integer keys.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.morphemes import character_bigrams, content_morphemes

if TYPE_CHECKING:
    import tantivy

# Changes whenever the analysis does, so that an index made by an older one is made anew.
_ANALYSIS = "mecab-ko-content+bigrams/1"
# Chosen on the TyDi Korean questions: bigrams find what the analyzer cut wrongly, but know less.
_BIGRAM_WEIGHT = 0.5
_WRITER_MEMORY = 64_000_000  # bytes


class LexicalIndex:
    """BM25 (k1 1.2, b 0.75, tantivy's) over two fields of each text.

    Args:
        folder: Where the files are kept; None keeps them in memory. Files that are damaged or of
            another analysis are dropped: `generation` is then 0 and the texts must be given again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._index = _open(folder)
        self.generation = self._read_generation()
        if self.generation == 0 and self._searcher().num_docs:
            self.clear()

    def update(
        self, *, added: Iterable[tuple[int, str]], deleted: Iterable[int], generation: int
    ) -> None:
        """Apply changes in one commit: a reader sees all of them or none.

        Args:
            added: Key and NFC text; a key that is there already is replaced.
            deleted: Keys to drop; unknown ones are no error.
            generation: What `generation` is from now on.

        Raises:
            ValueError: If another process is writing to the folder.
        """
        import tantivy

        schema = self._index.schema
        writer = self._index.writer(heap_size=_WRITER_MEMORY, num_threads=1)
        # A kill during a commit leaves files that stand in the way of the next one.
        writer.garbage_collect_files()
        for key in deleted:
            writer.delete_documents_by_term("key", key)
        for key, text in added:
            writer.delete_documents_by_term("key", key)
            fields = {
                "key": key,
                "morphemes": " ".join(content_morphemes(text)),
                "bigrams": " ".join(character_bigrams(text)),
            }
            writer.add_document(tantivy.Document.from_dict(fields, schema))
        # The generation is a document of the same commit: it cannot disagree with the texts.
        writer.delete_documents_by_term("analysis", _ANALYSIS)
        mark = {"analysis": _ANALYSIS, "generation": generation}
        writer.add_document(tantivy.Document.from_dict(mark, schema))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self.generation = generation

    def clear(self) -> None:
        """Forget every text; `generation` is 0 afterwards."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._index = _open(self._folder)
        self.generation = 0

    def search(self, query: str, k: int, *, keys: Sequence[int] | None = None) -> list[int]:
        """Keys of the k best texts that share a term with the query, best first, ties by key.

        Args:
            query: NFC text.
            k: At most so many.
            keys: Only these, when given.
        """
        if keys is not None and not len(keys):
            return []
        terms = [
            *self._term_queries("morphemes", content_morphemes(query), 1.0),
            *self._term_queries("bigrams", character_bigrams(query), _BIGRAM_WEIGHT),
        ]
        found = self._scored(terms, limit=k, keys=keys)
        return [key for key, _ in sorted(found, key=lambda hit: (-hit[1], hit[0]))]

    def scores(self, query: str, keys: Sequence[int]) -> NDArray[np.float32]:
        """BM25 of each key's text over morphemes and over bigrams.

        Args:
            query: NFC text.
            keys: Keys in any order.

        Returns:
            Shape (len(keys), 2), higher is better, 0 where no term is shared.
        """
        scores = np.zeros((len(keys), 2), dtype=np.float32)
        rows = {key: row for row, key in enumerate(keys)}
        fields = (("morphemes", content_morphemes(query)), ("bigrams", character_bigrams(query)))
        for column, (field, tokens) in enumerate(fields):
            terms = self._term_queries(field, tokens, 1.0)
            for key, score in self._scored(terms, limit=len(keys), keys=keys):
                scores[rows[key], column] = score
        return scores

    def close(self) -> None:
        """Let go of the files. The object cannot be used afterwards."""
        del self._index

    def _term_queries(self, field: str, tokens: Iterable[str], weight: float) -> "list[Any]":
        from tantivy import Query

        schema = self._index.schema
        return [
            Query.boost_query(Query.term_query(schema, field, token, "freq"), weight * count)
            for token, count in Counter(tokens).items()
        ]

    def _scored(
        self, terms: "list[tantivy.Query]", *, limit: int, keys: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        from tantivy import Occur, Query

        if not terms or not limit:
            return []
        query = Query.boolean_query([(Occur.Should, term) for term in terms])
        if keys is not None:
            wanted = Query.term_set_query(self._index.schema, "key", [int(key) for key in keys])
            query = Query.boolean_query(
                [(Occur.Must, query), (Occur.Must, Query.const_score_query(wanted, 0.0))]
            )
        searcher = self._searcher()
        hits = searcher.search(query, limit=limit, count=False).hits
        found = searcher.fast_field_values("key", [address for _, address in hits])
        return [(cast(int, key), float(score)) for key, (score, _) in zip(found, hits, strict=True)]

    def _read_generation(self) -> int:
        from tantivy import Query

        searcher = self._searcher()
        query = Query.term_query(self._index.schema, "analysis", _ANALYSIS, "basic")
        hits = searcher.search(query, limit=1, count=False).hits
        if not hits:
            return 0
        return cast(int, searcher.fast_field_values("generation", [hits[0][1]])[0])

    def _searcher(self) -> "tantivy.Searcher":
        return self._index.searcher()


def _open(folder: Path | None) -> "tantivy.Index":
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("key", indexed=True, fast=True)
    builder.add_text_field("morphemes", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("bigrams", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("analysis", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("generation", fast=True)
    schema = builder.build()
    if folder is None:
        return tantivy.Index(schema)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return tantivy.Index(schema, path=str(folder), reuse=True)
    except ValueError:  # tantivy's word for files it cannot read; the texts are still in storage
        shutil.rmtree(folder)
        folder.mkdir()
        return tantivy.Index(schema, path=str(folder), reuse=True)
