"""What can be written after ``--fleet``, and what is said of anything else."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from engine.errors import UsageError
from engine.fleet.address import FleetAddress, fleet_address, usable_fleet
from tests.console.conftest import engine, some_jobs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text", ["auto", "10.0.0.1:6379", "head.example.org:6379", "ray://head:10001", "[fd00::1]:6379", "localhost:1"]
)
def test_a_cluster_is_named_by_its_address(text: str) -> None:
    assert fleet_address(text) == FleetAddress(text)
    assert fleet_address(text).members == "nodes"


@pytest.mark.parametrize(("text", "workers"), [("local:1", 1), ("local:64", 64)])
def test_a_private_fleet_is_named_by_its_workers(text: str, workers: int) -> None:
    assert fleet_address(text) == FleetAddress(text, workers)
    assert fleet_address(text).members == "workers"


@pytest.mark.parametrize(
    "text",
    ["", "local", "local:0", "local:65", "local:x", "head", "http://head:1", "head:99999", "ray://head", "a b:1"],
)
def test_anything_else_is_refused_with_what_can_be_written(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        fleet_address(text)
    assert "local:N" in raised.value.hint


def test_without_ray_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UsageError) as raised:
        usable_fleet("auto")
    assert "pip install 'media-batch-engine[ray]'" in raised.value.hint


@pytest.mark.processes
@pytest.mark.parametrize("words", [("run", "jobs.jsonl"), ("doctor",)])
def test_a_fleet_that_is_none_ends_the_command_before_anything_is_done(tmp_path: Path, words: tuple[str, ...]) -> None:
    some_jobs(tmp_path, 1)
    done = engine(*words, "--fleet", "nowhere", cwd=tmp_path)
    assert done.code == 2
    assert "'nowhere' is no fleet" in done.err
    assert not (tmp_path / "jobs.run").exists()
