"""A profile of Snakemake, and the jobs that would run with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from prdit.errors import UserError
from prdit.plan.dry_run import Job, jobs

ASKED = ("set-resources", "default-resources", "set-threads", "config")
"""What of a profile says which jobs there are and what they ask for."""


@dataclass(frozen=True)
class Profile:
    """The keys of a profile; without one, Snakemake runs jobs on this machine."""

    path: Path = Path("no profile")
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def slurm(self) -> bool:
        """Whether jobs go to SLURM."""
        return self.keys.get("executor") == "slurm"

    @property
    def conda(self) -> bool:
        """Whether each rule runs in its own conda environment."""
        names = ("software-deployment-method", "sdm")
        return any("conda" in str(self.keys.get(name, "")) for name in names)

    def config(self) -> dict[str, Any]:
        """What the profile sets in the config."""
        return _mapping(self.keys.get("config"))

    def jobs(self, configs: Sequence[Path]) -> list[Job]:
        """The jobs that would run; UserError if Snakemake refuses."""
        # A dry run with all of the profile would need conda and SLURM's plugin.
        asked = {key: self.keys[key] for key in ASKED if key in self.keys}
        with TemporaryDirectory() as folder:
            Path(folder, "config.yaml").write_text(yaml.safe_dump(asked))
            return jobs(configs, folder)


def read_profile(name: str) -> Profile:
    """The profile of a folder, or of that name where Snakemake keeps a user's own.

    Raises:
        UserError: there is none, or it cannot be understood.
    """
    paths = [Path(name, "config.yaml"), Path.home() / ".config/snakemake" / name / "config.yaml"]
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        raise UserError(
            f"there is no profile {name} with a config.yaml; name a folder, such as"
            " workflow/profiles/slurm"
        )
    try:
        keys = yaml.safe_load(path.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the profile {path}: {' '.join(str(error).split())}") from None
    try:
        by_rule, *_ = [_mapping(keys.get(name)) for name in ASKED]
        understood = all(isinstance(one, dict) for one in by_rule.values())
    except (AttributeError, TypeError, yaml.YAMLError):
        understood = False
    if not understood:
        raise UserError(
            f"the profile {path} is no mapping of keys to values, or its resources are not"
            " written as `rule: {resource: value}`; write it as in workflow/profiles/slurm"
        )
    return Profile(path, keys)


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping of a profile, which may also be written as `key=value`, or a list of those."""
    if isinstance(value, dict):
        return value
    words = [value] if isinstance(value, str) else value or []
    pairs = (str(word).partition("=") for word in words)
    return {key: yaml.safe_load(text) for key, _, text in pairs}
