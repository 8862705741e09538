"""Whether an untrained network tells the images of a batch apart (arXiv:2006.04647, version 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class NoActivationsError(ValueError):
    """No activation module of a network ran: one that is a mere function is not seen."""


# B batch, U units (activations of one image)

_SWITCHES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.Hardswish)


def naswot(network: nn.Module, *inputs: Tensor) -> float:
    r"""Return the log-determinant of the kernel of activation patterns.

        log | det K |,   K[i, j] = U - hamming(c_i, c_j)

    c_i [U] says which units are switched on by image i, U is their number (arXiv:2006.04647,
    version 3, section 3). The source counts ReLUs; other activations that
    bend at or near zero (SiLU, GELU, hard swish...) count by the sign of their input, which is a
    decision of nastk.

    Args:
        network: untrained; in training mode its BatchNorms use the statistics of the batch.
        inputs: each [B, ...], of at least two images.

    Returns:
        The score; minus infinity if two images have one pattern.

    Raises:
        NoActivationsError: if no activation module ran.
    """
    size = len(inputs[0])
    kernel_BB = torch.zeros(size, size, dtype=torch.float64, device=inputs[0].device)

    def count(module: nn.Module, fed: tuple[Any, ...]) -> None:
        on_BU = (fed[0] > 0).flatten(1).float()  # counts below 2^24 are exact in float32
        off_BU = 1 - on_BU
        kernel_BB.add_(on_BU @ on_BU.T + off_BU @ off_BU.T)

    switches = [module for module in network.modules() if isinstance(module, _SWITCHES)]
    # Before they run: one that works in place leaves its input changed.
    handles = [module.register_forward_pre_hook(count) for module in switches]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not kernel_BB[0, 0]:
        raise NoActivationsError(
            "naswot counts activation modules such as nn.ReLU, and none of this network ran; "
            "use another proxy"
        )
    return float(torch.linalg.slogdet(kernel_BB).logabsdet)
