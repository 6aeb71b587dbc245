"""A SLURM of one node on this machine, for tests: what runs there, and how it is disturbed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "slurm" / "cluster.sh"
PACKAGES = ("slurm-wlm", "munge")


def possible() -> bool:
    """Whether SLURM can be installed and started here: as root, on Debian or its like."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install() -> None:
    """Install SLURM from the distribution's packages, if it is not there."""
    if shutil.which("slurmctld") is None:
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-y"]
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], check=False, capture_output=True)
        subprocess.run([*apt, "install", *PACKAGES], check=True, capture_output=True, env=quiet)


@dataclass(frozen=True)
class Job:
    """What SLURM says of a job; `comment` names Snakemake's rule and wildcards."""

    id: str
    state: str
    restarts: int
    comment: str


class Cluster:
    """A running cluster, whose files lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([SCRIPT, "start", folder], check=True)

    def stop(self) -> None:
        subprocess.run([SCRIPT, "stop", self.folder], check=False)

    def __call__(self, *words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def jobs(self) -> list[Job]:
        """All jobs that SLURM remembers: those that ended in the last minutes, too."""
        form = "JobID:|,State:|,RestartCnt:|,Comment:"
        lines = self("squeue", "--states=all", "--noheader", f"--Format={form}").splitlines()
        found = [[word.strip() for word in line.split("|", 3)] for line in lines]
        return [Job(name, state, int(count), comment) for name, state, count, comment in found]

    def cancel(self, job: Job) -> None:
        self("scancel", job.id)

    def preempt(self) -> None:
        """Send every running job back to the queue, for one that takes the whole node."""
        self("sbatch", "-p", "high", "-c", "2", "--mem=100", "-o", "/dev/null", "--wrap=sleep 1")
