from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.simulator import Fault, Scenario, ScenarioError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["calm", "demo", "hostile", "paper"])
def test_each_built_in_scenario_loads_under_its_name_and_says_what_it_is(name: str) -> None:
    scenario = Scenario.load(name)
    assert scenario.name == name
    assert scenario.summary
    assert name in Scenario.names()


def test_calm_is_the_default() -> None:
    assert Scenario.load() == Scenario.load("calm")


def test_the_paper_scenario_holds_the_documented_figures() -> None:
    paper = Scenario.load("paper")
    assert (paper.work.duration_median_s, paper.work.duration_sigma) == (713.0, 0.15)
    assert (paper.rate.requests_per_window, paper.rate.window_s) == (50, 60.0)
    assert paper.retention.record_life_s == 3600.0


def test_the_hostile_scenario_loses_three_percent_of_the_replies() -> None:
    assert Scenario.load("hostile").faults[Fault.REPLY_LOST_AFTER] == 0.03


def test_dotted_and_nested_overrides_mean_the_same() -> None:
    dotted = Scenario.load("calm", {"faults.reply_lost_after": 0.5, "work.workers": 3})
    assert dotted == Scenario.load("calm", {"faults": {"reply_lost_after": 0.5}, "work": {"workers": 3}})
    assert (dotted.faults[Fault.REPLY_LOST_AFTER], dotted.work.workers) == (0.5, 3)


def test_an_override_leaves_its_neighbours_as_they_were() -> None:
    changed = Scenario.load("hostile", {"faults.reply_lost_after": 0})
    assert changed.faults[Fault.BAD_GATEWAY_AFTER] == 0.02
    assert changed.work == Scenario.load("hostile").work


def test_a_text_from_a_command_line_is_read_as_the_value_it_spells() -> None:
    changed = Scenario.load("calm", {"faults.young_404": "0.25", "work.workers": "7", "downloads.ranges": "false"})
    assert (changed.faults[Fault.YOUNG_404], changed.work.workers, changed.downloads.ranges) == (0.25, 7, False)


def test_a_model_with_a_dot_in_its_name_can_be_priced() -> None:
    assert Scenario.load("calm", {"credits.prices_usd.seedance-2.0": 9}).credits.prices_usd["seedance-2.0"] == 9


def test_a_file_may_say_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[work]\nworkers = 2\n")
    assert Scenario.load(path).work.workers == 2
    assert Scenario.load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("key", "named", "meant"),
    [
        ("faults.reply_lost_aftr", "faults.reply_lost_aftr", "reply_lost_after"),
        ("work.duration_medain_s", "work.duration_medain_s", "duration_median_s"),
        ("wrk.workers", "wrk", "work"),
    ],
)
def test_an_unknown_key_is_named_with_the_allowed_ones_and_the_nearest(key: str, named: str, meant: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario.load("calm", {key: 1})
    assert named in str(caught.value)
    assert f"did you mean {meant!r}?" in str(caught.value)
    assert "allowed here:" in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"faults.young_404": 1.5},
        {"work.workers": 0},
        {"work": 3},
        {"seed.deep": 1},
        {"rate.header": "morse"},
        {"faults": 0.5},
    ],
)
def test_a_value_that_cannot_be_is_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(ScenarioError):
        Scenario.load("calm", overrides)


def test_an_unknown_scenario_is_answered_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"'hostil' \(did you mean 'hostile'\?\); known: calm, demo"):
        Scenario.load("hostil")


@pytest.mark.parametrize("text", ["work = [", "\x00"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match="cannot be read"):
        Scenario.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        Scenario.load(tmp_path / "absent.toml")


def test_a_scenario_error_is_a_value_error() -> None:
    assert issubclass(ScenarioError, ValueError)
