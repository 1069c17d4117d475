"""Four processes write to an index and eight read it, for a minute.

    python tests/faults/together.py --seconds 60

Nothing acknowledged is lost, nobody meets an error but the lock's time-out, and what is found is of
one commit: each writer keeps a set of documents that all carry the number of its latest change.
"""

import argparse
import collections
import json
import logging
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from langchain_core.documents import Document
from small_index import in_a_child, open_index, sentence

from kogemma_rag.storage_errors import StorageLockedError

SIZE = 6  # documents of a set


def documents(writer: int, number: int) -> list[Document]:
    return [
        Document(
            id=f"set-{writer}-{part}",
            page_content=sentence(writer, number, part),
            metadata={"set": writer, "number": number},
        )
        for part in range(SIZE)
    ]


def write(folder: Path, writer: int, until: float) -> dict[str, int]:
    """Change the set and add a document each time; how often, and how often in vain."""
    counts = collections.Counter(written=0, locked=0)
    with open_index(folder) as index:
        while time.time() < until:
            number = counts["written"] + 1
            extra = Document(id=f"extra-{writer}-{number}", page_content=sentence(writer, number))
            try:
                index.add_documents([*documents(writer, number), extra])
            except StorageLockedError:
                counts["locked"] += 1
            else:
                counts["written"] += 1
    return dict(counts)


def read(folder: Path, reader: int, writers: int, until: float) -> dict[str, int]:
    """Search for whole sets; how often, and how many different states were seen."""
    random_, latest = random.Random(reader), dict.fromkeys(range(writers), 0)
    counts = collections.Counter(searches=0, states=0, locked=0)
    with open_index(folder) as index:
        while time.time() < until:
            writer = random_.randrange(writers)
            condition = {"set": writer}
            query = sentence(writer, latest[writer], 0)
            try:
                if random_.random() < 0.5:
                    found = [d for d, _ in index.search(query, k=SIZE, filter=condition)]
                else:
                    found = index.vectorstore.similarity_search(query, SIZE, filter=condition)
            except StorageLockedError:
                counts["locked"] += 1
                continue
            numbers = {document.metadata["number"] for document in found}
            if not found and not latest[writer]:
                continue
            assert len(found) == SIZE, f"{len(found)} of {SIZE} documents of a set found"
            assert len(numbers) == 1, f"one search saw several commits: {numbers}"
            [number] = numbers
            assert number >= latest[writer], f"{number} seen after {latest[writer]}"
            for document in found:
                part = int(str(document.id).split("-")[2])
                assert document.page_content == sentence(writer, number, part)
            counts["states"] += number > latest[writer]
            counts["searches"] += 1
            latest[writer] = number
    return dict(counts)


def check(folder: Path, written: list[int]) -> None:
    with open_index(folder) as index:
        index.verify()
        for writer, last in enumerate(written):
            expected = [f"extra-{writer}-{number}" for number in range(1, last + 1)]
            found = index.vectorstore.get_by_ids(expected)
            assert [document.id for document in found] == expected, "acknowledged and lost"
            texts = [f"set-{writer}-{part}" for part in range(SIZE)]
            assert index.vectorstore.get_by_ids(texts) == documents(writer, last)
        assert index.info()["chunks"] == sum(written) + SIZE * len(written)


def run(
    seconds: float, *, writers: int = 4, readers: int = 8, scratch: Path | None = None
) -> tuple[list[str], dict[str, int]]:
    """Faults, and sums of what the processes counted."""
    folder = Path(tempfile.mkdtemp(prefix="together-", dir=scratch))
    faults: list[str] = []
    try:
        assert not in_a_child(lambda: open_index(folder / "index").close(), say=faults.append)
        until = time.time() + seconds
        children = []
        for number in range(writers + readers):
            child = os.fork()
            if not child:
                _take_part(folder, number, writers, until)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        told = [json.loads((folder / str(n)).read_text()) for n in range(writers + readers)]
        faults += [one["error"] for one in told if "error" in one]
        sums: collections.Counter[str] = collections.Counter()
        for one in told:
            sums.update({name: value for name, value in one.items() if name != "error"})
        if not faults:
            written = [one["written"] for one in told[:writers]]
            in_a_child(lambda: check(folder / "index", written), say=faults.append)
        return faults, dict(sums)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_part(folder: Path, number: int, writers: int, until: float) -> None:
    """What a forked process does: it writes its result to a file and ends."""
    logging.disable(logging.WARNING)
    result: dict[str, object] = {}

    def work() -> None:
        if number < writers:
            result.update(write(folder / "index", number, until))
        else:
            result.update(read(folder / "index", number, writers, until))

    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        import traceback

        result["error"] = f"{'writer' if number < writers else 'reader'}: {traceback.format_exc()}"
        del error
    (folder / str(number)).write_text(json.dumps(result))
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--scratch", type=Path)
    options = parser.parse_args()
    faults, sums = run(
        options.seconds, writers=options.writers, readers=options.readers, scratch=options.scratch
    )
    print(
        f"{options.writers} writers, {options.readers} readers, {options.seconds:g} s: {sums}, "
        f"{len(faults)} faults"
    )
    for fault in faults[:10]:
        print(fault)
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
