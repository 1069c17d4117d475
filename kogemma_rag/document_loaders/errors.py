"""Why a file cannot be read, in words for the person who has to do something about it."""

from pathlib import Path
from typing import NamedTuple

DAMAGED = "파일이 손상되었습니다. 원본 프로그램에서 열어 다시 저장하세요"
TOO_SLOW = "읽는 데 너무 오래 걸려 멈추었습니다. 나누어 저장하세요"
EMPTY = "파일에 글이 없습니다"
PASSWORD = "암호가 걸려 있습니다. 암호를 풀어 다시 저장하세요"  # noqa: S105 - a sentence


class DocumentLoadError(ValueError):
    """A file cannot be read; the rest of its folder can.

    Attributes:
        path: The file.
        reason: A Korean sentence that says what is wrong and what to do.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class UnsupportedFormatError(DocumentLoadError):
    """No loader reads files of this format; nothing is wrong with the file."""


class SkippedPart(NamedTuple):
    """A part of a file, such as an attachment, that was left out of what was read of it."""

    part: str
    """Its name inside the file."""
    reason: str
    """A Korean sentence."""
