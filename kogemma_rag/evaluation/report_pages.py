"""What a page of a report is made of. Knows neither runs nor HTML."""

from dataclasses import dataclass, field

from kogemma_rag.evaluation.report_plots import Plot
from kogemma_rag.evaluation.report_tables import Table, Tone
from kogemma_rag.evaluation.report_text import Piece


@dataclass(frozen=True)
class Part:
    """One passage or answer below a failed question."""

    label: str
    told: str = ""
    pieces: tuple[Piece, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class Failure:
    """A question that went wrong.

    Attributes:
        systems: Numbers of the systems that failed, from 0.
    """

    question: str
    systems: tuple[int, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class FailureGroup:
    """The failures of one document."""

    title: str
    told: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Failures:
    """Failures by document, worst first.

    Attributes:
        told: How many there are, and how many are left out.
        systems: Names, by the numbers of `Failure.systems`.
    """

    told: str
    systems: tuple[str, ...]
    groups: tuple[FailureGroup, ...]


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        id: For links; a word of ours, never of data.
    """

    id: str
    title: str
    sentences: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    failures: Failures | None = None


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    kind: str
    facts: tuple[str, ...]
    sections: tuple[Section, ...] = field(default=())
