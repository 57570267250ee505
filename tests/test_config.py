"""The configuration: what it accepts, and the sentence for whatever it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import PRESETS, RunConfig, describe_keys
from engine.errors import ConfigError, ExitCode
from engine.job.job_line import JobLine, parse_job_line
from engine.provider.description import load_description

REPOSITORY = Path(__file__).parent.parent
KEY = "SG_0123456789abcdef"


def refusal(*overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(None, overrides)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return caught.value


def refused_file(path: Path, content: str | bytes) -> ConfigError:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(path)
    assert str(path) in str(caught.value)
    return caught.value


def test_a_file_may_be_named_by_text(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text("[limits]\nmax_in_flight = 7\n")
    assert RunConfig.load(str(file)) == RunConfig.load(file)
    with pytest.raises(ConfigError, match="does not exist"):
        RunConfig.load(str(tmp_path / "nowhere.toml"))


def test_without_a_file_every_key_has_its_default() -> None:
    assert RunConfig.load(None) == RunConfig()


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("provider.preset", "segmind"),
        ("provider.model", None),
        ("provider.connect_timeout_s", 10.0),
        ("provider.submit_timeout_s", 120.0),
        ("provider.request_timeout_s", 30.0),
        ("provider.reply_bytes_max", 16 * 1024**2),
        ("limits.submits_per_minute", 50.0),
        ("limits.polls_per_minute", 600.0),
        ("limits.shared", False),
        ("limits.max_in_flight", 200),
        ("limits.adaptive", True),
        ("polling.policy", "learned"),
        ("polling.interval_s", 10.0),
        ("polling.expected_duration_s", None),
        ("downloads.enabled", True),
        ("downloads.concurrency", 8),
        ("downloads.allow_private_hosts", False),
        ("downloads.bytes_max", 4 * 1024**3),
        ("budget.cost_usd_max", None),
        ("budget.price_usd", None),
        ("retry.attempts_max", 3),
        ("recovery.on_unknown", "hold"),
        ("recovery.grace_s", 900.0),
        ("recovery.job_deadline_s", 21_600.0),
        ("halt.failed_share", None),
        ("halt.after_jobs", 20),
        ("halt.same_failures", 25),
        ("canary.jobs", 0),
        ("storage.root", None),
        ("storage.reserve_bytes", 1024**3),
        ("simulator", {}),
    ],
)
def test_the_defaults_are_those_of_the_contract(key: str, default: object) -> None:
    assert {described.key: described.default for described in describe_keys()}[key] == default


def test_every_key_is_described_in_a_sentence() -> None:
    for described in describe_keys():
        assert described.sentence.endswith("."), described.key
        assert described.allowed, described.key


@pytest.mark.parametrize(
    ("override", "section", "name", "value"),
    [
        ("limits.submits_per_minute=120", "limits", "submits_per_minute", 120.0),
        ("limits.submits_per_minute = 0.5", "limits", "submits_per_minute", 0.5),
        ("limits.shared=true", "limits", "shared", True),
        ("limits.adaptive=discover", "limits", "adaptive", "discover"),
        ("limits.adaptive=false", "limits", "adaptive", False),
        ("provider.model=kling-2.6", "provider", "model", "kling-2.6"),
        ('provider.model="kling-2.6"', "provider", "model", "kling-2.6"),
        ("provider.base_url=http://127.0.0.1:8080", "provider", "base_url", "http://127.0.0.1:8080"),
        ("provider.base_url=https://api.example.com/x", "provider", "base_url", "https://api.example.com/x"),
        ("recovery.on_unknown=resubmit", "recovery", "on_unknown", "resubmit"),
        ("downloads.bytes_max=1_000_000", "downloads", "bytes_max", 1_000_000),
        ("storage.root=/data/media", "storage", "root", "/data/media"),
        ("halt.failed_share=0.25", "halt", "failed_share", 0.25),
        ("halt.same_failures=0", "halt", "same_failures", 0),
    ],
)
def test_an_override_sets_its_key(override: str, section: str, name: str, value: object) -> None:
    assert getattr(getattr(RunConfig.load(None, [override]), section), name) == value


def test_an_override_wins_over_the_file_and_a_later_one_over_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text("[limits]\nmax_in_flight = 10\nsubmits_per_minute = 20\n")
    limits = RunConfig.load(file, ["limits.max_in_flight=30", "limits.max_in_flight=40"]).limits
    assert (limits.max_in_flight, limits.submits_per_minute) == (40, 20.0)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("limits.submits_per_minute=0", "a number above 0"),
        ("limits.submits_per_minute=-1", "not -1"),
        ("limits.submits_per_minute=nan", "not nan"),
        ("limits.submits_per_minute=inf", "not inf"),
        ("limits.submits_per_minute=1e999", "not inf"),
        ("limits.submits_per_minute=fast", "not 'fast'"),
        ("limits.submits_per_minute=true", "not true"),
        ("limits.submits_per_minute=", "not ''"),
        ("limits.submits_per_minute=\uff11\uff12", "a number above 0"),
        ("limits.submits_per_minute=2026-01-31", "not 2026-01-31"),
        ("limits.max_in_flight=0", "a whole number from 1"),
        ("limits.max_in_flight=2.5", "not 2.5"),
        ("limits.max_in_flight=[1]", "not a list"),
        ("limits.max_in_flight=99999999999999999999", "a whole number from 1"),
        ("limits.shared=1", "true or false, not 1"),
        ("limits.shared=yes", "true or false, not 'yes'"),
        ("limits.adaptive=discovery", "did you mean 'discover'?"),
        ("limits.adaptive=True", "did you mean 'true'?"),
        ("polling.policy=learnt", "did you mean 'learned'?"),
        ("recovery.on_unknown=resubmitt", "did you mean 'resubmit'?"),
        ("halt.failed_share=1.5", "from 0 to 1, not 1.5"),
        ("retry.attempts_max=0", "a whole number from 1"),
        ("provider.submit_timeout_s=1e300", "at most 2,678,400"),
        ("provider.preset=segmnd", "did you mean 'segmind'?"),
        ("provider.preset=''", "'bfl', 'luma' or the path"),
        ("provider.model=../status", "the name of a model"),
        ("provider.model=''", "the name of a model"),
        ("provider.base_url=api.segmind.com", "https URL with a host"),
        ("provider.base_url=https://", "https URL with a host"),
        ("provider.base_url=https://a b.com", "https URL with a host"),
        ("provider.base_url=https://a.com:99999", "https URL with a host"),
        ("provider.base_url=https://[::1", "https URL with a host"),
        ("provider.base_url=https://a.com:0", "https URL with a host"),
        ("provider.base_url=http://api.segmind.com", "in clear text"),
        ("provider.base_url=https://u:p@api.segmind.com", "without user"),
        ("provider.history_url=https://api.example.com/?x=1", "without user"),
        ("provider.base_url=ftp://api.segmind.com", "https URL with a host"),
        ("provider.api_key_env=not-a-name", "the name of an environment variable"),
        ("storage.root=''", "a path in quotes"),
        ("storage.root=~nobody-of-that-name/x", "no such home directory"),
        ("simulator.seed=1", "only with provider.preset = 'simulator'"),
        ('provider.model="kling', "not a TOML value"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_its_key_and_what_is(override: str, words: str) -> None:
    error = refusal(override)
    assert str(error).startswith(f"--set {override.partition('=')[0]}")
    assert words in str(error)
    assert error.hint


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("limits.submit_per_minute=1", "did you mean 'limits.submits_per_minute'?"),
        ("limit.max_in_flight=1", "did you mean 'limits.max_in_flight'?"),
        ("max_in_flight=1", "did you mean 'limits.max_in_flight'?"),
        ("limits.concurrency=1", "did you mean 'downloads.concurrency'?"),
        ("limmits=1", "did you mean 'limits'?"),
        ("limits=1", "limits is a section"),
        ("limits.=1", "limits is a section"),
        ("simulator=1", "simulator is a section"),
        ("limits.max_in_flight.x=1", "there is no key"),
        ("limits.max_in_flight", "is not KEY=VALUE"),
        ("=1", "is not KEY=VALUE"),
        ("", "is not KEY=VALUE"),
        ("\x1b[31m.x=1", r"'\x1b[31m.x'"),
        ("limits.max_in_flight=1\nshared = true", "must be a whole number"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(override: str, words: str) -> None:
    error = refusal(override)
    assert words in str(error)
    assert error.hint


@pytest.mark.parametrize(
    "override",
    [
        f"provider.api_key_env={KEY}",
        f"provider.api_key_file={KEY}",
        f"provider.model='{KEY}'",
        f"provider.base_url=https://{KEY}@api.segmind.com",
        f"provider.api_key={KEY}",
        f"provider.{KEY}=1",
        f"{KEY}.x=1",
        f"{KEY}",
        f"{KEY}=1",
        f"limits.max_in_flight={KEY}",
        f"limits.max_in_flight=['{KEY}']",
        f"simulator.key={KEY}",
        f"simulator.keys={{a = '{KEY}'}}",
        f'provider.model="{KEY}',
        f"provider.api_key_env={KEY.lower()}x-{KEY}",
    ],
)
def test_an_api_key_is_refused_and_never_repeated(override: str) -> None:
    error = refusal(override)
    assert KEY[3:] not in f"{error} {error.hint} {error!r}"


def test_an_api_key_in_a_file_is_refused_with_the_way_it_is_meant(tmp_path: Path) -> None:
    error = refused_file(tmp_path / "a.toml", f'[provider]\napi_key_env = "{KEY}"\n')
    assert "environment variable" in error.hint
    error = refused_file(tmp_path / "b.toml", f'[provider]\napi_key = "{KEY}"\n')
    assert "environment variable" in error.hint
    assert KEY not in str(error)
    error = refused_file(tmp_path / "c.toml", f'[{KEY}]\na=1\n["{KEY}"]\n')
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[limits]\nmax_in_flight = = 3\n", "line 2"),
        ("[limits]\nmax_in_flight = fast\n", "line 2"),
        ("[limits]\n\n\nshared = true\nshared = true\n", "line 5"),
        ("[limits", "not TOML"),
        ("a = " + "[" * 100_000, "not TOML"),
        (b"\x00\x01\x02", "not TOML"),
        (b"[limits]\n\xff\xfe = 1\n", "line 2: not UTF-8"),
        ("[limits]\nmax_in_flight = 0\n", "limits.max_in_flight must be"),
        ("[limit]\nmax_in_flight = 1\n", "did you mean 'limits.max_in_flight'?"),
        ("[limmits]\n", "did you mean 'limits'?"),
        ("max_in_flight = 1\n", "did you mean 'limits.max_in_flight'?"),
        ("limits = 5\n", "limits is a section"),
        ("limits = []\n", "limits is a section"),
        ("[limits.max_in_flight]\na = 1\n", "not a table"),
        ("[provider]\npreset = 'simulator'\n[simulator]\nseed = nan\n", "simulator.seed must be"),
        ("[provider]\npreset = 'simulator'\n[simulator]\na.b = 2026-01-31\n", "simulator.a must be"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in str(refused_file(tmp_path / "night.toml", content))


def test_a_file_that_is_not_there_or_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        RunConfig.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a directory"):
        RunConfig.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        RunConfig.load(tmp_path / ("x" * 300))
    with pytest.raises(ConfigError, match="cannot be read"):
        RunConfig.load(Path("a\0b"))
    with pytest.raises(ConfigError, match="larger than"):
        RunConfig.load(Path("/dev/zero"))


def test_a_file_with_a_byte_order_mark_and_windows_newlines_is_read(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_bytes(b"\xef\xbb\xbf[limits]\r\nmax_in_flight = 7\r\n[canary]\r\n")
    assert RunConfig.load(file).limits.max_in_flight == 7


def test_paths_in_a_file_start_from_the_file_and_stay_the_same_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "night.toml").write_text(
        "[provider]\npreset = 'own.toml'\napi_key_file = '/etc/key'\n[storage]\nroot = 'media'\n"
    )
    monkeypatch.chdir(tmp_path)
    config = RunConfig.load(Path("configs/night.toml"))
    assert config.storage.directory == tmp_path / "configs" / "media"
    assert config.provider.preset == str(tmp_path / "configs" / "own.toml")
    assert config.provider.api_key_file == Path("/etc/key")
    monkeypatch.chdir("/")
    assert RunConfig.from_mapping(config.to_mapping()) == config


def test_paths_in_an_override_start_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunConfig.load(None, ["storage.root=media"]).storage.directory == tmp_path / "media"


def test_a_configuration_survives_being_stored_as_json() -> None:
    overrides = ["provider.preset=simulator", "simulator.seed=1", "simulator.faults={lost = 0.5}", "storage.root=/m"]
    config = RunConfig.load(None, [*overrides, "budget.cost_usd_max=12.5", "limits.adaptive=discover"])
    assert RunConfig.from_mapping(json.loads(json.dumps(config.to_mapping()))) == config


def test_a_stored_configuration_is_checked_like_any_other() -> None:
    mapping = RunConfig().to_mapping()
    mapping["limits"]["max_in_flight"] = 0
    with pytest.raises(ConfigError, match=r"stored configuration: limits\.max_in_flight must be"):
        RunConfig.from_mapping(mapping)
    with pytest.raises(ConfigError, match="there is no key 'metrics"):
        RunConfig.from_mapping({"metrics": {"colour": 1}})


def test_the_free_table_of_the_simulator_reaches_it_as_written() -> None:
    config = RunConfig.load(None, ["provider.preset=simulator", "simulator.scenario=demo", "simulator.faults.lost=0.1"])
    assert config.simulator == {"scenario": "demo", "faults.lost": 0.1}


@given(st.text(max_size=60))
def test_any_override_is_accepted_or_refused_with_a_sentence(text: str) -> None:
    for override in (text, f"limits.max_in_flight={text}", f"provider.{text}", f"provider.base_url={text}"):
        try:
            RunConfig.load(None, [override])
        except ConfigError as error:
            assert str(error).isprintable()  # noqa: PT017 (accepting the text is as good)


def test_the_presets_are_those_that_can_be_loaded() -> None:
    for preset in PRESETS:
        assert load_description(preset).name == preset
    files = (REPOSITORY / "engine" / "provider" / "presets").glob("*.toml")
    assert {file.stem for file in files} | {"simulator"} == set(PRESETS)


@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs").glob("*.toml")), ids=lambda file: file.name)
def test_every_example_can_be_loaded(file: Path) -> None:
    config = RunConfig.load(file)
    description = load_description(config.provider.preset)
    assert not description.models or config.provider.model in description.models


def test_the_reference_names_every_key() -> None:
    text = (REPOSITORY / "configs" / "overnight.toml").read_text()
    for described in describe_keys():
        word = described.key.rpartition(".")[2]
        assert f"\n{word} = " in text or f"\n# {word} = " in text or f"# [{word}]" in text, described.key


def test_the_reference_is_valid_with_its_comments_taken_away(tmp_path: Path) -> None:
    text = (REPOSITORY / "configs" / "overnight.toml").read_text()
    (tmp_path / "all.toml").write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
    mapping = RunConfig.load(tmp_path / "all.toml").to_mapping()
    assert all(value is not None for section in mapping.values() for value in section.values())


def test_the_jobs_of_the_demo_are_valid() -> None:
    catalogue = load_description("simulator").models
    model = RunConfig.load(REPOSITORY / "configs" / "demo.toml").provider.model
    lines = (REPOSITORY / "configs" / "demo.jsonl").read_bytes().splitlines()
    parsed = [parse_job_line(line, catalogue=catalogue, default_model=model) for line in lines]
    jobs = [line.job for line in parsed if isinstance(line, JobLine) and not line.warnings]
    assert len(jobs) == 24
    assert len({job.id for job in jobs}) == 24
    assert {job.id_given for job in jobs} == {True, False}
