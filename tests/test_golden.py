"""Every vector recorded from the released code (`--golden DIR`), each with its tolerance.

A file's first letter says what it holds; its cases are found by their keys. A file or a key that
is not understood fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded import Recorded, resnet_recipe, totals, weights
from scipy import ndimage
from torch import Tensor, nn
from walking import predictor_corrector

from prdit.config.data import PRESETS
from prdit.data.released import centre_crop, cubic_crop, resample
from prdit.data.sources.phantoms import AIR_AND_BONE_HU
from prdit.data.volume import average_pool, quantile_window
from prdit.diffusion.process import Process, losses
from prdit.diffusion.samplers import released_schedule
from prdit.generators.convert import convert
from prdit.generators.weights import load
from prdit.metrics.features import pooled, resnet_3d
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.mmd import median_gamma, mmd, mmd_squared
from prdit.models.embeddings import TimeEmbedding, position_code, sinusoid
from prdit.models.patches import assemble, extract
from prdit.models.prdit import PRDiT
from prdit.models.released_names import from_released, infer
from prdit.training.ema import Average

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "golden"
RELEASED = Process(timesteps=1000, noise_std=0.5, first_timestep=0)

F32 = {"atol": 3e-5, "rtol": 1e-5}
F64 = {"atol": 1e-5}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per file: `golden` is any, `golden_model` one that stores a model's weights."""
    wanted = {"golden", "golden_model"} & set(metafunc.fixturenames)
    if not wanted:
        return
    folders = metafunc.config.getoption("golden")
    for folder in folders or []:
        if not any(folder.glob("*.npz")):
            raise pytest.UsageError(f"--golden {folder}: no folder with .npz files")
    files = [file for folder in folders or [DEFAULT] for file in sorted(folder.glob("*.npz"))]
    if wanted == {"golden_model"}:
        files = [file for file in files if file.name[0] in "cd" and "_recipe" not in file.name]
    reason = f"no recorded vectors at {DEFAULT}; point --golden to them"
    none = pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")
    named = [pytest.param(file, id=f"{file.parent.name}/{file.name}") for file in files]
    metafunc.parametrize(wanted.pop(), named or [none])


def test_recorded(golden: Path) -> None:
    check = CHECKS.get(golden.name[0])
    assert check is not None, f"no test knows what {golden.name} holds; letters: {sorted(CHECKS)}"
    file = Recorded(golden)
    check(file)
    file.finish()


def test_a_converted_checkpoint_computes_the_same(golden_model: Path, tmp_path: Path) -> None:
    file = Recorded(golden_model)
    state = file.state("w/")
    direct = build(file, from_released(state))
    torch.save({"ema": state}, tmp_path / "released.pt")
    out = tmp_path / "ours.safetensors"
    size, heads = file.whole("cfg_input_size"), file.whole("cfg_heads")
    convert(tmp_path / "released.pt", out, size=size, heads=heads)
    network = load(out)[0].network
    with torch.no_grad():
        mine = torch.cat(network(file.tensor("input"), file.tensor("t")), 1)
        same = torch.cat(direct(file.tensor("input"), file.tensor("t")), 1)
    file.compare("out", mine, **F32)
    assert torch.equal(mine, same)
    assert not file.wrong


