"""The table of NAS-Bench-201 and NATS-Bench, read from files that the user has."""

from __future__ import annotations

import bz2
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from statistics import fmean
from typing import Any

import torch

from ..core.arch import Arch
from ..core.budget import Budget, flops_range
from ..core.lookup import lookup
from ..search_spaces.nasbench201 import NasBench201, format_arch
from .pickled import read_pickle

FOLDER = "NATS-tss-v1_0-3ffb9-simple"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set of the table, and under which names it keeps what (arXiv:2001.00326, sec. 2.2).

    Attributes:
        resolution: of its images.
        num_classes: of them.
        validation: training set and split of the validation figures.
        test: training set and split of the test figures; on CIFAR-10 they are of trainings on
            training and validation part together.
    """

    resolution: int
    num_classes: int
    validation: tuple[str, str]
    test: tuple[str, str]


DATASETS = {
    "cifar10": Dataset(
        resolution=32,
        num_classes=10,
        validation=("cifar10-valid", "x-valid"),
        test=("cifar10", "ori-test"),
    ),
    "cifar100": Dataset(
        resolution=32,
        num_classes=100,
        validation=("cifar100", "x-valid"),
        test=("cifar100", "x-test"),
    ),
    "ImageNet16-120": Dataset(
        resolution=16,
        num_classes=120,
        validation=("ImageNet16-120", "x-valid"),
        test=("ImageNet16-120", "x-test"),
    ),
}
# Names of the two training lengths: NATS-Bench's, and those of NAS-Bench-201's own file.
EPOCHS = {12: ("12", "less"), 200: ("200", "full")}


@dataclass(frozen=True, kw_only=True)
class NasBench201Table:
    """What trainings of the archs of NAS-Bench-201 came to, means over their seeds.

    Attributes:
        source: the files.
        dataset: key of `DATASETS`.
        epochs: length of the trainings, 12 or 200.
    """

    source: Source
    dataset: str = "cifar10"
    epochs: int = 200

    def __post_init__(self) -> None:
        lookup("data set", self.dataset, DATASETS)
        if self.epochs not in EPOCHS:
            raise ValueError(f"NAS-Bench-201 trains for 12 or 200 epochs, not for {self.epochs}")

    @cached_property
    def space(self) -> NasBench201:
        """The space of its archs."""
        data = DATASETS[self.dataset]
        return NasBench201(resolution=data.resolution, num_classes=data.num_classes)

    @cached_property
    def budget(self) -> Budget:
        """The whole space: every arch is in the table."""
        return Budget(*flops_range(self.space))

    def loss(self, arch: Arch) -> float:
        """Return the validation loss in nats after the last epoch; strategies minimise it.

        Raises:
            ValueError: if the files lack the arch, or these data; also in the methods below.
        """
        return self._mean(arch, "eval_losses", DATASETS[self.dataset].validation)

    def top1_percent(self, arch: Arch) -> float:
        """Return the validation accuracy in percent after the last epoch."""
        return self._mean(arch, "eval_acc1es", DATASETS[self.dataset].validation)

    def test_loss(self, arch: Arch) -> float:
        """Return the test loss in nats after the last epoch; never choose by it."""
        return self._mean(arch, "eval_losses", DATASETS[self.dataset].test)

    def test_top1_percent(self, arch: Arch) -> float:
        """Return the test accuracy in percent after the last epoch; never choose by it."""
        return self._mean(arch, "eval_acc1es", DATASETS[self.dataset].test)

    def seconds(self, arch: Arch) -> float:
        """Return the seconds of one training, whose validation figures `loss` returns."""
        trials = self._trials(arch, DATASETS[self.dataset].validation[0])
        times = [trial["train_times"] for trial in trials]
        if not all(times):
            raise ValueError(f"{self.source.path} keeps no times of {format_arch(arch)}")
        return fmean(sum(per_epoch.values()) for per_epoch in times)

    def counts(self, arch: Arch) -> dict[str, int]:
        """Return `flops` and `params` as the table has them.

        They are those of one trial of the shortest training: means over the trials of 200 epochs
        are wrong for some archs (NATS-Bench, issue 36). Its FLOPs count the bias of the
        classifier, one a class, besides what nastk counts.
        """
        shortest = min(self.source.results(format_arch(arch)).items(), key=lambda item: item[0])[1]
        name = DATASETS[self.dataset].validation[0]
        trial = _trials_of(shortest, name, self.source.path)[0]
        return {
            "flops": round(1e6 * float(trial["flop"])),
            "params": round(1e6 * float(trial["params"])),
        }

    def _trials(self, arch: Arch, name: str) -> list[Mapping[str, Any]]:
        self.space.indices(arch)
        text = format_arch(arch)
        results = self.source.results(text)
        if self.epochs not in results:
            raise ValueError(f"{self.source.path} has no {self.epochs}-epoch trainings of {text}")
        return _trials_of(results[self.epochs], name, self.source.path)

    def _mean(self, arch: Arch, figure: str, where: tuple[str, str]) -> float:
        name, split = where
        trials = self._trials(arch, name)
        last = f"{split}@{trials[0]['epochs'] - 1}"
        if not all(last in trial[figure] for trial in trials):
            raise ValueError(f"{self.source.path} has no {split} figures of {format_arch(arch)}")
        return fmean(float(trial[figure][last]) for trial in trials)


def _trials_of(results: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    """Return the trainings on one data set, one for each seed."""
    if not (seeds := results["dataset_seed"].get(name)):
        raise ValueError(f"{path} has no trainings on {name} of that length; take another")
    return [results["all_results"][name, seed] for seed in seeds]


class Source(ABC):
    """The files of a table."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each arch string."""
        return {text: number for number, text in enumerate(self._names())}

    def results(self, text: str) -> dict[int, Mapping[str, Any]]:
        """Return what was recorded of an arch, by the number of epochs.

        Raises:
            ValueError: if the table has no such arch.
        """
        if text not in self.index:
            raise ValueError(f"{self.path} has no arch {text}")
        found = self._recorded(self.index[text])
        names = {name: epochs for epochs, known in EPOCHS.items() for name in known}
        return {names[key]: value for key, value in found.items() if key in names}

    @abstractmethod
    def _names(self) -> list[str]:
        """Return the string of every arch in the order of their numbers."""

    @abstractmethod
    def _recorded(self, number: int) -> Mapping[str, Any]:
        """Return the records of an arch by training length, as they are named in the file."""


