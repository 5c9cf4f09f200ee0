"""The token bucket, on a clock of the test's own."""

from __future__ import annotations

from sluice.throttle import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_rows_take_their_time() -> None:
    clock = Clock()
    bucket = TokenBucket(1000, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        bucket.take(2500)
    assert clock.now - 100 == 25.0


def test_time_spent_elsewhere_counts() -> None:
    clock = Clock()
    bucket = TokenBucket(1000, clock=clock, sleep=clock.sleep)
    clock.now += 0.75
    bucket.take(1000)
    assert clock.now - 100 == 1.0


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    bucket = TokenBucket(1000, clock=clock, sleep=clock.sleep)
    clock.now += 60
    bucket.take(3000)
    assert clock.now - 160 == 2.0