def patches(file: Recorded) -> None:
    for found in file.matches(r"(.+)/in"):
        case = found[1]
        patch, stride, margin = map(int, file.array(f"{case}/patch_stride_pad"))
        x = file.tensor(f"{case}/in")
        grid = [n // stride for n in x.shape[2:]]
        file.check(patch - stride == 2 * margin, f"{case}: patches are not centred on blocks")
        file.check(file.array(f"{case}/grid").tolist() == grid, f"{case}: grid {grid}")
        file.compare(f"{case}/out", extract(x, patch, stride), atol=0)


def time_embedding(file: Recorded) -> None:
    t = file.tensor("t")
    for found in file.matches(r"emb(\d+)"):
        file.compare(found[0], sinusoid(t, int(found[1])), atol=1e-5)
    state = from_released({f"t_embedder.{n}": w for n, w in file.state("w/").items()})
    state = {name.removeprefix("time."): w for name, w in state.items()}
    width, local = len(state["trunk.bias"]), len(state["to_local.bias"])
    network = TimeEmbedding(width, local, with_global="to_global.bias" in state)
    network.load_state_dict(state)
    c_local, c_global = network(t)
    file.compare("head_coarse", c_local, atol=5e-5)
    if c_global is not None:
        file.compare("head_fine", c_global, atol=5e-5)


def model(file: Recorded) -> None:
    """Files c and d: stage 1 alone, and the whole model."""
    network = build(file, from_released(weights(file)))
    depth = 0 if network.residual is None else len(network.residual.blocks)
    file.check(file.whole("cfg_depth") == depth, f"cfg_depth is {depth} by the names of weights")
    x, t = file.tensor("input"), file.tensor("t")
    with torch.no_grad():
        compare_estimate(file, network(x, t), "", F32)
        for key, mine in intermediates(network, x, t).items():
            if key in file:
                file.compare(key, mine, **F32)
        if "out_sdpa_bf16" in file:
            with attention_in_bfloat16():
                mine = torch.cat(network(x, t), 1)
            file.compare("out_sdpa_bf16", mine, atol=3e-3)
        compare_estimate(file, network.double()(x.double(), t), " in float64", F64)


def build(file: Recorded, state: dict[str, Tensor]) -> PRDiT:
    """The network of a file with these weights, our names; the heads are the file's."""
    found = infer(state)
    for key, mine in (("p", found.patch), ("s", found.stride), ("hid", found.width)):
        file.check(file.whole(f"cfg_{key}") == mine, f"cfg_{key} is {mine} by the weights' shapes")
    centred = 2 * file.whole("cfg_pad") == found.patch - found.stride
    file.check(centred, "cfg_pad: patches are not centred on blocks")
    network = PRDiT(
        file.whole("cfg_input_size"),
        patch=found.patch,
        stride=found.stride,
        width=found.width,
        heads=file.whole("cfg_heads"),
        depth=found.depth,
    )
    ratio = file.number("cfg_mlp", 4.0)
    if ratio != 4 and network.residual is not None:  # no setting of ours, but the same block
        hidden = int(ratio * found.width)
        for block in network.residual.blocks:
            block.hidden, block.out = (
                nn.Linear(found.width, hidden),
                nn.Linear(hidden, found.width),
            )
    network.load_state_dict(state)
    return network.eval()


def compare_estimate(
    file: Recorded, mine: tuple[Tensor, Tensor], where: str, tolerance: dict[str, float]
) -> None:
    for key, part in (("out_noise", mine[0]), ("out_image", mine[1]), ("out", torch.cat(mine, 1))):
        file.compare_with(key + where, file.array(key), part, **tolerance)


def intermediates(network: PRDiT, x: Tensor, t: Tensor) -> dict[str, Tensor]:
    """What the files record of the inside, under their names."""
    v = extract(x, network.patch, network.stride)
    c_local, c_global = network.time(t)
    local = network.local(v, network.local.modulations(c_local))
    seen = {"patches": v, "c_coarse": c_local, "coarse_tokens": local}
    seen["coarse_volume"] = assemble(local, network.grid, network.stride)
    if network.residual is None:
        return seen
    named = [("fine_embed", network.residual.embedding)]
    named += [(f"fine_block{i}", block) for i, block in enumerate(network.residual.blocks)]
    hooks = [
        part.register_forward_hook(lambda _m, _in, out, key=key: seen.update({key: out}))
        for key, part in named
    ]
    residual = network.residual(v, network.residual.modulations(c_global))
    for hook in hooks:
        hook.remove()
    seen |= {"c_fine": c_global, "fine_pos": network.residual.position, "fine_tokens": residual}
    seen["fine_volume"] = assemble(residual, network.grid, network.stride)
    return seen


@contextmanager
def attention_in_bfloat16() -> Iterator[None]:
    plain = F.scaled_dot_product_attention

    def rounded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return plain(q.bfloat16(), k.bfloat16(), v.bfloat16()).to(q.dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", rounded)
        yield


def unpatchify(file: Recorded) -> None:
    for found in file.matches(r"(.+)/tokens"):
        size, stride, channels = map(int, file.array(f"{found[1]}/S_P_C"))
        volume = assemble(file.tensor(found[0]), (size // stride,) * 3, stride)
        file.check(volume.shape[1] == channels, f"{found[1]}: {volume.shape[1]} channels")
        file.compare(f"{found[1]}/volume", volume, atol=0)


def position_codes(file: Recorded) -> None:
    for found in file.matches(r"g(\d+)_d(\d+)(_values)?"):
        code = position_code((int(found[1]),) * 3, int(found[2]))[0]
        if found[3]:
            code = code[file.tensor(found[0].replace("_values", "_rows"))]
        file.compare(found[0], code, atol=2e-5)


def samplers(file: Recorded) -> None:
    timesteps, k = file.whole("T"), file.number("predictor_p")
    for found in file.matches(r"r(\d+)_seq"):
        run = f"r{found[1]}"
        times = released_schedule(timesteps, int(found[1]))
        file.check(file.array(found[0]).tolist() == times[-2::-1], f"{run}_seq: {times[::-1]}")
        for estimates in sorted({m[1] for m in file.matches(rf"{run}_([A-Z])_\w+")}):
            replay(file, run, estimates, "ddim", times, 1.0)
            replay(file, run, estimates, "pc", times, k)


def replay(
    file: Recorded, run: str, estimates: str, sampler: str, times: list[int], k: float
) -> None:
    """A sampler on a stand-in model, with the noise that was drawn."""
    assert estimates in STAND_INS, f"{run}: no stand-in model {estimates}"
    stand_in = STAND_INS[estimates]
    states, called = [], []

    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        states.append(x)
        called.append(t)
        return stand_in(x, t)

    noise = iter(file.tensor(f"{run}_pc_noise"))  # k = 1 draws none
    process = Process(file.whole("T"), RELEASED.noise_std)
    z = file.tensor("z")
    x, x0 = predictor_corrector(denoise, z, times, process, k=k, noise=lambda _: next(noise))
    unused, drawn = sum(1 for _ in noise), file.whole(f"{run}_pc_n_noise")
    file.check(unused == (drawn if k == 1 else 0), f"{run}_{sampler}: {unused} noises are left")
    file.check(file.array(f"{run}_model_t").tolist() == called, f"{run}_{sampler}: t of the calls")
    key = f"{run}_{estimates}_{sampler}"
    atol = 1e-5 if len(called) <= 50 else 2e-4
    file.compare(f"{key}_final", x, atol=atol)
    file.compare(f"{key}_x0_last", x0, atol=atol)
    if f"{key}_traj" in file:
        file.compare(f"{key}_traj", torch.stack([*states, x]), atol=atol)


def model_a(x: Tensor, t: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return 0.3 * x, torch.tanh(0.5 * x)


def model_b(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    u = t / 1000
    return 0.3 * x * (1 + u), torch.tanh(0.5 * x) * (1 - 0.5 * u) + 0.1 * u


STAND_INS = {"A": model_a, "B": model_b}


def training(file: Recorded) -> None:
    """Losses of stand-in A, and the first optimizer steps of both stages."""
    x0, eps, t = file.tensor("x0"), file.tensor("noise"), file.tensor("t")
    x_t = RELEASED.diffuse(x0, eps, t)
    file.compare("x_t", x_t, atol=1e-6, rtol=1e-5)
    estimate = model_a(x_t, 0)
    file.compare("analytic_total", losses(estimate, eps, x0)["loss"], atol=0, rtol=1e-5)
    for key, name in (("img", "signal"), ("noise", "noise")):
        each = [
            losses((estimate[0][i], estimate[1][i]), eps[i], x0[i])[name] for i in range(len(x0))
        ]
        file.compare(f"analytic_{key}_loss", torch.stack(each), atol=0, rtol=1e-5)
    stages = [m[1] for m in file.matches(r"(s\d+)_losses_noise_img_total")]
    file.check(bool(stages), "no optimizer steps")
    file.check(file.whole("cfg_depth") == 0, "cfg_depth is stage 1's")
    for stage in stages:
        optimizer_steps(file, stage)


def optimizer_steps(file: Recorded, stage: str) -> None:
    network = build(file, from_released(file.state(f"{stage}_w0/")))
    if f"{stage}_frozen" in file:
        frozen = network.local_parameters()
        trainable = set(dict(network.named_parameters())) - set(frozen)
        for key, mine in (("frozen", set(frozen)), ("trainable", trainable)):
            recorded = file.array(f"{stage}_{key}").tolist()
            names = from_released(dict.fromkeys(recorded, torch.empty(0)))
            file.check(set(names) == mine, f"{stage}_{key} differs by {set(names) ^ mine}")
        for parameter in frozen.values():
            parameter.requires_grad_(False)
    changed = {n: p for n, p in network.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        changed.values(), lr=file.number("s1_lr"), weight_decay=0.0, fused=True
    )
    average = Average(network, file.number("s1_ema_decay"))
    told, norms = [], []
    for step in range(len(file.array(f"{stage}_losses_noise_img_total"))):
        x0, eps, t = (file.tensor(f"step{step}_{key}") for key in ("x0", "noise", "t"))
        found = losses(network(RELEASED.diffuse(x0, eps, t), t), eps, x0)
        told.append([found[key].item() for key in ("noise", "signal", "loss")])
        optimizer.zero_grad()
        found["loss"].backward()
        if step == 0:
            gradients = {n: p.grad.clone() for n, p in changed.items()}
            compare_states(file, f"{stage}_grad0/", gradients, atol=1e-6, rtol=1e-3)
        norms.append(nn.utils.clip_grad_norm_(changed.values(), file.number("s1_clip")))
        optimizer.step()
        average.update()
    file.compare(f"{stage}_losses_noise_img_total", np.array(told), atol=0, rtol=1e-5)
    file.compare(f"{stage}_grad_norm_preclip", torch.stack(norms), atol=0, rtol=1e-3)
    compare_weights(file, f"{stage}_w{len(told)}/", changed)
    if any(file.matches(rf"{stage}_ema{len(told)}/.+")):
        compare_states(file, f"{stage}_ema{len(told)}/", average.state(), atol=1e-6)


def compare_states(
    file: Recorded, prefix: str, mine: dict[str, Tensor], *, atol: float, rtol: float = 0.0
) -> None:
    recorded = from_released(file.state(prefix))
    file.check(set(recorded) == set(mine), f"{prefix} differs by {set(recorded) ^ set(mine)}")
    for name in set(recorded) & set(mine):
        file.compare_with(prefix + name, recorded[name], mine[name], atol=atol, rtol=rtol)


def compare_weights(file: Recorded, prefix: str, mine: dict[str, Tensor]) -> None:
    """Adam turns a gradient near zero into a step of either sign, so that a few may be off."""
    compare_states(file, prefix, mine, atol=3e-3)
    recorded = from_released(file.state(prefix))
    off = torch.cat([(recorded[n] - p.detach()).abs().flatten() for n, p in mine.items()])
    share = float((off <= 1e-5).double().mean())
    file.check(share >= 0.995, f"{prefix}: {share:.4%} within 1e-5; max deviation {off.max():.3g}")


def distances(file: Recorded) -> None:
    for found in file.matches(r"(.+)_fake"):
        case = found[1]
        real, fake = file.array(f"{case}_real"), file.array(f"{case}_fake")
        fid = frechet_distance(real, fake)
        rtol = 1e-7 if min(len(real), len(fake)) <= real.shape[1] else 1e-9
        atol = 1e-9 if np.array_equal(real, fake) else 0
        for kind in ("official", "eig"):
            file.compare(f"{case}_fid_{kind}", fid, atol=atol, rtol=rtol)
        centred = real - real.mean(0)
        file.compare(f"{case}_mu_real", real.mean(0), atol=1e-12)
        sigma = centred.T @ centred / (len(real) - 1)
        file.compare(f"{case}_sigma_real", sigma, atol=1e-12)
        gamma = median_gamma(real)
        file.compare(f"{case}_gamma", gamma, atol=0, rtol=1e-12)
        file.compare(f"{case}_mmd2", mmd_squared(real, fake, gamma), atol=1e-12)
        root_atol = 1e-12 / max(file.number(f"{case}_mmd"), 1e-6)  # a root magnifies near zero
        file.compare(f"{case}_mmd", mmd(real, fake), atol=root_atol)
        for fixed in file.matches(rf"{re.escape(case)}_mmd2_gamma_(\d+)p(\d+)"):
            gamma = float(f"{fixed[1]}.{fixed[2]}")
            file.compare(fixed[0], mmd_squared(real, fake, gamma), atol=1e-12)


def preprocessing(file: Recorded) -> None:
    for found in file.matches(r"(.+)/hu"):
        lidc(file, found[1]) if f"{found[1]}/spacing" in file else rad(file, found[1])
    for found in file.matches(r"(.+)/in_01"):
        loader(file, found[1])


def lidc(file: Recorded, case: str) -> None:
    hu, spacing = file.array(f"{case}/hu"), file.array(f"{case}/spacing")
    crop = file.array(f"{case}/crop").tolist() if f"{case}/crop" in file else [32] * 3
    shape = list(resample(hu, spacing, 1.0).shape)
    file.check(file.array(f"{case}/resampled_shape").tolist() == shape, f"{case}: shape {shape}")
    cube = cubic_crop(hu, spacing, crop[0], 1.0)
    file.check(list(cube.shape) == crop, f"{case}: crop {cube.shape}")
    file.compare(
        f"{case}/out", quantile_window(cube, -1000, PRESETS["released_lidc"].quantile)[0], atol=1e-6
    )


def rad(file: Recorded, case: str) -> None:
    hu, key = file.array(f"{case}/hu"), f"{case}/canonical_crop"
    crop = file.array(key).tolist()[0] if key in file else 32
    clipped = np.clip(hu, *AIR_AND_BONE_HU).astype(np.float32)  # as the files are stored
    for found in file.matches(rf"{re.escape(case)}/out_t(\d+)_q([\d.]+)"):
        cube = centre_crop(resample(clipped, (0.8,) * 3, 0.8), crop)
        if int(found[1]) != crop:  # which the configs do not follow: they pool
            factor = int(found[1]) / crop
            cube = ndimage.zoom(cube, factor, order=1, mode="constant", cval=-1000)
        file.compare(found[0], quantile_window(cube, -1000, float(found[2]))[0], atol=1e-6)


def loader(file: Recorded, case: str) -> None:
    x = file.array(f"{case}/in_01")
    for found in file.matches(rf"{re.escape(case)}/avgpool(\d+)_2x_minus_1"):
        pooled_down = 2 * average_pool(x, int(found[1])) - 1
        file.compare(found[0], pooled_down, atol=1e-6)
        flipped = f"{case}/flip_last_axis"
        if flipped in file and file.array(flipped).shape == pooled_down.shape:
            file.compare(flipped, pooled_down[..., ::-1], atol=1e-6)


def features(file: Recorded) -> None:
    seed = file.whole("seed")
    for found in file.matches(r"(resnet\d+)/in"):
        name = found[1]
        network = resnet_3d(name)
        wanted = {
            n: tuple(t.shape)
            for n, t in network.state_dict().items()
            if not n.endswith("num_batches_tracked")
        }
        made = {n: resnet_recipe(seed, n, shape) for n, shape in wanted.items()}
        network.load_state_dict(made, strict=False)
        names = file.array(f"{name}/param_names").tolist()
        file.check(set(names) == set(made), f"{name} differs by {set(names) ^ set(made)}")
        totals(file, f"{name}/param_sum", [made[n] for n in names])
        count = sum(p.numel() for p in network.parameters())
        file.check(file.whole(f"{name}/n_params") == count, f"{name}: {count} parameters")
        with torch.no_grad():
            mine = pooled(network, file.tensor(f"{name}/in"))
        file.compare(f"{name}/features", mine, atol=1e-4, rtol=1e-4)


CHECKS: dict[str, Callable[[Recorded], None]] = {
    "a": patches,
    "b": time_embedding,
    "c": model,
    "d": model,
    "e": unpatchify,
    "f": position_codes,
    "g": samplers,
    "h": training,
    "i": distances,
    "j": preprocessing,
    "k": features,
}
