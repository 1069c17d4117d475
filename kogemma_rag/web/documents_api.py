"""HTTP in, the library of documents out: upload, list, retry, delete. Knows no files."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from kogemma_rag.document_loaders import DocumentLoadError
from kogemma_rag.web.admission import ServiceDependency
from kogemma_rag.web.document_library import DocumentNotFoundError, DocumentRefusedError
from kogemma_rag.web.document_states import DocumentState
from kogemma_rag.web.errors_api import ApiError
from kogemma_rag.web.places import NoPageError
from kogemma_rag.web.upload_forms import FORM, MOST_FILES, upload_form

router = APIRouter(prefix="/v1/documents", tags=["documents"])

DocumentId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]

_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MOST_FILES,
                            "items": {"type": "string", "format": "binary"},
                        },
                        "replace": {
                            "type": "string",
                            "description": "Id of an uploaded document that the one file replaces",
                        },
                    },
                }
            }
        },
    }
}


class DocumentList(BaseModel):
    """Documents; `folder` is the name of the served folder, which can be synced."""

    data: list[DocumentState]
    folder: str | None = None


class Accepted(BaseModel):
    """Documents that are being indexed."""

    data: list[DocumentState]


class SyncAccepted(BaseModel):
    """The folder is being read."""

    folder: str
    state: str = "queued"


@contextmanager
def refusals() -> Iterator[None]:
    """Tell clients what the library refuses within."""
    try:
        yield
    except (DocumentNotFoundError, NoPageError) as error:
        raise ApiError(404, str(error), code="not_found") from error
    except DocumentRefusedError as error:
        raise ApiError(409, str(error), code=error.code) from error
    except DocumentLoadError as error:
        raise ApiError(422, f"{error.reason}.", code="unreadable") from error


@router.post("", status_code=202, openapi_extra=_UPLOAD)
async def upload(request: Request, service: ServiceDependency) -> Accepted:
    """Add documents, or replace one; they are indexed soon."""
    async with upload_form(request) as form:
        files = [value for value in form.getlist("file") if isinstance(value, UploadFile)]
        replaces = form.get("replace") or None
        if not files:
            raise ApiError(
                400,
                "파일이 없습니다. file에 파일을 담아 보내세요.",
                param="file",
                code="invalid_value",
            )
        if replaces is not None and (len(files) > 1 or not isinstance(replaces, str)):
            raise ApiError(
                400,
                "한 번에 한 파일로 한 문서만 바꿀 수 있습니다.",
                param="replace",
                code="invalid_value",
            )
        add = partial(service.documents.add, replaces=replaces)
        with refusals():
            ids = [await run_in_threadpool(add, file.filename, file.file) for file in files]
    return Accepted(data=await run_in_threadpool(service.documents.uploaded, ids))


@router.get("")
def list_documents(service: ServiceDependency) -> DocumentList:
    """Every document and its state."""
    served = service.documents.served
    return DocumentList(
        data=service.documents.documents(), folder=None if served is None else served.name
    )


@router.post("/sync", status_code=202)
def sync(service: ServiceDependency) -> SyncAccepted:
    """Read the served folder again: what is new, changed and gone."""
    with refusals():
        service.documents.sync()
    return SyncAccepted(folder=service.documents.served.name if service.documents.served else "")


@router.get("/{document_id}")
def get_document(document_id: DocumentId, service: ServiceDependency) -> DocumentState:
    """One document and its state."""
    with refusals():
        return service.documents.document(document_id)


@router.delete("/{document_id}", status_code=204)
def delete_document(document_id: DocumentId, service: ServiceDependency) -> None:
    """Let a document answer no more. A file that was uploaded is deleted, no other."""
    with refusals():
        service.documents.delete(document_id)


@router.post("/{document_id}/retry", status_code=202)
def retry_document(document_id: DocumentId, service: ServiceDependency) -> DocumentState:
    """Read a document again that failed."""
    with refusals():
        service.documents.retry(document_id)
        return service.documents.document(document_id)
