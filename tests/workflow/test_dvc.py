"""Versioned data: what DVC brings to another clone, Snakemake takes as done."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from spikereach.config import overlay
from spikereach.identity import file_checksum

pytestmark = pytest.mark.slow

PARTS = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".gitignore")
SYSTEMS = ["Wiener", "sRTnet"]
KEPT = ("data", "results", "paper_tables", "figures", "manifests")


@dataclass
class Clone:
    """A git checkout with DVC, whose run folder is the checkout itself."""

    folder: Path
    settings: Path
    """DVC's own files that would otherwise lie in the home of the user."""
    package: Path
    prefix: tuple[str, ...] = ()
    """Of every command."""

    def __call__(self, *command, check=True):
        """Run a command as in an activated environment; returns what it printed."""
        environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            # The same package as the clone's own, with its compiled loops beside it.
            "PYTHONPATH": str(self.package),
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1",
            "HOME": str(self.settings),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "DVC_SITE_CACHE_DIR": str(self.settings / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.settings / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.settings / "system"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@localhost"}
        done = subprocess.run(
            list(map(str, [*self.prefix, *command])),
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if check else subprocess.DEVNULL,
            text=True,
            timeout=600,
        )
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout}"
        return done.stdout

    def snakemake(self, *arguments):
        """Rules that it runs, or would run in a dry run."""
        text = self("snakemake", *arguments)
        rules = set(re.findall(r"^(?:local)?rule (\w+):", text, re.M))
        assert rules or "Nothing to be done" in text, text
        return rules - {"tables", "paper"}

    def planned(self, *targets):
        return self.snakemake(*targets, "--dry-run", "--cores", "1")

    def wipe(self):
        """Leave what git keeps."""
        for part in (*KEPT, ".snakemake", ".cache", ".dvc/cache", ".dvc/tmp", "logs"):
            shutil.rmtree(self.folder / part, ignore_errors=True)
        self("git", "checkout", "--quiet", ".")

    def files(self):
        """Path -> content of all that DVC or git keeps of a run."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for part in KEPT
            for path in (self.folder / part).rglob("*")
            if path.is_file()
        }


def tiny(base, small):
    """The whole configuration of a smaller run yet: two decoders, three trainings."""
    config = overlay(yaml.safe_load(base.read_text()), yaml.safe_load(small.read_text()))
    config["pretrain_sessions"] = {}
    tables = {"coopt": SYSTEMS, "per_session": SYSTEMS}
    config["tables"] = {name: tables.get(name, []) for name in config["tables"]}
    return yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False)


@pytest.fixture(scope="module")
def lab(make_checkout, repository, tmp_path_factory):
    """Where the run was made, kept, and pushed to a folder."""
    checkout = make_checkout(tmp_path_factory.mktemp("lab"))
    package, folder = checkout.python_path[0], checkout.folder
    checkout.copy_package()
    (folder / ".dvc").mkdir()
    for part in PARTS:
        shutil.copy(repository / part, folder / part)
    (folder / "config.yaml").write_text(tiny(folder / "config.yaml", folder / "tiny.yaml"))
    lab = Clone(folder, tmp_path_factory.mktemp("settings"), package)
    lab("git", "init", "--quiet")
    lab("dvc", "remote", "add", "--default", "storage", tmp_path_factory.mktemp("remote"))
    lab("git", "add", ".")
    lab("git", "commit", "--quiet", "--message", "Configure")
    lab("dvc", "repro")
    lab("git", "add", "dvc.lock", "results/metrics.json")
    lab("git", "commit", "--quiet", "--message", "Reproduce")
    lab("dvc", "push")
    return lab


@pytest.fixture
def clone(lab, tmp_path):
    """A fresh one, without what DVC keeps."""
    lab("git", "clone", "--quiet", ".", tmp_path / "clone")
    return replace(lab, folder=tmp_path / "clone")


@pytest.fixture(scope="module")
def complete(lab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete") / "clone"
    lab("git", "clone", "--quiet", ".", folder)
    clone = replace(lab, folder=folder)
    clone("dvc", "pull")
    return clone


@pytest.fixture
def pulled(complete, tmp_path):
    """One with all that DVC keeps, time stamps as they were after `dvc pull`."""
    shutil.copytree(complete.folder, tmp_path / "pulled", symlinks=True)
    return replace(complete, folder=tmp_path / "pulled")


@pytest.fixture
def bucket():
    """URL of a bucket and of the S3 server on loopback that has it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="lab")
    yield "s3://lab/spikereach", endpoint
    server.stop()


