"""Each file of an index is cut off and has bits flipped, many times; then the index is asked.

    python tests/faults/damage.py --times 200

Every time the answers must be those of the sound index, or a typed error must tell of the damage.
"""

import argparse
import json
import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from small_index import group, in_a_child, open_index, sentence

from kogemma_rag.database import StorageError
from kogemma_rag.index import DocumentIndex

QUERIES = [sentence(2, 0, 3), sentence(5, 1, 2)[:20], "서울 도서관 규정", "휴가 직원", "없는낱말"]


def build(folder: Path, groups: int) -> None:
    """An index with several of everything: segments, replaced and deleted chunks, a tail."""
    with open_index(folder) as index:
        for version in (0, 1):
            for first in range(0, groups, groups // 3):
                numbers = range(first, min(first + groups // 3, groups), 1 + version)
                index.add_documents([d for n in numbers for d in group(n, version, 10)])
                index.vectorstore.save()
        index.delete([f"group-{number}-0" for number in range(0, groups, 4)])
        index.vectorstore.save()


def answers(index: DocumentIndex) -> Any:
    """Of all kinds of search, with scores, as one can compare them."""
    found: list[Any] = []
    for query in QUERIES:
        for condition in (None, {"group": {"$lt": 6}}, {"source": "group-4"}, {"version": 1}):
            store = index.vectorstore
            found += [
                store.similarity_search_with_score(query, 8, filter=condition),
                index.search(query, k=8, filter=condition),
            ]
        found.append([(d, 0.0) for d in index.as_retriever(k=5, weights=(0, 1, 1)).invoke(query)])
    found.append([(d, 0.0) for d in index.vectorstore.get_by_ids(["group-1-1", "group-4-2"])])
    return [
        [(d.id, d.page_content, json.dumps(d.metadata), score) for d, score in one] for one in found
    ]


def ask(folder: Path, expected: Any) -> str:
    """What comes of the index in a folder: "harmless", "detected" or what is wrong."""
    told = []

    def work() -> None:
        logging.disable(logging.WARNING)
        try:
            with open_index(folder) as index:
                same = answers(index) == expected
        except StorageError:
            (folder / "verdict").write_text("detected")
        else:
            (folder / "verdict").write_text("harmless" if same else "WRONG")

    status = in_a_child(work, say=told.append)
    if status < 0:
        return f"CRASH by signal {-status}"
    if status:
        return f"UNTYPED {told[0].strip().splitlines()[-1]}"
    return (folder / "verdict").read_text()


def damages(content: bytes, times: int, random_: random.Random) -> Iterable[tuple[str, bytes]]:
    """The content cut off so many times, and with one to four bits flipped so many times."""
    for _ in range(times if content else 0):
        length = random_.randrange(len(content))
        yield f"cut to {length}", content[:length]
    for _ in range(times if content else 0):
        changed = bytearray(content)
        places = [random_.randrange(len(content)) for _ in range(random_.choice((1, 1, 2, 4)))]
        for place in places:
            changed[place] ^= 1 << random_.randrange(8)
        yield f"bits flipped at {places}", bytes(changed)


def run(
    times: int, *, groups: int, seed: int, scratch: Path | None = None, only: str = ""
) -> dict[str, Counter[str]]:
    """Verdicts by file; those that are no good begin with capitals and name the damage."""
    random_ = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="damage-", dir=scratch))
    verdicts: dict[str, Counter[str]] = {}
    try:
        sound, broken = folder / "sound", folder / "broken"
        assert not in_a_child(lambda: build(sound, groups), say=print)

        def first() -> None:
            with open_index(sound) as index:
                (folder / "expected").write_text(json.dumps(answers(index)))

        assert not in_a_child(first, say=print)
        expected = json.loads((folder / "expected").read_text())
        expected = [[tuple(one) for one in found] for found in expected]
        shutil.copytree(sound, broken)
        assert ask(broken, expected) == "harmless"
        for file in sorted(path for path in sound.rglob("*") if path.is_file()):
            name = str(file.relative_to(sound))
            if only not in name:
                continue
            counts = verdicts.setdefault(name, Counter())
            for what, content in damages(file.read_bytes(), times, random_):
                shutil.rmtree(broken)
                shutil.copytree(sound, broken)
                (broken / name).write_bytes(content)
                verdict = ask(broken, expected)
                counts[f"{verdict}: {what}" if verdict[0].isupper() else verdict] += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=200, help="of cutting and of flipping, a file")
    parser.add_argument("--groups", type=int, default=60, help="of ten chunks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="best on a file system in memory")
    parser.add_argument("--only", default="", help="files with this in their names")
    options = parser.parse_args()
    verdicts = run(
        options.times,
        groups=options.groups,
        seed=options.seed,
        scratch=options.scratch,
        only=options.only,
    )
    bad = 0
    for name, counts in verdicts.items():
        wrong = {verdict: count for verdict, count in counts.items() if verdict[0].isupper()}
        bad += sum(wrong.values())
        print(f"{name}: {counts['detected']} detected, {counts['harmless']} harmless, "
              f"{sum(wrong.values())} not")
        for verdict in list(wrong)[:8]:
            print(f"    {verdict}")
    print(f"{len(verdicts)} files, {sum(c.total() for c in verdicts.values())} times, {bad} bad")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
