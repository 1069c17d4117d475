"""A run in, one self-contained HTML page out: Korean, no network, every text escaped."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup

from kogemma_rag.evaluation.report_comparison import comparison_page
from kogemma_rag.evaluation.report_kobest import kobest_page
from kogemma_rag.evaluation.report_pages import Page
from kogemma_rag.evaluation.report_plots import mark_path
from kogemma_rag.evaluation.report_systems import systems_page
from kogemma_rag.evaluation.report_text import visible

_PAGES: dict[str, Callable[[Mapping[str, Any]], Page]] = {
    "retrieval": systems_page,
    "answers": systems_page,
    "kobest": kobest_page,
    "comparison": comparison_page,
}
_FRAME = (
    '<iframe sandbox="allow-scripts" title="평가 보고서" width="100%" height="720" srcdoc="{}">'
    "</iframe>"
)


def render_report(run: Mapping[str, Any]) -> str:
    """The report of a run or of a comparison, as HTML.

    Styles and script are let in by their hashes alone: whatever stands in documents, questions and
    answers is text.

    Args:
        run: As `runs` describes it, or what `compare_runs` gives.

    Raises:
        ValueError: If the run is of no known kind.
    """
    if run.get("kind") not in _PAGES:
        raise ValueError(f"a run of kind {run.get('kind')!r} has no report; known: {[*_PAGES]}")
    css, script = _resource("report.css"), _resource("report.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _template().render(
        page=_PAGES[run["kind"]](run),
        policy=policy,
        css=Markup(css),  # noqa: S704 - files of the package
        script=Markup(script),  # noqa: S704
        mark_path=mark_path,
    )


class Report:
    """A report that a notebook shows inline, shut off from the notebook's own page.

    Attributes:
        html: The whole page.
    """

    def __init__(self, run: Mapping[str, Any]) -> None:
        self.html = render_report(run)

    def _repr_html_(self) -> str:
        return _FRAME.format(escape(self.html))


def show_report(run: Mapping[str, Any]) -> Report:
    """The report of a run or a comparison for a notebook; see `render_report`."""
    return Report(run)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, finalize=_shown)
    return environment.from_string(_resource("report.html.jinja"))


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _resource(name: str) -> str:
    return (files("kogemma_rag.evaluation") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
