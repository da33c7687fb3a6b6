"""The rate limit in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditspan_service.api.sliding_window import SlidingWindow


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_key_beyond_the_limit_waits_and_another_does_not() -> None:
    """Until so much of the previous window is gone that there is room for one more."""
    clock = Clock()
    window = SlidingWindow(limit=2, seconds=60, clock=clock)
    assert [0, 0, 90] == [window.wait("a") for _ in range(3)]
    assert 0 == window.wait("b")
    clock.now = 60.0
    assert 30 == window.wait("a")
    clock.now = 90.0
    assert [0, 30] == [window.wait("a") for _ in range(2)]
    clock.now = 300.0
    assert [0, 0, 90] == [window.wait("a") for _ in range(3)]


@given(st.lists(st.floats(0, 20), max_size=200), st.integers(1, 5))
def test_limit_holds_and_a_wait_is_enough(gaps: list[float], limit: int) -> None:
    """No window has more than the limit; after the wait that is given, one more is permitted."""
    clock, permitted = Clock(), list[float]()
    window = SlidingWindow(limit=limit, seconds=60, clock=clock)
    for gap in gaps:
        clock.now += gap
        wait = window.wait("a")
        if wait:
            assert 0 < wait <= 120
            clock.now += wait + 1e-6
            assert 0 == window.wait("a")
        permitted.append(clock.now)
    windows = [moment // 60 for moment in permitted]
    assert all(windows.count(one) <= limit for one in windows)


def test_keys_of_earlier_windows_are_forgotten() -> None:
    """However many clients there are, memory does not grow without end."""
    clock = Clock()
    window = SlidingWindow(limit=1, seconds=60, clock=clock)
    for number in range(30_000):
        clock.now += 0.1
        window.wait(str(number))
    assert len(window._counts) <= 10_000  # noqa: SLF001
