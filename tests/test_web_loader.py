"""Pages come from a server on this machine: what may not be reached is tested by its refusal."""

import asyncio
import contextlib
import datetime
import gzip
import http.server
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpcore
import pytest

from kogemma_rag import web_client, web_loader
from kogemma_rag.web_client import is_public
from kogemma_rag.web_loader import BlockedAddressError, SitemapLoader, WebLoader, WebLoadError

PUBLIC = "93.184.215.14"
PAGE = (
    "<!doctype html><html><head><title>휴가 안내</title>"
    '<meta http-equiv="Content-Type" content="text/html; charset=euc-kr"></head>'
    "<body><h1>휴가</h1><p>연차는 15일이다. 똠방각하</p></body></html>"
)
CONTENT = "# 휴가\n\n연차는 15일이다. 똠방각하"

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Site:
    """A server on 127.0.0.1 with an answer for each path."""

    def __init__(self) -> None:
        site = self
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                with contextlib.suppress(OSError):  # the client has gone
                    site.answers.get(self.path, status(404))(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()


def body(content: bytes, media_type: str = "text/html", **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", media_type)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int, location: str | None = None) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        if location is not None:
            handler.send_header("Location", location)
        handler.end_headers()

    return answer


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Answer look-ups in turn, the last one for ever; gives the names that were looked up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **named):
        if host == "127.0.0.1":  # of `connect_public_to`
            return real(host, port, *rest, **named)
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(web_client.socket, "getaddrinfo", getaddrinfo)
    return asked


def connect_public_to(monkeypatch: pytest.MonkeyPatch, site: Site) -> list[str]:
    """Let connections to PUBLIC reach the site; gives the addresses that were connected to."""
    connected: list[str] = []

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, host, port, *rest, **named):
            connected.append(host)
            assert host == PUBLIC
            return super().connect_tcp("127.0.0.1", site.port, *rest, **named)

    monkeypatch.setattr(web_client.httpcore, "SyncBackend", Backend)
    return connected


# Pages


def test_cp949_page(site: Site) -> None:
    site.answers["/a"] = body(PAGE.encode("cp949"))
    (document,) = WebLoader(f"{site.url}/a", allow_private=True).load()
    assert document.page_content == CONTENT
    assert document.metadata == {
        "source": f"{site.url}/a",
        "media_type": "text/html",
        "title": "휴가 안내",
        "headings": ["휴가"],
    }
    (asked,) = site.asked
    assert asked[1]["User-Agent"] == "kogemma-rag/0.1.0"
    assert asked[1]["Host"] == f"127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    ("path", "media_type", "content", "kind", "title"),
    [
        ("/규정.txt", "text/plain; charset=utf-8", "연차는 15일".encode(), "text/plain", "규정"),
        ("/a.md", "text/plain", "# 연차\n\n15일".encode(), "text/markdown", "연차"),
        ("/b", "text/csv", "이름,수\n가,1\n".encode("cp949"), "text/csv", "b"),
        ("/down.do", "application/octet-stream", PAGE.encode(), "text/html", "휴가 안내"),
        ("/", "text/plain", "연차는 15일".encode(), "text/plain", "127.0.0.1"),
    ],
)
def test_media_type_decides_with_the_content(
    site: Site, path: str, media_type: str, content: bytes, kind: str, title: str
) -> None:
    from urllib.parse import quote

    site.answers[quote(path)] = body(content, media_type)
    (document,) = WebLoader(site.url + path, allow_private=True).load()
    assert (document.metadata["media_type"], document.metadata["title"]) == (kind, title)
    assert document.metadata["source"] == site.url + path


def test_name_of_a_download(site: Site) -> None:
    site.answers["/down.do?id=1"] = body(
        "이름,수\n가,1\n".encode(),
        "application/octet-stream",
        Content_Disposition="attachment; filename*=UTF-8''%EC%9D%B8%EC%9B%90.csv",
    )
    (document,) = WebLoader(f"{site.url}/down.do?id=1", allow_private=True).load()
    assert document.page_content == "| 이름 | 수 |\n| --- | --- |\n| 가 | 1 |"


