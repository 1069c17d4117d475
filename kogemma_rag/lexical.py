"""Keys and texts in, BM25 candidates and scores out, over morphemes and bigrams (tantivy).

A cache of the chunk texts in storage. Knows no documents and no vectors, only integer keys.
"""

import logging
import math
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.lexical_files import META_FILE, check_files, record_checksums
from kogemma_rag.morphemes import bare_characters, content_morphemes, question_terms

if TYPE_CHECKING:
    import tantivy

logger = logging.getLogger(__name__)

# Changes whenever the analysis or the fields do, so that an older index is made anew.
_ANALYSIS = "mecab-ko-content+bigrams/2"
# Chosen on the TyDi Korean questions: bigrams find what the analyzer cut wrongly, but know less.
_BIGRAM_WEIGHT = 0.5
_WRITER_MEMORY = 64_000_000  # bytes
_TRIES = 10  # of opening, while another process replaces the files

# How many entries of posting lists a search for candidates reads, the rarest terms' first. Among a
# million chunks of Wikipedia this took a quarter of the time of reading all (2.8 of 10.7 ms), and
# recall of KorQuAD's questions at 1 and 10, once scored in full, stayed what it was.
_POSTINGS = 200_000
# Up to so many keys are looked up one by one; of more, the best texts are tried until k are found.
_FEW_KEYS = 2_000
# BM25 is rounded to so many decimals: sums of the same terms differ by their order in the last.
_DECIMALS = 4


class PreparedText(NamedTuple):
    """A text as it goes into the index, analyzed."""

    morphemes: str
    characters: str


class _Term(NamedTuple):
    texts: int  # that have it
    query: "tantivy.Query"