class FolderSource(Source):
    """A folder with one compressed pickle an arch, read when asked for and never unpickled."""

    def _names(self) -> list[str]:
        names: list[str] = self._read("meta")["meta_archs"]
        return names

    @cached_property
    def _kept(self) -> dict[int, Mapping[str, Any]]:
        return {}

    def _recorded(self, number: int) -> Mapping[str, Any]:
        if number not in self._kept:
            self._kept[number] = self._read(f"{number:06d}")
        return self._kept[number]

    def _read(self, name: str) -> Mapping[str, Any]:
        file = self.path / f"{name}.pickle.pbz2"
        if not file.is_file():
            raise ValueError(f"no file {file}; {self.path} should be NATS-Bench's folder {FOLDER}")
        try:
            with bz2.open(file) as opened:
                content: Mapping[str, Any] = read_pickle(opened)
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"{file} is no readable pickle of NATS-Bench: {error}") from None
        return content


class FileSource(Source):
    """The one file of NAS-Bench-201 (`NAS-Bench-201-v1_1-096897.pth`), read as weights are."""

    @cached_property
    def _content(self) -> Mapping[str, Any]:
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            reason = str(error).strip().splitlines()[0][:120]
            raise ValueError(
                f"{self.path} cannot be read without running what it contains ({reason}); "
                f"give NATS-Bench's folder {FOLDER} instead"
            ) from None
        if not isinstance(content, dict) or not {"meta_archs", "arch2infos"} <= set(content):
            raise ValueError(f"{self.path} is not the file of NAS-Bench-201: it has no arch2infos")
        return content

    def _names(self) -> list[str]:
        names: list[str] = self._content["meta_archs"]
        return names

    def _recorded(self, number: int) -> Mapping[str, Any]:
        records: Mapping[str, Any] = self._content["arch2infos"].get(number, {})
        return records


def open_nasbench201(
    path: Path | str, *, dataset: str = "cifar10", epochs: int = 200
) -> NasBench201Table:
    """Open the table of NAS-Bench-201 (arXiv:2001.00326) or of NATS-Bench (arXiv:2009.00437).

    Args:
        path: NATS-Bench's folder `NATS-tss-v1_0-3ffb9-simple`, of which an arch is read when it is
            asked for; or NAS-Bench-201's file `NAS-Bench-201-v1_1-096897.pth`, which is read whole
            and, without running what is in it, slowly.
        dataset: `cifar10`, `cifar100` or `ImageNet16-120`.
        epochs: of the trainings, 12 or 200; NAS-Bench-201 has 12 on cifar10 only.

    Raises:
        ValueError: if there is no such file, or it is of another kind.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        source: Source = FolderSource(path)
        assert source.index is not None  # a folder of something else is refused here
    elif not path.exists():
        raise ValueError(f"no file or folder {path}; expected NATS-Bench's folder {FOLDER}")
    elif path.suffix == ".pth":
        source = FileSource(path)
    else:
        raise ValueError(
            f"{path} is neither a .pth file nor a folder; of NATS-Bench give the folder {FOLDER}, "
            "whose archs can be read one by one"
        )
    return NasBench201Table(source=source, dataset=dataset, epochs=epochs)
