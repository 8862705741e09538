"""Writing the report of runs: one HTML file, its figures as JSON, curves for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.arguments import typed_arguments
from ..core.files import jsonable, make_folder, read_json, write_atomically
from ..core.run import write_json
from ..core.torch_state import own_torch_state
from ..reports.document import SCHEMA, document
from ..reports.page import page
from ..reports.story import Story, read_story

# In every report.json, so that a file of another kind is never written over.
_KIND = "nastk report"


@typed_arguments
@own_torch_state()
def report(
    runs: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    tensorboard: str | Path | None = None,
) -> dict[str, Any]:
    """Write a page about runs, finished or not, that needs nothing outside of it.

    Args:
        runs: a run folder, or several, which are shown side by side.
        out: the HTML file; `report.html` in the run, or here where there are several, if None.
            The JSON file gets the same name.
        tensorboard: folder for curves, one folder a run in it; needs the extra `report`.

    Returns:
        `html` and `json` (paths) and what the JSON file holds: `kind schema nastk runs`, with one
        document a run, see `nastk.reports.document.document`.

    Raises:
        ValueError: if a folder holds no run, or `out` is no name of a page.
    """
    given = [runs] if isinstance(runs, str | os.PathLike) else runs
    folders = [Path(run) for run in given]
    if not folders:
        raise ValueError("report takes at least one run folder, for example runs/toy-meta_kernel-0")
    stories = [read_story(folder) for folder in folders]
    file = _page_file(folders, out)
    make_folder(file.parent)
    facts = [document(story) for story in stories]
    content = {"kind": _KIND, "schema": SCHEMA, "nastk": __version__, "runs": jsonable(facts)}
    if tensorboard is not None:
        _write_curves(stories, Path(tensorboard))
    write_atomically(file, page(stories, facts).encode("utf-8", "backslashreplace"))
    write_json(file.with_suffix(".json"), content)
    return {"html": str(file), "json": str(file.with_suffix(".json")), **content}


def _page_file(folders: Sequence[Path], out: str | Path | None) -> Path:
    if out is None:
        return Path("report.html") if len(folders) > 1 else folders[0] / "report.html"
    file = Path(out)
    if file.suffix.lower() not in (".html", ".htm") or file.is_dir():
        raise ValueError(f"--out takes the name of a page, for example report.html; got {out}")
    beside = file.with_suffix(".json")
    if beside.exists() and read_json(beside).get("kind") != _KIND:
        raise ValueError(f"{beside} is no report and would be written over; choose another --out")
    return file


def _write_curves(stories: Sequence[Story], folder: Path) -> None:
    """Write what a search logged as event files of TensorBoard."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ValueError("--tensorboard needs tensorboardX: pip install 'nastk[report]'") from None
    for number, story in enumerate(stories):
        name = story.path.resolve().name
        with SummaryWriter(str(folder / (f"{number}-{name}" if len(stories) > 1 else name))) as to:
            for event in story.events:
                step = event.get("step", event.get("trial", 0))
                for key, value in event.items():
                    if isinstance(value, float):
                        to.add_scalar(key, value, step)
                for choice, row in (event.get("probs") or {}).items():
                    for index, value in enumerate(row):
                        to.add_scalar(f"probs/{choice}/{index}", value, step)
            if story.learned is not None:
                for choice, learned in story.learned.choices.items():
                    for index, value in enumerate(learned.effects):
                        to.add_scalar(f"effects/{choice}/{index}", value, len(story.events))
