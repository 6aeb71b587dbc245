"""A profile of Snakemake, and what each rule asks for under it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from prdit.errors import UserError


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

    def threads(self, rule: str) -> int:
        """Processors that the profile gives a rule; 1 if it says nothing."""
        told = _mapping(self.keys.get("set-threads")).get(rule, 1)
        return told if isinstance(told, int) else 1

    def resources(self) -> dict[str, dict[str, Any]]:
        """{rule: {resource: value}}; a runtime in minutes, or None where a rule computes it."""
        defaults = _mapping(self.keys.get("default-resources"))
        own = _mapping(self.keys.get("set-resources"))
        return {rule: defaults | of | own.get(rule, {}) for rule, of in written().items()}


def read_profile(name: str) -> Profile:
    """The profile of a folder, or of that name where Snakemake keeps a user's own.

    Raises:
        UserError: there is none, or it cannot be understood.
    """
    for folder in (Path(name), Path.home() / ".config/snakemake" / name):
        path = folder / "config.yaml"
        if path.is_file():
            return _read(path)
    raise UserError(
        f"there is no profile {name} with a config.yaml; name a folder, such as"
        " workflow/profiles/slurm"
    )


def _read(path: Path) -> Profile:
    try:
        keys = yaml.safe_load(path.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the profile {path}: {' '.join(str(error).split())}") from None
    try:
        for name in ("config", "default-resources", "set-threads"):
            _mapping(keys.get(name))
        rules = list(_mapping(keys.get("set-resources")).values())
    except (AttributeError, TypeError, yaml.YAMLError):
        rules = [None]
    if not all(isinstance(one, dict) for one in rules):
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


def written() -> dict[str, dict[str, int | None]]:
    """Runtime in minutes and GPUs of each rule, as its file says; None where it is computed."""
    found = {}
    for path in sorted(Path("rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            told = re.findall(r"^ {8}(runtime|gpu|mem_mb)=(.+?),?$", rule, re.MULTILINE)
            numbers = {key: int(text) if text.isdigit() else None for key, text in told}
            found[rule.partition(":")[0]] = numbers
    return found
