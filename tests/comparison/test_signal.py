"""Statistics of a proxy, against cases computed by hand and in print."""

import numpy as np
import pytest
from nastk.comparison.signal import intraclass_correlation, signal

# Shrout and Fleiss 1979, table 2: six targets, four judges; their ICC(1,1) is 0.17.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def test_the_intraclass_correlation_is_the_printed_one():
    # By hand: BMS = 11.2417, WMS = 6.2639.
    expected = (11.241667 - 6.263889) / (11.241667 + 3 * 6.263889)
    assert intraclass_correlation(RATINGS) == pytest.approx(expected, abs=1e-6)
    assert round(intraclass_correlation(RATINGS), 2) == 0.17


def test_its_ends():
    only_arch = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    assert intraclass_correlation(only_arch) == 1
    # Equal means: all of the variance is within, and the estimate is -1/(S - 1).
    assert intraclass_correlation(np.array([[1.0, 3.0], [3.0, 1.0]])) == pytest.approx(-1)
    assert np.isnan(intraclass_correlation(np.ones((3, 2))))
    with pytest.raises(ValueError, match="2 archs and 2 seeds"):
        intraclass_correlation(np.ones((1, 2)))


def test_it_estimates_the_share_of_variance():
    generator = np.random.default_rng(0)
    archs = generator.normal(0, np.sqrt(0.6), (4000, 1))
    values = archs + generator.normal(0, np.sqrt(0.4), (4000, 3))
    assert intraclass_correlation(values) == pytest.approx(0.6, abs=0.03)
    assert intraclass_correlation(values * 7 + 5) == pytest.approx(intraclass_correlation(values))


def test_more_params_and_lower_losses_agree():
    losses = np.array([[3.0, 3.1], [2.0, 2.2], [1.0, 0.9], [0.5, 0.6]])
    found = signal(losses, -losses, [10.0, 20.0, 30.0, 40.0])
    assert found["params_tau"] == pytest.approx(1) and found["ceiling_tau"] == pytest.approx(1)
    assert found["icc_accuracy"] == pytest.approx(found["icc_loss"])
    assert signal(losses, -losses, [4.0, 3.0, 2.0, 1.0])["params_tau"] == pytest.approx(-1)


def test_what_is_undefined_is_none():
    found = signal(np.ones((4, 2)), np.ones((4, 2)), [1.0, 2.0, 3.0, 4.0])
    assert set(found.values()) == {None}