def test_what_no_loader_reads(site: Site) -> None:
    site.answers["/a.png"] = body(b"\x89PNG\r\n\x1a\n....", "image/png")
    site.answers["/a.js"] = body(b"alert(1)", "application/javascript")
    with pytest.raises(WebLoadError, match="PNG 그림"):
        WebLoader(f"{site.url}/a.png", allow_private=True).load()
    with pytest.raises(WebLoadError, match="지원하지 않는 형식"):
        WebLoader(f"{site.url}/a.js", allow_private=True).load()
    with pytest.raises(WebLoadError, match="404"):
        WebLoader(f"{site.url}/nothing", allow_private=True).load()


def test_redirects(site: Site) -> None:
    for number in range(6):
        site.answers[f"/{number}"] = status(302, f"/{number + 1}")
    site.answers["/6"] = body(PAGE.encode())
    (document,) = WebLoader(f"{site.url}/1", allow_private=True).load()
    assert document.metadata["source"] == f"{site.url}/1"
    assert document.metadata["url"] == f"{site.url}/6"
    with pytest.raises(WebLoadError, match="5번 넘게"):
        WebLoader(f"{site.url}/0", allow_private=True).load()


async def test_event_loop_is_not_blocked(site: Site) -> None:
    def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(0.5)
        body(PAGE.encode())(handler)

    site.answers["/"] = slow
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    ticking = asyncio.create_task(tick())
    documents = [d async for d in WebLoader(f"{site.url}/", allow_private=True).alazy_load()]
    ticking.cancel()
    assert documents[0].page_content == CONTENT
    assert ticks >= 10


def test_proxies_of_the_environment_count_for_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.answers["/"] = body(PAGE.encode())
    assert WebLoader(f"{site.url}/", allow_private=True).load()[0].page_content == CONTENT


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/a",
        "gopher://example.com/",
        "http://",
        "/a.html",
        "javascript:alert(1)",
        "http://user:password@example.com/",
        "http://user@example.com/",
        "http://[::1",
        "http://0177.0.0.1/",
    ],
)
def test_urls_of_another_kind(url: str) -> None:
    with pytest.raises(WebLoadError):
        WebLoader(url)
    with pytest.raises(WebLoadError):
        SitemapLoader(url)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "017700000001"),
        *("127.1", "0", "0.0.0.0", "127。0。0。1", "10.0.0.1", "172.16.0.1"),  # noqa: S104
        *("192.168.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "[::127.0.0.1]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]"),
        *("[64:ff9b:1::1]", "[2001::1]"),
    ],
)
def test_addresses_that_are_not_public(site: Site, host: str) -> None:
    site.answers["/"] = body(PAGE.encode())
    with pytest.raises(BlockedAddressError, match="막았습니다") as caught:
        WebLoader(f"http://{host}:{site.port}/").load()
    assert isinstance(caught.value, ValueError)
    assert not site.asked


def test_addresses_that_are_public() -> None:
    for address in (PUBLIC, "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"):
        assert is_public(address)


def test_one_private_address_among_public_ones_is_enough(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, [PUBLIC, "127.0.0.1"])
    connected = connect_public_to(monkeypatch, site)
    with pytest.raises(BlockedAddressError):
        WebLoader("http://two.example/").load()
    assert connected == []


def test_name_is_looked_up_once_and_the_checked_address_connected_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, [PUBLIC], ["127.0.0.1"])
    connected = connect_public_to(monkeypatch, site)
    site.answers["/"] = body(PAGE.encode())
    assert WebLoader("http://rebinding.example/").load()[0].page_content == CONTENT
    assert (asked, connected) == (["rebinding.example"], [PUBLIC])
    assert site.asked[0][1]["Host"] == "rebinding.example"


