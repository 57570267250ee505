"""What the configuration comes to: the addresses of a provider, and the key that it may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.config import RunConfig
from engine.connection import connection_without_key, describe, key_for
from engine.errors import AccountError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_simulator_has_all_of_its_addresses_in_one_place() -> None:
    config = RunConfig.load(None, ["provider.preset=simulator", "provider.base_url=http://127.0.0.1:8080/"])
    found = connection_without_key(config)
    assert found.history_url == "http://127.0.0.1:8080/inference-request"
    assert found.upload_url == "http://127.0.0.1:8080/upload-asset"
    assert found.allow_private_hosts
    assert found.api_key == ""


def test_an_address_that_nobody_names_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"provider\.base_url is not set"):
        connection_without_key(RunConfig.load(None, ["provider.preset=simulator"]))


def test_a_key_of_another_service_is_sent_nowhere_and_its_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    file = tmp_path / "key"
    file.write_text("r8_somebody-elses-key")
    config = RunConfig.load(None, [f"provider.api_key_file='{file}'"])
    with pytest.raises(AccountError) as refusal:
        key_for(config, describe(config))
    assert str(refusal.value).startswith(f"what the file {file} holds does not look like a key of segmind")
    assert "r8_" not in str(refusal.value)
