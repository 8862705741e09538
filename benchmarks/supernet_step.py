"""Time a step of the sandglass supernet against plain PyTorch's step of the largest network.

python benchmarks/supernet_step.py
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from nastk.search_spaces import Sandglass


def saved_bytes(network, x):
    """Bytes saved for backward, each storage once, without parameters."""
    own = {t.untyped_storage().data_ptr() for t in [*network.parameters(), *network.buffers()]}
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = network(x)
    assert y.requires_grad
    return sum(s.nbytes() for key, s in storages.items() if key not in own)


def main():
    """Interleave both networks and print the medians of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space = Sandglass(resolution=options.resolution, num_classes=10)
    plain = space.build(space.uniform(kernel=7, reduction=4))
    supernet = space.supernet()
    logits = torch.zeros(supernet.uniform_probs().shape, requires_grad=True)
    valid = supernet.uniform_probs() > 0
    expected = space.cost.flops.expectation(list(space.choices()))
    x = torch.randn(options.batch, *space.input_shape)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,))
    networks = {"plain": plain, "supernet": supernet}
    optimizers = {}
    for name, network in networks.items():
        network.to(memory_format=torch.channels_last).train()
        optimizers[name] = torch.optim.AdamW(network.parameters(), fused=False)

    def step(name):
        start = time.process_time()
        loss = 0
        if name == "supernet":
            probs = torch.softmax(logits.masked_fill(~valid, -torch.inf), 1)
            supernet.mix(probs)
            loss = torch.log(expected(probs) / 357e6).abs().float()
        loss = loss + F.cross_entropy(networks[name](x), labels)
        networks[name].zero_grad()
        loss.backward()
        optimizers[name].step()
        return time.process_time() - start

    times = {name: [] for name in networks}
    for round_number in range(options.rounds + 2):
        for name in networks:
            seconds = step(name)
            if round_number >= 2:
                times[name].append(seconds)
    ratios = [s / p for s, p in zip(times["supernet"], times["plain"], strict=True)]
    probs = torch.softmax(logits.masked_fill(~valid, -torch.inf), 1)
    supernet.mix(probs)
    memory = {name: saved_bytes(network, x) for name, network in networks.items()}
    cpu = (
        next(
            (
                line.split(":")[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            platform.processor(),
        )
        if Path("/proc/cpuinfo").exists()
        else platform.processor()
    )
    print(
        f"{cpu}, torch {torch.__version__}, 1 thread, NHWC fp32, batch {options.batch}, "
        f"{options.resolution} px, load {os.getloadavg()[0]:.1f}"
    )
    for name in networks:
        print(
            f"{name:9} {min(times[name]):.3f} s minimum, {statistics.median(times[name]):.3f} s "
            f"median, {memory[name] / 2**20:.1f} MiB saved"
        )
    print(
        f"step ratio {statistics.median(ratios):.3f} (median of {len(ratios)} rounds), "
        f"saved ratio {memory['supernet'] / memory['plain']:.3f}"
    )


if __name__ == "__main__":
    main()
