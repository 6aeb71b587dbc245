"""One training as a step of the workflow: from packed volumes to a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from prdit.data.store import Store, open_store
from prdit.errors import OutOfMemory, UserError
from prdit.files import atomic, sha256, write_json
from prdit.generators import weights as weights_file
from prdit.generators.base import Generator
from prdit.machine import memory
from prdit.machine.device import device_name
from prdit.machine.processes import Processes, join
from prdit.machine.stop import Stop
from prdit.recipes import TrainRecipe
from prdit.training.adopt import take_over
from prdit.training.attempt import Conditions, trained
from prdit.training.state import State
from prdit.training.states import LOG, States

GRACE_S = 20.0
"""How long one process of several may take to heed a signal: the others may be dead."""


def run(
    recipe: TrainRecipe,
    *,
    code: str,
    volumes: Path,
    start_from: Path | None,
    perceptual: list[Path],
    weights: Path,
    record: Path,
    history: Path,
    batch: int,
    processes: int,
    threads: int,
    time_limit: float = 0,
    save_every: float = 600.0,
    adopt: str = "no",
) -> None:
    """Train one model on the training part of a store, or go on where an attempt before ended.

    Args:
        code: digest of the code; a training that other code began is another training.
        volumes: the store's .npy file.
        start_from: weights of the model that this one builds on.
        perceptual: published weights that its loss compares images by, if it does.
        weights: averaged weights to write; states lie in the folder `states` beside it.
        record: JSON to write of what it took: status (ok, or oom: out of memory), seconds, sha256.
        history: JSONL to write: losses, speed, memory.
        batch: volumes at a time on a device; changes nothing beyond float rounding.
        processes: to share each batch, one per GPU; changes nothing beyond float rounding.
        threads: of all processes.
        time_limit: minutes by which the run has to have ended; it saves and exits with 75 before.
            0: none.
        save_every: seconds between states.
        adopt: "proven": go on from a training by other code, if its first steps are the same by the
            present code; or the key of any other training of this model; or "no".
    """
    if processes > recipe.model.training.batch:
        raise UserError(
            f"{processes} processes cannot share a batch of {recipe.model.training.batch}; start"
            " fewer"
        )
    group = join(processes)
    torch.set_num_threads(max(1, threads // group.count))
    store = open_store(volumes)
    used = {"perceptual": {path.name: sha256(path) for path in perceptual}} if perceptual else {}
    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "code": code,
        "data": store.fingerprint(),
        "start_from": None if start_from is None else sha256(start_from),
        **used,
    }
    states = States(weights.parent / "states", identity, group.say)
    try:
        with Stop(time_limit, GRACE_S if group.count > 1 else None) as stop:
            how = Conditions(group, batch, stop, save_every)
            if adopt != "no":
                take_over(adopt, recipe, store, start_from, states, how)
            generator, state = trained(recipe, store, start_from, states, how)
        told = result(generator, state, store)
        if group.first:
            raw = generator.network.state_dict()
            weights_file.save(weights, state.average.state(), raw, recipe, volumes_of(store))
            states.finish()
    except Exception as error:
        asked = memory.asked_for(error)
        if asked is None or not (states.reached or isinstance(error, OutOfMemory)):
            raise
        told = too_large(asked, states)
        memory.lift_limit(group.device)
        if group.first:
            weights_file.save_nothing(weights, recipe, told["asked_for"])
    if group.first:
        told |= {
            "sha256": sha256(weights),
            "cohort": store.cohort,
            "key": states.key,
            **used,
            **states.adopted(),
            **ran_on(group),
        }
        copy_or_empty(states.folder / LOG, history)
        write_json(record, told)


def result(generator: Generator, state: State, store: Store) -> dict[str, Any]:
    """What there is to say of a finished training."""
    parameters = list(generator.network.parameters())
    return {
        "status": "ok",
        "volumes": state.volumes,
        "training_volumes": store.parts.count("train"),
        "skipped_steps": state.skipped,
        "seconds": round(state.seconds, 1),
        "parameters": sum(p.numel() for p in parameters),
        "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
    }


def too_large(asked: str, states: States) -> dict[str, Any]:
    """What there is to say of a model that memory does not suffice for.

    Raises:
        UserError: it did suffice, in an earlier attempt.
    """
    if states.reached:
        raise UserError(
            f"out of memory ({asked}) in a training that had got to {states.reached:,} volumes:"
            " something else takes it; the state is kept, run the same command again"
        ) from None
    return {"status": "oom", "asked_for": asked}


def volumes_of(store: Store) -> dict[str, Any]:
    """What there is to say of the volumes that a generator makes."""
    return {
        "window": store.window,
        "nominal_hu": store.nominal,
        "spacing_mm": store.spacing_mm,
        "cohort": store.cohort,
    }


def ran_on(group: Processes) -> dict[str, Any]:
    """What a training ran on."""
    return {
        "device": device_name(group.device),
        "processes": group.count,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "memory_gib": round(memory.peak_gib(group.device), 3),
    }


def copy_or_empty(source: Path, target: Path) -> None:
    """Copy a file, or make an empty one if there is none."""
    with atomic(target) as unfinished:
        unfinished.write_bytes(source.read_bytes() if source.exists() else b"")
