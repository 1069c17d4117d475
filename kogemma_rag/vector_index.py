"""Keys and unit vectors in, nearest keys out, by inner product: segments on disk, a tail in memory.

A cache of the vectors in storage. What came since the files were written is the tail; when it is
long it becomes a segment, merged with those that are no longer, so that there are few and each
vector is written a logarithmic number of times. Knows no documents and no text.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kogemma_rag.vector_manifest import Manifest, read_manifest, write_manifest
from kogemma_rag.vector_segments import (
    Block,
    Segment,
    SegmentError,
    open_segment,
    write_segment,
)

logger = logging.getLogger(__name__)

Blocks = Callable[[int, int | None], Iterator[Block]]
"""The live vectors past a key, up to another (None: all), ascending by key."""

_SUFFIX = ".segment"
_TRIES = 5  # of reading files that another process replaces

# So many vectors are read from storage when an index is opened, at most about.
_TAIL = 2_048
# An index of more is compressed, all but segments so small that this gains nothing: searching
# 100,000 vectors exactly takes some 10 ms, a million compressed ones 3.
_MOST_EXACT = 100_000
_LEAST_COMPRESSED = 16_384
_MOST_DEAD = 0.25  # of a segment, before it is written anew
# Below this share of allowed vectors, copying them is faster than multiplying all.
_FEW = 1 / 8


@dataclass(frozen=True, eq=False)
class VectorView:
    """One state of an index; it does not change, and many threads may search it at once.

    Attributes:
        generation: That of storage it shows; 0 for none.
    """

    generation: int = 0
    _segments: tuple[Segment, ...] = ()
    _tail_keys: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _tail: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    _alive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """By key, up to the largest there is: whether it is here and not deleted."""
    _dead: int = 0

    def __len__(self) -> int:
        return sum(map(len, self._segments)) + len(self._tail_keys) - self._dead

    @property
    def exact(self) -> bool:
        """Whether products are those of the true vectors, to about 1e-6."""
        return all(segment.exact for segment in self._segments)

    @property
    def kind(self) -> str:
        """The FAISS indexes in use, as they would be named there."""
        kinds = {f"IVF{one.lists},SQ8" for one in self._segments if not one.exact}
        exact = any(one.exact for one in self._segments) or len(self._tail_keys) or not kinds
        return " + ".join([*sorted(kinds), *(["Flat"] if exact else [])])

    def search(
        self, query: NDArray[np.float32], k: int, *, keys: NDArray[np.int64] | None = None
    ) -> Block:
        """The keys nearest to a query.

        Args:
            query: Shape (dim,), unit length.
            k: At most so many, fewer only when there are no more.
            keys: Only these, when given.

        Returns:
            Keys and inner products, best first.
        """
        allowed = self._allowed(keys)
        parts = [segment.search(query, k, allowed) for segment in self._segments]
        if len(self._tail_keys):
            parts.append(self._search_tail(query, k, allowed))
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        found, products = (np.concatenate(column) for column in zip(*parts, strict=True))
        best = np.argsort(-products, kind="stable")[:k]
        return found[best], products[best]

    def exact_vectors(
        self, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The vectors of keys as far as they are here uncompressed.

        Returns:
            Which are, shape (n,), and vectors, shape (n, dim), zero for the others.
        """
        known = np.zeros(len(keys), np.bool_)
        vectors = np.zeros((len(keys), self._dimension), np.float32)
        for part, vectors_of in self._exact_parts():
            places = np.minimum(np.searchsorted(part, keys), len(part) - 1)
            here = part[places] == keys
            if here.any():
                vectors[here] = vectors_of(places[here])
                known |= here
        return known, vectors

    @property
    def _dimension(self) -> int:
        return self._segments[0].dimension if self._segments else self._tail.shape[1]

    def _exact_parts(
        self,
    ) -> Iterator[tuple[NDArray[np.int64], Callable[[NDArray[np.int64]], NDArray[np.float32]]]]:
        for segment in self._segments:
            if segment.exact:
                yield segment.keys, segment.vectors
        if len(self._tail_keys):
            yield self._tail_keys, self._tail.__getitem__

    def _allowed(self, keys: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
        """By key, what may be found; None for everything."""
        if keys is None:
            return self._alive if self._dead else None
        allowed = np.zeros(len(self._alive), np.bool_)
        allowed[keys[: np.searchsorted(keys, len(allowed))]] = True
        allowed &= self._alive
        return allowed

    def _search_tail(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> Block:
        """As `Segment.search`."""
        if allowed is None:
            keys, products = self._tail_keys, self._tail @ query
        else:
            rows = np.flatnonzero(allowed[self._tail_keys])
            keys = self._tail_keys[rows]
            if len(rows) < len(self._tail) * _FEW:
                products = self._tail[rows] @ query
            else:
                products = (self._tail @ query)[rows]
        best = np.argpartition(products, -k)[-k:] if k < len(products) else slice(None)
        return keys[best], products[best]


class VectorIndex:
    """Search over unit vectors under integer keys that grow and are never used twice.

    Whoever changes it sees to it that nobody else does, and before `save` and `rebuild` that no
    other process does; anybody may take `view` at any time.

    Args:
        folder: Where the files are kept; None keeps all in memory. Files that are missing or
            damaged are left aside: the view's generation is then 0 and the vectors must be given
            again.

    Attributes:
        view: The latest state.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._manifest: Manifest | None = None  # the last that was read or written
        self._saved = 0  # generation of the files that the view stands on
        self._buffer = np.empty((0, 0), np.float32)  # the tail's, with room to grow
        self._buffer_keys = np.empty(0, np.int64)
        self.view = VectorView()
        self.reload()

    def advance(
        self, *, added: Iterable[Block], deleted: NDArray[np.int64], generation: int
    ) -> None:
        """Make a view with changes applied.

        Args:
            added: Blocks of keys larger than any before.
            deleted: Keys to drop; unknown ones are no error.
            generation: That of the new view.
        """
        view = self.view
        gone = deleted[deleted < len(view._alive)]
        length = len(view._tail_keys)
        for keys, vectors in added:
            self._append(length, keys, vectors)
            length += len(keys)
        tail_keys = self._buffer_keys[:length]
        size = int(tail_keys[-1]) + 1 if length else 0
        alive = np.pad(view._alive, (0, max(0, size - len(view._alive))))
        alive[gone] = False
        dead = view._dead + int(np.count_nonzero(view._alive)) - int(np.count_nonzero(alive))
        alive[tail_keys[len(view._tail_keys) :]] = True
        self.view = replace(
            view,
            generation=generation,
            _tail_keys=tail_keys,
            _tail=self._buffer[:length],
            _alive=alive,
            _dead=dead,
        )

    def worth_saving(self) -> bool:
        """Whether so much changed since the files were written that new ones pay."""
        view = self.view
        return self._folder is not None and (
            len(view._tail_keys) > _TAIL
            or view._dead > _MOST_DEAD * (len(view) + view._dead)
            or any(_is_of_wrong_kind(view, segment) for segment in view._segments)
        )

    def save(self, blocks_of: Blocks) -> None:
        """Write the tail, and what is to be merged with it, into a segment.

        Args:
            blocks_of: The vectors of the view's generation.

        Raises:
            OSError: If the files cannot be written; the old ones and the view stay.
        """
        if self._folder is None or self.view.generation == self._saved:
            return
        view = self._on_files_there_now(self._folder)
        kept = view._segments[: _first_to_write(view)]
        after = int(kept[-1].keys[-1]) if kept else 0
        count = len(view) - sum(_living(view, segment) for segment in kept)
        self._write(
            kept, view._alive, lambda: blocks_of(after, None), count, len(view), view.generation
        )

    def rebuild(self, blocks_of: Blocks, count: int, generation: int) -> None:
        """Write all files anew, without having all vectors in memory.

        Args:
            blocks_of: The vectors of a generation.
            count: How many they are.
            generation: That one.

        Raises:
            OSError: If the files cannot be written.
        """
        if self._folder is None:
            self.clear()
            none = np.empty(0, np.int64)
            self.advance(added=blocks_of(0, None), deleted=none, generation=generation)
            return
        nothing = np.zeros(0, np.bool_)
        self._write((), nothing, lambda: blocks_of(0, None), count, count, generation)

    def reload(self) -> None:
        """Stand on the files that another process has written since; costs little when none."""
        if self._folder is None:
            return
        fault: Exception | None = None
        for _ in range(_TRIES):
            try:
                manifest = read_manifest(self._folder)
                if manifest is None or manifest == self._manifest:
                    return
                view = self._opened(manifest)
            except SegmentError as error:
                fault = error
                continue
            self._stand_on(manifest, view)
            return
        logger.warning("%s; the vectors are taken from storage again", fault)

    def check_files(self) -> str | None:
        """What is wrong with the files, or None; that there are none is not wrong."""
        if self._folder is None:
            return None
        try:
            manifest = read_manifest(self._folder)
            for name, checksum in () if manifest is None else manifest.segments:
                open_segment(self._folder / name, checksum)
        except SegmentError as error:
            return str(error)
        return None

    def clear(self) -> None:
        """Forget every vector; the files stay until the next save, which writes all anew."""
        self.view, self._saved = VectorView(), 0
        self._buffer = np.empty((0, 0), np.float32)  # views may look at what was in the old one

    def _append(self, length: int, keys: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Write behind the tail, where no view looks."""
        needed = length + len(keys)
        if needed > len(self._buffer) or self._buffer.shape[1] != vectors.shape[1]:
            room = max(needed, 2 * length)
            buffer = np.empty((room, vectors.shape[1]), np.float32)
            buffer_keys = np.empty(room, np.int64)
            if length:
                buffer[:length] = self._buffer[:length]
                buffer_keys[:length] = self._buffer_keys[:length]
            self._buffer, self._buffer_keys = buffer, buffer_keys
        self._buffer[length:needed], self._buffer_keys[length:needed] = vectors, keys

    def _on_files_there_now(self, folder: Path) -> VectorView:
        """The view as it is on the files that another process may have written since.

        Its tail has keys only. Where the files cannot be used, all is in the tail.
        """
        view = self.view
        try:
            manifest = read_manifest(folder)
            if manifest is not None and manifest == self._manifest:
                return view
            segments = () if manifest is None else self._segments_of(manifest)
        except SegmentError as error:
            logger.warning("%s; the vectors' files are all written anew", error)
            segments = ()
        past = int(segments[-1].keys[-1]) + 1 if segments else 0
        # Keys that came and went between two states of this view may be in the files.
        alive = np.pad(view._alive, (0, max(0, past - len(view._alive))))
        tail_keys = past + np.flatnonzero(alive[past:])
        dead = sum(map(len, segments)) + len(tail_keys) - len(view)
        return replace(view, _segments=segments, _tail_keys=tail_keys, _alive=alive, _dead=dead)

    def _stand_on(self, manifest: Manifest, view: VectorView) -> None:
        self.view, self._manifest, self._saved = view, manifest, manifest.generation
        self._buffer = np.empty((0, 0), np.float32)

    def _write(
        self,
        kept: tuple[Segment, ...],
        alive: NDArray[np.bool_],
        blocks: Callable[[], Iterator[Block]],
        count: int,
        total: int,
        generation: int,
    ) -> None:
        folder = self._folder or Path()
        folder.mkdir(exist_ok=True)
        segments = [(one.path.name, one.checksum) for one in kept]
        if count:
            name = f"{generation:x}-{secrets.token_hex(4)}{_SUFFIX}"
            compressed = total > _MOST_EXACT and count >= _LEAST_COMPRESSED
            try:
                checksum = write_segment(folder / name, blocks, count, compressed=compressed)
            except BaseException:
                (folder / name).unlink(missing_ok=True)
                raise
            segments.append((name, checksum))
        dead = [np.empty(0, np.int64), *(one.keys[~alive[one.keys]] for one in kept)]
        manifest = Manifest(generation, tuple(segments), np.concatenate(dead))
        write_manifest(folder, manifest)
        named = {name for name, _ in segments}
        for file in folder.iterdir():
            if file.suffix in (_SUFFIX, ".tmp") and file.name not in named:
                file.unlink(missing_ok=True)
        self._stand_on(manifest, self._opened(manifest))

    def _opened(self, manifest: Manifest) -> VectorView:
        """The view of files.

        Raises:
            SegmentError: If a file is not what was written.
        """
        segments = self._segments_of(manifest)
        alive = np.zeros(int(segments[-1].keys[-1]) + 1 if segments else 0, np.bool_)
        for segment in segments:
            alive[segment.keys] = True
        alive[manifest.dead] = False
        return VectorView(manifest.generation, segments, _alive=alive, _dead=len(manifest.dead))

    def _segments_of(self, manifest: Manifest) -> tuple[Segment, ...]:
        """Those that are mapped already are not read again."""
        folder = self._folder or Path()
        mapped = {(one.path.name, one.checksum): one for one in self.view._segments}
        return tuple(
            mapped.get((name, checksum)) or open_segment(folder / name, checksum)
            for name, checksum in manifest.segments
        )


def _first_to_write(view: VectorView) -> int:
    """The number of the first segment that is to be written anew, with all that is behind."""
    segments = view._segments
    for number, segment in enumerate(segments):
        behind = len(view._tail_keys) + sum(map(len, segments[number + 1 :]))
        if (
            len(segment) <= behind
            or _is_of_wrong_kind(view, segment)
            or _living(view, segment) < (1 - _MOST_DEAD) * len(segment)
        ):
            return number
    return len(segments)


def _is_of_wrong_kind(view: VectorView, segment: Segment) -> bool:
    if segment.exact:
        return len(view) > _MOST_EXACT and len(segment) >= _LEAST_COMPRESSED
    return len(view) < _MOST_EXACT // 2  # not at once, lest it goes to and fro


def _living(view: VectorView, segment: Segment) -> int:
    return int(np.count_nonzero(view._alive[segment.keys]))
