"""The key is found in two places and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import AccountError, ExitCode
from engine.provider.api_key import FoundKey, find_api_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = "SG_00112233445566ff"


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("SG_ffffffffffffffff")
    assert find_api_key("K", file, environ={"K": KEY}) == FoundKey(KEY, "the environment variable K")
    assert find_api_key("K", file, environ={"K": "  "}) == FoundKey("SG_ffffffffffffffff", f"the file {file}")


def test_white_space_around_a_key_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"\n {KEY}\r\n")
    assert find_api_key("K", file, environ={}).key == KEY


def test_a_key_that_was_found_is_not_shown() -> None:
    assert KEY not in repr(find_api_key("K", None, environ={"K": KEY}))


def test_no_key_ends_with_exit_5_and_says_what_to_do() -> None:
    with pytest.raises(AccountError, match="K is not set") as refusal:
        find_api_key("K", None, environ={})
    assert refusal.value.exit_code is ExitCode.ACCOUNT
    assert "export K=" in refusal.value.hint


@pytest.mark.parametrize("value", [f"{KEY} {KEY}", f"{KEY}\n{KEY}", "SG_ключ", f"\x00{KEY}", f"{KEY}\x7f", "“SG_1”"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(AccountError) as refusal:
        find_api_key("K", None, environ={"K": value})
    assert KEY not in str(refusal.value) + refusal.value.hint


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfeS\x00G\x00", "directory"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes | str | None) -> None:
    file = tmp_path / "key"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    with pytest.raises(AccountError, match="key"):
        find_api_key("K", file, environ={})
