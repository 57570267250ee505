"""``engine simulate``: one JSON line, then service until Ctrl-C."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import ended, engine, started

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.sockets]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_addresses_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with started("simulate", "--port", "0", cwd=tmp_path) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        process.send_signal(number)
        assert ended(process).code == 0
    assert set(addresses) == {"base_url", "history_url", "media_url", "bill_url"}
    assert addresses["base_url"].startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = engine("simulate", "--port", str(port), cwd=tmp_path)
    assert done.code == 2
    assert f"port {port} on the loopback address cannot be used (Address already in use)\n" in done.err


@pytest.mark.parametrize(
    ("setting", "said"),
    [("fault.reply_lost_after=1", "faults"), ("faults.reply_lost=1", "did you mean"), ("rate.window_s=0", "rate")],
)
def test_a_wrong_knob_is_refused(tmp_path: Path, setting: str, said: str) -> None:
    done = engine("simulate", "--port", "0", "--set", setting, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
