"""Downloads, from servers on this machine that behave and misbehave as the real ones do."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from serving import SHARE_LINK, TOKEN, Bucket, Record, Server, md5, serve

from prdit.data.phantom.dicom_writer import write_series
from prdit.data.sources import idc, zenodo
from prdit.data.sources.patients import METADATA
from prdit.data.sources.verified import read_verified
from prdit.data.volume import Volume
from prdit.recipes import DownloadRecipe, FetchRecipe, RecordRecipe

ROOT = Path(__file__).resolve().parents[1]


def prdit(*words: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != zenodo.TOKEN}
    return subprocess.run(
        [sys.executable, "-m", "prdit", *words],
        cwd=ROOT,
        env=environment | ({zenodo.TOKEN: token} if token else {}),
        capture_output=True,
        text=True,
        timeout=300,
    )


# Imaging Data Commons


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A manifest of two series, and the objects of their bucket."""
    folder = tmp_path_factory.mktemp("collection")
    rng = np.random.default_rng(0)
    objects, rows = {}, []
    for number in range(2):
        hu = rng.integers(-1000, 500, (5, 16, 16)).astype(np.int16)
        patient, uuid = f"LIDC-IDRI-000{number}", f"0000-{number}"
        uid = write_series(folder / uuid, Volume(hu, (2.5, 0.7, 0.7)), patient_id=patient)
        files = {f"{uuid}/{p.name}": p.read_bytes() for p in (folder / uuid).iterdir()}
        objects |= files
        rows.append((uid, patient, uuid, len(files), sum(map(len, files.values()))))
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("series_uid", "patient_id", "crdc_series_uuid", "files", "bytes"))
        table.writerows(rows)
    return folder / "manifest.csv", objects


@pytest.fixture
def bucket(collection: tuple[Path, dict[str, bytes]]) -> Iterator[Server]:
    with serve(Bucket, dict(collection[1])) as server:
        yield server


def fetch(manifest: Path, verified: Path, *servers: Server) -> subprocess.CompletedProcess[str]:
    recipe = FetchRecipe(
        manifest=str(manifest),
        manifest_sha256="",
        endpoints=[server.url for server in servers],
        first=0,
        count=2,
    )
    words = ("--recipe", recipe.model_dump_json(), "--verified", str(verified))
    return prdit("fetch-series", *words)


def assert_complete(verified: Path, objects: dict[str, bytes]) -> None:
    scans = [scan for scan, _ in read_verified(verified)]
    assert sorted(scan.patient_id for scan in scans) == ["LIDC-IDRI-0000", "LIDC-IDRI-0001"]
    found = [path.read_bytes() for scan in scans for path in sorted(scan.path.iterdir())]
    assert sorted(found) == sorted(objects.values())


def test_series_are_fetched_once(
    collection: tuple[Path, dict[str, bytes]], bucket: Server, tmp_path: Path
) -> None:
    manifest, objects = collection
    verified = tmp_path / "000/verified.json"
    assert fetch(manifest, verified, bucket).returncode == 0
    assert_complete(verified, objects)
    verified.unlink()
    bucket.asked.clear()
    assert fetch(manifest, verified, bucket).returncode == 0
    assert_complete(verified, objects)
    assert not [asked for asked in bucket.asked if asked.startswith("GET") and ".dcm" in asked]


@pytest.mark.parametrize("fault", ["500", "429", "close"])
def test_one_fault_of_the_server_is_overcome(
    collection: tuple[Path, dict[str, bytes]], bucket: Server, tmp_path: Path, fault: str
) -> None:
    bucket.faults = {sorted(bucket.files)[2]: [fault]}
    done = fetch(collection[0], tmp_path / "000/verified.json", bucket)
    assert done.returncode == 0, done.stderr
    assert_complete(tmp_path / "000/verified.json", collection[1])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("always 403", "Forbidden"),
        ("always close", "EOF"),
        ("always flip", "arrived with other bytes than the server's"),
        ("always 404", "404"),
    ],
)
def test_a_fault_that_stays_is_told_and_its_end_completes(
    collection: tuple[Path, dict[str, bytes]],
    bucket: Server,
    tmp_path: Path,
    fault: str,
    said: str,
) -> None:
    manifest, objects = collection
    verified = tmp_path / "000/verified.json"
    victim = sorted(bucket.files)[2]
    bucket.faults = {victim: [fault]}
    done = fetch(manifest, verified, bucket)
    assert done.returncode == 2
    assert said in done.stderr
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr
    assert not verified.exists()
    assert not list(tmp_path.rglob(Path(victim).name))  # nothing that another run would take
    bucket.faults = {}
    assert fetch(manifest, verified, bucket).returncode == 0
    assert_complete(verified, objects)


