from __future__ import annotations

import pytest

from engine.simulator.inputs import refused_input

AVATAR = "kling-v1-pro-ai-avatar"
GOOD: dict[str, object] = {"image_url": "https://example.com/a.png", "audio_url": "http://example.com/a.mp3"}


def test_two_public_urls_are_enough_for_an_avatar() -> None:
    assert refused_input(AVATAR, GOOD) is None


@pytest.mark.parametrize("name", ["image_url", "audio_url"])
@pytest.mark.parametrize(
    "value", [None, "", "ftp://example.com/a", "/a.png", "data:image/png;base64,AA", 7, "http://["]
)
def test_an_avatar_input_that_is_no_public_url_is_refused_by_name(name: str, value: object) -> None:
    assert name in (refused_input(AVATAR, {**GOOD, name: value}) or "")


def test_another_model_needs_no_url_but_checks_those_it_gets() -> None:
    assert refused_input("seedream-4.5", {"prompt": "x"}) is None
    assert refused_input("seedream-4.5", {"prompt": "x", "style_url": "file:///etc/passwd"}) is not None
