"""The disk of an index is filled up to many points; then the index is changed until it is full.

    python tests/faults/full_disk.py --points 50

Each time old data must be readable, and the same object must go on when space is made. The disk is
a small tmpfs, in a mount namespace of its own (Linux; `unshare` must be allowed).
"""

import argparse
import collections
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from small_index import group, in_a_child, open_index, sentence

from kogemma_rag.index import DocumentIndex
from kogemma_rag.storage_errors import StorageFullError

DISK = 24 << 20  # bytes
GROUPS = 30
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount"]


def can_mount() -> bool:
    """Whether this process may mount file systems of its own."""
    if not shutil.which("unshare"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def state(index: DocumentIndex) -> dict[str, int]:
    """The version of every document."""
    ids = [f"group-{number}-{part}" for number in range(2 * GROUPS) for part in range(10)]
    found = index.vectorstore.get_by_ids(ids)
    return {str(document.id): document.metadata["version"] for document in found}


def check_readable(index: DocumentIndex, known: dict[str, int]) -> None:
    assert state(index) == known, "old data lost or changed"
    for id_ in list(known)[:: max(1, len(known) // 5)]:
        _, number, part = id_.split("-")
        text = sentence(int(number), known[id_], int(part))
        for found in (
            index.search(text, k=1)[0][0],
            index.vectorstore.similarity_search(text, 1)[0],
        ):
            assert found.page_content == text, "old data not found"


def fill(disk: Path, free: int) -> Path:
    """A file that leaves so many bytes free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        room = shutil.disk_usage(disk).free - free
        while room > 0:
            room -= file.write(b"\0" * min(room, 1 << 16))
    return ballast


def change(index: DocumentIndex, step: int, version: int, known: dict[str, int]) -> None:
    """One change; what is known follows when it is acknowledged."""
    if step % 7 == 3:
        number = step % GROUPS
        index.delete([f"group-{number}-{part}" for part in range(10)])
        for part in range(10):
            known.pop(f"group-{number}-{part}", None)
    elif step % 7 == 5:
        index.compact()
    else:
        numbers = range(step % GROUPS, 2 * GROUPS, 7)
        documents = [document for number in numbers for document in group(number, version, 10)]
        index.add_documents(documents)
        known.update({str(document.id): version for document in documents})


def point(disk: Path, free: int, seed: int) -> str:
    """One round on an empty disk: which error came, in short."""
    random_ = random.Random(seed)
    known: dict[str, int] = {}
    with open_index(disk / "index") as index:
        for number in range(GROUPS):
            index.add_documents(group(number, 0, 10))
            known.update({f"group-{number}-{part}": 0 for part in range(10)})
        ballast = fill(disk, free)
        outcome, first = "none", random_.randrange(1_000)
        for step in range(first, first + 30):
            try:
                change(index, step, step + 1, known)
            except StorageFullError as error:
                outcome = type(error).__name__
                break
        check_readable(index, known)
        ballast.unlink()
        change(index, 0, 10_000, known)  # the same object goes on
        check_readable(index, known)
        index.verify()
    with open_index(disk / "index") as index:
        check_readable(index, known)
        index.verify()
    return outcome


def run(points: int, seed: int) -> dict[str, Any]:
    """All points, in the namespace: outcomes, and faults."""
    result: dict[str, Any] = {"outcomes": collections.Counter(), "faults": []}
    for number in range(points):
        disk = Path(tempfile.mkdtemp(prefix="full-disk-"))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        # Closer to nothing than to much: that is where it matters.
        free = int((number / max(1, points - 1)) ** 2 * 1.5e6)

        def work(disk: Path = disk, free: int = free, number: int = number) -> None:
            logging.disable(logging.WARNING)
            outcome = point(disk, free, seed + number)
            (disk.parent / f"{disk.name}.outcome").write_text(outcome)

        told: list[str] = []
        status = in_a_child(work, say=told.append)
        if status:
            result["faults"].append(f"{free} bytes free, status {status}: {''.join(told)}")
        else:
            outcome = disk.parent / f"{disk.name}.outcome"
            result["outcomes"][outcome.read_text()] += 1
            outcome.unlink()
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()
    return result


def run_apart(points: int, seed: int) -> dict[str, Any]:
    """`run` in a mount namespace of its own."""
    command = [*UNSHARE, sys.executable, __file__, "--inside"]
    arguments = ["--points", str(points), "--seed", str(seed)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(run(options.points, options.seed)))
        return
    result = run_apart(options.points, options.seed)
    print(f"{options.points} points: {result['outcomes']}, {len(result['faults'])} faults")
    for fault in result["faults"][:10]:
        print(fault)
    raise SystemExit(bool(result["faults"]))


if __name__ == "__main__":
    main()
