"""What goes into an exported file: a network as it is, or with its preprocessing in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..core.preprocessing import Preprocessing
from ..core.resolution import sides_of
from ..core.spec import Spec, examples
from ..ops.resize import Resize
from ..records.weights import entries_of
from ..training.task import Task

# B batch, R resolution, H height, W width, K classes


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What goes into a file.

    Attributes:
        network: from the inputs to what is called `output`.
        inputs: an example of each by name, in their order.
        free: axes of each of them that may have any length, and their names.
        output: its name.
        expected: of the example, computed without the file.
        entries: what the file says besides, as text by key.
    """

    network: nn.Module
    inputs: dict[str, Tensor]
    free: dict[int, str]
    output: str
    expected: Tensor
    entries: dict[str, str]


class _Plain(nn.Module):
    """Gives the input of a network its name, where it has one alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [B, K] of an image as the network wants it, float32 [B, 3, H, W]."""
        logits: Tensor = self.network(image)
        return logits


class _Prepared(nn.Module):
    """Does the preprocessing within the graph."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, family: type[Task]
    ) -> None:
        super().__init__()
        self.readable = family.readable
        self.resize = Resize(
            sides_of(preprocessing.resolution),
            crop=preprocessing.crop,
            resize=preprocessing.resize,
        )
        for name in ("mean", "deviation"):
            scaled = torch.tensor(getattr(preprocessing, name), dtype=torch.float64)
            scaled = (scaled / preprocessing.scale).float().reshape(1, 3, 1, 1)
            self.register_buffer(name, scaled)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return what is read, such as probabilities, of pictures of a size, uint8 [B, 3, H, W]."""
        x = (self.resize(image) - self.mean) / self.deviation
        return self.readable(self.network(x))


def _entries(about: Mapping[str, Any]) -> dict[str, str]:
    return entries_of(about["preprocessing"], about["classes"]) if "classes" in about else {}


def plain_graph(network: nn.Module, about: Mapping[str, Any]) -> Graph:
    """Return what computes logits of inputs that come ready.

    Args:
        network: in eval mode.
        about: its `inputs`, each a `Spec`; of a trained one also `preprocessing` and `classes`.
    """
    specs: Sequence[Spec] = about["inputs"]
    inputs = examples(specs, 2)
    with torch.no_grad():
        expected = network(*inputs)
    return Graph(
        network=_Plain(network).eval() if len(specs) == 1 else network,
        inputs={spec.name: x for spec, x in zip(specs, inputs, strict=True)},
        free={0: "batch"},
        output="logits",
        expected=expected,
        entries=_entries(about),
    )


def prepared_graph(network: nn.Module, about: Mapping[str, Any], family: type[Task]) -> Graph:
    """Return what computes probabilities of pictures; Pillow and numpy prepare what is expected.

    Args:
        network: in eval mode.
        about: its `preprocessing` and `classes`.
        family: of the tasks that it was trained on.
    """
    preprocessing: Preprocessing = about["preprocessing"]
    height, width = sides_of(preprocessing.resolution)
    shape = (2, 3, height + height // 2 + 3, width + width // 4 + 5)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pictures = [Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in image]
    pixels = np.stack([preprocessing.pixels(one) for one in pictures]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        logits = network(torch.from_numpy(preprocessing.standardised(np.ascontiguousarray(pixels))))
    return Graph(
        network=_Prepared(network, preprocessing, family).eval(),
        inputs={"image": torch.from_numpy(image)},
        free={0: "batch", 2: "height", 3: "width"},
        output=family.readable_name,
        expected=family.readable(logits),
        entries=_entries(about),
    )
