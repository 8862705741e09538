"""The examples in docstrings, run in the modules that users import.

pytest's own collection of doctests would import each file a second time, under the name of the
folder that the checkout lies in: operators would be registered twice.
"""

import doctest
import pkgutil
from importlib import import_module
from importlib.util import find_spec

import nastk
import pytest

OUTSIDE = ("tests", "examples", "build", "benchmarks", "__main__")


def modules_with_examples():
    """Return the names of the modules whose source has a prompt."""
    found = pkgutil.walk_packages(nastk.__path__, "nastk.")
    names = [module.name for module in found if module.name.split(".")[1] not in OUTSIDE]
    sources = {name: find_spec(name).loader.get_source(name) for name in names}
    return [name for name, source in sources.items() if ">>> " in (source or "")]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_print_what_they_say(name):
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0 and results.failed == 0


def test_examples_are_found():
    assert "nastk.ops.kernels.cuda.dispatch" in modules_with_examples()
