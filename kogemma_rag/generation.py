"""Token ids in, tokens out, many requests in one running batch. Knows no text and no LangChain.

Each engine has a thread of its own. It computes a chunk of a prompt, then one token of every reply
that is under way, and so on: requests join and leave between steps.
"""

import logging
import math
import random
import time
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import torch
from torch import Tensor

from kogemma_rag.model_runner import ModelRunner, Slot
from kogemma_rag.sampling import choose
from kogemma_rag.worker_thread import WorkerThread

MAX_WAITING = 4096
"""How many requests may wait for a slot."""

_log = logging.getLogger(__name__)

# Chunks of prompts computed before a decode step, at most.
_CHUNKS_A_STEP = 4


class EngineBusyError(RuntimeError):
    """So many requests are waiting already that another one is refused."""


class TokenConstraint(Protocol):
    """What tokens a request may take next, as one reply sees it."""

    def constrain(self, logits: Tensor) -> None:
        """Set what is not allowed to -inf in place; float32, shape (vocabulary,)."""
        ...

    def accept(self, token: int) -> None:
        """Go on by the token that was chosen."""
        ...


class Receiver(Protocol):
    """Who a request's tokens go to. Called on the engine's thread, so it must not block."""

    def token(self, token: int) -> bool:
        """Take the next token. True ends the reply."""
        ...

    def end(self, error: BaseException | None) -> None:
        """Learn that no more tokens come, and why, if the reply failed."""
        ...


@dataclass(frozen=True)
class GenerationRequest:
    """What to generate from.

    Attributes:
        ids: The prompt's token ids, at least one.
        max_tokens: How many tokens to generate at most, at least one.
        stop_ids: Tokens that end the reply; the one that did is its last token.
        temperature: 0 takes the likeliest token.
        top_p: Sample from the fewest likeliest tokens that together reach this probability.
        seed: The same seed gives the same tokens; None takes a new one each time.
        timeout: Seconds from submission until the request fails with a TimeoutError.
        constraint: What the reply is held to; of this request alone.
    """

    ids: Sequence[int]
    max_tokens: int
    stop_ids: frozenset[int]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    timeout: float | None = None
    constraint: TokenConstraint | None = None


class Generation:
    """A request under way.

    Args:
        request: What to generate from.
        receiver: Who the tokens go to.
    """

    def __init__(self, request: GenerationRequest, receiver: Receiver) -> None:
        self.request = request
        self.receiver = receiver
        timeout = math.inf if request.timeout is None else request.timeout
        self.deadline = time.monotonic() + timeout
        self.cancelled = False
        self.slot: Slot | None = None
        self.count = 0
        """How many tokens there are of the reply."""
        self.last = -1
        """The token that came last, whose keys and values are still to be computed."""
        # One number a token, in order: a reply depends on its seed, not on its neighbours.
        seed = None if request.seed is None else str(request.seed)  # an int's sign would be lost
        self._noise = random.Random(seed)  # noqa: S311 - sampling, not secrets
        self.draw = self._noise.getrandbits(63)

    def cancel(self) -> None:
        """End it within one step; from any thread, at any time. Its receiver is not told."""
        self.cancelled = True

    def take(self, token: int) -> bool:
        """Hand the next token on; whether it was the last one."""
        self.count += 1
        self.last = token
        self.draw = self._noise.getrandbits(63)
        if self.request.constraint is not None:
            self.request.constraint.accept(token)
        ended = self.receiver.token(token)
        return ended or token in self.request.stop_ids or self.count == self.request.max_tokens

    def timeout_error(self) -> TimeoutError:
        """The error of a reply whose time is over."""
        return TimeoutError(
            f"the reply took longer than timeout={self.request.timeout} s and had {self.count} "
            "tokens by then; raise timeout or lower max_tokens"
        )


