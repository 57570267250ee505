"""The tests bite: each known-bad variant of the engine turns the test that it names red."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.sabotage.harness import ROOT, apply, copy_tree, imported_from, try_out
from tests.sabotage.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_known_bad_variant_is_caught(variant: Variant, tmp_path: Path) -> None:
    copy = copy_tree(tmp_path)
    apply(variant, copy)
    outcome = try_out(copy, variant.test)
    assert outcome.caught, outcome.said


def test_the_engine_in_the_copy_is_the_one_that_is_tested(tmp_path: Path) -> None:
    copy = copy_tree(tmp_path)
    assert imported_from(copy) == copy / "engine" / "__init__.py"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_named_test_exists(variant: Variant) -> None:
    path, _, name = variant.test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not name or name in tests
