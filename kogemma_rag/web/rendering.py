"""An answer's Markdown in, HTML that can do nothing out; sources as Markdown for other clients.

What models and documents say is hostile: no HTML of theirs passes, no image is loaded.
"""

import re
from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from nh3 import Cleaner

from kogemma_rag.prompts import describe_source
from kogemma_rag.web.sources import Source

# At most ten numbers, as `citations` lets through.
_MARK = re.compile(r"\[(\d{1,4}(?:, \d{1,4}){0,9})\]")
_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "button"),
}
_ATTRIBUTES: dict[str, set[str]] = {
    "*": set(),  # else every tag may have a title
    "a": {"href"},
    "button": {"type", "class", "data-n"},
    "ol": {"start"},
}
_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]<>|~&])")


def answer_html(answer: str) -> str:
    """The answer as HTML, each [n] a `<button class="citation" data-n="n">`."""
    return _cleaner().clean(_markdown().render(answer))


def sources_markdown(sources: Sequence[Source], base_url: str) -> str:
    """The cited sources as a list, to be appended to an answer; empty where none is cited."""
    cited = [source for source in sources if source["quote"] is not None]
    if not cited:
        return ""
    lines = [
        f"- [{source['n']}] [{_escaped(describe_source(source))}]"
        f"({base_url.rstrip('/')}{source['url']}): {_escaped(source['quote'] or '')}"
        for source in cited
    ]
    return "\n\n---\n\n**출처**\n\n" + "\n".join(lines)


def _escaped(text: str) -> str:
    """The text in one line, in which nothing is Markdown or HTML."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(text.split()))


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    markdown.disable(["image", "html_block", "html_inline"])
    # Before links, so that "[1](address)" is a citation and not a link called 1.
    markdown.inline.ruler.before("link", "citation", _citation)
    return markdown


@cache
def _cleaner() -> Cleaner:
    return Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )


def _citation(state: StateInline, silent: bool) -> bool:
    mark = _MARK.match(state.src, state.pos)
    if mark is None:
        return False
    if not silent:
        for number in mark[1].split(", "):
            token = state.push("html_inline", "", 0)
            token.content = (
                f'<button type="button" class="citation" data-n="{int(number)}">{int(number)}'
                "</button>"
            )
    state.pos = mark.end()
    return True
