"""The sections of the configuration: each key with its bounds as the type, its default, and its meaning as a sentence.

Knows nothing of what the limits do, nor of where a value was written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from engine.store_url import StoreUrl, is_store_url, parse_store_url

PRESETS = ("segmind", "segmind-sync", "simulator", "fal", "replicate", "runway", "bfl", "luma")

# One month bounds every wait: far above any need, far below what timers of the operating system can hold.
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=2_678_400)]
SecondsOrZero: TypeAlias = Annotated[float, Meta(ge=0, le=2_678_400)]
PerMinute: TypeAlias = Annotated[float, Meta(gt=0, le=1_000_000)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Usd: TypeAlias = Annotated[float, Meta(gt=0, le=1_000_000_000)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000)]
CountOrZero: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Bytes: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
BytesOrZero: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration."""


class Provider(Section, frozen=True, kw_only=True):
    """Who generates, and how long we wait for one HTTP exchange with them.

    Attributes:
        preset: the provider: 'segmind', the embedded 'simulator', another that 'engine providers' lists, or the path of
            a provider description (.toml).
        model: the model of job lines that name none; without it, the preset's own default.
        base_url: where the API is, if not where the preset says.
        history_url: where the request history is (the part before /request-history), if not where the preset says.
        upload_url: where local files are uploaded to, if not where the preset says.
        api_key_env: the environment variable that holds the key, if not the one the preset names.
        api_key_file: a file that holds the key and nothing else; read when the environment variable is not set.
        connect_timeout_s: a connection that takes longer was never made: nothing was sent, nothing is charged.
        submit_timeout_s: a submission unanswered for this long has an unknown outcome; generous, as that costs most.
        request_timeout_s: a poll or fetch unanswered for this long is asked again; that costs nothing.
        reply_bytes_max: a longer reply is refused while it arrives, so that no server can fill the memory.
    """

    preset: str = "segmind"
    model: str | None = None
    base_url: str | None = None
    history_url: str | None = None
    upload_url: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    connect_timeout_s: Seconds = 10.0
    submit_timeout_s: Seconds = 120.0
    request_timeout_s: Seconds = 30.0
    reply_bytes_max: Bytes = 16 * 1024**2


class Limits(Section, frozen=True, kw_only=True):
    """The plan of the account, and how much of it we use at once.

    Attributes:
        submits_per_minute: submissions in any window of a minute, retries and restarts included.
        polls_per_minute: polls and fetches in a minute, where the plan counts them apart from submissions.
        shared: true if the plan counts every API request alike: then submits_per_minute is the budget of them all.
        max_in_flight: jobs submitted and not yet at rest; the money and the work that are at stake at once.
        adaptive: true slows down on 429 and recovers; 'discover' also tries to go above the limits; false does neither.
    """

    submits_per_minute: PerMinute = 50.0
    polls_per_minute: PerMinute = 600.0
    shared: bool = False
    max_in_flight: Count = 200
    adaptive: bool | Literal["discover"] = True


class Polling(Section, frozen=True, kw_only=True):
    """When a request is asked about again.

    Attributes:
        policy: 'learned' asks when the jobs seen so far say that it pays; 'fixed' asks every interval_s.
        interval_s: the time between two polls of one request under the policy 'fixed'.
        expected_duration_s: how long a job takes, as a first guess to learn from; without it, the model's own figure.
        remember: true keeps what was learned for the next run on the same model, beside the user's other state.
    """

    policy: Literal["learned", "fixed"] = "learned"
    interval_s: Seconds = 10.0
    expected_duration_s: Seconds | None = None
    remember: bool = True


class Downloads(Section, frozen=True, kw_only=True):
    """How results become files.

    Attributes:
        enabled: false records the URLs of the results and downloads nothing; they expire at the provider.
        concurrency: files downloaded at the same time.
        allow_private_hosts: true lets results come from private and loopback addresses, as the simulator's do.
        bytes_max: a larger file is stopped at this size and refused.
    """

    enabled: bool = True
    concurrency: Count = 8
    allow_private_hosts: bool = False
    bytes_max: Bytes = 4 * 1024**3


