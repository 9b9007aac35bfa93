"""Links into a cache of DVC become the run folder's own files."""

import os
import re
from pathlib import Path

import pytest
import yaml

from spikereach.workflow import linked
from spikereach.workflow.linked import make_own
from spikereach.workflow.runfolder import RunFolderError
from spikereach.workflow.search import open_study

RESULT = "results/train/RTnet/s/seed0/history.csv"
JOURNAL = "results/search/RTnet/journal.log"
RECORD = ".snakemake/metadata/ab/cd"


def hard(cached, path):
    path.hardlink_to(cached)


def symbolic(cached, path):
    path.symlink_to(cached.absolute())


@pytest.fixture(params=[hard, symbolic])
def link(request, tmp_path, monkeypatch):
    """Puts a write-protected file into a cache, and a link to it into the run folder."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.chdir(run)

    def link(path, content=b"kept", mode=0o444):
        cached = tmp_path / "cache" / path.replace("/", "-")
        cached.parent.mkdir(exist_ok=True)
        cached.write_bytes(content)
        cached.chmod(mode)
        os.utime(cached, (1e9, 1e9))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        request.param(cached, Path(path))
        return cached

    return link


@pytest.mark.parametrize("path", [RESULT, JOURNAL, RECORD, "paper_tables/coopt.csv"])
def test_a_copy_takes_its_place(link, path):
    cached = link(path)
    make_own()
    own = Path(path)
    assert not own.is_symlink()
    assert not own.samefile(cached)
    assert own.read_bytes() == b"kept"
    assert own.stat().st_mtime == 1e9, "nothing looks newer than it is"
    assert own.stat().st_mode & 0o777 == 0o644
    own.write_bytes(b"changed")
    assert cached.read_bytes() == b"kept"
    assert cached.stat().st_mode & 0o777 == 0o444
    assert [each.name for each in own.parent.iterdir()] == [own.name]


def test_what_is_nobodys_cache_stays(link, tmp_path):
    link("data/raw/s.mat")
    link("results/train/own.csv", mode=0o644)
    Path("results/alone.csv").write_text("one", "utf-8")
    Path("results/alone.csv").chmod(0o444)
    Path("results/gone.csv").symlink_to("/no/such/file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text("one", "utf-8")
    Path("figures").symlink_to(tmp_path / "elsewhere")
    found = {path: path.lstat().st_ino for path in Path().rglob("*")}
    make_own()
    assert {path: path.lstat().st_ino for path in Path().rglob("*")} == found


def test_a_trial_leaves_the_earlier_journal(link):
    open_study(Path(JOURNAL), "first")
    content = Path(JOURNAL).read_bytes()
    Path(JOURNAL).unlink()
    cached = link(JOURNAL, content)
    make_own()
    open_study(Path(JOURNAL), "second")
    assert Path(JOURNAL).read_bytes().startswith(content)
    assert len(Path(JOURNAL).read_bytes()) > len(content)
    assert cached.read_bytes() == content


def test_a_full_disk_is_named(link, monkeypatch):
    cached = link(RESULT)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(RunFolderError, match=re.escape(RESULT) + ".*No space left.*free disk"):
        make_own()
    assert Path(RESULT).samefile(cached)


def test_all_that_dvc_keeps_lies_in_the_folders(repository):
    stages = yaml.safe_load((repository / "dvc.yaml").read_bytes())["stages"].values()
    outputs = [path for stage in stages for each in stage["outs"] for path in each]
    assert len(outputs) > 10
    assert [path for path in outputs if not path.startswith(linked.FOLDERS)] == []
