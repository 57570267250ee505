"""The single checks: what each makes of a machine, a clock and an answer that are not as they should be."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import SystemClock
from engine.config import RunConfig
from engine.connection import Connection
from engine.doctor import check as checks
from engine.doctor import machine, places
from engine.doctor.check import Check, Examination, bounded, ok, problem, warning
from engine.doctor.service import Exchange, Service, clock_check
from engine.doctor.shape import has_records, shape_of
from engine.errors import ExitCode, StorageError
from engine.provider.description import load_description
from engine.provider.reply import NoReply, Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable

CONFIG = RunConfig.load(None, ["storage.reserve_bytes=0"])
HTTPS = ("https://api.example.com", "")
MOUNTS = r"""22 1 0:20 / / rw - ext4 /dev/sda rw
23 22 0:21 / /data rw,relatime shared:1 - nfs4 host:/x rw
24 22 0:22 / /data/with\040space rw - tmpfs tmpfs rw
"""


def service(description: str = "segmind", base_url: str = "https://api.example.com") -> Service:
    connection = Connection(
        description=load_description(description),
        base_url=base_url,
        history_url="https://history.example.com",
        upload_url="",
        api_key="SG_0123456789abcdef",
        key_place="MINE",
        default_model="kling-v1-pro-ai-avatar",
        name="",
        expected_duration_s=None,
        allow_private_hosts=False,
    )
    return Service(CONFIG, connection, clock=SystemClock(), key_error=None)


def reply(status: int, body: Any, **headers: str) -> Reply:
    return Reply(status, headers, json.dumps(body).encode())


class Client:
    """Answers every request alike."""

    def __init__(self, answer: Reply | NoReply) -> None:
        self.answer = answer

    async def get(self, _url: str) -> Reply | NoReply:
        return self.answer


@pytest.fixture
def _names_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_words: [])
    monkeypatch.setattr("engine.doctor.machine.getproxies", dict)


async def history(answer: Reply | NoReply) -> Check:
    (found,), _ = await service().history(Client(answer))  # type: ignore[arg-type]
    return found


async def account(answer: Reply | NoReply) -> dict[str, Check]:
    return {found.check: found for found in await service().account(Client(answer))}  # type: ignore[arg-type]


# --- what all checks come to ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([ok("a", "")], 0),
        ([warning("a", "", "")], 0),
        ([problem("a", "", "")], 1),
        ([problem("a", "", ""), problem("b", "", "", ExitCode.ACCOUNT)], 5),
        ([problem("b", "", "", ExitCode.ACCOUNT), problem("a", "", "", ExitCode.USAGE)], 2),
    ],
)
def test_the_exit_code_is_that_of_what_is_to_be_mended_first(found: list[Check], code: int) -> None:
    assert Examination(checks=tuple(found), history_shape=None).exit_code == code


async def test_a_check_that_hangs_is_a_problem_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECK_S_MAX", 0.05)

    async def hang() -> list[Check]:
        await asyncio.Event().wait()
        return []

    found = await bounded(("a", "b"), hang())
    assert [(check.check, check.level) for check in found] == [("a", "problem"), ("b", "problem")]
    assert "no answer within" in found[0].message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StorageError("the disk is full", hint="buy one"), "the disk is full"),
        (PermissionError(13, "Permission denied", "/there"), "/there: Permission denied"),
    ],
)
async def test_a_check_that_breaks_says_what_it_broke_on(error: Exception, message: str) -> None:
    async def fail() -> list[Check]:
        raise error

    fails: Awaitable[list[Check]] = fail()
    (found,) = await bounded(("a",), fails)
    assert (found.level, found.message) == ("problem", message)


# --- structure without values ---------------------------------------------------------------------


def test_the_structure_of_a_list_is_what_its_elements_have_in_common() -> None:
    rows = {"data": [{"id": "a", "n": 1, "o": {"x": 1.5}}, {"id": None, "n": 2, "more": [True]}], "total": 2}
    shape = {"id": "null or text", "n": "integer", "o": {"x": "number"}, "more": ["boolean"]}
    assert shape_of(rows) == {"data": [shape], "total": "integer"}


@pytest.mark.parametrize(
    "key", ["3f2a9c01deadbeef3f2a9c01deadbeef", "a person's words, at length: " * 3, "ключ", "2026"]
)
def test_a_key_that_may_be_somebodys_data_is_not_shown(key: str) -> None:
    assert shape_of({key: 1}) == {"(a key)": "integer"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "b", "request_id"]), inner),
    max_leaves=40,
)
WORDS = {"object", "array", "boolean", "integer", "number", "text", "null"}


@given(json_values)
def test_no_value_is_ever_in_the_structure(value: object) -> None:
    def words(shape: object) -> set[str]:
        if isinstance(shape, dict):
            return set().union(*map(words, shape.values())) if shape else set()
        if isinstance(shape, list):
            return set().union(*map(words, shape)) if shape else set()
        return set(str(shape).split(" or "))

    assert words(shape_of(value)) <= WORDS


def test_a_structure_has_a_bounded_depth() -> None:
    value: Any = 1
    for _ in range(10_000):
        value = [value]
    assert "array" in json.dumps(shape_of(value))
    assert not has_records(value)


# --- the provider's answers -----------------------------------------------------------------------


@pytest.mark.usefixtures("_names_resolve")
@pytest.mark.parametrize(
    ("answer", "levels"),
    [
        (reply(200, {"credits": 12.5}, Date="Thu, 01 Jan 1970 00:00:00 GMT"), ("ok", "ok", "ok", "problem")),
        (reply(200, {"credits": "nan"}), ("ok", "warning", "warning", "warning")),
        (reply(200, {"credits": 4.0, "free-credits": 0.5}), ("ok", "ok", "ok", "warning")),
        (reply(401, {"error": "no"}), ("ok", "problem", "warning", "warning")),
        (reply(429, {"error": "slow"}), ("warning", "warning", "warning", "warning")),
        (reply(503, {}), ("problem", "warning", "warning", "warning")),
        (Reply(200, {}, b"<html>"), ("problem", "warning", "warning", "warning")),
        (reply(302, {}), ("problem", "warning", "warning", "warning")),
        (NoReply("refused", sent=False), ("problem", "warning", "warning", "warning")),
        (NoReply("bad", sent=False, bad_certificate=True), ("problem", "warning", "warning", "warning")),
    ],
)
async def test_each_answer_about_the_account(answer: Reply | NoReply, levels: tuple[str, ...]) -> None:
    found = await account(answer)
    assert tuple(found[name].level for name in ("provider", "key", "credits", "clock")) == levels
    assert all(check.hint for check in found.values() if check.level != "ok")


@pytest.mark.usefixtures("_names_resolve")
async def test_a_bad_certificate_comes_with_the_way_to_trust_ones_own_proxy() -> None:
    found = await account(NoReply("the certificate of x was refused", sent=False, bad_certificate=True))
    assert "SSL_CERT_FILE" in found["provider"].hint


@pytest.mark.usefixtures("_names_resolve")
@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        (reply(200, {"data": []}), "ok", "no request of the last"),
        (reply(200, {"data": [{"id": "a"}]}), "warning", "none of them names a request_id"),
        (reply(200, [{"request_id": "a", "model_name": "m"}]), "warning", "none says what was asked for or when"),
        (
            reply(200, [{"request_id": "a", "model_name": "m", "request_body": {}, "model_created": 1}]),
            "ok",
            "understood (1 looked at)",
        ),
        (reply(401, {}), "warning", "refuses the key"),
        (Reply(200, {}, b"<html>"), "warning", "an HTML page"),
        (NoReply("no answer in time", sent=True), "warning", "no answer in time"),
    ],
)
async def test_each_answer_of_the_history(answer: Reply | NoReply, level: str, words: str) -> None:
    found = await history(answer)
    assert found.level == level
    assert words in found.message


async def test_a_name_that_cannot_be_resolved_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_words: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    monkeypatch.setattr("engine.doctor.machine.getproxies", dict)
    found = await account(reply(200, {}))
    assert "api.example.com cannot be resolved (Name or service not known)" in found["provider"].message


@pytest.mark.parametrize(
    ("ahead_s", "level"),
    [(0, "ok"), (8, "ok"), (-8, "ok"), (20, "warning"), (-200, "warning"), (90, "problem"), (-400, "problem")],
)
def test_a_clock_is_judged_by_what_the_look_up_of_lost_replies_bears(ahead_s: float, level: str) -> None:
    answer = reply(200, {}, Date="Sun, 06 Nov 1994 08:49:37 GMT")
    assert clock_check(Exchange(answer, 784111777.5 + ahead_s, 0.1)).level == level


# --- the machine ----------------------------------------------------------------------------------


def test_the_libraries_that_are_installed_are_held_against_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["aiohttp<4,>=3.14", "click>=8.2", 'pytest==9; extra == "test"']
    have = {"aiohttp": "4.0.1", "click": "8.2.0rc1"}
    monkeypatch.setattr(metadata, "requires", lambda _name: asked)
    monkeypatch.setattr(metadata, "version", have.__getitem__)
    assert machine.libraries().message == "aiohttp 4.0.1 is not <4,>=3.14"
    have["aiohttp"] = "3.14"
    assert machine.libraries() == ok("libraries", "aiohttp 3.14, click 8.2.0rc1")


def test_a_library_that_is_missing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _name: ["no-such-library>=1"])
    assert machine.libraries().message == "no-such-library is missing"


def test_an_old_sqlite_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    assert {check.check: check.level for check in machine.versions(CONFIG)}["sqlite"] == "problem"


@pytest.mark.parametrize(
    ("environ", "level", "words"),
    [
        ({}, "ok", "go out directly"),
        ({"https": "http://me:secret@proxy.local:3128"}, "warning", "through http://proxy.local:3128;"),
        ({"https": "socks5://proxy.local"}, "problem", "no http proxy"),
        ({"all": "http://proxy.local"}, "warning", "ALL_PROXY is set, and not used"),
        ({"http": "http://proxy.local"}, "ok", "go out directly"),
    ],
)
def test_a_proxy_is_shown_as_it_is_used_and_without_its_password(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], level: str, words: str
) -> None:
    monkeypatch.setattr(machine, "getproxies", lambda: environ)
    monkeypatch.setattr(machine, "proxy_bypass", lambda _host: False)
    (found,) = machine.proxies(HTTPS)
    assert found.level == level
    assert words in found.message
    assert "secret" not in found.message


def test_the_loopback_address_is_never_asked_for_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "getproxies", lambda: {"http": "http://proxy.local"})
    assert machine.proxy_for("http://127.0.0.1:8642") == ""


def test_certificates_that_are_named_must_be_there_and_be_some(tmp_path: Path) -> None:
    (absent,) = machine.certificates(HTTPS, {"SSL_CERT_FILE": str(tmp_path / "absent.pem")})
    (tmp_path / "bad.pem").write_text("no certificate")
    (bad,) = machine.certificates(HTTPS, {"SSL_CERT_FILE": str(tmp_path / "bad.pem")})
    assert (absent.level, bad.level) == ("problem", "problem")
    assert "absent.pem, which is not there" in absent.message
    assert "cannot be read" in bad.message


def test_a_provider_on_this_machine_needs_no_certificates() -> None:
    (found,) = machine.certificates(("http://127.0.0.1:1", ""), {"SSL_CERT_FILE": "/absent"})
    assert found.level == "ok"


@pytest.mark.parametrize(("mode", "levels"), [(0o600, ["ok"]), (0o640, ["warning"]), (None, [])])
def test_a_key_file_is_for_its_owner(tmp_path: Path, mode: int | None, levels: list[str]) -> None:
    path = tmp_path / "key"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    config = RunConfig.load(None, [f"provider.api_key_file='{path}'"])
    assert [check.level for check in machine.key_file(config)] == levels


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "kind"), [("/home", "ext4"), ("/data/x", "nfs4"), ("/data/with space/y", "tmpfs"), ("/database", "ext4")]
)
def test_the_file_system_of_a_place_is_that_of_the_nearest_mount(tmp_path: Path, place: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert places.file_system_of(Path(place), mounts) == kind


def test_where_the_system_says_nothing_no_file_system_is_guessed(tmp_path: Path) -> None:
    assert places.file_system_of(tmp_path, tmp_path / "absent") == ""


@pytest.mark.parametrize(
    ("kind", "words"), [("tmpfs", "kept in memory"), ("nfs4", "on another machine"), ("ext4", "GB free")]
)
def test_a_disk_that_forgets_or_is_elsewhere_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    monkeypatch.setattr(places, "file_system_of", lambda _place: kind)
    (found,) = places.run_place(tmp_path / "not" / "yet" / "there")
    assert words in found.message
    assert found.level == ("ok" if kind == "ext4" else "warning")
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SLOW_S", 0.0)
    monkeypatch.setattr(places, "file_system_of", lambda _place: "ext4")
    (found,) = places.media_place(tmp_path, reserve_bytes=0)
    assert (found.level, "a durable write takes" in found.message) == ("warning", True)