def test_the_second_server_is_asked_where_the_first_fails(
    collection: tuple[Path, dict[str, bytes]], bucket: Server, tmp_path: Path
) -> None:
    with serve(Bucket, dict(bucket.files), faults={"": ["always 403"]}) as broken:
        done = fetch(collection[0], tmp_path / "000/verified.json", broken, bucket)
    assert done.returncode == 0, done.stderr
    assert broken.asked
    assert_complete(tmp_path / "000/verified.json", collection[1])


def test_what_lies_about_is_not_taken_for_fetched(
    collection: tuple[Path, dict[str, bytes]], bucket: Server, tmp_path: Path
) -> None:
    """A hole in a file of the right size, as a killed download leaves; a stray; a short file."""
    manifest, objects = collection
    verified = tmp_path / "000/verified.json"
    assert fetch(manifest, verified, bucket).returncode == 0
    files = sorted(tmp_path.rglob("*.dcm"))
    verified.unlink()
    content = files[0].read_bytes()
    files[0].write_bytes(content[:-200] + bytes(200))
    files[1].write_bytes(content[:100])
    (files[0].parent / "stray.dcm").write_bytes(content)
    assert fetch(manifest, verified, bucket).returncode == 0
    assert_complete(verified, objects)


def pair(objects: dict[str, bytes], *, of_one_series: bool) -> tuple[str, str]:
    """Two files of equal size."""
    return next(
        (a, b)
        for a, b in combinations(sorted(objects), 2)
        if (a[:6] == b[:6]) == of_one_series and len(objects[a]) == len(objects[b])
    )


