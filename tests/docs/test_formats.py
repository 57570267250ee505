"""FORMATS.md says what the code does: its tables name all that the code has, and nothing else.

What the code has is read from the code: structs, an empty ledger, the click commands, and the literals in the source.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import click
import pytest

from engine import __version__
from engine.audit.audit import Audit, encode
from engine.audit.findings import REMEDIES, Finding, Remedy
from engine.config import describe_keys
from engine.console.cli import engine as command_line
from engine.console.hooks import Ending, variables
from engine.console.metrics import RunCollector, health
from engine.console.plan_command import PLAN_VERSION
from engine.console.report.figures import REPORT_VERSION, Report
from engine.console.report.job_rows import JobRow
from engine.console.report.timeline import Bucket
from engine.console.simulate_command import _announce
from engine.console.status_command import STATUS_VERSION, _json
from engine.console.verify_command import VERIFY_VERSION
from engine.disk.run_dir import RunDir
from engine.doctor.check import DOCTOR_VERSION, Examination, as_record, ok
from engine.errors import ExitCode
from engine.job.job_line import _BESIDE_BODY, _BESIDE_PARAMS
from engine.job.records import FAILURE_KINDS, JobError, ResultLine, StoredFile, Timings
from engine.job.states import State
from engine.ledger import schema
from engine.ledger.job_history import Event, JobEntry
from engine.ledger.ledger import OutputMark
from engine.ledger.new_lines import SpoolMark
from engine.ledger.survey import Cause, Survey, survey
from engine.ledger.vitals import vitals
from engine.media.failures import FailureKind
from engine.output.result_table import FIXED, NAMES_MAX, Kind
from engine.planning.plan import InvalidLine, ModelPlan, Plan
from engine.provider import contract
from engine.provider.description import ProviderDescription, _ModelTable, _ParameterTable
from engine.run.control_journal import Standing
from engine.run.summary import SUMMARY_VERSION, summarise
from engine.scheduling.stop import Stop
from engine.scheduling.tally import Tally
from tests.views import a_view

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    import msgspec

ROOT = Path(__file__).parents[2]
FORMATS = (ROOT / "engine" / "FORMATS.md").read_text()
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "engine/ARCHITECTURE.md", ROOT / "engine/FORMATS.md")
    if path.exists()
]
# A URL that has expired, that cannot be reached, or that refuses the key decides nothing about the job by itself.
FAILURES_OF_NO_JOB = {"url_gone", "unauthorized", "unreachable"}
LOG_METHODS = {"debug", "info", "warning", "error"}


def section(title: str) -> str:
    """Return what stands under the heading ``title``, up to the next heading of its level or above."""
    match = re.search(rf"^(#+) {re.escape(title)}$", FORMATS, re.MULTILINE)
    assert match, f"FORMATS.md has no section {title!r}"
    rest = FORMATS[match.end() :]
    following = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def rows(title: str, head: str) -> list[list[str]]:
    """Return the rows of the table in section ``title`` whose first column is called ``head``."""
    found: list[list[str]] = []
    inside = False
    for line in section(title).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == head:
            inside = True
        elif inside and not set(cells[0]) <= set("-: "):
            found.append(cells)
    assert found, f"section {title!r} of FORMATS.md has no table that begins with {head!r}"
    return found


def names(title: str, head: str) -> list[str]:
    """Return the names in the first column of a table."""
    return [name for cells in rows(title, head) for name in (re.findall(r"`([^`]+)`", cells[0]) or [cells[0]])]


@cache
def calls() -> list[ast.Call]:
    """Return every call in the engine's source, the simulator's left out."""
    found: list[ast.Call] = []
    for path in sorted((ROOT / "engine").rglob("*.py")):
        if "simulator" not in path.relative_to(ROOT / "engine").parts:
            found += [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return found


def called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def words(node: ast.expr | None) -> set[str]:
    """Return the texts that an expression can be, as far as it shows them."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=orelse):
            return words(body) | words(orelse)
        case _:
            return set()


