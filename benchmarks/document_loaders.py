"""Megabytes and documents a second of each format, against the plain library that reads it.

    python benchmarks/document_loaders.py FOLDER [FOLDER ...]
    python benchmarks/document_loaders.py --large 1000    # a text file of so many megabytes

The plain library only takes text out: no headings, no tables, no places. Ours and the plain one
read the same files, in turn, in this process; then the whole folder is read by one worker process
and by two. --large reads a text of that size by `FolderLoader`, and tells what memory that took.
"""

import argparse
import csv
import resource
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from kogemma_rag.document_loaders import LOADERS, DocumentLoadError, FolderLoader, find_files
from kogemma_rag.document_loaders.formats import true_suffix

LINE = "연차휴가는 한 해에 열다섯 날이며, 다음 해로 닷새까지 넘길 수 있다. "


def plain_pdf(path: Path) -> int:
    """Characters, as PDFium gives them."""
    import pypdfium2

    with pypdfium2.PdfDocument(path) as document:
        return sum(len(page.get_textpage().get_text_range()) for page in document)


def plain_word(path: Path) -> int:
    """Characters of paragraphs."""
    import docx

    return sum(len(paragraph.text) for paragraph in docx.Document(str(path)).paragraphs)


def plain_slides(path: Path) -> int:
    """Characters of text frames."""
    import pptx

    slides = pptx.Presentation(str(path)).slides
    frames = [s.text_frame for slide in slides for s in slide.shapes if s.has_text_frame]
    return sum(len(frame.text) for frame in frames)


def plain_sheets(path: Path) -> int:
    """Characters of cells."""
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    rows = (row for sheet in book.worksheets for row in sheet.iter_rows(values_only=True))
    return sum(len(str(cell)) for row in rows for cell in row if cell is not None)


def plain_hancom(path: Path) -> int:
    """Characters, as unhwp gives them."""
    import unhwp

    return len(unhwp.extract_text(str(path)))


def plain_html(path: Path) -> int:
    """Characters of everything."""
    from bs4 import BeautifulSoup

    return len(BeautifulSoup(path.read_bytes(), "lxml").get_text())


def plain_csv(path: Path) -> int:
    """Characters of cells."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return sum(len(cell) for row in csv.reader(file) for cell in row)


def plain_text(path: Path) -> int:
    """Characters."""
    return len(path.read_text(encoding="utf-8", errors="replace"))


PLAIN: dict[str, Callable[[Path], int]] = {
    ".pdf": plain_pdf,
    ".docx": plain_word,
    ".pptx": plain_slides,
    ".xlsx": plain_sheets,
    ".hwp": plain_hancom,
    ".hwpx": plain_hancom,
    ".html": plain_html,
    ".csv": plain_csv,
    ".txt": plain_text,
    ".md": plain_text,
}


def by_format(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Readable files by the suffix of their true format."""
    found = defaultdict(list)
    for path in (path for folder in folders for path in find_files(folder)):
        try:
            suffix = true_suffix(path)
            list(LOADERS[suffix](path).lazy_load())
        except DocumentLoadError:
            continue
        if suffix in PLAIN:
            found[suffix].append(path)
    return dict(sorted(found.items()))


def seconds(read: Callable[[], object]) -> float:
    """Of the processor."""
    started = time.process_time()
    read()
    return time.process_time() - started


def formats(folders: Sequence[Path], rounds: int) -> None:
    """Print a row for each format."""
    print(
        "| format | files | MB | documents | ours MB/s | documents/s | plain MB/s | plain / ours |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for suffix, paths in by_format(folders).items():
        documents = [len(list(LOADERS[suffix](path).lazy_load())) for path in paths]
        ours, plain = [], []
        for _ in range(rounds):
            ours.append(seconds(lambda: [list(LOADERS[suffix](p).lazy_load()) for p in paths]))  # noqa: B023
            plain.append(seconds(lambda: [PLAIN[suffix](path) for path in paths]))  # noqa: B023
        size = sum(path.stat().st_size for path in paths) / 1e6
        mine, its = statistics.median(ours), max(statistics.median(plain), 1e-6)
        print(
            f"| {suffix} | {len(paths)} | {size:.2f} | {sum(documents)} | {size / mine:.1f} "
            f"| {sum(documents) / mine:.0f} | {size / its:.1f} | {mine / its:.1f} |"
        )


def folder(folders: Sequence[Path], rounds: int) -> None:
    """Print what reading all of a folder takes, by one and by two processes."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    size = sum(path.stat().st_size for each in folders for path in find_files(each)) / 1e6
    for _ in range(rounds + 1):
        for workers, all_taken in taken.items():
            started = time.monotonic()
            for each in folders:
                FolderLoader(each, workers=workers).load()
            all_taken.append(time.monotonic() - started)
    one, two = (statistics.median(each[1:]) for each in taken.values())  # the first one starts them
    print(f"{size:.1f} MB: {one:.2f} s by one process, {two:.2f} s by two, {one / two:.2f} times")


def large(megabytes: int) -> None:
    """Read a long text."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "긴 글.txt")
        block = ((LINE * 5).rstrip() + "\n\n").encode() * 2000
        with path.open("wb") as file:
            while file.tell() < megabytes * 1e6:
                file.write(block)
        size = path.stat().st_size
        started = time.monotonic()
        loader = FolderLoader(path)
        characters = sum(len(document.page_content) for document in loader.lazy_load())
        taken = time.monotonic() - started
    from kogemma_rag.document_loaders import parser_pool

    parser_pool._close_idle()  # memory is known of processes that ended
    host, parser = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{size / 1e6:.0f} MB, {characters:,} characters in {loader.report.files[0].documents} "
        f"documents, {size / 1e6 / taken:.0f} MB/s; memory at most: this process {host:.0f} MiB, "
        f"its parser {parser:.0f} MiB"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, metavar="MB")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.folders:
        formats(options.folders, options.rounds)
        folder(options.folders, options.rounds)
    if options.large:
        large(options.large)


if __name__ == "__main__":
    main()