def test_a_name_that_turns_private_between_redirects(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, [PUBLIC], ["127.0.0.1"])
    connect_public_to(monkeypatch, site)
    site.answers["/"] = status(302, "/again")
    with pytest.raises(BlockedAddressError, match=r"again.*127\.0\.0\.1"):
        WebLoader("http://rebinding.example/").load()
    assert [path for path, _ in site.asked] == ["/"]


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://169.254.169.254/latest/meta-data/", BlockedAddressError),
        ("http://[::ffff:169.254.169.254]/", BlockedAddressError),
        ("//127.0.0.1/", BlockedAddressError),
        ("file:///etc/passwd", WebLoadError),
        ("http://user:password@example.com/", WebLoadError),
    ],
)
def test_redirects_are_checked_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch, location: str, error: type[WebLoadError]
) -> None:
    real = socket.getaddrinfo
    connect_public_to(monkeypatch, site)
    monkeypatch.setattr(
        web_client.socket,
        "getaddrinfo",
        lambda host, *rest, **named: real(
            PUBLIC if host == "good.example" else host, *rest, **named
        ),
    )
    site.answers["/"] = status(301, location)
    with pytest.raises(error) as caught:
        WebLoader("http://good.example/").load()
    assert type(caught.value) is error
    assert "password@" not in str(caught.value)


