"""A model's hub name or directory to what was loaded from it, once per process.

Knows what can be told of a model without loading it, and says why one cannot be loaded. Knows
nothing of what is in it: callers say how to load.
"""

import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from langchain_core.exceptions import (
    ModelConnectionError,
    ModelError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
)

Loaded = TypeVar("Loaded")

# The Ko-Gemma release and the models it was made from, with their windows in tokens.
PRESETS = {
    "nlpai-lab/ko-gemma-2b-v1": 8192,
    "nlpai-lab/ko-gemma-7b-v1": 8192,
    "google/gemma-2b-it": 8192,
    "google/gemma-7b-it": 8192,
}

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_shared: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
_loading = threading.RLock()


def _renew_lock() -> None:
    """In a forked child: a thread of the parent's may have been loading."""
    global _loading
    _loading = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def check_name(name: str) -> None:
    """Refuse what can be neither a hub name nor a directory that exists.

    Raises:
        ValueError: If `name` is a URL.
        FileNotFoundError: If `name` is a path and no directory is there.
    """
    if "://" in name:
        raise ValueError(
            f"{name!r} is a URL; give it as base_url=, and as the model the name that the server "
            f"knows it by, such as {next(iter(PRESETS))!r}"
        )
    if not (Path(name).is_dir() or _HUB_NAME.fullmatch(name)):
        raise FileNotFoundError(
            f"there is no model directory {name!r}; give one that exists, or a hub name such as "
            f"{next(iter(PRESETS))!r}"
        )


def check_url(base_url: str) -> str:
    """Refuse what can be no address of a server, and give the rest without a slash at its end.

    Raises:
        ValueError: If it is no http(s) URL, or holds what may be secret: a user, a password, a
            query.
    """
    parts = urlsplit(base_url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "base_url holds a user name, a password or a query; leave them out and give api_key="
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"base_url={base_url!r} is no address of a server; give one such as "
            "http://localhost:8000/v1"
        )
    return base_url.rstrip("/")


def context_window(name: str) -> int | None:
    """Give a model's window in tokens from the presets or its directory; None: not known yet."""
    config = Path(name) / "config.json"
    if config.is_file():
        window = json.loads(config.read_text("utf-8")).get("max_position_embeddings")
        return int(window) if window else None
    return PRESETS.get(name)


def share(key: Hashable, build: Callable[[], Loaded]) -> Loaded:
    """Give what lives under `key`, building it first where nothing does.

    It lives as long as someone holds it; threads that ask together wait for one building.
    """
    with _loading:
        found: Loaded | None = _shared.get(key)
        if found is None:
            found = _shared[key] = build()
        return found


def load_checkpoint(name: str, load: Callable[..., Loaded], *, token: str | None) -> Loaded:
    """Call `load(name, **hub)`, from the directory, the hub's cache or the hub, in this order.

    Args:
        name: Directory or hub name.
        load: Reads a part of the model; takes the keywords of transformers' `from_pretrained`.
        token: The hub's access token; None uses the one that `hf auth login` left.

    Raises:
        ModelNotFoundError: If the directory lacks what is needed, or the hub has no such model.
        ModelPermissionDeniedError: If the model is gated and the token has no access to it.
        ModelConnectionError: If the model is not in the cache and the hub does not answer.
    """
    if Path(name).is_dir():
        try:
            return load(name, local_files_only=True)
        except OSError as error:
            raise ModelNotFoundError(
                f"cannot load a model from the directory {name!r}: {error}; it needs the files of "
                "the hub's model page, weights as *.safetensors"
            ) from error
    try:
        return load(name, local_files_only=True)
    except OSError:  # not, or not wholly, in the cache
        return _load_from_hub(name, load, token)


def _load_from_hub(name: str, load: Callable[..., Loaded], token: str | None) -> Loaded:
    from httpx import HTTPError
    from huggingface_hub import HfApi

    try:
        # Asked first since it answers at once, where loading would retry for half a minute.
        HfApi(token=token).auth_check(name)
    except (OSError, HTTPError) as error:
        raise _hub_error(name, error) from error
    try:
        return load(name, token=token)
    except OSError as error:
        raise ModelNotFoundError(
            f"cannot load the model {name!r} from the hub: {error}; see that the connection holds "
            "and that it is an instruction-tuned Gemma with *.safetensors weights"
        ) from error


def _hub_error(name: str, error: Exception) -> ModelError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return ModelPermissionDeniedError(
            f"the model {name!r} is gated; accept its licence on its hub page, then run "
            "`hf auth login` or give api_key= an access token"
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFoundError(
            f"there is no directory {name!r} and no such model on the hub; check the spelling, or "
            "give api_key= an access token if it is private"
        )
    return ModelConnectionError(
        f"there is no directory {name!r}, it is not in the hub's cache, and the hub does not "
        f"answer ({error}); connect to it, or run `hf download {name} --local-dir DIR` where "
        "there is a connection and give that directory"
    )
