"""Apply a variant to a copy of the tree and see whether its test notices.

The test must *fail*, by one of its own assertions or by what the sabotaged code raised in it; a copy that cannot be
imported, or a test that cannot be found, proves nothing and is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.sabotage.variants import Variant

ROOT = Path(__file__).parents[2]
TEST_S_MAX = 110.0


class Outcome(NamedTuple):
    """What became of a variant: whether its test failed, what pytest said, and how long it took."""

    caught: bool
    said: str
    wall_s: float


def copy_tree(directory: Path) -> Path:
    """Copy what a test run needs into ``directory``; return where it is."""
    copy = directory / "tree"
    for name in ("engine", "tests", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def apply(variant: Variant, copy: Path) -> None:
    """Put the sabotage into the copy."""
    path = copy / variant.file
    source = path.read_text()
    assert source.count(variant.text) == 1, f"{variant.name}: its text stands {source.count(variant.text)} times"
    path.write_text(source.replace(variant.text, variant.instead))


def try_out(copy: Path, test: str) -> Outcome:
    """Run one test in the copy, which must be the engine that is imported there."""
    began = time.perf_counter()
    report = copy / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", f"--junitxml={report}", test]
    done = subprocess.run(
        command, cwd=copy, env=_environment(copy), capture_output=True, text=True, timeout=TEST_S_MAX, check=False
    )
    return Outcome(done.returncode == 1 and _failures(report) > 0, done.stdout[-2_000:], time.perf_counter() - began)


def imported_from(copy: Path) -> Path:
    """Return where the engine comes from in the copy."""
    command = [sys.executable, "-c", "import engine; print(engine.__file__)"]
    done = subprocess.run(command, cwd=copy, env=_environment(copy), capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def _environment(copy: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


def _failures(report: Path) -> int:
    if not report.exists():
        return 0
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    return int(suite.attrib["failures"])
