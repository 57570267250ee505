from __future__ import annotations

from engine.simulator.credits import Credits, Refusal


def test_a_running_job_blocks_its_price_while_the_balance_still_shows_it() -> None:
    account = Credits(10.0)
    account.hold(6.0)
    assert account.balance_usd == 10.0
    assert account.refusal(6.0, reserve=True, team_limit_usd=None) is Refusal.CREDITS
    assert account.refusal(6.0, reserve=False, team_limit_usd=None) is None


def test_a_completed_job_is_paid_and_a_failed_one_is_not() -> None:
    account = Credits(10.0)
    for paid in (True, False):
        account.hold(4.0)
        account.settle(4.0, paid=paid)
    assert (account.balance_usd, account.reserved_usd, account.spent_usd) == (6.0, 0.0, 4.0)


def test_the_team_limit_counts_what_is_spent_and_what_is_blocked() -> None:
    account = Credits(100.0)
    account.hold(4.0)
    account.settle(4.0, paid=True)
    account.hold(4.0)
    assert account.refusal(4.0, reserve=True, team_limit_usd=10.0) is Refusal.TEAM_LIMIT
    assert account.refusal(2.0, reserve=True, team_limit_usd=10.0) is None


def test_added_credits_can_be_spent() -> None:
    account = Credits(0.0)
    assert account.refusal(1.0, reserve=True, team_limit_usd=None) is Refusal.CREDITS
    account.add(1.0)
    assert account.refusal(1.0, reserve=True, team_limit_usd=None) is None
