"""Many users of one `kogemma-rag serve` on the embedded default, and 500 that go away midway.

    python benchmarks/serve_load.py [--clients 200] [--seconds 60] [--disconnects 500]

The sample documents are indexed and served by a process of its own. Each client asks one question
after another, streamed and not by turns, and waits as long as an answer of 429 tells it to.
Latencies are those of answers, until their last byte; memory is the server's, compared with what
it was after the first sixth of the time. The disconnects are of a slow model, so that they find
answers under way and others waiting. Exits 1 if anything is amiss.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import httpx
import psutil
from served import ScriptedChatModel, served

from kogemma_rag import DocumentIndex
from kogemma_rag.web.options import ServeOptions

DOCUMENTS = Path(__file__).parents[1] / "examples" / "documents"
QUESTIONS = (
    "재택근무는 한 주에 며칠까지 할 수 있나요?",
    "비밀번호는 몇 자 이상이어야 하나요?",
    "해외 출장은 며칠 전까지 신청해야 하나요?",
    "회의실은 며칠 전부터 예약할 수 있나요?",
    "스톡옵션은 언제 받나요?",
)
READY_SECONDS = 3.0
FREE_SECONDS = 1.0
RSS_GROWTH = 0.05
CHAT = "/v1/chat/completions"


@dataclass
class Tally:
    """What came of the questions.

    Attributes:
        seconds: Of each answer, until its last byte.
        statuses: How often each was answered, and connections that broke, by the error.
        broken: Streams that did not end as they should.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)
    broken: int = 0

    def errors(self) -> int:
        """Answers that are neither an answer nor a 429."""
        return (
            self.broken
            + sum(n for status, n in self.statuses.items() if status != 429)
            - len(self.seconds)
        )


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server; tells how long it takes to be ready."""
    began = time.monotonic()
    command = [sys.executable, "-m", "kogemma_rag", "serve", "--in", str(folder), "--port", "0"]
    with (folder.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)  # noqa: S603 - ours
    try:
        url = _address(folder.parent / "log", process)
        while httpx.get(f"{url}/health/ready").status_code != 200:
            time.sleep(0.01)
        seconds, load = time.monotonic() - began, os.getloadavg()[0]
        used = _cpu_seconds(psutil.Process(process.pid))
        print(
            f"ready after {seconds:.2f} s ({READY_SECONDS:g} at most), {used:.2f} s of CPU, ",
            end="",
        )
        print(f"load of the machine {load:.1f}")
        yield url, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        print(f"exit code {process.wait(40)} on SIGTERM")


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    while process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("http://"):
                url = line.split()[0]
                try:
                    httpx.get(f"{url}/health")
                except httpx.TransportError:
                    break
                return url
        time.sleep(0.01)
    raise RuntimeError(f"the server has ended:\n{log.read_text(encoding='utf-8')}")


async def ask(client: httpx.AsyncClient, number: int, tally: Tally) -> float:
    """Ask one question; seconds to wait before the next one."""
    question = {"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}
    body = {"messages": [question], "stream": number % 2 == 0}
    began = time.monotonic()
    try:
        response = await client.post(CHAT, json=body)
    except httpx.TransportError as error:
        tally.statuses[type(error).__name__] += 1
        return 0.1
    tally.statuses[response.status_code] += 1
    if response.status_code != 200:
        return float(response.headers.get("retry-after", 0.1))
    end = "data: [DONE]\n\n" if body["stream"] else "}"
    if "finish_reason" in response.text and response.text.endswith(end):
        tally.seconds.append(time.monotonic() - began)
    else:
        tally.broken += 1
    return 0.0


async def crowd(url: str, process: psutil.Process, clients: int, seconds: float) -> bool:
    """Let many ask for a while; whether all went well."""
    tally, numbers, ending = Tally(), count(), time.monotonic() + seconds
    used = _cpu_seconds(process)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients)

    async def user(client: httpx.AsyncClient) -> None:
        while time.monotonic() < ending:
            await asyncio.sleep(await ask(client, next(numbers), tally))

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        users = [asyncio.create_task(user(client)) for _ in range(clients)]
        await asyncio.sleep(seconds / 6)
        before = process.memory_info().rss
        await asyncio.gather(*users)
    after = process.memory_info().rss
    growth = after / before - 1
    used = (_cpu_seconds(process) - used) / max(len(tally.seconds), 1)
    cuts = quantiles(tally.seconds, n=100)
    print(
        f"{clients} clients, {seconds:g} s: {len(tally.seconds)} answers "
        f"({len(tally.seconds) / seconds:.0f}/s), p50 {cuts[49]:.3f} s, p95 {cuts[94]:.3f} s, "
        f"{tally.statuses[429]} x 429, {tally.errors()} errors {dict(tally.statuses)}"
    )
    print(f"{used * 1000:.0f} ms of the server's CPU an answer")
    print(f"memory {before / 2**20:.0f} -> {after / 2**20:.0f} MiB ({growth:+.1%})")
    return tally.errors() == 0 and growth < RSS_GROWTH


async def leave(url: str, clients: int) -> bool:
    """Let many ask and go away while they are answered or wait; whether all slots are free soon."""
    body = {"messages": [{"role": "user", "content": QUESTIONS[0]}], "stream": True}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        asked = [asyncio.create_task(client.post(CHAT, json=body)) for _ in range(clients)]
        async with httpx.AsyncClient(base_url=url) as observer:
            while sum(await _slots(observer)) < clients:
                await asyncio.sleep(0.05)
            active, waiting = await _slots(observer)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            gone = time.monotonic()
            while sum(await _slots(observer)):
                await asyncio.sleep(0.01)
            seconds = time.monotonic() - gone
    finished = sum(not task.cancelled() for task in asked)
    print(
        f"{clients} disconnects ({active:g} answered, {waiting:g} waiting, {finished} had ended): "
        f"all slots free after {seconds:.2f} s"
    )
    return seconds < FREE_SECONDS and not finished


async def _slots(client: httpx.AsyncClient) -> tuple[float, float]:
    """Requests that are answered, and that wait."""
    lines = (await client.get("/metrics")).text.splitlines()
    values = dict(
        line.split(" ") for line in lines if line.startswith("kogemma_") and "{" not in line
    )
    return float(values["kogemma_active"]), float(values["kogemma_waiting"])


def main() -> None:
    """Run both, and exit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--disconnects", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        with DocumentIndex.open(folder) as index:
            index.sync(DOCUMENTS, progress=False)
        with server(folder) as (url, process):
            good = asyncio.run(crowd(url, process, options.clients, options.seconds))
        with DocumentIndex.open(folder) as index:
            slow = ScriptedChatModel(script="재택근무는 한 주에 이틀이다. [1]" * 500, pause=0.05)
            with served(ServeOptions(index, slow, max_waiting=options.disconnects)) as url:
                good &= asyncio.run(leave(url, options.disconnects))
    sys.exit(not good)


if __name__ == "__main__":
    main()
