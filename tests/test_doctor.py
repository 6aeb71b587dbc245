"""`prdit doctor`, at sites that small scripts in place of SLURM, conda and nvidia-smi make up."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from prdit import digests
from prdit.cli import STEPS, main
from prdit.config.file import load_file
from prdit.data.sources import zenodo
from prdit.doctor import cluster, data, site
from prdit.doctor.line import ask
from prdit.doctor.profile import Profile
from prdit.plan.dry_run import SOURCES, Job, jobs
from prdit.plan.estimates import Estimates

ROOT = Path(__file__).resolve().parents[1]

WORKING = {
    "conda": "echo conda 25.1.0",
    "sinfo": "echo 'cpu*|2-00:00:00'; echo 'gpu|1-00:00:00'; echo 'gpu|1-00:00:00'",
    "sbatch": "exit 0",
    "sacct": "exit 0",
    "sacctmgr": "echo lungs; echo hearts",
}
NO_GRES = 'case "$*" in *--gpus*) echo "Invalid gres" >&2; exit 1;; esac'
NO_GPUS = 'case "$*" in *--gres*) echo "Invalid gpus" >&2; exit 1;; esac'
GPU = "echo 'NVIDIA A100, 570.86.15'"
PROFILE = """
executor: slurm
software-deployment-method: conda
default-resources: {slurm_partition: cpu, slurm_account: lungs, runtime: 60}
set-resources:
  train: {slurm_partition: gpu, runtime: 24h}
"""
BARE = """
name: doctor-test
datasets:
  some:
    label: Some
    source: {kind: phantom, count: 8, series_per_job: 4}
    grid: {size: 16, spacing_mm: 16}
"""
CONFIG = f"""{BARE}
models:
  local:
    {{depth: 0, width: 24, heads: 2, patch: 4, stride: 2,
     training: {{volumes: 16, batch: 4, learning_rate: 1e-3}}}}
samplers: {{k2: {{k: 2, steps: 4}}}}
sampling: {{volumes: 4, volumes_per_job: 4}}
tables: {{table_1: {{datasets: [some], size: 8, sampler: k2, rows: [local]}}}}
"""
RESTRICTED = "{kind: zenodo, record: 1, scans: 4, url: 'URL'}"


class Site:
    """Programs, a profile and a config, to break one at a time."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        for name in ("bin", "profile"):
            (folder / name).mkdir()
        for name, script in WORKING.items():
            self.program(name, script)
        self.profile(PROFILE)
        self.config(CONFIG)

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def without(self, name: str) -> None:
        (self.folder / "bin" / name).unlink()

    def profile(self, text: str) -> None:
        (self.folder / "profile" / "config.yaml").write_text(text)

    def config(self, text: str) -> None:
        (self.folder / "config.yaml").write_text(text)

    def source(self, source: str) -> None:
        config = yaml.safe_load(CONFIG)
        config["datasets"]["some"]["source"] = yaml.safe_load(source)
        self.config(yaml.safe_dump(config))

    def said(self, *words: str) -> list[str]:
        """Lines of the whole report; the exit status must be that of its verdicts."""
        words = words or ("--profile", str(self.folder / "profile"))
        status = main(["doctor", "--configfile", str(self.folder / "config.yaml"), *words])
        told = self.capsys.readouterr()
        problems = told.out.count("PROBLEM")
        assert status == (2 if problems else 0), told
        assert told.err.startswith(f"prdit doctor: {problems} problem" if problems else "")
        return told.out.splitlines()

    def problem(self) -> str:
        """The one PROBLEM of the report."""
        (line,) = (line for line in self.said() if line.startswith("PROBLEM"))
        return line

    def line(self, words: str) -> str:
        """The one line of the report with these words."""
        (line,) = (line for line in self.said() if words in line)
        return line


DRY_RUNS: dict[tuple[str, ...], list[Job]] = {}


