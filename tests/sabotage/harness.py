"""Apply a variant to a copy of the tree and see whether its test notices.

The named test must *fail*: by an assertion, or by an error that the engine raises on purpose. A copy that cannot be
imported, a test that cannot be found, and an edit that only breaks the code (a name that is not defined, a call that
does not fit) prove nothing about the test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sabotage.variant import Variant

ROOT = Path(__file__).parents[2]
TEST_S_MAX = 110.0
SEED = "0"
"""A variant must be caught for certain, not by the luck of a draw."""

TESTS_FAILED = 1
"""pytest's exit code for failed tests, as opposed to its own errors, a wrong call and no test at all."""

_MERELY_BROKEN = re.compile(
    r"\b(NameError|UnboundLocalError|AttributeError|TypeError|ImportError|ModuleNotFoundError|SyntaxError)\b"
)


class StaleVariantError(AssertionError):
    """The text that a variant replaces no longer stands in its file, or stands there more than once."""


class Outcome(NamedTuple):
    """How tests ended: pytest's exit code, why each failed test failed, the tests that passed, and what was said."""

    exit_code: int
    failed: dict[str, str]
    passed: frozenset[str]
    said: str
    wall_s: float

    def is_green(self, tests: Sequence[str]) -> bool:
        """Tell whether all of ``tests`` ran and nothing failed."""
        return self.exit_code == 0 and self.passed >= set(tests)

    def catches(self, test: str) -> bool:
        """Tell whether ``test`` failed, for a reason that says something."""
        reason = self.failed.get(test)
        return self.exit_code == TESTS_FAILED and reason is not None and not _MERELY_BROKEN.search(reason)


def copy_tree(directory: Path) -> Path:
    """Copy what a test run needs into ``directory``; return where it is."""
    copy = directory / "tree"
    for name in ("engine", "tests", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def sabotaged(variant: Variant, root: Path) -> str:
    """Return what a variant makes of its file in the tree at ``root``.

    Raises:
        StaleVariantError: the table no longer fits the code.
    """
    source = (root / variant.file).read_text()
    if (times := source.count(variant.text)) != 1:
        raise StaleVariantError(f"{variant.name}: its text stands {times} times in {variant.file}: {variant.text!r}")
    return source.replace(variant.text, variant.instead)


def apply(variant: Variant, copy: Path) -> None:
    """Put the sabotage into the copy."""
    (copy / variant.file).write_text(sabotaged(variant, copy))


def try_out(copy: Path, tests: Sequence[str]) -> Outcome:
    """Run tests in the copy, in a process of their own, up to the first that fails."""
    began = time.perf_counter()
    report = copy / "report.xml"
    options = ("-q", "-n0", "-x", "-p", "no:cacheprovider", "-p", "tests.sabotage.here", "--seed", SEED)
    command = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *tests]
    done = subprocess.run(
        command, cwd=copy, env=_environment(copy), capture_output=True, text=True, timeout=TEST_S_MAX, check=False
    )
    passed, failed = _read(report) if report.exists() else (frozenset[str](), dict[str, str]())
    said = (done.stdout + done.stderr)[-2_000:]
    return Outcome(done.returncode, failed, passed, said, time.perf_counter() - began)


def _environment(copy: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


def _read(report: Path) -> tuple[frozenset[str], dict[str, str]]:
    """Return which tests passed and why others failed; errors of set-up, tear-down and collection are neither."""
    passed, failed = set[str](), dict[str, str]()
    for case in ET.parse(report).getroot().iter("testcase"):
        test = _named(case)
        failure = case.find("failure")
        if failure is not None:
            failed[test] = f"{failure.get('message', '')}\n{failure.text or ''}"
        elif len(case) == 0:
            passed.add(test)
    return frozenset(passed), failed


def _named(case: ET.Element) -> str:
    """Return a test's name as the table writes it: its file, its class where it has one, without its parameters."""
    names = case.get("classname", "").split(".")
    depth = next((depth for depth, name in enumerate(names, 1) if name.startswith("test_")), len(names))
    name, _, _ = case.get("name", "").partition("[")
    return "::".join(("/".join(names[:depth]) + ".py", *names[depth:], name))
