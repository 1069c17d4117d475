"""Steps of fixed sizes as CUDA graphs: a step's many small kernels are started by one call.

Starting them one by one takes longer than running them. Knows no model, no cache and no requests.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, int], Tensor]
"""Token ids and lengths, int64 of shape (rows,), and a width to logits, shape (rows, vocabulary).

Nothing of it may depend on what the tensors hold but what is computed on their device.
"""


class DecodeGraphs:
    """Replays steps, each recorded when its size first comes.

    Args:
        step: What is recorded. What it reads beside its arguments must stay where it is.
        rows: How many rows a step has at most.
        vocabulary: How many logits a row has.
        device: A CUDA device.
    """

    def __init__(self, step: Step, rows: int, vocabulary: int, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._given = torch.zeros((2, rows), dtype=torch.int64, device=device)
        self._logits = torch.zeros((rows, vocabulary), device=device)
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        with torch.cuda.device(device):
            # One memory for all: no two run at a time, and nothing but the logits outlives a run.
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, given: Tensor, rows: int, width: int) -> Tensor:
        """Compute a step.

        Args:
            given: int64 on the CPU, shape (2, most rows): token ids, and lengths.
            rows: How many of the rows count.
            width: Passed to the step.

        Returns:
            Logits, float32, shape (rows, vocabulary); the next run overwrites them.
        """
        with torch.cuda.device(self._device):
            self._given.copy_(given)
            if (rows, width) not in self._graphs:
                self._graphs[rows, width] = self._record(rows, width)
            self._graphs[rows, width].replay()
        return self._logits[:rows]

    def _record(self, rows: int, width: int) -> torch.cuda.CUDAGraph:
        ids, lengths = self._given[:, :rows]
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            # What is done but once, such as compiling, must not be recorded.
            self._step(ids, lengths, width)
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            self._logits[:rows].copy_(self._step(ids, lengths, width))
        return graph
