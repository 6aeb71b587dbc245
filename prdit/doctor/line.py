"""What a check says, and how programs of the site are asked."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

TIMEOUT_S = 20
"""That a program of the site may take; a SLURM controller under load takes some seconds."""


class Line(NamedTuple):
    """What came of one check."""

    verdict: str
    """`ok`; `note` for what may be as it should; `PROBLEM` for what would end a run."""
    sentence: str


def ok(sentence: str) -> Line:
    """All is as it should be."""
    return Line("ok", sentence)


def note(sentence: str) -> Line:
    """Worth knowing, and no hindrance."""
    return Line("note", sentence)


def problem(sentence: str) -> Line:
    """Would end a run; the sentence says what to do."""
    return Line("PROBLEM", sentence)


class Answer(NamedTuple):
    """What a program of the site said."""

    failed: bool
    text: str
    error: str
    """Its last words on stderr, or why there are none."""


def ask(*command: str) -> Answer:
    """Run a program of the site, for 20 s at most."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(True, "", f"no answer within {TIMEOUT_S} s")
    except FileNotFoundError:
        return Answer(True, "", f"there is no {command[0]}")
    except OSError as error:
        return Answer(True, "", error.strerror or str(error))
    words = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return Answer(done.returncode != 0, done.stdout, words[-1] if words else "no reason given")
