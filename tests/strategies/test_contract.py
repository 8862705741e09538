"""What must hold for every strategy in the dict, new ones included."""

import nastk
import pytest
from nastk.strategies import STRATEGIES


def run(strategy, folder, seed=0, flops="0.8M"):
    steps = 3 if strategy == "meta_kernel" else None
    return nastk.search(
        "sandglass-micro", flops, strategy=strategy, seed=seed, steps=steps, out=folder
    )


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(
    "flops, limit", [("0.4M", 400_000), ("0.8M", 800_000), ("1.9M", 1_900_000)]
)
def test_the_budget_is_never_exceeded_and_mostly_spent(name, flops, limit, tmp_path):
    found = run(name, tmp_path / "run", flops=flops)
    assert 0.97 * limit <= found["flops"] <= limit


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_gives_the_same_arch_and_another_one_another(name, tmp_path):
    ids = [run(name, tmp_path / str(i), seed)["arch_id"] for i, seed in enumerate((5, 5, 6))]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_unknown_option_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(ValueError, match="unknown option"):
        nastk.search(
            "toy", "55K", strategy=name, out=tmp_path / "run", strategy_options={"stepz": 1}
        )
    assert not (tmp_path / "run").exists()
