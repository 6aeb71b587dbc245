"""Another training's state as the beginning of this one, because someone asked for it."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from pathlib import Path

from prdit.data.store import Store
from prdit.errors import Interrupted, UserError
from prdit.machine.journal import Line, read
from prdit.machine.memory import release
from prdit.machine.stop import Stop
from prdit.recipes import TrainRecipe
from prdit.training.attempt import Conditions, starting_point, trained
from prdit.training.state import State
from prdit.training.states import LOG, States

PROVEN = 8
"""First steps that are repeated to prove that other code does the same."""
SAME = {"cpu": {"loss": 1e-5, "gradient": 1e-5}, "cuda": {"loss": 1e-3, "gradient": 2e-2}}
"""Relative differences that they may have: rounding on another machine, in bfloat16 on a GPU, whose
sums besides come in any order."""


def take_over(
    which: str,
    recipe: TrainRecipe,
    store: Store,
    start_from: Path | None,
    states: States,
    how: Conditions,
) -> None:
    """Put another training's state where this one's would be, if it got further than this one.

    Args:
        which: the beginning of the other's key, taken as it is; or "proven": one that differs in
            its code alone, and whose first steps the present code repeats exactly. If none is
            proven, this training begins as it would have.

    Raises:
        UserError: no or several trainings have such a key, or the state does not fit.
    """
    if which == "proven":
        found = [other for other in states.others() if states.differs_in_code_alone(other)]
    else:
        found = [other for other in states.others() if which and other.key.startswith(which)]
        if len(found) != 1:
            raise UserError(
                f"{len(found)} other trainings in {states.parent} have a key that begins with"
                f" {which!r}; name one"
            )
    for other in found:
        if other.reached <= states.reached:
            states.say(f"{other.key} is not taken over: it got no further than this training")
        elif which == "proven" and (reason := unproven(other, recipe, store, start_from, how)):
            states.say(f"{other.key} is not taken over: {reason}")
        else:
            copy(other, recipe, start_from, states, how)
            return


def copy(
    other: States, recipe: TrainRecipe, start_from: Path | None, states: States, how: Conditions
) -> None:
    """Make the other's newest state this training's."""
    training = recipe.model.training
    tensors = other.newest()
    if tensors is None:
        raise UserError(f"{other.folder} holds no state that is whole; train anew")
    state = State(starting_point(recipe, start_from, how.group), training)
    states.restore(state, tensors)
    if state.volumes % training.batch or state.volumes - training.batch >= training.volumes:
        raise UserError(
            f"{other.key} got to {state.volumes:,} volumes, which is no step of this training:"
            f" {training.volumes:,} in batches of {training.batch}"
        )
    states.say(f"{other.key} is taken over, which differs:{states.difference(other)}")
    if how.group.first:
        states.open()
        states.take_over(other, state)
    how.group.wait()


def unproven(
    other: States, recipe: TrainRecipe, store: Store, start_from: Path | None, how: Conditions
) -> str | None:
    """Why the present code is not proven to do what `other` did at first; None if it is."""
    with tempfile.TemporaryDirectory() as folder:
        states = States(Path(folder), other.identity, lambda _: None)
        soon = Conditions(how.group, how.micro_batch, Soon(), math.inf)
        with suppress(Interrupted):  # which is how it ends
            trained(recipe, store, start_from, states, soon)
        again = {entry["step"]: entry for entry in read(states.folder / LOG)}
    release()
    logged = {entry["step"]: entry for entry in read(other.folder / LOG)}
    both = sorted({*again} & {*logged})
    bounds = SAME[how.group.device.type]
    differing = [step for step in both if not same(again[step], logged[step], bounds)]
    (failed,) = how.group.any(how.group.first and (not both or bool(differing)))
    if not failed:
        return None
    if not differing:
        return "its log tells of no step that could be repeated"
    mine, its = again[differing[0]]["loss"], logged[differing[0]]["loss"]
    return f"at step {differing[0]} its loss was {its}, by the present code it is {mine}"


def same(mine: Line, its: Line, bounds: dict[str, float]) -> bool:
    """Whether two entries have the same loss and gradient, within relative bounds."""
    told = [(name, bound) for name, bound in bounds.items() if name in mine]
    return all(math.isclose(mine[n], its.get(n, math.nan), rel_tol=bound) for n, bound in told)


class Soon(Stop):
    """Asks for the end after the first steps."""

    def __init__(self) -> None:
        super().__init__()
        self.left = PROVEN

    def asked(self) -> bool:
        self.left -= 1
        return self.left == 0
