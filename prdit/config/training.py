"""How models and critics are trained."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, model_validator

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


UNTRAINED = Training(volumes=1)


class Trained(Entry):
    """A model, which is trained, or whose weights are taken from a file."""

    training: Training = Field(UNTRAINED, description="Needed unless weights are given.")
    weights: str | None = Field(
        None, description="File to take instead of training: of this package, or its authors'."
    )
    sha256: str | None = Field(None, description="Of the file of weights: another file is refused.")
    per_dataset: dict[Name, dict[str, Any]] = Field(
        default={}, description="By data set: what is different there, as here."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.weights is None and "training" not in self.model_fields_set:
            raise ValueError("add training, or name a file of weights to take instead")
        if self.weights is not None and self.training != UNTRAINED:
            raise ValueError("write either training or weights, not both")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is 64 hexadecimal digits, not {self.sha256!r:.80}")
        if self.weights is None and self.sha256 is not None:
            raise ValueError("sha256 is that of a file of weights: name the file too")
        return self

    def misfit(self, name: str, size: int) -> str | None:  # noqa: ARG002
        """Why volumes of an edge cannot be made, in words after its number; None if they can."""
        return None


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