def twin(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Two files of one image: as many, and as large, as the manifest says."""
    first, second = pair(objects, of_one_series=True)
    return objects | {second: objects[first]}


def swapped(objects: dict[str, bytes]) -> dict[str, bytes]:
    mine, its = pair(objects, of_one_series=False)
    return objects | {mine: objects[its], its: objects[mine]}


def no_dicom(objects: dict[str, bytes]) -> dict[str, bytes]:
    first = sorted(objects)[0]
    return objects | {first: bytes(len(objects[first]))}


def fewer(objects: dict[str, bytes]) -> dict[str, bytes]:
    return {key: objects[key] for key in sorted(objects)[1:]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (twin, "is the same image as another"),
        (swapped, "belongs to series"),
        (no_dicom, "is no DICOM file"),
        (fewer, "the server has 4 files"),
    ],
)
def test_a_bucket_that_holds_something_else_is_refused(
    collection: tuple[Path, dict[str, bytes]], tmp_path: Path, change, said: str
) -> None:
    with serve(Bucket, change(collection[1])) as server:
        done = fetch(collection[0], tmp_path / "000/verified.json", server)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "000/verified.json").exists()


def test_without_a_connection_fetching_fails_and_says_so(
    collection: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idc, "RETRIES", "0")
    series = idc.read_manifest(collection[0])[0]
    with pytest.raises(Exception, match="LIDC-IDRI-0000 could not be fetched") as caught:
        idc.fetch(series, tmp_path / "1.2", ["http://127.0.0.1:9"])
    assert "check the connection" in str(caught.value)


# Zenodo

SCANS = ("trn00139.npz", "trn19747.npz", "val27137.npz", "tst00001.npz")


@pytest.fixture(scope="module")
def record() -> dict[str, bytes]:
    """The files of a record like RAD-ChestCT's: two scans are of one patient."""
    files, rng = {}, np.random.default_rng(0)
    for name in SCANS:
        written = io.BytesIO()
        np.savez(written, ct=rng.integers(-1000, 1000, (20, 300, 300)).astype(np.int16))
        files[name] = written.getvalue()
    rows = [f"{name.removesuffix('.npz')},x,MRN{min(i, 2)}" for i, name in enumerate(SCANS)]
    files[METADATA] = "\n".join(["NoteAcc_DEID,other,MRN_DEID", *rows, "trn9,x,M"]).encode()
    files["Summary_3630.csv"] = b"a,b\n"
    return files


@pytest.fixture
def server(record: dict[str, bytes]) -> Iterator[Server]:
    with serve(Record, dict(record)) as running:
        yield running


def listed(server: Server, manifest: Path, token: str | None = TOKEN, scans: int = 4):
    recipe = RecordRecipe(url=server.url, record=6406114, scans=scans).model_dump_json()
    return prdit("list-record", "--recipe", recipe, "--manifest", str(manifest), token=token)


def scans(server: Server, manifest: Path, token: str | None = TOKEN):
    recipe = DownloadRecipe(url=server.url, record=6406114, first=1, count=2).model_dump_json()
    verified = manifest.parent / "000/verified.json"
    words = ("--recipe", recipe, "--manifest", str(manifest), "--verified", str(verified))
    return prdit("fetch-scans", *words, token=token)


@pytest.mark.parametrize("token", [TOKEN, SHARE_LINK])
def test_a_record_is_listed_and_its_scans_fetched(
    server: Server, record: dict[str, bytes], tmp_path: Path, token: str
) -> None:
    manifest = tmp_path / "manifest.csv"
    done = listed(server, manifest, token)
    assert done.returncode == 0, done.stderr
    assert "access restricted, licence Some licence" in done.stdout
    rows = list(csv.DictReader(manifest.open()))
    assert [row["scan_id"] for row in rows] == ["trn00139", "trn19747", "tst00001", "val27137"]
    assert [row["patient_id"] for row in rows] == ["MRN0", "MRN1", "MRN2", "MRN2"]
    done = scans(server, manifest, token)
    assert done.returncode == 0, done.stderr
    found = [scan for scan, _ in read_verified(tmp_path / "000/verified.json")]
    assert [scan.scan_id for scan in found] == ["trn19747", "tst00001"]
    assert [scan.path.read_bytes() for scan in found] == [
        record["trn19747.npz"],
        record["tst00001.npz"],
    ]
    said = done.stdout + done.stderr + "".join(p.read_text("latin1") for p in tmp_path.rglob("*.*"))
    assert token not in said
    assert (TOKEN in " ".join(server.asked)) is False  # a personal token stands in no address


def test_a_token_with_a_line_break_is_told_and_not_shown(server: Server, tmp_path: Path) -> None:
    done = listed(server, tmp_path / "manifest.csv", "geheim\nsecond")
    assert done.returncode == 2
    assert "holds a space, a line break or a letter that no token has" in done.stderr
    assert "geheim" not in done.stderr + done.stdout


@pytest.mark.parametrize("fault", ["endless", "page"])
def test_an_answer_that_is_no_file_is_told_and_kept_small(
    server: Server, manifest: Path, fault: str
) -> None:
    server.faults = {"tst00001": [f"always {fault}"]}
    done = scans(server, manifest)
    assert done.returncode == 2
    said = {"endless": "is longer than the", "page": "answers with a web page in place of"}
    assert said[fault] in done.stderr
    kept = sum(path.stat().st_size for path in (manifest.parent / "000").glob(".*"))
    assert kept < 1000
    server.faults = {}
    assert scans(server, manifest).returncode == 0


@pytest.mark.parametrize(
    "row",
    [
        *("/etc,P,u,1,1", "..,P,u,1,1", "1.2,P,../u,1,1", "1.2,P,u,six,1", ",P,u,1,1"),
        *("1.2,P,u,²,1", "1.2,P,u,1,²", "1.2,P,u,1,", "1.2,P,u,1,٣"),
    ],
)
def test_ids_of_a_manifest_never_leave_the_folder(tmp_path: Path, row: str) -> None:
    path = tmp_path / "manifest.csv"
    text = f"series_uid,patient_id,crdc_series_uuid,files,bytes\n{row}\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Exception, match="has a row that is no series"):
        idc.read_manifest(path)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "its files are restricted and no token is set; request access on that page"),
        ("w-r-o-n-g", r"the token is wrong or has expired (401)"),
        ("eyJ.wrong.link", r"the token gives no access to its files (403)"),
    ],
)
def test_who_may_not_is_told_how_to_ask(
    server: Server, tmp_path: Path, token: str | None, said: str
) -> None:
    done = listed(server, tmp_path / "manifest.csv", token)
    assert done.returncode == 2
    assert said in done.stderr
    assert zenodo.TOKEN in done.stderr
    assert token is None or token not in done.stderr + done.stdout
    assert not (tmp_path / "manifest.csv").exists()


