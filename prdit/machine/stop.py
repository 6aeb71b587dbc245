"""Whether something asks a run to end: a signal, or a time limit that draws near."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
SHARE, MOST_S = 0.1, 120.0
"""Share of a time limit, and at most so many seconds of it, that are left for saving."""


class Stop:
    """Catches the signals while it is entered, and watches the clock.

    Args:
        time_limit: minutes from now by which the run has to have ended; 0: none.
        grace_s: where a process may hang because another one died, it ends that long after a
            signal even if it could not react to it.
    """

    def __init__(self, time_limit: float = 0, grace_s: float | None = None) -> None:
        self.reason: str | None = None
        self.grace_s = grace_s
        self.timer: threading.Timer | None = None
        seconds = time_limit * 60
        self.end = math.inf
        if seconds:
            self.end = time.monotonic() + seconds - min(MOST_S, SHARE * seconds)

    def asked(self) -> bool:
        """Whether to save and end now; `reason` says why."""
        if self.reason is None and time.monotonic() > self.end:
            self.reason = "the time limit"
        return self.reason is not None

    def heeded(self) -> None:
        """The run reacted: it ends by itself."""
        if self.timer is not None:
            self.timer.cancel()

    def __enter__(self) -> Stop:
        self.before = {number: signal.signal(number, self._caught) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self.heeded()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, _: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        # Schedulers and torchrun may send a signal twice; an impatient person may kill at once.
        impatient = number == signal.SIGINT and self.grace_s is None
        signal.signal(number, signal.SIG_DFL if impatient else signal.SIG_IGN)
        if self.grace_s is not None and self.timer is None:
            self.timer = threading.Timer(self.grace_s, os._exit, [1])
            self.timer.daemon = True
            self.timer.start()
