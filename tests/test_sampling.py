"""Samples: addressed, kept, and the same by every fast path."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import ENTRY, trained
from torch import Tensor

from prdit.config import PRDiT, PRDiTRefined, Sampler
from prdit.data.samples import read_samples
from prdit.data.volume import read_note
from prdit.diffusion.noise import key_on, normal, normal_at
from prdit.diffusion.samplers import BY_NAME
from prdit.errors import OutOfMemory, UserError
from prdit.generators.draw import Source, run, same
from prdit.generators.drawing import Ahead, Drawing, Repeated
from prdit.generators.prdit import AnyPRDiT, PRDiTGenerator
from prdit.generators.prdit_refined import RefinedGenerator
from prdit.machine.compiled import compiled
from prdit.recipes import SampleRecipe

ROOT = Path(__file__).resolve().parents[1]
SAMPLER = Sampler(k=2, steps=6)
STAGE_2 = PRDiT(**{**dict(ENTRY), "depth": 2, "start_from": "local"})


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randomised(generator: AnyPRDiT) -> AnyPRDiT:
    """A generator none of whose layers is zero."""
    random = torch.Generator().manual_seed(0)
    for parameter in generator.network.parameters():
        parameter.data.normal_(std=0.1, generator=random)
    return generator


def stage_2() -> AnyPRDiT:
    return randomised(PRDiTGenerator(STAGE_2, 8))


def refined() -> AnyPRDiT:
    entry = PRDiTRefined(
        generator="prdit_refined",
        start_from="x",
        width=24,
        patch=4,
        stride=2,
        refiner_input="noisy_and_estimates",
        training=ENTRY.training,
    )
    return randomised(RefinedGenerator(entry, 8, STAGE_2))


# --- Addresses ------------------------------------------------------------------------------------


@given(
    index=st.lists(st.integers(0, 10**6), min_size=1, max_size=5, unique=True),
    split=st.integers(1, 5),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(sorted(BY_NAME)),
    k=st.sampled_from([1.0, 2.0, 3.5]),
)
@settings(max_examples=15, derandomize=True, database=None, deadline=None)
def test_a_sample_is_a_function_of_its_number(
    index: list[int], split: int, seed: int, kind: Any, k: float
) -> None:
    """In any batch, in any order; equal batches to the bit."""
    draw = stage_2().drawing(Sampler(kind=kind, k=k, steps=5))
    numbers = torch.tensor(index)
    whole = draw(numbers, seed)
    assert torch.equal(draw(numbers, seed), whole)
    parts = torch.cat([draw(part, seed) for part in numbers.split(split)])
    backwards = draw(numbers.flip(0), seed).flip(0)
    scale = whole.abs().max()
    for found in (parts, backwards):
        assert (found - whole).abs().max() < 1e-4 * scale
    assert not torch.equal(draw(numbers, seed + 1), whole)


# --- Files ----------------------------------------------------------------------------------------


class Drawn:
    """`card(...)` draws samples of one tiny trained model; `told` is what the card says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.weights = folder, trained(folder)

    def card(self, first: int, count: int, name: str = "000", **changes: Any) -> dict[str, Any]:
        recipe = SampleRecipe(sampler=SAMPLER, seed=3, first=first, count=count)
        path = self.folder / "seed3" / f"{name}.json"
        about = {"code": "c", "record": self.folder / "run.json", "batch": 4, "threads": 1}
        run(recipe, weights=self.weights, card=path, **about | changes)
        told: dict[str, Any] = json.loads(path.read_text())
        return told


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("model"))


@pytest.fixture
def drawn(model: Drawn, tmp_path: Path) -> Drawn:
    """With samples of its own."""
    again = object.__new__(Drawn)
    again.folder, again.weights = tmp_path, model.weights
    (tmp_path / "run.json").write_text((model.folder / "run.json").read_text())
    return again


