"""A search on an image folder never looks at its test images."""

import asking
import pytest
from nastk.strategies import STRATEGIES, BlackBox

BLACK_BOX = {name for name, strategy in STRATEGIES.items() if issubclass(strategy, BlackBox)}
BILEVEL = ("logits", {"level": "bilevel", "warmup": 0.0})


@pytest.fixture
def poisoned(tmp_path, folder_of_images):
    """A folder whose test images cannot be decoded."""
    folder_of_images(tmp_path / "data")
    for file in (tmp_path / "data/val").rglob("*.png"):
        file.write_bytes(b"poison")
    return f"imagefolder:{tmp_path / 'data'}"


@pytest.mark.parametrize(
    "strategy, options", [*((name, {}) for name in STRATEGIES), BILEVEL], ids=str
)
def test_the_test_images_are_never_read_by_a_search(strategy, options, poisoned, tmp_path):
    run = tmp_path / "run"
    options = {"steps": 3, **options}
    if strategy in BLACK_BOX or strategy == "single_path":
        options = {"evaluations": 2 if strategy in BLACK_BOX else 8, **options}
    found = asking.search(
        "toy",
        "55K",
        data=poisoned,
        strategy=strategy,
        strategy_options=options,
        strict=True,
        processes=1,
        out=run,
    )
    assert found["flops"] <= 55_000
    with pytest.raises(ValueError, match=r"cannot read any .*val"):  # the poison works
        asking.retrain(run, data=poisoned, steps=1)
