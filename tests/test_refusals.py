"""A refusal of the system comes with what can be done about it."""

from __future__ import annotations

import errno

import pytest

from engine.refusals import refusal_hint


@pytest.mark.parametrize(
    ("number", "deed"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "the right to it"), (errno.ENOENT, "create the directory")],
)
def test_each_refusal_has_its_deed(number: int, deed: str) -> None:
    assert deed in refusal_hint(OSError(number, "no"))


@pytest.mark.parametrize("error", [OSError("no number"), OSError(errno.EXDEV, "rare")])
def test_what_nobody_foresaw_leads_to_another_place(error: OSError) -> None:
    assert refusal_hint(error) == "name another place for it"
