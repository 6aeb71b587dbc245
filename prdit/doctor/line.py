"""What a check says, and how programs of the site are asked."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import NamedTuple

TIMEOUT_S = 20
"""That a program of the site may take; a SLURM controller under load takes some seconds."""


class Line(NamedTuple):
    """What came of one check."""

    verdict: str
    sentence: str


ok = partial(Line, "ok")
note = partial(Line, "note")
"""Worth knowing, and no hindrance."""
problem = partial(Line, "PROBLEM")
"""Would end a run; the sentence says what to do."""


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
            command, input="", capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Answer(True, "", f"no answer within {TIMEOUT_S} s")
    except FileNotFoundError:
        return Answer(True, "", f"there is no {command[0]}")
    except OSError as error:
        return Answer(True, "", error.strerror or str(error))
    words = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return Answer(done.returncode != 0, done.stdout, words[-1] if words else "no reason given")
