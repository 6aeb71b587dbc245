"""Models and their trainings, and samplers."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from prdit.config.entry import Entry, Name, laid_over
from prdit.config.rivals import HAGAN, LDM3D, VQGAN, WDM3D, Own
from prdit.config.training import Trained


class Patched(Trained):
    """A model that reads patches and writes blocks."""

    patch: int = Field(12, ge=1, description="Edge p of the patches that are read.")
    stride: int = Field(8, ge=1, description="Edge s of the patches that are written.")

    def misfit(self, name: str, size: int) -> str | None:
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
        free = self.start_from is None and self.weights is None
        if self.depth > 0 and self.local and free:
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

    @model_validator(mode="after")
    def _patches(self) -> PRDiTRefined:
        check_patches(self.patch, self.stride)
        return self


def check_patches(patch: int, stride: int) -> None:
    """Raise ValueError unless patches lie centred on their blocks."""
    if patch < stride or (patch - stride) % 2:
        raise ValueError(
            f"patch {patch} must exceed stride {stride} by an even number, or equal it (no overlap)"
        )


def _generator(value: Any) -> str:
    """The kind of a model entry: PRDiT unless it says otherwise."""
    told = value.get("generator", "prdit") if isinstance(value, Mapping) else value.generator
    return str(told) if told in TYPED else "own"


TYPED = ("prdit", "prdit_refined", "wdm_3d", "ha_gan", "vq_gan", "ldm_3d")
"""Generators whose settings have types here; all others are of the user's own."""

Model = Annotated[
    Annotated[PRDiT, Tag("prdit")]
    | Annotated[PRDiTRefined, Tag("prdit_refined")]
    | Annotated[WDM3D, Tag("wdm_3d")]
    | Annotated[HAGAN, Tag("ha_gan")]
    | Annotated[VQGAN, Tag("vq_gan")]
    | Annotated[LDM3D, Tag("ldm_3d")]
    | Annotated[Own, Tag("own")],
    Discriminator(_generator),
]
MODEL = TypeAdapter[Model](Model)


FIXED = ("generator", "start_from", "weights", "sha256", "per_dataset")
"""What a model has in common on all data sets."""


def on_dataset(model: Model, dataset: str) -> Model:
    """A model as it is on a data set. Raises ValueError if it cannot be so."""
    changes = model.per_dataset.get(dataset, {})
    for key in FIXED:
        if key in changes:
            raise ValueError(f"{key} is the same on all data sets; name another model instead")
    if not changes:
        return model.model_copy(update={"per_dataset": {}})
    told = laid_over(model.model_dump(exclude_unset=True, exclude={"per_dataset"}), changes)
    try:
        return MODEL.validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        raise ValueError(f"{where}: {first['msg']}") from None


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

    @model_validator(mode="after")
    def _own_has_no_k(self) -> Sampler:
        if self.kind == "own":
            for key in ("k", "schedule", "output"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"a sampler of kind own has no {key}; remove it")
        return self
