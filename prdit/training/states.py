"""The saved states of a training: the newest whole one, and no other training's."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from prdit.errors import UserError
from prdit.files import atomic
from prdit.kept import Kept
from prdit.training.state import State

KEPT = 2
"""States of an unfinished training: should the newest be damaged, there is the one before."""
NAME = re.compile(r"(\d{12})-([0-9a-f]{16})\.safetensors")
"""Volumes seen and the beginning of the sha256 of the file's bytes."""
LOG = "log.jsonl"


class States(Kept):
    """The saved states of one training.

    A finished training is a state with nothing left to do, so that its weights are written again in
    seconds after an edit was undone.

    Args:
        say: told of what a person should know.
    """

    def __init__(self, parent: Path, identity: dict[str, Any], say: Callable[[str], None]) -> None:
        super().__init__(parent, identity)
        self.say = say

    def open(self) -> None:
        """Make the folder, and keep every other process out of it until this one ends.

        Raises:
            UserError: another process is at it, or the folder cannot be made.
        """
        self.declare()
        for partial in self.folder.glob(".*.safetensors"):
            partial.unlink()  # cut short by a crash
        self.lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is at this training ({self.folder}); wait for it, or end it"
            ) from None
        except OSError:
            return  # a file system without locks: two would only do the same twice

    def save(self, state: State) -> None:
        """Write a state whole or not at all, then let go of the one before the last.

        Raises:
            UserError: the disk is full; states that were there are there still.
        """
        content = to_bytes(state.tensors())
        name = f"{state.volumes:012d}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        with atomic(self.folder / name) as partial:
            partial.write_bytes(content)
        for path in self._paths()[KEPT:]:
            path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Nothing is left to do: the newest state is enough."""
        for path in self._paths()[1:]:
            path.unlink(missing_ok=True)

    def newest(self) -> dict[str, Tensor] | None:
        """The tensors of the newest state that is whole, if there is one."""
        for path in self._paths():
            try:
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest()[:16] == path.stem.split("-")[1]:
                    return from_bytes(content)
            except (OSError, SafetensorError) as error:
                self.say(f"{path} cannot be read: {error}")
            self.say(f"{path} is damaged; looking for the state before it")
        return None

    def others(self) -> list[States]:
        """Other trainings of this model that got somewhere, the one that got furthest first."""
        found = [States(self.parent, other.identity, self.say) for other in self.siblings()]
        return sorted((o for o in found if o.reached), key=lambda o: o.reached, reverse=True)

    def resume(self, state: State) -> None:
        """Make `state` the newest of this training; say so, or why there is none to go on from."""
        tensors = self.newest()
        if tensors is not None:
            state.restore(tensors)
            self.say(f"going on from {state.volumes:,} volumes ({self.folder})")
            return
        if self.reached:
            self.say(f"no state in {self.folder} is whole; beginning anew")
        for other in self.others():
            self.say(
                f"training {other.key} got to {other.reached:,} volumes, but is not this one:"
                f"{self.difference(other)}\n  to go on from it nevertheless, run this command with"
                f" --adopt {other.key}"
            )

    def take_over(self, other: States) -> None:
        """Make another training's newest state and its log this one's. Call `open` before."""
        for path in [*other._paths()[:1], other.folder / LOG]:
            with atomic(self.folder / path.name) as partial:
                shutil.copyfile(path, partial)

    @property
    def reached(self) -> int:
        """Volumes seen by the newest state."""
        return max((int(path.name[:12]) for path in self._paths()), default=0)

    def _paths(self) -> list[Path]:
        """States, newest first."""
        found = self.folder.glob("*.safetensors")
        return sorted((path for path in found if NAME.fullmatch(path.name)), reverse=True)
