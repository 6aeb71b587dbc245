"""PRDiT's structure: sizes, what is frozen, what a fresh stage 2 does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import step

from prdit.config import PRDiT as Entry
from prdit.config import Sampler, Training
from prdit.errors import UserError
from prdit.generators.prdit import PRDiTGenerator
from prdit.models.embeddings import position_code, sinusoid
from prdit.models.patches import assemble, extract
from prdit.models.prdit import PRDiT

TRAINING = Training(volumes=8, batch=2, learning_rate=1e-3)
STAGE_1 = Entry(depth=0, width=24, heads=2, patch=6, stride=4, training=TRAINING)
STAGE_2 = Entry(**{**dict(STAGE_1), "depth": 2, "start_from": "local"})

# Published with the released model: width 768, 12 heads, patch 12, stride 8.
PARAMETERS = {0: 39_156_160, 4: 93_228_992, 8: 135_742_400, 12: 178_255_808}


@pytest.mark.parametrize(("depth", "count"), PARAMETERS.items())
def test_parameters_at_the_papers_size(depth: int, count: int) -> None:
    with torch.device("meta"):
        network = PRDiT(128, patch=12, stride=8, width=768, heads=12, depth=depth)
    assert sum(p.numel() for p in network.parameters()) == count


@given(
    grid=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.integers(1, 4),
    channels=st.integers(1, 2),
)
@settings(max_examples=30, deadline=None)
def test_blocks_go_back_where_they_came_from(
    grid: tuple[int, int, int], stride: int, channels: int
) -> None:
    shape = (2, channels, *(n * stride for n in grid))
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    tokens = extract(x, stride, stride).reshape(2, -1, channels, stride**3)
    assert torch.equal(assemble(tokens.transpose(2, 3).flatten(2), grid, stride), x)


def test_a_patch_is_centred_on_its_block_and_reflects_the_border() -> None:
    x = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    patches = extract(x, 4, 2).reshape(8, 4, 4, 4)
    assert torch.equal(patches[0, 1:3, 1:3, 1:3], x[0, 0, :2, :2, :2])
    assert torch.equal(patches[0, 0], patches[0, 2])  # z = -1 mirrors z = 1, the edge stays single


def test_embeddings() -> None:
    code = sinusoid(torch.tensor([0, 7]), 5)
    assert code.shape == (2, 5)
    assert code[0].tolist() == [1, 1, 0, 0, 0]
    position = position_code((2, 3, 4), 12)
    assert position.shape == (1, 24, 12)
    assert len({tuple(row) for row in position[0].tolist()}) == 24
    # Token 1 is the neighbour along W, so it differs from token 0 in the x part alone.
    assert torch.equal(position[0, 0, 4:], position[0, 1, 4:])


def trained_stage_1() -> PRDiTGenerator:
    generator = PRDiTGenerator(STAGE_1, 8)
    random = torch.Generator().manual_seed(0)
    for p in generator.network.parameters():
        p.data.normal_(std=0.1, generator=random)
    return generator


def test_a_fresh_stage_2_is_its_stage_1() -> None:
    first, second = trained_stage_1(), PRDiTGenerator(STAGE_2, 8)
    second.start_from(first)
    x, t = torch.randn(2, 1, 8, 8, 8), torch.tensor([3, 900])
    for mine, its in zip(second.network(x, t), first.network(x, t), strict=True):
        assert torch.equal(mine, its)


def test_stage_2_trains_the_residual_and_nothing_else() -> None:
    second = PRDiTGenerator(STAGE_2, 8)
    second.start_from(trained_stage_1())
    second.optimizers()
    before = {name: p.clone() for name, p in second.network.named_parameters()}
    for index in torch.arange(6).split(2):
        step(second, torch.randn(2, 1, 8, 8, 8), index, TRAINING)
    changed = {n for n, p in second.network.named_parameters() if not torch.equal(p, before[n])}
    frozen = set(second.network.local_parameters())
    assert changed == set(before) - frozen
    for name in frozen:
        assert second.network.get_parameter(name).grad is None


def test_branches_add_up_to_the_last_prediction() -> None:
    generator = PRDiTGenerator(STAGE_2, 8)
    generator.start_from(trained_stage_1())
    random = torch.Generator().manual_seed(1)
    for p in generator.network.residual.parameters():  # type: ignore[union-attr]
        p.data.normal_(std=0.1, generator=random)
    sampler = Sampler(k=2, steps=4, output="prediction")
    local, residual = generator.branches(torch.arange(2), 0, sampler)
    assert local.shape == residual.shape == (2, 1, 8, 8, 8)
    assert residual.abs().max() > 0.01
    expected = generator.drawing(sampler)(torch.arange(2), 0)
    torch.testing.assert_close(local + residual, expected, rtol=1e-4, atol=1e-4)


def test_stage_1_of_another_width_is_refused() -> None:
    wide = PRDiTGenerator(STAGE_1.model_copy(update={"width": 48}), 8)
    with pytest.raises(
        UserError, match=r"stage-1 weights do not fit: of another shape: .*time\.trunk\.weight"
    ):
        PRDiTGenerator(STAGE_2, 8).start_from(wide)


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    shallow, deep = (PRDiTGenerator(STAGE_2.model_copy(update={"depth": d}), 8) for d in (1, 3))
    mine, its = shallow.network.state_dict(), deep.network.state_dict()
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    other = STAGE_2.model_copy(update={"training": TRAINING.model_copy(update={"seed": 1})})
    assert not torch.equal(
        PRDiTGenerator(other, 8).network.local.first.gate.weight, mine["local.first.gate.weight"]
    )