def files(told: dict[str, Any]) -> dict[str, str]:
    return {Path(name).name: digest for name, digest in told["files"].items()}


def test_neither_batch_nor_portion_changes_a_file(drawn: Drawn) -> None:
    whole = files(drawn.card(0, 4, code="a"))
    assert len(set(whole.values())) == 4
    assert files(drawn.card(0, 4, code="b", batch=1)) == whole
    part = files(drawn.card(2, 2, code="d", batch=2))
    assert part == {name: whole[name] for name in ("00002.nii.gz", "00003.nii.gz")}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def nothing_in_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b""))


def cut_inside(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:600]))


DAMAGES = [Path.unlink, cut, flip, empty, nothing_in_gzip, cut_inside]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_whole_is_kept_and_the_rest_drawn_again(
    damage: Callable[[Path], None], drawn: Drawn
) -> None:
    first = drawn.card(0, 4)
    assert first["drawn"] == 4
    damage(drawn.folder / "seed3" / list(first["files"])[2])
    (drawn.folder / "seed3" / "000.json").unlink()
    second = drawn.card(0, 4)
    assert second["drawn"] == 1
    assert second["files"] == first["files"]
    assert second["share_clamped"] == first["share_clamped"]


def test_portions_of_another_size_draw_what_is_missing(drawn: Drawn) -> None:
    drawn.card(0, 4)
    assert drawn.card(2, 4, "001")["drawn"] == 2


def test_an_edit_undone_draws_nothing(drawn: Drawn) -> None:
    first = drawn.card(0, 2, code="old")
    assert drawn.card(0, 2, code="new")["drawn"] == 2
    again = drawn.card(0, 2, code="old")
    assert (again["drawn"], again["files"]) == (0, first["files"])


def test_code_that_draws_the_same_takes_over(drawn: Drawn, monkeypatch: Any) -> None:
    first = drawn.card(0, 3, code="old")
    second = drawn.card(0, 3, code="new", adopt="proven")
    assert second["drawn"] == 0
    assert files(second) == files(first)
    plain = Drawing.__call__
    monkeypatch.setattr(Drawing, "__call__", lambda *a: 0.9 * plain(*a))
    assert drawn.card(0, 3, code="newer", adopt="proven")["drawn"] == 3


def test_weights_of_another_training_are_not_sampled_from(drawn: Drawn) -> None:
    other = drawn.folder / "weights.safetensors"
    other.write_bytes(drawn.weights.read_bytes()[:-4] + bytes(4))
    drawn.weights = other
    with pytest.raises(UserError, match=r"weights.safetensors: it is not what run.json tells of"):
        drawn.card(0, 1)
    assert not (drawn.folder / "seed3").exists()


def test_any_viewer_opens_them_in_place_in_hu(drawn: Drawn) -> None:
    """Both libraries agree on orientation, spacing and HU; voxels outside the window are told."""
    told = drawn.card(0, 1)
    (name,) = told["files"]
    path = drawn.folder / "seed3" / name
    by_nibabel, by_sitk = nib.load(path), sitk.ReadImage(str(path))
    assert "".join(nib.aff2axcodes(by_nibabel.affine)) == "LPS"
    assert by_sitk.GetSpacing() == by_nibabel.header.get_zooms() == (32.0, 32.0, 32.0)
    assert by_sitk.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert by_nibabel.get_data_dtype() == np.int16
    xyz = np.asanyarray(by_nibabel.dataobj)
    assert np.array_equal(sitk.GetArrayFromImage(by_sitk), xyz.transpose(2, 1, 0))
    assert -1000 <= xyz.min() < xyz.max() <= 400
    assert np.allclose(by_sitk.GetOrigin(), -32.0 * 3.5)
    (volume,) = read_samples(drawn.folder / "seed3" / "000.json")
    assert np.array_equal(volume.hu, xyz.transpose(2, 1, 0))
    at_the_edge = np.isin(xyz, (-1000, 400)).mean()
    assert 0 < told["share_clamped"] <= at_the_edge + 1e-6
    assert (read_note(path) or "").startswith("synthetic; clamped 0.")


