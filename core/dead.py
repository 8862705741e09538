"""Operators of a built network that do nothing: unheard at its output, or deaf to its input."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .spec import Spec

# B batch, which is 2

_DRAWS = 3  # of weights and images; what is dead is so in all, not by the chance of one
# Relative difference of what two images give that is rounding.
_ALIKE = {torch.float64: 1e-10, torch.float32: 1e-4}

WHOLE = "the whole network"


def dead_operators(network: nn.Module, specs: Sequence[Spec]) -> list[str]:
    """Return the names of the parts of a network whose parameters change nothing of its answers.

    An operator is dead if no answer depends on its parameters, which then have gradients of
    exactly zero; or if its output is the same for all images, so that it adds constants alone. To
    see the structure and not the initialisation, noise is added to all weights, those of norms
    among them, whose scales may begin at zero; norms run on random statistics, not on those of the
    batch.

    Args:
        network: plain, on the CPU; it is not changed.
        specs: of its inputs.

    Returns:
        The names of the outermost modules that are dead in all of their parts, in order;
        `WHOLE` alone where the answers depend on nothing.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2))
        >>> dead_operators(net, [Spec(shape=(3, 1, 1))])
        []
    """
    dead = {name for name, _ in _operators(network)}
    for seed in range(_DRAWS):
        if dead:  # mostly a single draw shows that everything lives
            dead &= _dead_of_a_draw(network, specs, seed)
    return list(_outermost(network, dead))


def dead_in_words(names: Sequence[str]) -> str:
    """Say in one line which operators are dead.

    Example:
        >>> dead_in_words(["1.edges.0to2", "3.edges.0to2", "5.edges.0to2", "head"])
        'dead in the found network: 1.edges.0to2, 3.edges.0to2, 5.edges.0to2 and 1 more: no answer \
depends on them, or they give the same for every image'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"dead in the found network: {', '.join(names[:3])}{more}: no answer depends on them, or "
        "they give the same for every image"
    )


def _operators(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that have parameters of their own, by name."""
    for name, module in network.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            yield name, module


def _dead_of_a_draw(network: nn.Module, specs: Sequence[Spec], seed: int) -> set[str]:
    """Return the names of the operators that are dead under one draw of weights and images."""
    generator = torch.Generator().manual_seed(seed)
    probe = copy.deepcopy(network).double().eval()
    _randomise(probe, generator)
    inputs = [_double(spec.noise(2, generator)) for spec in specs]
    if not _takes(probe, inputs):  # a network that makes tensors of float32 itself
        probe, inputs = probe.float(), [x.float() if x.is_floating_point() else x for x in inputs]
    deaf = {name: _Deaf() for name, _ in _operators(probe)}
    for name, module in _operators(probe):
        module.register_forward_hook(deaf[name])
    answers = [y for y in tree_leaves(probe(*inputs)) if isinstance(y, Tensor)]
    parts = [(y * torch.randn(y.shape, dtype=y.dtype, generator=generator)).sum() for y in answers]
    torch.autograd.backward(parts)
    dead = set()
    for name, module in _operators(probe):
        gradients = [weight.grad for weight in module.parameters(recurse=False)]
        is_unheard = not any(g is not None and bool(g.any()) for g in gradients)
        if is_unheard or deaf[name].is_deaf:
            dead.add(name)
    return dead


def _double(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def _takes(network: nn.Module, inputs: Sequence[Tensor]) -> bool:
    """Tell whether a network computes in the precision of its inputs."""
    try:
        with torch.no_grad():
            network(*inputs)
    except RuntimeError:
        return False
    return True


def _randomise(network: nn.Module, generator: torch.Generator) -> None:
    """Add noise to all weights, which may begin at zero, and draw the statistics of norms.

    Weights drawn anew would leave the range for which a network was made: exponentials of a
    performer's attention vanish beside the bias behind it, which then looks deaf.
    """

    def noise(tensor: Tensor, scale: float) -> Tensor:
        return scale * torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator)

    with torch.no_grad():
        for module in network.modules():
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(weight.is_floating_point())
                if weight.is_floating_point():
                    fan_in = math.prod(weight.shape[1:]) if weight.dim() > 1 else 1
                    weight.add_(noise(weight, 0.1 * max(fan_in, 1) ** -0.5))
            for name, buffer in module.named_buffers(recurse=False):
                if name == "running_mean":
                    buffer.copy_(noise(buffer, 0.1))
                elif name == "running_var":
                    buffer.uniform_(0.5, 1.5, generator=generator)


class _Deaf:
    """A hook that notes whether an operator gives the same for both images.

    Operators that are not fed with images, as embeddings of positions, are not judged.

    Attributes:
        is_deaf: whether every call so far gave the same.
    """

    def __init__(self) -> None:
        self._heard: list[bool] = []

    @property
    def is_deaf(self) -> bool:
        return bool(self._heard) and not any(self._heard)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        fed = [x for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
        if not isinstance(output, Tensor) or not output.dim() or len(output) % 2:
            self._heard.append(True)
        elif not any(x.dim() and len(x) % 2 == 0 for x in fed):
            self._heard.append(True)
        else:
            one, other = output.detach().reshape(2, -1)
            same = (one - other).abs().amax() <= _ALIKE.get(one.dtype, 0.0) * one.abs().amax()
            self._heard.append(not bool(same))


def _outermost(network: nn.Module, dead: set[str], prefix: str = "") -> Iterator[str]:
    """Yield the names of modules all of whose operators are dead, not those within them."""
    below = {prefix + name if name else prefix.removesuffix(".") for name, _ in _operators(network)}
    if below and below <= dead:
        yield prefix.removesuffix(".") or WHOLE
        return
    if (own := prefix.removesuffix(".")) in below & dead:
        yield own
    for name, child in network.named_children():
        yield from _outermost(child, dead, f"{prefix}{name}.")