class LexicalView:
    """One commit of an index; it does not change, and many threads may search it at once.

    BM25 is tantivy's: k1 1.2, b 0.75, lengths kept to within an eighth.

    Attributes:
        generation: What the index was told with the commit; 0 for none.
    """

    def __init__(self, index: "tantivy.Index") -> None:
        self._schema = index.schema
        self._searcher = index.searcher()
        self._asked: tuple[str, tuple[list[_Term], list[_Term]]] | None = None
        self.generation = self._read_generation()

    def __len__(self) -> int:
        return self._searcher.num_docs - 1 if self.generation else 0

    def search(
        self, query: str, k: int, *, keys: Sequence[int] | NDArray[np.int64] | None = None
    ) -> list[int]:
        """Keys of the k best texts that share a term with the query, best first, ties by key.

        In a large index the most common terms count only where the others find too little; `scores`
        counts all of them.

        Args:
            query: NFC text.
            k: At most so many; fewer only when there are no more.
            keys: Only these, ascending, when given.
        """
        terms = self._terms(query)
        if not terms or k <= 0 or not len(self) or (keys is not None and not len(keys)):
            return []
        if keys is None:
            return self._best(terms, k, share=1.0)
        among = np.asarray(keys, np.int64)
        if len(among) <= _FEW_KEYS:
            return self._best(terms, k, share=1.0, looked_up=among)
        return self._best(terms, k, share=len(among) / len(self), allowed=among)

    def scores(self, query: str, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """BM25 of each key's text over morphemes and over bigrams.

        Args:
            query: NFC text.
            keys: Keys in any order.

        Returns:
            Shape (len(keys), 2), higher is better, 0 where no term is shared.
        """
        wanted = np.asarray(keys, np.int64)
        scores = np.zeros((len(wanted), 2), np.float32)
        places = np.sort(wanted)
        rows = np.searchsorted(places, wanted)
        for column, terms in enumerate(self._terms_by_field(query)):
            of_place = np.zeros(len(places), np.float32)
            for start in range(0, len(places), _FEW_KEYS):
                some = places[start : start + _FEW_KEYS]
                found, values = self._hits([term.query for term in terms], len(some), some)
                of_place[np.searchsorted(places, found)] = values
            scores[:, column] = of_place[rows]
        return scores

    def _best(
        self,
        terms: "Sequence[_Term]",
        k: int,
        *,
        share: float,
        looked_up: NDArray[np.int64] | None = None,
        allowed: NDArray[np.int64] | None = None,
    ) -> list[int]:
        """The k best; `share` says how many of the hits are likely to be allowed."""
        used = terms if looked_up is not None else _within(terms, _POSTINGS)
        limit = math.ceil(1.25 * k / share) + 10
        while True:
            keys, scores = self._hits([term.query for term in used], limit, looked_up)
            last = scores[-1] if len(keys) == limit else -np.inf
            if allowed is not None:
                places = np.searchsorted(allowed, keys)
                here = allowed[np.minimum(places, len(allowed) - 1)] == keys
                keys, scores = keys[here], scores[here]
            best = np.lexsort((keys, -scores))[:k]
            # What was not fetched may tie with the last that was.
            if len(best) == k and scores[best[-1]] > last:
                break
            if last > -np.inf:
                limit *= 4
            elif len(best) < k and len(used) < len(terms):
                used = terms
            else:
                break
        return cast(list[int], keys[best].tolist())

    def _hits(
        self, terms: "Sequence[tantivy.Query]", limit: int, keys: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Keys and scores of the best texts, best first."""
        from tantivy import Query

        if not terms or not limit:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        query = _any_of(terms)
        if keys is not None:
            # Eight times as fast as a term set query, for hundreds of keys.
            wanted = _any_of(
                [Query.term_query(self._schema, "key", key, "basic") for key in keys.tolist()]
            )
            query = _all_of([query, Query.const_score_query(wanted, 0.0)])
        hits = self._searcher.search(query, limit=limit, count=False).hits
        found = self._searcher.fast_field_values("key", [address for _, address in hits])
        scores = np.array([score for score, _ in hits], np.float32)
        return np.array(found, np.int64), np.round(scores, _DECIMALS)

    def _terms(self, query: str) -> list[_Term]:
        """What to search for, rarest first; terms that no text has are left out."""
        from tantivy import Query

        morphemes, bigrams = self._terms_by_field(query)
        weighted = [
            _Term(term.texts, Query.boost_query(term.query, _BIGRAM_WEIGHT)) for term in bigrams
        ]
        return sorted([*morphemes, *weighted], key=lambda term: term.texts)

    def _terms_by_field(self, query: str) -> tuple[list[_Term], list[_Term]]:
        """Morphemes and bigrams."""
        asked = self._asked
        if asked is None or asked[0] != query:  # a question is searched for, then scored
            morphemes, bigrams = question_terms(query)
            terms = self._field_terms("morphemes", morphemes), self._field_terms("bigrams", bigrams)
            self._asked = asked = query, terms
        return asked[1]

    def _field_terms(self, field: str, tokens: Iterable[str]) -> list[_Term]:
        from tantivy import Query

        terms = []
        for token, count in Counter(tokens).items():
            if texts := self._searcher.doc_freq(field, token):
                query = Query.term_query(self._schema, field, token, "freq")
                terms.append(_Term(texts, Query.boost_query(query, count)))
        return terms

    def _read_generation(self) -> int:
        from tantivy import Query

        query = Query.term_query(self._schema, "analysis", _ANALYSIS, "basic")
        hits = self._searcher.search(query, limit=1, count=False).hits
        if not hits:
            return 0
        return cast(int, self._searcher.fast_field_values("generation", [hits[0][1]])[0])


class LexicalIndex:
    """An index that grows by commits; readers take its `view`.

    Threads and processes may read while one updates. Whoever calls `update` or `clear` sees to it
    that nobody else does, and has called `reload` since.

    Args:
        folder: Where the files are kept; None keeps them in memory. Files that are damaged, of
            another analysis or of another tantivy are left aside: `generation` is then 0, and the
            next update begins anew.

    Attributes:
        view: The latest commit that is known here.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # over which commit is the latest; never held in a commit
        self._index = _in_memory()
        self._seen: Any = None
        self.view = LexicalView(self._index)
        with self._lock:
            self._look(check=True)

    @property
    def generation(self) -> int:
        """That of the view."""
        return self.view.generation

    @staticmethod
    def prepare(texts: Sequence[str]) -> list[PreparedText]:
        """Analyze NFC texts, which takes nearly all the time of adding them; needs no lock.

        The result can be pickled and is about twice the size of the text. The analyzer holds the
        interpreter: it is processes that make this faster, not threads.
        """
        return [_prepared(text) for text in texts]

    def update(
        self,
        *,
        added: Iterable[tuple[int, str | PreparedText]],
        deleted: Iterable[int],
        generation: int,
    ) -> None:
        """Apply changes in one commit: a reader sees all of them or none.

        Args:
            added: Keys that never were there before, and NFC texts, prepared or not.
            deleted: Keys to drop; unknown ones are no error.
            generation: What `generation` is from now on.

        Raises:
            RuntimeError: If another process updated the index, and this one has not been reloaded.
            OSError: If the files cannot be written; `reload` tells whether the commit came about.
        """
        index = self._index_to_write()
        try:
            _commit(index, added, deleted, generation)
            if self._folder is not None:
                record_checksums(self._folder)
            index.reload()
        except ValueError as error:  # tantivy's word for every failure
            raise OSError(
                f"the lexical index in {self._folder} cannot be written: {error}; see that its "
                "folder may be written to, and that the disk is not full"
            ) from error
        with self._lock:
            self._take(index, self._signature())

    def reload(self) -> None:
        """See what other processes have committed since; costs little when that is nothing."""
        if self._signature() != self._seen:
            with self._lock:
                self._look(check=False)

    def clear(self) -> None:
        """Forget every text; `generation` is 0 afterwards."""
        if self._folder is not None and self._folder.exists():
            shutil.rmtree(self._folder)
        self.close()

    def close(self) -> None:
        """Let go of the files; views that are held stay what they are."""
        with self._lock:
            self._take(_in_memory(), self._signature())

    def _take(self, index: "tantivy.Index", seen: Any) -> None:
        view = LexicalView(index)
        self._index, self._seen, self.view = index, seen, view

    def _look(self, *, check: bool) -> None:
        """Take what is on disk."""
        if self._folder is None:
            return
        for _ in range(_TRIES):
            seen = self._signature()
            try:
                if seen is not None and check:
                    check_files(self._folder)
                self._take(_in_memory() if seen is None else _to_read(self._folder), seen)
            except (FileNotFoundError, ValueError) as error:
                fault = error
                if self._signature() == seen:
                    break
            else:
                return
        logger.warning("the lexical index in %s is left aside: %s", self._folder, fault)
        self._take(_in_memory(), seen)

    def _index_to_write(self) -> "tantivy.Index":
        if self._folder is None:
            return self._index
        if self.generation == 0 and self._folder.exists():
            shutil.rmtree(self._folder)  # nothing in it can be used
        self._folder.mkdir(parents=True, exist_ok=True)
        # Opened anew, since an index that was open before another process wrote knows not of all
        # the files that are to be removed one day.
        index = _to_write(self._folder)
        on_disk = LexicalView(index).generation
        if on_disk != self.generation:
            raise RuntimeError(
                f"the lexical index in {self._folder} is of generation {on_disk}, not "
                f"{self.generation}: another process updated it; call reload() first"
            )
        return index

    def _signature(self) -> Any:
        """Another one whenever tantivy has committed; None without files."""
        if self._folder is None:
            return None
        try:
            status = (self._folder / META_FILE).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _prepared(text: str) -> PreparedText:
    return PreparedText(" ".join(content_morphemes(text)), bare_characters(text))


def _within(terms: Sequence[_Term], postings: int) -> Sequence[_Term]:
    """The first terms, one at least, whose posting lists have so many entries together."""
    total = np.cumsum([term.texts for term in terms])
    return terms[: max(1, int(np.searchsorted(total, postings, side="right")))]


def _any_of(queries: "Sequence[tantivy.Query]") -> "tantivy.Query":
    from tantivy import Occur, Query

    return Query.boolean_query([(Occur.Should, query) for query in queries])


def _all_of(queries: "Sequence[tantivy.Query]") -> "tantivy.Query":
    from tantivy import Occur, Query

    return Query.boolean_query([(Occur.Must, query) for query in queries])


def _commit(
    index: "tantivy.Index",
    added: Iterable[tuple[int, str | PreparedText]],
    deleted: Iterable[int],
    generation: int,
) -> None:
    from tantivy import Document

    schema = index.schema
    # Not in a `with` statement: that commits what an error left half done.
    writer = index.writer(heap_size=_WRITER_MEMORY, num_threads=1)
    try:
        # A kill during a commit leaves files that stand in the way of the next one.
        writer.garbage_collect_files()
        for key in deleted:
            writer.delete_documents_by_term("key", int(key))
        for key, text in added:
            prepared = _prepared(text) if isinstance(text, str) else text
            fields = {
                "key": int(key),
                "morphemes": prepared.morphemes,
                "bigrams": prepared.characters,
            }
            writer.add_document(Document.from_dict(fields, schema))
        # The generation is a document of the same commit: it cannot disagree with the texts.
        writer.delete_documents_by_term("analysis", _ANALYSIS)
        mark = {"analysis": _ANALYSIS, "generation": generation}
        writer.add_document(Document.from_dict(mark, schema))
        writer.commit()
    finally:
        writer.wait_merging_threads()  # lets go of the folder, too


def _in_memory() -> "tantivy.Index":
    import tantivy

    return _configured(tantivy.Index(_schema()))


def _to_write(folder: Path) -> "tantivy.Index":
    """The index in a folder, made when absent; ValueError when tantivy cannot read it."""
    import tantivy

    return _configured(tantivy.Index(_schema(), path=str(folder), reuse=True))


def _to_read(folder: Path) -> "tantivy.Index":
    """The index in a folder, never made there; ValueError when tantivy cannot read it."""
    import tantivy

    if os.access(folder, os.W_OK):
        return _configured(tantivy.Index.open(str(folder)))
    # tantivy makes a lock file even to read. What it has open stays when the links are gone.
    with TemporaryDirectory() as links:
        for path in folder.iterdir():
            if not path.name.startswith(".tantivy"):
                (Path(links) / path.name).symlink_to(path.resolve())
        return _configured(tantivy.Index.open(links))


def _configured(index: "tantivy.Index") -> "tantivy.Index":
    import tantivy

    pairs = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.ngram(2, 2)).build()
    index.register_tokenizer("bigrams", pairs)
    index.config_reader("manual")  # else a thread would watch the folder
    return index


def _schema() -> "tantivy.Schema":
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("key", indexed=True, fast=True)
    builder.add_text_field("morphemes", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("bigrams", tokenizer_name="bigrams", index_option="freq")
    builder.add_text_field("analysis", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("generation", fast=True)
    return builder.build()
