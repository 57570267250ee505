"""The life of a job is a table; what the table promises, for every pair of states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.states import BIRTH, IN_FLIGHT, TRANSITIONS, UNWRITTEN, State, origins_of


def reachable(start: State) -> set[State]:
    found, new = {start}, {start}
    while new:
        new = {after for state in new for after in TRANSITIONS[state]} - found
        found |= new
    return found


def test_every_state_has_its_row_and_every_target_is_a_state() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(after in State for targets in TRANSITIONS.values() for after in targets)


def test_every_state_can_be_reached_from_a_line_of_input_and_every_one_can_come_to_rest() -> None:
    assert set().union(*(reachable(state) for state in BIRTH)) == set(State)
    assert all(State.DONE in reachable(state) for state in State)


def test_nothing_is_paid_for_without_an_intent() -> None:
    assert origins_of(State.SUBMITTING) == {State.PENDING}
    assert State.SUBMITTED not in TRANSITIONS[State.PENDING]
    assert State.READY not in TRANSITIONS[State.PENDING]


def test_only_a_decided_outcome_becomes_a_line() -> None:
    assert origins_of(State.DONE) == UNWRITTEN == {State.STORED, State.FAILED, State.INVALID}


def test_a_line_that_is_written_leads_on_only_to_work_that_a_person_asked_for() -> None:
    assert not TRANSITIONS[State.DONE] & {State.SUBMITTING, State.UNKNOWN, State.HELD, State.STORED}


def test_an_invalid_line_never_becomes_a_job() -> None:
    assert TRANSITIONS[State.INVALID] == {State.DONE}
    assert State.INVALID not in set().union(*TRANSITIONS.values())


def test_a_decided_outcome_is_not_decided_again() -> None:
    for decided in UNWRITTEN:
        assert TRANSITIONS[decided] == {State.DONE}


def test_what_may_have_been_paid_for_is_never_in_flight_by_the_count_and_unknown_at_once() -> None:
    assert State.UNKNOWN not in IN_FLIGHT
    assert State.SUBMITTING in IN_FLIGHT


@pytest.mark.parametrize("state", State)
def test_the_stored_value_is_the_name(state: State) -> None:
    assert state.value == state.name.lower()
    assert State(state.value) is state


@given(st.sampled_from(State), st.sampled_from(State))
def test_origins_and_targets_are_the_same_table(before: State, after: State) -> None:
    assert (before in origins_of(after)) == (after in TRANSITIONS[before])
