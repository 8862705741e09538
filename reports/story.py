"""A run folder as it can be read: what is damaged in it becomes a note, not an end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..core.answers import Answers
from ..core.arch import Arch
from ..core.files import read_json, with_nan
from ..core.manifest import Manifest
from ..core.pictures import Pictures
from ..core.record import filled, read_record
from ..core.run import Run
from ..core.space import Space
from ..evaluators.curve import Curve, read_curve
from ..nasbench.families import make_space
from ..records.counted import read_counts
from ..records.front import FrontRow, read_front
from ..records.results import RESULTS, Learned, read_learned
from ..records.trust import UntrustedCodeError, recorded_space
from ..tasks.named import metrics_of
from ..tasks.own import remember_task


@dataclass
class Story:
    """One run, as far as its folder can be read.

    Attributes:
        path: the run folder.
        manifest: of the run.
        events: of the search; none in a retraining.
        space: the target, None where it cannot be made.
        arch: what was found, None before the end.
        counts: flops, params and activations of the arch, None where they are not known.
        files: `result`, `compare`, `evidence` and `retrain`, those that are there.
        answers: of the trained network on its test split, None where they were not recorded.
        pictures: of some of them, None where its task draws none.
        curve: of its training, or of one that is under way.
        learned: what a search by mixtures has read from its losses, None in others.
        front: the best archs of several budgets, where the search was asked for them.
        notes: what could not be read.
    """

    path: Path
    manifest: Manifest
    events: list[dict[str, Any]]
    space: Space | None = None
    arch: Arch | None = None
    counts: dict[str, Any] | None = None
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: Answers | None = None
    pictures: Pictures | None = None
    curve: Curve | None = None
    learned: Learned | None = None
    front: list[FrontRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_search(self) -> bool:
        """Whether the run is a search and no retraining."""
        return self.manifest.strategy is not None

    @property
    def status(self) -> str:
        """`finished`, `unfinished` or `retraining`."""
        if not self.is_search:
            return "retraining"
        return "finished" if self.arch is not None and "result" in self.files else "unfinished"

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The archs that the search evaluated: finalists where a supernet's ranking had some."""
        trials = [event for event in self.events if "trial" in event]
        finalists = [trial for trial in trials if "share" in trial]
        return finalists or trials

    @property
    def full_trials(self) -> list[dict[str, Any]]:
        """Those of full effort, among which the search chose."""
        return [trial for trial in self.trials if trial.get("share", 1) == 1]

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The steps of a supernet search."""
        steps = [event for event in self.events if "step" in event and "trial" not in event]
        return [event for event in steps if _is_number(event, "loss")]

    @property
    def num_supernets(self) -> int:
        """How many supernets were trained, as far as the search has come."""
        return len({event.get("supernet", 0) for event in self.updates})

    @property
    def history(self) -> list[dict[str, list[float]]]:
        """The probabilities of all choices, from the first snapshot to the last."""
        return [event["probs"] for event in self.snapshots]

    @property
    def snapshots(self) -> list[dict[str, Any]]:
        """The events that hold probabilities, all of the same choices."""
        found = [event for event in self.events if isinstance(event.get("probs"), dict)]
        sizes = [{name: len(row) for name, row in event["probs"].items()} for event in found]
        return [event for event, size in zip(found, sizes, strict=True) if size == sizes[-1]]


def read_story(path: Path) -> Story:
    """Read a run folder; what is damaged in it becomes a note.

    Raises:
        ValueError: if there is no run, or its manifest is damaged.
    """
    run = Run.open(path)
    story = Story(path=path, manifest=run.manifest, events=[])
    readers: list[Callable[[Story, Run], None]] = [partial(_read_file, name=n) for n in RESULTS]
    readers.insert(0, _read_task)
    readers += (_read_events, _read_arch, _read_learned, _read_front, _read_answers, _read_curve)
    readers.append(_read_pictures)
    for read in readers:
        try:
            read(story, run)
        except ValueError as error:
            story.notes.append(str(error))
    return story


def _is_number(event: dict[str, Any], key: str) -> bool:
    return isinstance(event.get(key), int | float)


def _read_task(story: Story, run: Run) -> None:
    """Open a task of the user's own, by which results are read; else take the run's word for it."""
    manifest = story.manifest
    if manifest.task is None:
        return
    remember_task(manifest.data, manifest.task_record)
    with suppress(UntrustedCodeError):  # which is said where the space is read
        recorded_space(manifest, run.path)


def _read_file(story: Story, run: Run, name: str) -> None:
    """Read one of the files of results, and see that it holds what the report uses."""
    file = run.path / f"{name}.json"
    if not file.is_file():
        return
    raw = read_json(file)
    if isinstance(raw.get("data"), str) and "task_record" in raw:  # by which its figures are read
        remember_task(raw["data"], raw["task_record"])
    content = filled(read_record(file, RESULTS[name]))
    if rows := content.get("rows"):
        names = [metric.name for metric in metrics_of(content["data"])]
        means = [with_nan({name: row[name] for name in names}) for row in rows]
        content["rows"] = [row | mean for row, mean in zip(rows, means, strict=True)]
    story.files[name] = content


def _read_events(story: Story, run: Run) -> None:
    lines = run.events_path.read_bytes().splitlines() if run.events_path.exists() else []
    story.events = run.events()
    lost = len(lines) - len(story.events)
    if lost and (lost > 1 or "result" in story.files):
        raise ValueError(
            f"{run.events_path} is damaged: {lost} of its {len(lines)} lines could not be read"
        )


def _read_learned(story: Story, run: Run) -> None:
    """Read what was learned, behind the space whose choices it has to be of."""
    if (file := run.path / "ranking.json").is_file():
        story.learned = read_learned(
            file, None if story.space is None else story.space.num_candidates
        )


def _read_front(story: Story, run: Run) -> None:
    story.front = read_front(run)


def _read_answers(story: Story, run: Run) -> None:
    """Read what the network of `retrain.json` answered on the test split."""
    if (file := _beside_weights(story, "answers")) is None:
        return
    try:
        story.answers = Answers.from_json(read_json(file))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None


def _read_pictures(story: Story, run: Run) -> None:
    """Read pictures of what the network of `retrain.json` answered."""
    if (file := _beside_weights(story, "pictures")) is None:
        return
    try:
        story.pictures = Pictures.from_json(read_json(file))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None


def _read_curve(story: Story, run: Run) -> None:
    """Read the curve of the training that `retrain.json` is of, else of the one under way."""
    if (file := _beside_weights(story, "curve")) is not None:
        story.curve = read_curve(file)
    elif "retrain" not in story.files and (files := sorted(run.path.glob("retrain-*-curve.json"))):
        story.curve = read_curve(files[-1])


def _beside_weights(story: Story, kind: str) -> Path | None:
    """Return a file that lies beside the trained weights, None where there is none."""
    weights = story.files.get("retrain", {}).get("weights")
    if not isinstance(weights, str):
        return None
    file = story.path / f"{Path(weights).stem}-{kind}.json"
    return file if file.is_file() else None


def _read_arch(story: Story, run: Run) -> None:
    if run.arch_path.is_file():
        story.arch = run.arch
        story.counts = read_counts(run)
    try:
        story.space = make_space(recorded_space(story.manifest, run.path), story.manifest.target)
    except UntrustedCodeError as error:
        raise ValueError(f"{error}; the page says what is recorded") from None
    if story.arch is None:
        return
    try:
        story.arch = story.space.arch(story.arch.choices)
        story.counts = story.space.cost.count(story.space.indices(story.arch))
    except (ValueError, TypeError) as error:
        story.arch = None
        raise ValueError(f"{run.arch_path} is damaged: {error}") from None
