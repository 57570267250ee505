"""The URL of an object store: what it names, what it may not be, and that nothing secret fits into it."""

from __future__ import annotations

import pytest

from engine.config import RunConfig
from engine.errors import ConfigError
from engine.store_url import StoreUrl, is_store_url, parse_store_url, split_uri, store_url_problem


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket", StoreUrl("s3", "bucket", "")),
        ("s3://bucket/", StoreUrl("s3", "bucket", "")),
        ("gs://my.bucket_1/nights/2026-11-28/", StoreUrl("gs", "my.bucket_1", "nights/2026-11-28")),
        ("az://container/year=2026", StoreUrl("az", "container", "year=2026")),
    ],
)
def test_a_url_names_scheme_bucket_and_prefix(text: str, url: StoreUrl) -> None:
    assert store_url_problem(text) == ""
    assert parse_store_url(text) == url
    assert parse_store_url(str(url)) == url
    assert split_uri(url.uri("clip-001.mp4")) == (url, "clip-001.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "http://bucket/x",
        "S3://bucket",
        "s3://",
        "s3:///x",
        "s3://Bucket/x",
        "s3://b",
        "s3://bucket//x",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket/.hidden",
        "s3://bucket/a b",
        "s3://bucket/a\nb",
        "s3://bucket/ä",
        "s3://bucket/" + "x" * 600,
    ],
)
def test_what_is_no_such_url_is_refused_with_what_it_must_be(text: str) -> None:
    assert is_store_url(text)
    assert store_url_problem(text).startswith("must ")


@pytest.mark.parametrize(
    "override",
    [
        "storage.root=s3://night:hush-hush@bucket/x",
        "storage.root=s3://bucket/x?secret=hush-hush",
        "storage.endpoint_url=https://night:hush-hush@example.com",
        "storage.endpoint_url=https://example.com/?sig=hush-hush",
        "storage.region=hush-hush/AND+more",
        "storage.account=hush-hush/AND+more==",
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_repeated(override: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RunConfig.load(None, [override])
    assert override.partition("=")[0] in str(refused.value)
    assert "hush" not in str(refused.value) + refused.value.hint


def test_a_store_and_a_directory_are_told_apart() -> None:
    store = RunConfig.load(None, ["storage.root=s3://bucket/x"]).storage
    assert (str(store.store), store.directory) == ("s3://bucket/x", None)
    directory = RunConfig.load(None, ["storage.root=/data"]).storage
    assert (directory.store, str(directory.directory)) == (None, "/data")
    assert (RunConfig().storage.store, RunConfig().storage.directory) == (None, None)


def test_a_stored_configuration_means_the_same_store() -> None:
    config = RunConfig.load(None, ["storage.root=s3://bucket/x", "storage.path_style=true"])
    assert RunConfig.from_mapping(config.to_mapping()) == config
