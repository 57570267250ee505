"""What the simulated provider is like: its plan, its prices, its speed, its faults.

A ``Scenario`` is frozen; a change makes a new one through the same checks. It comes from a built-in name
or a TOML file, with overrides by dotted key ("faults.reply_lost_after"). All times are in seconds unless
the name says otherwise. Knows nothing of HTTP.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from engine.simulator.catalogue import PRICES_USD
from engine.simulator.faults import Fault  # noqa: TC001 (msgspec reads the annotations at run time)
from engine.simulator.overrides import ScenarioError, merged, nearest
from engine.simulator.timestamps import Notation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Scenario", "ScenarioError"]

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]

OutputShape = Literal[
    "documented",
    "output_url",
    "video_url",
    "output_object_url",
    "output_object_video_url",
    "output_object_media_url",
    "output_list",
    "output_list_objects",
    "images",
    "image",
    "audio",
    "text",
    "base64",
    "none",
]

DialectName = Literal["segmind", "segmind-sync", "fal", "replicate", "runway", "bfl", "luma", "openai"]

RateHeader = Literal[
    "iso_z", "iso_naive", "space", "epoch_s", "epoch_ms", "http_date", "retry_after", "literal", "none"
]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class Access(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may do what."""

    accepted_keys: tuple[str, ...] = ()  # empty: every well-formed key, SG_ and 16 hex digits
    keys_revoked: bool = False  # true: every key is refused
    models: tuple[str, ...] = tuple(PRICES_USD)  # "*" accepts any name; others answer 404
    retired_models: tuple[str, ...] = ()  # answer 410
    forbidden_models: tuple[str, ...] = ()  # answer 403


