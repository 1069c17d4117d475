"""Web pages in, LangChain documents out: one by its URL, or all of a sitemap."""

import secrets
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote
from urllib.robotparser import RobotFileParser

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from kogemma_rag.document_loaders import LOADERS, DocumentLoadError, load_file
from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.xml import parse_xml
from kogemma_rag.web_client import (
    USER_AGENT,
    BlockedAddressError,
    Limits,
    Response,
    WebLoadError,
    checked_url,
    fetch,
    unpack_gzip,
)

__all__ = ["BlockedAddressError", "SitemapLoader", "WebLoadError", "WebLoader"]

# Sitemaps that one sitemap names.
MAX_SITEMAPS = 100
# Seconds between pages, whatever robots.txt asks for.
_MAX_DELAY = 30.0
_NOTHING_ALLOWED = ("User-agent: *", "Disallow: /")
_GZIP_MAGIC = b"\x1f\x8b"
# What servers call formats besides their own media types.
_OTHER_MEDIA_TYPES = {
    "application/xhtml+xml": ".html",
    "application/haansofthwp": ".hwp",
    "application/x-hwp": ".hwp",
    "application/hwp+zip": ".hwpx",
    "application/x-pdf": ".pdf",
}


class WebLoader(BaseLoader):
    """A page, or another document that a loader reads, by its URL.

    Metadata is that of the format; "source" is the URL as given, and "url" the one that it
    redirected to, where it did. `alazy_load` works in a thread.

    Args:
        url: http or https, on any port, without user and password.
        timeout: Seconds for the whole answer, redirects too.
        max_bytes: What the document may have, unpacked.
        allow_private: Whether addresses of an intranet and of this machine may be reached. Not for
            URLs that others wrote.

    Raises:
        WebLoadError: If the URL is of another kind.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        max_bytes: int = 20 * 2**20,
        allow_private: bool = False,
    ) -> None:
        checked_url(url)
        self._url = url
        self._limits = Limits(timeout, max_bytes, allow_private)

    def lazy_load(self) -> Iterator[Document]:
        """Get the page and read it.

        Raises:
            BlockedAddressError: If the URL, or one that it redirects to, is none of the public
                internet.
            WebLoadError: If it cannot be had within the limits, or cannot be read.
        """
        yield from _documents(self._url, _successful(fetch(self._url, self._limits)))


class SitemapLoader(BaseLoader):
    """The pages that a sitemap lists, or the sitemaps that an index of sitemaps lists.

    Keeps to robots.txt. A page that cannot be read is named by a warning, and the rest goes on.
    For metadata see `WebLoader`; "modified" is the sitemap's where the page has none.

    Args:
        url: Of the sitemap, plain or packed with gzip.
        max_pages: How many pages are read at most.
        same_host: Whether pages and sitemaps of other hosts are left out.
        timeout: Seconds for each answer.
        max_bytes: What each document may have, unpacked.
        allow_private: As of `WebLoader`.

    Raises:
        ValueError: If there is to be no page.
        WebLoadError: If the URL is of another kind.
    """

    def __init__(
        self,
        url: str,
        *,
        max_pages: int = 1000,
        same_host: bool = True,
        timeout: float = 30.0,
        max_bytes: int = 20 * 2**20,
        allow_private: bool = False,
    ) -> None:
        if max_pages < 1:
            raise ValueError(f"max_pages is {max_pages}; it must be 1 or more")
        self._host = checked_url(url).netloc
        self._url = url
        self._max_pages = max_pages
        self._same_host = same_host
        self._limits = Limits(timeout, max_bytes, allow_private)

    def lazy_load(self) -> Iterator[Document]:
        """Read the sitemap, then page by page.

        Raises:
            WebLoadError: If the sitemap cannot be read.
        """
        robots = _Robots(self._limits)
        seen: set[str] = set()
        for page in self._pages():
            if page.url in seen:
                continue
            if len(seen) == self._max_pages:
                return
            seen.add(page.url)
            try:
                robots.check(page.url)
                response = _successful(fetch(page.url, self._limits))
                if not self._is_wanted(_Entry(response.url, None)):
                    raise WebLoadError(page.url, f"다른 서버로 넘깁니다({response.url})")
                documents = list(_documents(page.url, response))
            except WebLoadError as error:
                warnings.warn(str(error), stacklevel=2)
                continue
            for document in documents:
                if page.modified:
                    document.metadata.setdefault("modified", page.modified)
                yield document

    def _pages(self) -> Iterator["_Entry"]:
        index, entries = _sitemap(self._url, self._limits)
        if not index:
            yield from filter(self._is_wanted, entries)
            return
        for entry in list(filter(self._is_wanted, entries))[:MAX_SITEMAPS]:
            try:
                deeper, pages = _sitemap(entry.url, self._limits)
            except WebLoadError as error:
                warnings.warn(str(error), stacklevel=2)
                continue
            if not deeper:
                yield from filter(self._is_wanted, pages)

    def _is_wanted(self, entry: "_Entry") -> bool:
        try:
            host = checked_url(entry.url).netloc
        except WebLoadError:
            return False
        return not self._same_host or host == self._host


class _Entry(NamedTuple):
    url: str
    modified: str | None


class _Robots:
    """What the robots.txt of each host allows us."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rules: dict[str, RobotFileParser] = {}
        self._next: dict[str, float] = {}

    def check(self, url: str) -> None:
        """Wait for as long as the host wants.

        Raises:
            WebLoadError: If the page is not for programs.
        """
        origin = str(checked_url(url).join("/robots.txt"))
        if origin not in self._rules:
            self._rules[origin] = self._read(origin)
        rules = self._rules[origin]
        if not rules.can_fetch(USER_AGENT, url):
            raise WebLoadError(
                url, "robots.txt가 읽지 못하게 하거나, robots.txt를 읽을 수 없습니다"
            )
        delay = float(min(int(rules.crawl_delay(USER_AGENT) or 0), _MAX_DELAY))
        now = time.monotonic()
        time.sleep(max(0.0, self._next.get(origin, now) - now))
        self._next[origin] = time.monotonic() + delay

    def _read(self, url: str) -> RobotFileParser:
        rules = RobotFileParser(url)
        try:
            response = fetch(url, self._limits)
        except WebLoadError:
            rules.parse(_NOTHING_ALLOWED)
            return rules
        if response.status >= 500:
            rules.parse(_NOTHING_ALLOWED)
        elif response.status >= 400:
            rules.parse([])
        else:
            try:
                rules.parse(response.body.decode("utf-8-sig", "replace").splitlines())
            except ValueError:  # of paths and numbers that are none
                rules = RobotFileParser(url)
                rules.parse(_NOTHING_ALLOWED)
        return rules


