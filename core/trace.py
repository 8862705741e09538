"""What a network costs, recorded while meta tensors run through it.

Every product that torch dispatches counts, whatever module asks for it. Operators that depend on
choices record themselves instead, as polynomials, and what they dispatch is left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from .choice import Choice
from .holding import Context, Gate, Held, context_of, held_by, presence
from .meta import MetaOperator
from .polynomial import Polynomial
from .products import Product, product_of

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
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


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
class _Row:
    """One layer in the making: its counts where it runs, its params where it is held."""

    module: nn.Module
    kind: str
    gates: Context
    flops: Polynomial | float = 0
    activations: Polynomial | float = 0
    params: Polynomial = field(default_factory=lambda: Polynomial.constant(0))


class Tracer:
    """Collects layers and uses of choices; gates say which choices switch an operator off."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.names = {module: name for name, module in network.named_modules()}
        self.uses: list[Use] = []
        self.gates: list[Gate] = []
        self.layers: list[Layer] = []
        self._running: list[nn.Module] = []
        self._runs: dict[nn.Module, set[Context]] = {}
        self._rows: list[_Row] = []
        self._constant: dict[tuple[nn.Module, Context], _Row] = {}
        self._recorded: dict[nn.Module, tuple[_Row, Polynomial | float]] = {}
        self._weights = {
            parameter.untyped_storage()._cdata
            for parameter in network.parameters()
            if not nn.parameter.is_lazy(parameter)
        }

    def layer(
        self,
        module: MetaOperator,
        kind: str,
        *,
        flops: Polynomial | float,
        params: Polynomial | float,
        activations: Polynomial | float,
    ) -> None:
        """Record one run of an operator that depends on choices.

        Its params count once, however often it runs.
        """
        row = _Row(module, kind, tuple(self.gates), flops, activations)
        self._rows.append(row)
        self._recorded.setdefault(module, (row, params))

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

    def enter(self, module: nn.Module, _: Any) -> None:
        """Note that a module starts to run."""
        self._running.append(module)
        self._runs.setdefault(module, set()).add(tuple(self.gates))
        if module._parameters and not isinstance(module, MetaOperator):
            self._row_of(module)

    def leave(self, *_: Any) -> None:
        """Note that the module that runs has ended."""
        self._running.pop()

    @property
    def counts(self) -> bool:
        """Whether what is dispatched now is not for an operator that records itself to tell."""
        return not isinstance(self._running[-1], MetaOperator)

    def multiplied(self, product: Product, args: Sequence[Any], out: Any) -> None:
        """Record one product of tensors in the module that runs."""
        module = self._running[-1]
        row = self._row_of(module)
        row.flops += product.flops(args, out)
        if product.is_layer or isinstance(module, nn.Linear) or self._reads_weights(product, args):
            row.activations += out.numel()

    def refuse(self, operation: Any) -> None:
        """Refuse an operation whose cost is not known.

        Raises:
            ValueError: with the operation and the module that asks for it.
        """
        raise ValueError(
            f"the cost of {operation} in {self.title(self._running[-1])} is not known; build it "
            "from convolutions, linear layers, products of matrices, scaled_dot_product_attention "
            "and the operators of nastk.ops"
        )

    def title(self, module: nn.Module) -> str:
        """Return the type of a module and where it is."""
        name = self.names.get(module)
        return f"{type(module).__name__} at {name!r}" if name else type(module).__name__

    def finish(self) -> None:
        """Give every parameter to a row and make the layers."""
        held = held_by(self.network, self._runs)
        for module, (row, params) in self._recorded.items():
            row.params = row.params + presence(held.of(module, self._runs)) * params
        self._check_silent(held)
        for module, count, contexts in held.constants():
            row = self._first_row(module)
            row.params = row.params + presence(contexts) * count
        for row in self._rows:
            active = context_of(row.gates)
            self.layers.append(
                Layer(
                    name=self.names.get(row.module, row.kind),
                    kind=row.kind,
                    flops=active * row.flops,
                    params=row.params,
                    activations=active * row.activations,
                )
            )

    def _check_silent(self, held: Held) -> None:
        """Refuse operators of choices that hold weights and did not run."""
        for module in held.operators:
            if module not in self._recorded:
                raise ValueError(
                    f"{self.title(module)} depends on choices and holds weights, but no part of "
                    "the forward pass runs it, so that nobody knows what it costs: leave it out"
                )

    def _reads_weights(self, product: Product, args: Sequence[Any]) -> bool:
        return any(args[at].untyped_storage()._cdata in self._weights for at in product.operands)

    def _row_of(self, module: nn.Module) -> _Row:
        key = (module, tuple(self.gates))
        if key not in self._constant:
            self._constant[key] = _Row(module, _kind(module), key[1])
            self._rows.append(self._constant[key])
        return self._constant[key]

    def _first_row(self, module: nn.Module) -> _Row:
        row = next((row for row in self._rows if row.module is module), None)
        return self._row_of(module) if row is None else row


def _kind(module: nn.Module) -> str:
    return "norm" if isinstance(module, _NORMS) else type(module).__name__.lower()


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows a tracer every operation of torch."""

    supports_higher_order_operators = True

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracer = tracer

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        product = product_of(func)
        if product == "free" or not self.tracer.counts:
            return func(*args, **kwargs)
        if product == "unknown":
            self.tracer.refuse(func)
        if product == "composite":
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        assert isinstance(product, Product)
        self.tracer.multiplied(product, args, out)
        return out


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


def trace(network: nn.Module, *inputs: Tensor) -> Tracer:
    """Run inputs through `network` and return what its operators cost.

    Norms and activations pass their input on as it is: only shapes matter here. Attention is taken
    apart into its products.

    Args:
        network: a supernet's or a plain one, on the meta device.
        inputs: of the network, batches of one on the meta device.

    Raises:
        ValueError: if an operation multiplies in a way whose cost is not known.
    """
    tracer = Tracer(network)
    with ExitStack() as undo:
        for module in network.modules():
            undo.callback(module.register_forward_pre_hook(tracer.enter).remove)
            undo.callback(module.register_forward_hook(tracer.leave, always_call=True).remove)
            if type(module) in _SAME_SHAPE and "forward" not in module.__dict__:
                undo.callback(module.__dict__.pop, "forward")
                module.forward = _pass_on
        undo.callback(_ACTIVE.reset, _ACTIVE.set(tracer))
        undo.enter_context(sdpa_kernel(SDPBackend.MATH))
        undo.enter_context(torch.no_grad())
        undo.enter_context(_Watch(tracer))
        network(*inputs)
    tracer.finish()
    return tracer


def _pass_on(input: Tensor) -> Tensor:
    return input