def test_certificates_are_checked_by_name(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.example")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "server.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem")
    site.server.socket = server.wrap_socket(site.server.socket, server_side=True)
    trusting = ssl.create_default_context(cadata=pem.decode())
    monkeypatch.setattr(web_client, "_tls", lambda: trusting)
    resolve_to(monkeypatch, [PUBLIC])
    connect_public_to(monkeypatch, site)
    site.answers["/"] = body(PAGE.encode())
    assert WebLoader("https://good.example/").load()[0].page_content == CONTENT
    with pytest.raises(WebLoadError, match="CERTIFICATE_VERIFY_FAILED"):
        WebLoader("https://other.example/").load()


# Limits


def test_size(site: Site) -> None:
    site.answers["/said"] = body(b"a" * 1001, "text/plain", Content_Length="1001")
    site.answers["/unsaid"] = body(b"a" * 1001, "text/plain")
    site.answers["/fits"] = body(b"a" * 1000, "text/plain")
    for path in ("/said", "/unsaid"):
        with pytest.raises(WebLoadError, match="최대 1,000바이트"):
            WebLoader(site.url + path, allow_private=True, max_bytes=1000).load()
    (document,) = WebLoader(f"{site.url}/fits", allow_private=True, max_bytes=1000).load()
    assert document.page_content == "a" * 1000


def test_gzip(site: Site) -> None:
    packed = gzip.compress(PAGE.encode())
    site.answers["/"] = body(packed, Content_Encoding="gzip")
    site.answers["/cut"] = body(packed[:-20], Content_Encoding="gzip")
    site.answers["/bad"] = body(b"no gzip", Content_Encoding="gzip")
    site.answers["/br"] = body(b"?", Content_Encoding="br")
    assert WebLoader(f"{site.url}/", allow_private=True).load()[0].page_content == CONTENT
    for path, reason in (("/cut", "끊겼습니다"), ("/bad", "손상"), ("/br", r"\(br\)")):
        with pytest.raises(WebLoadError, match=reason):
            WebLoader(site.url + path, allow_private=True).load()


def test_gzip_bomb_is_stopped_early(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    site.answers["/"] = body(bomb, Content_Encoding="gzip")
    most = 0
    real = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._inner = real(bits)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def decompress(self, data: bytes, limit: int) -> bytes:
            nonlocal most
            unpacked = self._inner.decompress(data, limit)
            most += len(unpacked)
            return unpacked

    monkeypatch.setattr(web_client.zlib, "decompressobj", Watched)
    with pytest.raises(WebLoadError, match="너무 큽니다"):
        WebLoader(f"{site.url}/", allow_private=True, max_bytes=2**20).load()
    assert most == 2**20 + 1


def drip_headers(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        handler.wfile.write(b"X-%d: 1\r\n" % number)
        time.sleep(0.1)


def drip_body(handler: http.server.BaseHTTPRequestHandler) -> None:
    body(b"")(handler)
    for _ in range(100):
        handler.wfile.write(b"a")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [drip_headers, drip_body, lambda _: time.sleep(3)])
def test_slow_server(site: Site, answer: Answer) -> None:
    site.answers["/"] = answer
    started = time.monotonic()
    with pytest.raises(WebLoadError, match="안에 다 받지 못했습니다"):
        WebLoader(f"{site.url}/", allow_private=True, timeout=0.5).load()
    assert time.monotonic() - started < 1.5


def test_nobody_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WebLoadError, match="접속할 수 없습니다"):
        WebLoader(f"http://127.0.0.1:{port}/", allow_private=True).load()


# Sitemaps


def urlset(*pages: str) -> bytes:
    listed = "".join(f"<url>{page}</url>" for page in pages)
    return (
        '<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
        f'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">{listed}</urlset>'
    ).encode()


def page(text: str) -> Answer:
    return body(f"<html><title>{text}</title><p>{text}</p></html>".encode())


def sitemap(site: Site, **options: int | bool) -> list[str]:
    loader = SitemapLoader(f"{site.url}/sitemap.xml", allow_private=True, **options)
    return [document.page_content for document in loader.lazy_load()]


def test_sitemap(site: Site) -> None:
    here = site.url
    site.answers["/sitemap.xml"] = body(
        urlset(
            f"<loc> {here}/1 </loc><lastmod>2026-07-01</lastmod>"
            f"<image:image><image:loc>{here}/x.png</image:loc></image:image>",
            f"<loc>{here}/missing</loc>",
            f"<loc>{here}/1</loc>",
            f"<loc>{here}/away</loc>",
            "<loc>http://other.example/3</loc>",
            "<loc>file:///etc/passwd</loc>",
            f"<loc>{here}/2</loc>",
        ),
        "application/xml",
    )
    site.answers["/1"] = page("하나")
    site.answers["/2"] = page("둘")
    site.answers["/away"] = status(302, f"http://localhost:{site.port}/2")
    with pytest.warns(UserWarning, match="서버") as warned:
        documents = SitemapLoader(f"{here}/sitemap.xml", allow_private=True).load()
    assert [document.page_content for document in documents] == ["하나", "둘"]
    assert documents[0].metadata["source"] == f"{here}/1"
    assert documents[0].metadata["modified"] == "2026-07-01"
    assert [str(warning.message) for warning in warned] == [
        f"{here}/missing: 서버가 404(으)로 답했습니다",
        f"{here}/away: 다른 서버로 넘깁니다(http://localhost:{site.port}/2)",
    ]
    assert [path for path, _ in site.asked].count("/robots.txt") == 1


def test_sitemap_packed_and_index(site: Site) -> None:
    index = (
        '<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        + "".join(
            f"<sitemap><loc>{site.url}/{name}</loc></sitemap>"
            for name in ("a.xml.gz", "broken.xml", "deeper.xml", "b.xml")
        )
        + "</sitemapindex>"
    ).encode()
    site.answers["/sitemap.xml"] = body(index, "text/xml")
    site.answers["/deeper.xml"] = body(index, "text/xml")
    site.answers["/broken.xml"] = body(b"<urlset><url>", "text/xml")
    site.answers["/a.xml.gz"] = body(
        gzip.compress(urlset(f"<loc>{site.url}/1</loc>")), "application/x-gzip"
    )
    site.answers["/b.xml"] = body(
        urlset(f"<loc>{site.url}/2</loc>", f"<loc>{site.url}/3</loc>"), "text/xml"
    )
    for number, text in enumerate(("하나", "둘", "셋"), 1):
        site.answers[f"/{number}"] = page(text)
    with pytest.warns(UserWarning, match=r"broken\.xml: 사이트맵이 아닙니다"):
        assert sitemap(site) == ["하나", "둘", "셋"]
    with pytest.warns(UserWarning, match="broken"):
        assert sitemap(site, max_pages=2) == ["하나", "둘"]
    assert [path for path, _ in site.asked].count("/3") == 1