def once(configs: Sequence[Path], folder: str) -> list[Job]:
    """A dry run, which takes seconds, once for all tests with the same config and resources."""
    key = (*(path.read_text() for path in configs), Path(folder, "config.yaml").read_text())
    if key not in DRY_RUNS:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("PATH", os.defpath)  # Snakemake calls `which`
            DRY_RUNS[key] = jobs(configs, folder)
    return DRY_RUNS[key]


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Site:
    """A site where all is well."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(zenodo.TOKEN, raising=False)
    monkeypatch.setattr("prdit.doctor.profile.jobs", once)
    return Site(tmp_path, capsys)


def test_nothing_is_wrong(place: Site) -> None:
    before = sorted(ROOT.glob("results/*"))
    lines = place.said()
    assert not [line for line in lines if not line.startswith(("ok ", "note "))]
    assert "ok       slurm_account lungs is yours" in lines
    assert (
        "ok       gpu lets jobs run for 1440 minutes; the longest rule, train, asks for 1440"
        in lines
    )
    assert sorted(ROOT.glob("results/*")) == before


def test_snakemake_refuses(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(place.folder / "bin" / "python"))
    place.program("python", "echo Using profile x; echo 'WorkflowError: no' >&2; exit 1")
    place.config(CONFIG.replace("doctor-test", "doctor-refused"))
    assert place.problem() == "PROBLEM  snakemake -n fails: WorkflowError: no"


def test_what_jobs_need_is_what_the_plan_says(place: Site) -> None:
    some, found = place.folder / "config.yaml", Profile()
    config = load_file(some)
    listed = found.jobs([some])
    told = sum(data.needed_bytes(config, listed).values())
    assert told == sum(Estimates(config, 1).cost(job).bytes for job in listed) > 0
    left = [job for job in listed if job.rule not in SOURCES]  # raw scans are there
    assert data.needed_bytes(config, left)[Path(config.raw_folder)] == 0


def test_packages_that_the_estimate_needs_are_missing(
    place: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prdit.plan.estimates", None)
    assert place.line("room on the disk was not looked at").startswith("note ")


def test_this_machine() -> None:
    command = [sys.executable, "-m", "prdit", "doctor", "--configfile", "config/quickstart.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if "PROBLEM" in done.stdout else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert "the config 'quickstart' can be read" in done.stdout


def test_elsewhere(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    assert main(["doctor"]) == 2
    assert "the repository's own folder" in place.capsys.readouterr().err


# This machine


def test_python_is_too_old(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.platform, "python_version", lambda: "3.10.2")
    assert "Python 3.10.2 does not satisfy >=3.11" in place.problem()


@pytest.mark.parametrize("name", ["snakemake", "snakemake-executor-plugin-slurm"])
def test_a_package_is_missing(place: Site, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    version = site.metadata.version

    def installed(asked: str) -> str:
        if asked == name:
            raise site.metadata.PackageNotFoundError
        return version(asked)

    monkeypatch.setattr(site.metadata, "version", installed)
    assert f"{name} is not installed: `pip install '{name}" in place.problem()


def test_torch_is_too_old(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    version = site.metadata.version
    old = {"torch": "2.1.0"}
    monkeypatch.setattr(site.metadata, "version", lambda name: old.get(name) or version(name))
    place.profile(PROFILE.replace("software-deployment-method: conda", ""))
    assert "torch 2.1.0 does not satisfy >=" in place.problem()


def test_the_configs_build_of_torch_is_compared_with_the_driver(place: Site) -> None:
    place.program("nvidia-smi", GPU)
    assert "write `torch_build: cu126` into the config" in place.problem()
    place.config(CONFIG + "torch_build: cu126")
    assert place.line("the driver suits").startswith("ok ")
    place.config(CONFIG)
    place.profile(f"{PROFILE}config: torch_build=cu126")
    assert place.line("the driver suits").startswith("ok ")


def test_without_a_config_the_driver_is_not_judged(place: Site) -> None:
    place.program("nvidia-smi", GPU)
    place.config(CONFIG + "torch_build: cu128")
    assert "torch_build" in place.problem()
    assert place.line("was not looked at: which torch that is").startswith("note ")


def test_a_missing_folder_does_not_hide_the_build_of_torch(place: Site) -> None:
    place.program("nvidia-smi", GPU)
    place.source("{kind: dicom, folder: nowhere}")
    config = place.folder / "config.yaml"
    config.write_text(f"{config.read_text()}torch_build: cu126\n")
    assert place.line("the driver suits").startswith("ok ")


def test_the_profile_wants_conda(place: Site) -> None:
    place.without("conda")
    assert "conda does not answer (there is no conda)" in place.problem()
    place.profile(PROFILE.replace("software-deployment-method: conda", ""))
    assert place.line("no conda").startswith("note ")


# The cluster


def test_no_profile_of_that_name(place: Site) -> None:
    said = place.said("--profile", "nowhere")
    assert said[0].startswith("PROBLEM  there is no profile nowhere")


@pytest.mark.parametrize("text", ["[", "- a", "set-resources: ['train:gpu=1']"])
def test_a_profile_that_is_none(place: Site, text: str) -> None:
    place.profile(text)
    assert "the profile " in place.problem()


def test_no_profile(place: Site) -> None:
    config = ("--configfile", str(place.folder / "config.yaml"))
    assert "note     SLURM was not looked at" in "\n".join(place.said(*config))


@pytest.mark.parametrize("name", ["sbatch", "sinfo"])
def test_no_slurm_here(place: Site, name: str) -> None:
    place.without(name)
    assert place.problem() == f"PROBLEM  there is no {name}: run this on a login node"


def test_no_controller(place: Site) -> None:
    place.program("sinfo", "echo 'sinfo: fatal: Could not establish a configuration' >&2; exit 1")
    assert "sinfo answers with an error (sinfo: fatal: Could not establish" in place.problem()


def test_no_such_partition(place: Site) -> None:
    place.profile(PROFILE.replace("cpu", "long"))
    assert "there is no partition long: write one of those there are (cpu, gpu)" in place.problem()


def test_no_default_partition(place: Site) -> None:
    place.program("sinfo", "echo 'gpu|infinite'")
    place.profile(PROFILE.replace("slurm_partition: cpu, ", ""))
    assert "names no slurm_partition and there is no default" in place.problem()


def test_a_rule_takes_longer_than_its_partition_lets_it(place: Site) -> None:
    place.profile(PROFILE.replace("24h", "2d"))
    told = "gpu ends jobs after 1440 minutes and rule train asks for 2880: lower its `runtime`"
    assert told in place.problem()


def test_a_training_that_would_save_after_slurm_has_ended_it(place: Site) -> None:
    place.profile(PROFILE.replace("24h", "12h, time_limit: 1440"))
    assert "would save after 1440 minutes (time_limit), and SLURM ends it after 720" in (
        place.problem()
    )


def test_a_request_that_is_too_large(place: Site) -> None:
    place.program("sbatch", 'case "$*" in *--mem=*) echo "not available" >&2; exit 1;; esac')
    refused = [line for line in place.said() if "(not available): ask for less" in line]
    assert any("--mem=32000" in line and "train" in line for line in refused)


@pytest.mark.parametrize(
    "text", ["set-resources: 7", "default-resources: 5", "default-resources: ['slurm_account=[a']"]
)
def test_a_profile_that_cannot_be_understood(place: Site, text: str) -> None:
    place.profile(f"executor: slurm\n{text}")
    assert "its resources are not written as" in place.problem()


@pytest.mark.parametrize(
    ("said", "limit"),
    [("30:00", 30), ("4:30:00", 270), ("2-00:00:00", 2880), ("infinite", None), ("n/a", None)],
)
def test_limits(said: str, limit: int | None) -> None:
    assert cluster.read_limits(f"any*|{said}") == {"any": limit, cluster.DEFAULT: limit}


def test_a_site_that_takes_gres_alone(place: Site) -> None:
    place.program("sbatch", NO_GRES)
    said = [line for line in place.said() if line.startswith("PROBLEM")]
    told = "sbatch refuses --gpus=1 with --partition=gpu --account=lungs for train (Invalid gres)"
    assert told in said[-1]
    assert 'takes --gres=gpu:1: write `{gpu: 0, gres: "gpu:1"}` for each' in said[-1]


def test_a_profile_with_gres(place: Site) -> None:
    place.profile("executor: slurm\nset-resources: {train: {gpu: 0, gres: 'gpu:1'}}")
    place.program("sbatch", NO_GPUS)
    assert "refuses --gres=gpu:1 with the default partition for train" in place.problem()
    assert "takes --gpus=1: write `{gpu: 1}`" in place.problem()


def test_no_gpus_at_all(place: Site) -> None:
    place.profile("executor: slurm")
    place.program("sbatch", 'case "$*" in *gpu*) echo "no such node" >&2; exit 1;; esac')
    assert "(no such node), and any other request for a GPU: name a slurm_part" in place.problem()


def test_no_accounting(place: Site) -> None:
    place.program("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert "write `slurm-status-command: squeue` into" in place.problem()
    place.profile(PROFILE + "slurm-status-command: squeue")
    assert place.line("no accounting").startswith("ok ")


def test_somebody_elses_account(place: Site) -> None:
    place.profile(PROFILE.replace("lungs", "brains"))
    assert "slurm_account brains is none of yours (hearts, lungs)" in place.problem()


def test_no_account_named_or_known(place: Site) -> None:
    place.profile(PROFILE.replace("slurm_account: lungs, ", ""))
    assert place.line("names no slurm_account").startswith("note ")
    place.without("sacctmgr")
    assert place.line("does not tell the accounts").startswith("note ")


def test_a_program_that_hangs(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prdit.doctor.line.TIMEOUT_S", 0.2)
    place.program("sinfo", "exec /bin/sleep 20")
    assert ask("sinfo").error == "no answer within 0.2 s"


# The config


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x", "config key 'datasets' is missing; add it"),
        ("[", "cannot read the config"),
        ("", "is empty or no mapping"),
    ],
)
def test_a_config_that_is_none(place: Site, text: str, told: str) -> None:
    place.config(text)
    assert told in place.problem()


def test_configs_are_laid_over_one_another(tmp_path: Path) -> None:
    profile = Profile(tmp_path, {"config": ["local_downloads=true"]})
    paths = [ROOT / "config/paper.yaml", ROOT / "config/lidc_only.yaml"]
    config = load_file(*paths, **profile.config())
    assert [one.label for one in config.datasets.values()] == ["LIDC-IDRI"]
    assert config.local_downloads is True


def test_weights_of_a_model_are_missing(place: Site) -> None:
    place.config(BARE + "models: {any: {depth: 0, weights: nowhere.safetensors}}")
    assert "models.any.weights: there is no file nowhere.safetensors" in place.problem()


def test_weights_that_nobody_publishes(place: Site) -> None:
    place.config(CONFIG + "evaluation: {weights: nowhere.pth}")
    assert "there are no weights nowhere.pth, and none of that name" in place.problem()


def test_a_folder_that_cannot_be_written_to(place: Site) -> None:
    (place.folder / "file").touch()
    place.config(CONFIG + f"raw: {place.folder}/file/raw")
    assert f"{place.folder}/file cannot be written to" in place.problem()


def test_a_full_disk(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 10))
    assert "are needed, 0 GB are free: make room" in place.problem()


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Refusing) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()


def test_no_token(place: Site, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place.source(RESTRICTED.replace("URL", server))
    assert f"Some is restricted and {zenodo.TOKEN} is not set" in place.problem()
    monkeypatch.setenv(zenodo.TOKEN, "very-secret")
    said = "\n".join(place.said())
    assert f"{zenodo.TOKEN} is set" in said
    assert "very-secret" not in said
    assert "ok       127.0.0.1 answers" in said
    assert "downloads will run on compute nodes" in said


def test_no_network(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(zenodo.TOKEN, "very-secret")
    place.source(RESTRICTED.replace("URL", "http://127.0.0.1:1"))
    assert "127.0.0.1 cannot be reached from here (ConnectionError)" in place.problem()


def test_one_of_several_servers_is_enough(
    place: Site, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "needed_bytes", lambda *_: {})
    several = f"endpoints: ['http://127.0.0.1:1', '{server}']"
    place.source(f"{{kind: idc, manifest: config/lidc_idri.csv, {several}}}")
    assert place.line("another server has the same").startswith("note ")


@pytest.mark.parametrize("step", sorted(STEPS))
def test_no_step_imports_it(step: str) -> None:
    reached = digests.closure(STEPS[step])
    assert not [name for name in reached if name.startswith("prdit.doctor")]
