"""A block states its body as an ordered list of (convolution, norm, activation)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.lookup import lookup
from ..core.trace import active_tracer
from .block_end import add_shortcut, join
from .kernels import route
from .norm import read_norm, scaled_batch_norm
from .parts import Conv, Norm
from .reading import input_mask, read_conv
from .single_feature import convolve, norm_act, norm_act_conv
from .statistics import Recomputing

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


class ConvNormAct(Regrouped):
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
            return _run(_read([self]), x)
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
        return isinstance(last, ConvNormAct) and last.norm is not None and last.act is None

    def joined(self, x: Tensor, gain: Tensor | None, share_C: Tensor | None) -> Tensor:
        """Return gain * chain(x) + share * x, the end of a residual block; None stands for one.

        Where the chain `can_scale` this stores no feature beyond those of the chain.

        Args:
            x: [B, C, H, W].
            gain: a scalar.
            share_C: [C], for the channels of the shortcut.
        """
        if gain is not None and not self.can_scale:
            return add_shortcut(gain * self(x), x, share_C)
        if _regroups(self, x) and not _has_hooks(self):
            return self._run(x, gain, Shortcut(share_C))
        return add_shortcut(self(x) if gain is None else self._scaled(x, gain), x, share_C)

    def _scaled(self, x: Tensor, gain: Tensor) -> Tensor:
        for step in self.steps[:-1]:
            x = step(x)
        last = self.steps[-1]
        assert isinstance(last, ConvNormAct) and last.norm is not None
        return scaled_batch_norm(last.norm, last.conv(x), gain)

    def _run(
        self, x: Tensor, gain: Tensor | None = None, shortcut: Shortcut | None = None
    ) -> Tensor:
        links = _read(list(self.steps), gain)
        is_compiling = torch.compiler.is_compiling()  # which plans by itself what is kept
        if self.memory != "lowest" or is_compiling or _updates_itself(links):
            return _run(links, x, shortcut)
        # Mixtures, norms and modes are read here, once: what changes between the two passes, such
        # as the next mixture, does not reach the second one.
        convs = [link.conv for link in links if link.conv is not None]
        weights = [weight for conv in convs for weight in (conv.weight, *conv.candidates)]
        versions = [weight._version for weight in weights]

        def run(x: Tensor) -> Tensor:
            if versions != [weight._version for weight in weights]:
                raise RuntimeError(
                    "a weight was changed in place between the forward and the backward pass, "
                    "which memory 'lowest' computes from it again; use memory 'low'"
                )
            return _run(links, x, shortcut)

        y: Tensor = checkpoint(
            run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), Recomputing())
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


def _regroups(module: ConvNormAct | Chain, x: Tensor) -> bool:
    """Tell whether to run regrouped: only where a backward pass follows, and nobody looks on."""
    return (
        module.memory != "high"
        and torch.is_grad_enabled()
        and active_tracer() is None
        and not torch.compiler.is_exporting()
        and x.dim() == 4
        and not any(_has_hooks(part) for part in _parts(module))
        and (not torch.compiler.is_compiling() or _compiles(module, x))
    )


def _compiles(module: ConvNormAct | Chain, x: Tensor) -> bool:
    """Tell whether a compiler should see the regrouped form instead of torch's modules."""
    is_shared = any(isinstance(part, nn.SyncBatchNorm) for part in _parts(module))
    return route.uses_operators(x.device) and not is_shared


def _parts(module: ConvNormAct | Chain) -> Iterator[nn.Module]:
    """Yield the modules that a regrouped run reads instead of calling."""
    for step in module.steps if isinstance(module, Chain) else (module,):
        if isinstance(step, ConvNormAct):
            if step is not module:
                yield step
            yield from (part for part in (step.conv, step.norm, step.act) if part is not None)


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


@dataclass(frozen=True)
class Shortcut:
    """What a residual block adds to its branch: its input times `share` [C], None for ones."""

    share: Tensor | None


@dataclass(frozen=True)
class _Link:
    """A member of a chain as it is to run: its parts read, None where a module runs by itself."""

    module: nn.Module
    conv: Conv | None = None
    norm: Norm | None = None
    act: str | None = None


def _read(steps: Sequence[nn.Module], gain: Tensor | None = None) -> list[_Link]:
    """Read every step under the current mixtures, `gain` folded into the last norm.

    A mask of input channels is a gain of the norm in front, where no activation stands between.
    """
    links: list[_Link] = []
    for step in steps:
        if not isinstance(step, ConvNormAct):
            links.append(_Link(step))
            continue
        factor = gain if step is steps[-1] else None
        norm = None if step.norm is None else read_norm(step.norm, factor)
        act = "identity" if step.act is None else _ACTS.get(type(step.act))
        before = links[-1] if links else None
        mask = None
        if before is not None and before.norm is not None and before.act == "identity":
            mask = input_mask(step.conv)
        conv = read_conv(step.conv, is_masked=mask is not None)
        if mask is not None and conv is not None:
            assert before is not None and before.norm is not None
            links[-1] = replace(before, norm=replace(before.norm, gain=mask[before.norm.index]))
        links.append(_Link(step, conv, norm, act))
    return links


def _updates_itself(links: Sequence[_Link]) -> bool:
    """Tell whether a norm runs by itself, whose statistics a second pass would move again."""
    for link in links:
        parts: Iterator[nn.Module] = iter(())
        if not isinstance(link.module, ConvNormAct):
            parts = link.module.modules()
        elif link.norm is None and link.module.norm is not None:
            parts = link.module.norm.modules()
        if any(next(part.buffers(recurse=False), None) is not None for part in parts):
            return True
    return False


def _run(links: Sequence[_Link], x: Tensor, shortcut: Shortcut | None = None) -> Tensor:
    """Run links cut in front of each norm, and add the shortcut if there is one."""
    y, waiting = _advance(links, x)
    if shortcut is None:
        return _finish(y, waiting)
    if waiting is not None and waiting[1] == "identity":
        return join(y, waiting[0], x, shortcut.share)
    return add_shortcut(_finish(y, waiting), x, shortcut.share)


def _advance(links: Sequence[_Link], x: Tensor) -> tuple[Tensor, tuple[Norm, str] | None]:
    """Return what comes out, and the norm and activation that it has yet to pass."""
    waiting: tuple[Norm, str] | None = None  # the norm and activation that x has yet to pass
    for link in links:
        step = link.module
        if link.conv is None or not isinstance(step, ConvNormAct):
            x, waiting = _finish(x, waiting), None
            if not isinstance(step, ConvNormAct):
                x = step(x)
                continue
            x = step.conv(x)
        elif waiting is None:
            x = convolve(x, link.conv)
        else:
            x = norm_act_conv(x, *waiting, link.conv)
        if link.norm is not None and link.act is not None:
            waiting = (link.norm, link.act)
            continue
        if link.norm is not None:
            x = norm_act(x, link.norm, "identity")
        elif step.norm is not None:
            x = step.norm(x)
        x, waiting = (x if step.act is None else step.act(x)), None
    return x, waiting


def _finish(x: Tensor, waiting: tuple[Norm, str] | None) -> Tensor:
    return x if waiting is None else norm_act(x, *waiting)
