"""What subclasses NNI: a space as its mutables, and an engine that is asked for models."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from nni import NoMoreTrialError
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from nni.mutable import Categorical, Constraint
from nni.mutable.exception import ConstraintViolation
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import ModelStatus, RawFormatModelSpace
from numpy.random import RandomState
from torch import nn

from ..core.band import band_of
from ..core.bounds import WORDS
from ..core.budget import Budget
from ..core.choice import Value
from ..core.neighbours import Key, Neighbours
from ..core.space import Space

Sample = dict[str, Value]
_PATIENCE = 60.0  # seconds that a strategy may think before it counts as stuck


class MutableSpace(ModelSpace):  # type: ignore[misc]
    """A space of nastk as a model space of NNI: one categorical mutable for each choice.

    NNI knows nothing of choices that others make idle: it sets them too, to no effect. What is
    frozen is the plain network, with its `arch`.
    """

    def __init__(self, space: Space, budget: Budget | None) -> None:
        super().__init__()
        self.space = space
        mutables = [
            Categorical(list(choice.candidates), label=name)
            for name, choice in space.choices().items()
        ]
        for mutable in mutables:
            self.add_mutable(mutable)
        if budget is not None:
            self.add_mutable(WithinBudget(space, budget, mutables))

    def freeze(self, sample: Sample) -> nn.Module:
        """Return the network of a sample."""
        self.validate(sample)
        arch = self.space.arch({name: sample[name] for name in self.space.choices()})
        network = self.space.build(arch)
        network.arch = arch  # type: ignore[assignment]
        return network


class WithinBudget(Constraint):  # type: ignore[misc]
    """Lets NNI refuse samples outside of a band of costs, or that break a rule of the space.

    A random sample outside is not refused, as that would happen hundreds of times: the nearest one
    inside takes its place.
    """

    def __init__(self, space: Space, budget: Budget, mutables: list[Categorical]) -> None:
        self.label = "_".join(part.metric for part in budget.parts)
        self.space, self.mutables = space, mutables
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)

    def leaf_mutables(self, is_leaf: Any) -> Iterable[Any]:
        """Yield what the constraint looks at."""
        for mutable in self.mutables:
            yield from mutable.leaf_mutables(is_leaf)
        yield self

    def default(self, memo: Sample | None = None) -> None:
        """Set the choices to some sample inside the band."""
        self.random(memo, RandomState(0))

    def random(self, memo: Sample | None = None, random_state: RandomState | None = None) -> None:
        """Draw the choices that are not in the memo, and bring all of them into the band."""
        memo = {} if memo is None else memo
        state = random_state or RandomState()
        for mutable in self.mutables:
            mutable.random(memo, state)
        key = self._neighbours.project(self._key(memo), np.random.default_rng(state.randint(2**31)))
        if key is not None:
            memo.update(self._neighbours.arch(key).choices)
        self.freeze(memo)

    def check_contains(self, sample: Sample) -> ConstraintViolation | None:
        """Return why a sample is refused, None if it is not."""
        try:
            arch = self.space.arch(
                {mutable.label: sample[mutable.label] for mutable in self.mutables}
            )
        except ValueError as error:
            return ConstraintViolation(str(error))
        counts = self.space.cost.count(self.space.indices(arch))
        for part in self._neighbours.band.parts:
            if not part.low <= (count := counts[part.metric]) <= part.high:
                return ConstraintViolation(f"{count:,} {WORDS[part.metric]}: wanted {part}")
        return None

    def _key(self, sample: Sample) -> Key:
        choices = self.space.choices().items()
        return tuple(choice.position(sample[name]) for name, choice in choices)


class AskedEngine(ExecutionEngine):  # type: ignore[misc]
    """Hands each submitted model to who asks, and holds the strategy until the next ask.

    A strategy of NNI owns its loop, so it runs in a thread; as one of the two sides always waits,
    a search is the same each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asks = threading.Semaphore(0)
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._models: list[Any] = []
        self._is_over = False

    def submit_models(self, *models: Any) -> None:
        """Hand the models over, one for each ask."""
        for model in models:
            model.status = ModelStatus.Training
            self._models.append(model)
            self.answer(model)
            self.wait_for_ask()

    def answer(self, model: Any) -> None:
        """Answer an ask, with an error or None if there are no more models."""
        self._answers.put(model)

    def wait_for_ask(self) -> None:
        """Hold the strategy's thread until somebody asks."""
        self._asks.acquire()

    def ask(self) -> Any:
        """Return the next model, None if the strategy has no more.

        Raises:
            RuntimeError: if the strategy failed or takes far too long.
        """
        if self._is_over:
            return None
        self._asks.release()
        try:
            answer = self._answers.get(timeout=_PATIENCE)
        except queue.Empty:
            raise RuntimeError(f"NNI's strategy gave no answer in {_PATIENCE:.0f} s") from None
        if isinstance(answer, BaseException):
            raise RuntimeError(f"NNI's strategy failed: {answer!r}") from answer
        self._is_over = answer is None
        return answer

    def end(self, model: Any, metric: float | None) -> None:
        """Tell the strategy the metric of a model, more is better; None if it has none."""
        if metric is not None:
            self.dispatch_model_event(FinalMetricEvent(model, metric))
        status = ModelStatus.Failed if metric is None else ModelStatus.Trained
        self.dispatch_model_event(TrainingEndEvent(model, status))

    def list_models(self, status: Any = None) -> list[Any]:
        """Return the models that were submitted."""
        return [model for model in self._models if status in (None, model.status)]

    def wait_models(self, *models: Any) -> None:
        """Return at once: who asked waits for models."""

    def idle_worker_available(self) -> bool:
        """Tell that models may be submitted."""
        return True

    def budget_available(self) -> bool:
        """Tell whether the search goes on."""
        return not self._is_over

    def shutdown(self) -> None:
        """Let the strategy end, which waits for the next ask."""
        self._is_over = True
        self._asks.release()


