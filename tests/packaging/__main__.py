"""Try what is shipped: ``python -m tests.packaging [--python PYTHON] [--versions lowest|locked|newest] [WORDS ...]``.

Builds the wheel, installs it into a fresh environment of that Python with the lowest versions that its metadata allow,
with those of the lock file or with the newest, and runs the tests against what is installed: the sources are not there.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BESIDE = ("tests", "configs", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "requirements.lock")
OF_THE_SOURCES = ("docs", "packaging", "sabotage", "simulator", "test_layers.py")
"""Tests that read the sources, or hold the simulator to them."""
LOWEST = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?:\[[a-z]+\])?>=(?P<version>[0-9.]+)")


def main() -> None:
    """Build, install, test; ends with pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install into")
    parser.add_argument("--versions", choices=("lowest", "locked", "newest"), default="newest")
    parser.add_argument("words", nargs="*", help="for pytest; by default every test that needs no sources")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engine-wheel-") as room:
        place = Path(room)
        run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", room, cwd=REPOSITORY)
        (wheel,) = place.glob("*.whl")
        run(asked.python, "-m", "venv", "environment", cwd=place)
        python = place / "environment" / "bin" / "python"
        constraints = constraints_of(asked.versions, place)
        run(python, "-m", "pip", "install", "-q", *constraints, f"{wheel}[test]", cwd=place)
        for name in BESIDE:
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
            copy(REPOSITORY / name, place / name)
        run(python, "-c", "import engine, sys; print(sys.version.split()[0], engine.__file__)", cwd=place)
        listed = run(python, "-m", "pip", "list", "--format=freeze", cwd=place, quiet=True)
        print(
            "with", ", ".join(line for line in listed.split() if line.partition("==")[0] in dependencies()), flush=True
        )
        words = asked.words or [f"--ignore=tests/{name}" for name in OF_THE_SOURCES]
        sys.exit(subprocess.run([python, "-m", "pytest", "-q", *words], cwd=place, check=False).returncode)


def constraints_of(versions: str, place: Path) -> list[str]:
    """Return pip's words for the versions that are asked for."""
    if versions == "newest":
        return []
    if versions == "locked":
        return ["-c", str(REPOSITORY / "requirements.lock")]
    file = place / "lowest.txt"
    file.write_text("".join(f"{name}=={version}\n" for name, version in dependencies().items()))
    return ["-c", str(file)]


def dependencies() -> dict[str, str]:
    """Return the lowest version of each thing that the engine cannot do without."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    found = [LOWEST.match(requirement) for requirement in project["dependencies"]]
    return {match["name"]: match["version"] for match in found if match is not None}


def run(*command: str | Path, cwd: Path, quiet: bool = False) -> str:
    """Run a command to its end, and return what it wrote to stdout."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, check=True, stdout=subprocess.PIPE, text=True)
    if not quiet:
        print(done.stdout, end="", flush=True)
    return done.stdout


if __name__ == "__main__":
    main()
