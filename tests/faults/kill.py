"""A process that changes an index is killed (-9) at random moments, over and over.

    python tests/faults/kill.py --rounds 1000

What was acknowledged must be there afterwards, and what was not must be there wholly or not at all.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from small_index import group, in_a_child, open_index, sentence

GROUPS, FILES = 40, 4
# A sync starts processes that read files, and takes longer than all else.
OPERATIONS = ("write",) * 12 + ("delete",) * 4 + ("compact",) + ("sync",)


def file_text(number: int, version: int) -> str:
    return "\n\n".join(sentence(1_000 + number, version, part) for part in range(40))


def operation(random_: random.Random) -> dict[str, Any]:
    kind = random_.choice(OPERATIONS)
    if kind in ("write", "delete"):
        return {
            "kind": kind,
            "unit": f"group-{random_.randrange(GROUPS)}",
            "value": [random_.randrange(10**9), random_.randint(1, 12)]
            if kind == "write"
            else None,
        }
    if kind == "sync":
        unit = f"file-{random_.randrange(FILES)}"
        return {"kind": kind, "unit": unit, "value": [random_.randrange(10**9), 0]}
    return {"kind": kind, "unit": None, "value": None}


def change(folder: Path, files: Path, seed: int, told: int) -> None:
    """The process to be killed: says what it begins, and when it is done."""
    random_ = random.Random(seed)
    index = open_index(folder)
    os.write(told, b"ready\n")
    while True:
        step = operation(random_)
        os.write(told, f"{json.dumps(step)}\n".encode())
        number = int((step["unit"] or "-0").split("-")[1])
        if step["kind"] == "write":
            # A group that shrinks is deleted first: two commits, so it never shrinks.
            index.add_documents(group(number, step["value"][0], 12)[: step["value"][1]])
        elif step["kind"] == "delete":
            index.delete([f"group-{number}-{part}" for part in range(12)])
        elif step["kind"] == "sync":
            new = files / "new"
            new.write_text(file_text(number, step["value"][0]), encoding="utf-8")
            new.replace(files / f"file-{number}.txt")
            index.sync(files, progress=False)
        else:
            index.compact()
        os.write(told, b"done\n")


def look(folder: Path, told: int) -> None:
    """Reopen the index, verify it, and tell what is in it."""
    start = time.perf_counter()
    index = open_index(folder)
    index.search("서울", k=1)
    seconds = time.perf_counter() - start
    index.verify()
    groups: dict[str, list[tuple[int, int]]] = {}
    for number in range(GROUPS):
        for document in index.vectorstore.get_by_ids([f"group-{number}-{n}" for n in range(12)]):
            part, version = int(str(document.id).split("-")[2]), document.metadata["version"]
            assert document.page_content == sentence(number, version, part)
            groups.setdefault(f"group-{number}", []).append((part, version))
    files: dict[str, str] = {}
    for number in range(FILES):
        source = f"file-{number}.txt"
        chunks = [
            document for document, _ in index.search("글", k=1_000, filter={"source": source})
        ] or index.vectorstore.similarity_search("글", k=1_000, filter={"source": source})
        chunks.sort(key=lambda chunk: chunk.metadata["start_index"])
        if chunks:
            files[f"file-{number}"] = "\n".join(chunk.page_content for chunk in chunks)
    chunks_now = index.info()["chunks"]
    os.write(
        told, json.dumps([seconds, groups, files, chunks_now], ensure_ascii=True).encode() + b"\n"
    )
    index.close()


class Killing:
    """Rounds of one index, and what must be in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._index, self._files = folder / "index", folder / "files"
        self._files.mkdir()
        self._random = random.Random(seed)
        self._known: dict[str, dict[int, int]] = {}  # of each group: version of each part
        self._file_versions: dict[str, int] = {}
        self.acknowledged = self.killed_within = 0
        self.reopening: list[float] = []
        self.faults: list[str] = []

    def round(self) -> None:
        pending = self._killed()
        reading, writing = os.pipe()
        if in_a_child(lambda: look(self._index, writing), say=self.faults.append):
            os.close(writing)
            os.close(reading)
            return
        os.close(writing)
        with os.fdopen(reading) as told:
            seconds, groups, files, _ = json.loads(told.read())
        self.reopening.append(seconds)
        self._compare_groups(groups, pending)
        self._compare_files(files, pending)

    def _killed(self) -> dict[str, Any] | None:
        """Let a process work, kill it, and learn what it acknowledged; what it was at is left."""
        reading, writing = os.pipe()
        seed = self._random.randrange(2**32)
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            os.close(reading)
            logging.disable(logging.WARNING)
            try:
                change(self._index, self._files, seed, writing)
            except BaseException as error:  # noqa: BLE001 - told, as anything else
                os.write(writing, f"error {type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os.close(writing)
        with contextlib.suppress(PermissionError):
            os.setpgid(child, child)  # so that the processes that read files die with it
        # From the very opening on, or in the midst of the work.
        time.sleep(self._random.choice((0.1, 0.5, 1.0)) * self._random.random())
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading) as told:
            lines = told.read().split("\n")[:-1]
        pending = None
        for line in lines:
            if line.startswith("error"):
                self.faults.append(line)
            elif line == "done":
                self._apply(pending or {})
                pending = None
            elif line != "ready":
                pending = json.loads(line)
        self.killed_within += pending is not None
        return pending

    def _apply(self, step: dict[str, Any]) -> None:
        self.acknowledged += 1
        unit, value = step["unit"], step["value"]
        if step["kind"] == "write":
            self._known.setdefault(unit, {}).update(dict.fromkeys(range(value[1]), value[0]))
        elif step["kind"] == "delete":
            self._known.pop(unit, None)
        elif step["kind"] == "sync":
            self._file_versions[unit] = value[0]

    def _compare_groups(self, groups: dict[str, Any], pending: dict[str, Any] | None) -> None:
        found = {unit: dict(map(tuple, parts)) for unit, parts in groups.items()}
        if found == self._known:
            return
        before = dict(self._known)
        if pending is not None and pending["kind"] in ("write", "delete"):
            self._apply(pending)
            self.acknowledged -= 1
        if found != self._known:
            self.faults.append(f"lost or torn: {before} and {pending} gave {found}")
            self._known = found

    def _compare_files(self, files: dict[str, str], pending: dict[str, Any] | None) -> None:
        possible = {unit: {version} for unit, version in self._file_versions.items()}
        if pending is not None and pending["kind"] == "sync":
            possible.setdefault(pending["unit"], set()).add(pending["value"][0])
        for number in range(FILES):
            unit, text = f"file-{number}", files.get(f"file-{number}", "")
            versions = [
                version
                for version in possible.get(unit, ())
                if all(line in text for line in file_text(number, version).split("\n\n"))
            ]
            if versions:
                self._file_versions[unit] = versions[0]
            elif text or unit in self._file_versions:
                self.faults.append(f"{unit} lost or torn: of {possible.get(unit)} there is {text}")
        # A sync that was killed may have left a file on disk that the next sync reads.
        if pending is not None and pending["kind"] == "sync":
            unit, version = pending["unit"], pending["value"][0]
            file = self._files / f"{unit}.txt"
            if file.exists() and self._file_versions.get(unit) != version:
                number = int(unit.split("-")[1])
                if file.read_text(encoding="utf-8") == file_text(number, version):
                    known = self._file_versions.get(unit)
                    if known is None:
                        file.unlink()
                    else:
                        file.write_text(file_text(number, known), encoding="utf-8")


def run(rounds: int, seed: int, scratch: Path | None = None) -> Killing:
    folder = Path(tempfile.mkdtemp(prefix="kill-", dir=scratch))
    try:
        killing = Killing(folder, seed)
        for _ in range(rounds):
            killing.round()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return killing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path)
    options = parser.parse_args()
    killing = run(options.rounds, options.seed, options.scratch)
    reopening = sorted(killing.reopening)
    print(
        f"{options.rounds} rounds, {killing.acknowledged} operations acknowledged, "
        f"{killing.killed_within} killed within one; {len(killing.faults)} faults; reopened and "
        f"searched in {reopening[len(reopening) // 2]:.3f} s (median), "
        f"{reopening[-1]:.3f} s at most"
    )
    for fault in killing.faults[:20]:
        print(fault)
    raise SystemExit(bool(killing.faults))


if __name__ == "__main__":
    main()
