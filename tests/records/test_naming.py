"""Which space is trained is said in one place."""

import asking
import pytest
from nastk.core.run import Run
from nastk.records.naming import space_for, spaces_of, trained_space
from nastk.search_spaces import SPACES


@pytest.mark.parametrize("proxy", [None, "other"])
def test_embedded_data_train_the_proxy_and_those_of_the_user_the_target(proxy):
    target = SPACES["sandglass"]()
    small = target.proxy()
    given = None if proxy is None else SPACES["sandglass"](resolution=96)
    assert space_for("digits", target, given).options == (given or small).options
    assert space_for("npz:/a.npz", target, given) is target


def test_the_trained_space_of_a_run_is_that_of_its_data_unless_others_are_given(tmp_path):
    options = {"strategy": "random", "data": "digits", "proxy_resolution": 32}
    asking.search("sandglass-micro", "0.8M", out=tmp_path / "run", **options)
    run = Run.open(tmp_path / "run")
    target, proxy = spaces_of(run)
    assert target.options != proxy.options
    assert trained_space(run).options == proxy.options
    assert trained_space(run, "npz:/a.npz").options == target.options
