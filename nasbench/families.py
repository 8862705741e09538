"""Every space that can be built, by name or from a user's file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from ..core.lookup import lookup
from ..core.space import Space
from ..search_spaces import SPACES
from .published import Published

FAMILIES: dict[str, type[Space]] = {**SPACES, Published.name: Published}


def find_space(name: str) -> type[Space]:
    """Return a space by its name, or from a file as `my_space.py:MySpace`.

    Raises:
        ValueError: if there is none; the message suggests the nearest name.
    """
    path, colon, attribute = name.rpartition(":")
    if not colon:
        return FAMILIES[name] if name in FAMILIES else lookup("space", name, SPACES)
    if not Path(path).is_file():
        raise ValueError(f"no file {path}; a space of your own is given as FILE.py:CLASS")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = getattr(module, attribute, None)
    if not isinstance(found, type) or not issubclass(found, Space):
        raise ValueError(f"{path} defines no Space {attribute!r}")
    return found
