"""Hours and bytes of jobs: measured where there are records, else from operations and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prdit.config import Config, ImagingDataCommons, Phantom, Zenodo
from prdit.experiments import REPEATS
from prdit.instructions import train_recipe
from prdit.plan import operations, spent
from prdit.plan.dry_run import Job
from prdit.plan.spent import Spent
from prdit.shards import extent, manifest, scan_count

PEAK = {"bfloat16": 312e12, "tf32": 156e12, "float32": 19.5e12}
"""Operations a second of an A100, as NVIDIA states them, without sparsity."""
CPU_S_PER_SCAN = {"fetch_series": 2.0, "fetch_scans": 2.0, "preprocess": 1.6, "phantom": 1.0}
"""Of one core; preprocessing as benchmarks/README.md has it, the others assumed."""
CPU_S_PER_PACKED = 0.5
"""Of one core, to read and pool a volume: assumed."""
CPU_S_PER_JOB = 30.0
"""Of one core, of any other job without a GPU: assumed."""
ZENODO_BYTES = 350e9 / 3630
"""Of one scan of RAD-ChestCT: the README's upper figure."""
PACKED_SHARE = 0.5
"""Of int16 voxels after gzip: assumed."""
MEASURED, COUNTED = "measured", "operations"


@dataclass(frozen=True)
class Cost:
    """Of one job."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    bytes: float = 0.0
    basis: str = ""
    """Where hours come from: measured (and on what, if that is no GPU), or operations."""


class Estimates:
    """What jobs of a config cost on an A100 that does `share` of its peak."""

    def __init__(self, config: Config, share: float) -> None:
        self.config, self.share = config, share
        self.results = Path("results", config.name)
        self.on = cache(config.on)
        self.recipe = cache(lambda *one: train_recipe(config, *one).model_dump_json())
        self.cpu_seconds = cache(lambda rule: spent.cpu_seconds(self.results, rule))

    def cost(self, job: Job) -> Cost:
        """Of a job that would run. A GPU keeps one core busy beside it."""
        if not job.gpu:
            return Cost(0.0, self._cpu_hours(job), self.bytes(job))
        seconds, measured = self._gpu_seconds(job)
        size = self.bytes(job)
        if measured is not None and not measured.gpu:
            return Cost(0.0, seconds / 3600, size, f"{MEASURED} on {measured.device}")
        basis = MEASURED if measured else COUNTED if seconds else "unknown"
        return Cost(seconds / 3600, seconds / 3600, size, basis)

    def _gpu_seconds(self, job: Job) -> tuple[float, Spent | None]:
        w = job.wildcards
        if job.rule == "train":
            measured = self.trained(w["dataset"], w["size"], w["model"])
            wanted = self.on(w["dataset"]).models[w["model"]].training.volumes
            if measured:
                return measured.each * wanted, measured
            return self.training_seconds(w["dataset"], w["size"], w["model"]), None
        if job.rule in ("sample", "time"):
            one = (w["dataset"], w["size"], w["model"], w["sampler"])
            count = REPEATS + 1 if job.rule == "time" else self._portion(w)
            measured = self.drawn(*one)
            each = measured.each if measured else self.drawing_seconds(*one)
            return each * count, measured
        return self._other_seconds(job), None

    def trained(self, dataset: str, size: str, model: str) -> Spent | None:
        """What a training took, if it is there."""
        return spent.training(self.results, dataset, size, model)

    def drawn(self, dataset: str, size: str, model: str, sampler: str) -> Spent | None:
        """What samples took, or the timing of single ones, if either is there."""
        one = (self.results, dataset, size, model, sampler)
        return spent.samples(*one) or spent.timing(*one)

    def training_seconds(self, dataset: str, size: str, model: str) -> float:
        """Of a whole training, from operations."""
        config = self.on(dataset)
        entry, start = config.models[model], config.models[model].start_from
        before = str(self.config.start_size(model, int(size)))
        operation = operations.training(
            self.recipe(dataset, model, size),
            self.recipe(dataset, start, before) if start else None,
        )
        return self._seconds(operation * entry.training.volumes, entry.training.precision)

    def drawing_seconds(self, dataset: str, size: str, model: str, sampler: str) -> float:
        """Of one volume, from operations."""
        chosen = self.config.samplers[sampler]
        recipe = self.recipe(dataset, model, size)
        operation = operations.drawing(recipe, chosen.model_dump_json())
        return self._seconds(operation, chosen.precision)

    def _other_seconds(self, job: Job) -> float:
        """Of critics, features and Figure 15, from operations."""
        w, shown = job.wildcards, self.config.figures.figure_15
        if job.rule == "critic":
            critic = self.config.evaluation.critic
            each = operations.criticism(critic.model_dump_json(), int(w["size"]))
            return self._seconds(each * critic.training.volumes, critic.training.precision)
        if job.rule in ("features", "features_real"):
            networks = [self.config.evaluation, self.config.evaluation.beside]
            each = sum(operations.features(n.network, int(w["size"])) for n in networks if n)
            count = self.config.sampling.volumes
            if job.rule == "features_real":
                count = scan_count(self.config, w["dataset"])
            return self._seconds(each * count, "float32")
        if job.rule == "branches" and shown:
            return self.drawing_seconds(w["dataset"], str(shown.size), shown.model, shown.sampler)
        return 0.0

    def _seconds(self, operation: float, precision: str) -> float:
        return operation / (PEAK[precision] * self.share)

    def _cpu_hours(self, job: Job) -> float:
        seconds = self.cpu_seconds(job.rule)
        if seconds is None and job.rule == "pack":
            seconds = CPU_S_PER_PACKED * scan_count(self.config, job.wildcards["dataset"])
        if seconds is None and job.rule in CPU_S_PER_SCAN:
            seconds = CPU_S_PER_SCAN[job.rule] * self._shard(job)["count"]
        if job.rule == "all":
            return 0.0
        return (CPU_S_PER_JOB if seconds is None else seconds) / 3600

    def bytes(self, job: Job) -> float:
        """Of what a job leaves on disk; 0 of tables, figures, features and scores: below 1 GB."""
        w = job.wildcards
        if job.rule in ("train", "take"):  # a state, then averaged and raw weights; float32
            recipe = self.recipe(w["dataset"], w["model"], w["size"])
            return operations.parameters(recipe) * 4 * (4 + 2)
        if job.rule == "sample":
            return self._portion(w) * int(w["size"]) ** 3 * 2 * PACKED_SHARE
        if job.rule == "pack":
            return scan_count(self.config, w["dataset"]) * int(w["size"]) ** 3 * 2
        if job.rule == "preprocess":
            edge = self.config.datasets[w["dataset"]].grid.size
            return self._shard(job)["count"] * edge**3 * 2 * PACKED_SHARE
        return self._raw_bytes(job) if "shard" in w else 0.0

    def _raw_bytes(self, job: Job) -> float:
        source, part = self.config.datasets[job.wildcards["dataset"]].source, self._shard(job)
        if isinstance(source, ImagingDataCommons):
            rows = manifest(source.manifest)[part["first"] :][: part["count"]]
            return float(sum(int(row["bytes"]) for row in rows))
        if isinstance(source, Zenodo):
            return part["count"] * ZENODO_BYTES
        if isinstance(source, Phantom):  # about 320 mm of int16 voxels each way
            return part["count"] * (320 / source.voxel_mm) ** 3 * 2
        return 0.0  # a user's own scans are there

    def _shard(self, job: Job) -> dict[str, int]:
        dataset, shard = job.wildcards["dataset"], job.wildcards["shard"]
        each = self.config.datasets[dataset].source.series_per_job
        return extent(shard, scan_count(self.config, dataset), each)

    def _portion(self, wildcards: dict[str, str]) -> int:
        chosen = self.config.sampling
        each = chosen.portion(int(wildcards["size"]))
        return extent(wildcards["portion"], chosen.volumes, each)["count"]
