"""The Python path on arrays of one's own: search, train, test, export. `python from_python.py`."""

from dataclasses import dataclass

import nastk
import numpy as np
from nastk.ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear
from nastk.strategies import LocalSearch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Small(nastk.Space):
    """Nine archs for small grey images."""

    resolution: int = 16
    num_classes: int = 2

    def network(self, choose):
        """Build the network, asking for its width and its kernel."""
        width = choose("width", (8, 12, 16))
        return nn.Sequential(
            ConvNormAct(conv2d(3, 8, 3, stride=2), batch_norm(8), nn.ReLU()),
            ConvNormAct(depthwise_conv2d(8, choose("kernel", (3, 5, 7))), batch_norm(8)),
            ConvNormAct(conv2d(8, width, 1), batch_norm(width), nn.ReLU()),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            linear(width, self.num_classes),
        )


def stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return grey images [N, 16, 16] of stripes in noise, and whether they stand upright."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    lines = 60 * np.sin(np.arange(16) + generator.uniform(0, 6, (count, 1)))
    x = np.where(labels[:, None, None], lines[:, None, :], lines[:, :, None])
    noise = generator.normal(128, 60, (count, 16, 16))
    return np.clip(x + noise, 0, 255).astype(np.uint8), labels


def main() -> None:
    """Search, train, test and export."""
    data = (*stripes(512, seed=0), *stripes(256, seed=1))
    found = nastk.search(Small, "90%", data=data, strategy=LocalSearch(steps=20, evaluations=4))
    print(found)
    print(dict(found.arch.choices))
    trained = found.retrain(recipe={"epochs": 60})
    print(f"top-1 {trained['metrics']['test_top1_percent']:.1f} %")
    print(found.export(with_preprocessing=True, force=True)["file"])


if __name__ == "__main__":
    main()
