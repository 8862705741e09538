"""Strategies that train the weights of a supernet, whatever they then choose by."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

from ..core.arch import Arch
from ..core.loop import Report
from ..core.run import Run
from ..core.space import Space
from ..training.changes import asked_changes, check_for_supernet
from ..training.recipe import ANY, MOST, Recipe, of_supernet
from ..training.recipes import asked_recipe, supernet_recipe
from ..training.setting import setting
from ..training.strategy import Problem, Strategy
from .black_box import Trials
from .length import LONG_STEPS, supernet_flops
from .thompson import Learned, Thompson

OF_RECIPE = {
    "batch_size": "batch_size",
    "lr": "weights_lr",
    "optimizer": "optimizer",
    "weight_decay": "weight_decay",
}
"""Settings of a recipe that are settings of these strategies too, by what they are called here."""


@dataclass(frozen=True, kw_only=True)
class SupernetStrategy(Strategy):
    """Trains one supernet on the proxy.

    Settings left at None follow the length: searches of a few hundred steps and those of 5000
    and more have defaults of their own.

    Attributes:
        batch_size: images a step; 64 up to 64 px, else 32, unless given.
        optimizer: of the weights: `adamw` in short searches, the space's own in long ones: `sgd`
            with momentum 0.9, `adamw` for transformers; like rate and decay that of the recipe
            which the space names for supernets (`nastk recipes`), or that was asked for.
        weights_lr: peak learning rate of the weights: 3e-2 with AdamW and 0.1 with SGD in
            convolutional spaces.
        weight_decay: of the weights: 0.02 with AdamW, 4e-5 with SGD.
        finalists: archs that are trained by themselves behind the supernet, the best of which is
            found, see `nastk.strategies.thompson`.
        sums_features: whether candidates run one by one and their features are summed.
        accumulates: whether an update may be that of several batches.
    """

    # Updates as a share of the space's, so that searches of all strategies take about as long.
    share_of_steps: ClassVar[float] = 1.0
    sums_features: ClassVar[bool] = False
    accumulates: ClassVar[bool] = True

    finalists: int = setting(0, least=0, most=1000)
    batch_size: int | None = setting(None, least=1)
    optimizer: str | None = setting(None, among=("adamw", "sgd"))
    weights_lr: float | None = setting(None, above=0)
    weight_decay: float | None = setting(None, least=0)

    def defaults(self, total: int) -> dict[str, Any]:
        """Return the settings of its own that depend on the length of a search.

        Args:
            total: number of updates.
        """
        return {}

    def resolved(self, total: int, recipes: Sequence[str] = Space.supernet_recipes) -> Self:
        """Return the strategy with every setting that depends on length and space filled in.

        Args:
            total: number of updates.
            recipes: `supernet_recipes` of the space.
        """
        recipe = self.usual_recipe(total, recipes)
        defaults = {
            "steps": total,
            "optimizer": recipe.optimizer,
            "weights_lr": recipe.lr,
            "weight_decay": recipe.weight_decay,
            **self.defaults(total),
        }
        missing = {k: v for k, v in defaults.items() if getattr(self, k) is None}
        return dataclasses.replace(self, **missing)

    def usual_recipe(self, total: int, recipes: Sequence[str]) -> Recipe:
        """Return by which recipe of those that a space names the weights learn."""
        return supernet_recipe(recipes, is_long=total >= LONG_STEPS, optimizer=self.optimizer)

    def recipe(self, problem: Problem) -> Recipe:
        """Return how the weights learn: as the settings say, else as was asked for, else as usual.

        The strategy is a resolved one.
        """
        usual = self.usual_recipe(cast(int, self.steps), problem.proxy.supernet_recipes)
        return dataclasses.replace(
            of_supernet(self._asked(problem.recipe, usual), asked_changes(problem.recipe)[1]),
            optimizer=self.optimizer,
            lr=self.weights_lr,
            weight_decay=self.weight_decay,
            batch_size=self.images_a_step(problem.proxy),
        )

    def items_an_update(self, problem: Problem) -> int:
        """Return the images of all batches of an update."""
        return self.images_a_step(problem.proxy) * self._asked(problem.recipe, ANY).accumulation

    def _asked(self, asked: Mapping[str, Any], usual: Recipe) -> Recipe:
        """Return the recipe that was asked for, at the rate of the settings where they have one."""
        rate = {} if self.weights_lr is None else {"lr": min(self.weights_lr, MOST)}
        return asked_recipe({**asked, **rate}, usual)

    def decided_by(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that a recipe decides: those of its changes, of its name the rest.

        Args:
            asked: see `nastk.training.changes.asked_changes`.

        Raises:
            ValueError: if the weights of a supernet cannot learn so.
        """
        name, changes = asked_changes(asked)
        check_for_supernet(changes)
        recipe = self._asked(asked, ANY)  # a name, or settings that need no other
        if recipe.accumulation > 1 and not self.accumulates:
            raise ValueError(f"{self.name} learns by one batch an update: leave out accumulation")
        return {
            setting: getattr(recipe, key)
            for key, setting in OF_RECIPE.items()
            if key in changes or (name is not None and getattr(self, setting) is None)
        }

    def num_steps(self, space: Space) -> int:
        """Return the updates asked for, else a share of the space's, rounded to tens."""
        return self.steps or self.share(space.search_steps)

    def share(self, steps: int) -> int:
        """Return the strategy's share of the updates of a space, rounded to tens."""
        return max(10, 10 * round(self.share_of_steps * steps / 10))

    def images_a_step(self, proxy: Space) -> int:
        """Return the images of a batch."""
        return self.batch_size or (64 if max(proxy.input_shape[1:], default=0) <= 64 else 32)

    def image_flops(self, problem: Problem) -> float:
        """Return the multiply-adds of one image in a step, which says how long to train."""
        return supernet_flops(problem, features=self.sums_features)

    def work_left(self, step: int, total: int) -> float:
        """Return the passes of a batch that are left before update `step` of `total`."""
        return float(total - step)

    def work_in_words(self, updates: int, images: int) -> str:
        """Say what a search does, finalists aside, as it is announced before it starts.

        Args:
            updates: of the supernet.
            images: of a batch.
        """
        return f"trains a supernet for {updates:,} updates of {images} images"

    def at_a_time(self, space: Space) -> int:
        """Return how many finalists may be under way at a time."""
        return Thompson(evaluations=self.finalists).at_a_time(space) if self.finalists else 0

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Train the supernet, then the finalists that it proposes, and return the best."""
        learned = self.learn(problem, run, report)
        if not self.finalists:
            return learned.arch
        assert problem.pool is not None
        run.restore_spent()  # finalists of an interrupted process cost more than its supernet
        race = Thompson(evaluations=self.finalists)
        sampler = race.sampler(problem.space, problem.budget, problem.seed, learned)
        with problem.pool() as pool:
            return Trials(race, sampler, run, pool, phase="finalists").best(report)

    @abstractmethod
    def learn(self, problem: Problem, run: Run, report: Report) -> Learned:
        """Train the supernet and return what it has taught."""


def runs_whole(space: Space) -> bool:
    """Tell whether a mixture runs all candidates of every choice, none of them drawn."""
    return all(choice.slot.sampled is None for choice in space.choices().values())
