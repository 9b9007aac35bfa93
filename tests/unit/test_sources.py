"""One interface, three sources."""

import hashlib
import os
import resource
from dataclasses import replace

import h5py
import pytest

from spikereach.config import Config, Download, Synthetic, read
from spikereach.config.sessions import ZENODO, find
from spikereach.data import sources
from spikereach.data.errors import SessionError

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
    sources.fetch(find("chewie_1", local), target, local)
    assert target.read_bytes() == CONTENT
    original = os.path.join(local.folder, "chewie_1.mat")
    with open(original, "r+b") as file:
        file.write(b"edited")
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_missing_local_file_lists_the_folder(local, target):
    with pytest.raises(SessionError) as error:
        sources.fetch(find("chewie_3", local), target, local)
    for part in (local.folder, "chewie_3.mat", "chewie_1.mat, chewie_2.mat"):
        assert part in str(error.value)
    assert not target.exists()


def test_missing_local_folder(local, target, tmp_path):
    config = local.model_copy(update={"folder": str(tmp_path / "nowhere")})
    with pytest.raises(SessionError, match=r"no folder .*nowhere.*set `folder`"):
        sources.fetch(find("chewie_1", config), target, config)


def test_local_copy_of_a_published_file_is_verified(local, target, tmp_path):
    session = ZENODO["indy_20160622_01"]
    file = tmp_path / "recordings" / f"{session.name}.mat"
    file.write_bytes(CONTENT)
    with pytest.raises(SessionError, match="not the published file") as error:
        sources.fetch(session, target, local)
    assert str(file) in str(error.value)
    assert not target.exists()
    right = replace(session, md5=hashlib.md5(CONTENT).hexdigest())
    sources.fetch(right, target, local)
    assert target.read_bytes() == CONTENT


def test_local_copy_that_does_not_fit_leaves_the_earlier_one(local, target):
    sources.fetch(find("chewie_1", local), target, local)
    before = target.stat()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(SessionError, match="make room"):
            sources.fetch(find("chewie_2", local), target, local)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.stat() == before
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_synthetic(paper, target):
    config = paper.model_copy(
        update={"source": "synthetic", "synthetic": Synthetic(duration_s=10, seed=4)}
    )
    sources.fetch(find("synthetic_loco_2", config), target, config)
    with h5py.File(target) as file:
        assert "seed 4" in file.attrs["synthetic"]
        assert file["t"].shape == (1, 2500)
        assert file["spikes"].shape[1] == 192


def test_synthetic_source_has_no_recordings(paper, target):
    config = paper.model_copy(update={"source": "synthetic"})
    with pytest.raises(SessionError, match="indy_20160622_01 is a recording"):
        sources.fetch(ZENODO["indy_20160622_01"], target, config)


def test_zenodo_has_no_synthetic_sessions(paper, target):
    with pytest.raises(SessionError, match="synthetic_indy_1 is not on Zenodo"):
        sources.fetch(find("synthetic_indy_1", paper), target, paper)


def test_zenodo_gets_the_settings_of_the_config(paper, target, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    download = Download(
        record="http://host.invalid/api/records/1", retries=0, backoff_s=1, timeout_s=1
    )
    config = paper.model_copy(update={"download": download})
    with pytest.raises(SessionError, match=r"http://host\.invalid/records/1/files/loco_2017"):
        sources.fetch(ZENODO["loco_20170210_03"], target, config)
