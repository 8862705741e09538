"""What must hold for every strategy in the dict, new ones included."""

import math

import asking
import pytest
from nastk.core.budget import Budget
from nastk.core.run import Run
from nastk.evaluators import Train
from nastk.search_spaces import Toy
from nastk.strategies import STRATEGIES, BlackBox, LogitsSearch

BLACK_BOX = [name for name, strategy in STRATEGIES.items() if issubclass(strategy, BlackBox)]


def options_of(name):
    """Options with which a strategy is done in seconds."""
    options = {"processes": 1} if name in BLACK_BOX else {}
    if name != "random":
        options |= {"steps": 3}
        options |= {"evaluations": 3} if name in BLACK_BOX else {}
    if name == "single_path":
        options |= {"evaluations": 8}
    return options


def run(strategy, folder, seed=0, flops="0.8M", **options):
    options = {"data": "digits"} | options_of(strategy) | options
    return asking.search(
        "sandglass-micro", flops, strategy=strategy, seed=seed, out=folder, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(
    "flops, limit", [("0.4M", 400_000), ("0.8M", 800_000), ("1.9M", 1_900_000)]
)
def test_the_budget_is_never_exceeded_and_mostly_spent(name, flops, limit, tmp_path):
    few = {"evaluations": 2} if options_of(name).get("evaluations") == 3 else {}
    found = run(name, tmp_path / "run", flops=flops, **few)
    assert 0.9 * limit <= found["flops"] <= limit


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_gives_the_same_search_and_another_one_another(name, tmp_path):
    found = []
    for number, seed in enumerate((5, 5, 6)):
        arch = run(name, tmp_path / str(number), seed)["arch_id"]
        events = [(e.get("arch"), e.get("loss")) for e in Run.open(tmp_path / str(number)).events()]
        found.append((arch, events))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_unknown_option_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(ValueError, match="unknown option"):
        asking.search(
            "toy", "55K", strategy=name, out=tmp_path / "run", strategy_options={"stepz": 1}
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("term", ["smooth", "three_case", "fbnet"])
@pytest.mark.parametrize("level", ["single", "bilevel"])
def test_every_budget_term_lowers_expected_flops_when_above(term, level, tmp_path):
    options = {"budget_term": term, "level": level, "logits_lr": 0.2, "warmup": 0.0}
    run = tmp_path / "run"
    given = {"strategy": "logits", "strategy_options": options, "data": "digits"}
    asking.search("sandglass-micro", "0.4M", steps=12, out=run, **given)
    events = Run.open(run).events()
    assert events[-1]["expected_flops"] < 0.9 * events[0]["expected_flops"]


def test_long_searches_have_settings_of_their_own():
    short, long = LogitsSearch().resolved(300), LogitsSearch().resolved(5000)
    assert (short.level, short.optimizer, short.temperature_end) == ("single", "adamw", 0.2)
    assert (long.level, long.optimizer, long.temperature_end) == ("bilevel", "sgd", 0.1)
    assert (short.logits_lr, long.logits_lr) == (0.05, 0.015)
    assert LogitsSearch(budget_term="smooth").resolved(5000).logits_lr == 3e-3
    assert LogitsSearch(weights_lr=0.3).resolved(5000).weights_lr == 0.3


@pytest.mark.parametrize("option", ["level=fast", "budget_term=log", "optimizer=adam", "steps=x"])
def test_a_wrong_setting_is_refused(option, tmp_path):
    name, value = option.split("=")
    with pytest.raises(ValueError, match=name if name != "steps" else "--steps takes"):
        given = {"strategy": "logits", "strategy_options": {name: value}}
        asking.search("toy", "55K", out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", BLACK_BOX)
def test_the_best_of_the_fully_evaluated_archs_is_found_and_trials_are_recorded(name, tmp_path):
    found = run(name, tmp_path / "run", evaluations=4, steps=4, processes=1)
    trials = Run.open(tmp_path / "run").events()
    assert [trial["trial"] for trial in trials] == list(range(found["evaluations"]))
    full = [trial for trial in trials if trial["share"] == 1]
    assert sum(trial["share"] for trial in trials) <= 4
    lowest = min(full, key=lambda trial: trial["loss"])["arch"]
    chooses = STRATEGIES[name]().sampler(Toy(), Budget.parse("55K"), 0).choose() is not None
    assert found["arch_id"] in {trial["arch"] for trial in full} if chooses else [lowest]
    assert all(trial["loss"] == trial["architecture_loss_nats"] for trial in trials)
    assert not (tmp_path / "run/evaluations").exists()


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path):
    for processes in (1, 2):
        options = {"evaluations": 4, "strategy_options": {"population": 2}}
        run("evolution", tmp_path / str(processes), processes=processes, **options)
    lines = [(tmp_path / n / "metrics.jsonl").read_text() for n in "12"]
    assert lines[0] == lines[1] and len(lines[0].splitlines()) == 4


def test_trainings_that_diverge_are_passed_over(tmp_path, monkeypatch):
    original, count = Train.evaluate, iter(range(100))

    def diverging(self, arch):
        metrics = original(self, arch)
        return metrics if next(count) % 2 else dict.fromkeys(metrics, math.nan)

    monkeypatch.setattr(Train, "evaluate", diverging)
    found = run("local", tmp_path / "run", evaluations=4)
    trials = Run.open(tmp_path / "run").events()
    losses = {t["loss"]: t["arch"] for t in trials if math.isfinite(t["loss"])}
    assert len(losses) == 2 and losses[min(losses)] == found["arch_id"]
    monkeypatch.setattr(Train, "evaluate", lambda self, arch: {"architecture_loss_nats": math.inf})
    with pytest.raises(RuntimeError, match="finite loss"):
        run("local", tmp_path / "lost", evaluations=2)


def test_params_are_maximised_without_training(tmp_path):
    options = {"evaluator": "efficiency", "evaluations": 30, "steps": None}
    found = run("local", tmp_path / "local", **options)
    trials = Run.open(tmp_path / "local").events()
    assert found["params"] == max(trial["params"] for trial in trials)
    assert found["params"] > trials[0]["params"]


def test_options_of_the_evaluator_are_used_and_recorded(tmp_path):
    scores = []
    for count in (1, 2):
        options = {"evaluator": "snip", "steps": None, "evaluations": 2}
        folder = tmp_path / str(count)
        run("local", folder, **options, evaluator_options={"num_batches": count})
        assert Run.open(folder).manifest["evaluator_options"] == {"num_batches": count}
        scores.append([trial["snip_score"] for trial in Run.open(folder).events()])
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_inherited_weights_rank_archs(tmp_path):
    run("meta_kernel", tmp_path / "net")
    options = {"evaluator": "inherit", "supernet": tmp_path / "net", "steps": None}
    run("random", tmp_path / "run", evaluations=2, processes=1, **options)
    trials = Run.open(tmp_path / "run").events()
    assert len({trial["loss"] for trial in trials}) == 2


WRONG = {
    "unknown evaluator": ("evolution", {"evaluator": "trian"}, "did you mean 'train'"),
    "no evaluations": ("evolution", {"evaluations": 0}, "evaluations at least 1"),
    "evaluations of a supernet": ("meta_kernel", {"evaluations": 4}, "unknown option"),
    "evaluator of a supernet": ("meta_kernel", {"evaluator": "train"}, "leave out --evaluator"),
    "one arch": ("random", {"evaluator": "train"}, "--evaluations 16"),
    "no supernet": ("local", {"evaluator": "inherit"}, "--supernet RUN"),
    "a supernet for nobody": ("local", {"supernet": "net"}, "--evaluator inherit"),
    "no such run": ("local", {"evaluator": "inherit", "supernet": "net"}, "no run folder"),
    "steps without training": ("local", {"evaluator": "efficiency", "steps": 3}, "--steps"),
    "lengths": ("halving", {"evaluator": "efficiency", "steps": None}, "--evaluator train"),
    "processes": ("local", {"processes": 0}, "--processes"),
    "population": ("evolution", {"strategy_options": {"population": 0}}, "population at least 1"),
    "driver": ("on_optuna", {"strategy_options": {"driver": "tpa"}}, "did you mean 'tpe'"),
    "no class": ("on_optuna", {"strategy_options": {"driver": "math:pi"}}, "a subclass of Base"),
    "enumeration": (
        "on_optuna",
        {"strategy_options": {"driver": "optuna.samplers:BruteForceSampler"}},
        "ends a study",
    ),
    "no module": ("on_optuna", {"strategy_options": {"driver": "nowhere:X"}}, "MODULE:CLASS"),
    "driver of NNI": ("on_nni", {"strategy_options": {"driver": "enas"}}, "known: evolution"),
    "crowd": ("on_nni", {"strategy_options": {"population": 0}}, "population at least 1"),
    "option of nobody": ("meta_kernel", {"evaluator_options": {"x": 1}}, "leave out --evaluator-s"),
    "option of trainings": ("local", {"evaluator_options": {"share": 0.5}}, "has no options"),
    "option of proxies": (
        "local",
        {"evaluator": "snip", "steps": None, "evaluator_options": {"num_batchs": 1}},
        "did you mean 'num_batches'",
    ),
    "no batches": (
        "local",
        {"evaluator": "snip", "steps": None, "evaluator_options": {"num_batches": 0}},
        "num_batches a whole number above 0; got 0",
    ),
    "eta": ("halving", {"strategy_options": {"eta": 1}}, "eta at least 2"),
    "starts": ("local", {"strategy_options": {"starts": 0}}, "starts at least 1"),
    "mixture": ("gumbel", {"strategy_options": {"mixture": "softmax"}}, "mixture one of two_path"),
    "term": ("gumbel", {"strategy_options": {"budget_term": "exact"}}, "budget_term one of smooth"),
    "level": ("multi_feature", {"strategy_options": {"level": "fast"}}, "level one of single"),
    "sampling": ("single_path", {"strategy_options": {"sampling": "fair"}}, "sampling one of band"),
    "tested": ("single_path", {"evaluations": 7}, "evaluations at least 8"),
    "mixed": (
        "meta_kernel",
        {"strategy_options": {"concentration_end": 0.0}},
        "concentration_end a number above 0",
    ),
}


@pytest.mark.parametrize("name, options, words", WRONG.values(), ids=WRONG)
def test_what_does_not_go_together_is_refused(name, options, words, tmp_path):
    options = ({"steps": None} if options.get("evaluator") == "inherit" else {}) | options
    with pytest.raises(ValueError, match=words):
        run(name, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_supernet_of_other_options_is_refused(tmp_path):
    asking.search("toy", "55K", steps=2, out=tmp_path / "net")
    options = {"evaluator": "inherit", "supernet": tmp_path / "net", "steps": None}
    with pytest.raises(ValueError, match="same options"):
        run("local", tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