# --- Memory ---------------------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_is_split_further(drawn: Drawn) -> None:
    source = Source(
        SampleRecipe(sampler=SAMPLER, seed=0, first=0, count=5),
        drawn.weights,
        torch.device("cpu"),
        8,
    )

    def draw(index: Tensor, _: int) -> Tensor:
        if len(index) > most:
            torch.empty(2**60)
        return torch.zeros(len(index), 1, 4, 4, 4)

    source.loaded = (draw, {"size": 4})
    most = 2
    some, x = source.fitting([0, 1, 2, 3, 4])
    assert (list(some), x.shape) == ([0, 1], (2, 4, 4, 4))
    most = 0
    with pytest.raises(UserError, match="though volumes were drawn before"):
        source.fitting([2, 3, 4])
    source.fits = False
    with pytest.raises(OutOfMemory):
        source.fitting([0, 1, 2, 3, 4])


PEAK = """
import sys, torch
from prdit.machine.memory import peak_gib
sys.path.insert(0, "tests")
from prdit.config import PRDiT, Sampler
from prdit.generators.prdit import PRDiTGenerator
from test_sampling import STAGE_2, randomised
torch.set_num_threads(1)
entry = STAGE_2.model_copy(update={"width": 96, "heads": 6, "depth": 4, "patch": 6, "stride": 4})
draw = randomised(PRDiTGenerator(entry, 32)).drawing(Sampler(k=2, steps=int(sys.argv[1])))
draw(torch.arange(2), 0)
print(peak_gib(torch.device("cpu")))
"""


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    found = [
        float(subprocess.check_output([sys.executable, "-c", PEAK, steps], cwd=ROOT, text=True))
        for steps in ("10", "200")
    ]
    assert found[1] < 1.05 * found[0]


