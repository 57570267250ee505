"""The same plan over real HTTP, with time scaled: the engine beside what people use today.

    .venv/bin/python -m tests.benchmarks.plan_http [--jobs 600] [--scale 40] [--json FILE]

One simulated provider per client, a process of its own: jobs of 713 s (sigma .15), 120 requests a minute for
everything, counted in a sliding minute; every time is divided by the scale. 200 jobs at once. Nothing is downloaded,
because the other clients do not. The oracle knows each completion and spends one poll on it.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiolimiter import AsyncLimiter
from segmind import SegmindClient

from engine.provider.api_key import SIMULATOR_KEY
from tests.benchmarks.oracle import Batch, best_makespan_s
from tests.benchmarks.shapes import MEDIAN_S
from tests.benchmarks.tables import print_table, write_json
from tests.crash.harness import bill, finish, run_command, simulator, write_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    Client = Callable[[dict[str, str], "Plan"], int]

MODEL = "kling-v1-pro-ai-avatar"
PER_MINUTE = 120
PLACES = 200
SPREAD = 0.15
POLL_S = 10.0
SDK_POLL_S = 2.0
BACK_OFF_S = 1.0
HTTP_TOO_MANY = 429
HEADERS = {"x-api-key": SIMULATOR_KEY}


class Plan:
    """What every client is told."""

    def __init__(self, jobs: int, scale: float) -> None:
        self.jobs, self.scale = jobs, scale

    def scaled_s(self, seconds: float) -> float:
        return seconds / self.scale

    def body(self, number: int) -> dict[str, str]:
        return {"image_url": f"https://example.com/{number}.png", "audio_url": f"https://example.com/{number}.wav"}


def engine(addresses: dict[str, str], plan: Plan) -> int:
    with tempfile.TemporaryDirectory() as directory:
        source, run_dir = Path(directory) / "jobs.jsonl", Path(directory) / "jobs.run"
        write_jobs(source, plan.jobs)
        settings = (
            f"limits.submits_per_minute={PER_MINUTE * plan.scale}",
            "limits.shared=true",
            f"limits.max_in_flight={PLACES}",
            f"polling.expected_duration_s={plan.scaled_s(732.0)}",
            "downloads.enabled=false",
        )
        finish(run_command(source, run_dir, addresses, settings))
        return sum(b'"succeeded"' in line for line in (run_dir / "results.jsonl").read_bytes().splitlines())


def naive_with_retries(addresses: dict[str, str], plan: Plan) -> int:
    return asyncio.run(_naive(addresses, plan, limiter=None))


def naive_with_limiter(addresses: dict[str, str], plan: Plan) -> int:
    return asyncio.run(_naive(addresses, plan, limiter=AsyncLimiter(1, plan.scaled_s(60.0) / PER_MINUTE)))


async def _naive(addresses: dict[str, str], plan: Plan, *, limiter: AsyncLimiter | None) -> int:
    """Do what the script from a blog does: a semaphore, a task per job, a sleep between polls, retries on 429."""
    base, places = addresses["base_url"], asyncio.Semaphore(PLACES)

    async def ask(session: aiohttp.ClientSession, method: str, path: str, **body: Any) -> dict[str, Any]:
        delay_s = BACK_OFF_S
        while True:
            async with limiter or contextlib.nullcontext(), session.request(method, base + path, **body) as reply:
                if reply.status != HTTP_TOO_MANY:
                    return dict(await reply.json())
            await asyncio.sleep(plan.scaled_s(delay_s) * random.uniform(0.5, 1.5))
            delay_s = min(2 * delay_s, 8.0)

    async def one(session: aiohttp.ClientSession, number: int) -> bool:
        async with places:
            accepted = await ask(session, "POST", f"/v2/{MODEL}", json=plan.body(number))
            request = f"/v2/requests/{accepted['request_id']}"
            while True:
                await asyncio.sleep(plan.scaled_s(POLL_S))
                status = (await ask(session, "GET", f"{request}/status"))["status"]
                if status in {"COMPLETED", "FAILED"}:
                    break
            return bool((await ask(session, "GET", request))["status"] == "COMPLETED")

    async with aiohttp.ClientSession(headers=HEADERS) as session:
        return sum(await asyncio.gather(*(one(session, number) for number in range(plan.jobs))))


def sdk_in_threads(addresses: dict[str, str], plan: Plan) -> int:
    client = SegmindClient(api_key=SIMULATOR_KEY, base_url=f"{addresses['base_url']}/v1")

    def one(number: int) -> bool:
        try:
            job = client.submit_async(MODEL, **plan.body(number))
            result = job.wait(timeout=plan.scaled_s(7_200.0), interval=plan.scaled_s(SDK_POLL_S))
        except Exception:  # noqa: BLE001 (whatever it raises, the job is dropped, as in a script)
            return False
        return bool(result["status"] == "COMPLETED")

    try:
        with concurrent.futures.ThreadPoolExecutor(PLACES) as pool:
            return sum(pool.map(one, range(plan.jobs)))
    finally:
        client._client.close()


CLIENTS: dict[str, Client] = {
    "engine": engine,
    "naive script, aiolimiter": naive_with_limiter,
    "naive script, 429 retries": naive_with_retries,
    "official SDK in threads": sdk_in_threads,
}


def run(name: str, plan: Plan) -> dict[str, object]:
    settings = (
        f"work.duration_median_s={plan.scaled_s(MEDIAN_S)}",
        f"work.duration_sigma={SPREAD}",
        f"rate.requests_per_window={PER_MINUTE}",
        f"rate.window_s={plan.scaled_s(60.0)}",
        "rate.counts=all",
    )
    with simulator("calm", *settings) as addresses:
        began = time.perf_counter()
        done = CLIENTS[name](addresses, plan)
        took_s = time.perf_counter() - began
        seen = bill(addresses)
    oracle_s = plan.scaled_s(oracle_makespan_s(plan.jobs))
    return {
        "client": name,
        "done": done,
        "paid": seen["paid"],
        "minutes (unscaled)": round(took_s * plan.scale / 60, 1),
        "share of the oracle": round(oracle_s / took_s * done / plan.jobs, 3),
        "polls/job": round(seen["polls"] / plan.jobs, 2),
        "429s": seen["rate_limited"],
    }


def oracle_makespan_s(jobs: int) -> float:
    dice = random.Random(1)
    takes_s = [MEDIAN_S * dice.lognormvariate(0.0, SPREAD) for _ in range(jobs)]
    return best_makespan_s(Batch(jobs, PER_MINUTE, PLACES, takes_s.__getitem__, lambda _: False, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--scale", type=float, default=40.0)
    parser.add_argument("--clients", nargs="*", choices=[*CLIENTS], default=[*CLIENTS])
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/plan_http.json"))
    asked = parser.parse_args()
    rows = [run(name, Plan(asked.jobs, asked.scale)) for name in asked.clients]
    print_table(rows)
    write_json(asked.json, {"benchmark": "plan_http", "jobs": asked.jobs, "scale": asked.scale, "rows": rows})


if __name__ == "__main__":
    main()
