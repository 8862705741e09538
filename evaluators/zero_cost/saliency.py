"""Proxies that sum over weights what a gradient says about each of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.spec import Spec
from ...training.batch import Batch
from ...training.task import Objective
from .score import Measure, ScoreOfBatch, ZeroCost, loss_gradients, weights_of

# Left out of a synaptic flow.
_PASSED_OVER = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.GELU,
    nn.Hardswish,
)


def grad_norm(network: nn.Module, batch: Batch, objective: Objective) -> float:
    r"""Return the sum over layers of the norm of the loss gradient.

        sum_l || dL / dW_l ||_2

    L is the mean loss of one batch, l runs over convolutions and linear layers
    (arXiv:2101.08134, section 3.2, `grad_norm`). BatchNorms use the statistics of the batch where
    the network is in training mode.

    Args:
        network: untrained.
        batch: of the task.
        objective: L.
    """
    return sum(float(gradient.norm()) for gradient in loss_gradients(network, batch, objective))


def snip(network: nn.Module, batch: Batch, objective: Objective) -> float:
    r"""Return the sum over weights of the connection sensitivity.

        sum_w | w dL/dw |

    which is the effect on the loss of removing w, to first order (arXiv:1810.02340, section 4.1);
    summed over the weights of convolutions and linear layers it scores a network
    (arXiv:2101.08134, section 3.2).

    Args:
        network: untrained.
        batch: of the task.
        objective: L.
    """
    pairs = zip(weights_of(network), loss_gradients(network, batch, objective), strict=True)
    return sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs)


def synflow(network: nn.Module, specs: Sequence[Spec]) -> float:
    r"""Return the sum over weights of the synaptic flow through each of them.

        sum_w (dR/dw) w,   R = 1^T ( prod_l |W_l| ) 1

    R is the sum of the outputs for an input of ones, all parameters replaced by their magnitude
    (arXiv:2006.05467, the objective of its algorithm SynFlow; as a score of whole networks
    arXiv:2101.08134, section 3.2). No data is read. R is a product over layers that float32 would
    not hold, so float64 is used.

    Norms are skipped, as in the code released with arXiv:2101.08134: they would divide the flow
    away again. Activations behind which a network of positive features would be linear (ReLU) or
    is meant to be nearly so (ReLU6, SiLU, GELU, hard swish) are skipped too, which is a decision
    of nastk: a clipped feature would have no flow at all. Sigmoids and softmax stay.

    Args:
        network: untrained; left as it is.
        specs: of its inputs; integers are ones too.

    Raises:
        ValueError: if more weight can mean less flow, which is no flow then: so does attention
            between tokens that differ.
    """
    linear = copy.deepcopy(network).double().eval()
    passed_over: list[nn.Module] = [m for m in linear.modules() if isinstance(m, _PASSED_OVER)]
    for module in passed_over:
        module.forward = _pass_on
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.abs_()
    weights = weights_of(linear)
    ones = [_ones(spec, weights[0].device) for spec in specs]
    with torch.enable_grad():
        flow = linear(*ones).sum()
        gradients = torch.autograd.grad(flow, weights, materialize_grads=True)
    pairs = zip(weights, gradients, strict=True)
    flows = [weight.detach() * gradient for weight, gradient in pairs]
    total, loss = (sum(float(part.sum()) for part in parts) for parts in (flows, map(_lost, flows)))
    if not math.isfinite(total) or loss > 1e-6 * total:
        raise ValueError(
            "synflow needs a network whose output grows with the size of every weight, which "
            "attention does not leave so; use another proxy, such as zico"
        )
    return total


def _ones(spec: Spec, device: torch.device) -> Tensor:
    dtype = torch.float64 if spec.dtype.is_floating_point else spec.dtype
    return torch.ones(1, *spec.shape, dtype=dtype, device=device)


def _lost(flow: Tensor) -> Tensor:
    return -flow.clamp_max(0)


def _pass_on(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, kw_only=True)
class GradNorm(ScoreOfBatch):
    """The norm of the gradient at initialisation, see `grad_norm`."""

    name: ClassVar[str] = "grad_norm"
    objective: ClassVar[str] = "grad_norm_score"
    measure: ClassVar[Measure] = staticmethod(grad_norm)


@dataclass(frozen=True, kw_only=True)
class Snip(ScoreOfBatch):
    """The sensitivity of the loss to the removal of weights, see `snip`."""

    name: ClassVar[str] = "snip"
    objective: ClassVar[str] = "snip_score"
    measure: ClassVar[Measure] = staticmethod(snip)


@dataclass(frozen=True, kw_only=True)
class SynFlow(ZeroCost):
    """The synaptic flow, see `synflow`; of a batch it knows the shapes of the inputs only."""

    name: ClassVar[str] = "synflow"
    objective: ClassVar[str] = "synflow_score"

    def score(self, network: nn.Module, batches: Sequence[Batch], objective: Objective) -> float:
        """Return the score, which no batch changes."""
        inputs = batches[0].inputs
        return synflow(network, [Spec(shape=tuple(x.shape[1:]), dtype=x.dtype) for x in inputs])
