"""What must hold for a search of every space in the dict: repeatable, resumable, within budget."""

import asking
import nastk
import pytest
from nastk import resume
from nastk.core.band import band_of
from nastk.core.budget import Budget, flops_range
from nastk.core.loop import Loop
from nastk.core.run import Run
from nastk.records.naming import spaces_of
from nastk.search_spaces import SPACES

# The cost counted is that of the whole target; only what is trained is small.
PROXY = {"proxy_resolution": 32, "proxy_scale": 0.1}


def search(name, share, folder, seed=3):
    low, high = flops_range(SPACES[name]())
    limit = int(low + share * (high - low))
    options = PROXY if "scale" in SPACES[name]().options else {}
    found = asking.search(
        name, str(limit), steps=4, seed=seed, out=folder, data="digits", **options
    )
    return limit, found


def traces(folder):
    """Everything that a search leaves behind but timings."""
    return [(folder / file).read_bytes() for file in ("arch.json", "metrics.jsonl")]


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_killed_and_resumed_equals_unbroken_and_the_seed_decides(name, tmp_path, monkeypatch):
    whole, broken, other = (tmp_path / part for part in ("whole", "broken", "other"))
    search(name, 0.5, whole)
    original = Loop.save

    def stop_in_the_middle(self, step):
        original(self, step)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setenv("NASTK_CHECKPOINT_SECONDS", "0")
        patched.setattr(Loop, "save", stop_in_the_middle)
        with pytest.raises(KeyboardInterrupt):
            search(name, 0.5, broken)
    assert not (broken / "arch.json").exists()
    resume(broken)
    assert traces(broken) == traces(whole)
    search(name, 0.5, other, seed=4)
    assert traces(other)[1] != traces(whole)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("share", [0.05, 0.9])
def test_the_found_arch_never_exceeds_its_budget(name, share, tmp_path):
    limit, found = search(name, share, tmp_path / "run")
    counted = nastk.count(tmp_path / "run/arch.json")
    assert found["budget_flops"] == limit and counted["flops"] == found["flops"] <= limit
    space = spaces_of(Run.open(tmp_path / "run"))[0]
    assert found["bands"] == band_of(space, Budget(None, limit)).bounds.to_json()
    assert found["band"][0] <= found["flops"] <= found["band"][1] == limit
