"""What a run has learned is kept: for the process that takes over, and for the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.run.learning import Learned, Learning, profile_path
from engine.scheduling.durations import GRID, DurationsState
from tests.jobs import open_inline

if TYPE_CHECKING:
    from pathlib import Path

    from tests.virtual_clock import VirtualClock

STATE = DurationsState(GRID, {900: 12.0}, {0: 12.0, 900: -12.0}, {})
LEARNED = Learned({"a/b": STATE}, {"submit": 48.5})


def learning(tmp_path: Path, clock: VirtualClock, *, provider: str = "p", learned: Learned = LEARNED) -> Learning:
    ledger = open_inline(tmp_path / "run.db")
    profile = tmp_path / "state" / "durations.json"
    return Learning(ledger, profile=profile, provider=provider, clock=clock, learned=lambda: learned)


async def test_it_comes_back_in_the_same_run_and_in_another(tmp_path: Path, clock: VirtualClock) -> None:
    kept = learning(tmp_path, clock)
    assert await kept.of_this_run() is None
    assert await kept.of_earlier_runs() == {}
    await kept.save()
    assert await kept.of_this_run() == LEARNED
    assert await kept.of_earlier_runs() == {"a/b": STATE}
    kept._ledger.close()


async def test_another_provider_and_other_models_are_left_as_they_are(tmp_path: Path, clock: VirtualClock) -> None:
    for provider, model in (("p", "a"), ("p", "b"), ("q", "a")):
        kept = learning(tmp_path, clock, provider=provider, learned=Learned({model: STATE}))
        await kept.save()
        kept._ledger.close()
    kept = learning(tmp_path, clock)
    assert set(await kept.of_earlier_runs()) == {"a", "b"}
    kept._ledger.close()


@pytest.mark.parametrize(
    "rubbish", [b"", b"{", b"[1]", b'{"durations": 7}', b"\xff\xfe", b'{"durations": {"p": {"a": {}}}}']
)
async def test_a_profile_that_makes_no_sense_is_ignored_and_replaced(
    tmp_path: Path, clock: VirtualClock, rubbish: bytes
) -> None:
    path = tmp_path / "state" / "durations.json"
    path.parent.mkdir()
    path.write_bytes(rubbish)
    kept = learning(tmp_path, clock)
    assert await kept.of_earlier_runs() == {}
    await kept.save()
    assert await kept.of_earlier_runs() == {"a/b": STATE}
    kept._ledger.close()


async def test_a_place_that_cannot_be_written_costs_nothing(tmp_path: Path, clock: VirtualClock) -> None:
    (tmp_path / "state").write_bytes(b"a file where a directory should be")
    kept = learning(tmp_path, clock)
    await kept.save()
    assert await kept.of_this_run() == LEARNED
    kept._ledger.close()


def test_the_profile_lies_beside_the_users_other_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert profile_path() == tmp_path / "media-batch-engine" / "durations.json"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile_path() == tmp_path / ".local" / "state" / "media-batch-engine" / "durations.json"
