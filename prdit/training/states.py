"""The saved states of a training: the newest whole one, and no other training's."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from prdit.errors import UserError
from prdit.files import atomic, read_json, write_json
from prdit.kept import Kept
from prdit.machine.memory import asked_for
from prdit.training.state import State

KEPT = 2
"""States of an unfinished training: should the newest be damaged, there is the one before."""
NAME = re.compile(r"(\d{12})-([0-9a-f]{16})\.safetensors")
"""Volumes seen and the beginning of the sha256 of the file's bytes."""
LOG = "log.jsonl"
ADOPTED = "adopted.json"


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
        self.lock: TextIO | None = None
        """Held by the one process that writes."""

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
        others = [path for path in self._paths() if path.name != name]
        for path in others[KEPT - 1 :]:
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
            if self.lock is not None:  # put aside, or it would pass for the newest for ever
                path.rename(path.with_suffix(".damaged"))
        return None

    def others(self) -> list[States]:
        """Other trainings of this model that got somewhere, the one that got furthest first."""
        found = [States(self.parent, other.identity, self.say) for other in self.siblings()]
        return sorted((o for o in found if o.reached), key=lambda o: o.reached, reverse=True)

    def resume(self, state: State) -> None:
        """Make `state` the newest of this training; say so, or why there is none to go on from."""
        tensors = self.newest()
        if tensors is not None:
            self.restore(state, tensors)
            self.say(f"going on from {state.volumes:,} volumes ({self.folder})")
            return
        if any(self.folder.glob("*.damaged")):
            self.say(f"no state in {self.folder} is whole; beginning anew")
        for other in self.others():
            self.say(
                f"training {other.key} got to {other.reached:,} volumes, but is not this one:"
                f"{self.difference(other)}\n  to go on from it nevertheless, run this command with"
                f" --adopt {other.key}"
            )

    def restore(self, state: State, tensors: dict[str, Tensor]) -> None:
        """Make `state` what `tensors` were taken of. Raises UserError if they do not fit it."""
        try:
            state.restore(tensors)
        except (RuntimeError, KeyError, ValueError) as error:
            if asked_for(error) is not None:  # moments are made anew on the device
                raise
            reason = str(error).splitlines()[0]
            raise UserError(
                f"a state does not fit the model of {self.folder} ({reason}); move it away"
            ) from None

    def take_over(self, other: States, state: State) -> None:
        """Make another training's state this one's, and its log; say so in run.json for ever."""
        self.save(state)
        told = {"key": other.key, "volumes": state.volumes, "differs": self.difference(other)}
        write_json(self.folder / ADOPTED, told)
        if (other.folder / LOG).exists():
            with atomic(self.folder / LOG) as partial:
                shutil.copyfile(other.folder / LOG, partial)

    def adopted(self) -> dict[str, Any]:
        """What this training was taken over from, if it was."""
        path = self.folder / ADOPTED
        return {"adopted": read_json(path, "key")} if path.exists() else {}

    @property
    def reached(self) -> int:
        """Volumes seen by the newest state."""
        return max((int(path.name[:12]) for path in self._paths()), default=0)

    def _paths(self) -> list[Path]:
        """States, newest first."""
        found = self.folder.glob("*.safetensors")
        return sorted((path for path in found if NAME.fullmatch(path.name)), reverse=True)
