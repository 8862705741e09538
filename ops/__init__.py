"""Operators that accept a value or a choice, and the mixtures that say what a choice computes."""

from .attention import self_attention, token_attention
from .chain import Chain, ConvNormAct
from .channel_attention import channel_attention
from .convolution import conv2d, depthwise_conv2d
from .either import either
from .joint import joint_width, patches
from .linear import linear
from .norm import batch_norm, layer_norm
from .paths import paths
from .performer import performer
from .plain import mixed_depthwise_conv2d
from .residual import residual
from .tokens import TokenMap, soft_split, token_embedding
from .width import grouped

Step = ConvNormAct
"""Its name until version 0.1, by which spaces of users import it."""

__all__ = [
    "Chain",
    "ConvNormAct",
    "TokenMap",
    "batch_norm",
    "channel_attention",
    "conv2d",
    "depthwise_conv2d",
    "either",
    "grouped",
    "joint_width",
    "layer_norm",
    "linear",
    "mixed_depthwise_conv2d",
    "patches",
    "paths",
    "performer",
    "residual",
    "self_attention",
    "soft_split",
    "token_attention",
    "token_embedding",
]
