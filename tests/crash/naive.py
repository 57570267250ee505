"""The script beside the engine: what a competent person writes in an evening, to compare with under the same kills.

Submit, append the request id to a state file and sync it; on restart skip what is recorded. A failed submission is
tried again. It is meant to be fair: nothing in it is done badly on purpose.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.provider.api_key import SIMULATOR_KEY

if TYPE_CHECKING:
    from tests.crash.batch import Plan

MODEL = "kling-v1-pro-ai-avatar"
TRIES = 3
POLL_S = 0.1
THREADS = 20


class Records:
    """A file of JSON lines that is appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self) -> list[dict[str, Any]]:
        """Return what was recorded; a torn line is passed over."""
        records = []
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records

    def add(self, record: dict[str, Any]) -> None:
        """Append a record durably."""
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())  # noqa: TID251 (the engine's rules are not this script's)


class Script:
    """Works on a batch."""

    def __init__(self, source: Path, run_dir: Path, base_url: str) -> None:
        self._lines = [json.loads(line) for line in source.read_text().splitlines()]
        self._run_dir = run_dir
        self._base_url = base_url
        (run_dir / "media").mkdir(parents=True, exist_ok=True)
        self._state = Records(run_dir / "state.jsonl")
        self._results = Records(run_dir / "results.jsonl")

    def run(self) -> None:
        """Do what is not done yet."""
        submitted = {record["id"]: record["request_id"] for record in self._state.read()}
        done = {record["id"] for record in self._results.read()}
        left = [(number, line) for number, line in enumerate(self._lines, 1) if line["id"] not in done]
        with ThreadPoolExecutor(THREADS) as pool:
            ends = [pool.submit(self._work, number, line, submitted.get(line["id"])) for number, line in left]
        for end in ends:
            end.result()

    def _work(self, number: int, line: dict[str, Any], request_id: str | None) -> None:
        if request_id is None:
            request_id = str(self._api(f"/v2/{MODEL}", line["params"])["request_id"])
            self._state.add({"id": line["id"], "request_id": request_id})
        pause = threading.Event()
        while self._api(f"/v2/requests/{request_id}/status")["status"] != "COMPLETED":
            pause.wait(POLL_S)
        url = self._api(f"/v2/requests/{request_id}")["output"]
        with urllib.request.urlopen(url, timeout=30) as reply:
            content = reply.read()
        path = f"media/{line['id']}.mp4"
        (self._run_dir / path).write_bytes(content)
        file = {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        ended = {"id": line["id"], "line": number, "status": "succeeded", "request_id": request_id, "files": [file]}
        self._results.add(ended)

    def _api(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"x-api-key": SIMULATOR_KEY, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base_url + path, content, headers)
        for left in reversed(range(TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return dict(json.load(reply))
            except (OSError, ValueError):
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")


def naive_command(source: Path, run_dir: Path, addresses: dict[str, str], _plan: Plan) -> list[str]:
    """Return the command that begins the script's run and goes on with it."""
    return [sys.executable, "-m", "tests.crash.naive", str(source), str(run_dir), addresses["base_url"]]


if __name__ == "__main__":
    Script(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).run()
