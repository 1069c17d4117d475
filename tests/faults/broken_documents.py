"""Documents are mutated, many times, and read from a folder with sound ones.

    python tests/faults/broken_documents.py [FOLDER ...] --times 2000

Of each format --times mutants are made of a sample and of the sound documents in FOLDERs. Whatever
comes in, the process that reads stays alive and small, no file takes longer than it may, and the
sound files of the folder are read. A mutant is read, refused with a reason, or ends its parser
process.
"""

import argparse
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from sample_documents import FONT, WRITERS

from kogemma_rag.document_loaders import LOADERS, FolderLoader
from kogemma_rag.document_loaders.frames import MEMORY_LIMIT, TIME_LIMIT

SOUND = {"000 온전한 글.txt": "처음 글이다.", "zzz 온전한 글.md": "# 제목\n\n마지막 글이다."}
BATCH = 100
SLACK = 10.0  # seconds: for the start of a process and a busy machine


@dataclass
class Outcome:
    """Of one format."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


def mutant(data: bytes, choose: random.Random) -> bytes:
    """The bytes with some faults; of an archive, often inside one of its members."""
    if data.startswith(b"PK") and choose.random() < 0.7:
        return _with_broken_member(data, choose)
    return _broken(data, choose)


def _with_broken_member(data: bytes, choose: random.Random) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as broken:
        members = archive.infolist()
        chosen = choose.choice(members).filename
        for member in members:
            content = archive.read(member)
            if member.filename == chosen:
                content = _broken(content, choose)
            broken.writestr(member.filename, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _broken(data: bytes, choose: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(choose.choice([1, 1, 2, 5, 20])):
        if not changed:
            break
        place = choose.randrange(len(changed))
        length = choose.choice([1, 1, 2, 4, 16, 256])
        kind = choose.randrange(7)
        if kind == 0:
            changed[place] ^= 1 << choose.randrange(8)
        elif kind == 1:
            changed[place : place + length] = choose.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length] * choose.choice([1, 3, 50])
        elif kind == 4:
            changed[place : place + length] = choose.choice([b"\0", b"\xff"]) * length
        elif kind == 5:
            other = choose.randrange(len(changed))
            changed[place : place + length] = changed[other : other + length]
        else:
            del changed[place:]
    return bytes(changed)


def write_samples(folder: Path) -> None:
    """A sound document of each format that can be written."""
    for suffix, write in WRITERS.items():
        if suffix != ".pdf" or FONT.exists():
            write(folder / f"규칙{suffix}", str)


def seeds(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Sound documents by the suffix of their format."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix.lower() in LOADERS:
                found[path.suffix.lower()].append(path)
    return dict(sorted(found.items()))


def run(
    folders: Sequence[Path], times: int, *, seed: int = 1, only: str = "", progress: bool = False
) -> dict[str, Outcome]:
    """Mutate and read; what came of it, by format."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as samples:
        write_samples(Path(samples))
        for suffix, paths in seeds([Path(samples), *folders]).items():
            if only and suffix != only:
                continue
            choose = random.Random(f"{seed} {suffix}")
            outcome = outcomes[suffix] = Outcome()
            for first in range(0, times, BATCH):
                numbers = range(first, min(first + BATCH, times))
                _read_batch(suffix, paths, numbers, choose, outcome)
                if progress:
                    print(f"{suffix} {numbers.stop}", end="\r", file=sys.stderr, flush=True)
    return outcomes


def _read_batch(
    suffix: str, paths: Sequence[Path], numbers: range, choose: random.Random, outcome: Outcome
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in SOUND.items():
            (folder / file).write_text(text, "utf-8")
        for number in numbers:
            data = mutant(choose.choice(paths).read_bytes(), choose)
            (folder / f"{number:05d}{suffix}").write_bytes(data)
        loader = FolderLoader(folder, root=folder)
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            texts = {
                document.metadata["source"]: document.page_content
                for document in loader.lazy_load()
                if document.metadata["source"] in SOUND
            }
        if texts != SOUND:
            outcome.faults.append(f"sound files: {texts}")
        if len(loader.report.files) != len(numbers) + len(SOUND):
            outcome.faults.append(f"{len(loader.report.files)} files reported")
        for file in loader.report.files:
            if file.source in SOUND:
                continue
            reason = str(file.reason)
            died = "죽었습니다" in reason
            outcome.kinds["died" if died else "slow" if "걸려" in reason else file.outcome] += 1
            allowed = TIME_LIMIT * (1 + file.size / 2**20) + SLACK
            if file.seconds > allowed:
                outcome.faults.append(f"{file.source} took {file.seconds:.0f} s")
                shutil.copy(folder / file.source, Path(tempfile.gettempdir()))
            outcome.slowest = max(outcome.slowest, file.seconds)
        if time.monotonic() - started > len(numbers) * (TIME_LIMIT + SLACK):
            outcome.faults.append("the folder took too long")


def children_kilobytes() -> int:
    """The most memory that one of the parser processes that ended took."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--times", type=int, default=2000, help="of each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="one suffix")
    options = parser.parse_args()
    outcomes = run(
        options.folders, options.times, seed=options.seed, only=options.only, progress=True
    )
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{'format':10} {'read':>6} {'failed':>6} {'died':>5} {'slow':>5} {'slowest':>8}  faults")
    for suffix, outcome in outcomes.items():
        counts = [outcome.kinds[kind] for kind in ("read", "failed", "died", "slow")]
        counts[1] += outcome.kinds["skipped"]
        print(
            f"{suffix:10} {counts[0]:6} {counts[1]:6} {counts[2]:5} {counts[3]:5} "
            f"{outcome.slowest:7.1f}s  {outcome.faults or 'none'}"
        )
    print(
        f"host {own / 1024:.0f} MiB at most, parsers {children_kilobytes() / 1024:.0f} MiB of "
        f"{MEMORY_LIMIT / 2**20:.0f} MiB of address space"
    )
    sys.exit(any(outcome.faults for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
