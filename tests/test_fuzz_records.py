"""The short form of `fuzz_records.py`: a few mutations of each kind of file, always the same."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from nastk.records import trust


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_beside("mutations")
run_folders = _beside("run_folders")
fuzz_records = _beside("fuzz_records")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The runs to mutate; what the fuzz replaces for speed stands again afterwards."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NASTK_CHECKPOINT_SECONDS", "0")
        yield run_folders.make_runs(tmp_path_factory.mktemp("fuzz"), patched.setattr)


@pytest.mark.slow
def test_every_command_works_on_whole_runs(runs, tmp_path):
    shutil.copytree(runs["super"], tmp_path / "run")
    trust.trust(tmp_path / "run")
    for command in run_folders.commands(tmp_path / "run").values():
        command()
    for made in ("report.html", "result.json", "compare.json", "evidence.json"):
        assert (tmp_path / "run" / made).stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", fuzz_records.KINDS)
def test_damaged_records_are_one_line(runs, tmp_path, kind):
    place = fuzz_records.Place(kind, runs, tmp_path / "place")
    assert [text for seed in range(40) for text in place.once(seed, 1)] == []
