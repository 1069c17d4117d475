"""What a server is to serve and to whom, checked once. Opens nothing."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from kogemma_rag.engines import EngineIndex
    from kogemma_rag.index import DocumentIndex

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
# 128 bits in the 64 characters of base64url.
_SHORTEST_TOKEN = 22
_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - named to be refused without a name


@dataclass(frozen=True)
class ServeOptions:
    """What `create_app` serves.

    Attributes:
        index: Folder of an index, made when absent; address of an engine; or an open index, which
            the caller closes.
        chat_model: As `load_chat_model` takes it, or a model.
        k: Passages to answer from.
        documents: Folder that is synced into the index and served; None: uploads alone.
        watch: Whether to sync the folder whenever something in it changes.
        data: Folder for uploads, their states and feedback; None: in the index's own, and for an
            engine a temporary one, which goes when the server ends.
        token: What every request must bring; needed where others than this machine may ask.
        allowed_hosts: Names that the Host header may give besides the loopback ones and `host`.
        allowed_origins: Other sites whose pages may ask, such as "https://wiki.example.kr".
        max_upload_bytes: Of one request that brings documents.
        max_documents: That may have been uploaded.
        max_waiting: Requests that wait for their turn; one more is answered 429.
        concurrency: Requests that are answered at the same time.
        rate_limit: Requests a minute from one address; None: any number.
        answer_seconds: After which an answer is given up.
    """

    index: "str | Path | DocumentIndex | EngineIndex"
    chat_model: "str | BaseChatModel" = "extractive"
    k: int = 4
    documents: Path | None = None
    watch: bool = False
    data: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_upload_bytes: int = 200 * 1024 * 1024
    max_documents: int = 10_000
    max_waiting: int = 64
    concurrency: int = 16
    rate_limit: int | None = None
    answer_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.token is not None and not _is_strong(self.token):
            raise ValueError(
                f"the token has {len(self.token)} characters; it must be printable ASCII without "
                f"white space, at least {_SHORTEST_TOKEN} long: secrets.token_urlsafe(32) makes one"
            )
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"{self.host or 'any address'} can be reached from other machines: give a token, "
                "or serve on 127.0.0.1"
            )
        if self.host in _ANY_ADDRESS and not self.allowed_hosts:
            raise ValueError(
                f"{self.host or 'any address'} tells no name that the server is asked by: name it "
                "in allowed_hosts"
            )
        if self.data and self.documents and _overlap(self.data, self.documents):
            raise ValueError(
                f"{self.data} and the served folder {self.documents} lie in each other, where "
                "uploads and documents would be mixed: choose another folder for data"
            )
        for origin in self.allowed_origins:
            if not _is_origin(origin):
                raise ValueError(f"{origin!r} is no origin; write it as https://name or with :port")

    @property
    def hosts(self) -> frozenset[str]:
        """All names and addresses that the Host header may give, in lower case."""
        named = {*LOOPBACK_HOSTS, *self.allowed_hosts, self.host} - set(_ANY_ADDRESS)
        return frozenset(name.lower() for name in named)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or name to bind."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


def _is_strong(token: str) -> bool:
    return len(token) >= _SHORTEST_TOKEN and all("!" <= character <= "~" for character in token)


def _is_origin(text: str) -> bool:
    scheme, _, rest = text.partition("://")
    return scheme in ("http", "https") and bool(rest) and not set(rest) & set("/?#@*, ")