def argument(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    by_name = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    if by_name is None and position is not None and len(call.args) > position:
        return call.args[position]
    return by_name


def error_kinds() -> set[str]:
    """Return every kind of a job's error that the source names."""
    kinds = set(get_args(FailureKind)) - FAILURES_OF_NO_JOB
    for call in calls():
        if called(call) == "LineError":
            kinds |= words(argument(call, "kind", 0))
        elif called(call) != "Stop":
            kinds |= words(argument(call, "kind"))
    for path in (ROOT / "engine" / "scheduling").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Assign(targets=[ast.Name(id="kind")], value=value):
                    kinds |= words(value)
                case _:
                    pass
    return kinds


def events() -> dict[str, set[str]]:
    """Return every event that the source logs, with its fields."""
    found: dict[str, set[str]] = {}
    for call in calls():
        match call.func:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=method):
                pass
            case _:
                continue
        if method in LOG_METHODS and owner.strip("_").endswith(("log", "logger")):
            for event in words(call.args[0]):
                found.setdefault(event, set()).update(keyword.arg or "" for keyword in call.keywords)
    return found


def commands() -> dict[str, click.Command]:
    """Return every command by its words; those of a group follow it."""
    found: dict[str, click.Command] = {"engine": command_line}
    for name, command in command_line.commands.items():
        found[f"engine {name}"] = command
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"engine {name} {word}": one for word, one in inner.items()}
    return found


def flags(command: click.Command) -> set[str]:
    return {flag for option in command.params if isinstance(option, click.Option) for flag in option.opts}


def difference(documented: Iterable[str], real: Iterable[str]) -> dict[str, list[str]]:
    """Return what differs between a table and the code; empty if nothing does."""
    listed, real = list(documented), set(real)
    twice = {name for name in listed if listed.count(name) > 1}
    found = {"missing": real - set(listed), "not in the code": set(listed) - real, "twice": twice}
    return {what: sorted(which) for what, which in found.items() if which}


def agree(documented: Iterable[str], real: Iterable[str]) -> None:
    """Fail with all that is to be written into a table or to be removed from it."""
    found = difference(documented, real)
    assert not found, f"FORMATS.md and the code differ: {found}"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = schema.open_for_writing(tmp_path / "run.db")
    yield db
    db.close()


def test_a_difference_is_told_in_both_directions_and_repetitions_too() -> None:
    assert difference(["a", "b", "b"], {"b", "c"}) == {"missing": ["c"], "not in the code": ["a"], "twice": ["b"]}
    assert difference(["a"], {"a"}) == {}


def test_the_source_is_searched_where_its_names_are() -> None:
    assert {"rejected", "unknown_outcome", "bad_line", "expired"} <= error_kinds()
    assert events()["submitted"] >= {"id", "request_id", "attempt"}


@pytest.mark.parametrize(
    ("head", "record"),
    [("field", ResultLine), ("file field", StoredFile), ("error field", JobError), ("timing field", Timings)],
)
def test_the_fields_of_a_result_line_are_described_in_their_order(head: str, record: type[msgspec.Struct]) -> None:
    assert names("Result lines", head) == list(record.__struct_fields__)


def test_the_keys_of_a_job_line_are_described() -> None:
    agree(names("Job lines", "key"), _BESIDE_PARAMS | _BESIDE_BODY)


def test_every_error_kind_is_described() -> None:
    agree(names("Error kinds", "kind"), error_kinds())
    agree(FAILURE_KINDS, error_kinds() - {"bad_line", "bad_params", "duplicate_id"})


def test_every_failure_of_a_download_is_described() -> None:
    agree(names("Error kinds", "download failure"), set(get_args(FailureKind)))


def test_every_state_is_described() -> None:
    agree(names("States", "state"), set(State))


def test_every_table_and_column_of_the_ledger_is_described(ledger: sqlite3.Connection) -> None:
    tables = {name for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    agree(re.findall(r"^### Table `(\w+)`$", FORMATS, re.MULTILINE), tables)
    for table in sorted(tables):
        columns = {(name, kind) for _, name, kind, *_ in ledger.execute(f"PRAGMA table_info({table})")}
        documented = [(cells[0].strip("`"), cells[1]) for cells in rows(f"Table `{table}`", "column")]
        assert sorted(documented) == sorted(columns), table


def test_every_fact_about_the_run_is_described() -> None:
    facts = {f"input_{name}" for name in SpoolMark._fields} | {f"output_{name}" for name in OutputMark._fields}
    for call in calls():
        if called(call) in {"note", "_note"}:
            facts |= {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            for node in call.args:
                if isinstance(node, ast.Dict):
                    facts = facts.union(*(words(key) for key in node.keys))
    agree(names("Table `meta`", "meta key"), facts)


def test_every_event_of_the_log_is_described_with_its_fields() -> None:
    found = events()
    documented = {cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[2])) for cells in rows("The log", "event")}
    agree(list(documented), {*found, "log_lines_dropped"})
    assert {event: fields - documented[event] for event, fields in found.items() if fields - documented[event]} == {}