class Work(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How jobs are worked on."""

    workers: Annotated[int, msgspec.Meta(ge=1)] = 256
    duration_median_s: NotNegative = 2.0
    duration_sigma: NotNegative = 0.15  # of the lognormal distribution; 0: every job takes the median
    slow_share: Share = 0.0  # the second hump: this share of jobs ...
    slow_factor: Positive = 3.0  # ... takes this many times as long
    status_held_s: NotNegative = 0.0  # a question for the status of a running job waits for its end, or for so long
    drift_per_hour: float = 0.0  # 0.2: durations grow by a fifth of the first median every hour
    invalid_s: NotNegative = 0.003  # inference time of a job whose inputs are refused
    failed_error: str = "Model inference failed: no face was found in the image"
    failed_http_status: Literal[200, 422] = 422
    sync_failed_http_status: Literal[400, 422, 500] = 400  # of a job that fails while its submission waits for it


class Retention(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things are kept."""

    record_life_s: NotNegative = 3600.0  # status and result, from the submit, also of unfinished jobs
    file_life_s: NotNegative = 604800.0  # output files, from completion
    expired_http_status: Literal[403, 404, 410] = 403  # of an output file that is gone


class Credits(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money."""

    start_usd: NotNegative = 1_000_000.0  # read once, at the start; later use POST /_simulator/credits
    free_usd: NotNegative = 0.0
    price_usd: NotNegative | None = None  # of every model; absent: prices_usd
    prices_usd: dict[str, NotNegative] = msgspec.field(default_factory=lambda: dict(PRICES_USD))
    price_other_usd: NotNegative = 1.0  # of a model that prices_usd does not list
    price_spread: Share = 0.0  # 0.1: a job costs between 90 % and 110 % of the price
    reserve: bool = True  # a running job blocks its price, which the visible balance does not show
    refusal_http_status: Literal[402, 406] = 402
    team_limit_usd: NotNegative | None = None  # more than this in all: 406, team spend limit


class Rate(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plan's requests per window."""

    requests_per_window: Count = 50  # 0: no limit
    window_s: Positive = 60.0
    window_kind: Literal["sliding", "fixed"] = "sliding"
    counts: Literal["submits", "all"] = "submits"  # all: status, result and credits too
    header: RateHeader = "iso_z"
    literal_headers: tuple[tuple[str, str], ...] = ()  # for header = "literal": sent as they stand


class Output(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a completed job gives."""

    shape: OutputShape = "documented"
    files_per_job: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    file_bytes: Count = 0  # videos are padded to this size; 0: as they are


class History(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request history."""

    lag_s: NotNegative = 0.0  # rows show the world as it was this long ago
    envelope: Literal["data", "results", "items", "nested", "bare"] = "data"
    row_per_output: bool = True
    row_copies: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1  # every row comes this many times
    timestamps: Notation = Notation.ISO_Z
    adds_defaults: bool = True  # request_body holds more than was sent
    body_as_text: bool = False  # request_body is a JSON text instead of an object


class Downloads(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the output host serves files."""

    ranges: bool = True
    etag: Literal["strong", "weak", "none"] = "strong"
    bytes_per_s: NotNegative = 0.0  # of one download; 0: as fast as it goes
    redirect_hops: Annotated[int, msgspec.Meta(ge=1)] = 1
    redirect_location: str = ""  # where download_redirect leads instead; empty: to the file itself


class FaultDetails(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long, how slow and to whom faults happen."""

    repeats_max: Count = 0  # each body, job or file meets a fault in its first so many tries; 0: always
    only_bodies_with: str = ""  # faults happen only to bodies that contain this text
    young_404_s: NotNegative = 5.0
    result_not_ready_s: NotNegative = 2.0
    result_not_ready_as: Literal["processing", "not_found", "error_500", "mixed"] = "mixed"
    reply_delayed_s: NotNegative = 2.0
    reply_slow_byte_s: NotNegative = 0.02
    reply_stalled_s: NotNegative = 3600.0
    huge_bytes: Count = 64 * 2**20
    download_slow_bytes_per_s: Positive = 2000.0
    download_stalled_s: NotNegative = 3600.0


class Scenario(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be said about the simulated provider."""

    name: str = "custom"
    summary: str = ""
    seed: int = 1
    dialect: DialectName = "segmind"  # which provider it speaks like; read once, at the start
    outage: Literal["none", "drop", "error_503", "stall"] = "none"  # of every host of the provider
    clock_offset_s: float = 0.0  # the server's UTC against the machine's, in Date and every timestamp
    upload_reply_key: Literal["urls", "file_urls"] = "urls"
    access: Access = msgspec.field(default_factory=Access)
    work: Work = msgspec.field(default_factory=Work)
    retention: Retention = msgspec.field(default_factory=Retention)
    credits: Credits = msgspec.field(default_factory=Credits)
    rate: Rate = msgspec.field(default_factory=Rate)
    output: Output = msgspec.field(default_factory=Output)
    history: History = msgspec.field(default_factory=History)
    downloads: Downloads = msgspec.field(default_factory=Downloads)
    faults: dict[Fault, Share] = msgspec.field(default_factory=dict)
    fault_details: FaultDetails = msgspec.field(default_factory=FaultDetails)

    @classmethod
    def load(cls, name_or_path: str | Path = "calm", overrides: Mapping[str, object] | None = None) -> Scenario:
        """Return a built-in scenario or the one in a TOML file, with overrides by (dotted) key."""
        path = _find(name_or_path)
        try:
            table = msgspec.toml.decode(path.read_bytes(), type=dict[str, object])
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            raise ScenarioError(f"scenario {str(name_or_path)!r} cannot be read: {error}") from error
        return cls(name=path.stem).changed(table).changed(overrides or {})

    def changed(self, overrides: Mapping[str, object]) -> Scenario:
        """Return this scenario with overrides by (dotted) key; the rest stays as it is."""
        table = merged(Scenario, msgspec.to_builtins(self), overrides)
        try:
            return msgspec.convert(table, Scenario, strict=False)
        except msgspec.ValidationError as error:
            raise ScenarioError(f"a scenario's value is not allowed: {error}") from error

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the built-in scenarios."""
        return tuple(sorted(path.stem for path in _BUILT_IN.glob("*.toml")))


_BUILT_IN = Path(__file__).parent / "scenarios"


class Knobs:
    """The scenario in force: parts look here when they decide, so that a change acts at once."""

    __slots__ = ("scenario",)

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario


def _find(name_or_path: str | Path) -> Path:
    built_in = _BUILT_IN / f"{name_or_path}.toml"
    if str(name_or_path) in Scenario.names():
        return built_in
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return path
    raise ScenarioError(
        f"no scenario is called {str(name_or_path)!r}{nearest(str(name_or_path), Scenario.names())}; "
        f"known: {', '.join(Scenario.names())}, or the path of a .toml file"
    )