class StrategyDriver:
    """Asks and tells a strategy of NNI's neural architecture search."""

    def __init__(self, strategy: Any, space: Space) -> None:
        engine = self._engine = AskedEngine()
        models = RawFormatModelSpace.from_model(MutableSpace(space, None))
        threading.Thread(target=_explore, args=(strategy, models, engine), daemon=True).start()
        weakref.finalize(self, engine.shutdown)

    def ask(self) -> tuple[Any, Sample] | None:
        """Return a model and its sample, None if there are no more."""
        model = self._engine.ask()
        return None if model is None else (model, model.sample)

    def tell(self, model: Any, sample: Sample | None, loss: float | None) -> None:
        """Tell the loss of a model, and the sample that was evaluated in its place."""
        if sample is not None:
            model.sample = sample
        self._engine.end(model, None if loss is None else -loss)


def _explore(strategy: Any, models: Any, engine: AskedEngine) -> None:
    engine.wait_for_ask()
    try:
        strategy(models, engine)
    except Exception as error:
        engine.answer(error)
    else:
        engine.answer(None)


class TpeDriver:
    """Asks and tells NNI's TPE itself, as the strategy around it sleeps a second a trial."""

    def __init__(self, seed: int, space: Space) -> None:
        self._tuner, self._num_asked = TpeTuner("minimize", seed), 0
        mutables = MutableSpace(space, None).simplify()
        self._tuner.update_search_space({n: m.as_legacy_dict() for n, m in mutables.items()})

    def ask(self) -> tuple[Any, Sample] | None:
        """Return the number of a trial and its sample, None if there are no more."""
        self._num_asked += 1
        try:
            return self._num_asked, self._tuner.generate_parameters(self._num_asked)
        except NoMoreTrialError:
            return None

    def tell(self, trial: int, sample: Sample | None, loss: float | None) -> None:
        """Tell the loss of a trial; the tuner goes on from what it proposed itself."""
        if loss is not None:
            self._tuner.receive_trial_result(trial, sample, loss)
        self._tuner.trial_end(trial, loss is not None)
