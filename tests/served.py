"""The server of `kogemma-rag serve` in a thread of the tests, and a chat model that is scripted."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from kogemma_rag.web.options import ServeOptions


@contextmanager
def served(options: ServeOptions) -> Iterator[str]:
    """The address of a server that runs until the block ends."""
    import uvicorn

    from kogemma_rag.web.app import create_app

    config = uvicorn.Config(create_app(options), port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


class ScriptedChatModel(BaseChatModel):
    """Answers whatever it is asked with its `script`, in pieces of a few characters.

    Attributes:
        pause: Seconds before each piece of a stream.
    """

    script: str = ""
    pause: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.script))])

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        step = 7 if self.pause else 400
        for at in range(0, len(self.script), step):
            time.sleep(self.pause)
            yield ChatGenerationChunk(message=AIMessageChunk(self.script[at : at + step]))
