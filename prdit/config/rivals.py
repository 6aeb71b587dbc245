"""The rivals, and a model of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from prdit.config.entry import Name
from prdit.config.training import Trained

GENERATORS = Path(__file__).parents[1] / "generators"


class WDM3D(Trained):
    """WDM-3D (Friedrich et al., 2024): diffusion of Haar bands by a U-Net."""

    generator: Literal["wdm_3d"]
    start_from: None = None
    base: int = Field(64, ge=8, description="Channels of the first level.")
    multiples: list[Annotated[int, Field(ge=1)]] = Field(
        default=[1, 2, 2, 4, 4], min_length=1, description="Channels of each level, in `base`."
    )
    timesteps: int = Field(1000, ge=2, description="T.")

    def misfit(self, name: str, size: int) -> str | None:
        unit = 2 ** len(self.multiples)
        if size % unit:
            return f"is no multiple of {unit}, which the levels of models.{name} need"
        return None


class HAGAN(Trained):
    """HA-GAN (Sun et al., 2022): a GAN that is trained on slabs."""

    generator: Literal["ha_gan"]
    start_from: None = None
    width: int = Field(32, ge=8, multiple_of=8, description="Channels near full resolution.")
    latent: int = Field(1024, ge=1, description="Numbers that a volume is made of.")
    discriminator_rate: float = Field(4e-4, gt=0, description="Learning rate of it.")

    def misfit(self, name: str, size: int) -> str | None:
        if size not in (16, 32, 64, 128, 256):
            return f"is none of 16, 32, 64, 128 and 256, which models.{name} can make"
        return None


class VQGAN(Trained):
    """The first phase of 3D-LDM (Khader et al., 2023): volumes as grids of vectors."""

    generator: Literal["vq_gan"]
    start_from: None = None
    levels: int = Field(2, ge=1, le=4, description="Halvings of the edge.")
    hidden: int = Field(16, ge=8, multiple_of=8, description="Channels at full resolution.")
    codes: int = Field(16384, ge=2, description="Vectors of the book.")
    dimensions: int = Field(8, ge=1, description="Numbers of a vector.")
    discriminator_width: int = Field(64, ge=1, description="Channels of the first convolution.")
    discriminators_from: int = Field(10_000, ge=0, description="Volumes seen before they count.")
    perceptual: str | None = Field(
        None, description="Folder of VGG16's and LPIPS's weights; null: no perceptual loss."
    )

    @model_validator(mode="after")
    def _no_average(self) -> Self:
        if self.weights is None and self.training.ema > 0:
            raise ValueError("training.ema of a VQ-GAN is 0: its codebook is no average; write it")
        return self

    def misfit(self, name: str, size: int) -> str | None:
        unit = 2 ** (self.levels + 1)
        if size % unit:
            return f"is no multiple of {unit}, which the levels of models.{name} need"
        return None


class LDM3D(Trained):
    """3D-LDM (Khader et al., 2023): diffusion of the latents of a VQ-GAN."""

    generator: Literal["ldm_3d"]
    start_from: Name = Field(description="A VQ-GAN, or a 3D-LDM to train on.")
    width: int = Field(32, ge=8, multiple_of=8, description="Channels of the first level.")
    multiples: list[Annotated[int, Field(ge=1)]] = Field(
        default=[1, 2, 4, 8], min_length=1, description="Channels of each level, in `width`."
    )
    timesteps: int = Field(300, ge=2, description="T.")

    def misfit_on(self, name: str, size: int, base: VQGAN) -> str | None:
        """As `misfit`, given the VQ-GAN that it builds on."""
        unit = 2 ** (base.levels + len(self.multiples) - 1)
        if size % unit:
            return f"is no multiple of {unit}, which models.{name}.multiples and its VQ-GAN need"
        return None


class Own(Trained):
    """A model of the user's own: any other module of prdit/generators."""

    generator: Name
    start_from: Name | None = None
    settings: dict[str, Any] = Field(default={}, description="Whatever the module asks for.")

    @model_validator(mode="before")
    @classmethod
    def _is_there(cls, raw: Any) -> Any:
        """Before its keys are looked at: most are unknown if the generator is not meant."""
        name = raw.get("generator") if isinstance(raw, dict) else None
        if name is not None and name not in known():
            raise ValueError(
                f"generator '{name}' is no module of prdit/generators with a function `build`;"
                f" there are {', '.join(known())}"
            )
        return raw


def known() -> list[str]:
    """Generators there are: modules with a function `build`, which is looked for, not run."""
    modules = sorted(GENERATORS.glob("*.py"))
    return [m.stem for m in modules if "\ndef build(" in m.read_text() and m.stem != "base"]
