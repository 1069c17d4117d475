"""An OpenAI-compatible server that does as a test tells it, and what it may answer."""

import json
import select
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ManyAtATime(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # by default only 5 may wait to be let in


class ScriptedServer:
    """Answers each chat request by the next of `answers`, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.models: list[str] | None = ["ko-gemma"]
        self._lock = threading.Lock()
        self._http = ManyAtATime(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if server.models is None:
                    return answer(404, {"detail": "Not Found"})(self)
                data = [{"id": name, "object": "model"} for name in server.models]
                return answer(200, {"object": "list", "data": data})(self)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server._lock:
                    turn = len(server.requests)
                    server.requests.append(body)
                    server.headers.append({k.lower(): v for k, v in self.headers.items()})
                self.asked = body["messages"][-1]["content"]
                server.answers[min(turn, len(server.answers) - 1)](self)

            def log_message(self, *args) -> None:
                pass

        return Handler

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def answer(status: int, body: object, **headers: str):
    def send(handler: BaseHTTPRequestHandler) -> None:
        raw = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(raw)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(raw)

    return send


def write(handler: BaseHTTPRequestHandler, data: str) -> None:
    raw = data.encode()
    handler.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
    handler.wfile.flush()


def begin(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()


def event(content: str | None = None, finish: str | None = None, usage=None) -> str:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "model": "ko-gemma", "created": 1}
    chunk |= {"choices": [choice] if usage is None else [], "usage": usage}
    return f"data: {json.dumps(chunk)}\n\n"


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def stream(*contents: str, finish: str = "stop", usage=USAGE):
    """What vLLM sends: pieces, the reason, the usage in a chunk without choices, the end mark."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        for content in contents:
            write(handler, event(content))
        write(handler, event(finish=finish))
        if usage:
            write(handler, event(usage=usage))
        write(handler, "data: [DONE]\n\n")
        handler.wfile.write(b"0\r\n\r\n")

    return send


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def is_closed_within(handler: BaseHTTPRequestHandler, seconds: float) -> bool:
    ready, _, _ = select.select([handler.connection], [], [], seconds)
    try:
        return bool(ready) and handler.connection.recv(1) == b""
    except ConnectionResetError:
        return True
