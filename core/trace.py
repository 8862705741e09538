"""Operators tell a tracer what they cost while meta tensors run through the supernet."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .choice import Choice
from .polynomial import Polynomial

Gate = tuple[str, tuple[bool, ...]]

# Leaf modules of torch that hold parameters and that our convention counts as no multiply-add.
_FREE_LEAVES = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.PReLU,
    nn.Embedding,
)
# What these do to values no count depends on, and on meta tensors it is slow.
_SAME_SHAPE = (
    nn.BatchNorm2d,
    nn.LayerNorm,
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.GELU,
    nn.Hardswish,
    nn.Sigmoid,
    nn.Dropout,
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The cost of one operator, for every arch of the space."""

    name: str
    kind: str
    flops: Polynomial
    params: Polynomial
    activations: Polynomial


@dataclass(frozen=True, kw_only=True)
class Use:
    """One operator that depends on a choice: what each candidate means there, and when it runs."""

    choice: str
    signature: tuple[Hashable, ...]
    gates: tuple[Gate, ...]


@dataclass
class Tracer:
    """Collects layers and uses of choices; gates say which choices switch an operator off."""

    names: dict[nn.Module, str]
    layers: list[Layer] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    _seen: set[nn.Module] = field(default_factory=set)

    def layer(
        self,
        module: nn.Module,
        kind: str,
        *,
        flops: Polynomial | float,
        params: Polynomial | float,
        activations: Polynomial | float,
    ) -> None:
        """Record one run of an operator; its params count once, however often it runs."""
        active = Polynomial.constant(1)
        for name, alive in self.gates:
            active = active * Polynomial.of(name, [int(flag) for flag in alive])
        if module in self._seen:
            params = 0
        self._seen.add(module)
        self.layers.append(
            Layer(
                name=self.names.get(module, kind),
                kind=kind,
                flops=active * flops,
                params=active * params,
                activations=active * activations,
            )
        )

    def use(self, choice: Choice, signature: Sequence[Hashable]) -> None:
        """Record that the running operator depends on a choice.

        Args:
            choice: the decision.
            signature: for each candidate, what decides the operator's function; candidates with
                equal signatures in all uses cannot be told apart.
        """
        self.uses.append(
            Use(choice=choice.name, signature=tuple(signature), gates=tuple(self.gates))
        )


_ACTIVE: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


def active_tracer() -> Tracer | None:
    """Return the tracer that records the current forward pass, or None outside of tracing."""
    return None if torch.compiler.is_compiling() else _ACTIVE.get()


@contextmanager
def gate(choice: Choice, alive: Sequence[bool]) -> Iterator[None]:
    """Declare that the operators run inside exist only for the candidates marked alive."""
    tracer = _ACTIVE.get()
    if tracer is None:
        yield
        return
    tracer.gates.append((choice.name, tuple(alive)))
    try:
        yield
    finally:
        tracer.gates.pop()


def trace(network: nn.Module, x: Tensor) -> Tracer:
    """Run `x` through `network` and return what its operators recorded.

    Norms and activations pass `x` on as it is: only shapes matter here.

    Raises:
        ValueError: if the network holds a parametrised layer whose cost is not known.
    """
    tracer = Tracer(names={module: name for name, module in network.named_modules()})
    handles = [
        module.register_forward_hook(_record_leaf)
        for module in network.modules()
        if next(module.children(), None) is None
    ]
    unchanged = [module for module in network.modules() if type(module) in _SAME_SHAPE]
    token = _ACTIVE.set(tracer)
    try:
        for module in unchanged:
            module.forward = _pass_on
        network(x)
    finally:
        _ACTIVE.reset(token)
        for module in unchanged:
            del module.forward
        for handle in handles:
            handle.remove()
    return tracer


def _pass_on(x: Tensor) -> Tensor:
    return x


def _record_leaf(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    tracer = _ACTIVE.get()
    if tracer is None or hasattr(module, "extract"):
        return  # a meta operator records itself
    params = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        weights_per_output = module.weight[0].numel()
        flops, activations = output[0].numel() * weights_per_output, output[0].numel()
        kind = type(module).__name__.lower()
        tracer.layer(module, kind, flops=flops, params=params, activations=activations)
    elif isinstance(module, nn.Linear):
        flops, activations = output[0].numel() * module.in_features, output[0].numel()
        tracer.layer(module, "linear", flops=flops, params=params, activations=activations)
    elif isinstance(module, _FREE_LEAVES):
        tracer.layer(module, "norm", flops=0, params=params, activations=0)
    elif params:
        raise ValueError(
            f"the cost of {type(module).__name__} is not known; build the space from nn.Conv1d, "
            "nn.Conv2d, nn.Linear, normalisation layers and the operators of nastk.ops"
        )
