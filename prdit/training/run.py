"""One training as a step of the workflow: from packed volumes to a weights file."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import torch

from prdit.data.store import open_store
from prdit.errors import OutOfMemory, UserError
from prdit.files import atomic, sha256, write_json
from prdit.generators import weights as weights_file
from prdit.generators.base import Generator, build
from prdit.machine import memory
from prdit.machine.journal import Journal
from prdit.machine.processes import Processes, join
from prdit.machine.rate import flop_per_volume
from prdit.machine.stop import Stop
from prdit.recipes import TrainRecipe
from prdit.training.feed import Feed
from prdit.training.loop import train
from prdit.training.state import State
from prdit.training.states import States
from prdit.training.update import Updates

LOG = "log.jsonl"
GRACE_S = 20.0
"""How long one process of several may take to heed a signal: the others may be dead."""


def run(
    recipe: TrainRecipe,
    *,
    code: str,
    volumes: Path,
    start_from: Path | None,
    weights: Path,
    record: Path,
    history: Path,
    batch: int,
    processes: int,
    threads: int,
    time_limit: float | None = None,
    save_every: float = 600.0,
    adopt: str | None = None,
) -> None:
    """Train one model on the training part of a store, or go on where an attempt before ended.

    Args:
        code: digest of the code; a training that other code began is another training.
        volumes: the store's .npy file.
        start_from: weights of the model that this one builds on.
        weights: averaged weights to write; states lie in the folder `states` beside it.
        record: JSON to write of what it took: status (ok, or oom: out of memory), seconds, sha256.
        history: JSONL to write: losses, speed, memory.
        batch: volumes at a time on a device; changes nothing beyond float rounding.
        processes: to share each batch, one per GPU; changes nothing beyond float rounding.
        threads: of all processes.
        time_limit: minutes by which the run has to have ended; it saves and exits with 75 before.
        save_every: seconds between states.
        adopt: key of another training of this model, to go on from its state.
    """
    group = join(processes)
    torch.set_num_threads(max(1, threads // group.count))
    store, training = open_store(volumes), recipe.model.training
    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "code": code,
        "data": store.fingerprint(),
        "start_from": None if start_from is None else sha256(start_from),
    }
    states = States(weights.parent / "states", identity, group.say)
    try:
        memory.limit(training.memory_gib, group.device)
        generator = starting_point(recipe, start_from, group)
        feed, held_out = (Feed(store, part, group.device) for part in ("train", "held-out"))
        flop = count_flop(generator, feed)
        state = State(generator, training)
        if group.first:
            states.open()
        states.resume(state, adopt)
        journal = Journal(
            states.folder / LOG,
            group,
            volumes=state.volumes,
            seconds=state.seconds,
            total=training.volumes,
            flop=flop,
        )
        with Stop(time_limit, GRACE_S if group.count > 1 else None) as stop:
            train(
                generator,
                state,
                training,
                feed=feed,
                held_out=held_out,
                updates=Updates(group, training, batch),
                journal=journal,
                states=states,
                save_every=save_every,
                stop=stop,
            )
        told = {
            "status": "ok",
            "volumes": training.volumes,
            "training_volumes": len(feed),
            "skipped_steps": state.skipped,
            "seconds": round(state.seconds, 1),
            **parameters(generator),
        }
        if group.first:
            weights_file.save(
                weights,
                state.average.state(),
                generator.network.state_dict(),
                recipe,
                {
                    "window": store.window,
                    "nominal_hu": store.nominal,
                    "spacing_mm": store.spacing_mm,
                },
            )
            states.finish()
    except (RuntimeError, MemoryError, OutOfMemory) as error:
        asked = error.asked if isinstance(error, OutOfMemory) else memory.asked_for(error)
        if asked is None:
            raise
        told = {"status": "oom", "asked_for": asked}
        if group.first:
            weights_file.save_nothing(weights, recipe, asked)
    if group.first:
        with atomic(history) as unfinished:
            unfinished.touch()
            if (states.folder / LOG).exists():
                shutil.copyfile(states.folder / LOG, unfinished)
        write_json(record, told | {"sha256": sha256(weights), "key": states.key} | machine(group))


def starting_point(recipe: TrainRecipe, start_from: Path | None, group: Processes) -> Generator:
    """The generator before its first step, on this process's device."""
    generator = build(recipe.model, recipe.size, recipe.base)
    if start_from is not None:
        raw = recipe.model.start_weights == "raw"
        generator.start_from(weights_file.load(start_from, raw=raw)[0])
    if recipe.model.training.batch < group.count:
        raise UserError(
            f"{group.count} processes cannot share a batch of {recipe.model.training.batch};"
            " start fewer"
        )
    generator.network.to(group.device)
    return generator


def count_flop(generator: Generator, feed: Feed) -> float:
    """FLOP of a training step per volume, counted on the first volume."""
    generator.optimizers()
    first = torch.zeros(1, dtype=torch.int64)
    return flop_per_volume(generator.step, feed(first), first.to(feed.device))


def machine(group: Processes) -> dict[str, Any]:
    """What a training ran on."""
    cuda = group.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name()
        if cuda
        else platform.processor() or platform.machine(),
        "processes": group.count,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "memory_gib": round(memory.peak_gib(group.device), 3),
    }


def parameters(generator: Generator) -> dict[str, int]:
    """How many parameters a generator has, and how many of them were trained."""
    found = list(generator.network.parameters())
    return {
        "parameters": sum(p.numel() for p in found),
        "trained_parameters": sum(p.numel() for p in found if p.requires_grad),
    }
