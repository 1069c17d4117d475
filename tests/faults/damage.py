"""Each file of an index is cut off and has bits flipped, many times; then the index is asked.

    python tests/faults/damage.py --times 200

Every time the answers must be those of the sound index, or a typed error must tell of the damage.
A flipped bit in the tables by which SQLite looks up ids and filters may hide a chunk until `verify`
is called: SQLite has no checksums of its pages. Those are counted apart.
"""

import argparse
import json
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from small_index import group, in_a_child, open_index, sentence

from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage_errors import StorageError

QUERIES = [sentence(2, 0, 3), sentence(5, 1, 2)[:20], "서울 도서관 규정", "없는낱말"]

CONDITIONS = [
    *({"group": {"$lt": 6}}, {"source": "group-4"}),
    *({"$not": {"version": 1}}, {"group": {"$in": [1, 2, 3]}}),
]


def build(folder: Path, groups: int, parts: int) -> None:
    """An index with segments, replaced and deleted chunks; the more parts, the more files."""
    with open_index(folder) as index:
        for version in (0, 1):
            for first in range(0, groups, groups // parts):
                numbers = range(first, min(first + groups // parts, groups), 1 + version)
                index.add_documents([d for n in numbers for d in group(n, version, 10)])
                index.vectorstore.save()
        index.delete([f"group-{number}-0" for number in range(0, groups, 4)])
        index.vectorstore.save()


def answers(index: DocumentIndex) -> Any:
    """Of all kinds of search, with scores, as one can compare them."""
    found: list[Any] = []
    for number, query in enumerate(QUERIES):
        for condition in (None, CONDITIONS[number]):
            found += [
                index.vectorstore.similarity_search_with_score(query, 8, filter=condition),
                index.search(query, k=8, filter=condition),
            ]
        found.append([(d, 0.0) for d in index.as_retriever(k=5, weights=(0, 1, 1)).invoke(query)])
    found.append([(d, 0.0) for d in index.vectorstore.get_by_ids(["group-1-1", "group-4-2"])])
    return [
        [(d.id, d.page_content, json.dumps(d.metadata), score) for d, score in one] for one in found
    ]


def ask(folder: Path, expected: Any) -> str:
    """What comes of the index in a folder: "harmless", "detected" or what is wrong.

    Args:
        folder: Of the index.
        expected: Answers that are right: by the files as they were, and by caches made anew. BM25
            counts deleted chunks until their segment is merged, so its scores may differ.
    """
    told = []

    def work() -> None:
        logging.disable(logging.WARNING)
        try:
            with open_index(folder) as index:
                found = answers(index)
        except StorageError:
            (folder / "verdict").write_text("detected")
        else:
            wrong = [
                [number for number, one in enumerate(known) if found[number] != one]
                for known in expected
            ]
            verdict = f"WRONG answers {min(wrong, key=len)}" if all(wrong) else "harmless"
            if all(wrong) and found_by_verify(folder):
                verdict = "found by verify"
            (folder / "verdict").write_text(verdict)

    status = in_a_child(work, say=told.append)
    if status < 0:
        return f"CRASH by signal {-status}"
    if status:
        return f"UNTYPED {told[0].strip().splitlines()[-1]}"
    return (folder / "verdict").read_text()


def known_answers(sound: Path, scratch: Path, *, anew: bool) -> Any:
    """Of a copy of the sound index, as it is or with its caches made anew."""
    copy, file = scratch / "copy", scratch / "answers"
    shutil.copytree(sound, copy)

    def work() -> None:
        with open_index(copy) as index:
            if anew:
                index.rebuild()
            file.write_text(json.dumps(answers(index)))

    assert not in_a_child(work, say=print)
    shutil.rmtree(copy)
    return [[tuple(one) for one in found] for found in json.loads(file.read_text())]


def found_by_verify(folder: Path) -> bool:
    with open_index(folder) as index:
        try:
            index.verify()
        except StorageError:
            return True
    return False


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
    times: int, *, groups: int, parts: int, seed: int, scratch: Path | None = None, only: str = ""
) -> dict[str, Counter[str]]:
    """Verdicts by file; those that are no good begin with capitals and name the damage."""
    random_ = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="damage-", dir=scratch))
    verdicts: dict[str, Counter[str]] = {}
    try:
        sound, broken = folder / "sound", folder / "broken"
        assert not in_a_child(lambda: build(sound, groups, parts), say=print)

        expected = [known_answers(sound, folder, anew=anew) for anew in (False, True)]
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
    parser.add_argument("--parts", type=int, default=3, help="that the index is written in")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="best on a file system in memory")
    parser.add_argument("--only", default="", help="files with this in their names")
    options = parser.parse_args()
    verdicts = run(
        options.times,
        groups=options.groups,
        parts=options.parts,
        seed=options.seed,
        scratch=options.scratch,
        only=options.only,
    )
    bad = 0
    for name, counts in verdicts.items():
        wrong = {verdict: count for verdict, count in counts.items() if verdict[0].isupper()}
        bad += sum(wrong.values())
        print(
            f"{name}: {counts['detected']} detected, {counts['harmless']} harmless, "
            f"{counts['found by verify']} found by verify, "
            f"{sum(wrong.values())} not"
        )
        for verdict in list(wrong)[:8]:
            print(f"    {verdict}")
    print(f"{len(verdicts)} files, {sum(c.total() for c in verdicts.values())} times, {bad} bad")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
