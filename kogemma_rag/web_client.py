"""A URL in, what its server sends out, within limits. Knows no document.

Whoever writes a URL, or redirects to one, may aim at what only this machine reaches. Names are
resolved here, every address is checked, and the connection goes to the address that was checked.
"""

import ipaddress
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import httpcore
import httpx

from kogemma_rag import __version__

if TYPE_CHECKING:
    import ssl

USER_AGENT = f"kogemma-rag/{__version__}"
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Of all that is unicast and global in IPv6; what translates to IPv4 is judged by that.
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# zlib: a gzip header is expected.
_GZIP = 31
_URL_BYTES = "%/:?#[]@!$&'()*+,;=~-._"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebLoadError(ValueError):
    """A page cannot be had.

    Attributes:
        url: Its address.
        reason: A Korean sentence that says what is wrong.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class BlockedAddressError(WebLoadError):
    """A URL leads to an address that is not one of the public internet."""


class Limits(NamedTuple):
    """What a request may cost and where it may go."""

    timeout: float = 30.0
    """Seconds for all of it, redirects too; only looking up a name may take longer."""
    max_bytes: int = 20 * 2**20
    """Of a body, unpacked."""
    allow_private: bool = False
    """Whether addresses of an intranet and of this machine may be reached."""


class Response(NamedTuple):
    """What a server sent in the end."""

    url: str
    """After redirects."""
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    """Unpacked."""


def checked_url(url: str) -> httpx.URL:
    """A URL that may be asked for, as far as its text shows.

    Raises:
        WebLoadError: If it is none of http or https, names no host, or holds a user or password.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # may be no name that there is
    except (httpx.InvalidURL, ValueError) as error:
        raise WebLoadError(url, "바른 주소가 아닙니다") from error
    if parsed.userinfo:
        told = str(parsed.copy_with(userinfo=b""))
        raise WebLoadError(told, "사용자 이름이나 암호가 든 주소는 읽지 않습니다")
    if parsed.scheme not in ("http", "https") or not host:
        raise WebLoadError(url, "http:// 나 https:// 로 시작하는 주소만 읽습니다")
    return parsed


def fetch(url: str, limits: Limits) -> Response:
    """Get a URL, following at most MAX_REDIRECTS redirects, each of them checked anew.

    Environment variables for proxies count for nothing. The status may be one of failure.

    Raises:
        BlockedAddressError: If it leads to an address that is not public, and that is not allowed.
        WebLoadError: If there is no whole answer within the limits.
    """
    backend = _CheckedBackend(time.monotonic() + limits.timeout, limits.allow_private)
    target = checked_url(url)
    for _ in range(MAX_REDIRECTS + 1):
        try:
            response, location = _get(target, backend, limits)
        except BlockedAddress as error:
            raise BlockedAddressError(
                str(target),
                f"공개된 인터넷 주소가 아니라 막았습니다({error}). "
                "내부망의 문서라면 allow_private=True로 여세요",
            ) from error
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise WebLoadError(
                str(target), f"{limits.timeout:g}초 안에 다 받지 못했습니다"
            ) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, UnicodeError) as error:
            raise WebLoadError(str(target), f"접속할 수 없습니다({error})") from error
        if location is None:
            return response
        target = _redirected(target, location)
    raise WebLoadError(url, f"다른 주소로 {MAX_REDIRECTS}번 넘게 넘깁니다")


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return checked_url(str(url.join(location)))
    except httpx.InvalidURL as error:
        raise WebLoadError(str(url), "바르지 않은 주소로 넘깁니다") from error


def unpack_gzip(url: str, chunks: Iterable[bytes], max_bytes: int) -> bytes:
    """The content of gzip data, which is never unpacked further than its limit.

    Raises:
        WebLoadError: If it is too large, damaged or cut off.
    """
    body = bytearray()
    unpacker = zlib.decompressobj(_GZIP)
    try:
        for chunk in chunks:
            while chunk and not unpacker.eof:
                body += unpacker.decompress(chunk, max_bytes + 1 - len(body))
                if len(body) > max_bytes:
                    raise _too_large(url, max_bytes)
                chunk = unpacker.unconsumed_tail
    except zlib.error as error:
        raise WebLoadError(url, "압축된 내용이 손상되었습니다") from error
    if not unpacker.eof:
        raise WebLoadError(url, "압축된 내용이 중간에서 끊겼습니다")
    return bytes(body)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also where IPv6 wraps IPv4."""
    parsed: _Address = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is None:
            return parsed in _GLOBAL_IPV6 and parsed.is_global
        parsed = inner
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _get(url: httpx.URL, backend: "_CheckedBackend", limits: Limits) -> tuple[Response, str | None]:
    """The answer, and where it redirects to."""
    target = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    headers = [
        (b"Host", url.netloc),
        (b"User-Agent", USER_AGENT.encode("ascii")),
        (b"Accept", b"text/html, application/xhtml+xml, */*;q=0.8"),
        (b"Accept-Language", b"ko, en;q=0.5"),
        (b"Accept-Encoding", b"gzip"),
    ]
    with (
        httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool,
        pool.stream("GET", target, headers=headers) as answer,
    ):
        fields = {
            name.decode("ascii").lower(): value.decode("latin-1") for name, value in answer.headers
        }
        location = fields.get("location")
        if answer.status in _REDIRECTS and location:
            # As bytes on the wire they are in any encoding.
            location = quote(location.encode("latin-1"), safe=_URL_BYTES)
            return Response(str(url), answer.status, fields, b""), location
        body = _body(str(url), fields, answer.iter_stream(), limits.max_bytes)
        return Response(str(url), answer.status, fields, body), None


def _body(url: str, headers: dict[str, str], chunks: Iterator[bytes], max_bytes: int) -> bytes:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(url, max_bytes)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return unpack_gzip(url, chunks, max_bytes)
    if encoding not in ("identity", ""):
        raise WebLoadError(url, f"모르는 방식으로 압축되어 있습니다({encoding})")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(url, max_bytes)
    return bytes(body)


def _too_large(url: str, max_bytes: int) -> WebLoadError:
    return WebLoadError(url, f"너무 큽니다(최대 {max_bytes:,}바이트)")


@cache
def _tls() -> "ssl.SSLContext":
    return httpx.create_ssl_context(trust_env=False)


class BlockedAddress(Exception):  # noqa: N818 - becomes a BlockedAddressError with its URL
    """An address that may not be connected to."""


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that it has checked, until a point in time."""

    def __init__(self, deadline: float, allow_private: bool) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not self._allow_private and not is_public(address):
                raise BlockedAddress(address)
        error: Exception = OSError("no address")
        for address in addresses:
            try:
                stream = self._backend.connect_tcp(
                    address, port, _remaining(self._deadline), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
            else:
                return _BoundedStream(stream, self._deadline)
        raise error


class _BoundedStream(httpcore.NetworkStream):
    """A stream that ends at a point in time, however slowly its bytes drip."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: "ssl.SSLContext",
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _remaining(self._deadline)
        return _BoundedStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left
