"""The table of NAS-Bench-201 on small files in its formats."""

import bz2
import itertools
import pickle
from collections import OrderedDict
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from nastk.core.budget import flops_range
from nastk.nasbench.nasbench201 import NasBench201Table, Source, open_nasbench201
from nastk.search_spaces import SandglassMicro
from nastk.search_spaces.nasbench201 import OPERATIONS, format_arch
from nastk.strategies import STRATEGIES

NUMBERS = (0, 7, 12_345)
CLASSES = {"cifar10-valid": 10, "cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
SPLITS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


def all_strings():
    for chosen in itertools.product(OPERATIONS, repeat=6):
        nodes = (chosen[:1], chosen[1:3], chosen[3:])
        parts = ("|".join(f"{name}~{i}" for i, name in enumerate(node)) for node in nodes)
        yield "+".join(f"|{part}|" for part in parts)


# The table's numbers are a shuffle of these; any order will do.
STRINGS = list(all_strings())[::-1]


def final_loss(text, dataset, split, epochs, seed):
    """Convolutions help, nothing hurts; a little noise depends on the seed."""
    gain = 0.2 * text.count("conv_3x3") + 0.1 * text.count("conv_1x1") - 0.1 * text.count("none")
    return 2 - gain - epochs / 1000 + seed / 1e5 + len(split) / 100 + len(dataset) / 1000


def trial(text, dataset, epochs, seed, kept=2):
    """A training as `ResultsCount.state_dict` has it, with its last epochs only."""
    losses, accuracies, times = OrderedDict(), OrderedDict(), OrderedDict()
    for split in SPLITS[dataset]:
        for epoch in range(epochs - kept, epochs):
            value = final_loss(text, dataset, split, epochs, seed) + (epochs - 1 - epoch)
            losses[f"{split}@{epoch}"] = value
            accuracies[f"{split}@{epoch}"] = 100 - 10 * value
            times[f"{split}@{epoch}"] = 0.5
    number = text.count("nor_conv_3x3") * 0.24304 + text.count("nor_conv_1x1") * 0.028
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": OrderedDict({epochs - 1: 50.0}),
        "train_losses": OrderedDict({epochs - 1: 1.0}),
        "train_times": OrderedDict({epoch: 1.5 + seed / 1e3 for epoch in range(epochs)}),
        "arch_config": {
            "channel": 16,
            "num_cells": 5,
            "arch_str": text,
            "class_num": CLASSES[dataset],
        },
        "params": 0.073306 + number,
        "flop": 7.78305 + 146 * number,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01],
        "eval_names": list(SPLITS[dataset]),
        "eval_acc1es": accuracies,
        "eval_losses": losses,
        "eval_times": times,
    }


def records(text, number, epochs, datasets=tuple(CLASSES), seeds=(777, 888)):
    """All trainings of one length, as `ArchResults.state_dict` has them."""
    return {
        "arch_index": number,
        "arch_str": text,
        "all_results": {
            (name, seed): trial(text, name, epochs, seed) for name in datasets for seed in seeds
        },
        "dataset_seed": {name: list(seeds) for name in datasets},
        "clear_net_done": True,
    }


def write_folder(folder, numbers):
    """NATS-Bench's folder of compressed pickles, with these archs."""
    folder.mkdir()
    contents = {"meta": {"meta_archs": STRINGS, "evaluated_indexes": set(numbers)}}
    for number in numbers:
        text = STRINGS[number]
        found = {str(epochs): records(text, number, epochs) for epochs in (12, 200)}
        found["200"]["all_results"]["cifar10", 777]["latency"] = [np.float64(0.25)]
        found["12"]["all_results"]["cifar10", 777]["flop"] = np.float32(2.5)
        contents[f"{number:06d}"] = found
    for name, content in contents.items():
        with bz2.open(folder / f"{name}.pickle.pbz2", "wb", compresslevel=1) as file:
            pickle.dump(content, file, protocol=4)


