"""Compares torch with the compiled depthwise kernels, pass by pass, on one core.

Start it with MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967295 MALLOC_TOP_PAD_=67108864, so that
neither side pays for page faults on memory that glibc would hand back after every call.
"""

import argparse
import os
import platform
import statistics
import time

import torch
from nastk.ops.kernels import definition, native

# C channels, H height and width, B batch, S stride, K kernel size

SHAPES = [(96, 56, 16), (192, 28, 32), (384, 14, 64), (960, 7, 32), (144, 16, 32), (240, 8, 32)]
SHAPES += [(48, 4, 32), (640, 2, 32)]
PASSES = ("forward", "data", "weight")


def cpu_name() -> str:
    """Return what the processor calls itself."""
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def seconds(function, least: float = 0.01) -> float:
    """Return the processor time of one call."""
    start, calls = time.process_time(), 0
    while time.process_time() - start < least:
        function()
        calls += 1
    return (time.process_time() - start) / calls


def interleaved(functions: dict, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every function, of rounds that run each once."""
    for function in functions.values():
        function()
    found = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            found[name].append(seconds(function))
    return found


def torch_pass(name: str, x, g, w, stride: int):
    """Return a call of torch's pass."""
    C, K = w.shape[0], w.shape[-1]
    mask = [name == "data", name == "weight", False]
    if name == "forward":
        return lambda: definition.depthwise_forward(x, w, stride)
    return lambda: torch.ops.aten.convolution_backward(
        g, x, w, None, [stride] * 2, [K // 2] * 2, [1, 1], False, [0, 0], C, mask
    )


def our_pass(name: str, x, g, w, stride: int):
    """Return a call of the compiled pass."""
    if name == "forward":
        return lambda: native.depthwise_forward(x, w, stride)
    if name == "data":
        return lambda: native.depthwise_backward_data(g, w, *x.shape[2:], stride)
    return lambda: native.depthwise_backward_weight(x, g, w.shape[-1], stride)


def machine(rounds: int) -> tuple[float, float]:
    """Return matmul GFLOP/s and copy GB/s of one core."""
    a, b = torch.randn(1024, 1024), torch.randn(16 << 20)
    c = torch.empty_like(b)
    matmul = statistics.median(seconds(lambda: a @ a, 0.1) for _ in range(rounds))
    copy = statistics.median(seconds(lambda: c.copy_(b), 0.1) for _ in range(rounds))
    return 2 * 1024**3 / matmul / 1e9, 8 * b.numel() / copy / 1e9


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 5, 7])
    parser.add_argument("--strides", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nchw", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layout = torch.contiguous_format if options.nchw else torch.channels_last
    peak, bandwidth = machine(options.rounds)
    print(f"{cpu_name()}, {native.isa()}, torch {torch.__version__}, 1 thread, float32,")
    print(f"{'NCHW' if options.nchw else 'NHWC'}, seed 0, load {os.getloadavg()[0]:.1f}; ", end="")
    print(f"matmul {peak:.0f} GFLOP/s, copy {bandwidth:.0f} GB/s\n")
    print(
        "| C x H x B | K | S | pass | torch GFLOP/s | ours | of matmul | of copy | torch / ours |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for C, H, B in SHAPES:
        for K in options.sizes:
            for stride in options.strides:
                x = torch.randn(B, C, H, H).contiguous(memory_format=layout)
                out = -(-H // stride)
                g = torch.randn(B, C, out, out).contiguous(memory_format=layout)
                w = torch.randn(C, 1, K, K)
                for name in PASSES:
                    sides = {"torch": torch_pass, "ours": our_pass}
                    calls = {side: make(name, x, g, w, stride) for side, make in sides.items()}
                    found = interleaved(calls, options.rounds)
                    pairs = zip(found["torch"], found["ours"], strict=True)
                    ratio = statistics.median(a / b for a, b in pairs)
                    theirs, ours = (statistics.median(found[side]) for side in sides)
                    flops, size = 2 * K * K * g.numel(), 4 * (x.numel() + g.numel())
                    print(
                        f"| {C} x {H} x {B} | {K} | {stride} | {name} | {flops / theirs / 1e9:.1f} "
                        f"| {flops / ours / 1e9:.1f} | {flops / ours / 1e9 / peak:.0%} "
                        f"| {size / ours / 1e9 / bandwidth:.0%} | {ratio:.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
