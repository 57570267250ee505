"""A provider added by the description in the README alone, against a server that answers as its documentation says."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from engine.simulator.clips import Clips
from tests.crash.harness import ENGINE, write_jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.sockets

README = (Path(__file__).parents[2] / "README.md").read_text()
KEY = "SG_0123456789abcdef"
JOBS = 6
POLLS_UNTIL_DONE = 2


class WaveSpeed:
    """Answers as https://wavespeed.ai/docs says: everything of a prediction lies under ``data``."""

    def __init__(self) -> None:
        self.polls: dict[str, int] = {}
        self.keys: set[str] = set()
        self.film = Clips().make("film", "mp4")

    async def submit(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("Authorization", ""))
        name = f"pred_{len(self.polls)}"
        self.polls[name] = 0
        return _wrapped({"id": name, "model": request.match_info["model"], "status": "created", "outputs": []})

    async def status(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("Authorization", ""))
        name = request.match_info["id"]
        self.polls[name] += 1
        if self.polls[name] < POLLS_UNTIL_DONE:
            return _wrapped({"id": name, "status": "processing", "outputs": []})
        if name == "pred_3":
            return _wrapped({"id": name, "status": "failed", "error": "the prompt was refused", "outputs": []})
        film = f"{request.scheme}://{request.host}/files/{name}.mp4"
        return _wrapped({"id": name, "status": "completed", "outputs": [film], "timings": {"inference": 2500}})

    async def file(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(body=b"".join(self.film.pieces(0, self.film.size_bytes)), content_type="video/mp4")


def _wrapped(data: dict[str, object]) -> web.Response:
    return web.json_response({"code": 200, "message": "success", "data": data})


@asynccontextmanager
async def serving(provider: WaveSpeed) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/files/{name}", provider.file)
    app.router.add_get("/predictions/{id}", provider.status)
    app.router.add_post("/{model:.+}", provider.submit)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def engine(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"WAVESPEED_API_KEY": KEY, "PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run([*ENGINE, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


async def test_the_readmes_description_runs(tmp_path: Path) -> None:
    found = re.search(r'```toml\n(name = "wavespeed".+?)```', README, re.DOTALL)
    assert found
    provider = WaveSpeed()
    async with serving(provider) as base_url:
        described = found[1].replace("https://api.wavespeed.ai/api/v3", base_url)
        (tmp_path / "wavespeed.toml").write_text(described)
        write_jobs(tmp_path / "jobs.jsonl", JOBS)
        checked = await asyncio.to_thread(engine, "providers", "check", "wavespeed.toml", "--live", cwd=tmp_path)
        assert "POST http://127.0.0.1" in checked.stdout, checked.stderr
        settings = (
            "provider.preset=wavespeed.toml",
            "provider.model=wavespeed-ai/flux-dev",
            "polling.expected_duration_s=0.2",
            "downloads.allow_private_hosts=true",
            "limits.submits_per_minute=6000",
        )
        words = [word for setting in settings for word in ("--set", setting)]
        done = await asyncio.to_thread(engine, "run", "jobs.jsonl", "--quiet", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "jobs.run" / "results.jsonl").read_text().splitlines()]
    assert sorted(line["status"] for line in lines) == ["failed", *["succeeded"] * (JOBS - 1)]
    assert [line["error"]["message"] for line in lines if line["error"]] == ["the prompt was refused; success"]
    assert provider.keys == {f"Bearer {KEY}"}


def test_a_wrong_description_is_one_clear_error_before_anything_is_paid(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('name = "own"\nbase_url = "https://api.example.com"\n')
    write_jobs(tmp_path / "jobs.jsonl", 1)
    for words in (("providers", "check", "own.toml"), ("run", "jobs.jsonl", "--set", "provider.preset=own.toml")):
        done = engine(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "own.toml: api_key_env is missing" in done.stderr
        assert "Traceback" not in done.stderr