class Engine:
    """The one way to a loaded model, shared by every caller and thread.

    Args:
        runner: The model and its slots; the engine's own from now on.
    """

    def __init__(self, runner: ModelRunner) -> None:
        self.runner = runner
        self._waiting: deque[Generation] = deque()
        self._prefilling: Generation | None = None
        self._running: list[Generation] = []
        self._thread = WorkerThread[Generation](self)

    @property
    def window(self) -> int:
        """How many tokens a prompt and its reply may have together."""
        return self.runner.window

    @property
    def vocabulary_size(self) -> int:
        """How many token ids the model tells apart."""
        return self.runner.vocabulary_size

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return len(self._running) + (self._prefilling is not None)

    @property
    def waiting(self) -> int:
        """How many requests have not begun."""
        return len(self._waiting) + self._thread.pending

    def submit(self, request: GenerationRequest, receiver: Receiver) -> Generation:
        """Queue a request; its tokens go to `receiver` as they come.

        Raises:
            ValueError: If there is no prompt, or it and `max_tokens` do not fit the window.
            EngineBusyError: If too many requests are waiting.
        """
        if request.max_tokens < 1:
            raise ValueError(f"max_tokens is {request.max_tokens}; ask for one token at least")
        if not request.ids or len(request.ids) + request.max_tokens > self.window:
            raise ValueError(
                f"a prompt of {len(request.ids)} tokens and a reply of {request.max_tokens} do not "
                f"fit the window of {self.window}; shorten the prompt or lower max_tokens"
            )
        if self.waiting >= MAX_WAITING:
            raise EngineBusyError(
                f"{MAX_WAITING} requests are waiting already; try again later, or send fewer at "
                "a time"
            )
        generation = Generation(request, receiver)
        self._thread.put(generation)
        return generation

    def stream(self, request: GenerationRequest) -> Generator[int, None, None]:
        """Yield the tokens of a reply; closing the generator ends it within one step."""
        tokens = _TokenQueue()
        generation = self.submit(request, tokens)
        try:
            while isinstance(item := tokens.items.get(), int):
                yield item
            if item is not None:
                raise item
        finally:
            generation.cancel()

    # --- What the thread calls ---

    @torch.inference_mode()
    def step(self, arrived: Sequence[Generation]) -> bool:
        """Let requests join and leave, compute some of a prompt and one token of each reply.

        A step with few replies takes hardly less time than one with many: while more wait than are
        under way, several chunks of prompts go first.

        Returns:
            Whether there is more to do.
        """
        self._waiting.extend(arrived)
        for _ in range(_CHUNKS_A_STEP):
            for generation in self._all():
                self._drop_if_over(generation)
            self._admit()
            if self._prefilling is not None:
                self._prefill(self._prefilling)
            if len(self._running) >= len(self._waiting):
                break
        if self._running:
            self._decode(list(self._running))
        return bool(self._waiting or self._running or self._prefilling)

    def abandon(self, error: BaseException, arrived: Sequence[Generation]) -> None:
        """Forget every request; each learns of `error`."""
        generations = [*self._all(), *arrived]
        self._waiting.clear()
        self._running.clear()
        self._prefilling = None
        self.runner.reset()
        for generation in generations:
            _end(generation, error)

    def _all(self) -> list[Generation]:
        prefilling = [self._prefilling] if self._prefilling else []
        return [*self._waiting, *prefilling, *self._running]

    def _drop_if_over(self, generation: Generation) -> None:
        if generation.cancelled:
            self._leave(generation)
        elif time.monotonic() > generation.deadline:
            self._fail(generation, generation.timeout_error())

    def _admit(self) -> None:
        if self._prefilling is not None or not self._waiting:
            return
        generation = self._waiting[0]
        try:
            slot = self.runner.take(generation.request.ids, generation.request.max_tokens)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            self._fail(generation, error)
            return
        if slot is not None:
            generation.slot = slot
            self._prefilling = self._waiting.popleft()

    def _prefill(self, generation: Generation) -> None:
        slot, ids = generation.slot, generation.request.ids
        if slot is None:
            raise RuntimeError("a prompt is computed before it has a slot")
        try:
            logits = self.runner.prefill(slot, ids[slot.length : slot.length + self.runner.chunk])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            self._fail(generation, error)
            return
        if slot.length == len(ids):
            self._prefilling = None
            self._running.append(generation)
            self._choose([generation], logits)

    def _decode(self, generations: Sequence[Generation]) -> None:
        slots = [generation.slot for generation in generations if generation.slot is not None]
        try:
            logits = self.runner.decode(slots, [generation.last for generation in generations])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            if len(generations) == 1:
                self._fail(generations[0], error)
                return
        else:
            self._choose(generations, logits)
            return
        for generation in generations:  # one by one, so that only the culprit fails
            self._decode([generation])

    def _choose(self, generations: Sequence[Generation], logits: Tensor) -> None:
        """Choose each request's next token and hand it on; who fails, fails alone."""
        chosen = []
        for row, generation in enumerate(generations):
            try:
                if generation.request.constraint is not None:
                    generation.request.constraint.constrain(logits[row])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
                self._fail(generation, error)
            else:
                chosen.append(row)
        for row, token in zip(chosen, _choose_tokens(generations, logits, chosen), strict=True):
            if isinstance(token, FloatingPointError):
                self._fail(generations[row], token)
            else:
                self._hand_on(generations[row], token)

    def _hand_on(self, generation: Generation, token: int) -> None:
        try:
            ended = generation.take(token)
        except BaseException as error:  # noqa: BLE001 - a panic of the tokenizer's, too
            self._fail(generation, error)
            return
        if ended:
            self._leave(generation)
            _end(generation, None)

    def _fail(self, generation: Generation, error: BaseException) -> None:
        self._leave(generation, keep=not isinstance(error, FloatingPointError))
        traceback.clear_frames(error.__traceback__)  # they hold tensors
        _end(generation, error)

    def _leave(self, generation: Generation, *, keep: bool = True) -> None:
        if generation is self._prefilling:
            self._prefilling = None
        elif generation in self._running:
            self._running.remove(generation)
        else:
            self._waiting.remove(generation)
        if generation.slot is not None:
            self.runner.release(generation.slot, keep=keep)


def _end(generation: Generation, error: BaseException | None) -> None:
    try:
        generation.receiver.end(error)
    except Exception:  # noqa: BLE001 - logged
        # It must not take down the others; what went wrong is in the log.
        _log.exception("the receiver of a reply failed")


class _TokenQueue:
    def __init__(self) -> None:
        self.items: SimpleQueue[int | BaseException | None] = SimpleQueue()

    def token(self, token: int) -> bool:
        self.items.put(token)
        return False

    def end(self, error: BaseException | None) -> None:
        self.items.put(error)


def _choose_tokens(
    generations: Sequence[Generation], logits: Tensor, rows: Sequence[int]
) -> list[int | FloatingPointError]:
    """Choose a token for each of the rows; an error where a row has none."""
    if not rows:
        return []
    requests = [generations[row].request for row in rows]
    try:
        return [
            *choose(
                logits if len(rows) == len(logits) else logits[list(rows)],
                [request.temperature for request in requests],
                [request.top_p for request in requests],
                [generations[row].draw for row in rows],
            )
        ]
    except FloatingPointError as error:
        if len(rows) == 1:
            return [error]
        return [token for row in rows for token in _choose_tokens(generations, logits, [row])]
