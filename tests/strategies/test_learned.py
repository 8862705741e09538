"""What a search by mixtures says at its end: how many archs are tied, and what to doubt."""

import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from nastk.core.budget import parse_budget
from nastk.core.run import Run
from nastk.records.results import read_learned
from nastk.search_spaces import SandglassMicro, Toy
from nastk.strategies.effects import Features
from nastk.strategies.learned import in_words, tell_learned, tied_archs
from nastk.strategies.ranking import Figures, Ranking

TOY = Toy()  # width 8 or 16, kernel 3 or 5


def planted(space, effects, error=0.0):
    """A ranking of given effects, whose resamples spread by `error` in every effect."""
    ranking = Ranking(space, [], seed=0)
    ranking.effects_F = np.zeros(len(Features(space).names) + len(Features(space).pairs))
    ranking.effects_F[: len(effects)] = effects
    noise = np.random.default_rng(0).normal(size=(400, len(ranking.effects_F)))
    noise[:, len(effects) :] = 0  # pairs have none
    ranking.resampled_RF = ranking.effects_F + error * noise
    return ranking


def problem(space, text="0:100%"):
    task = SimpleNamespace(sizes={}, loss_of_guessing=lambda sizes: math.log(10))
    return SimpleNamespace(space=space, task=task, budget=parse_budget(text, space))


def arch(space, **choices):
    return space.arch(choices)


def test_archs_are_tied_as_far_as_the_error_between_them_reaches():
    best = arch(TOY, width=16, kernel=5)
    effects = [0, 1.0, 0, 0.1]  # a difference of two effects has 1.41 times their error
    tied = {
        error: tied_archs(planted(TOY, effects, error), problem(TOY), best) for error in (0, 0.2, 3)
    }
    assert tied[0] == ([best], False)
    assert tied[0.2] == ([best, arch(TOY, width=16, kernel=3)], False)
    assert len(tied[3][0]) == 4 and tied[3][1] is False  # all that there are


def test_five_archs_are_enough_to_know_that_there_may_be_more():
    space = SandglassMicro()
    ranking = planted(space, np.zeros(len(Features(space).names)), error=1.0)
    found = space.arch_at({name: 0 for name in space.choices()})
    archs, is_more = tied_archs(ranking, problem(space), found)
    assert len(set(archs)) == 5 and is_more


def said(folder, losses, space=TOY, **options):
    """What is told after a search whose updates had these losses; the file holds the same."""
    run, lines = Run.create(folder, {}), []
    for step, loss in enumerate(losses):
        run.log(step=step, loss=loss, supernet=0, mixture=[[0.5, 0.5], [0.5, 0.5]])
    rows = Features(space).of_archs({n: np.arange(40) % 2 for n in space.choices()})
    rows += 0.1 * np.random.default_rng(0).normal(size=rows.shape)
    values = rows[:, :4] @ np.array([0, 1.0, 0, 0.5])
    if options.get("order") == "none":
        values = np.random.default_rng(1).normal(size=40)
    figures = Figures(name="inherited 0", rows=rows, values=values, single=4, is_measure=True)
    ranking = Ranking(space, [figures], seed=0)
    best = arch(space, width=8, kernel=3)
    content = tell_learned(run, problem(space), ranking, best, lambda e: lines.append(e["say"]))
    assert json.loads((run.path / "ranking.json").read_text()) == content
    assert read_learned(run.path / "ranking.json", space.num_candidates) == content
    run.release()
    assert lines == [content["sentence"], *(f"warning: {text}" for text in content["warnings"])]
    return content


def test_a_supernet_no_better_than_guessing_is_warned_of(tmp_path):
    (warning,) = said(tmp_path / "a", [2.3] * 30)["warnings"]
    assert warning.startswith("the supernet's loss ends at 2.30, where guessing has 2.30")
    # What counts is the last tenth.
    assert said(tmp_path / "b", [2.3] * 27 + [1.0] * 3)["warnings"] == []
    assert said(tmp_path / "c", [1.0] * 27 + [2.3] * 3)["warnings"] == [warning]


def test_losses_without_an_order_are_warned_of(tmp_path):
    content = said(tmp_path / "run", [0.5] * 30, order="none")
    assert content["explained"] < 0.05
    *_, warning = content["warnings"]
    assert "follow no order that could be learned" in warning


def test_the_file_holds_effects_and_errors_of_every_candidate(tmp_path):
    content = said(tmp_path / "run", [0.5] * 30)
    assert list(content["choices"]) == ["width", "kernel"]
    low, high = content["choices"]["width"]["effects"]
    assert low > 0 > high  # a low loss is a high score
    assert all(0 <= e < 0.5 for row in content["choices"].values() for e in row["errors"])
    (figures,) = content["figures"]
    assert figures["number"] == 40 and figures["weight"] > 0.9
    assert content["explained"] == figures["explained"] > 0.9


@pytest.mark.parametrize(
    "known, words",
    [
        ((0.712, 1, False), "71 % of what .*; the best arch of this budget leads by more than its"),
        ((None, 1, False), "^the ranking comes from training losses alone; the best"),
        ((0.5, 3, False), "the 3 best of this budget differ .*: --finalists 3 decides$"),
        ((0.5, 10, True), "the 10 best and more of this budget differ"),
    ],
)
def test_what_was_learned_is_one_line(known, words):
    assert re.search(words, in_words(*known)) and "\n" not in in_words(*known)
