"""Checkpoints in the names of the released T2T-ViT code, against its equations written out."""

import nastk
import pytest
import torch
import torch.nn.functional as F
from nastk.ops.tokens import sinusoid_positions

CLASSES = 7


def plain_blocks(depth, width, ratio):
    """Shapes of the layers of the released blocks, and the width behind them."""
    shapes = {}
    for block in range(depth):
        name, hidden = f"blocks.{block}", int(ratio * width)
        shapes |= {f"{name}.norm1": (width,), f"{name}.norm2": (width,)}
        shapes |= {f"{name}.attn.qkv": (3 * width, width), f"{name}.attn.proj": (width, width)}
        shapes |= {f"{name}.mlp.fc1": (hidden, width), f"{name}.mlp.fc2": (width, hidden)}
    return shapes, width


def ghost_blocks():
    shapes, width = {}, 384
    for block in range(16):
        name = f"blocks.{block}"
        shapes |= {f"{name}.norm1": (width,), f"{name}.norm2": (width,)}
        for kind in "qkv":
            shapes |= {f"{name}.attn.{kind}": (width // 2, width)}
            shapes |= {f"{name}.attn.cheap_operation_{kind}": (width // 2, 1, 1)}
        shapes |= {f"{name}.attn.proj": (width, width), f"{name}.mlp.fc1": (width, width)}
        shapes |= {f"{name}.mlp.cheap_operation{n}": (width, 1, 1) for n in (2, 3)}
        shapes |= {f"{name}.mlp.fc2": (width, 3 * width)}
    return shapes, width


def dense_blocks():
    shapes, width, number = {}, 128, 0
    for stage, blocks in enumerate((3, 6, 6, 4)):
        if stage:
            shapes[f"blocks.{number}.linear"] = (width // 2, width)
            width, number = width // 2, number + 1
        for _ in range(blocks):
            layers, _ = plain_blocks(1, width, 2)
            shapes |= {key.replace("blocks.0", f"blocks.{number}"): s for key, s in layers.items()}
            shapes[f"blocks.{number}.dense_linear"] = (64, width)
            width, number = width + 64, number + 1
    return shapes, width


def released(is_performer, depth=7, width=256, ratio=2, side=32, blocks=None):
    """Random weights under the names and in the shapes of the released code."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"cls_token": (1, 1, width), "tokens_to_token.project": (width, 576)}
    for index, wide in ((1, 147), (2, 576)):
        name = f"tokens_to_token.attention{index}"
        fused, inner = ("kqv", "mlp.0") if is_performer else ("attn.qkv", "mlp.fc1")
        proj, outer = ("proj", "mlp.2") if is_performer else ("attn.proj", "mlp.fc2")
        shapes |= {f"{name}.norm1": (wide,), f"{name}.norm2": (64,)}
        shapes |= {f"{name}.{fused}": (192, wide), f"{name}.{proj}": (64, 64)}
        shapes |= {f"{name}.{inner}": (64, 64), f"{name}.{outer}": (64, 64)}
    layers, last = blocks or plain_blocks(depth, width, ratio)
    shapes |= layers | {"norm": (last,), "head": (CLASSES, last)}
    weights = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        value = 1 + 0.1 * value if len(shape) == 1 else value * shape[-1] ** -0.5
        if name == "cls_token":
            weights[name] = value
            continue
        weights[f"{name}.weight"] = value
        if not name.endswith(("attn.qkv", "attn.q", "attn.k", "attn.v")) and len(shape) < 3:
            weights[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    if is_performer:
        for index in (1, 2):
            weights[f"tokens_to_token.attention{index}.w"] = torch.randn(
                32, 64, generator=generator
            )
    tokens = (side // 16) ** 2 + 1
    weights["pos_embed"] = sinusoid_positions(tokens, width)[None]
    return weights


def linear_of(w, name, z):
    return F.linear(z, w[f"{name}.weight"], w.get(f"{name}.bias"))


def attend(w, name, q, k, v, heads, divisor):
    q, k, v = (z.unflatten(2, (heads, -1)).transpose(1, 2) for z in (q, k, v))
    weights = torch.softmax(q @ k.transpose(2, 3) * divisor**-0.5, -1)
    return linear_of(w, f"{name}.attn.proj", (weights @ v).transpose(1, 2).flatten(2))


def plain_block(w, name, x, heads, divisor):
    """One block of the paper: attention and MLP behind norms, each with a shortcut."""

    def norm(part, z):
        return F.layer_norm(z, z.shape[-1:], w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])

    z = norm("norm1", x)
    if f"{name}.attn.qkv.weight" in w:
        q, k, v = linear_of(w, f"{name}.attn.qkv", z).chunk(3, -1)
    else:
        halves = [(kind, linear_of(w, f"{name}.attn.{kind}", z)) for kind in "qkv"]
        scales = {kind: w[f"{name}.attn.cheap_operation_{kind}.weight"].flatten() for kind in "qkv"}
        q, k, v = (torch.cat([half, half * scales[kind]], -1) for kind, half in halves)
    x = x + attend(w, name, q, k, v, heads, divisor)
    hidden = F.gelu(linear_of(w, f"{name}.mlp.fc1", norm("norm2", x)))
    if f"{name}.mlp.cheap_operation2.weight" in w:
        scales = (w[f"{name}.mlp.cheap_operation{n}.weight"].flatten() for n in (2, 3))
        hidden = torch.cat([hidden, *(F.gelu(hidden * scale) for scale in scales)], -1)
    return x + linear_of(w, f"{name}.mlp.fc2", hidden)


def ghost_body(w, x):
    for block in range(16):
        x = plain_block(w, f"blocks.{block}", x, heads=6, divisor=384)
    return x


def dense_body(w, x):
    for block in range(22):
        name = f"blocks.{block}"
        if f"{name}.linear.weight" in w:
            x = F.gelu(linear_of(w, f"{name}.linear", x))
        else:
            y = plain_block(w, name, x, heads=8, divisor=x.shape[-1] // 8)
            x = torch.cat([x, linear_of(w, f"{name}.dense_linear", y)], -1)
    return x


def run(w, x, is_performer, depth=7, heads=4, body=None):
    """The network of the paper by its equations, on weights under the released names."""

    def norm(name, z):
        return F.layer_norm(z, z.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(name, z):
        return F.linear(z, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def token_layer(name, z):
        z = norm(f"{name}.norm1", z)
        if is_performer:
            k, q, v = linear(f"{name}.kqv", z).split(64, -1)
            matrix = w[f"{name}.w"]
            k, q = (
                torch.exp(u @ matrix.T - (u * u).sum(-1, keepdim=True) / 2) / 32**0.5
                for u in (k, q)
            )
            weights = q @ k.transpose(1, 2)
            y = v + linear(f"{name}.proj", weights @ v / (weights.sum(-1, keepdim=True) + 1e-8))
            inner, outer = "mlp.0", "mlp.2"
        else:
            q, k, v = linear(f"{name}.attn.qkv", z).split(64, -1)
            weights = torch.softmax(q @ k.transpose(1, 2) * z.shape[-1] ** -0.5, -1)
            y = v + linear(f"{name}.attn.proj", weights @ v)
            inner, outer = "mlp.fc1", "mlp.fc2"
        hidden = F.gelu(linear(f"{name}.{inner}", norm(f"{name}.norm2", y)))
        return y + linear(f"{name}.{outer}", hidden)

    x = F.unfold(x, 7, padding=2, stride=4).transpose(1, 2)
    x = token_layer("tokens_to_token.attention1", x)
    for name in ("tokens_to_token.attention2", None):
        side = int(x.shape[1] ** 0.5)
        x = x.transpose(1, 2).reshape(len(x), -1, side, side)
        x = F.unfold(x, 3, padding=1, stride=2).transpose(1, 2)
        x = token_layer(name, x) if name else linear("tokens_to_token.project", x)
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], 1) + w["pos_embed"]
    if body is not None:
        x = body(w, x)
    else:
        for block in range(depth):
            x = plain_block(w, f"blocks.{block}", x, heads, divisor=x.shape[-1])
    return linear("head", norm("norm", x)[:, 0])


def load(file, name="t2t-vit-7", **options):
    return nastk.load_reference(
        name, num_classes=CLASSES, resolution=32, weights=file, **options
    ).eval()


@pytest.mark.parametrize("container", ["state_dict_ema", "state_dict", None])
def test_a_checkpoint_gives_the_output_of_the_equations(container, tmp_path):
    weights = released(is_performer=True)
    stored = {f"module.{name}": value for name, value in weights.items()}
    content = stored if container is None else {container: stored, "epoch": 300}
    torch.save(content, tmp_path / "file.pth.tar")
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = run(weights, x, is_performer=True)
        found = load(tmp_path / "file.pth.tar")(x)
        other = load(tmp_path / "file.pth.tar", scale_by="head")(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (other - expected).abs().max() > 1e-3 * expected.abs().max()


def test_a_checkpoint_of_the_transformer_type(tmp_path):
    weights = released(is_performer=False, depth=14, width=384, ratio=3)
    torch.save(weights, tmp_path / "file.pth")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = run(weights, x, is_performer=False, depth=14, heads=6)
        found = load(tmp_path / "file.pth", "t2t-vit-t-14")(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    "name, width, blocks, body",
    [
        ("t2t-vit-16-ghost", 384, ghost_blocks, ghost_body),
        ("t2t-vit-dense", 128, dense_blocks, dense_body),
    ],
)
def test_a_checkpoint_of_other_blocks(name, width, blocks, body, tmp_path):
    weights = released(is_performer=True, width=width, blocks=blocks())
    torch.save(weights, tmp_path / "file.pth")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = run(weights, x, is_performer=True, body=body)
        found = load(tmp_path / "file.pth", name)(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    file = tmp_path / "file.pth"
    torch.save(released(is_performer=False), file)
    with pytest.raises(ValueError, match=r"no weight 'tokens_to_token\.attention1"):
        load(file)
    torch.save(released(is_performer=True, depth=12), file)
    with pytest.raises(ValueError, match=r"also holds 'blocks\.7\.norm1\.weight'"):
        load(file)
    torch.save(released(is_performer=True, width=192), file)
    with pytest.raises(ValueError, match=r"of shape \(1, 1, 192\), the network's of \(1, 1, 256\)"):
        load(file)
    torch.save(released(is_performer=True, side=48), file)
    with pytest.raises(ValueError, match="for 9 tokens, the network has 4"):
        load(file)
    file.write_text("no checkpoint")
    with pytest.raises(ValueError, match="is no checkpoint"):
        load(file)
    with pytest.raises(ValueError, match="only those of t2t-vit archs"):
        nastk.load_reference("mobilenext-1.0", weights=file)


def test_the_names_cover_every_variant_that_can_be_built():
    from nastk.nasbench.references import references
    from nastk.nasbench.released import released_names

    for name, reference in references().items():
        if reference.space in ("t2t", "t2t-variant"):
            space, arch = reference.arch()
            with torch.device("meta"):
                weights = space.build(arch).state_dict()
            assert set(weights) <= set(dict(released_names(space, arch))), name