class Budget(Section, frozen=True, kw_only=True):
    """How much money may be spent.

    Attributes:
        cost_usd_max: what the run may cost; reserved before each submission, so that jobs in flight cannot overshoot.
        dedupe: true submits equal bodies once and answers every line of theirs with the one result.
        price_usd: what one job costs; without it, the model's published average, then what the jobs really cost.
    """

    cost_usd_max: Annotated[float, Meta(ge=0, le=1_000_000_000)] | None = None
    dedupe: bool = False
    price_usd: Usd | None = None


class Retry(Section, frozen=True, kw_only=True):
    """How often a job is tried again after an answer that promises nothing was accepted.

    Attributes:
        attempts_max: submissions of one job at most, the first one included; 429 and unsent requests spend none.
    """

    attempts_max: Count = 3


class Recovery(Section, frozen=True, kw_only=True):
    """What happens to a submission whose outcome is unknown, and to a job that never ends.

    Attributes:
        on_unknown: 'hold' submits again only what the history proves absent, at the end of the run; 'resubmit'
            whatever it does not show once the grace is over, which may pay twice; 'fail' fails the job then.
        grace_s: how long the provider's history may lag: before that, absence from it proves nothing.
        job_deadline_s: a job unfinished for this long after its submission is set aside as unknown.
    """

    on_unknown: Literal["hold", "resubmit", "fail"] = "hold"
    grace_s: SecondsOrZero = 900.0
    job_deadline_s: Seconds = 21_600.0


class Halt(Section, frozen=True, kw_only=True):
    """When the run stops submitting because something is wrong with all of it.

    Attributes:
        failed_share: submits stop when this share of the finished jobs failed, or more; without it, never.
        after_jobs: the share is judged only after this many finished jobs.
        same_failures: submits stop after this many failures in a row with one and the same signature; 0 is never.
    """

    failed_share: Share | None = None
    after_jobs: Count = 20
    same_failures: CountOrZero = 25


class Canary(Section, frozen=True, kw_only=True):
    """A few jobs first.

    Attributes:
        jobs: this many jobs go first, and the others only if one of them succeeded; 0 submits all at once.
    """

    jobs: CountOrZero = 0


class Storage(Section, frozen=True, kw_only=True):
    """Where the media go, and what must stay free there.

    Attributes:
        root: the directory for media, or an object store: 's3://bucket/prefix', 'gs://…' or 'az://…'; without it, the
            run directory. A store needs the extra 'objects', and takes its credentials from the environment.
        reserve_bytes: submits pause while less than this is free on the disk, so that paid results find room.
        endpoint_url: where the object store is, if it is not the vendor's own: MinIO, R2, Ceph and others.
        region: the region of an s3 bucket, if the environment does not say it.
        path_style: true puts an s3 bucket into the path of its URLs, false into the host; without it, as is usual.
        account: the storage account of an az container, if the environment does not say it.
    """

    root: str | None = None
    reserve_bytes: BytesOrZero = 1024**3
    endpoint_url: str | None = None
    region: str | None = None
    path_style: bool | None = None
    account: str | None = None

    @property
    def store(self) -> StoreUrl | None:
        """The object store that media go to; None if they go to a directory."""
        return parse_store_url(self.root) if self.root is not None and is_store_url(self.root) else None

    @property
    def directory(self) -> Path | None:
        """The directory that media go to, if one is set; None for the run directory's own, and for an object store."""
        return Path(self.root) if self.root is not None and not is_store_url(self.root) else None


class Metrics(Section, frozen=True, kw_only=True):
    """Where a monitor can read the figures of a run while it works.

    Attributes:
        port: the port on which the figures are served as Prometheus text; 0 takes a free one; without it, none are.
        host: the address that the port is opened on; any other than a loopback address shows the figures to a network.
    """

    port: Port | None = None
    host: str = "127.0.0.1"
