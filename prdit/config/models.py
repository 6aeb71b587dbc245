"""Models and their trainings, and samplers."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from prdit.config.entry import Entry, Name


class Training(Entry):
    """One training (A.9.2). Its length is in volumes seen, whatever batch and GPU count."""

    volumes: int = Field(ge=1, description="Length: number of volumes seen.")
    batch: int = Field(64, ge=1, description="Volumes per optimizer step, over all GPUs.")
    learning_rate: float = Field(1e-4, gt=0)
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    decay: Literal["none", "cosine"] = Field("none", description="Of the learning rate.")
    clip: float = Field(1.0, gt=0, description="Largest global gradient norm.")
    ema: float = Field(0.9999, ge=0, lt=1, description="Decay of the averaged weights, per step.")
    seed: int = Field(0, ge=0)
    precision: Literal["bfloat16", "tf32", "float32"] = Field(
        "bfloat16",
        description="Of products on a GPU (bfloat16: mixed, A.9.2); a CPU computes in float32.",
    )
    max_skipped: int = Field(
        20, ge=1, description="Steps in a row that may be skipped because they are not finite."
    )
    memory_gib: float | None = Field(
        None, gt=0, description="Counts as out of memory beyond it; null: what the machine has."
    )


class Critic(Entry):
    """A WGAN-GP critic of the W-score (A.9.3)."""

    width: int = Field(32, ge=1, description="Channels of the first convolution; they double.")
    penalty: float = Field(10.0, gt=0, description="Weight of the gradient penalty (lambda).")
    held_out: float = Field(0.1, gt=0, lt=1, description="Share of the samples it is asked about.")
    training: Training = Field(
        Training(
            volumes=400_000, batch=40, learning_rate=1e-5, clip=1e9, ema=0.999, precision="tf32"
        ),
        description="Volumes counts pairs of a real and a generated one; the seed is set.",
    )


class Patched(Entry):
    """A model that reads patches and writes blocks."""

    patch: int = Field(12, ge=1, description="Edge p of the patches that are read.")
    stride: int = Field(8, ge=1, description="Edge s of the patches that are written.")

    def misfit(self, name: str, size: int) -> str | None:
        """Why volumes of an edge cannot be made, after "size is ..."; None if they can."""
        if size % self.stride:
            below = size - size % self.stride
            near = " or ".join(str(n) for n in (below, below + self.stride) if n > 0)
            return (
                f"is no multiple of models.{name}.stride ({self.stride}); write {near}, or another"
                " stride"
            )
        margin = (self.patch - self.stride) // 2
        if margin >= size:
            return (
                f"is too small for models.{name}.patch ({self.patch}), which reaches {margin}"
                " voxels beyond the volume; write a smaller patch"
            )
        return None


class PRDiT(Patched):
    """PRDiT (section 3). `depth: 0` is stage 1, the Local Denoiser alone."""

    generator: Literal["prdit"] = "prdit"
    start_from: Name | None = Field(None, description="Model whose trained Local Denoiser is kept.")
    start_weights: Literal["ema", "raw"] = Field("ema", description="Which weights of it.")
    local: bool = Field(True, description="False: the transformer alone (Table 4).")
    depth: int = Field(4, ge=0, description="Transformer blocks L.")
    width: int = Field(768, ge=6, description="Transformer width h; a multiple of 6 and of heads.")
    heads: int = Field(12, ge=1)
    timesteps: int = Field(1000, ge=2, description="T.")
    first_timestep: Literal[0, 1] = Field(1, description="t in 1..T (paper) or 0..T-1 (released).")
    noise_std: float = Field(1.0, gt=0, description="Standard deviation of eps (Eq. 1: 1).")
    start_gain: float = Field(0.1, gt=0, description="Xavier gain of what start_from leaves out.")
    training: Training

    @model_validator(mode="after")
    def _shapes(self) -> PRDiT:
        if self.depth > 0 and self.width % 6:
            raise ValueError(
                f"width {self.width} is no multiple of 6, which the 3D position code needs;"
                f" write {self._widths_near()}"
            )
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is no multiple of heads ({self.heads}); write"
                f" {self._widths_near()}"
            )
        check_patches(self.patch, self.stride)
        if self.depth > 0 and self.local and self.start_from is None:
            raise ValueError("a model with depth > 0 needs start_from: the name of its stage 1")
        if self.depth == 0 and self.start_from is not None:
            raise ValueError(
                "a stage 1 (depth 0) starts from nothing; remove start_from or add depth"
            )
        if not self.local and (self.depth == 0 or self.start_from is not None):
            raise ValueError("without the Local Denoiser, depth must be > 0 and start_from absent")
        return self

    def _widths_near(self) -> str:
        step = lcm(6, self.heads)
        below = self.width // step * step
        return f"{below} or {below + step}" if below else str(step)


class PRDiTRefined(Patched):
    """A refinement of a trained PRDiT at twice its resolution (section 3.4, A.8)."""

    generator: Literal["prdit_refined"]
    start_from: Name = Field(description="A PRDiT of half the edge, or a refined one to train on.")
    start_weights: Literal["ema", "raw"] = Field("ema", description="Which weights of it.")
    train_base: bool = Field(False, description="Train all of it, not the refinement alone.")
    refiner_input: Literal["noisy", "noisy_and_estimates"] = Field(
        "noisy", description="Whether the upsampled signal estimate is a second input."
    )
    consistency: float = Field(0.1, ge=0, description="Weight of the low-frequency consistency.")
    width: int = Field(768, ge=1, description="Width of the refinement's time embedding.")
    training: Training

    @model_validator(mode="after")
    def _patches(self) -> PRDiTRefined:
        check_patches(self.patch, self.stride)
        return self


class WDM3D(Entry):
    """WDM-3D (Friedrich et al., 2024): diffusion of Haar bands by a U-Net."""

    generator: Literal["wdm_3d"]
    start_from: None = None
    base: int = Field(64, ge=8, description="Channels of the first level.")
    multiples: list[Annotated[int, Field(ge=1)]] = Field(
        default=[1, 2, 2, 4, 4], min_length=1, description="Channels of each level, in `base`."
    )
    timesteps: int = Field(1000, ge=2, description="T.")
    training: Training

    def misfit(self, name: str, size: int) -> str | None:
        """Why volumes of an edge cannot be made, after "size is ..."; None if they can."""
        unit = 2 ** len(self.multiples)
        if size % unit:
            return f"is no multiple of {unit}, which the levels of models.{name} need"
        return None


class HAGAN(Entry):
    """HA-GAN (Sun et al., 2022): a GAN that is trained on slabs."""

    generator: Literal["ha_gan"]
    start_from: None = None
    width: int = Field(32, ge=16, multiple_of=16, description="Channels near full resolution.")
    discriminator_rate: float = Field(4e-4, gt=0, description="Learning rate of it.")
    training: Training

    def misfit(self, name: str, size: int) -> str | None:
        """Why volumes of an edge cannot be made, after "size is ..."; None if they can."""
        if size not in (16, 32, 64, 128, 256):
            return f"is none of 16, 32, 64, 128 and 256, which models.{name} can make"
        return None


def check_patches(patch: int, stride: int) -> None:
    """Raise ValueError unless patches lie centred on their blocks."""
    if patch < stride or (patch - stride) % 2:
        raise ValueError(
            f"patch {patch} must exceed stride {stride} by an even number, or equal it (no overlap)"
        )


def _generator(value: Any) -> str:
    """The kind of a model entry: PRDiT unless it says otherwise."""
    if isinstance(value, Mapping):
        return str(value.get("generator", "prdit"))
    return str(value.generator)


Model = Annotated[
    Annotated[PRDiT, Tag("prdit")]
    | Annotated[PRDiTRefined, Tag("prdit_refined")]
    | Annotated[WDM3D, Tag("wdm_3d")]
    | Annotated[HAGAN, Tag("ha_gan")],
    Discriminator(_generator),
]


class Sampler(Entry):
    """A way from noise to a volume (section 3.3, Algorithm 1)."""

    kind: Literal["predictor_corrector", "noise_only", "conventional", "own"] = Field(
        "predictor_corrector",
        description="noise_only (Eq. 8) and conventional (Eq. 7): Table 5; own: a rival's way.",
    )
    k: float = Field(2.0, ge=1, description="Predictor steps; 1 is cold sampling.")
    steps: int = Field(1000, ge=1, description="Calls of the model.")
    schedule: Literal["even", "released"] = Field(
        "even", description="From T to 0 in exactly `steps` steps, or as the released code does."
    )
    precision: Literal["bfloat16", "tf32", "float32"] = Field(
        "bfloat16", description="Of the model on a GPU; a CPU computes in float32."
    )
    output: Literal["state", "prediction"] = Field(
        "state", description="The last state, or the last prediction of the volume."
    )
