"""Parts of networks as users write them, each from [1, 8, 8, 8] to the same shape."""

import torch
import torch.nn.functional as F
from nastk.ops import linear, performer, self_attention
from torch import nn

C, SIDE = 8, 8


class Tokens(nn.Module):
    """Runs a module on pixels as tokens, those of every window in a batch item of their own."""

    def __init__(self, inner, window=SIDE, merges=False):
        super().__init__()
        self.inner, self.window, self.merges = inner, window, merges

    def forward(self, x):
        n, w = SIDE // self.window, self.window
        rows = x.reshape(-1, C, n, w, n, w).permute(0, 2, 4, 3, 5, 1).reshape(-1, w * w, C)
        rows = rows.reshape(-1, C) if self.merges else rows
        y = self.inner(rows).reshape(-1, n, n, w, w, C)
        return y.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


class Called(nn.Module):
    """A function of the module's parts and the feature."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def weight(*shape):
    return nn.Parameter(torch.randn(*shape))


def own_attention(self, x):
    t = x.flatten(2)
    return (t @ torch.softmax(t.transpose(1, 2) @ t, -1)).reshape(x.shape)


def sdpa(self, t):
    q, k, v = self.qkv(t).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=self.training)
    return self.proj(y.transpose(1, 2).flatten(2))


def grouped_sdpa(self, t):
    q = t.unflatten(-1, (4, 2)).transpose(1, 2)
    kv = self.kv(t).unflatten(-1, (2, 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(q, kv, kv, enable_gqa=True).transpose(1, 2).flatten(2)


def inside_inference(self, x):
    with torch.inference_mode():
        return self.linear(self.conv(x).transpose(1, 3)).transpose(1, 3)


def tied():
    a, b = nn.Conv2d(C, C, 3, padding=1), nn.Conv2d(C, C, 3, padding=1)
    b.weight = a.weight
    return nn.Sequential(a, b)


def frozen():
    return nn.Conv2d(C, C, 1, groups=2).requires_grad_(False)


def transposed():
    up = nn.ConvTranspose2d(C, C, 3, stride=2, padding=1, output_padding=1, groups=2)
    return nn.Sequential(up, nn.AvgPool2d(2))


PIECES = {
    "per_pixel": lambda: Tokens(nn.Linear(C, C), merges=True),
    "windows": lambda: Tokens(nn.Linear(C, C, bias=False), window=4),
    "channels": lambda: Called(
        lambda self, x: self.conv(x.reshape(-1, 1, SIDE, SIDE)).reshape(x.shape),
        conv=nn.Conv2d(1, 1, 3, padding=1),
    ),
    "mha": lambda: Tokens(
        Called(
            lambda self, t: self.inner(t, t, t)[0],
            inner=nn.MultiheadAttention(C, 2, batch_first=True),
        )
    ),
    "mha_without_weights": lambda: Tokens(
        Called(
            lambda self, t: self.inner(t, t[:, :3], t[:, :3], need_weights=False)[0],
            inner=nn.MultiheadAttention(C, 2, batch_first=True, add_bias_kv=True),
        ),
        window=4,
    ),
    "encoder_layer": lambda: Tokens(nn.TransformerEncoderLayer(C, 2, 16, batch_first=True)),
    "own_attention": lambda: Called(own_attention),
    "sdpa": lambda: Tokens(Called(sdpa, qkv=nn.Linear(C, 24), proj=nn.Linear(C, C))),
    "grouped_sdpa": lambda: Tokens(Called(grouped_sdpa, kv=nn.Linear(C, 4)), window=2),
    "einsum": lambda: Called(
        lambda self, x: torch.einsum("bchw,dc->bdhw", x, self.w), w=weight(C, C)
    ),
    "vector": lambda: Tokens(
        Called(lambda self, t: t + (t @ self.w)[..., None] * (self.w @ self.w), w=weight(C))
    ),
    "functional": lambda: Called(
        lambda self, x: F.conv2d(self.norm(x), self.w, padding="same", groups=4),
        norm=nn.BatchNorm2d(C),
        w=weight(C, 2, 3, 3),
    ),
    "transposed": transposed,
    "conv1d": lambda: Called(
        lambda self, x: self.conv(x.flatten(2)).reshape(x.shape),
        conv=nn.Conv1d(C, C, 5, padding=4, dilation=2),
    ),
    "conv3d": lambda: Called(
        lambda self, x: self.conv(x[:, None])[:, 0], conv=nn.Conv3d(1, 1, 3, padding=1)
    ),
    "transposed1d": lambda: Called(
        lambda self, x: self.conv(x.flatten(2))[..., ::2].reshape(x.shape),
        conv=nn.ConvTranspose1d(C, C, 2, stride=2, groups=2),
    ),
    "transposed3d": lambda: Called(
        lambda self, x: self.conv(x[:, None])[:, 0],
        conv=nn.ConvTranspose3d(1, 1, 3, padding=1, bias=False),
    ),
    "embedding": lambda: Called(
        lambda self, x: (
            x + self.table(torch.arange(SIDE * SIDE, device=x.device)).T.reshape(1, C, SIDE, SIDE)
        ),
        table=nn.Embedding(SIDE * SIDE, C),
    ),
    "recurrent": lambda: Tokens(
        Called(lambda self, t: self.gru(t)[0], gru=nn.GRU(C, C, batch_first=True)), window=2
    ),
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(C, C, 1)),
    "layer_scale": lambda: Called(
        lambda self, x: x + self.gamma * self.inner(x),
        inner=nn.Conv2d(C, C, 1),
        gamma=weight(C, 1, 1),
    ),
    "tied": tied,
    "frozen": frozen,
    "repeated": lambda: Called(lambda self, x: self.conv(self.conv(x)), conv=nn.Conv2d(C, C, 1)),
    "unused": lambda: Called(
        lambda self, x: self.conv(x),
        conv=nn.Conv2d(C, C, 1),
        spare=nn.Sequential(nn.Conv2d(C, 3, 1), nn.PReLU(3)),
        token=weight(1, C),
    ),
    "inference": lambda: Called(
        inside_inference, conv=nn.Conv2d(C, C, 1), linear=nn.Linear(C, C).requires_grad_(False)
    ),
    "instance_norm": lambda: nn.InstanceNorm2d(C, affine=True),
}

# Operators of nastk that a choice changes, on windows merged into the batch.
CHOOSING = {
    "hidden": lambda choose, name: Tokens(
        nn.Sequential(
            linear(C, hidden := choose(f"{name}.hidden", (3, 6)), bias=False),
            linear(hidden, C),
        ),
        window=4,
        merges=True,
    ),
    "attention": lambda choose, name: Tokens(
        nn.Sequential(
            linear(C, width := choose(f"{name}.width", (4, 8))),
            self_attention(width, heads=2),
            linear(width, C),
        ),
        window=2,
    ),
    "performer": lambda choose, name: Tokens(
        performer(C, C, choose(f"{name}.random", (2, 4))), window=4
    ),
}
