"""Ahead-of-time compilation for two GPUs: no spilled register, wide memory accesses, fused adds."""

import os
import re
import subprocess
from itertools import product

import pytest
from nastk.ops.kernels.cuda.blocks import depthwise_blocks, weight_blocks

triton = pytest.importorskip("triton", reason="triton is not installed")

ITEM_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
FLOAT32_POINTERS = (
    *("scale", "shift", "partial", "total", "mean", "inv_std", "p", "q", "r"),
    *("kernels", "probs", "split", "product"),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(
    kernel, constants, dtype, capability, num_warps, max_registers=None, ones=(), sixteens=()
):
    """Return the PTX of a kernel and what ptxas says of it.

    `ones` are arguments equal to 1, and `sixteens` those that are multiples of 16: Triton compiles
    both cases apart.
    """
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas
    from triton.compiler import ASTSource

    constants = {**constants, **dict.fromkeys(ones, 1)}
    signature, aligned = {}, {}
    for n, argument in enumerate(kernel.arg_names):
        if argument in constants:
            signature[argument] = "constexpr"
        elif argument.endswith("_ptr"):
            is_vector = argument.removesuffix("_ptr") in FLOAT32_POINTERS
            signature[argument] = "*fp32" if is_vector else f"*{dtype}"
            aligned[(n,)] = [["tt.divisibility", 16]]
        else:
            signature[argument] = "i32"
            if argument in sixteens:
                aligned[(n,)] = [["tt.divisibility", 16]]
    source = ASTSource(
        kernel, signature, {k: v for k, v in constants.items() if k in signature}, aligned
    )
    options = {"num_warps": num_warps, "maxnreg": max_registers, "enable_fp_fusion": True}
    ptx = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options).asm[
        "ptx"
    ]
    name = f"sm_{capability}" + "a" * (capability >= 90)
    command = [get_ptxas(capability).path, "-v", f"--gpu-name={name}", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input=ptx, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ptx, done.stderr


def assert_lean(ptx, report, vector=None, access="ld"):
    """Assert zero spills and, given a vector size in bytes, loads (stores by `st`) of that size."""
    assert re.findall(r"(\d+) bytes spill", report) == ["0", "0"], report
    if vector is not None:
        width = f"v{vector // 4}.b32" if vector > 4 else f"b{vector * 8}"
        assert re.search(rf"{access}\.global[.\w:]*\.{width}", ptx), f"no {width} by {access}"


def kernels():
    from nastk.ops.kernels.cuda import triton_depthwise, triton_depthwise_weight

    return {
        "fwd": triton_depthwise.depthwise_fwd_kernel,
        "bwd_data": triton_depthwise.depthwise_bwd_data_kernel,
        "bwd_weight": triton_depthwise_weight.depthwise_bwd_weight_kernel,
    }


FAST = [(pass_, 7, 1, "bf16", True, None) for pass_ in ("fwd", "bwd_data", "bwd_weight")]
FAST += [("fwd", 3, 1, "fp32", True, None), ("bwd_weight", 5, 2, "fp16", True, "relu6")]
SWEEP = [
    case
    for case in product(
        ("fwd", "bwd_data", "bwd_weight"),
        (3, 5, 7, 9, 11),
        (1, 2),
        ITEM_BYTES,
        (True, False),
        (None, "silu"),
    )
    if not (case[0] == "bwd_data" and case[-1])
]
# Every pass, kernel and stride, the other dimensions in turn; NASTK_SWEEP=1 compiles all.
SLOW = SWEEP if os.environ.get("NASTK_SWEEP") else SWEEP[::11]


@pytest.mark.parametrize("capability", [80, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("pass_", "kernel", "stride", "dtype", "last", "act"),
    FAST + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW],
)
def test_depthwise_kernels_spill_nothing_and_load_vectors(
    capability, pass_, kernel, stride, dtype, last, act
):
    blocks = weight_blocks if pass_ == "bwd_weight" else depthwise_blocks
    b = blocks(144, 56, ITEM_BYTES[dtype], last, kernel, stride)
    constants = {
        "K": kernel,
        "S": stride,
        "R": b.rows,
        "BW": b.width,
        "BC": b.channels,
        "VEC": b.vector,
        "CHANNELS_LAST": last,
        "FUSED": act is not None,
        "ACT": act or "identity",
    }
    ptx, report = compiled(
        kernels()[pass_], constants, dtype, capability, b.num_warps, b.max_registers
    )
    per_thread = b.width * b.channels // (32 * b.num_warps)
    assert_lean(ptx, report, min(16, per_thread * ITEM_BYTES[dtype]) if last else None)
    assert "fma.rn.f32" in ptx


# In NCHW the taps shift the columns that a row of programs reads, so its loads are of single
# elements side by side; what is written, and the gradient of backward-weight, lies straight.
STRAIGHT = [("fwd", 7, 1, "bf16"), ("bwd_data", 5, 1, "fp16"), ("bwd_weight", 5, 2, "fp32")]
STRAIGHT_SWEEP = [
    case
    for case in product(("fwd", "bwd_data", "bwd_weight"), (3, 5, 7, 9, 11), (1, 2), ITEM_BYTES)
    if case[0] != "bwd_data" or case[2] == 1  # at stride 2 the input's columns come in phases
]
STRAIGHT_SLOW = STRAIGHT_SWEEP if os.environ.get("NASTK_SWEEP") else STRAIGHT_SWEEP[::11]


@pytest.mark.parametrize("capability", [80, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("pass_", "kernel", "stride", "dtype"),
    STRAIGHT + [pytest.param(*case, marks=pytest.mark.slow) for case in STRAIGHT_SLOW],
)
def test_nchw_kernels_use_vectors_where_sixteen_divides_the_width(
    capability, pass_, kernel, stride, dtype
):
    blocks = weight_blocks if pass_ == "bwd_weight" else depthwise_blocks
    b = blocks(144, 64, ITEM_BYTES[dtype], False, kernel, stride)
    constants = {"K": kernel, "S": stride, "R": b.rows, "BW": b.width, "BC": b.channels}
    constants |= {"VEC": b.vector, "CHANNELS_LAST": False, "FUSED": False, "ACT": "identity"}
    sizes = ("H", "W", "OH", "OW")
    arguments = (dtype, capability, b.num_warps, b.max_registers)
    ptx, report = compiled(kernels()[pass_], constants, *arguments, sixteens=sizes)
    per_thread = b.width * b.channels // (32 * b.num_warps)
    bytes_ = min(16, per_thread * ITEM_BYTES[dtype])
    assert_lean(ptx, report, bytes_, "ld" if pass_ == "bwd_weight" else "st")


@pytest.mark.parametrize(("channels", "dtype", "vector"), [(20, "bf16", 8), (3, "fp16", 2)])
def test_ragged_channel_counts_load_what_divides_them(channels, dtype, vector):
    b = depthwise_blocks(channels, 28, 2, True, 3, 1)
    constants = {"K": 3, "S": 1, "R": 4, "BW": b.width, "BC": b.channels, "VEC": b.vector}
    constants |= {"CHANNELS_LAST": True, "FUSED": False, "ACT": "identity"}
    assert_lean(*compiled(kernels()["fwd"], constants, dtype, 90, b.num_warps), vector)


@pytest.mark.parametrize("pass_", ["fwd", "bwd_data", "bwd_weight"])
def test_sizes_of_one_which_triton_takes_as_constants_compile(pass_):
    b = depthwise_blocks(8, 1, 2, True, 3, 2)
    constants = {"K": 3, "S": 2, "R": b.rows, "BW": b.width, "BC": b.channels, "VEC": b.vector}
    constants |= {"CHANNELS_LAST": True, "FUSED": False, "ACT": "identity"}
    kernel = kernels()[pass_]
    sizes = ("H", "W", "OH", "OW", "chan_units", "row_blocks", "blocks_per_split")
    ones = [size for size in sizes if size in kernel.arg_names]
    assert_lean(*compiled(kernel, constants, "bf16", 90, b.num_warps, ones=ones))


# Channels or pixels that 16 bytes divide, odd ones, and a type of each width.
NORM_CASES = [
    ("norm_act_fwd", "bf16", True, 80, "relu6"),
    ("norm_act_bwd_reduce", "fp16", False, 90, "silu"),
    ("norm_act_bwd_apply", "fp32", True, 90, "relu6"),
]
NORM_SWEEP = list(
    product(
        ("norm_act_fwd", "norm_act_bwd_reduce", "norm_act_bwd_apply"),
        ITEM_BYTES,
        (True, False),
        (80, 90),
        ("identity", "relu", "relu6", "silu"),
    )
)
NORM_SLOW = NORM_SWEEP if os.environ.get("NASTK_SWEEP") else NORM_SWEEP[::5]


@pytest.mark.parametrize(
    ("name", "dtype", "last", "capability", "act"),
    NORM_CASES + [pytest.param(*case, marks=pytest.mark.slow) for case in NORM_SLOW],
)
def test_norm_kernels_spill_nothing_and_load_vectors(name, dtype, last, capability, act):
    import torch
    from nastk.ops.kernels.cuda import triton_norm

    kernel = getattr(triton_norm, f"{name}_kernel")
    b = triton_norm.flat_blocks(torch.Size((32, 144, 56, 56)), ITEM_BYTES[dtype], last)
    assert_lean(*compiled(kernel, {**b.constants, "ACT": act}, dtype, capability, 4), 16)
    # 7 x 7 pixels and 21 channels: nothing but a single element divides them.
    b = triton_norm.flat_blocks(torch.Size((32, 21, 7, 7)), ITEM_BYTES[dtype], last)
    assert_lean(*compiled(kernel, {**b.constants, "ACT": act}, dtype, capability, 4))


@pytest.mark.parametrize("capability", [80, pytest.param(90, marks=pytest.mark.slow)])
def test_split_sum_spills_nothing(capability):
    from nastk.ops.kernels.cuda.triton_tile import split_sum_fwd_kernel

    constants = {"BLOCK_S": 16, "BLOCK_N": 64}
    assert_lean(*compiled(split_sum_fwd_kernel, constants, "fp32", capability, 4))


@pytest.mark.parametrize("capability", [80, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("sizes", "per_row", "vector"),
    [((3, 5, 7), False, 4), ((1, 3, 5, 7, 9, 11), True, 4), ((3,), False, 1)],
)
def test_the_split_of_a_mixture_spills_nothing_and_loads_vectors(
    sizes, per_row, vector, capability
):
    from nastk.ops.kernels.cuda import triton_mixture

    constants = {"K": max(sizes), "SIZES": sizes, "PER_ROW": per_row, "VEC": vector}
    constants |= {"BLOCK_S": triton_mixture.BLOCK_SPLITS, "BLOCK_C": triton_mixture.BLOCK_CHANNELS}
    ones = ("splits", "chan_units") if vector == 1 else ()
    kernel = triton_mixture.mixture_bwd_kernel
    ptx, report = compiled(kernel, constants, "fp32", capability, 4, ones=ones)
    assert_lean(ptx, report, 4 * vector)
