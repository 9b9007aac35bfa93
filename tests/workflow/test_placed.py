"""Recordings that somebody put into data/raw: used or named, and never touched."""

import hashlib
import json
import os
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

import session_files
from spikereach.workflow.verify import verify

WAYS = ("file", "read_only", "link", "link_to_read_only", "hard_link")
"""How a file can lie there."""


def place(way, original, target):
    """Put a recording into a run folder; ``original`` stays where it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if way in ("file", "read_only"):
        shutil.copy(original, target)
    if way == "read_only":
        target.chmod(0o444)
    if way.startswith("link"):
        target.symlink_to(original)
    if way == "link_to_read_only":
        original.chmod(0o444)
    if way == "hard_link":
        target.hardlink_to(original)


def state(folder):
    """All that can be told of the files of a folder, links themselves and what they lead to."""
    return {
        path.name: (os.readlink(path) if path.is_symlink() else None, path.lstat().st_ino,
                    path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.iterdir())
    }  # fmt: skip


@pytest.fixture
def checkout(checkout):
    """One in which read-only files are so for root too."""
    if os.geteuid() == 0 and shutil.which("setpriv"):
        checkout.prefix = ["setpriv", "--bounding-set=-dac_override"]
    return checkout


@pytest.fixture
def lab(checkout):
    """A checkout with a recording of one's own for each way, and a folder of other ones."""
    checkout.recordings, checkout.archive, checkout.raw = (
        checkout.folder / "recordings",
        checkout.folder / "archive",
        checkout.run_folder / "data" / "raw",
    )
    for seed, folder in enumerate((checkout.recordings, checkout.archive)):
        folder.mkdir()
        for number, way in enumerate(WAYS):
            path = folder / f"{way}.mat"
            session_files.random_session(path, channels=3, steps=2000, seed=10 * seed + number)
    overlay = yaml.safe_load(checkout.overlay.read_text()) | {
        "source": "local",
        "folder": str(checkout.recordings),
        "catalogue": {way: {"monkey": "own", "areas": {"M1": 3}} for way in WAYS},
        "sessions": list(WAYS),
        "pretrain_sessions": {},
    }
    checkout.overlay.write_text(yaml.safe_dump(json.loads(json.dumps(overlay))))
    return checkout


def errors(done):
    """What went wrong, as the terminal has it in the end."""
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert "Write-protected" not in done.stdout
    return [line for line in done.stdout.splitlines() if line.startswith("error: ")]


def backups(checkout):
    return [path for path in (checkout.run_folder / ".snakemake").rglob("backups/**/*")]


BINNED = [f"data/binned/{way}.h5" for way in WAYS]


@pytest.mark.long
def test_right_copies_are_used_as_they_are(lab):
    for way in WAYS:  # links lead to the recordings themselves
        place(way, lab.recordings / f"{way}.mat", lab.raw / f"{way}.mat")
    before, originals = state(lab.raw), state(lab.recordings)
    for options in ((), ("--forceall",)):
        done = lab.snakemake(*BINNED, "--cores", "1", *options)
        assert done.returncode == 0, done.stdout
        found = state(lab.raw)
        assert {name: found[name] for name in before} == before
        assert found.keys() - before.keys() == {f"{way}.md5" for way in WAYS}
        assert state(lab.recordings) == originals
        assert backups(lab) == []
        assert lab.planned(*BINNED) == {}
    assert verify(lab.run_folder).breaks == []
    # From now on they are what was checked: a run that reads another file says so.
    (lab.raw / "file.mat").write_bytes((lab.archive / "file.mat").read_bytes())
    (broken,) = verify(lab.run_folder).breaks
    assert "data/raw/file.mat" in (broken.path + broken.problem)
    (lab.run_folder / BINNED[0]).unlink()
    (error,) = errors(lab.snakemake(BINNED[0], "--cores", "1"))
    assert "data/raw/file.mat: was altered since check_session checked it" in error
    (lab.raw / "file.md5").unlink()
    (error,) = errors(lab.snakemake(BINNED[0], "--cores", "1"))
    assert "data/raw/file.mat: is not the same as" in error


