"""Crash runs by hand: one JSON verdict a batch, one line of totals, and exit code 1 if a promise was broken.

::

    python -m tests.crash kills --kills 1000            random kill -9
    python -m tests.crash kills --kills 100 --jobs 600 --scenario hostile --set recovery.grace_s=15
    python -m tests.crash points                        a kill at every point where something becomes durable
    python -m tests.crash points --second 20 --every 5  ... and a second one inside the recovery
    python -m tests.crash power --cuts 200              power cuts (root, Linux)
    python -m tests.crash disk                          full and failing disks (root, strace)
    python -m tests.crash naive --kills 50              the script beside the engine, under the same kills
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crash import disk, file_systems, kills, points, power, syscalls
from tests.crash.batch import Plan
from tests.crash.judge import Verdict, total
from tests.crash.naive import naive_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def main() -> None:
    """Run what the command line asks for."""
    options = _parser().parse_args()
    with contextlib.ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        clean = options.do(directory, options)
    sys.exit(0 if clean else 1)


def _report(verdicts: Iterable[Verdict], *, name: str = "total") -> Verdict:
    """Print each verdict as it comes, then their sum."""
    whole = Verdict(batches=0)
    for verdict in verdicts:
        print(verdict.as_json(), flush=True)
        whole = total((whole, verdict))
    print(f"{name}: {whole.as_json()}")
    return whole


def _plan(options: argparse.Namespace) -> Plan:
    own: Plan = options.plan
    if options.scenario:
        own = own._replace(scenario=options.scenario, scenario_settings=())
    return own._replace(
        jobs=options.jobs or own.jobs,
        copies=options.copies,
        scenario_settings=(*own.scenario_settings, *options.scenario_set),
        settings=(*own.settings, *options.settings),
    )


def _kills(directory: Path, options: argparse.Namespace) -> bool:
    return _report(kills.batches(directory, _plan(options), **_figures(options))).is_clean


def _figures(options: argparse.Namespace) -> dict[str, Any]:
    names = ("kills", "seed", "workers")
    return {"pause_s": tuple(options.pause), **{name: getattr(options, name) for name in names}}


def _points(directory: Path, options: argparse.Namespace) -> bool:
    return _report(_struck_points(directory, _plan(options), options)).is_clean


def _struck_points(directory: Path, plan: Plan, options: argparse.Namespace) -> Iterator[Verdict]:
    firsts: list[int] = []
    sweep = points.every_point(directory, plan, first=options.first, step=options.every, workers=options.workers)
    for at, verdict in zip(itertools.count(options.first, options.every), sweep, strict=False):
        yield verdict
        firsts += [at] if verdict.kills else []
    if options.second is not None:
        yield from points.second_kills(
            directory, plan, first_points=firsts, seconds_max=options.second, workers=options.workers
        )
    if not options.syscalls:
        return
    if reason := syscalls.why_not():
        print(f"kills inside SQLite are skipped: {reason}")
        return
    for call in syscalls.KILLED_CALLS:
        yield from syscalls.every_call(
            directory, plan, call, syscalls.KILL, step=options.every, workers=options.workers
        )


def _power(directory: Path, options: argparse.Namespace) -> bool:
    if reason := file_systems.why_not("mkfs.ext4"):
        print(f"skipped: {reason}")
        return True
    return _report(power.batches(directory, power.POWER_PLAN, cuts=options.cuts, seed=options.seed)).is_clean


def _disk(directory: Path, options: argparse.Namespace) -> bool:
    clean = True
    if reason := file_systems.why_not():
        print(f"full disks are skipped: {reason}")
    else:
        clean = _report(disk.full_places(directory), name="full").is_clean
    refused = disk.refused_calls(directory, Plan(), step=options.every, workers=options.workers)
    return _report(refused, name="refused").is_clean and clean


def _naive(directory: Path, options: argparse.Namespace) -> bool:
    """Compare; the verdict is the engine's."""
    plan, figures = _plan(options), _figures(options)
    _report(kills.batches(directory / "naive", plan, command_of=naive_command, **figures), name="naive")
    return _report(kills.batches(directory / "engine", plan, **figures), name="engine").is_clean


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--keep", type=Path, help="a directory to work in and keep")
    common.add_argument("--seed", type=int, default=1)
    common.add_argument("--workers", type=int, default=2, help="how many batches at once, where they can be")
    commands = parser.add_subparsers(required=True)
    for name, do in (("kills", _kills), ("points", _points), ("power", _power), ("disk", _disk), ("naive", _naive)):
        commands.add_parser(name, parents=[common]).set_defaults(do=do)
    chosen = commands.choices
    for name in ("kills", "naive"):
        chosen[name].add_argument("--kills", type=int, default=50)
        chosen[name].add_argument("--pause", type=float, nargs=2, default=kills.PAUSE_S, metavar=("MIN_S", "MAX_S"))
    for name in ("points", "disk"):
        chosen[name].add_argument("--every", type=int, default=1, help="take every nth point only")
    for name, plan in (("kills", kills.KILLS_PLAN), ("naive", kills.KILLS_PLAN), ("points", Plan())):
        _add_plan(chosen[name], plan)
    chosen["points"].add_argument("--first", type=int, default=1, help="begin at this point")
    chosen["points"].add_argument("--second", type=int, help="kill recoveries too, at so many of their points (0: all)")
    chosen["points"].add_argument("--syscalls", action="store_true", help="kill inside SQLite's commits too (strace)")
    chosen["power"].add_argument("--cuts", type=int, default=20)
    return parser


def _add_plan(parser: argparse.ArgumentParser, plan: Plan) -> None:
    parser.set_defaults(plan=plan)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--copies", type=int, default=1, help="how often each body stands in the input")
    parser.add_argument("--scenario", default="", help="another provider, as it is")
    parser.add_argument("--scenario-set", action="append", default=[])
    parser.add_argument("--set", action="append", default=[], dest="settings")


if __name__ == "__main__":
    main()
