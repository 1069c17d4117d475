"""The API as OpenAI's clients and plain HTTP meet it, on a server of 127.0.0.1."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from langchain_core.documents import Document
from langchain_core.exceptions import ModelAPIError
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI
from served import ScriptedChatModel, served

from kogemma_rag import DocumentIndex, ExtractiveChatModel
from kogemma_rag.prompts import NOT_FOUND
from kogemma_rag.web.options import ServeOptions

LEAVE = "근무는 아홉 시에 시작한다. 직원은 해마다 연차휴가를 15일 쓴다. 반차는 4시간이다."
TRIP = "제9조 출장. 국내 출장의 일비는 하루 3만원이다."
LEAVE_SENTENCE = "직원은 해마다 연차휴가를 15일 쓴다."
# Without certificates, which nothing here needs and which take long to load.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_PLAIN = httpx.Client(verify=_NO_TLS, timeout=30)
QUESTION = "연차휴가는 며칠인가요?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    with DocumentIndex.open(tmp_path_factory.mktemp("served") / "index") as index:
        index.add_documents(
            [
                Document(LEAVE, metadata={"source": "규정.pdf", "page": 3, "start_index": 0}),
                Document(TRIP, metadata={"source": "출장.md", "headings": ["출장", "일비"]}),
            ]
        )
        yield index


@pytest.fixture(scope="module")
def url(index: DocumentIndex) -> Iterator[str]:
    model = ExtractiveChatModel(max_sentences=1)
    with served(ServeOptions(index=index, chat_model=model)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def _ask(url: str, **body: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": QUESTION}], **body}
    return _PLAIN.post(f"{url}/v1/chat/completions", json=body)


def _events(text: str) -> list[dict[str, Any]]:
    """The data of a stream of events, which must end as OpenAI's do."""
    events = text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith(("data: ", ": ")) for event in events[:-1])
    return [
        json.loads(event.removeprefix("data: "))
        for event in events[:-2]
        if event.startswith("data: ")
    ]


def test_openai_client(client: openai.OpenAI) -> None:
    model = client.models.list().data[0]
    assert (model.id, model.model_extra) == ("extractive", {"quotes": True})
    answer = client.chat.completions.create(
        model=model.id, messages=[{"role": "user", "content": QUESTION}], temperature=0.3
    )
    told = answer.model_extra or {}
    assert answer.choices[0].message.content == f"{LEAVE_SENTENCE} [1]"
    assert answer.choices[0].finish_reason == "stop"
    assert told["answered"] is True
    source = told["sources"][0]
    assert (source["n"], source["source"], source["page"]) == (1, "규정.pdf", 3)
    assert source["text"] == LEAVE
    assert source["quote"] == LEAVE[source["start"] : source["end"]] == LEAVE_SENTENCE
    assert told["citations"] == [
        {
            "n": 1,
            "chunk_id": source["chunk_id"],
            "quote": LEAVE_SENTENCE,
            "start": LEAVE.index("직원은"),
            "end": LEAVE.index("직원은") + len(LEAVE_SENTENCE),
        }
    ]
    assert told["answer_html"] == (
        f'<p>{LEAVE_SENTENCE} <button type="button" class="citation" data-n="1">1</button></p>\n'
    )
    assert source["url"] == (
        f"/#/documents/{source['document_id']}?chunk={source['chunk_id']}"
        f"&start={source['start']}&end={source['end']}"
    )


def test_openai_client_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="extractive",
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    first, *middle, last = list(stream)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [source["text"] for source in (first.model_extra or {})["sources"]] == [LEAVE, TRIP]
    assert (first.model_extra or {})["sources"][0]["start"] is None
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle) == (
        f"{LEAVE_SENTENCE} [1]"
    )
    assert last.choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.total_tokens == 0  # what quotes counts no tokens
    told = last.model_extra or {}
    assert told["answered"] is True
    assert told["sources"][0]["quote"] == LEAVE_SENTENCE
    assert told["citations"][0]["n"] == 1


def test_langchain_client(url: str) -> None:
    model = ChatOpenAI(base_url=f"{url}/v1", model="extractive", api_key="none")
    assert model.invoke(QUESTION).text == f"{LEAVE_SENTENCE} [1]"
    assert "".join(piece.text for piece in model.stream(QUESTION)) == f"{LEAVE_SENTENCE} [1]"


