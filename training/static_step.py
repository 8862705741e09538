"""A training step on memory that never moves, so that CUDA can record it once and replay it.

At small batches a step is bound by the launches of its kernels, some thousands of them. A CUDA
graph launches them as one. It repeats the recorded work on the recorded memory, so inputs are
copied into buffers of their own, and nothing inside may read a value on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .batch import Batch

WARM_UPS = 3  # eager steps before the recording, as torch's notes on CUDA graphs ask for


Inputs = Sequence[Batch | Tensor]
"""Of an update: batches, and tensors such as random numbers and temperatures."""


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return all tensors of the inputs of an update, in a fixed order."""
    return tuple(t for x in inputs for t in (x.tensors if isinstance(x, Batch) else (x,)))


def like(inputs: Inputs, tensors: Sequence[Tensor]) -> list[Batch | Tensor]:
    """Return inputs of the same form of other tensors, in the order of `tensors_of`."""
    rest = list(tensors)
    made: list[Batch | Tensor] = []
    for x in inputs:
        count = len(x.tensors) if isinstance(x, Batch) else 1
        taken, rest = rest[:count], rest[count:]
        made.append(x.like(taken) if isinstance(x, Batch) else taken[0])
    return made


class StaticStep:
    """Runs a step on fixed buffers; on CUDA from its fourth call on as a graph.

    The eager calls before that are steps like any other, not rehearsals: a recording does no work,
    so every call is one step, and a resumed training is one that has not been recorded yet.
    """

    def __init__(self, step: Callable[..., Tensor], device: torch.device) -> None:
        """Take the step.

        Args:
            step: from inputs on the device to a tensor on it. Each call gets inputs of the same
                form and shapes, and everything else that it reads lies where it lay before.
            device: where it runs; only CUDA records.
        """
        self._step, self._device = step, device
        self._inputs: list[Tensor] = []
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Tensor | None = None

    def __call__(self, *inputs: Batch | Tensor) -> Tensor:
        """Run the step on inputs and return its output, whose memory the next call writes to again.

        Raises:
            ValueError: if shapes differ from those of the first call.
        """
        self._fill(tensors_of(inputs))
        inputs = tuple(like(inputs, self._inputs))
        self._calls += 1
        if self._device.type != "cuda":
            return self._step(*inputs)
        if self._graph is None and self._calls > WARM_UPS:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._output = self._step(*inputs)
        if self._graph is None:
            return self._on_a_stream_of_its_own(inputs)
        assert self._output is not None
        self._graph.replay()
        return self._output

    def _fill(self, inputs: tuple[Tensor, ...]) -> None:
        if not self._inputs:
            self._inputs = [torch.empty_like(x, device=self._device) for x in inputs]
        for buffer, x in zip(self._inputs, inputs, strict=True):
            if buffer.shape != x.shape:
                raise ValueError(
                    f"a recorded step takes inputs of one shape, {list(buffer.shape)}, "
                    f"got {list(x.shape)}; leave out --cuda-graph"
                )
            buffer.copy_(x, non_blocking=True)

    def _on_a_stream_of_its_own(self, inputs: tuple[Batch | Tensor, ...]) -> Tensor:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            output = self._step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return output
