"""Proxies that ask whether an untrained network tells the images of a batch apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .score import Measure, ScoreOfBatch

# B batch, U units (activations of one image), D elements of an image

_SWITCHES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.Hardswish)
_EPSILON = 1e-5  # k of arXiv:2006.04647v1, section 3


def jacob_cov(network: nn.Module, x: Tensor, labels: Tensor) -> float:
    r"""Return how uncorrelated the input gradients of the images of a batch are.

        - sum_i [ log(lambda_i + k) + 1 / (lambda_i + k) ],   k = 1e-5

    lambda_i are the eigenvalues of the correlation matrix [B, B] between the rows of J [B, D], the
    gradient of the sum of all outputs with respect to each image (arXiv:2006.04647, version 1,
    section 3). All lambda near 1 is the best: every image has a linear map of its own.

    Args:
        network: untrained; in training mode its BatchNorms use the statistics of the batch.
        x: [B, C, H, W], at least two images.
        labels: not used.

    Returns:
        The score; NaN if the gradient of an image is the same everywhere, as that of a network
        which does not read its input: it has no correlation.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (jacobian,) = torch.autograd.grad(network(x).sum(), x, materialize_grads=True)
    correlations_BB = torch.corrcoef(jacobian.flatten(1).double())
    if not bool(correlations_BB.isfinite().all()):
        return float("nan")
    eigenvalues_B = torch.linalg.eigvalsh(correlations_BB).clamp_min(0) + _EPSILON
    return -float((eigenvalues_B.log() + 1 / eigenvalues_B).sum())


def naswot(network: nn.Module, x: Tensor, labels: Tensor) -> float:
    r"""Return the log-determinant of the kernel of activation patterns.

        log | det K |,   K[i, j] = U - hamming(c_i, c_j)

    c_i [U] says which units are switched on by image i, U is their number (arXiv:2006.04647,
    version 3, section 3). The source counts ReLUs; other activations that
    bend at or near zero (SiLU, GELU, hard swish...) count by the sign of their input, which is a
    decision of nastk.

    Args:
        network: untrained; in training mode its BatchNorms use the statistics of the batch.
        x: [B, C, H, W], at least two images.
        labels: not used.

    Returns:
        The score; minus infinity if two images have one pattern.

    Raises:
        ValueError: if no activation module ran: one that is a mere function is not seen.
    """
    kernel_BB = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        on_BU = (inputs[0] > 0).flatten(1).float()  # counts below 2^24 are exact in float32
        off_BU = 1 - on_BU
        kernel_BB.add_(on_BU @ on_BU.T + off_BU @ off_BU.T)

    switches = [module for module in network.modules() if isinstance(module, _SWITCHES)]
    # Before they run: one that works in place leaves its input changed.
    handles = [module.register_forward_pre_hook(count) for module in switches]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
    if not kernel_BB[0, 0]:
        raise ValueError(
            "naswot counts activation modules such as nn.ReLU, and none of this network ran; "
            "use another proxy"
        )
    return float(torch.linalg.slogdet(kernel_BB).logabsdet)


@dataclass(frozen=True, kw_only=True)
class JacobCov(ScoreOfBatch):
    """The correlation of input gradients, see `jacob_cov`."""

    name: ClassVar[str] = "jacob_cov"
    objective: ClassVar[str] = "jacob_cov_score"
    measure: ClassVar[Measure] = staticmethod(jacob_cov)


@dataclass(frozen=True, kw_only=True)
class NasWot(ScoreOfBatch):
    """The overlap of activation patterns, see `naswot`."""

    name: ClassVar[str] = "naswot"
    objective: ClassVar[str] = "naswot_score"
    measure: ClassVar[Measure] = staticmethod(naswot)
