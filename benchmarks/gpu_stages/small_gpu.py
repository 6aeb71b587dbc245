"""`config/small-gpu.yaml` by the workflow: as far as it gets in one stage, then on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec

from .case import ROOT, Case
from .lines import Lines

CONFIG = "config/small-gpu.yaml"
NEEDS = ("snakemake", "SimpleITK", "monai", "pydicom", "pandas", "matplotlib", "jinja2")
SAVING_S = 40.0
"""That jobs have to save and end after they were asked to."""


def run(case: Case, lines: Lines) -> bool:
    """Whether something is left to do."""
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        lines.skip(CONFIG, f"it needs {', '.join(missing)}: pip install -r requirements.lock")
        return False
    words = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local"]
    words += ["--configfile", CONFIG]
    if not case.cuda:
        done = subprocess.run([*words, "-n", "-q"], cwd=ROOT, stdout=sys.stderr, check=False)
        value = f"status {done.returncode} (a dry run: a CPU would take days)"
        lines.holds(f"{CONFIG} can be planned", done.returncode == 0, value, "status 0")
        return False
    words += ["--nolock", "--resources", "gpu=1"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("SIGTERM"))  # by way of `finally`
    child = subprocess.Popen(words, cwd=ROOT, stdout=sys.stderr, start_new_session=True)
    try:
        status = child.wait(max(1.0, case.left() - SAVING_S))
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGINT)  # its jobs, too: a training saves, and ends
        with suppress(subprocess.TimeoutExpired):
            child.wait(SAVING_S)
        lines.info(CONFIG, "has not come to its end; the same command goes on")
        return True
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    tables = sorted((ROOT / "results" / "small-gpu" / "tables").glob("*"))
    names = ", ".join(path.name for path in tables)
    lines.holds(CONFIG, status == 0, f"status {status}; {names}"[:240], "status 0")
    return False
