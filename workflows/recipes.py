"""What each recipe contains, and whose it is."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..evaluators.recipe import FEW_IMAGES, RECIPES
from ..search_spaces import SPACES


def list_recipes() -> list[dict[str, Any]]:
    """Return all settings of each recipe, and as `spaces` whose networks train by it."""
    rows = []
    for name, recipe in RECIPES.items():
        users = [s for s, family in SPACES.items() if name == family.recipe]
        users += [f"{s} (embedded data)" for s, f in SPACES.items() if name == f.short_recipe]
        rows.append({**dataclasses.asdict(recipe), "spaces": users})
    return rows


def print_recipes(rows: list[dict[str, Any]]) -> None:
    """Print what each recipe contains; what is zero is not used and left out."""
    for row in rows:
        settings = {k: v for k, v in row.items() if k not in ("name", "spaces", "optimizer") and v}
        told = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in settings.items())
        users = ", ".join(row["spaces"]) or "only where asked for"
        print(f"{row['name']}\n    {row['optimizer']}, {told}\n    spaces: {users}")
    print(
        "\nwarmup is a share of the updates; behind it the rate falls as a cosine to 0 or "
        f"the final lr.\nA space of your own trains by small on up to {FEW_IMAGES:,} images, else "
        "by mobilenet; on embedded\ndata by demonstration. Change a recipe by --epochs, "
        "--batch-size and --lr, or in its name:\n--recipe small:epochs=10,lr=0.002."
    )
