"""A job's id stays the same for the same content, however it was written."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.job import Job, body_sha256, canonical_json, derived_id, occurrence_id

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_the_order_of_keys_does_not_matter(params: dict[str, object]) -> None:
    reversed_params = dict(reversed(params.items()))
    assert canonical_json(params) == canonical_json(reversed_params)
    assert derived_id("m", params, 1) == derived_id("m", reversed_params, 1)


def test_the_canonical_spelling_is_compact_and_sorted_at_every_depth() -> None:
    assert canonical_json({"b": [1, 1.0, 1e2], "a": {"z": "\u00fc\n", "y": None}}) == (
        '{"a":{"y":null,"z":"\u00fc\\n"},"b":[1,1.0,100.0]}'.encode()
    )


def test_the_body_is_what_the_model_and_the_params_are() -> None:
    assert body_sha256("m", {"b": 1, "a": 2}) == hashlib.sha256(b'm\n{"a":2,"b":1}').digest()
    assert (
        len({body_sha256("m", {}), body_sha256("n", {}), body_sha256("m", {"a": 1}), body_sha256("m", {"a": 1.0})}) == 4
    )


def test_derived_ids_are_the_same_in_every_version() -> None:
    assert derived_id("m", {"a": 1}, 1) == "job-" + hashlib.sha256(b'm\n{"a":1}').hexdigest()[:16]


def test_repeats_are_numbered() -> None:
    first = derived_id("m", {}, 1)
    assert [derived_id("m", {}, 2), derived_id("m", {}, 3)] == [f"{first}-2", f"{first}-3"]
    assert occurrence_id(first, 1) == first


def test_a_job_is_frozen_and_given_its_id_by_default() -> None:
    job = Job("a", "m", {})
    assert (job.metadata, job.id_given) == (None, True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.id = "b"  # type: ignore[misc]
    assert not hasattr(job, "__dict__")
