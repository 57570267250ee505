"""Where media go when that is no directory: the URL of an object store, ``s3://bucket/prefix``.

Only the words: what such a URL, and what little is configured beside it, may look like. No secret has a place in any of
them, since they are stored with the run; credentials come from the environment. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

SCHEMES = ("s3", "gs", "az")
"""Amazon S3 and whatever speaks like it, Google Cloud Storage, Azure Blob Storage."""

_SEPARATOR = "://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9_=+,-][A-Za-z0-9._=+,-]*", re.ASCII)
_PREFIX_CHARS_MAX = 512
_REGION = re.compile(r"[a-z0-9-]{2,40}", re.ASCII)
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
_UNSAFE = re.compile(r"[\s\x00-\x1f\x7f]")


class StoreUrl(NamedTuple):
    """A place in an object store.

    Attributes:
        scheme: one of ``SCHEMES``.
        bucket: the bucket; Azure calls it a container.
        prefix: what stands before the names of all objects, without slashes around it; may be empty.
    """

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        """Return the URL."""
        return f"{self.scheme}{_SEPARATOR}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def uri(self, name: str) -> str:
        """Return the URI of an object of this place."""
        return f"{self}/{name}"


def is_store_url(text: str) -> bool:
    """Tell whether ``text`` means an object store, perhaps wrongly spelled, and no path."""
    return _SEPARATOR in text


def store_url_problem(text: str) -> str:
    """Say what is wrong with the URL of an object store, or return an empty string; it is not repeated."""
    scheme, _, rest = text.partition(_SEPARATOR)
    bucket, slash, prefix = rest.partition("/")
    if scheme not in SCHEMES:
        return f"must be a path in quotes, or a URL that begins with {', '.join(f'{name}://' for name in SCHEMES)}"
    if set(rest) & set("@?#"):
        return (
            f"must be {scheme}://bucket/prefix without user, password, '?' or '#': credentials are never written here"
        )
    if not _BUCKET.fullmatch(bucket):
        return f"must name a bucket: {scheme}://bucket/prefix, in lowercase letters, digits, '.', '_' and '-'"
    segments = prefix.rstrip("/").split("/") if slash and prefix.rstrip("/") else []
    if len(prefix) > _PREFIX_CHARS_MAX or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return (
            f"must have a prefix of letters, digits and '._=+,-' between single slashes, at most {_PREFIX_CHARS_MAX}"
            " characters"
        )
    return ""


def parse_store_url(text: str) -> StoreUrl:
    """Return the place that a URL without problems names."""
    assert not store_url_problem(text), "the configuration checks it"
    scheme, _, rest = text.partition(_SEPARATOR)
    bucket, _, prefix = rest.partition("/")
    return StoreUrl(scheme, bucket, prefix.rstrip("/"))


def split_uri(uri: str) -> tuple[StoreUrl, str]:
    """Return the place and the name of an object of ours."""
    place, _, name = uri.rpartition("/")
    return parse_store_url(place), name


def store_setting_problem(name: str, value: str) -> str:
    """Say what is wrong with a text that is configured beside the URL, or return an empty string."""
    match name:
        case "endpoint_url":
            return _endpoint_problem(value)
        case "region" if not _REGION.fullmatch(value):
            # Not repeated, here and below: whoever writes a secret has it in no format that we know.
            return "must be the name of a region, such as 'eu-central-1'"
        case "account" if not _ACCOUNT.fullmatch(value):
            return "must be the name of a storage account, not a key: 3 to 24 lowercase letters and digits"
        case _:
            return ""


def _endpoint_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if set(url) & set("@?#"):
        return "must be a URL without user, password, '?' or '#'"
    if not host or port == 0 or not url.startswith(("https://", "http://")) or _UNSAFE.search(url):
        return (
            "must be an https URL with a host (http for a store on your own network), such as 'https://s3.example.com'"
        )
    return ""
