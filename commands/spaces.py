"""The commands that list what there is: `nastk spaces` and `nastk recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Config, Json, SpaceSet, show, space_option


def spaces(
    space: Annotated[
        str | None, typer.Argument(help="Look at this one: a name, or FILE.py:CLASS.")
    ] = None,
    space_set: SpaceSet = None,
    config: Config = None,
    json_: Json = False,
) -> None:
    """List the search spaces; or look at one, its choices and FLOPs, and say what is wrong with it.

    Of one space the smallest and the largest network and the supernet see images of noise, forward
    and backward, and the largest network is exported. The exit code is 1 if any of that fails.
    """
    from . import listings

    if space is None:
        if space_set:
            raise ValueError("--space-set needs a space whose option it sets")
        from ..workflows.networks import list_spaces

        show(list_spaces(), json_, listings.print_spaces)
        return
    from ..workflows.check import check_space

    found = check_space(space, space_options=dict(map(space_option, space_set or ())))
    show(found, json_, listings.print_space)
    if any(found["checks"].values()):
        raise typer.Exit(1)


def recipes(config: Config = None, json_: Json = False) -> None:
    """List the recipes by which networks train, and what each contains."""
    from ..workflows.recipes import list_recipes
    from .listings import print_recipes

    show(list_recipes(), json_, print_recipes)
