"""The package where there is no checkout: built, unpacked elsewhere, called in another folder."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from spikereach import config
from spikereach.config import default
from spikereach.identity import code_digest

PARTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "config.yaml", "src")


def build(kind, folder, out):
    """What pip has setuptools build from a folder of sources."""
    out.mkdir()
    code = f"import setuptools.build_meta as backend; backend.build_{kind}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    [made] = out.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(repository, tmp_path_factory):
    """Folder of the modules, by way of the source distribution, which must be whole, too."""
    folder = tmp_path_factory.mktemp("installed")
    for name in PARTS:
        if (repository / name).is_dir():
            ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
            shutil.copytree(repository / name, folder / "checkout" / name, ignore=ignored)
        else:
            (folder / "checkout").mkdir(exist_ok=True)
            shutil.copy(repository / name, folder / "checkout")
    with tarfile.open(build("sdist", folder / "checkout", folder / "sdist")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [sources] = (folder / "unpacked").iterdir()
    with zipfile.ZipFile(build("wheel", sources, folder / "wheel")) as archive:
        archive.extractall(folder / "modules")
    return folder / "modules"


def call(installed, folder, *arguments, code="from spikereach.cli import app; app()"):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )


def test_there_is_one_configuration_in_a_checkout(repository):
    assert default.installed() == repository / "config.yaml"
    assert not [*repository.glob("src/**/config.yaml")]


def test_configuration_comes_with_the_package(installed, repository, tmp_path):
    copy = installed / "spikereach" / "paper" / "config.yaml"
    assert copy.read_bytes() == (repository / "config.yaml").read_bytes()
    code = "from spikereach import config; print(*config.read().systems)"
    done = call(installed, tmp_path, code=code)
    assert done.stdout.split() == [*config.read(repository / "config.yaml").systems], done.stderr


@pytest.mark.long  # compiles for its own cache
def test_systems_are_described_in_any_folder(installed, tmp_path):
    done = call(installed, tmp_path, "describe", "RTnet", "--channels", "96")
    assert done.returncode == 0, done.stderr
    assert "parameters         75,202" in done.stdout


def test_jobs_are_the_same_as_in_a_checkout(installed, tmp_path):
    """Data beside code belong to what every job depends on; the copy does not lie beside any."""
    (tmp_path / "job.py").write_text("from spikereach.training.fit import fit\n")
    code = "from spikereach.identity import code_digest; print(code_digest('job.py'))"
    done = call(installed, tmp_path, code=code)
    assert done.stdout.strip() == code_digest(tmp_path / "job.py"), done.stderr


def test_configuration_of_the_folder_comes_first(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.read() == config.read("config.yaml") == config.read(repository / "config.yaml")
    (tmp_path / "one.yaml").write_text("seeds: [7]\n")
    assert config.read("config.yaml", "one.yaml").seeds == (7,)
    text = (repository / "config.yaml").read_text("utf-8")
    (tmp_path / "config.yaml").write_text(f"{text}\nremark: mine\n".replace("remark: null", ""))
    assert config.read().remark == "mine"


def test_configuration_of_another_program_is_told_apart(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("port: 80\n")
    with pytest.raises(config.ConfigError, match=r"^config.yaml: .*another program's") as caught:
        config.read()
    assert str(caught.value).endswith(f"--config {repository / 'config.yaml'}")


def test_link_to_a_configuration_that_is_gone_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").symlink_to("gone.yaml")
    with pytest.raises(config.ConfigError, match=r"^config.yaml: no such file; give one"):
        config.read()
