"""The layers point one way; read from the import graph, not from anybody's memory.

An import under ``TYPE_CHECKING`` names a type and brings nothing with it, so it does not count at run time.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(engine.__file__).parent
WORDS = (
    "engine.errors",
    "engine.clock",
    "engine.backoff",
    "engine.epoch",
    "engine.loopback",
    "engine.estimate",
    "engine.toml_tables",
    "engine.store_url",
    "engine.settings",
    "engine.config",
)
DISK = "engine.disk"
RECORDS = ("engine.ledger", "engine.intake", "engine.output")
NETWORK = ("engine.provider", "engine.media")


class Import(NamedTuple):
    """One module imports another, as a whole or a name of it; ``lazy`` inside a function."""

    importer: str
    imported: str
    lazy: bool


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the engine by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("engine", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@cache
def imports() -> list[Import]:
    """Every import that happens at run time."""
    return [found for name, tree in sources().items() for found in _imports_in(tree, name, lazy=False)]


def _imports_in(node: ast.AST, name: str, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for other in child.orelse:
                    yield from _imports_in(other, name, lazy=lazy)
            case ast.Import(names=aliases):
                yield from (Import(name, alias.name, lazy) for alias in aliases)
            case ast.ImportFrom(module=str() as module, names=aliases, level=0):
                yield from (Import(name, _module(module, alias.name), lazy) for alias in aliases)
            case ast.ImportFrom():
                raise AssertionError(f"{name} has a relative import")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports_in(child, name, lazy=True)
            case _:
                yield from _imports_in(child, name, lazy=lazy)


def _module(module: str, name: str) -> str:
    """Return the module that ``from module import name`` brings in: a submodule, or the module itself."""
    return f"{module}.{name}" if f"{module}.{name}" in sources() else module


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offences(
    importers: tuple[str, ...], banned: tuple[str, ...], *, but: frozenset[tuple[str, str]] = frozenset()
) -> list[str]:
    return [
        f"{found.importer} imports {found.imported}"
        for found in imports()
        if within(found.importer, *importers)
        and within(found.imported, *banned)
        and (found.importer, found.imported) not in but
    ]


def calls(name: str, *, under: tuple[str, ...]) -> list[str]:
    return [
        f"{module}:{node.lineno}"
        for module, tree in sources().items()
        if within(module, *under)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_there_is_something_to_look_at() -> None:
    assert len(sources()) > 50
    assert Import("engine.ledger.ledger", "engine.ledger.schema", lazy=False) in imports()


def test_words_know_no_event_loop_no_network_no_database_and_open_no_files() -> None:
    words = (*WORDS, "engine.job")
    assert offences(words, ("aiohttp", "sqlite3", "structlog", "aiofiles", "rich", "click")) == []
    assert offences(words, ("asyncio",), but=frozenset({("engine.clock", "asyncio")})) == []
    assert calls("open", under=words) == []


def test_words_know_no_other_layer() -> None:
    others = tuple(name for name in sources() if not within(name, *WORDS, "engine.job") and name != "engine")
    assert offences((*WORDS, "engine.job"), others) == []


def test_the_disk_knows_only_words() -> None:
    allowed = (*WORDS, DISK, "engine.refusals")
    others = tuple(name for name in sources() if not within(name, *allowed) and name != "engine")
    assert offences((DISK,), (*others, "sqlite3", "aiohttp", "aiolimiter", "yarl", "ssl")) == []


def test_what_is_recorded_knows_no_network() -> None:
    assert offences(RECORDS, ("aiohttp", "aiolimiter", "yarl", "ssl", *NETWORK)) == []


def test_the_ledger_knows_neither_where_lines_come_from_nor_where_results_go() -> None:
    assert offences(("engine.ledger",), ("engine.intake", "engine.output")) == []
    assert offences(("engine.intake",), ("engine.output",)) == []
    assert offences(("engine.output",), ("engine.intake",)) == []


def test_the_network_knows_no_ledger_but_how_bytes_are_made_durable() -> None:
    found = offences(NETWORK, (DISK, *RECORDS, "sqlite3"))
    assert [line for line in found if not line.endswith(" imports engine.disk.durable")] == []
    assert offences(("engine.provider",), (DISK, *RECORDS, "engine.media")) == []


def test_only_the_files_that_speak_http_import_aiohttp() -> None:
    # The last one is a server: what a monitor reads must be said by the loop whose life it is the sign of.
    servers = ("engine.console.metrics", "engine.console.dashboard", "engine.simulator")
    speakers = ("engine.provider.exchange", "engine.media", *servers)
    assert [line for line in offences(("engine",), ("aiohttp",)) if not within(line.split()[0], *speakers)] == []


def test_decisions_and_moving_parts_know_no_http_no_sql_and_no_whole_run() -> None:
    above = ("engine.console", "engine.run.run", "engine.connection", "engine.run.summary", "engine.simulator")
    assert offences(("engine.scheduling",), ("aiohttp", "sqlite3", "structlog", "rich", "click", *above)) == []


def test_only_the_console_draws_and_parses() -> None:
    found = offences(("engine",), ("click", "rich"))
    assert [line for line in found if not within(line.split()[0], "engine.console")] == []


def test_only_the_file_that_writes_parquet_needs_pyarrow() -> None:
    found = [made for made in imports() if within(made.imported, "pyarrow")]
    assert {made.importer for made in found} == {"engine.console.export.parquet"}
    assert all(made.lazy for made in found)  # an extra, which few have


def test_only_the_file_that_speaks_to_object_stores_needs_obstore() -> None:
    found = [made for made in imports() if within(made.imported, "obstore")]
    assert {made.importer for made in found} == {"engine.media.objects.store"}
    assert all(made.lazy for made in found)  # an extra, which few have


def test_only_the_bridge_to_a_fleet_needs_ray_and_nobody_imports_the_bridge() -> None:
    assert {made.importer for made in imports() if within(made.imported, "ray")} == {"engine.fleet.bridge"}
    assert offences(("engine",), ("engine.fleet.bridge",)) == []


def test_a_fleet_knows_no_job_no_money_and_no_request() -> None:
    above = ("engine.scheduling", "engine.provider", "engine.run.run", "engine.console", "sqlite3", "aiohttp")
    found = offences(("engine.fleet",), (*above, DISK, *RECORDS))
    assert [line for line in found if not line.endswith(" imports engine.disk.durable")] == []


def test_nobody_below_the_console_knows_it() -> None:
    found = offences(("engine",), ("engine.console",))
    assert [line for line in found if not within(line.split()[0], "engine.console", "engine.__main__")] == []


def test_the_simulator_shares_nothing_with_the_rest() -> None:
    rest = tuple(name for name in sources() if not within(name, "engine.simulator") and name != "engine")
    assert offences(("engine.simulator",), rest) == []


def test_only_the_connection_and_the_console_start_the_simulator() -> None:
    found = offences(("engine",), ("engine.simulator",))
    allowed = ("engine.simulator", "engine.connection", "engine.console")
    assert [line for line in found if not within(line.split()[0], *allowed)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for found in imports():
        if not found.lazy and found.imported in sources() and found.imported != found.importer:
            graph[found.importer].add(found.imported)
    done: set[str] = set()
    for start in sorted(graph):
        assert (circle := _circle(graph, start, [], done)) == [], " -> ".join(circle)


def _circle(graph: dict[str, set[str]], module: str, path: list[str], done: set[str]) -> list[str]:
    if module in path:
        return [*path[path.index(module) :], module]
    if module in done:
        return []
    for imported in sorted(graph[module]):
        if circle := _circle(graph, imported, [*path, module], done):
            return circle
    done.add(module)
    return []


@pytest.mark.parametrize("banned", ["os.fsync", "os.fdatasync", "os.replace", "os.rename"])
def test_durability_lives_in_one_file(banned: str) -> None:
    module, name = banned.split(".")
    found = [
        importer
        for importer, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == name
        if isinstance(node.value, ast.Name) and node.value.id == module
    ]
    outside = {importer for importer in found if not within(importer, "engine.disk.durable", "engine.simulator")}
    assert outside == set()
