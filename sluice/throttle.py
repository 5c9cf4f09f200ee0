"""Not more rows a second than told: a token bucket that is asked between transactions."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """`take(n)` returns when `n` rows may go. Rows that were not used in one second are not saved up.

    Args:
        rate: rows a second, above 0.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._tokens, self._at = 0.0, clock()

    def take(self, rows: int) -> None:
        """Wait for as long as `rows` rows take at the rate. A signal that raises ends the wait at once."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._rate) - rows
        self._at = now
        if self._tokens < 0:
            self._sleep(-self._tokens / self._rate)
