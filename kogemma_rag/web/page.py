"""The page's own files, which hold nothing of any document: index.html, styles, scripts."""

import mimetypes
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

router = APIRouter()

_STATIC = Path(__file__).parent / "static"
# The system's table may be anything; a script of another type is not run.
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@router.api_route("/", methods=["GET", "HEAD"])
async def index() -> FileResponse:
    """The page."""
    return _file("index.html")


@router.api_route("/static/{name:path}", methods=["GET", "HEAD"])
async def static(name: str) -> FileResponse:
    """What the page is made of."""
    return _file(name)


def _file(name: str) -> FileResponse:
    path = _files().get(name)
    if path is None:
        raise HTTPException(404)
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-cache"})


@cache
def _files() -> dict[str, Path]:
    """By name; no name that is asked for becomes a path."""
    return {
        path.relative_to(_STATIC).as_posix(): path for path in _STATIC.rglob("*") if path.is_file()
    }
