"""A block states its body as an ordered list of (convolution, norm, activation)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.lookup import lookup
from ..core.trace import active_tracer
from .kernels import route
from .meta_convolution import read_conv
from .norm import read_norm, scaled_batch_norm
from .single_feature import Norm, convolve, norm_act, norm_act_conv, recomputing

MEMORY = {
    "high": "run every module by itself: torch keeps what each of them read",
    "low": "keep one feature a convolution and compute norms and activations again",
    "lowest": "keep one feature a block and compute the block again",
}
_ACTS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.SiLU: "silu"}


class Regrouped(nn.Module):
    """A module that can keep less for its backward pass than its parts do.

    Attributes:
        memory: a key of `MEMORY`; `set_memory` sets it.
    """

    memory: str = "high"


class Step(Regrouped):
    """One convolution with the norm and the activation behind it, either of which may be absent."""

    def __init__(
        self, conv: nn.Module, norm: nn.Module | None = None, act: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return act(norm(conv(x)))."""
        if _regroups(self, x):
            return _run([self], x)
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class Chain(Regrouped):
    """Steps that run one after the other, with other operators in between where need be."""

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Run every step."""
        if _regroups(self, x):
            return self._run(x)
        for step in self.steps:
            x = step(x)
        return x

    @property
    def can_scale(self) -> bool:
        """Whether the chain ends in a norm, into which a gain can be folded."""
        last = self.steps[-1]
        return isinstance(last, Step) and last.norm is not None and last.act is None

    def scaled(self, x: Tensor, gain: Tensor) -> Tensor:
        """Return `gain * chain(x)` without storing one more feature; needs `can_scale`."""
        if _regroups(self, x):
            return self._run(x, gain)
        for step in self.steps[:-1]:
            x = step(x)
        last = self.steps[-1]
        assert isinstance(last, Step) and last.norm is not None
        return scaled_batch_norm(last.norm, last.conv(x), gain)

    def _run(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        run = partial(_run, list(self.steps))
        if self.memory != "lowest":
            return run(x, gain)
        y: Tensor = checkpoint(
            run, x, gain, use_reentrant=False, context_fn=_first_and_second, preserve_rng_state=True
        )
        return y


def set_memory(network: nn.Module, memory: str) -> nn.Module:
    """Say what a network keeps for its backward pass, and return the network.

    Parameters, state dict, output and exported form stay those of the network as it was built;
    `set_memory(network, "high")` undoes everything.

    Args:
        network: a supernet or a plain network whose blocks are chains of steps.
        memory: a key of `MEMORY`.

    Raises:
        ValueError: if there is no such way.
    """
    lookup("memory", memory, MEMORY)
    for module in network.modules():
        if isinstance(module, Regrouped):
            module.memory = memory
    return network


def default_memory(device: torch.device) -> str:
    """Return `low` where fast kernels make recomputing cheaper than storing, else `high`."""
    return "low" if route.has_kernels(device) else "high"


def _regroups(module: Step | Chain, x: Tensor) -> bool:
    """Tell whether to run regrouped: only where a backward pass follows, and nobody looks on."""
    return (
        module.memory != "high"
        and torch.is_grad_enabled()
        and active_tracer() is None
        and not torch.compiler.is_compiling()
        and x.dim() == 4
    )


def _first_and_second() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), recomputing()


def _run(steps: Sequence[nn.Module], x: Tensor, gain: Tensor | None = None) -> Tensor:
    """Run steps cut in front of each norm, `gain` folded into the last of them."""
    waiting: tuple[Norm, str] | None = None  # the norm and activation that x has yet to pass
    for step in steps:
        conv = read_conv(step.conv) if isinstance(step, Step) else None
        if conv is None or not isinstance(step, Step):
            x, waiting = _finish(x, waiting), None
            if not isinstance(step, Step):
                x = step(x)
                continue
            x = step.conv(x)
        elif waiting is None:
            x = convolve(x, conv)
        else:
            x = norm_act_conv(x, *waiting, conv)
        factor = gain if step is steps[-1] else None
        norm = None if step.norm is None else read_norm(step.norm, factor)
        act = "identity" if step.act is None else _ACTS.get(type(step.act))
        if norm is not None and act is not None:
            waiting = (norm, act)
            continue
        if norm is not None:
            x = norm_act(x, norm, "identity")
        elif step.norm is not None:
            x = step.norm(x)
        x, waiting = (x if step.act is None else step.act(x)), None
    return _finish(x, waiting)


def _finish(x: Tensor, waiting: tuple[Norm, str] | None) -> Tensor:
    return x if waiting is None else norm_act(x, *waiting)