def test_no_answer_has_no_sources(url: str) -> None:
    body = {"messages": [{"role": "user", "content": "달의 반지름은 얼마인가요?"}]}
    whole = _ask(url, **body).json()
    assert whole["choices"][0]["message"]["content"] == NOT_FOUND
    assert (whole["answered"], whole["sources"], whole["citations"]) == (False, [], [])
    last = _events(_ask(url, stream=True, **body).text)[-1]
    assert (last["answered"], last["sources"], last["citations"]) == (False, [], [])


def test_conversation(url: str) -> None:
    follow_up = {"role": "user", "content": [{"type": "text", "text": "며칠요?"}]}
    messages = [
        {"role": "system", "content": "Answer in English."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "15일입니다. [1]"},
        follow_up,
    ]
    assert _ask(url, messages=[follow_up]).json()["answered"] is False
    answer = _ask(url, messages=messages).json()["choices"][0]["message"]["content"]
    assert answer == f"{LEAVE_SENTENCE} [1]"


def test_pages_of_white_space_take_no_time(url: str) -> None:
    gap = " " * 19_000
    messages = [
        {"role": "user", "content": f"연차휴가는{gap}며칠인가요?"},
        {"role": "assistant", "content": gap},
        {"role": "user", "content": f"연차휴가는{gap}며칠인가요?"},
    ]
    answer = _ask(url, messages=messages).json()["choices"][0]["message"]["content"]
    assert answer == f"{LEAVE_SENTENCE} [1]"


def test_sources_appended(url: str) -> None:
    source = _ask(url).json()["sources"][0]
    appendix = (
        f"\n\n---\n\n**출처**\n\n- [1] [규정.pdf, 3쪽]({url}{source['url']}): {LEAVE_SENTENCE}"
    )
    whole = _ask(url, append_sources=True).json()
    assert whole["choices"][0]["message"]["content"] == f"{LEAVE_SENTENCE} [1]{appendix}"
    response = _PLAIN.post(
        f"{url}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": QUESTION}], "stream": True},
        headers={"X-Append-Sources": "true"},
    )
    pieces = [event["choices"][0]["delta"].get("content", "") for event in _events(response.text)]
    assert "".join(pieces) == f"{LEAVE_SENTENCE} [1]{appendix}"


def test_search(url: str, index: DocumentIndex) -> None:
    found = _PLAIN.post(f"{url}/v1/search", json={"query": "출장 일비", "k": 1}).json()
    [(document, score)] = index.search("출장 일비", k=1)
    assert found["object"] == "list"
    assert [(one["text"], one["chunk_id"]) for one in found["data"]] == [(TRIP, document.id)]
    assert found["data"][0]["score"] == pytest.approx(score)
    assert found["data"][0]["headings"] == ["출장", "일비"]
    where = {"query": "출장 일비", "filter": {"source": "규정.pdf"}}
    filtered = _PLAIN.post(f"{url}/v1/search", json=where).json()
    assert [one["text"] for one in filtered["data"]] == [LEAVE]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("chat/completions", {"messages": []}, 400, "messages"),
        ("chat/completions", {"messages": [{"role": "user", "content": " "}]}, 400, "messages"),
        (
            "chat/completions",
            {"messages": [{"role": "assistant", "content": "a"}]},
            400,
            "messages",
        ),
        ("chat/completions", {"messages": [{"role": "tool", "content": "a"}]}, 400, None),
        ("chat/completions", {"messages": "a"}, 400, "messages"),
        ("chat/completions", {"messages": [{"role": "user", "content": "a"}], "n": 2}, 400, "n"),
        ("chat/completions", {"messages": [{"role": "user", "content": "a" * 20_001}]}, 400, None),
        (
            "chat/completions",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a" * 1000}] * 20}
                ]
            },
            400,  # 20,000 characters and what joins them
            "messages.0.content",
        ),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]},
            400,
            None,
        ),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "a"}], "model": "gpt-5"},
            404,
            "model",
        ),
        ("search", {"query": ""}, 400, "query"),
        ("search", {"query": "a", "k": 0}, 400, "k"),
        ("search", {"query": "a", "filter": {"page": {"$near": 1}}}, 400, "filter"),
        ("search", {"query": "a", "filter": {"page": "\ud800"}}, 400, "filter"),
        ("search", {"query": "a", "filter": {f"{n}": 1 for n in range(101)}}, 400, "filter"),
        ("nothing", {}, 404, None),
    ],
)
def test_errors_are_openais(url: str, path: str, body: Any, status: int, param: Any) -> None:
    headers = {"Content-Type": "application/json"}
    response = _PLAIN.post(f"{url}/v1/{path}", content=json.dumps(body), headers=headers)
    error = response.json()["error"]
    assert response.status_code == status
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["code"]
    if param:
        assert error["param"] == param


