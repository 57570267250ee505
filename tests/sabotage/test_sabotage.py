"""The tests bite: each known-bad variant of the engine turns the test that it names red."""

from __future__ import annotations

import ast
import random
from typing import TYPE_CHECKING

import pytest

from tests.sabotage.harness import ROOT, Outcome, StaleVariantError, apply, copy_tree, sabotaged, try_out
from tests.sabotage.variants import VARIANTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sabotage.variant import Variant

pytestmark = pytest.mark.processes

TRIED = 9
TEST = "tests/job/test_states.py::test_x"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try some variants in each run, chosen by its seed; ``python -m tests.sabotage`` tries all of them."""
    if "tried" in metafunc.fixturenames:
        chosen = random.Random(metafunc.config.getoption("seed")).sample(VARIANTS, TRIED)
        metafunc.parametrize("tried", chosen, ids=lambda variant: variant.name)


def test_a_known_bad_variant_is_caught(tried: Variant, tmp_path: Path) -> None:
    copy = copy_tree(tmp_path)
    apply(tried, copy)
    outcome = try_out(copy, [tried.test])
    assert outcome.catches(tried.test), outcome.said


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_text_of_a_variant_stands_in_the_engine(variant: Variant) -> None:
    assert sabotaged(variant, ROOT)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_named_test_exists(variant: Variant) -> None:
    path, *scope, name = variant.test.split("::")
    body: list[ast.stmt] = ast.parse((ROOT / path).read_text()).body
    for class_name in scope:
        (found,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == class_name)
        body = found.body
    assert name in {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_a_variant_whose_text_is_gone_is_stale() -> None:
    stale = VARIANTS[0]._replace(text="this stands nowhere in the engine")
    with pytest.raises(StaleVariantError, match="stands 0 times"):
        sabotaged(stale, ROOT)


@pytest.mark.parametrize(
    ("reason", "caught"),
    [
        ("AssertionError: assert 2 == 1", True),
        ("Failed: DID NOT RAISE <class 'StorageError'>", True),
        ("NameError: name 'fd' is not defined", False),
        ("TypeError: submit() missing 1 required argument", False),
    ],
)
def test_an_edit_that_merely_breaks_the_code_proves_nothing(reason: str, *, caught: bool) -> None:
    assert Outcome(1, {TEST: reason}, frozenset(), "", 0.0).catches(TEST) is caught
