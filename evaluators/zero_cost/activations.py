"""Proxies that ask whether an untrained network tells the images of a batch apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.naswot import naswot
from .score import Measure, ScoreOfBatch

# B batch, D elements of an image

_EPSILON = 1e-5  # k of arXiv:2006.04647v1, section 3


def jacob_cov(network: nn.Module, *inputs: Tensor) -> float:
    r"""Return how uncorrelated the input gradients of the images of a batch are.

        - sum_i [ log(lambda_i + k) + 1 / (lambda_i + k) ],   k = 1e-5

    lambda_i are the eigenvalues of the correlation matrix [B, B] between the rows of J [B, D], the
    gradient of the sum of all outputs with respect to each image (arXiv:2006.04647, version 1,
    section 3). All lambda near 1 is the best: every image has a linear map of its own.

    Args:
        network: untrained; in training mode its BatchNorms use the statistics of the batch.
        inputs: each [B, ...], of at least two images; whole numbers have no gradient.

    Returns:
        The score; NaN if the gradient of an image is the same everywhere, as that of a network
        which does not read its input: it has no correlation.

    Raises:
        ValueError: if all inputs are whole numbers.
    """
    with torch.enable_grad():
        fed = [x.detach().requires_grad_(x.is_floating_point()) for x in inputs]
        if not (smooth := [x for x in fed if x.requires_grad]):
            raise ValueError(
                "jacob_cov needs gradients of the input, which whole numbers have not; use another "
                "proxy, such as zico"
            )
        gradients = torch.autograd.grad(network(*fed).sum(), smooth, materialize_grads=True)
    jacobian_BD = torch.cat([gradient.flatten(1) for gradient in gradients], 1)
    correlations_BB = torch.corrcoef(jacobian_BD.double())
    if not bool(correlations_BB.isfinite().all()):
        return float("nan")
    eigenvalues_B = torch.linalg.eigvalsh(correlations_BB).clamp_min(0) + _EPSILON
    return -float((eigenvalues_B.log() + 1 / eigenvalues_B).sum())


@dataclass(frozen=True, kw_only=True)
class JacobCov(ScoreOfBatch):
    """The correlation of input gradients, see `jacob_cov`."""

    name: ClassVar[str] = "jacob_cov"
    objective: ClassVar[str] = "jacob_cov_score"
    measure: ClassVar[Measure] = staticmethod(lambda net, batch, _: jacob_cov(net, *batch.inputs))


@dataclass(frozen=True, kw_only=True)
class NasWot(ScoreOfBatch):
    """The overlap of activation patterns, see `naswot`."""

    name: ClassVar[str] = "naswot"
    objective: ClassVar[str] = "naswot_score"
    measure: ClassVar[Measure] = staticmethod(lambda net, batch, _: naswot(net, *batch.inputs))
