"""No text in a cell is a formula, and every text can be had back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.console.spreadsheet import FORMULA_STARTS, inert


@pytest.mark.parametrize(
    "text", ["=1+1", "+49 170", "-", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "-1\n", "+1e", "-inf"]
)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=b", "-1", "+49170", "-.5", "-1.", "-1.5e-3", "1-2", "'tis", "'", " =1", "é"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


@given(st.text(alphabet="'=+-@\t\r\n1.e a"))
def test_every_text_is_harmless_and_can_be_had_back(text: str) -> None:
    cell = inert(text)
    assert not cell.startswith(FORMULA_STARTS) or float(cell) is not None
    assert (cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell) == text