def test_sitemap_that_is_none(site: Site) -> None:
    site.answers["/sitemap.xml"] = page("없음")
    with pytest.raises(WebLoadError, match="사이트맵이 아닙니다"):
        sitemap(site)
    site.answers["/sitemap.xml"] = body(gzip.compress(bytes(2**21)), "application/gzip")
    with pytest.raises(WebLoadError, match="너무 큽니다"):
        sitemap(site, max_bytes=2**20)
    with pytest.raises(ValueError, match="max_pages"):
        SitemapLoader("http://example.com/sitemap.xml", max_pages=0)


def test_sitemap_entities_do_nothing(site: Site) -> None:
    hostile = (
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><urlset><url>'
        f"<loc>{site.url}/1?&a;</loc></url></urlset>"
    ).encode()
    site.answers["/sitemap.xml"] = body(hostile, "text/xml")
    site.answers["/1?"] = page("하나")
    assert sitemap(site) == ["하나"]


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        (status(404), ["하나", "둘"]),
        (status(403), ["하나", "둘"]),
        (status(503), []),
        (body("User-agent: *\nDisallow: /1\n".encode("utf-8-sig"), "text/plain"), ["둘"]),
        (body(b"User-agent: kogemma-rag\nDisallow: /2\n", "text/plain"), ["하나"]),
        (body(b"User-agent: other\nDisallow: /\n", "text/plain"), ["하나", "둘"]),
        (body(b"User-agent: *\nDisallow: //[\n", "text/plain"), []),
        (body("User-agent: *\nCrawl-delay: ²\n".encode(), "text/plain"), []),
    ],
)
@pytest.mark.filterwarnings("ignore:.*robots.txt")
def test_robots(site: Site, robots: Answer, expected: list[str]) -> None:
    site.answers["/sitemap.xml"] = body(
        urlset(f"<loc>{site.url}/1</loc>", f"<loc>{site.url}/2</loc>"), "text/xml"
    )
    site.answers["/1"] = page("하나")
    site.answers["/2"] = page("둘")
    site.answers["/robots.txt"] = robots
    assert sitemap(site) == expected


def test_robots_delay_beyond_all_numbers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_loader, "_MAX_DELAY", 0.1)
    site.answers["/sitemap.xml"] = body(urlset(f"<loc>{site.url}/1</loc>"), "text/xml")
    site.answers["/1"] = page("하나")
    delay = b"User-agent: *\nCrawl-delay: " + b"9" * 400
    site.answers["/robots.txt"] = body(delay, "text/plain")
    assert sitemap(site) == ["하나"]


@pytest.mark.filterwarnings("ignore:.*바르지 않은 주소")
@pytest.mark.parametrize("location", ["//[::1", "http://a:b/", "http://xn--a/"])
def test_sitemap_goes_on_where_urls_are_none(site: Site, location: str) -> None:
    site.answers["/sitemap.xml"] = body(
        urlset(
            *(f"<loc>{url}</loc>" for url in (location, f"{site.url}/1", f"{site.url}/2")),
        ),
        "text/xml",
    )
    site.answers["/1"] = status(302, location)
    site.answers["/2"] = page("둘")
    with pytest.warns(UserWarning, match="/1|바른 주소"):
        assert sitemap(site) == ["둘"]


def test_robots_delay(site: Site) -> None:
    site.answers["/sitemap.xml"] = body(
        urlset(f"<loc>{site.url}/1</loc>", f"<loc>{site.url}/2</loc>"), "text/xml"
    )
    site.answers["/1"] = page("하나")
    site.answers["/2"] = page("둘")
    site.answers["/robots.txt"] = body(b"User-agent: *\nCrawl-delay: 1\n", "text/plain")
    started = time.monotonic()
    assert sitemap(site) == ["하나", "둘"]
    assert time.monotonic() - started >= 1
