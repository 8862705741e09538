"""Operators that accept a value or a choice, and the mixtures that say what a choice computes."""

from .chain import Chain, Step
from .convolution import conv2d, depthwise_conv2d
from .linear import linear
from .norm import batch_norm
from .plain import mixed_depthwise_conv2d
from .residual import residual
from .width import grouped

__all__ = [
    "Chain",
    "Step",
    "batch_norm",
    "conv2d",
    "depthwise_conv2d",
    "grouped",
    "linear",
    "mixed_depthwise_conv2d",
    "residual",
]