def test_another_number_of_scans_is_told(server: Server, tmp_path: Path) -> None:
    done = listed(server, tmp_path / "manifest.csv", scans=5)
    assert done.returncode == 2
    assert "holds 4 scans, and jobs were planned for 5; write `scans: 4`" in done.stderr


def test_a_scan_without_a_patient_is_told(
    server: Server, record: dict[str, bytes], tmp_path: Path
) -> None:
    server.files[METADATA] = record[METADATA].replace(b"trn19747", b"trn11111")
    done = listed(server, tmp_path / "manifest.csv")
    assert done.returncode == 2
    assert f"scan trn19747 has no patient in {METADATA}" in done.stderr


@pytest.fixture
def manifest(server: Server, tmp_path: Path) -> Path:
    assert listed(server, tmp_path / "manifest.csv").returncode == 0
    server.asked.clear()
    return tmp_path / "manifest.csv"


@pytest.mark.parametrize("fault", ["500", "429", "close", "no-range"])
def test_one_fault_of_a_record_is_overcome(
    server: Server, record: dict[str, bytes], manifest: Path, fault: str
) -> None:
    server.faults = {"tst00001": [fault]}
    done = scans(server, manifest)
    assert done.returncode == 0, done.stderr
    assert (manifest.parent / "000/tst00001.npz").read_bytes() == record["tst00001.npz"]
    if fault == "close":
        start = int(server.asked[-1].rsplit("bytes=")[1].removesuffix("-"))
        assert 0 < start <= len(record["tst00001.npz"]) // 2  # goes on about where it broke off


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("always 403", "the token gives no access"),
        ("always 404", "does not exist, or not with this file (404)"),
        ("always flip", "arrived with another MD5"),
    ],
)
def test_a_fault_of_a_record_that_stays_is_told_and_its_end_completes(
    server: Server, record: dict[str, bytes], manifest: Path, fault: str, said: str
) -> None:
    server.faults = {"tst00001": [fault]}
    done = scans(server, manifest)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (manifest.parent / "000/verified.json").exists()
    assert not (manifest.parent / "000/tst00001.npz").exists()
    server.faults = {}
    server.asked.clear()
    assert scans(server, manifest).returncode == 0
    assert (manifest.parent / "000/tst00001.npz").read_bytes() == record["tst00001.npz"]
    assert not [asked for asked in server.asked if "trn19747" in asked]  # it is there already