def _successful(response: Response) -> Response:
    if not 200 <= response.status < 300:
        raise WebLoadError(response.url, f"서버가 {response.status}(으)로 답했습니다")
    return response


def _sitemap(url: str, limits: Limits) -> tuple[bool, list[_Entry]]:
    """Whether it is an index of sitemaps, and what it lists."""
    from lxml import etree

    response = _successful(fetch(url, limits))
    body = response.body
    if body.startswith(_GZIP_MAGIC):
        body = unpack_gzip(response.url, [body], limits.max_bytes)
    try:
        root = parse_xml(body)
    except SyntaxError as error:
        raise WebLoadError(response.url, f"사이트맵이 아닙니다({error})") from error
    name = etree.QName(root).localname
    if name not in ("urlset", "sitemapindex"):
        raise WebLoadError(response.url, f"사이트맵이 아닙니다(<{name}>)")
    entries = []
    for element in root.iterfind("{*}url" if name == "urlset" else "{*}sitemap"):
        if page := (element.findtext("{*}loc") or "").strip():
            entries.append(_Entry(page, iso_date(element.findtext("{*}lastmod") or "")))
    return name == "sitemapindex", entries


def _documents(url: str, response: Response) -> Iterator[Document]:
    """What the loader of its format reads in a response."""
    stem = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="kogemma-rag-") as folder:
        path = Path(folder, stem + _suffix(response))
        path.write_bytes(response.body)
        try:
            documents = load_file(path)
        except DocumentLoadError as error:
            raise WebLoadError(url, error.reason) from error
    for document in documents:
        metadata = {**document.metadata, "source": url}
        if metadata["title"] == stem:
            metadata["title"] = _name(response.url)
        if response.url != str(checked_url(url)):
            metadata["url"] = response.url
        yield Document(page_content=document.page_content, metadata=metadata)


def _suffix(response: Response) -> str:
    """Under which suffix the content is read: it decides itself, where it can."""
    header = Message()
    header["content-type"] = response.headers.get("content-type", "")
    header["content-disposition"] = response.headers.get("content-disposition", "")
    media_type = header.get_content_type() if response.headers.get("content-type") else ""
    suffix = _suffixes().get(media_type)
    names = (header.get_filename() or "", checked_url(response.url).path)
    named = [PurePosixPath(name).suffix.lower() for name in names]
    named = [own for own in named if own in LOADERS]
    if suffix == ".txt" and named:
        return named[0]  # servers call Markdown and CSV plain text
    if suffix is None and response.body.lstrip()[:15].lower().startswith(
        (b"<!doctype html", b"<html")
    ):
        return ".html"
    return suffix or next(iter(named), ".unknown")


def _suffixes() -> Mapping[str, str]:
    """Media type -> the suffix of its format."""
    own = {kind: suffix for suffix in LOADERS for kind in [LOADERS[suffix].media_types[suffix]]}
    return {**_OTHER_MEDIA_TYPES, **own}


def _name(url: str) -> str:
    """What a document without a title is called."""
    parsed = checked_url(url)
    return PurePosixPath(unquote(parsed.path)).stem or parsed.host
