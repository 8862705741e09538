"""What each recipe contains, and whose it is."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..search_spaces import SPACES
from ..training.recipes import RECIPES


def list_recipes() -> list[dict[str, Any]]:
    """Return all settings of each recipe, and as `spaces` whose networks train by it."""
    rows = []
    for name, recipe in RECIPES.items():
        users = [s for s, family in SPACES.items() if name == family.recipe]
        users += [f"{s} (embedded data)" for s, f in SPACES.items() if name == f.short_recipe]
        users += [f"{s} (supernet)" for s, f in SPACES.items() if name in f.supernet_recipes]
        rows.append({**dataclasses.asdict(recipe), "spaces": users})
    return rows
