"""Chat completions as OpenAI's clients ask for them, with the sources of what is answered."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, NamedTuple
from uuid import uuid4

from fastapi import APIRouter, Header, Request
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Send

from kogemma_rag.storage_errors import StorageError
from kogemma_rag.web.admission import AdmissionDependency, ServiceDependency
from kogemma_rag.web.answering import Finished, Found, Piece
from kogemma_rag.web.chat_messages import ChatCompletion, ChatRequest
from kogemma_rag.web.errors_api import ApiError, error_object
from kogemma_rag.web.pacing import unless_gone
from kogemma_rag.web.rendering import answer_html, sources_markdown
from kogemma_rag.web.service import Service
from kogemma_rag.web.sources import Source, cited_sentences

router = APIRouter(prefix="/v1", tags=["chat"])

_KEEP_ALIVE = ": keep-alive\n\n"
_DONE = "data: [DONE]\n\n"
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ChatCompletion,
        "description": "The answer; with `stream`, chunks of it as server-sent events",
        "content": {"text/event-stream": {}},
    }
}

AppendSources = Annotated[bool, Header(alias="X-Append-Sources")]


@router.post("/chat/completions", responses=_STREAMED, dependencies=[AdmissionDependency])
async def create_chat_completion(
    body: ChatRequest,
    request: Request,
    service: ServiceDependency,
    append_sources: AppendSources = False,
) -> Response:
    """Answer the last message from the documents; earlier ones are the conversation so far.

    The server's own prompt is used: system messages and sampling settings are not.
    """
    reply = _reply(body, request, service, append_sources=append_sources or body.append_sources)
    if body.stream:
        return _EventStream(reply.events())
    return JSONResponse(await unless_gone(request, reply.whole()))


class _EventStream(StreamingResponse):
    """Server-sent events, which end at once when the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        # Without the header nginx holds the pieces back.
        super().__init__(events, headers={"X-Accel-Buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        # Cancelled while a piece is sent, the iterator would wait for the garbage collector.
        async with aclosing(self._events):
            await super().stream_response(send)


class _Asked(NamedTuple):
    question: str
    history: list[BaseMessage]


class _Reply:
    """One answer on its way, in the shapes of OpenAI's API."""

    def __init__(self, service: Service, asked: _Asked, base_url: str | None) -> None:
        self._service = service
        self._asked = asked
        self._base_url = base_url
        self._id = f"chatcmpl-{uuid4().hex}"
        self._created = int(time.time())

    async def whole(self) -> dict[str, Any]:
        """The answer as one object."""
        found = Found([], {})
        async with aclosing(self._service.answers.stream(*self._asked)) as parts:
            async for part in parts:
                if isinstance(part, Found):
                    found = part
                elif isinstance(part, Finished):
                    sources = await self._checked(found, part)
                    text = part.answer + self._appendix(sources)
                    choice = {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": part.finish_reason,
                    }
                    return self._object("chat.completion", choice) | _ending(part, sources)
        raise RuntimeError("the chain ended without its citations")

    async def events(self) -> AsyncGenerator[str, None]:
        """The answer as server-sent events; an error is the last of them."""
        try:
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    yield _KEEP_ALIVE if chunk is None else _event(chunk)
        except (ModelError, StorageError, TimeoutError) as error:
            yield _event(error_object(error))
        yield _DONE

    async def _chunks(self) -> AsyncGenerator[dict[str, Any] | None, None]:
        found = Found([], {})
        async with aclosing(self._service.answers.stream(*self._asked)) as parts:
            async for part in parts:
                if part is None:
                    yield None
                elif isinstance(part, Found):
                    found = part
                    sources = await self._service.sources(part.documents, part.scores)
                    yield self._chunk({"role": "assistant", "content": ""}) | {"sources": sources}
                elif isinstance(part, Piece):
                    yield self._chunk({"content": part.text})
                else:
                    sources = await self._checked(found, part)
                    if appendix := self._appendix(sources):
                        yield self._chunk({"content": appendix})
                    yield self._chunk({}, part.finish_reason) | _ending(part, sources)

    async def _checked(self, found: Found, finished: Finished) -> list[Source]:
        """The passages with what is cited of them; none for an answer that is none."""
        documents = found.documents if finished.answered else []
        return await self._service.sources(documents, found.scores, finished.citations)

    def _appendix(self, sources: list[Source]) -> str:
        return "" if self._base_url is None else sources_markdown(sources, self._base_url)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._object("chat.completion.chunk", choice)

    def _object(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._service.answers.model_name,
            "choices": [choice],
        }


def _reply(
    body: ChatRequest, request: Request, service: Service, *, append_sources: bool
) -> _Reply:
    """Check what the fields' types cannot."""
    if body.model not in (None, service.answers.model_name):
        raise ApiError(
            404,
            f"'{body.model}' 모델이 없습니다. 이 서버의 모델은 "
            f"'{service.answers.model_name}'입니다.",
            param="model",
            code="model_not_found",
        )
    turns = [message for message in body.messages if message.role in ("user", "assistant")]
    if not turns or turns[-1].role != "user" or not turns[-1].text.strip():
        raise ApiError(
            400,
            "마지막 메시지는 내용이 있는 질문(user)이어야 합니다.",
            param="messages",
            code="invalid_value",
        )
    history: list[BaseMessage] = [
        HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text)
        for turn in turns[:-1]
    ]
    asked = _Asked(turns[-1].text.strip(), history)
    return _Reply(service, asked, str(request.base_url) if append_sources else None)


def _ending(finished: Finished, sources: list[Source]) -> dict[str, Any]:
    """What stands beside the text of a finished answer."""
    usage = finished.usage
    return {
        "usage": {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
        },
        "sources": sources,
        "answered": finished.answered,
        "citations": cited_sentences(finished.citations),
        "answer_html": answer_html(finished.answer),
    }


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
