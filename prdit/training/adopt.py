"""Another training's state as the beginning of this one, because someone asked for it."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from pathlib import Path

from prdit.data.store import Store
from prdit.errors import Interrupted, UserError
from prdit.machine.journal import Entry, read
from prdit.machine.stop import Stop
from prdit.recipes import TrainRecipe
from prdit.training.attempt import Conditions, trained
from prdit.training.states import LOG, States

PROVEN = 8
"""First steps that are repeated to prove that other code does the same."""
SAME = 1e-5
"""Relative difference that their losses and gradients may have: rounding on another machine."""


def take_over(
    which: str,
    recipe: TrainRecipe,
    store: Store,
    start_from: Path | None,
    states: States,
    how: Conditions,
) -> None:
    """Put another training's state where this one's would be, unless it has one of its own.

    Args:
        which: the beginning of the other's key, taken as it is; or "proven": the one that differs
            in its code alone, and whose first steps the present code repeats exactly.

    Raises:
        UserError: there is no such training, or the present code does something else.
    """
    if states.reached:
        return
    others, proven = states.others(), which == "proven"
    if proven:
        found = [other for other in others if states.differs_in_code_alone(other)]
    else:
        found = [other for other in others if other.key.startswith(which)]
    if not found:
        kind = "by other code, but else the same," if proven else which
        raise UserError(f"no training {kind} has a state in {states.folder.parent}")
    if proven:
        prove(found[0], recipe, store, start_from, how)
    states.say(f"{found[0].key} is taken over, which differs:{states.difference(found[0])}")
    if how.group.first:
        states.open()
        states.take_over(found[0])
    how.group.wait()


def prove(
    other: States, recipe: TrainRecipe, store: Store, start_from: Path | None, how: Conditions
) -> None:
    """Raise UserError unless the first steps have the losses and gradients that `other` logged."""
    with tempfile.TemporaryDirectory() as folder:
        states = States(Path(folder), other.identity, lambda _: None)
        soon = Conditions(how.group, how.micro_batch, Soon(), math.inf)
        with suppress(Interrupted):  # which is how it ends
            trained(recipe, store, start_from, states, soon)
        again = read(states.folder / LOG)
    logged = {entry["step"]: entry for entry in read(other.folder / LOG)}
    for entry in again:
        if how.group.first and not same(entry, logged.get(entry["step"], {})):
            step, was = entry["step"], logged.get(entry["step"], {}).get("loss")
            raise UserError(
                f"the present code does not do what {other.key} did: at step {step} its loss is"
                f" {entry['loss']}, that was {was}; train anew, without adopt"
            )


def same(mine: Entry, its: Entry) -> bool:
    """Whether two entries have the same losses."""
    told = [name for name in ("loss", "gradient") if name in mine]
    return all(math.isclose(mine[n], its.get(n, math.nan), rel_tol=SAME) for n in told)


class Soon(Stop):
    """Asks for the end after the first steps."""

    def __init__(self) -> None:
        super().__init__()
        self.left = PROVEN

    def asked(self) -> bool:
        self.left -= 1
        return self.left == 0
