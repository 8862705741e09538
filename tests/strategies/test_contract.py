"""What must hold for every strategy in the dict, new ones included."""

import nastk
import pytest
from nastk.core.run import Run
from nastk.strategies import STRATEGIES, MetaKernel


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


@pytest.mark.parametrize("term", ["smooth", "three_case", "fbnet"])
@pytest.mark.parametrize("level", ["single", "bilevel"])
def test_every_budget_term_lowers_expected_flops_when_above(term, level, tmp_path):
    options = {"budget_term": term, "level": level, "logits_lr": 0.2, "warmup": 0.0}
    run = tmp_path / "run"
    nastk.search(
        "sandglass-micro", "0.4M", steps=12, out=run, data="digits", strategy_options=options
    )
    events = Run.open(run).events()
    assert events[-1]["expected_flops"] < 0.9 * events[0]["expected_flops"]


def test_long_searches_have_settings_of_their_own():
    short, long = MetaKernel().resolved(300), MetaKernel().resolved(5000)
    assert (short.level, short.optimizer, short.temperature_end) == ("single", "adamw", 0.2)
    assert (long.level, long.optimizer, long.temperature_end) == ("bilevel", "sgd", 0.1)
    assert MetaKernel(weights_lr=0.3).resolved(5000).weights_lr == 0.3


@pytest.mark.parametrize("option", ["level=fast", "budget_term=log", "optimizer=adam", "steps=x"])
def test_a_wrong_setting_is_refused(option, tmp_path):
    name, value = option.split("=")
    with pytest.raises(ValueError, match=name if name != "steps" else "wrong type"):
        nastk.search("toy", "55K", out=tmp_path / "run", strategy_options={name: value})
    assert not (tmp_path / "run").exists()