def test_openai_client_raises_its_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": QUESTION}]
        )
    assert caught.value.code == "model_not_found"


def test_body_that_is_no_json(url: str) -> None:
    response = _PLAIN.post(
        f"{url}/v1/search", content=b"\xff{", headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert set(response.json()) == {"error"}


def test_endless_body_is_stopped(url: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for piece in endless():
                connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                if sent > 64 * 1024 * 1024:
                    break
        except OSError:
            pass  # closed before us, as it should be
        assert sent < 32 * 1024 * 1024  # what fits into the buffers of the system, and no more


def test_silence_is_broken_by_comments(
    index: DocumentIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kogemma_rag.web.answering.HEARTBEAT_SECONDS", 0.05)
    slow = ScriptedChatModel(script="연차는 15일이다. [1]", pause=0.2)
    with served(ServeOptions(index=index, chat_model=slow)) as url:
        text = _ask(url, stream=True).text
    assert ": keep-alive\n\n" in text
    pieces = [event["choices"][0]["delta"].get("content", "") for event in _events(text)]
    assert "".join(pieces) == "연차는 15일이다. [1]"


def test_full_queue_turns_away(index: DocumentIndex) -> None:
    slow = ScriptedChatModel(script="연차는 15일이다. [1]" * 80, pause=0.2)
    options = ServeOptions(index=index, chat_model=slow, concurrency=1, max_waiting=1)
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": True}

    async def ask(url: str) -> None:
        path = f"{url}/v1/chat/completions"
        async with (
            httpx.AsyncClient(verify=_NO_TLS, timeout=30) as client,
            client.stream("POST", path, json=body) as one,
        ):
            lines = one.aiter_lines()
            await anext(lines)
            waiting = asyncio.create_task(client.post(path, json=body))
            while _metric(url, "kogemma_waiting") < 1:
                await asyncio.sleep(0.02)
            turned_away = await client.post(path, json=body)
            waiting.cancel()
            await lines.aclose()
        assert turned_away.status_code == 429
        assert turned_away.headers["retry-after"] == "5"
        assert turned_away.json()["error"]["type"] == "rate_limit_error"

    with served(options) as url:
        asyncio.run(ask(url))
        _wait_until_free(url, seconds=1)


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_go_away_free_their_slots(index: DocumentIndex, stream: bool) -> None:
    slow = ScriptedChatModel(script="연차는 15일이다. [1]" * 50, pause=0.05)
    options = ServeOptions(index=index, chat_model=slow, concurrency=8, max_waiting=64)
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": stream}

    async def leave(client: httpx.AsyncClient, url: str, number: int) -> None:
        path = f"{url}/v1/chat/completions"
        if stream and number < options.concurrency:  # at the first sign of an answer
            async with client.stream("POST", path, json=body) as answer:
                async for _ in answer.aiter_lines():
                    return
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.post(path, json=body), 1.0)

    async def crowd(url: str) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(verify=_NO_TLS, timeout=30, limits=limits) as client:
            await asyncio.gather(*(leave(client, url, number) for number in range(50)))

    with served(options) as url:
        asyncio.run(crowd(url))
        _wait_until_free(url, seconds=1)


def test_answer_in_its_time(index: DocumentIndex) -> None:
    slow = ScriptedChatModel(script="연차는 15일이다. [1]" * 50, pause=0.1)
    options = ServeOptions(index=index, chat_model=slow, answer_seconds=0.4)
    with served(options) as url:
        whole = _ask(url)
        assert (whole.status_code, whole.json()["error"]["code"]) == (504, "timeout")
        assert _events(_ask(url, stream=True).text)[-1]["error"]["code"] == "timeout"
        _wait_until_free(url, seconds=1)


class BrokenChatModel(ScriptedChatModel):
    def _stream(self, *_: Any, **__: Any) -> Iterator[Any]:
        raise ModelAPIError("the secret passage")
        yield

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise ModelAPIError("the secret passage")


def test_model_that_fails(index: DocumentIndex) -> None:
    with served(ServeOptions(index=index, chat_model=BrokenChatModel())) as url:
        whole, streamed = _ask(url), _ask(url, stream=True)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        stream = client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        with pytest.raises(openai.APIError, match="모델 서버에 오류가 났습니다"):
            list(stream)
    assert (whole.status_code, whole.json()["error"]["code"]) == (502, "model_failed")
    assert _events(streamed.text)[-1]["error"]["code"] == "model_failed"
    assert "secret" not in whole.text + streamed.text


def test_what_runs_is_finished_before_the_server_ends(index: DocumentIndex) -> None:
    slow = ScriptedChatModel(script="연차는 15일이다. [1]" * 3, pause=0.1)
    texts: list[str] = []
    with served(ServeOptions(index=index, chat_model=slow)) as url:
        thread = threading.Thread(target=lambda: texts.append(_ask(url, stream=True).text))
        thread.start()
        while not _metric(url, "kogemma_active"):
            time.sleep(0.02)
    thread.join(10)
    assert _events(texts[0])[-1]["answered"] is True


def test_log_holds_no_text_of_anyone(
    index: DocumentIndex, caplog: pytest.LogCaptureFixture
) -> None:
    from kogemma_rag.web.log_lines import JsonFormatter

    token = "t" * 40
    with caplog.at_level("INFO"), served(ServeOptions(index=index, token=token)) as url:
        headers = {"Authorization": f"Bearer {token}"}
        body = {"messages": [{"role": "user", "content": QUESTION}]}
        _PLAIN.post(f"{url}/v1/chat/completions", json=body, headers=headers)
        response = _PLAIN.get(f"{url}/v1/nothing?q={QUESTION}", headers=headers)
        broken = _PLAIN.post(f"{url}/v1/search", json={"query": QUESTION, "k": 0}, headers=headers)
    assert (response.status_code, broken.status_code) == (404, 400)
    records = [it for it in caplog.records if it.name.startswith(("kogemma_rag", "uvicorn"))]
    lines = [JsonFormatter().format(record) for record in records]
    asked = [json.loads(line) for line in lines if "/v1/chat/completions" in line]
    assert (asked[0]["method"], asked[0]["status"]) == ("POST", 200)
    assert len(asked[0]["request"]) == 32
    written = "\n".join(lines)
    assert not [text for text in (token, QUESTION, "연차", LEAVE) if text in written]


def test_metrics(index: DocumentIndex) -> None:
    with served(ServeOptions(index=index)) as url:
        for _ in range(3):
            _ask(url)
        route = 'method="POST",route="/v1/chat/completions",status="200"'
        assert _metric(url, f"kogemma_requests_total{{{route}}}") == 3
        assert _metric(url, "kogemma_first_piece_seconds_count") == 3
        assert _metric(url, "kogemma_active") == 0


def test_schema_holds(url: str) -> None:
    """Nothing that the OpenAPI document allows, and little that it does not, is answered 5xx."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 6

    failed: list[str] = []
    for operation in operations:

        @settings(
            max_examples=3,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def never_fails(case: Any) -> None:
            status = case.call(timeout=20).status_code
            if status >= 500:
                failed.append(f"{case.operation.label}: {status}")

        never_fails()
    assert failed == []


def _metric(url: str, name: str) -> float:
    for line in _PLAIN.get(f"{url}/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name}")


def _wait_until_free(url: str, *, seconds: float) -> None:
    """All slots must be free within some seconds."""
    deadline = time.monotonic() + seconds
    while _metric(url, "kogemma_active") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (_metric(url, "kogemma_active"), _metric(url, "kogemma_waiting")) == (0, 0)
