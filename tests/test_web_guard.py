"""Who may ask a server and how much; every case names what must come of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from served import ScriptedChatModel

from kogemma_rag import DocumentIndex
from kogemma_rag.web.guard import Guard
from kogemma_rag.web.options import ServeOptions
from kogemma_rag.web.rate_limit import RateLimit

TOKEN = "q9Yk3v0Zt7_Lw2xN5dRb8A"  # noqa: S105 - 22 characters of 6 bits
ANY = "0.0.0.0"  # noqa: S104 - not bound to here
OWN = ("host", "127.0.0.1:8000")
BEARER = ("authorization", f"Bearer {TOKEN}")


async def _inner(scope: Any, receive: Any, send: Any) -> None:
    """A route that reads its body and answers 200."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"secret"})


def _ask(
    options: ServeOptions,
    *headers: tuple[str, str],
    path: str = "/v1/models",
    method: str = "GET",
    body: tuple[bytes, ...] = (b"",),
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what a guard before `_inner` answers."""
    sent: list[dict[str, Any]] = []
    pieces = [
        {"type": "http.request", "body": piece, "more_body": number < len(body)}
        for number, piece in enumerate(body, start=1)
    ]

    async def receive() -> dict[str, Any]:
        return pieces.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.7", 50000),
    }
    asyncio.run(Guard(_inner, options)(scope, receive, send))
    told = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], told, sent[1]["body"]


LOCAL = ServeOptions(index="unused", allowed_origins=("https://wiki.example.kr",))
REMOTE = ServeOptions(index="unused", host=ANY, token=TOKEN, allowed_hosts=("docs.example.kr",))
HOSTS = {
    "127.0.0.1": 200,
    "127.0.0.1:8000": 200,
    "localhost:8000": 200,
    "LocalHost": 200,
    "[::1]:8000": 200,
    "evil.example": 403,
    "evil.example:8000": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil.example": 403,
    "evil.example#localhost": 403,
    "evil.example@localhost": 403,
    "localhost@evil.example": 403,
    "localhost:8000@evil.example": 403,
    "localhost:": 403,
    "localhost:80a": 403,
    "localhost.": 403,
    "localhost evil.example": 403,
    "localhost,evil.example": 403,
    "127.1": 403,
    "2130706433": 403,
    "0x7f.1": 403,
    "0.0.0.0:8000": 403,
    "[::ffff:127.0.0.1]": 403,
    "[::1": 403,
    "": 403,
    "*": 403,
}
ORIGINS = {
    "http://127.0.0.1:8000": 200,
    "https://127.0.0.1:8000": 200,
    "https://wiki.example.kr": 200,
    "http://127.0.0.1": 403,
    "http://127.0.0.1:3000": 403,
    "http://localhost:8000": 403,
    "http://evil.example": 403,
    "https://wiki.example.kr.evil.example": 403,
    "http://wiki.example.kr": 403,
    "https://wiki.example.kr:8443": 403,
    "null": 403,
    "": 403,
    "*": 403,
    "file://": 403,
}
TOKENS = {
    f"Bearer {TOKEN}": 200,
    f"bearer {TOKEN}": 200,
    TOKEN: 401,
    f"Basic {TOKEN}": 401,
    f"Token {TOKEN}": 401,
    f"Bearer  {TOKEN}": 401,
    f"Bearer {TOKEN} ": 401,
    f"Bearer {TOKEN}x": 401,
    f"Bearer {TOKEN[:-1]}": 401,
    f"Bearer {TOKEN.swapcase()}": 401,
    f"Bearer {TOKEN},{TOKEN}": 401,
    "Bearer ": 401,
    "Bearer": 401,
    "Bearer null": 401,
    "Bearer \xff\xfe": 401,
    "": 401,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_host(host: str, status: int) -> None:
    assert _ask(LOCAL, ("host", host))[0] == status


@pytest.mark.parametrize("hosts", [(), (OWN, OWN), (OWN, ("host", "evil.example"))])
def test_exactly_one_host(hosts: tuple[tuple[str, str], ...]) -> None:
    assert _ask(LOCAL, *hosts)[0] == 403


@pytest.mark.parametrize(("origin", "status"), ORIGINS.items())
def test_origin(origin: str, status: int) -> None:
    assert _ask(LOCAL, OWN, ("origin", origin), method="POST")[0] == status


def test_one_origin_only() -> None:
    own = ("origin", "http://127.0.0.1:8000")
    assert _ask(LOCAL, OWN, own, ("origin", "http://evil.example"))[0] == 403


@pytest.mark.parametrize(
    ("site", "mode", "path", "status"),
    [
        ("same-origin", "cors", "/v1/models", 200),
        ("none", "navigate", "/v1/models", 200),
        ("cross-site", "no-cors", "/v1/documents/1/pages/1.png", 403),
        ("same-site", "no-cors", "/v1/models", 403),
        ("cross-site", "navigate", "/v1/models", 403),
        ("cross-site", "navigate", "/", 200),
        ("cross-site", "no-cors", "/static/app.js", 403),
    ],
)
def test_what_other_sites_embed(site: str, mode: str, path: str, status: int) -> None:
    fetched = (("sec-fetch-site", site), ("sec-fetch-mode", mode))
    assert _ask(LOCAL, OWN, *fetched, path=path)[0] == status


@pytest.mark.parametrize(("authorization", "status"), TOKENS.items())
def test_token(authorization: str, status: int) -> None:
    told = ("authorization", authorization)
    assert _ask(REMOTE, ("host", "docs.example.kr"), told)[0] == status


def test_token_nowhere_else() -> None:
    host = ("host", "docs.example.kr")
    assert _ask(REMOTE, host)[0] == 401
    assert _ask(REMOTE, host, ("cookie", f"token={TOKEN}"))[0] == 401
    assert _ask(REMOTE, host, ("x-api-key", TOKEN))[0] == 401
    assert _ask(REMOTE, host, BEARER, BEARER)[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("POST", "/health", 401),
        ("GET", "/health/", 401),
        ("GET", "/health/ready", 401),
        ("GET", "/health/../v1/models", 401),
        ("GET", "//health", 401),
        ("GET", "/metrics", 401),
        ("GET", "/openapi.json", 401),
        ("GET", "/", 200),
        ("GET", "/static/app.js", 200),
        ("POST", "/static/app.js", 401),
        ("GET", "/staticx", 401),
        ("OPTIONS", "/v1/models", 401),
    ],
)
def test_what_asks_for_no_token(method: str, path: str, status: int) -> None:
    assert _ask(REMOTE, ("host", "docs.example.kr"), method=method, path=path)[0] == status


def test_refusals_tell_nothing_and_carry_security_headers() -> None:
    status, headers, body = _ask(REMOTE, ("host", "docs.example.kr"))
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"host": ANY}, "give a token"),
        ({"host": "192.0.2.1"}, "give a token"),
        ({"host": "::"}, "give a token"),
        ({"host": "example.kr"}, "give a token"),
        ({"host": ANY, "token": TOKEN}, "allowed_hosts"),
        ({"token": TOKEN[:-1]}, "at least 22"),
        ({"token": "가" * 22}, "printable ASCII"),
        ({"token": "a b" * 10}, "printable ASCII"),
        ({"documents": Path("a"), "data": Path("b/../a/data")}, "choose another folder for data"),
        ({"documents": Path("a/uploads"), "data": Path("a")}, "choose another folder for data"),
        ({"allowed_origins": ("*",)}, "no origin"),
        ({"allowed_origins": ("https://a.kr/",)}, "no origin"),
    ],
)
def test_unsafe_options_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ServeOptions(index="unused", **given)


def test_token_is_not_shown() -> None:
    assert TOKEN not in repr(REMOTE)


def test_body_limits() -> None:
    megabyte = 1024 * 1024
    options = ServeOptions(index="unused", max_upload_bytes=3 * megabyte)
    announced = ("content-length", str(megabyte + 1))
    assert _ask(options, OWN, announced, method="POST")[0] == 413
    upload = {"path": "/v1/documents", "method": "POST"}
    assert _ask(options, OWN, announced, **upload)[0] == 200
    assert _ask(options, OWN, ("content-length", str(3 * megabyte)), **upload)[0] == 200
    assert _ask(options, OWN, ("content-length", str(3 * megabyte + 1)), **upload)[0] == 413
    assert _ask(options, OWN, ("content-length", "9" * 5000), **upload)[0] == 413


def test_rate_limit_by_hand() -> None:
    now = 0.0
    limit = RateLimit(2, clock=lambda: now)
    assert [limit.wait("a"), limit.wait("a"), limit.wait("a"), limit.wait("b")] == [0, 0, 30, 0]
    now = 29.0
    assert limit.wait("a") == 1
    now = 30.0
    assert [limit.wait("a"), limit.wait("a")] == [0, 30]


def test_rate_limit_answers_429() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": headers}
    guard = Guard(_inner, ServeOptions(index="unused", rate_limit=1))
    for _ in range(2):
        asyncio.run(guard(dict(scope), receive, send))
    started = [message for message in sent if message["type"] == "http.response.start"]
    assert [message["status"] for message in started] == [200, 429]
    assert (b"retry-after", b"60") in started[1]["headers"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The whole application, as others may reach it."""
    from kogemma_rag.web.app import create_app

    with DocumentIndex.open(tmp_path_factory.mktemp("index") / "index") as index:
        index.add_documents([Document("연차는 15일이다.", metadata={"source": "규정.txt"})])
        yield create_app(
            ServeOptions(
                index=index,
                chat_model=ScriptedChatModel(script="x"),
                host=ANY,
                token=TOKEN,
                allowed_hosts=("docs.example.kr",),
                allowed_origins=("https://wiki.example.kr",),
            )
        )


def _request(
    app: Any, method: str, path: str, content: Any = None, **headers: str
) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        base = "http://docs.example.kr"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, content=content, headers=headers)

    return asyncio.run(ask())