def test_all_that_a_run_makes_is_kept_or_ignored(lab):
    assert "up to date" in lab("dvc", "status")
    assert lab("git", "status", "--porcelain") == ""


def test_fresh_clone_has_nothing_to_do_after_a_pull(lab, pulled):
    assert pulled.files() == lab.files()
    assert pulled.planned() == set()
    assert "up to date" in pulled("dvc", "status")


def test_contents_count_and_time_stamps_do_not(pulled):
    for age, part in enumerate(("data/raw", "data/binned", "results/train", "results/compress")):
        for path in (pulled.folder / part).rglob("*.*"):
            os.utime(path, (1e9 - age, 1e9 - age))  # what is read is newer than what is made
    assert pulled.planned() == set()
    checksum = pulled.folder / "data" / "raw" / "synthetic_indy_1.md5"
    before = checksum.read_text()
    checksum.write_text("another file\n")
    assert {"bin_session", "train_decoder", "write_table"} <= pulled.planned()
    # It is by the record that Snakemake knows.
    checksum.write_text(before)
    shutil.rmtree(pulled.folder / ".snakemake" / "metadata")
    assert {"bin_session", "train_decoder"} <= pulled.planned()


@pytest.mark.long
def test_s3_gives_back_what_it_got(lab, pulled, bucket):
    url, endpoint = bucket
    pulled("dvc", "remote", "add", "--local", "s3", url)
    pulled("dvc", "remote", "modify", "--local", "s3", "endpointurl", endpoint)
    pulled("dvc", "push", "--remote", "s3")
    pulled.wipe()
    assert pulled.files().keys() == {"results/metrics.json"}
    pulled("dvc", "pull", "--remote", "s3")
    assert pulled.files() == lab.files()


def test_tables_are_made_from_checkpoints_without_training(lab, clone):
    clone("dvc", "pull", "data/binned", "checkpoints", "manifests", ".snakemake/metadata")
    assert not (clone.folder / "data" / "raw").exists()
    made = clone.snakemake("tables", "--cores", "2")
    assert made == {"evaluate_decoder", "write_table", "write_document"}
    for path in lab.folder.glob("paper_tables/*.csv"):
        assert (clone.folder / "paper_tables" / path.name).read_bytes() == path.read_bytes()


