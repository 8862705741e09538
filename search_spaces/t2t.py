"""The T2T-ViT space: tokens-to-token vision transformers (arXiv:2101.11986)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from ..core.arch import Arch
from ..core.choice import Choice, Choose, Value
from ..core.constraint import Constraint
from ..core.lookup import lookup
from ..core.resolution import as_typed, sides_of
from ..core.space import Space
from ..ops import (
    TokenMap,
    channel_attention,
    conv2d,
    joint_width,
    layer_norm,
    linear,
    patches,
    paths,
    performer,
    residual,
    self_attention,
    soft_split,
    token_attention,
    token_embedding,
)
from ..ops.attention import INIT_STD
from ..ops.width import AnyWidth
from .blocks import scaled_channels

AnyInt = int | Choice
Sides = tuple[int, int]


class TokenLayer(nn.Module):
    """Attention with a shortcut of its own, and a small MLP beside one (section 3.1)."""

    def __init__(self, norm: nn.Module, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.attention, self.mlp = norm, attention, mlp

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [B, T, E] from [B, T, D]."""
        y: Tensor = self.attention(self.norm(x))
        result: Tensor = y + self.mlp(y)
        return result


class TokenHead(nn.Module):
    """Classifies by the first token."""

    def __init__(self, norm: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.norm, self.classifier = norm, classifier

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, classes] from tokens [B, T, D]."""
        logits: Tensor = self.classifier(self.norm(x[:, 0]))
        return logits


@dataclass(frozen=True, kw_only=True)
class T2T(Space):
    """T2T-ViT whose splits, token layers, depth, width and MLPs are chosen (sections 2 and 3).

    Attributes:
        first_kernels: candidates of the first soft split; the published models have 7.
        kernels: candidates of the second and third one; the published models have 3.
        layers: candidates of the token layers, `performer` or `transformer`.
        token_widths: candidates of the token layers' width, at full scale; published: 64.
        feature_ratios: candidates of the performer's random features as a share of that width.
        depths: candidates of the number of blocks.
        widths: candidates of the blocks' width, multiples of `head_width`, at full scale.
        mlp_ratios: candidates of every block's hidden width, as a multiple of its width.
        channel_attentions: candidates of squeeze-excitation behind every attention, 0 or 1.
        strides: of the three soft splits.
        head_width: features of a head, at full scale.
        heads: number of heads in every block instead of width / head_width; 0 for the latter.
        scale_by: `head` or `width`, whose square root divides the scores of the blocks; released
            weights want `width`.
        folds_splits: mix the kernels of the first two splits instead of sampling them. The norm
            behind a split then takes its statistics over the largest kernel's patch, which is an
            approximation for the smaller kernels.
        deep_narrow: exclude widths of at least 4 heads that are above depth times a head; the
            published ablation favours deep and narrow networks.
        init_std: of the linear layers' initial weights; 0 takes one over the root of the inputs,
            and so does every proxy: in narrow blocks 0.02 leaves nothing beside the positions.
        scale: factor on the widths, for proxies; the number of heads stays.
    """

    name: ClassVar[str] = "t2t"
    supernet_recipes: ClassVar[tuple[str, ...]] = ("supernet-tokens", "supernet-tokens-sgd")
    recipe: ClassVar[str | None] = "t2t-vit"
    short_recipe: ClassVar[str] = "demonstration-tokens"

    first_kernels: tuple[int, ...] = (5, 7, 9)
    kernels: tuple[int, ...] = (3, 5)
    layers: tuple[str, ...] = ("performer", "transformer")
    token_widths: tuple[int, ...] = (32, 48, 64)
    feature_ratios: tuple[float, ...] = (0.25, 0.5, 1)
    depths: tuple[int, ...] = tuple(range(4, 25))
    widths: tuple[int, ...] = (192, 256, 320, 384, 448, 512, 640, 768)
    mlp_ratios: tuple[float, ...] = (2, 2.5, 3, 3.5, 4)
    channel_attentions: tuple[int, ...] = (0, 1)
    strides: tuple[int, int, int] = (4, 2, 2)
    head_width: int = 64
    heads: int = 0
    scale_by: str = "head"
    folds_splits: bool = False
    deep_narrow: bool = True
    init_std: float = INIT_STD
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        lookup("scale", self.scale_by, dict.fromkeys(("head", "width")))
        if min(sides_of(self.resolution)) < 8:
            got = as_typed(self.resolution)
            raise ValueError(f"{self.name} needs at least 8 pixels a side, got {got}")
        step = self.heads or self.head_width
        if uneven := [width for width in self.widths if width % step]:
            raise ValueError(f"{self.name} needs widths that {step} divides, got {uneven[0]}")
        if wrong := [ratio for ratio in self.feature_ratios if not 0 < ratio <= 1]:
            raise ValueError(f"{self.name} takes feature_ratios above 0 up to 1, got {wrong[0]}")
        if self.strides[2] > 2:
            raise ValueError(f"{self.name} takes a last stride of 1 or 2, got {self.strides[2]}")

    def proxy(self) -> Space:
        """Return the space at 64 px with a quarter of the width of every head."""
        return dataclasses.replace(self, scale=0.25, resolution=64)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The deep-narrow rule: width <= head_width * depth for widths of at least four heads."""
        choices = self.choices()
        if not self.deep_narrow or "width" not in choices or "depth" not in choices:
            return ()
        wide = choices["width"].map(lambda d: d if d >= 4 * self.head_width else 0)
        deep = choices["depth"].map(lambda n: -self.head_width * n)
        return (Constraint(name="deep-narrow", terms=(wide, deep), high=0),)

    def network(self, choose: Choose) -> nn.Module:
        """Build token layers, embedding, blocks and head."""
        unscaled = choose("width", self.widths)
        width = _mapped(unscaled, self._block_width)
        stages = self.embedding_stages(choose, width)
        squeezed = _mapped(unscaled, lambda d: self._scaled(d // 16))
        depth = choose("depth", self.depths)
        keep_gate = choose("channel_attention", self.channel_attentions)
        for number in range(1, max(self.depths) + 1):
            ratio = choose(f"block{number}.mlp_ratio", self.mlp_ratios)
            hidden = joint_width(lambda d, r: int(r * d), width, ratio)
            branches = (
                partial(self._attention, width, squeezed, keep_gate),
                partial(mlp, width, hidden, std=self.linear_std),
            )
            keep = _keep(depth, number)
            stages += [residual(b, width, keep=keep, position=number) for b in branches]
        head = TokenHead(layer_norm(width), linear(width, self.num_classes, std=self.linear_std))
        return nn.Sequential(*stages, head)

    def embedding_stages(self, choose: Choose, width: AnyInt) -> list[nn.Module]:
        """Return the three soft splits: two with a token layer, one with the embedding of blocks.

        Args:
            choose: asked for the splits and token layers.
            width: of the blocks.
        """
        token_width = _mapped(choose("token_width", self.token_widths), self._scaled)
        stages, sides = self._token_stages(choose, token_width)
        kernel = choose("split3.kernel", self.kernels)
        # No norm stands between the last split and its projection: they are one convolution.
        project = conv2d(token_width, width, kernel, stride=self.strides[2], bias=True)
        num_tokens = math.prod(_grid(sides, self.strides[2]))
        return [*stages, token_embedding(project, num_tokens, width)]

    def _token_stages(self, choose: Choose, width: AnyInt) -> tuple[list[nn.Module], Sides]:
        """Return the first two soft splits, each with its token layer, and the sides behind."""
        layer = choose("layer", self.layers)
        ratio = choose("feature_ratio", self.feature_ratios)
        num_random = joint_width(lambda e, r: max(1, int(e * r)), width, ratio)
        stages: list[nn.Module] = []
        channels: AnyInt = 3
        sides = sides_of(self.resolution)
        for index, kernels in enumerate((self.first_kernels, self.kernels)):
            kernel = choose(f"split{index + 1}.kernel", kernels)
            split = soft_split(kernel, self.strides[index], max(sides))
            features = patches(channels, kernel)
            operators: dict[Value, Callable[[], nn.Module]] = {
                "performer": partial(self._performer, features, width, num_random),
                "transformer": partial(self._transformer, features, width),
            }
            sides = _grid(sides, self.strides[index])
            stages.append(TokenMap(nn.Sequential(split, paths(layer, operators)), sides))
            channels = width
        return stages, sides

    def _performer(self, features: AnyWidth, width: AnyInt, num_random: AnyWidth) -> nn.Module:
        norm = layer_norm(features, approximates=self.folds_splits)
        attention = performer(features, width, num_random, dropout=0.1, std=self.linear_std)
        return TokenLayer(norm, attention, mlp(width, width, dropout=0.1, std=self.linear_std))

    def _transformer(self, features: AnyWidth, width: AnyInt) -> nn.Module:
        norm = layer_norm(features, approximates=self.folds_splits)
        attention = token_attention(features, width, std=self.linear_std)
        return TokenLayer(norm, attention, mlp(width, width, std=self.linear_std))

    def _attention(self, width: AnyInt, squeezed: AnyInt, keep_gate: AnyInt) -> nn.Module:
        attention = self_attention(
            width,
            head_features=self._scaled(self.head_width),
            heads=self.heads or None,
            scale_by=self.scale_by,
            std=self.linear_std,
        )
        gate = channel_attention(width, squeezed, keep=keep_gate, std=self.linear_std)
        return nn.Sequential(layer_norm(width), attention, gate)

    @property
    def linear_std(self) -> float:
        """Standard deviation of initial weights of linear layers; 0 follows their inputs."""
        return self.init_std if self.scale == 1 else 0.0

    def _scaled(self, features: int) -> int:
        return scaled_channels(features, self.scale)

    def _block_width(self, width: int) -> int:
        """Return the width of the blocks at the space's scale, which keeps the heads."""
        if self.heads:
            return self.heads * max(1, round(width * self.scale / self.heads))
        return width // self.head_width * self._scaled(self.head_width)

    def uniform(
        self,
        *,
        first_kernel: int = 7,
        kernel: int = 3,
        layer: str = "performer",
        token_width: int = 64,
        feature_ratio: float = 0.5,
        depth: int = 14,
        width: int = 384,
        mlp_ratio: float = 3,
        channel_attention: int = 0,
    ) -> Arch:
        """Return the arch with one setting in every block; by default T2T-ViT-14."""
        values: dict[str, Value] = {
            "split1.kernel": first_kernel,
            "split2.kernel": kernel,
            "split3.kernel": kernel,
            "layer": layer,
            "token_width": token_width,
            "feature_ratio": feature_ratio,
            "depth": depth,
            "width": width,
            "channel_attention": channel_attention,
        }
        return self.arch({name: values.get(name, mlp_ratio) for name in self.choices()})


def mlp(
    features: AnyInt, hidden: AnyWidth, *, dropout: float = 0.0, std: float = INIT_STD
) -> nn.Sequential:
    """Return norm, linear map, GELU and linear map back."""
    layers = [
        layer_norm(features),
        linear(features, hidden, std=std),
        nn.GELU(),
        linear(hidden, features, std=std),
    ]
    return nn.Sequential(*layers, nn.Dropout(dropout)) if dropout else nn.Sequential(*layers)


def _grid(sides: Sides, stride: int) -> Sides:
    """Return the tokens along the sides of a soft split, the same for all kernels."""
    height, width = ((side - stride + 1) // stride + 1 for side in sides)
    return height, width


def _mapped(value: AnyInt, function: Callable[[int], int]) -> AnyInt:
    return value.map(function) if isinstance(value, Choice) else function(value)


def _keep(depth: AnyInt, number: int) -> AnyInt:
    """Return whether block `number` is among the first `depth` ones; 1 where it always is."""
    keep = _mapped(depth, lambda n: int(n >= number))
    return 1 if isinstance(keep, Choice) and all(keep.values) else keep
