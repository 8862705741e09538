"""What a command enters, and what the imports of the package look like."""

from nastk.benchmarks import trip


def test_a_command_enters_its_functions_and_no_others():
    result = trip.measure(["--version"])
    assert result["command"] == "nastk --version"
    assert {"commands/app.py", "commands/stop.py"} <= set(result["by_file"])
    assert "strategies/mixed.py" not in result["by_file"]
    assert sum(result["by_file"].values()) == result["lines"] > result["code_lines"] > 0
    assert len(result["by_file"]) == result["files"] <= result["functions"]


def test_circles_are_what_reaches_itself_and_floors_count_the_longest_way():
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": {"b"}, "d": set()}
    assert [sorted(circle) for circle in trip.circles(arrows)] == [["b", "c"], ["a"], ["d"]]
    assert trip.depths(arrows) == {"b": 1, "c": 1, "a": 2, "d": 1}


def test_every_folder_of_code_is_a_room_and_imports_are_found():
    house = trip.house()
    folders = {path.parent for path in trip.modules().values()}
    assert house["rooms"] == len(folders) and house["arrows"] > house["rooms"] > 12
    arrows = trip.imports()
    assert "core.run" in arrows["workflows.search"] and "commands.app" in arrows["__main__"]
