"""An Office file in, what its author filled in about it out: title, author, dates.

Read from the file itself: the libraries put their own defaults where a file says nothing.
"""

from pathlib import Path
from zipfile import BadZipFile, ZipFile

from kogemma_rag.document_loaders.dates import iso_date
from kogemma_rag.document_loaders.xml import parse_xml

_PART = "docProps/core.xml"
_MAX_BYTES = 2**20
_NAMES = {
    "{http://purl.org/dc/elements/1.1/}title": "title",
    "{http://purl.org/dc/elements/1.1/}creator": "author",
    "{http://purl.org/dc/terms/}created": "created",
    "{http://purl.org/dc/terms/}modified": "modified",
}
# What programs write for a person who wrote nothing, dates of templates among it.
_NOT_FILLED_IN = frozenset(
    {
        *("word document", "powerpoint presentation", "powerpoint 프레젠테이션", "제목 없음"),
        *("untitled", "presentation title", "슬라이드 1", "slide 1", "프레젠테이션 제목"),
        *("python-docx", "steve canny", "openpyxl", "user", "admin", "administrator", "사용자"),
        *("windows 사용자", "windows user", "microsoft office user", "registered user"),
        *("2013-12-23t23:15:00z", "2013-01-27t09:14:16z", "2013-01-27t09:15:58z"),
    }
)


def core_properties(path: Path) -> dict[str, str]:
    """Of title, author, created and modified (ISO 8601) those that the file states."""
    try:
        with ZipFile(path) as archive:
            data = archive.open(_PART).read(_MAX_BYTES)
        root = parse_xml(data)
    except (KeyError, BadZipFile, RuntimeError, NotImplementedError, EOFError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    for element in root:
        name = _NAMES.get(str(element.tag))
        text = " ".join((element.text or "").split())
        if name is None or not text or text.casefold() in _NOT_FILLED_IN:
            continue
        value = iso_date(text) if name in ("created", "modified") else text
        if value is not None:
            found.setdefault(name, value)
    return found
