"""Bodies of convolutions, and the heads that turn their features into the outputs of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import ConvNormAct, batch_norm, conv2d, linear
from ..ops.width import AnyWidth
from .blocks import Head

# B batch, C channels, H height, W width, K outputs


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature of a body.

    Attributes:
        layer: number of the layer that gives it.
        channels: of it.
        reduction: pixels of the input for each of its own, in height and in width.
    """

    layer: int
    channels: AnyWidth
    reduction: int


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a space says about the end of its networks; a head reads what it has a use for.

    Attributes:
        dropout: in front of a classifier.
        widened: channels of one more 1x1 convolution in front of a pooling; 0 leaves it out.
        act: its activation.
        pyramid: channels in which features of several sizes are summed.
    """

    dropout: float = 0.0
    widened: int = 0
    act: Callable[[], nn.Module] = nn.ReLU6
    pyramid: int = 16


class Body:
    """The layers of a network in the making, in their order, and what features they give."""

    def __init__(self) -> None:
        self.layers: list[nn.Module] = []
        self._features: list[Feature] = []
        self._reduction = 1

    def add(self, layer: nn.Module, channels: AnyWidth, *, stride: int = 1) -> None:
        """Add a layer behind the others.

        Args:
            layer: from one feature to the next.
            channels: of what it gives.
            stride: by how much that is smaller than what it takes.
        """
        self._reduction *= stride
        feature = Feature(layer=len(self.layers), channels=channels, reduction=self._reduction)
        self.layers.append(layer)
        self._features.append(feature)

    @property
    def features(self) -> list[Feature]:
        """The last feature of every size, the largest first."""
        return list({feature.reduction: feature for feature in self._features}.values())

    def network(self, kind: str, outputs: int, ending: Ending = Ending()) -> nn.Module:
        """Return the layers with the head of a kind of task behind them.

        Args:
            kind: a key of `HEADS`; one of a user's own that is not there takes `labels`.
            outputs: number of classes, of maps, or of numbers in an embedding.
            ending: what the space says about it.
        """
        return HEADS.get(kind, labels)(self, outputs, ending)


class Tapped(nn.Sequential):
    """Layers behind which a head reads the last feature of every size.

    Layers have the names that they have in front of a head which reads the last one alone, so that
    the weights of a body fit whatever is behind it.
    """

    def __init__(self, body: Body, head: nn.Module) -> None:
        super().__init__(*body.layers, head)
        self.taps = frozenset(feature.layer for feature in body.features)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the head makes of the features of images [B, 3, H, W]."""
        *layers, head = self
        features, shape = [], x.shape[2:]
        for number, layer in enumerate(layers):
            x = layer(x)
            if number in self.taps:
                features.append(x)
        y: Tensor = head(features, shape)
        return y


class Pyramid(nn.Module):
    """Maps at the size of the largest feature, or of the input.

    Every feature is projected to the same few channels by a 1x1 convolution, enlarged to the size
    of the largest one and added to the others; a norm, a ReLU and one more 1x1 convolution make
    the maps. This is the lateral half of a feature pyramid (arXiv:1612.03144) and nothing else: it
    is nastk's own choice of a head so light that the body decides what an arch costs and can.
    """

    def __init__(self, features: Sequence[Feature], width: int, maps: int, *, enlarges: bool):
        super().__init__()
        self.projections = nn.ModuleList(conv2d(f.channels, width, 1) for f in features)
        self.norm = batch_norm(width)
        self.act = nn.ReLU()
        self.maps = conv2d(width, maps, 1, bias=True)
        self.enlarges = enlarges

    def forward(self, features: Sequence[Tensor], shape: torch.Size) -> Tensor:
        """Return logits [B, K, H, W].

        Args:
            features: [B, C, H, W] of every size, the largest first.
            shape: height and width of the input.
        """
        largest = features[0].shape[2:]
        total, *others = (p(x) for p, x in zip(self.projections, features, strict=True))
        for other in others:
            total = total + _enlarged(other, largest)
        logits: Tensor = self.maps(self.act(self.norm(total)))
        return _enlarged(logits, shape) if self.enlarges else logits


def _enlarged(x: Tensor, shape: torch.Size) -> Tensor:
    return F.interpolate(x, shape, mode="bilinear", align_corners=False)


class UnitLength(nn.Module):
    """Scales every row to length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, K] of [B, K]."""
        return F.normalize(x)


def labels(body: Body, outputs: int, ending: Ending) -> nn.Module:
    """Return a network of logits [B, K]: pooled features and a linear layer."""
    return nn.Sequential(*_pooled(body, outputs, ending))


def embedding(body: Body, outputs: int, ending: Ending) -> nn.Module:
    """Return a network of points [B, K] on the unit sphere: as `labels`, scaled to length 1."""
    return nn.Sequential(*_pooled(body, outputs, ending), UnitLength())


def _pooled(body: Body, outputs: int, ending: Ending) -> list[nn.Module]:
    layers, channels = list(body.layers), body.features[-1].channels
    if ending.widened:
        convolution = conv2d(channels, ending.widened, 1)
        layers.append(ConvNormAct(convolution, batch_norm(ending.widened), ending.act()))
        channels = ending.widened
    return [*layers, Head(linear(channels, outputs), ending.dropout)]


def mask(body: Body, outputs: int, ending: Ending) -> nn.Module:
    """Return a network of logits [B, K, H, W], as large as its input; see `Pyramid`."""
    return Tapped(body, Pyramid(body.features, ending.pyramid, outputs, enlarges=True))


def heat_maps(body: Body, outputs: int, ending: Ending) -> nn.Module:
    """Return a network of maps [B, K, H, W], as large as its largest feature; see `Pyramid`."""
    return Tapped(body, Pyramid(body.features, ending.pyramid, outputs, enlarges=False))


HEADS: Mapping[str, Callable[[Body, int, Ending], nn.Module]] = {
    "classification": labels,
    "pose": heat_maps,
    "saliency": mask,
    "verification": embedding,
}
"""By kind of task: a new kind whose outputs are of another form adds a function and a line."""