# --- Fast paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [stage_2, refined])
def test_a_table_of_modulations_is_what_the_time_does(
    make: Callable[[], AnyPRDiT],
) -> None:
    network = make().network
    x, times = torch.randn(3, 1, 8, 8, 8), torch.tensor([0, 7, 500, 999, 1000])
    table = network.modulations(times)
    with torch.no_grad():
        for number, t in enumerate(times):
            plain = network(x, t.repeat(3))
            fast = network(x, [m[number : number + 1] for m in table])
            for mine, its in zip(fast, plain, strict=True):
                assert torch.allclose(mine, its, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("many", [1, 3, 100])
def test_noise_drawn_ahead_is_the_noise_of_its_step(many: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("prdit.generators.drawing.NOISE_AHEAD", many * 2 * 8**3)
    generator, index = stage_2(), torch.tensor([4, 9])
    drawing = generator.drawing(Sampler(k=2, steps=12))
    noise = drawing.noise(index, 5)
    for step in range(10):
        alone = generator.process.noise(5, "sampling noise", index, 8, step)
        assert torch.equal(noise(step), alone)


def test_values_made_ahead_are_kept_only_while_they_are_needed() -> None:
    calls: list[list[int]] = []

    def make(numbers: Any) -> list[int]:
        calls.append(list(numbers))
        return [n * n for n in numbers]

    ahead = Ahead([0, 2, 4, 6, 8], 2, make)
    assert [ahead(n) for n in (0, 2, 2, 4, 6, 8)] == [0, 4, 4, 16, 36, 64]
    assert calls == [[0, 2], [4, 6], [8]]
    assert len(ahead.made) == 1


@pytest.mark.parametrize("kind", sorted(BY_NAME))
@pytest.mark.parametrize("k", [1.0, 2.5])
@pytest.mark.parametrize("make", [stage_2, refined])
def test_the_step_that_a_gpu_repeats_is_the_sampler(
    kind: Any, k: float, make: Callable[[], AnyPRDiT]
) -> None:
    """On a CPU, where it is called as often as the recorded graph would be replayed."""
    sampler = Sampler(kind=kind, k=k, steps=8)
    state, prediction = repeat(make(), sampler, torch.float32)
    assert relative(state, make().drawing(sampler)) < 1e-4
    last = sampler.model_copy(update={"output": "prediction"})
    assert relative(prediction, make().drawing(last)) < 1e-4


@torch.inference_mode()
def test_fewer_volumes_and_other_seeds_are_drawn_by_what_was_recorded(monkeypatch: Any) -> None:
    """What is recorded first serves them all: nothing is compiled or recorded again."""
    sampler = Sampler(k=2, steps=6)
    generator = stage_2()
    draw, repeated = generator.drawing(sampler), Repeated(generator.drawing(sampler), torch.float32)
    recorded = []
    plain = Repeated.record
    monkeypatch.setattr(
        Repeated, "record", lambda self, *a: recorded.append(len(a[0])) or plain(self, *a)
    )
    for numbers, seed in (([0, 1, 2], 7), ([3, 4], 7), ([5], 8), ([0, 1, 2], 7), ([0, 1, 2, 3], 7)):
        index = torch.tensor(numbers)
        start = generator.process.noise(seed, "sampling start", index, 8)
        state, prediction = repeated(start, index, seed)
        assert state.shape == prediction.shape == (len(numbers), 1, 8, 8, 8)
        assert torch.allclose(state, draw(index, seed), atol=1e-4)
    assert recorded == [3, 4]


def test_bfloat16_draws_nearly_the_same() -> None:
    """The state stays in float32: what differs is the rounding of the network's estimates."""
    sampler = Sampler(k=2, steps=50)
    state, _ = repeat(stage_2(), sampler, torch.bfloat16)
    assert state.dtype == torch.float32
    assert 1e-5 < relative(state, stage_2().drawing(sampler)) < 0.03


INDEX, SEED = torch.tensor([2, 11]), 7


@torch.inference_mode()
def repeat(generator: AnyPRDiT, sampler: Sampler, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    start = generator.process.noise(SEED, "sampling start", INDEX, 8)
    return Repeated(generator.drawing(sampler), dtype)(start, INDEX, SEED)


def relative(found: Tensor, draw: Callable[[Tensor, int], Tensor]) -> float:
    expected = draw(INDEX, SEED)
    return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.slow
def test_compiled_noise_is_the_noise() -> None:
    """As a GPU makes it, compiled for the CPU; logarithms and cosines differ by rounding."""
    index, step = torch.tensor([3, 2**33]), torch.tensor([5]).expand(2)
    made = compiled(normal_at)
    for seed in (1, 2):
        plain = normal(seed, "x", index, (1, 8, 8, 8), step=step)
        words = key_on(index.device, seed, "x")
        assert torch.allclose(made(words, index, (1, 8, 8, 8), step), plain, atol=1e-5)


@pytest.mark.parametrize(
    ("device", "error_hu", "alike"),
    [("cpu", 1, True), ("cpu", 2, False), ("cuda", 6, True), ("cuda", 30, False)],
)
def test_volumes_are_alike_within_the_rounding_of_the_device(
    device: str, error_hu: int, alike: bool
) -> None:
    recipe = SampleRecipe(sampler=SAMPLER, seed=0, first=0, count=1)
    source = Source(recipe, Path("weights"), torch.device(device), 1)
    source.loaded = (lambda *_: torch.empty(0), {"window": [-1000.0, 400.0]})
    before = np.zeros((4, 4, 4), int)
    noise = error_hu * (-1) ** np.arange(64).reshape(4, 4, 4)
    assert same(before, before + noise, source) == alike
    assert not same(before, before + 3, source)  # all of it is brighter: no rounding
    assert not same(before, np.zeros((8, 8, 8), int), source)
