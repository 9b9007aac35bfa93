"""One interface, whatever the source."""

import hashlib
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import h5py
import pytest

from spikereach.config import Config, Download, Synthetic, read
from spikereach.config.sessions import ZENODO, find
from spikereach.data import sources
from spikereach.data.errors import SessionError
from spikereach.identity import file_checksum

NAMES = get_args(Config.model_fields["source"].annotation)
CONTENT = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def paper(repository) -> Config:
    return read(repository / "config.yaml")


@pytest.fixture
def local(paper, tmp_path) -> Config:
    """Two recordings of one's own in a folder."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("chewie_1", "chewie_2"):
        (folder / f"{name}.mat").write_bytes(CONTENT)
    catalogue = {f"chewie_{n}": {"monkey": "chewie", "areas": {"M1": 174}} for n in (1, 2, 3)}
    changes = {"source": "local", "folder": str(folder), "catalogue": catalogue}
    return Config.model_validate(paper.model_dump() | changes)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "run" / "data" / "raw" / "session.mat"


def test_local_file_is_copied_and_stays(local, target):
    sources.of(local).fetch(find("chewie_1", local.catalogue), target)
    assert target.read_bytes() == CONTENT
    original = os.path.join(local.folder, "chewie_1.mat")
    with open(original, "r+b") as file:
        file.write(b"edited")
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_missing_local_file_lists_the_folder(local, target):
    with pytest.raises(SessionError) as error:
        sources.of(local).fetch(find("chewie_3", local.catalogue), target)
    for part in (local.folder, "chewie_3.mat", "chewie_1.mat, chewie_2.mat"):
        assert part in str(error.value)
    assert not target.exists()


def test_missing_local_folder(local, target, tmp_path):
    config = local.model_copy(update={"folder": str(tmp_path / "nowhere")})
    with pytest.raises(SessionError, match=r"no folder .*nowhere.*change `folder`"):
        sources.of(config).fetch(find("chewie_1", config.catalogue), target)


@pytest.mark.parametrize("name", ["indy_20160622_01", "indy_20160407_02", "loco_20170302_02"])
def test_local_copy_of_a_published_file_is_verified(local, target, tmp_path, name):
    session = ZENODO[name]
    file = tmp_path / "recordings" / f"{session.name}.mat"
    file.write_bytes(CONTENT)
    with pytest.raises(SessionError, match="not the published file") as error:
        sources.of(local).fetch(session, target)
    assert str(file) in str(error.value)
    assert not target.exists()
    right = replace(session, md5=hashlib.md5(CONTENT).hexdigest())
    sources.of(local).fetch(right, target)
    assert target.read_bytes() == CONTENT


def test_local_copy_that_does_not_fit_leaves_the_earlier_one(local, target):
    sources.of(local).fetch(find("chewie_1", local.catalogue), target)
    before = target.stat()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(SessionError, match="free disk space"):
            sources.of(local).fetch(find("chewie_2", local.catalogue), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.stat() == before
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("way", ["file", "link", "link to the original"])
def test_a_file_that_was_put_there_is_only_read(way, local, target, tmp_path):
    original, other = (tmp_path / "recordings" / f"chewie_{n}.mat" for n in (1, 2))
    target.parent.mkdir(parents=True)
    if way == "file":
        target.write_bytes(CONTENT)
    else:
        target.symlink_to(other if way == "link" else original)
    check = sources.of(local).check
    check(find("chewie_1", local.catalogue), target)
    assert target.is_symlink() == (way != "file")
    if way == "link to the original":
        return
    target.write_bytes(b"edited")  # through the link
    with pytest.raises(SessionError, match="stays as it is") as error:
        check(find("chewie_1", local.catalogue), target)
    for part in (target, original, *[other] * (way == "link")):
        assert str(part) in str(error.value)
    assert target.read_bytes() == b"edited"
    assert original.read_bytes() == CONTENT


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_only_what_an_earlier_call_put_there_is_replaced(
    ours, link, right, local, target, tmp_path
):
    """And never what a link leads to, such as a cache or an archive."""
    source, session = sources.of(local), find("chewie_1", local.catalogue)
    original = tmp_path / "recordings" / "chewie_1.mat"
    there = tmp_path / "there"
    there.write_bytes(CONTENT if right else b"earlier")
    there.chmod(0o444)
    target.parent.mkdir(parents=True)
    target.symlink_to(there) if link else there.rename(target)
    before, inode = target.read_bytes(), target.lstat().st_ino
    made = file_checksum(target) if ours else None
    if not ours and not right:
        with pytest.raises(SessionError, match="is not the same as"):
            sources.put(source, session, target, made)
    else:
        assert sources.put(source, session, target, made) == ours
        assert target.read_bytes() == CONTENT
    if not ours or (link and right):
        assert (target.read_bytes(), target.lstat().st_ino) == (before, inode)
    if link:
        assert there.read_bytes() == before
    assert original.read_bytes() == CONTENT
    assert sources.put(source, find("chewie_2", local.catalogue), target.with_name("new"), None)


def test_a_synthetic_session_is_compared_with_one_made_anew(paper, target):
    changes = {"source": "synthetic", "synthetic": Synthetic(duration_s=10, seed=4)}
    source = sources.of(paper.model_copy(update=changes))
    session = find("synthetic_indy_1", {})
    source.fetch(session, target)
    source.check(session, target)
    with pytest.raises(SessionError, match="is not the synthetic session synthetic_indy_2"):
        source.check(find("synthetic_indy_2", {}), target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_synthetic(paper, target):
    config = paper.model_copy(
        update={"source": "synthetic", "synthetic": Synthetic(duration_s=10, seed=4)}
    )
    sources.of(config).fetch(find("synthetic_loco_2", {}), target)
    with h5py.File(target) as file:
        assert "seed 4" in file.attrs["synthetic"]
        assert file["t"].shape == (1, 2500)
        assert file["spikes"].shape[1] == 192


def test_synthetic_source_has_no_recordings(paper, target):
    config = paper.model_copy(update={"source": "synthetic"})
    with pytest.raises(SessionError, match="indy_20160622_01 is a recording"):
        sources.of(config).fetch(ZENODO["indy_20160622_01"], target)


def test_zenodo_has_no_synthetic_sessions(paper, target):
    with pytest.raises(SessionError, match="synthetic_indy_1 is not on Zenodo"):
        sources.of(paper).fetch(find("synthetic_indy_1", {}), target)


def test_zenodo_gets_the_settings_of_the_config(paper, target, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    download = Download(
        record="http://host.invalid/api/records/1", retries=0, backoff_s=1, timeout_s=1
    )
    config = paper.model_copy(update={"download": download})
    with pytest.raises(SessionError, match=r"http://host\.invalid/records/1/files/loco_2017"):
        sources.of(config).fetch(ZENODO["loco_20170210_03"], target)


@pytest.mark.parametrize("name", NAMES)
def test_every_source_says_all_that_others_ask_of_it(name, paper):
    source = sources.of(paper.model_copy(update={"source": name, "folder": "."}))
    assert isinstance(source, sources.named(name))
    assert source.name == name
    assert source.caption.startswith("Data: ")
    assert not source.caption.endswith(".")
    assert source.apart is None or source.apart.endswith(".")
    assert source.memory_mb() >= 500


def test_only_what_changes_a_file_is_in_its_key(paper, local):
    def key(config, name="indy_20160622_01", **changes):
        config = config.model_copy(update=changes)
        return sources.of(config).key(find(name, config.catalogue))

    seconds = Synthetic(duration_s=10, seed=4)
    download = paper.download.model_copy(update={"retries": 1})
    assert key(paper) == key(paper, download=download, synthetic=seconds) == {"source": "zenodo"}
    assert key(paper, source="synthetic") != key(paper, source="synthetic", synthetic=seconds)
    before = key(local, "chewie_1")
    assert json.loads(json.dumps(before)) == before
    os.utime(os.path.join(local.folder, "chewie_1.mat"), (0, 0))  # an older copy put back
    assert key(local, "chewie_1") != before
    assert sources.of(paper).local_file(ZENODO["indy_20160622_01"]) is None


def test_plans_need_no_generator():
    code = (
        "import sys; from spikereach.data import sources; sources.named('synthetic'); "
        "sys.exit(any(name in sys.modules for name in ('scipy', 'h5py', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