def test_wrong_copies_are_named_and_stay(lab):
    for way in WAYS:
        place(way, lab.archive / f"{way}.mat", lab.raw / f"{way}.mat")
    before, originals = state(lab.raw), state(lab.archive)
    for _ in range(2):  # nothing is left behind that makes the next run fail otherwise
        done = lab.snakemake(*BINNED, "--cores", "1", "--keep-going")
        found = errors(done)
        for way in WAYS:
            (error,) = [line for line in found if f"/{way}.mat" in line]
            assert f"data/raw/{way}.mat" in error
            assert f"is not the same as {lab.recordings / way}.mat" in error
            assert "stays as it is" in error
            if way.startswith("link"):
                assert f"(a link to {lab.archive / way}.mat)" in error
        assert state(lab.raw) == before
        assert state(lab.archive) == originals
        assert backups(lab) == []
    for way in WAYS:
        (lab.raw / f"{way}.mat").unlink()
    done = lab.snakemake(*BINNED, "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert state(lab.archive) == originals
    for way in WAYS:
        copy = (lab.raw / f"{way}.mat").read_bytes()
        assert copy == (lab.recordings / f"{way}.mat").read_bytes()


def test_a_checksum_that_was_put_beside_a_recording_does_not_stand_for_a_check(lab):
    """As many keep one, of the same name and form as ours."""
    for way, folder in (("file", lab.archive), ("read_only", lab.recordings)):
        place(way, folder / f"{way}.mat", lab.raw / f"{way}.mat")
        md5 = hashlib.md5((lab.raw / f"{way}.mat").read_bytes()).hexdigest()
        checksum = lab.raw / f"{way}.md5"
        checksum.write_text(f"{md5}  {way}.mat\n")
        checksum.chmod(0o444)
    before = state(lab.raw)
    found = errors(lab.snakemake(*BINNED[:2], "--cores", "1", "--keep-going"))
    assert len(found) == 2
    for way in WAYS[:2]:
        (error,) = [line for line in found if f"/{way}.mat" in line]
        assert f"data/raw/{way}.md5: no job is known to have written it" in error
        assert "take it away" in error
    assert state(lab.raw) == before
    for way in WAYS[:2]:
        (lab.raw / f"{way}.md5").unlink()
    (error,) = errors(lab.snakemake(*BINNED[:2], "--cores", "1", "--keep-going"))
    assert "data/raw/file.mat: is not the same as" in error
    assert (lab.run_folder / BINNED[1]).is_file()


@pytest.mark.slow
def test_what_a_job_copied_is_copied_anew_and_what_was_put_there_is_not(lab):
    done = lab.snakemake(*BINNED[:2], "--cores", "1")
    assert done.returncode == 0, done.stdout
    copied, placed = (lab.raw / f"{way}.mat" for way in WAYS[:2])
    placed.unlink()
    place("link", lab.recordings / placed.name, placed)
    for way in WAYS[:2]:  # recorded anew
        shutil.copy(lab.archive / f"{way}.mat", lab.recordings / f"{way}.mat")
    assert set(lab.planned(*BINNED[:2])) == {"check_session", "bin_session"}
    done = lab.snakemake(*BINNED[:2], "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert copied.read_bytes() == (lab.recordings / copied.name).read_bytes()
    assert placed.is_symlink()
    assert verify(lab.run_folder).breaks == []


@pytest.mark.long
def test_synthetic_sessions_are_not_written_over_what_was_put_there(checkout):
    raw = checkout.run_folder / "data" / "raw" / "synthetic_indy_1.mat"
    target = "data/raw/synthetic_indy_1.md5"
    own = session_files.random_session(checkout.folder / "own.mat", channels=96, steps=2000)
    place("link", own, raw)
    before = own.read_bytes()
    (error,) = errors(checkout.snakemake(target, "--cores", "1"))
    assert "is not the synthetic session synthetic_indy_1" in error
    assert own.read_bytes() == before
    raw.unlink()
    assert checkout.snakemake(target, "--cores", "1").returncode == 0
    right = raw.rename(checkout.folder / "right.mat")
    place("link_to_read_only", right, raw)
    (checkout.run_folder / target).unlink()
    assert checkout.snakemake(target, "--cores", "1").returncode == 0
    assert raw.resolve() == right


@pytest.mark.parametrize("thing", ["a folder", "a device or pipe"])
def test_what_is_no_file_is_named(checkout, thing):
    raw = checkout.run_folder / "data" / "raw" / "synthetic_indy_1.mat"
    raw.parent.mkdir(parents=True)
    raw.mkdir() if thing == "a folder" else os.mkfifo(raw)
    (error,) = errors(checkout.snakemake("data/raw/synthetic_indy_1.md5", "--cores", "1"))
    assert (
        f"data/raw/synthetic_indy_1.mat: is {thing}; no job is known to have put it there" in error
    )
    assert raw.is_dir() or raw.is_fifo()


@pytest.mark.parametrize("target", ["/no/disk/own.mat", "synthetic_indy_1.mat"])
def test_a_link_to_a_disk_that_is_away_is_named(checkout, target):
    """Also where all is made already; not that of a session which is not of the run."""
    raw = checkout.run_folder / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "other.mat").symlink_to("/no/disk/other.mat")
    wanted = "data/raw/synthetic_indy_1.md5"
    assert checkout.planned(wanted).keys() == {"fetch_session"}
    (raw / "synthetic_indy_1.mat").symlink_to(target)
    [error] = errors(checkout.snakemake(wanted, "--dry-run", "--cores", "1"))
    assert f"data/raw/synthetic_indy_1.mat: is a link to {target}, which is not there" in error


def test_published_weights_that_were_put_there(checkout):
    """No job makes them, not even where all is to be made anew; the import knows them."""
    name = "data/weights/SNN2/loco_20170210_03.pt"
    weights = checkout.run_folder / name
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"other weights")
    weights.chmod(0o444)
    target = "results/import/SNN2-imported/loco_20170210_03/seed0/checkpoint.safetensors"
    planned = checkout.planned(target, "--forceall", overlay=False)
    assert set(planned) == {"import_weights"}
    (error,) = errors(checkout.snakemake(target, "--cores", "1", overlay=False))
    assert name in error
    assert weights.read_bytes() == b"other weights"


