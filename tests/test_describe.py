"""`prdit describe`: parameters and operations of the released variants at 128^3, to the digit."""

from __future__ import annotations

import pytest

from prdit.cli import main
from prdit.config import PRDiT, PRDiTRefined, Training
from prdit.generators.describe import describe

TRAINING = Training(volumes=1)


def entry(width: int, heads: int, depth: int) -> PRDiT:
    start = "local" if depth else None
    return PRDiT(width=width, heads=heads, depth=depth, start_from=start, training=TRAINING)


# width, heads, depth, parameters, trained in its stage, TFLOP per forward of one volume
RELEASED = [
    (768, 12, 0, 39_156_160, 39_156_160, 0.1613),
    (768, 12, 4, 93_228_992, 54_072_832, 0.6795),
    (768, 12, 8, 135_742_400, 96_586_240, 1.1177),
    (768, 12, 12, 178_255_808, 139_099_648, 1.5558),
    (1152, 16, 0, 39_918_400, 39_918_400, 0.1613),
    (1152, 16, 4, 155_974_208, 116_055_808, 1.1271),
    (1152, 16, 8, 251_594_816, 211_676_416, 1.9583),
    (1152, 16, 12, 347_215_424, 307_297_024, 2.7894),
    (192, 6, 0, 38_012_800, 38_012_800, 0.1613),
    (192, 6, 4, 42_795_008, 4_782_208, 0.2437),
    (384, 6, 4, 53_781_824, 15_387_904, 0.3576),
]


@pytest.mark.parametrize(("width", "heads", "depth", "total", "trained", "tflop"), RELEASED)
def test_the_released_variants(
    width: int, heads: int, depth: int, total: int, trained: int, tflop: float
) -> None:
    parts = {part.name: part for part in describe(entry(width, heads, depth), 128)}
    assert parts["all"].parameters == total
    assert round(parts["all"].flop / 1e12, 4) == tflop
    stage_1 = describe(entry(width, heads, 0), 128)[-1].parameters
    assert total - (stage_1 if depth else 0) == trained


def closed_form(h: int, depth: int, size: int) -> int:
    """Operations by hand: d = 1728 voxels in, 1024 out, N tokens; one multiply-add is two."""
    n, d, out = (size // 8) ** 3, 1728, 1024
    local = n * (6 * d * d + out * d) + 6 * d * d + 256 * h + h * d
    if depth == 0:
        return 2 * local
    block = 12 * n * h * h + 2 * n * n * h + 6 * h * h
    return 2 * (local + h * h + n * (5 * h * d + 4 * h * h + out * h) + depth * block + 2 * h * h)


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("depth", [0, 4, 12])
def test_operations_are_those_counted_by_hand(depth: int, size: int) -> None:
    assert describe(entry(768, 12, depth), size)[-1].flop == closed_form(768, depth, size)


def test_a_refined_model_is_its_base_and_a_local_denoiser() -> None:
    refined = PRDiTRefined(generator="prdit_refined", start_from="x", training=TRAINING)
    parts = {part.name: part for part in describe(refined, 256, entry(768, 12, 4))}
    base, alone = describe(entry(768, 12, 4), 128)[-1], describe(entry(768, 12, 0), 256)
    assert parts["base"].parameters == base.parameters
    assert parts["base"].flop == base.flop
    assert parts["refinement"].parameters == alone[1].parameters
    assert parts["refinement"].flop == alone[1].flop


def test_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "PRDiT-4L"]) == 0
    said = capsys.readouterr().out
    assert "all                93,228,992              679.5" in said
    assert main(["describe", "PRDiT-5L"]) == 2
    assert "the model: 'PRDiT-5L' is not defined; did you mean 'PRDiT-" in capsys.readouterr().err
    assert main(["describe", "PRDiT-4L", "--size", "100"]) == 2
    assert "100 is no multiple of models.PRDiT-4L.stride (8)" in capsys.readouterr().err
