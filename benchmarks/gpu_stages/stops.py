"""How a run is stopped (Ctrl-C, SIGTERM, SIGHUP), and that two do not share a folder."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked for the end: no error, so that nothing but the command itself catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Refused(Exception):
    """What is asked for cannot be done; the sentence says why."""


class _Signals:
    """The first signal that came, and whether it has to wait."""

    came = 0
    waits = False


def heed() -> None:
    """From now on, the first of STOPS raises Stopped; what is ignored (nohup) stays so."""
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    if _Signals.came:
        return  # the end is on its way
    _Signals.came = number
    if not _Signals.waits:
        raise Stopped(number)


@contextmanager
def unbroken() -> Iterator[None]:
    """A signal within waits for the end of it."""
    before, _Signals.waits = _Signals.came, True
    try:
        yield
    finally:
        _Signals.waits = False
    if _Signals.came and not before:
        raise Stopped(_Signals.came)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """No other run uses this folder meanwhile; Refused if one does.

    Args:
        out: is made if it is not there.
    """
    (out / "work").mkdir(parents=True, exist_ok=True)
    lock = os.open(out / "work" / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"another run uses {out}: wait for its end, or name another folder with --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(lock)
