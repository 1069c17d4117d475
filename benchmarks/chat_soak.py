"""Many mixed requests at once against one tiny Gemma: every answer must be what it is alone.

    python benchmarks/chat_soak.py [--requests 1000]

Half come from 32 threads, half from 32 asyncio tasks. One in five is cancelled midway, one in ten
is too long for the window, one in ten is held to a JSON schema; others are greedy or sampled, with
and without stop strings, streamed and not, and share beginnings. Two such rounds run, so that
memory can be compared; a child process does it all and must exit at once with a reply under way.
Exits 1 if anything is amiss.
"""

import argparse
import asyncio
import faulthandler
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Tiny matrices gain nothing by threads, and wait long for them on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import jsonschema
import psutil
import tiny_gemma
import torch
from langchain_core.exceptions import ContextOverflowError
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.runnables import Runnable

from kogemma_rag import ChatKoGemma, generation
from kogemma_rag.sampling import choose

CALLERS = 32
HANG_SECONDS = 1200
EXIT_SECONDS = 10.0  # most of it is torch leaving, on a machine that others use
RSS_GROWTH = 0.02
NEAR_TIE = 1e-4
OVERFLOW = "ContextOverflowError"
SCHEMA = {
    "title": "person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["user", "admin"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
Kind = Literal["plain", "cancelled", "too long", "schema"]


@dataclass(frozen=True)
class Job:
    """One request: how it is asked, and after how many pieces it is cancelled."""

    prompt: str
    kind: Kind
    streamed: bool
    pieces: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of a request; of one that was cancelled, the text until then."""

    text: str
    cut: bool = False


def make_jobs(count: int, seed: int) -> list[Job]:
    """Give the requests of a round; no two have the same prompt."""
    choice = random.Random(seed)  # noqa: S311

    def text(length: int) -> str:
        return "".join(choice.choices(tiny_gemma._HANGUL + " .,", k=length))

    beginnings = ["", text(40), text(300), text(1000)]
    kinds: list[Kind] = ["cancelled", "too long", "schema", "plain", "plain"]
    kinds += ["cancelled", "plain", "plain", "plain", "plain"]
    jobs = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        options: dict[str, Any] = {"max_tokens": choice.randint(1, 64)}
        # A few do not fit the room that slots begin with, so that slots grow under way.
        length = 2500 if number % 50 == 3 else choice.randint(1, 200)
        if kind == "too long":
            length, options = choice.choice([(9000, {}), (20, {"max_tokens": 8192})])
        elif kind == "schema":
            options = {"max_tokens": 200}
        elif kind == "cancelled":
            options["max_tokens"] = 200
        if choice.random() < 0.5:
            options |= {"temperature": choice.choice([0.3, 1.0]), "seed": number}
            options["top_p"] = choice.choice([1.0, 0.9, 0.5])
        if kind == "plain" and choice.random() < 0.3:
            options["stop"] = choice.sample(list(tiny_gemma._HANGUL), 5)
        prompt = f"{choice.choice(beginnings)} {seed}/{number} {text(length)}"
        jobs.append(Job(prompt, kind, choice.random() < 0.5, choice.randint(1, 20), options))
    choice.shuffle(jobs)
    return jobs


def structured(chat: ChatKoGemma, job: Job) -> Runnable[Any, Any]:
    """Give what holds replies to the schema, in one of the two ways that there are."""
    if job.streamed:
        return chat.with_structured_output(SCHEMA, **job.options) | _checked
    return chat.bind(response_format=FORMAT, **job.options) | JsonOutputParser() | _checked


def _checked(value: object) -> object:
    jsonschema.validate(value, SCHEMA)
    return value


def ask(chat: ChatKoGemma, job: Job, *, cancel: bool = True) -> Answer:
    """Ask from a thread; without `cancel` to the end, as if no one would have cancelled."""
    cancel = cancel and job.kind == "cancelled"
    got: list[str] = []
    try:
        if job.kind == "schema":
            return Answer(json.dumps(structured(chat, job).invoke(job.prompt)))
        if not (job.streamed or cancel):
            return Answer(chat.invoke(job.prompt, **job.options).text)
        with closing(chat.stream(job.prompt, **job.options)) as pieces:
            for piece in pieces:
                got.append(piece.text)
                if cancel and len(got) == job.pieces:
                    return Answer("".join(got), cut=True)
        return Answer("".join(got))
    except ContextOverflowError:
        return Answer(OVERFLOW)


async def aask(chat: ChatKoGemma, job: Job) -> Answer:
    """Ask from a task; one to be cancelled is a task of its own, and is cancelled."""
    got: list[str] = []
    enough = asyncio.Event()

    async def read() -> Answer:
        if job.kind == "schema":
            return Answer(json.dumps(await structured(chat, job).ainvoke(job.prompt)))
        if not job.streamed:
            return Answer((await chat.ainvoke(job.prompt, **job.options)).text)
        async with aclosing(chat.astream(job.prompt, **job.options)) as pieces:
            async for piece in pieces:
                got.append(piece.text)
                if len(got) == job.pieces:
                    enough.set()
        return Answer("".join(got))

    reading = asyncio.create_task(read())
    if job.kind == "cancelled":
        waiting = asyncio.create_task(enough.wait())
        timeout = None if job.streamed else job.pieces / 200  # of a whole reply: at some moment
        await asyncio.wait({reading, waiting}, timeout=timeout, return_when="FIRST_COMPLETED")
        reading.cancel()
        waiting.cancel()
    try:
        return await reading
    except ContextOverflowError:
        return Answer(OVERFLOW)
    except asyncio.CancelledError:
        return Answer("".join(got), cut=True)


def ask_from_tasks(chat: ChatKoGemma, jobs: Sequence[Job]) -> list[Answer]:
    """Ask from `CALLERS` tasks of one loop, each taking the next request when one is done."""
    answers: dict[int, Answer] = {}
    left = deque(enumerate(jobs))

    async def caller() -> None:
        while left:
            number, job = left.popleft()
            answers[number] = await aask(chat, job)

    async def run() -> None:
        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    asyncio.run(run())
    return [answers[number] for number in range(len(jobs))]


def ask_at_once(chat: ChatKoGemma, jobs: Sequence[Job]) -> list[Answer]:
    """Ask half from threads and half from tasks, at the same time."""
    half = len(jobs) // 2
    with ThreadPoolExecutor(1) as loop, ThreadPoolExecutor(CALLERS) as threads:
        from_tasks = loop.submit(ask_from_tasks, chat, jobs[half:])
        from_threads = list(threads.map(lambda job: ask(chat, job), jobs[:half]))
        return from_threads + from_tasks.result()


def ask_alone(chat: ChatKoGemma, job: Job) -> Answer:
    """Ask with nothing beside it and nothing known from before."""
    chat._local.engine.runner.reset()
    return ask(chat, job, cancel=False)


def agrees(job: Job, answer: Answer, alone: Answer) -> bool:
    """Whether an answer is what it is alone, or the beginning of that where it was cancelled."""
    if job.kind == "too long":
        return answer.text == alone.text == OVERFLOW
    if answer.cut:
        return job.kind == "cancelled" and alone.text.startswith(answer.text)
    return answer.text == alone.text != OVERFLOW


def is_near_tie(chat: ChatKoGemma, job: Job, text: str) -> bool:
    """Whether, where an answer leaves that of its solo run, two tokens were all but equal.

    Greedy: the top two logits are within `NEAR_TIE`. Sampled: so is the drawn number to where
    another token begins, or `top_p` to where another one enters.
    """
    close: list[tuple[int, bool]] = []
    plain = generation._choose_tokens

    def spy(generations: Sequence[generation.Generation], logits: torch.Tensor) -> list[int]:
        (token,) = plain(generations, logits)
        request, uniform = generations[0].request, generations[0].uniform
        first, second = logits[0].topk(2).values.tolist()
        near = first - second < NEAR_TIE
        for nudge in (-NEAR_TIE, NEAR_TIE) if request.temperature else ():
            for top_p, drawn in ((0, nudge), (nudge, 0)):
                top_ps = [min(1.0, request.top_p + top_p)]
                near |= choose(logits, [request.temperature], top_ps, [uniform + drawn]) != [token]
        close.append((token, near))
        return [token]

    generation._choose_tokens = spy
    try:
        ask_alone(chat, job)
    finally:
        generation._choose_tokens = plain
    detokenizer = chat._local.backend._detokenizer
    shared = b""
    for number, (token, _) in enumerate(close):
        shared += detokenizer.token_bytes(token)
        if not text.encode().startswith(shared):  # a character has up to four tokens
            return any(near for _, near in close[max(0, number - 4) : number + 1])
    return close[-1][1]


def rss() -> int:
    """Bytes of memory this process holds."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def run_rounds(requests: int) -> bool:
    """Run two rounds and print what came of them; whether all is well."""
    tokenizer = tiny_gemma.build_tokenizer()
    chat, lone = (
        ChatKoGemma(tiny_gemma.build_model(len(tokenizer)), tokenizer=tokenizer) for _ in range(2)
    )
    chat.warmup()
    lone.warmup()
    threads, memory, differ = threading.active_count(), [], 0
    rounds = [make_jobs(requests, seed) for seed in (1, 2)]
    alone = [[ask_alone(lone, job) for job in jobs] for jobs in rounds]
    for jobs, expected in zip(rounds, alone, strict=True):
        started = time.perf_counter()
        answers = ask_at_once(chat, jobs)
        print(f"{len(jobs)} requests in {time.perf_counter() - started:.1f} s")
        memory.append(rss())
        differ += compare(lone, jobs, answers, expected)
    return is_clean(chat, threads, memory) and not differ


def compare(
    lone: ChatKoGemma, jobs: Sequence[Job], answers: Sequence[Answer], alone: Sequence[Answer]
) -> int:
    """Print how many answers are what they are alone; how many differ, near ties aside."""
    near, differ = 0, 0
    for job, answer, expected in zip(jobs, answers, alone, strict=True):
        if agrees(job, answer, expected):
            continue
        if is_near_tie(lone, job, answer.text):
            near += 1
        else:
            differ += 1
            print(f"  differs: {job.kind} {job.options}\n    {answer}\n    {expected}")
    cut = sum(answer.cut for answer in answers)
    print(f"  {dict(Counter(job.kind for job in jobs))}, of the cancelled {cut} were under way")
    print(f"  as alone: {len(jobs) - near - differ}; near ties: {near}; others: {differ}")
    return differ


def is_clean(chat: ChatKoGemma, threads: int, memory: Sequence[int]) -> bool:
    """Print what is left of the requests; whether nothing is."""
    engine = chat._local.engine
    deadline = time.monotonic() + 5  # what was cancelled last ends with the step under way
    while (engine.running or engine.waiting) and time.monotonic() < deadline:
        time.sleep(0.01)
    free, slots = engine.runner._cache.free, engine.runner._cache.slots
    growth = memory[-1] / memory[0] - 1
    left = threading.active_count() - threads
    print(f"running {engine.running}, waiting {engine.waiting}, free slots {free} of {slots}")
    print(f"threads left {left}, RSS {memory[0] / 2**20:.0f} MiB, then {growth:+.2%}")
    idle = engine.running == engine.waiting == 0 and free == slots
    return idle and left == 0 and growth <= RSS_GROWTH


def run_child(requests: int) -> int:
    """Do it all, and leave with a reply under way."""
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    well = run_rounds(requests)
    tokenizer = tiny_gemma.build_tokenizer()
    chat = ChatKoGemma(tiny_gemma.build_model(len(tokenizer)), tokenizer=tokenizer)
    unfinished = chat.stream("끝나지 않은 답", max_tokens=8000, temperature=1.0)
    next(unfinished)
    print("leaving", flush=True)
    return 0 if well else 1


def main() -> None:
    """Run the child and see that it leaves at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.exit(run_child(options.requests))
    command = [sys.executable, "-u", __file__, "--child", f"--requests={options.requests}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        left = time.monotonic()
        for line in child.stdout or ():
            print(line, end="", flush=True)
            left = time.monotonic()
        code = child.wait()
    seconds = time.monotonic() - left
    print(f"exit code {code}, {seconds:.1f} s after the last line")
    sys.exit(0 if code == 0 and seconds < EXIT_SECONDS else 1)


if __name__ == "__main__":
    main()