def test_a_server_that_always_fails_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zenodo, "PAUSE_S", 0.001)
    monkeypatch.setenv(zenodo.TOKEN, SHARE_LINK)
    found = zenodo.Record(server.url, 6406114)
    size, digest = len(server.files["trn00139.npz"]), md5(server.files["trn00139.npz"])
    server.faults = {"trn00139": ["always 500"]}
    with pytest.raises(Exception, match="answers 500; run the same command again later"):
        found.download("trn00139.npz", size, digest, tmp_path / "a.npz")
    server.faults = {"trn00139": ["no-range", *["close"] * 40]}
    server.files["trn00139.npz"] = server.files["trn00139.npz"][: size // 2]
    with pytest.raises(Exception, match=r"broke off at .* of .* bytes") as caught:
        found.download("trn00139.npz", size, digest, tmp_path / "a.npz")
    assert SHARE_LINK not in str(caught.value)
    assert not (tmp_path / "a.npz").exists()


def test_an_unreachable_record_is_told_without_its_address(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zenodo, "PAUSE_S", 0.001)
    monkeypatch.setenv(zenodo.TOKEN, SHARE_LINK)
    with pytest.raises(Exception, match="cannot be reached") as caught:
        zenodo.Record("http://127.0.0.1:9", 1).files()
    assert SHARE_LINK not in "".join([str(caught.value), *capfd.readouterr()])


def test_waits_as_long_as_a_busy_server_says() -> None:
    class Answer:
        status = 429
        headers = {"X-RateLimit-Reset": str(int(time.time()) + 20)}  # noqa: RUF012

    wait = zenodo._Waiting().get_retry_after(Answer())  # type: ignore[arg-type]
    assert wait is not None
    assert 15 <= wait <= 20
    Answer.headers = {"Retry-After": "999999"}
    assert zenodo._Waiting().get_retry_after(Answer()) == 3600  # type: ignore[arg-type]


def test_a_killed_download_goes_on(
    server: Server, record: dict[str, bytes], manifest: Path, tmp_path: Path
) -> None:
    server.slow = True
    recipe = DownloadRecipe(url=server.url, record=6406114, first=1, count=2).model_dump_json()
    verified = tmp_path / "000/verified.json"
    words = ["--recipe", recipe, "--manifest", str(manifest), "--verified", str(verified)]
    job = subprocess.Popen(
        [sys.executable, "-m", "prdit", "fetch-scans", *words],
        cwd=ROOT,
        env=os.environ | {zenodo.TOKEN: TOKEN},
    )
    part = tmp_path / "000/.trn19747.npz.part"
    while not (part.exists() and part.stat().st_size):
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    left = part.stat().st_size
    assert 0 < left < len(record["trn19747.npz"])
    server.slow = False
    server.asked.clear()
    assert scans(server, manifest).returncode == 0
    assert f"bytes={left}-" in " ".join(server.asked)
    assert (tmp_path / "000/trn19747.npz").read_bytes() == record["trn19747.npz"]


# By hand, and under Snakemake


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="snakemake is not on the PATH")
def test_what_is_fetched_by_hand_is_done_for_snakemake(
    collection: tuple[Path, dict[str, bytes]], bucket: Server, server: Server, workflow_copy: Path
) -> None:
    shutil.copy(collection[0], workflow_copy / "manifest.csv")
    (workflow_copy / "own.yaml").write_text(f"""
name: own
datasets:
  lidc:
    label: L
    source: {{kind: idc, manifest: manifest.csv, series_per_job: 1, endpoints: [{bucket.url}]}}
  rad: {{label: R, source: {{kind: zenodo, scans: 4, series_per_job: 2, url: {server.url}}}}}
models: {{m: {{depth: 0, training: {{volumes: 8}}}}}}
samplers: {{k1: {{k: 1}}}}
tables: {{table_1: {{datasets: [lidc], size: 128, sampler: k1, rows: [m]}}}}
""")
    environment = os.environ | {zenodo.TOKEN: TOKEN}
    for dataset in ("lidc", "rad"):
        words = [sys.executable, "-m", "prdit", "fetch", dataset, "--configfile", "own.yaml"]
        done = subprocess.run(
            words, cwd=workflow_copy, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    shards = sorted(p.parent.as_posix() for p in workflow_copy.rglob("verified.json"))
    assert [shard.split("raw/")[1] for shard in shards] == [
        *("lidc/000", "lidc/001", "rad/000", "rad/001")
    ]
    plan = subprocess.run(
        ["snakemake", "-n", "--configfile", "own.yaml"],
        cwd=workflow_copy,
        capture_output=True,
        text=True,
    )
    assert plan.returncode == 0, plan.stderr
    jobs = plan.stdout.split("Job stats:")[1].split("total")[0]
    assert "preprocess" in jobs
    assert not [rule for rule in ("fetch_series", "fetch_scans", "list_record") if rule in jobs]