def write_file(path, only=None):
    """NAS-Bench-201's file, 12 epochs on `cifar10-valid` only, with one figure a split."""
    infos = {}
    for number, text in enumerate(STRINGS[:only]):
        short = records(text, number, 12, ("cifar10-valid",), (777,))
        infos[number] = {"less": short, "full": dict(short)}
    content = {
        "meta_archs": STRINGS,
        "arch2infos": infos,
        "evaluated_indexes": list(infos),
    }
    torch.save(content, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("nats") / "NATS-tss-v1_0-3ffb9-simple"
    write_folder(path, NUMBERS)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("nasbench201") / "NAS-Bench-201-v1_1-096897.pth"
    write_file(path, only=10)
    return path


class Made(Source):
    """All archs, made up when they are asked for."""

    def _names(self):
        return STRINGS

    def _recorded(self, number):
        return {"12": records(STRINGS[number], number, 12, ("cifar10-valid",), (777,))}


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
@pytest.mark.parametrize("epochs", [12, 200])
@pytest.mark.parametrize("number", NUMBERS)
def test_figures_are_means_of_the_last_epoch(folder, dataset, epochs, number):
    table = open_nasbench201(folder, dataset=dataset, epochs=epochs)
    text = STRINGS[number]
    arch = table.space.parse(text)
    is_cifar10 = dataset == "cifar10"
    trained = "cifar10-valid" if is_cifar10 else dataset
    split = "ori-test" if is_cifar10 else "x-test"
    validation = fmean(final_loss(text, trained, "x-valid", epochs, s) for s in (777, 888))
    test = fmean(final_loss(text, dataset, split, epochs, s) for s in (777, 888))
    assert table.loss(arch) == pytest.approx(validation, rel=1e-12)
    assert table.top1_percent(arch) == pytest.approx(100 - 10 * validation, rel=1e-12)
    assert table.test_loss(arch) == pytest.approx(test, rel=1e-12)
    assert table.test_top1_percent(arch) == pytest.approx(100 - 10 * test, rel=1e-12)
    assert table.seconds(arch) == pytest.approx(epochs * (1.5 + 0.8325), rel=1e-12)


def test_counts_are_those_of_a_trial(folder):
    table = open_nasbench201(folder)
    arch = table.space.parse(STRINGS[7])
    kept = trial(STRINGS[7], "cifar10-valid", 12, 777)
    assert table.counts(arch) == {
        "flops": round(1e6 * kept["flop"]),
        "params": round(1e6 * kept["params"]),
    }


def test_the_space_and_its_budget_are_those_of_the_data(folder):
    table = open_nasbench201(folder, dataset="ImageNet16-120")
    assert (table.space.resolution, table.space.num_classes) == (16, 120)
    assert (table.budget.low, table.budget.high) == flops_range(table.space)


def test_the_file_of_nas_bench_201_gives_the_same_figures(file):
    table = open_nasbench201(file, epochs=12)
    for number in NUMBERS[:2]:
        arch = table.space.parse(STRINGS[number])
        expected = final_loss(STRINGS[number], "cifar10-valid", "x-valid", 12, 777)
        assert table.loss(arch) == pytest.approx(expected, rel=1e-12)


def test_strategies_search_on_the_table():
    """Local search is near the best of all 15,625 after 60 evaluations, random search is not."""
    table = NasBench201Table(source=Made(Path()), epochs=12)
    best = min(final_loss(text, "cifar10-valid", "x-valid", 12, 777) for text in STRINGS)
    regrets = {}
    for name in ("random", "local"):
        found = []
        for seed in range(3):
            sampler = STRATEGIES[name]().sampler(table.space, table.budget, seed)
            losses = []
            for _ in range(60):
                arch = sampler.ask()
                losses.append(table.loss(arch))
                sampler.tell(arch, losses[-1])
            found.append(min(losses) - best)
        regrets[name] = fmean(found)
    assert regrets["local"] < 0.15 < regrets["random"]


def refused(path, words, **options):
    with pytest.raises(ValueError, match=words) as caught:
        table = open_nasbench201(path, **options)
        table.loss(table.space.parse(STRINGS[0]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_files_are_named(folder, tmp_path):
    said = refused(tmp_path / "none.pth", "no file or folder")
    assert "none.pth" in said and "NATS-tss-v1_0-3ffb9-simple" in said
    assert "meta.pickle.pbz2" in refused(tmp_path, "no file")
    with pytest.raises(ValueError, match=r"000001\.pickle\.pbz2"):
        table = open_nasbench201(folder)
        table.loss(table.space.parse(STRINGS[1]))


def test_what_cannot_be_read_without_running_it_says_the_way_out(tmp_path):
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save({"meta_archs": STRINGS[:1], "arch2infos": {0: Path("/")}}, path)
    assert "NATS-tss-v1_0-3ffb9-simple instead" in refused(path, "without running")
    path.write_bytes(b"no archive")
    assert str(path) in refused(path, "cannot be read")
    torch.save([1, 2], path)
    assert str(path) in refused(path, "no arch2infos")
    whole = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    whole.write_bytes(b"BZh9")
    assert "one by one" in refused(whole, "neither")


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "folder"
    write_folder(path, NUMBERS[:1])
    file = path / "000000.pickle.pbz2"
    for content in (b"", b"BZh9 no", file.read_bytes()[:200]):
        file.write_bytes(content)
        assert str(file) in refused(path, "no readable pickle")


def test_what_the_table_lacks_is_said(file, folder):
    refused(folder, "did you mean 'cifar10'", dataset="cifar")
    refused(folder, "12 or 200", epochs=100)
    assert "cifar100" in refused(file, "no trainings on", dataset="cifar100", epochs=12)
    table = open_nasbench201(folder)
    foreign = SandglassMicro().arch_at(dict.fromkeys(SandglassMicro().choices(), 0))
    with pytest.raises(ValueError, match="sandglass-micro"):
        table.loss(foreign)


def test_figures_that_were_not_kept_are_named(tmp_path):
    path = tmp_path / "table.pth"
    write_file(path, only=3)
    content = torch.load(path, weights_only=True)
    for kept in content["arch2infos"].values():
        for found in kept["less"]["all_results"].values():
            found["train_times"], found["eval_losses"] = None, {}
    torch.save(content, path)
    table = open_nasbench201(path, epochs=12)
    arch = table.space.parse(STRINGS[2])
    for method in (table.loss, table.seconds):
        with pytest.raises(ValueError, match=r"table\.pth") as caught:
            method(arch)
        assert format_arch(arch) in str(caught.value)
    with pytest.raises(ValueError, match="no 12-epoch trainings"):
        table.loss(table.space.parse(STRINGS[5]))
