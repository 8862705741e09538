"""What an unknown name is answered with."""

import pytest
from nastk.core.lookup import lookup


def test_an_unknown_name_is_answered_with_all_names_of_a_short_table():
    with pytest.raises(ValueError, match=r"did you mean 'toy'\? known: sandglass, toy$"):
        lookup("space", "tooy", {"toy": 1, "sandglass": 2})


def test_of_a_long_table_those_most_alike_are_named():
    table = {f"net-{number}": number for number in range(60)} | {"other": 0}
    with pytest.raises(ValueError, match="unknown network 'net-7x'; did you mean 'net-7'") as error:
        lookup("network", "net-7x", table)
    named = str(error.value).partition("known: ")[2]
    assert named.startswith("net-7, ") and named.endswith(" and 51 more") and len(named) < 120