# ---- Caches of links ----------------------------------------------------------------------


ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root without what makes write-protected files no hindrance."""


def linked(complete, folder, cache_type):
    """A clone with all that DVC keeps, each file as this type of cache gives it."""
    shutil.copytree(complete.folder, folder / "clone", symlinks=True)
    clone = replace(complete, folder=folder / "clone")
    clone("dvc", "config", "--local", "cache.type", cache_type)
    clone("dvc", "checkout", "--relink")
    return clone


def damaged(clone):
    """Objects of the cache whose content is not what their name says, and how many there are."""
    cache = clone.folder / ".dvc" / "cache" / "files" / "md5"
    objects = [path for path in cache.rglob("*") if path.is_file()]
    wrong = [
        path
        for path in objects
        if file_checksum(path, "md5") != path.parent.name + path.name.removesuffix(".dir")
    ]
    return wrong, len(objects)


def change(clone, old, new):
    config = clone.folder / "config.yaml"
    text = config.read_text("utf-8")
    assert text.count(old) == 1
    config.write_text(text.replace(old, new), "utf-8")


WIENER = "results/evaluate/Wiener/synthetic_indy_1/seed0/metrics.json"


def run_after_a_change(clone, cache_type):
    """Plain Snakemake; the cache must stay what it is."""
    path = clone.folder / WIENER
    expected = {"symlink": path.is_symlink(), "hardlink": path.stat().st_nlink > 1}
    assert expected.get(cache_type, not any(expected.values()))
    earlier, (wrong, number) = path.read_bytes(), damaged(clone)
    assert not wrong
    assert number > 50
    change(clone, "lags: 10\n", "lags: 5\n")
    made = clone.snakemake("paper_tables/coopt.csv", "--cores", "2")
    assert {"train_decoder", "evaluate_decoder", "write_table"} <= made
    assert path.read_bytes() != earlier
    assert damaged(clone) == ([], number)


def test_a_cache_of_links_stays_what_it_is(complete, tmp_path):
    run_after_a_change(linked(complete, tmp_path, "hardlink"), "hardlink")


@pytest.mark.long
@pytest.mark.parametrize("cache_type", ["reflink,copy", "hardlink", "symlink", "copy"])
@pytest.mark.parametrize("who", ["anybody", "root"])
def test_every_cache_stays_what_it_is(complete, tmp_path, cache_type, who):
    clone = linked(complete, tmp_path, cache_type)
    if os.geteuid() == 0 and who == "anybody":
        clone = replace(clone, prefix=ORDINARY)
    elif os.geteuid() != 0 and who == "root":
        pytest.skip("these tests are not run by root")
    earlier, (_, before) = (clone.folder / WIENER).read_bytes(), damaged(clone)
    run_after_a_change(clone, cache_type)
    clone("dvc", "repro")
    change(clone, "lags: 5\n", "lags: 4\n")
    clone("dvc", "repro")
    wrong, after = damaged(clone)
    assert not wrong
    assert after > before
    assert clone.planned() == set()
    for part in ("config.yaml", "dvc.lock", "results/metrics.json"):
        clone("git", "checkout", "--quiet", "HEAD", "--", part)
    clone("dvc", "checkout", "--force")
    assert (clone.folder / WIENER).read_bytes() == earlier
    assert clone.planned() == set()


@pytest.mark.long
def test_differences_are_named(pulled):
    config = pulled.folder / "config.yaml"
    text = config.read_text()
    assert text.count("lags: 10\n") > 0
    config.write_text(text.replace("lags: 10\n", "lags: 5\n"))
    pulled("dvc", "repro")
    changed = json.loads(pulled("dvc", "metrics", "diff", "--json", check=False))
    assert changed.keys() == {"results/metrics.json"}
    names = changed["results/metrics.json"].keys()
    assert {"coopt.Wiener.r2", "coopt.Wiener.footprint"} <= names
    assert not any("sRTnet" in name for name in names), "that system has not changed"
    params = json.loads(pulled("dvc", "params", "diff", "--json", check=False))
    assert params["config.yaml"].keys() == {"systems.Wiener.sizes.lags"}
    address = pulled("dvc", "plots", "diff", check=False).strip()
    page = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
    [*plots] = yaml.safe_load((pulled.folder / "dvc.yaml").read_text())["plots"]
    for [(_, plot)] in map(dict.items, plots):
        assert page.count(f'"{plot["title"]}"') == 1
    for version in ("HEAD", "workspace"):
        assert page.count(f'"rev": "{version}"') >= len(plots) * len(SYSTEMS)
    assert "plots" not in pulled("git", "status", "--porcelain")


def test_stages_hold_all_that_takes_long(checkout):
    """What the paper needs the network or training for is in the two stages before it."""
    config = yaml.safe_load(checkout.overlay.read_text())
    config["tables"]["imported"] = ["tinyRSNN-imported", "SNN2-imported"]
    config["ablations"]["compression"] = [{"label": "pruned", "system": "sRTnet-pruned"}]
    config["trajectory"]["systems"] = ["LIF-t2"]
    space = {"k": {"paths": ["sizes.kernel"], "low": 3, "high": 7, "step": 2}}
    search = {"system": "RTnet", "session": "synthetic_indy_1", "space": space}
    search |= {"trials": 3, "parallel": 2, "startup_trials": 2, "warmup_epochs": 1}
    config["search"] = {"RTnet": search}
    checkout.overlay.write_text(yaml.safe_dump(json.loads(json.dumps(config))))
    long = {"fetch_session", "bin_session", "fetch_weights", "import_weights"}
    long |= {"train_decoder", "compress_decoder", "run_trial"}
    paper, stages = checkout.planned("paper"), checkout.planned("data", "checkpoints")
    assert long <= paper.keys()
    for rule in long:
        assert sorted(stages[rule]) == sorted(paper[rule]), rule
    assert stages.keys() - long == {"write_document"}  # the best system of the search
