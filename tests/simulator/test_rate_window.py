from __future__ import annotations

from engine.simulator.rate_window import RateWindow, WindowPeak


def test_a_sliding_window_admits_the_limit_and_says_when_the_next_may_come() -> None:
    window = RateWindow()
    admitted = [window.admit(now_s, limit=3, window_s=60, sliding=True) for now_s in (0, 1, 2)]
    assert admitted == [None, None, None]
    assert window.admit(10, limit=3, window_s=60, sliding=True) == 50
    assert window.admit(59.9, limit=3, window_s=60, sliding=True) is not None
    assert window.admit(60, limit=3, window_s=60, sliding=True) is None


def test_a_refused_request_takes_no_room() -> None:
    window = RateWindow()
    window.admit(0, limit=1, window_s=10, sliding=True)
    for now_s in range(1, 10):
        assert window.admit(now_s, limit=1, window_s=10, sliding=True) == 10 - now_s
    assert window.admit(10, limit=1, window_s=10, sliding=True) is None


def test_a_fixed_window_forgets_at_its_edge() -> None:
    window = RateWindow()
    assert window.admit(119, limit=1, window_s=60, sliding=False) is None
    assert window.admit(119.5, limit=1, window_s=60, sliding=False) == 0.5
    assert window.admit(120, limit=1, window_s=60, sliding=False) is None


def test_a_lowered_limit_acts_on_what_was_admitted_before() -> None:
    window = RateWindow()
    for now_s in range(4):
        window.admit(now_s, limit=10, window_s=60, sliding=True)
    assert window.admit(4, limit=2, window_s=60, sliding=True) == 58


def test_no_limit_admits_everything() -> None:
    window = RateWindow()
    assert all(window.admit(0, limit=0, window_s=60, sliding=True) is None for _ in range(1000))


def test_the_peak_is_the_fullest_window_ever() -> None:
    peak = WindowPeak()
    for now_s in (0.0, 1.0, 59.9, 60.0, 200.0):
        peak.add(now_s, 60.0)
    assert peak.peak == 3