def test_every_route_asks_for_the_token(guarded: Any) -> None:
    paths = guarded.openapi()["paths"]
    asked = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    open_routes = [
        (method, path)
        for method, path in asked
        if _request(guarded, method, path).status_code != 401
    ]
    assert len(asked) >= 8
    assert open_routes == [("GET", "/health")]


def test_error_from_within_carries_security_headers(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: DocumentIndex) -> None:
        raise RuntimeError("the secret passage")

    monkeypatch.setattr(DocumentIndex, "info", broken)
    answer = _request(guarded, "GET", "/v1/models", Authorization=f"Bearer {TOKEN}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_body_of_untold_length_ends_at_the_limit(guarded: Any) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 4 * 1024 * 1024:
            sent += 65_536
            yield b" " * 65_536

    answer = _request(guarded, "POST", "/v1/search", pieces(), Authorization=f"Bearer {TOKEN}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert "1,048,576바이트까지" in answer.json()["error"]["message"]


def test_only_named_origins_are_let_in(guarded: Any) -> None:
    wanted = {"Access-Control-Request-Method": "POST"}
    wiki = _request(guarded, "OPTIONS", "/v1/search", Origin="https://wiki.example.kr", **wanted)
    assert wiki.status_code == 200
    assert wiki.headers["access-control-allow-origin"] == "https://wiki.example.kr"
    evil = _request(guarded, "OPTIONS", "/v1/search", Origin="https://evil.example", **wanted)
    assert evil.status_code == 403
    assert "access-control-allow-origin" not in evil.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/docs",
        "/redoc",
    ],
)
def test_no_file_but_the_pages_own(guarded: Any, path: str) -> None:
    answer = _request(guarded, "GET", path, Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}