class Handler(BaseHTTPRequestHandler):
    """The metadata of a record."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.metadata)))
        self.end_headers()
        self.wfile.write(self.server.metadata)


@pytest.fixture
def record(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("way", ["read_only", "link_to_read_only"])
def test_a_recording_of_the_record(way, checkout, record):
    name = "loco_20170213_02"  # one whose checksum is the record's to know
    root = f"http://127.0.0.1:{record.server_port}"
    own = checkout.folder / "own.mat"
    own.write_bytes(b"a recording")
    md5 = hashlib.md5(b"a recording").hexdigest()
    links = {"self": f"{root}/nothing"}
    file = {"key": f"{name}.mat", "size": 11, "checksum": f"md5:{md5}", "links": links}
    record.metadata = json.dumps({"files": [file]}).encode()
    config = checkout.folder / "config.yaml"
    config.write_text(config.read_text().replace("https://zenodo.org/api", f"{root}/api"))
    raw, target = checkout.run_folder / f"data/raw/{name}.mat", f"data/raw/{name}.md5"
    place(way, own, raw)
    before = state(raw.parent)
    done = checkout.snakemake(target, "--cores", "1", overlay=False)
    assert done.returncode == 0, done.stdout
    assert (checkout.run_folder / target).read_text().startswith(md5)
    (checkout.run_folder / target).unlink()
    assert state(raw.parent) == before
    own.chmod(0o644)
    own.write_bytes(b"another one")
    raw.unlink()
    place(way, own, raw)
    before = state(raw.parent)
    (error,) = errors(checkout.snakemake(target, "--cores", "1", overlay=False))
    assert re.search(rf"data/raw/{name}.mat.*is not the published file .*{md5}", error)
    assert state(raw.parent) == before
    assert backups(checkout) == []
