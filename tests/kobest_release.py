"""Files laid out as those of the KoBEST release, with as many rows, of short made-up texts.

As there, line ends, byte order marks, the order of columns and the spelling of labels differ.
"""

from pathlib import Path

COUNTS = {
    "BoolQ": (3665, 700, 1404),
    "COPA": (3076, 500, 1000),
    "HellaSwag": (2029, 500, 500),
    "SentiNeg": (3649, 400, 397),
    "WiC": (3318, 610, 1260),
}
_TRUTH = ("False", "TRUE", "FALSE", "True")


def header(task: str, split: str) -> list[str]:
    if task == "SentiNeg":
        return {
            "train": ["ID", "Text", "Label"],
            "dev": ["ID", "Label", "Text"],
            "test": ["ID", "Label_origin", "Text_origin", "Label", "Text", "Category_neg"],
        }[split]
    return {
        "BoolQ": ["ID", "Text", "Question", "Answer"],
        "COPA": ["ID", "sentence", "question", "1", "2", "Answer"],
        "HellaSwag": ["context", "choice1", "choice2", "choice3", "choice4", "label"],
        "WiC": [
            *("ID", "Target", "SENTENCE1", "Dictionary 1", "Link 1"),
            *("SENTENCE2", "Dictionary 2", "Link2", "ANSWER"),
        ],
    }[task]


def cells(task: str, split: str, n: int) -> dict[str, str]:
    """Row n, from 1, by its columns."""
    name = f"{split}{n}"
    return {
        "BoolQ": {
            "Text": f"글 {name}.",
            "Question": f"{name}인가?",
            "Answer": _TRUTH[n % 4],
        },
        "COPA": {
            "sentence": f"일 {name}.",
            # With a space at its end, as here and there in the release.
            "question": ("원인", "결과 ")[n % 2],
            "1": f"하나 {name}",
            "2": f"둘 {name}",
            "Answer": "12"[n % 2],
        },
        "HellaSwag": {
            "context": f"앞 {name}.",
            **{f"choice{k}": f"{'가' * k} {name}" for k in range(1, 5)},
            "label": str(n % 4),
        },
        "SentiNeg": {
            "Text": f"말 {name}",
            "Label": str(n % 2),
            "Text_origin": f"본디 {name}",
            "Label_origin": str(1 - n % 2),
            "Category_neg": "1",
        },
        "WiC": {
            "Target": f"배{n}",
            "SENTENCE1": f"[배] {n}.",
            "SENTENCE2": f"이 [배] {n}.",
            "ANSWER": _TRUTH[n % 4],
        },
    }[task]


def write(folder: Path) -> Path:
    """Write all files into a folder."""
    for task, counts in COUNTS.items():
        (folder / task).mkdir(parents=True, exist_ok=True)
        for split, count in zip(("train", "dev", "test"), counts, strict=True):
            names = header(task, split)
            lines = ["\t".join(names)]
            for n in range(1, count + 1):
                row = {"ID": str(n), **cells(task, split, n)}
                lines.append("\t".join(row.get(name, "-") for name in names))
            excel = task != "HellaSwag"
            text = ("\r\n" if excel else "\n").join(lines)
            data = text.encode("utf-8-sig") if excel else f"{text}\n".encode()
            (folder / task / f"{split}.tsv").write_bytes(data)
    return folder


def replace_line(folder: Path, file: str, line: int, text: str) -> None:
    """Put another line into a file; lines from 1."""
    path = folder / file
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = text.encode() + (b"\r" if lines[line - 1].endswith(b"\r") else b"")
    path.write_bytes(b"\n".join(lines))
