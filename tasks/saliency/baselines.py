"""Three predictors of salient pixels that know hardly anything, to stand beside every result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...training.task import Meter, Metrics, Task, batches

# B batch, R resolution, N pixels, 4 three channels and a one

_IMAGES = 100  # of the training part, evenly spread, to which the three are fitted
_ROUNDS = 12  # of Newton's method, which then has converged
_RIDGE = 1e-6
_WIDTH = 0.25  # deviation of the Gaussian, in sides of the image
_LEAST = 1e-6  # a probability

Floats = NDArray[np.float64]


def baselines(task: Task, meter: Callable[[], Meter]) -> dict[str, Metrics]:
    """Return on the test split the metrics of the three, by name.

    `constant` gives every pixel the share of salient ones in training images; `centre` is a
    Gaussian around the middle of the image, a quarter of a side wide, with the same mean; `colour`
    is a logistic regression on the three channels of a pixel alone.

    Args:
        task: whose images have one `mask` each.
        meter: makes what measures logits [B, 1, R, R].
    """
    size = task.size("train")
    some = task.read("train", range(0, size, -(-size // _IMAGES)), None)
    masks = some.targets["mask"]
    share = float(masks.mean())
    constant = torch.full(masks.shape[1:], share)
    bump = _bump(*masks.shape[-2:])
    centre = (bump * share / bump.mean()).clamp(max=1)
    weights = torch.from_numpy(_regression(_pixels(some.inputs[0]), masks.double().numpy().ravel()))
    answer: dict[str, Callable[[Tensor], Tensor]] = {
        "constant": lambda x: _logits(constant, len(x)),
        "centre": lambda x: _logits(centre, len(x)),
        "colour": lambda x: (torch.einsum("bchw,c->bhw", x.double(), weights[:3]) + weights[3])[
            :, None
        ].float(),
    }
    measured = {name: meter() for name in answer}
    for batch in batches(task, "test"):
        for name, logits in answer.items():
            measured[name].update(logits(batch.inputs[0]), batch)
    return {name: one.compute() for name, one in measured.items()}


def _bump(height: int, width: int) -> Tensor:
    """Return [1, H, W], 1 in the middle."""
    down, across = (
        (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5 for side in (height, width)
    )
    square = down[:, None] ** 2 + across[None, :] ** 2
    return torch.exp(-square / (2 * _WIDTH**2))[None].float()


def _logits(probs: Tensor, count: int) -> Tensor:
    """Return the same logits [B, 1, R, R] for so many images."""
    return torch.logit(probs, _LEAST).expand(count, *probs.shape).contiguous()


def _pixels(x_B3RR: Tensor) -> Floats:
    """Return [N, 4]: the channels of every pixel, and a one."""
    channels = x_B3RR.double().permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    return np.concatenate([channels, np.ones((len(channels), 1))], axis=1)


def _regression(x_N4: Floats, y_N: Floats) -> Floats:
    """Return the weights [4] of the logistic regression of y on x, by Newton's method."""
    weights = np.zeros(x_N4.shape[1])
    for _ in range(_ROUNDS):
        probs_N = 1 / (1 + np.exp(-np.clip(x_N4 @ weights, -30, 30)))
        gradient = x_N4.T @ (probs_N - y_N) / len(y_N) + _RIDGE * weights
        curvature = (x_N4.T * (probs_N * (1 - probs_N))) @ x_N4 / len(y_N)
        weights -= np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
    return weights
