"""Vectors recorded from the released code, computed on the device: networks, samplers, training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prdit.diffusion.process import Process, losses
from prdit.diffusion.samplers import predictor_corrector, released_schedule, walk
from prdit.models.prdit import PRDiT
from prdit.models.released_names import from_released, infer

from .case import ROOT, Case, off
from .lines import Lines

sys.path.insert(0, str(ROOT / "tests"))

RELEASED = Process(timesteps=1000, noise_std=0.5, first_timestep=0)
ATOL, RTOL = 3e-5, 1e-5
"""Of a network in float32; the tests' for a CPU."""
BOUNDS = {"TF32": 2e-3, "bfloat16": 3e-2}
LOSS = 1e-4


def run(case: Case, lines: Lines) -> None:
    files = sorted(case.golden.glob("*.npz")) if case.golden else []
    if not files:
        lines.skip("golden vectors", "none given; point --golden to a folder of them")
    for path in files:
        check = CHECKS.get(path.name[0])
        if check is not None:
            with lines.trying(f"golden {path.name}"):
                check(case, lines, path)


def opened(path: Path) -> Any:
    from recorded import Recorded  # of the tests, which know how the files are written

    return Recorded(path)


def network_of(case: Case, file: Any, state: dict[str, Tensor]) -> PRDiT | None:
    """The network of a file with these weights; None if no setting of the package makes it."""
    if file.number("cfg_mlp", 4.0) != 4:
        return None
    found = infer(state)
    network = PRDiT(
        file.whole("cfg_input_size"),
        patch=found.patch,
        stride=found.stride,
        width=found.width,
        heads=file.whole("cfg_heads"),
        depth=found.depth,
    )
    network.load_state_dict(state)
    return network.to(case.device).eval()


@torch.no_grad()
def model(case: Case, lines: Lines, path: Path) -> None:
    from recorded import weights

    from .parity import computing

    file = opened(path)
    network = network_of(case, file, from_released(weights(file)))
    if network is None:
        lines.skip(f"golden {path.name}", "a width that no setting makes")
        return
    x, t = (file.tensor(key).to(case.device) for key in ("input", "t"))
    right = np.concatenate([file.array("out_noise"), file.array("out_image")], 1)
    with computing(case, "float32"):
        mine = torch.cat(network(x, t), 1).cpu().numpy()
    worst = float((np.abs(mine - right) / (ATOL + RTOL * np.abs(right))).max())
    lines.at_most(f"golden {path.stem}, float32, in tolerances", worst, 1.0)
    for kind, bound in BOUNDS.items():
        with computing(case, kind):
            made = torch.cat(network(x, t), 1)
        value = off(made, torch.from_numpy(right))
        lines.at_most(f"golden {path.stem}, {kind}", value, bound)


def stand_in(kind: str) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    """The two models that samplers were recorded with: (x, t) -> (eps, x0)."""
    if kind == "A":
        return lambda x, _: (0.3 * x, torch.tanh(0.5 * x))
    return lambda x, t: (
        0.3 * x * (1 + t / 1000),
        torch.tanh(0.5 * x) * (1 - 0.5 * t / 1000) + 0.1 * t / 1000,
    )


def samplers(case: Case, lines: Lines, path: Path) -> None:
    file = opened(path)
    process, k = Process(file.whole("T"), RELEASED.noise_std), file.number("predictor_p")
    worst = 0.0
    for found in file.matches(r"(r(\d+)_([A-Z])_(ddim|pc))_final"):
        case_name, steps, estimates, kind = found.groups()
        times = released_schedule(process.timesteps, int(steps))
        plan = predictor_corrector(times, process, k=1.0 if kind == "ddim" else k)
        call, fresh = stand_in(estimates), iter(file.tensor(f"r{steps}_pc_noise").to(case.device))
        x, _ = walk(
            plan,
            lambda x, n, call=call, times=times: call(x, times[n]),
            file.tensor("z").to(case.device),
            lambda _, fresh=fresh: next(fresh),
        )
        right = torch.from_numpy(file.array(f"{case_name}_final"))
        atol = 1e-5 if len(times) <= 51 else 2e-4
        worst = max(worst, float((x.cpu() - right).abs().max()) / atol)
    lines.at_most(f"golden {path.stem}, all samplers, in tolerances", worst, 1.0)


def training(case: Case, lines: Lines, path: Path) -> None:
    """Losses of the first steps of each stage, float32."""
    from .parity import computing

    file = opened(path)
    for stage in [m[1] for m in file.matches(r"(s\d+)_losses_noise_img_total")]:
        network = network_of(case, file, from_released(file.state(f"{stage}_w0/")))
        if network is None:
            continue
        frozen = network.local_parameters() if f"{stage}_frozen" in file else {}
        for parameter in frozen.values():
            parameter.requires_grad_(False)
        changed = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            changed, lr=file.number("s1_lr"), weight_decay=0.0, fused=True
        )
        right, mine = file.array(f"{stage}_losses_noise_img_total"), []
        for step in range(len(right)):
            keys = ("x0", "noise", "t")
            x0, eps, t = (file.tensor(f"step{step}_{key}").to(case.device) for key in keys)
            optimizer.zero_grad()
            with computing(case, "float32"):
                found = losses(network(RELEASED.diffuse(x0, eps, t), t), eps, x0)
                found["loss"].backward()
            mine.append([found[key].item() for key in ("noise", "signal", "loss")])
            torch.nn.utils.clip_grad_norm_(changed, file.number("s1_clip"))
            optimizer.step()
        worst = float(np.abs(np.array(mine) / right - 1).max())
        lines.at_most(f"golden {path.stem}, losses of {stage}", worst, LOSS)


CHECKS = {"c": model, "d": model, "g": samplers, "h": training}
