"""What a network costs: counts, a cross-check by fvcore, latency and memory."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..core.arch import Arch
from ..core.space import Space
from ..core.spec import Spec, examples
from ..training.evaluator import Evaluator, Metrics


@dataclass(frozen=True, kw_only=True)
class Efficiency(Evaluator):
    """Exact counts of the target, and its latency where asked for.

    A search with it looks for the most params under the FLOP budget: capacity, the null
    hypothesis of every other evaluator.

    Attributes:
        measures_latency: whether to time the built target on one CPU thread; timings are the one
            metric that differs from call to call.
    """

    name: ClassVar[str] = "efficiency"
    objective: ClassVar[str] = "params"
    maximises: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = True

    measures_latency: bool = False

    def evaluate(self, arch: Arch) -> Metrics:
        """Return `flops`, `params`, `activations`, and `latency_ms` where asked for."""
        space = self.problem.space
        metrics = {key: float(v) for key, v in space.cost.count(space.indices(arch)).items()}
        if self.measures_latency:
            metrics["latency_ms"] = latency_ms(space.build(arch.choices), space.inputs())
        return metrics


def per_layer(space: Space, arch: Arch) -> list[dict[str, Any]]:
    """Return name, kind and counts of every layer that the arch has; they sum to its totals."""
    kinds: dict[str, str] = {}
    for layer in space.cost.layers:
        kinds.setdefault(layer.name, layer.kind)
    rows = space.cost.by_layer(space.indices(arch))
    return [
        {"layer": name, "kind": kinds[name], **counts}
        for name, counts in rows.items()
        if any(counts.values())
    ]


def fvcore_flops(network: nn.Module, specs: Sequence[Spec]) -> int:
    """Return the multiply-adds that fvcore counts for convolutions and linear layers.

    Raises:
        ValueError: if fvcore is not installed.
    """
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError:
        raise ValueError("--check needs fvcore: pip install 'nastk[check]'") from None
    if any(parameter.is_meta for parameter in network.parameters()):
        network = copy.deepcopy(network).to_empty(device="cpu")  # its values do not matter
    analysis = FlopCountAnalysis(network.eval(), examples(specs))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counted = analysis.by_operator()
    return int(sum(counted[name] for name in ("conv", "linear", "addmm", "matmul")))


def torch_flops(network: nn.Module, specs: Sequence[Spec]) -> dict[str, int]:
    """Return the multiply-adds that torch counts, by operator, on the meta device.

    Attention is taken apart into its products, which torch then counts one by one. Products with
    a vector, which it leaves out, are added.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton where it is installed

    def doubled(a_shape: list[int], *_: Any, **__: Any) -> int:
        return 2 * math.prod(a_shape)

    def doubled_second(_: Any, a_shape: list[int], *__: Any, **___: Any) -> int:
        return 2 * math.prod(a_shape)

    aten = torch.ops.aten
    vectors = {aten.mv: doubled, aten.dot: doubled, aten.vdot: doubled, aten.addmv: doubled_second}
    network = copy.deepcopy(network).to("meta").eval()
    inputs = examples(specs, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=vectors)
    with counter, sdpa_kernel(SDPBackend.MATH):
        network(*inputs)
    counted = counter.get_flop_counts().get("Global", {})
    return {str(operator): int(flops) // 2 for operator, flops in counted.items()}


def outside_flops(network: nn.Module, specs: Sequence[Spec]) -> tuple[str, int]:
    """Return a counter that shares no code with nastk, `fvcore` or `torch`, and what it counts.

    fvcore estimates the products of attention roughly and leaves out what no output needs, which
    a cell of NAS-Bench-201 runs all the same: where the two disagree, torch's counter counts.

    Raises:
        ValueError: if fvcore is wanted and not installed.
    """
    counted = torch_flops(network, specs)
    if set(counted) <= {"aten.convolution", "aten.addmm", "aten.mm"}:
        total = fvcore_flops(network, specs)
        if total == sum(counted.values()):
            return "fvcore", total
    return "torch", sum(counted.values())


@torch.inference_mode()
def latency_ms(
    network: nn.Module, specs: Sequence[Spec], *, rounds: int = 20, threads: int = 1
) -> float:
    """Return the median latency of one item on the CPU, with pinned threads.

    A copy of the network is timed, so that the network keeps its mode and its memory format.
    """
    before = torch.get_num_threads()
    inputs = [_channels_last(x) for x in examples(specs)]
    timed = copy.deepcopy(network).eval()
    timed = timed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    times = []
    torch.set_num_threads(threads)
    try:
        for round_number in range(rounds + 3):
            start = time.perf_counter()
            timed(*inputs)
            if round_number >= 3:
                times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return 1000 * statistics.median(times)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
