"""Whatever a model gives is kept: films, pictures and sounds as files of their kind, texts in the result line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from engine.errors import ExitCode
from engine.media.verify import inspect
from tests.runs.conftest import provider, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

KINDS = {"veo-3": "video/mp4", "seedream-4.5": "image/png", "chatterbox-tts": "audio/wav", "gpt-5.5": None}


def write(path: Path) -> None:
    lines = [{"id": model, "model": model, "params": {"prompt": "a cat", "text": "a cat"}} for model in KINDS]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


async def test_each_modality_is_kept_as_what_it_is(jobs: Path) -> None:
    write(jobs)
    async with provider() as simulator:
        outcome = await run(simulator, jobs)
    assert (outcome.exit_code, outcome.statuses) == (ExitCode.SUCCEEDED, {"succeeded": 4, "failed": 0})
    for model, content_type in KINDS.items():
        files = outcome.by_id[model]["files"]
        assert [file["content_type"] for file in files] == ([content_type] if content_type else [])
        for file in files:
            assert inspect(jobs.with_suffix(".run") / file["path"]).content_type == content_type
    assert "An answer to request" in outcome.by_id["gpt-5.5"]["output"]["output"]
