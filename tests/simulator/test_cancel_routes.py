"""A job that was cancelled stays so in the journal: its state, its charge, and whether its record is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from engine.simulator import Scenario, Simulator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

KNOBS = {"access.models": ["*"], "work.duration_median_s": 600.0, "work.workers": 1, "rate.requests_per_window": 0}
HEADERS = {"Authorization": "Bearer SG_0123456789abcdef", "X-Runway-Version": "2024-11-06"}


async def test_replicate_remembers_a_cancellation(tmp_path: Path) -> None:
    scenario = Scenario.load("calm", {"dialect": "replicate", **KNOBS})
    async with httpx.AsyncClient(headers=HEADERS) as client:
        async with Simulator(scenario, journal=tmp_path / "journal") as simulator:
            url = f"{simulator.base_url}/v1/models/somebody/talking-head/predictions"
            running, waiting = [
                (await client.post(url, json={"input": {"prompt": text}})).json()["id"] for text in ("a", "b")
            ]
            for name in (waiting, running):
                done = await client.post(f"{simulator.base_url}/v1/predictions/{name}/cancel")
                assert (done.status_code, done.json()["status"]) == (200, "canceled")
            before = simulator.bill()
        async with Simulator(scenario, journal=tmp_path / "journal") as simulator:
            status = await client.get(f"{simulator.base_url}/v1/predictions/{running}")
            after = simulator.bill()
    assert status.json()["status"] == "canceled"
    # The one that ran is charged, the one that waited is not; neither is a job that was paid for.
    assert (after.cancelled, after.paid, after.in_flight) == (2, 0, 0)
    assert 0 < after.billed_usd == before.billed_usd


async def test_runway_forgets_a_task_for_good(tmp_path: Path) -> None:
    scenario = Scenario.load("calm", {"dialect": "runway", **KNOBS})
    async with httpx.AsyncClient(headers=HEADERS) as client:
        async with Simulator(scenario, journal=tmp_path / "journal") as simulator:
            body = {"model": "gen4_turbo", "promptImage": "https://example.com/a.png"}
            name = (await client.post(f"{simulator.base_url}/v1/image_to_video", json=body)).json()["id"]
            gone = [(await client.delete(f"{simulator.base_url}/v1/tasks/{name}")).status_code for _ in range(2)]
        async with Simulator(scenario, journal=tmp_path / "journal") as simulator:
            status = await client.get(f"{simulator.base_url}/v1/tasks/{name}")
    assert gone == [204, 404]
    assert status.status_code == 404
