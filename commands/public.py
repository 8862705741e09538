"""The command `nastk bench public`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Data, Device, Json, Steps, assignment, options_of, show

PUBLIC_HELP = """Let public tables of real results judge what searches find.

The tables hold the CIFAR-10 accuracy of every network of a space, trained by others; a
search here trains on --data alone, and what it finds is looked up. You bring the files:

--macro: nas-bench-macro_cifar10.json of github.com/xiusu/NAS-Bench-Macro; --nb201: a
csv of NAS-Bench-201 with the columns cellstr, cifar10-test and cifar10-val. Both may
be packed (.gz). For a first look, in which the searches are too short to learn:

  nastk bench public --macro macro.json --steps 20 --seeds 1 --proxies none --told none

and as it is meant, 5 searches with the space's own number of updates:

  nastk bench public --macro macro.json --nb201 nb201.csv.gz

The result says for every budget how many points of accuracy the found network is
behind the best one under that budget, by how many standard deviations of the budget's
band it is better than the mean of that band, the percent of networks under the budget
that are worse, and how well its score ranks all networks (Kendall's tau). Compare with

- random networks of the band, and the best of 3 to 20 of them by their real accuracy,

- the most params and the most FLOPs of the band, which cost nothing,

- zero-cost --proxies: --untrained networks are scored, and a fit of the ranks chooses,

- searches that train networks one by one, each --told the table's result of it, 20, 50
and 100 times a budget: they say how many trainings a search is worth,

- the best that any sum of effects of single candidates could do.

One search of meta_kernel serves all budgets. Other strategies search once for every
budget, and their costs are added up. --set gives options to meta_kernel, or to another
strategy as --set logits.warmup=0.2.

Every search is a run folder in --out. The same command goes on where it was stopped,
and searches and measures nothing again that is finished.
"""


def bench_public(
    context: typer.Context,
    macro: Annotated[Path | None, typer.Option(help="File of NAS-Bench-Macro.")] = None,
    nb201: Annotated[Path | None, typer.Option(help="File of NAS-Bench-201.")] = None,
    strategies: Annotated[
        str,
        typer.Option(help="With commas: meta_kernel, logits, gumbel, single_path, FILE.py:CLASS."),
    ] = "meta_kernel",
    flops: Annotated[
        str | None,
        typer.Option(
            help="Budgets with commas, as 30%,60M,none; unless given 30, 40, 50, 60 and 80 % of "
            "NAS-Bench-Macro, and 30M, 60M, 100M and none of NAS-Bench-201."
        ),
    ] = None,
    proxies: Annotated[
        str | None, typer.Option(help="With commas; all that there are unless given; or none.")
    ] = None,
    untrained: Annotated[int, typer.Option(help="Networks that a proxy scores.")] = 120,
    told: Annotated[
        str | None,
        typer.Option(
            help="With commas; evolution, local, thompson and, where installed, on_optuna unless "
            "given; or none."
        ),
    ] = None,
    told_searches: Annotated[int, typer.Option(help="Searches of each of these a budget.")] = 10,
    data: Data = "digits-photo",
    seeds: Annotated[int, typer.Option(help="Searches of each strategy, seeds from 0.")] = 5,
    steps: Steps = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of a strategy, [STRATEGY.]NAME=VALUE; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of runs; runs/bench-public.")] = None,
    device: Device = "cpu",
    json_: Json = False,
) -> None:
    """Print what searches find by public tables."""
    from ..benchmarks.public_text import as_text
    from ..benchmarks.referee import bench_public as implementation
    from ..workflows.progress import progress

    options = options_of(context) | {"strategies": listed(strategies)}
    options["flops"] = None if flops is None else listed(flops)
    for name, text in (("proxies", proxies), ("told", told)):
        if text is None:
            del options[name]
        else:
            options[name] = [] if text == "none" else listed(text)
    options["strategy_options"] = by_strategy(options.pop("set_") or ())
    with progress(enabled=not json_) as report:
        result = implementation(**options, report=report)
    show(result, json_, lambda found: print(as_text(found)))


def listed(text: str) -> list[str]:
    """Return what stands between commas.

    Example:
        >>> listed("naswot, zico")
        ['naswot', 'zico']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def by_strategy(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return options by strategy; those that name none are of meta_kernel.

    Example:
        >>> by_strategy(["supernets=2", "logits.warmup=0.2"])
        {'meta_kernel': {'supernets': 2}, 'logits': {'warmup': 0.2}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in map(assignment, given):
        strategy, _, option = name.rpartition(".")
        found.setdefault(strategy or "meta_kernel", {})[option] = value
    return found
