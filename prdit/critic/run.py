"""One critic as a step of the workflow: how far two models' volumes are from real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from prdit.critic.pairs import Pairs, drawn, in_whole_hu
from prdit.critic.wgan import Critic
from prdit.data.store import Store, open_store
from prdit.errors import UserError
from prdit.files import read_json, sha256, write_json
from prdit.machine.processes import Processes, join
from prdit.machine.stop import Stop
from prdit.metrics.interval import stream
from prdit.recipes import CriticRecipe
from prdit.training.attempt import Conditions, product_rate, to_its_end
from prdit.training.feed import Feed
from prdit.training.states import States

DRAWS = 1000
"""Of the bootstrap."""


def run(
    recipe: CriticRecipe,
    *,
    code: str,
    real: Path,
    first: list[Path],
    second: list[Path],
    score: Path,
    batch: int,
    threads: int,
    time_limit: float = 0,
    save_every: float = 600.0,
) -> None:
    """Train a critic on training parts of real and two models' volumes, and ask it of others.

    It is saved and goes on as any training does.

    Args:
        code: digest of the code.
        real: the store's .npy file.
        first, second: cards of the samples of the recipe's two models.
        score: JSON to write: both distances (Eq. 9) on held-out volumes, with intervals.
        batch: pairs at a time; changes rounding alone, which hundreds of steps may raise to 2 %.
        time_limit: minutes by which the run has to have ended; it saves and exits with 75 before.
        save_every: seconds between states.
    """
    about = {key: getattr(recipe, key) for key in ("dataset", "size", "seed", "models")}
    about["critic"] = recipe.critic.training.seed
    if not (first and second):
        raise UserError(
            "a critic needs the cards of two models' samples; give --first and --second"
        )
    if any("oom" in read_json(card) for card in (*first, *second)):
        write_json(score, {**about, "oom": True, "distances": None})
        return
    torch.set_num_threads(threads)
    store = open_store(real)
    if store.quantised.shape[1] != recipe.size:
        raise UserError(
            f"{real} holds volumes of edge {store.quantised.shape[1]}, not {recipe.size}"
        )
    store = in_whole_hu(store)
    generated = [drawn(cards, store, recipe.critic.held_out) for cards in (first, second)]
    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "code": code,
        "data": store.fingerprint(),
        "samples": [[sha256(card) for card in cards] for cards in (first, second)],
    }
    group = join(1)
    states = States(score.with_suffix("") / "states", identity, group.say)
    with Stop(time_limit) as stop:
        how = Conditions(group, batch, stop, save_every)
        critic = trained(recipe, store, generated, states, how)
    write_json(score, {**about, **distances(critic, store, generated, group, batch)})


def trained(
    recipe: CriticRecipe, real: Store, generated: list[Store], states: States, how: Conditions
) -> Critic:
    """A critic with its averaged weights, from wherever `states` has got to."""
    critic, device = Critic(recipe.critic, recipe.size), how.group.device
    peak = product_rate(device)
    critic.network.to(device)
    feed, held_out = (Pairs(real, generated, part, device) for part in ("train", "held-out"))
    state = to_its_end(critic, recipe.critic.training, feed, held_out, states, how, peak)
    states.finish()
    critic.network.load_state_dict(state.average.state())
    return critic


@torch.inference_mode()
def distances(
    critic: Critic, real: Store, generated: list[Store], group: Processes, batch: int
) -> dict[str, Any]:
    """Both distances (Eq. 9) on held-out volumes, and intervals of 95 % by drawing them anew."""
    critic.network.eval()
    asked = [
        torch.cat(
            [critic.network(feed(some)).flatten() for some in torch.arange(len(feed)).split(batch)]
        )
        .double()
        .cpu()
        .numpy()
        for feed in (Feed(one, "held-out", group.device) for one in (real, *generated))
    ]
    rng = stream("critic", critic.seed)
    again = [x[rng.integers(len(x), size=(DRAWS, len(x)))].mean(axis=1) for x in asked]
    return {
        "distances": [float(asked[0].mean() - x.mean()) for x in asked[1:]],
        "intervals": [np.quantile(again[0] - x, [0.025, 0.975]).tolist() for x in again[1:]],
        "held_out": [len(x) for x in asked],
    }