def test_every_kind_of_stop_is_described() -> None:
    kinds = {kind for call in calls() if called(call) == "Stop" for kind in words(argument(call, "kind", 0))}
    agree(names("Kinds of stop", "stop"), kinds)


def test_the_keys_of_the_summary_are_described(ledger: sqlite3.Connection) -> None:
    stop = Stop("interrupted", "stopped by SIGINT", ExitCode.INTERRUPTED)
    record = summarise(survey(ledger), Tally(), stop, wall_s=1.0)
    own = set(record) - set(Survey.__struct_fields__)
    agree(names("The summary", "key"), own)
    agree(names("The summary", "stopped key"), set(record["stopped"]))
    agree(names("The summary", "process key"), set(record["process"]))


def test_the_keys_of_the_survey_are_described() -> None:
    agree(names("The survey", "survey key"), set(Survey.__struct_fields__))
    agree(names("The survey", "cause key"), set(Cause.__struct_fields__))


def test_the_keys_of_the_status_are_described(ledger: sqlite3.Connection) -> None:
    found = survey(ledger)
    measured = vitals(ledger, found, now_utc=0.0)
    record: dict[str, Any] = json.loads(_json(found, measured, Standing(), None, "process 1"))
    own = set(record) - set(Survey.__struct_fields__)
    agree(names("The status", "status key"), own)
    agree(names("The status", "vitals key"), set(record["vitals"]))
    agree(names("The status", "control key"), set(record["control"]))
    agree(names("The status", "job key"), JobEntry.__struct_fields__)
    agree(names("The status", "event key"), Event.__struct_fields__)


def test_the_keys_of_the_plan_are_described() -> None:
    agree(names("The plan", "plan key"), {"version", "balance_usd", *Plan.__struct_fields__})
    agree(names("The plan", "invalid line key"), InvalidLine.__struct_fields__)
    agree(names("The plan", "model plan key"), ModelPlan.__struct_fields__)


def test_the_keys_and_findings_of_the_verification_are_described() -> None:
    record = json.loads(encode(Audit(lines=0, files=0, bytes=0, quick=False, findings=()), version=VERIFY_VERSION))
    agree(names("The verification", "verify key"), record)
    agree(names("The verification", "finding key"), {*Finding.__struct_fields__, "remedy"})
    table = {cells[0].strip("`"): cells[2].strip("`") for cells in rows("The verification", "finding")}
    assert table == {kind.value: remedy.value for kind, remedy in REMEDIES.items()}
    agree(names("The verification", "remedy"), {remedy.value for remedy in Remedy})


def test_every_metric_is_described() -> None:
    run: Any = SimpleNamespace(tally=Tally(), stop=None, view=a_view, fleet="")
    suffix = {"counter": "_total", "info": "_info"}
    agree(names("Metrics", "metric"), {f.name + suffix.get(f.type, "") for f in RunCollector(run).collect()})
    agree(names("Metrics", "health key"), json.loads(health(run)))


def test_every_variable_of_a_command_after_a_run_is_described() -> None:
    ending = Ending(
        directory=RunDir(Path("r")),
        exit_code=0,
        found=None,
        output=None,
        summarised=False,
        stopped_kind="",
        stopped_message="",
    )
    agree(names("Commands after a run", "variable"), variables(ending, event="stop"))


def test_the_keys_of_the_examination_are_described() -> None:
    record = as_record(Examination(checks=(ok("key", ""),), history_shape=None))
    agree(names("The examination", "doctor key"), record)
    agree(names("The examination", "check key"), record["checks"][0])


def test_the_keys_of_the_report_are_described() -> None:
    agree(names("The report", "report key"), (*Report.__struct_fields__, "jobs"))
    agree(names("The report", "step key"), Bucket.__struct_fields__)
    agree(names("The report", "reported job key"), JobRow.__struct_fields__)


def test_the_columns_of_the_export_are_described_in_their_order() -> None:
    kinds = {Kind.TEXT: "text", Kind.INTEGER: "integer", Kind.NUMBER: "number", Kind.TIME: "time"}
    documented = [(cells[0].strip("`"), cells[1]) for cells in rows("The export", "export column")]
    assert documented == [(column.name, kinds[column.kind]) for column in FIXED]
    assert f"{NAMES_MAX:,} different names" in section("The export")


