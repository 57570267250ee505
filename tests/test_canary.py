"""The search for the key finds it in each of its forms."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from tests.canary import forms, hits, hits_in_runs

if TYPE_CHECKING:
    from pathlib import Path

KEY = "SG_fedcba9876543210"


@pytest.mark.parametrize("form", forms(KEY))
def test_each_form_is_found_in_the_middle_of_a_file(tmp_path: Path, form: str) -> None:
    (tmp_path / "file").write_bytes(b"before " + forms(KEY)[form] + b" behind")
    assert form in {hit.form for hit in hits(tmp_path, KEY)}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "x-api-key: "])
def test_base64_of_a_text_around_it_is_found(tmp_path: Path, before: str) -> None:
    (tmp_path / "file").write_bytes(base64.b64encode(f"{before}{KEY} and more".encode()))
    assert any(hit.form.startswith("base64") for hit in hits(tmp_path, KEY))


def test_only_run_directories_are_searched_for_what_the_engine_wrote(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    run = tmp_path / "night.run"
    run.mkdir()
    (run / "run.db").write_bytes(b"")
    assert list(hits_in_runs(tmp_path, KEY)) == []
    (run / "run.log").write_text(KEY)
    assert {hit.path.name for hit in hits_in_runs(tmp_path, KEY)} == {"run.log"}