def test_the_versions_are_those_of_the_code() -> None:
    documented = {cells[0].strip("`"): int(cells[1]) for cells in rows("Versions", "format")}
    assert documented == {
        "ledger": schema.SCHEMA_VERSION,
        "summary.json": SUMMARY_VERSION,
        "status --json": STATUS_VERSION,
        "plan --json": PLAN_VERSION,
        "verify --json": VERIFY_VERSION,
        "doctor --json": DOCTOR_VERSION,
        "report --format json": REPORT_VERSION,
    }
    assert f"{schema.APPLICATION_ID:#X}".replace("X", "x") in section("The ledger")


def test_every_file_of_the_run_directory_is_shown() -> None:
    paths = [path for path in vars(RunDir(Path("jobs.run"))).values() if path != Path("jobs.run")]
    shown = re.findall(r"^[├└]── ([\w.]+)", section("The run directory"), re.MULTILINE)
    agree(shown, {path.name for path in paths})


def test_every_exit_code_is_described() -> None:
    documented = [(int(cells[0]), cells[1]) for cells in rows("Exit codes", "code")]
    assert documented == [(int(code), code.name) for code in ExitCode]


def test_every_command_is_described() -> None:
    titles = re.findall(r"^### `(engine[ \w-]*)`$", section("Command line"), re.MULTILINE)
    agree(titles, set(commands()))


@pytest.mark.parametrize("name", commands())
def test_every_flag_and_argument_of_a_command_is_described(name: str) -> None:
    command = commands()[name]
    if not isinstance(command, click.Group) or flags(command):
        documented = [flag for flag in names(f"`{name}`", "flag") if flag.startswith("-") and flag != "-"]
        agree(documented, flags(command))
    context = click.Context(command)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert parameter.make_metavar(context) in section(f"`{name}`")


def test_no_document_names_a_flag_that_does_not_exist() -> None:
    known = {"--help"}.union(*(flags(command) for command in commands().values()))
    for path in DOCUMENTS:
        # The harness, pytest, ruff and Ray have flags of their own.
        others = r"`[^`]*(?:-m tests\.|pytest|ruff )[^`]*`|`ray [^`]*`|^ray start .*$"
        own = re.sub(others, "", path.read_text(), flags=re.MULTILINE)
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own))
        assert sorted(named - known) == [], path.name


def test_every_key_of_the_configuration_is_described_with_its_values_and_its_default() -> None:
    real = {
        key: (allowed, "none" if default is None else f"`{json.dumps(default)}`")
        for key, allowed, default, _ in describe_keys()
    }
    documented = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows("Configuration", "key")}
    agree(names("Configuration", "key"), set(real))
    assert {key: real[key] for key in real if documented[key] != real[key]} == {}
    assert all(len(cells) == 4 and cells[3] for cells in rows("Configuration", "key"))


def test_no_document_names_a_key_of_the_configuration_that_does_not_exist() -> None:
    keys = {described.key for described in describe_keys()}
    sections = {key.partition(".")[0] for key in keys} - {"simulator", "providers"}  # tables whose keys are free
    for path in DOCUMENTS:
        named = {
            word
            for word in re.findall(r"(?<![\w./-])([a-z]+\.[a-z_]+)(?![\w/(-]|\.\w)", path.read_text())
            if word.partition(".")[0] in sections and not word.endswith((".py", ".md", ".toml"))
        }
        assert sorted(named - keys) == [], path.name


@pytest.mark.parametrize(
    ("head", "table"),
    [
        ("description key", ProviderDescription),
        ("auth key", contract.AuthTable),
        ("submit key", contract.SubmitTable),
        ("status key", contract.StatusTable),
        ("result key", contract.ResultTable),
        ("metrics key", contract.MetricsTable),
        ("credits key", contract.CreditsTable),
        ("model key", _ModelTable),
        ("parameter key", _ParameterTable),
    ],
)
def test_every_key_of_a_provider_description_is_described(head: str, table: type[msgspec.Struct]) -> None:
    agree(names("Provider descriptions", head), set(table.__struct_fields__))


def test_the_line_that_the_simulator_prints_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    class Addresses:
        base_url = history_url = media_url = "http://127.0.0.1:1"

    _announce(Addresses(), "calm")  # type: ignore[arg-type]
    printed = json.loads(capsys.readouterr().out)
    agree(names("`engine simulate`", "simulate key"), set(printed))


def test_the_changelog_has_the_present_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
