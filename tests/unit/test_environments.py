"""One list of pins: lock files, conda environment, container and metadata agree."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


def pins(path):
    """Name -> version of a lock file, each line of which must pin one."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    found = {}
    for line in lines:
        requirement = Requirement(line)
        [specifier] = requirement.specifier
        assert specifier.operator == "==", f"{path.name}: {line}"
        assert requirement.name not in found, f"{path.name}: {requirement.name} twice"
        found[requirement.name] = specifier.version
    return found


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def runtime(repository):
    return pins(repository / "requirements" / "runtime.lock")


@pytest.fixture(scope="module")
def environment(repository):
    return yaml.safe_load((repository / "envs" / "spikereach.yaml").read_text())


def test_conda_environment_has_the_pins_of_the_lock_file(
    repository, runtime, environment, tmp_path
):
    [nested] = [each for each in environment["dependencies"] if isinstance(each, dict)]
    listed = tmp_path / "listed"
    listed.write_text("\n".join(nested["pip"]))
    assert pins(listed) == runtime
    assert "pip" in environment["dependencies"]


def test_python_is_the_same_everywhere(repository, project, environment):
    [conda] = [str(each) for each in environment["dependencies"] if "python " in str(each)]
    version = conda.removeprefix("python =")
    assert version in SpecifierSet(project["requires-python"])
    workflows = [f".github/workflows/{name}.yml" for name in ("ci", "nightly")]
    for path in ("Containerfile", *workflows):
        [image] = re.findall(r"\bpython:(\d+\.\d+)\.\d+-", (repository / path).read_text())
        assert image == version, path


def test_every_dependency_is_pinned_within_its_range(repository, project, runtime):
    everything = runtime | pins(repository / "requirements" / "dev.lock")
    assert everything.keys() > runtime.keys()
    dev = (repository / "requirements" / "dev.in").read_text().splitlines()
    lists = {
        "runtime": [*project["dependencies"], *project["optional-dependencies"]["workflow"]],
        "dev": [line for line in dev if line and not line.startswith("#")],
    }
    for name, lines in lists.items():
        locked = runtime if name == "runtime" else everything
        for requirement in map(Requirement, lines):
            version = locked[canonicalize_name(requirement.name)]
            assert version in requirement.specifier, f"{requirement} against {version}"


def test_lock_files_hold_nothing_twice(repository, runtime):
    assert not runtime.keys() & pins(repository / "requirements" / "dev.lock").keys()


def test_rules_name_the_environment(repository):
    """Every rule with a script has it, and Snakemake finds the script that completes it."""
    for rules in (repository / "workflow" / "rules").glob("*.smk"):
        text = rules.read_text()
        assert text.count("    script:\n") == text.count('"../../envs/spikereach.yaml"'), rules.name
    assert (repository / "envs" / "spikereach.post-deploy.sh").is_file()


# ---- The virtual environment -------------------------------------------------------------

PYTHON = """\
#!/bin/sh
# Stands for Python, for pip and for what they are installed with.
here=$(cd "$(dirname "$0")" && pwd)
echo "$*" >> {calls}
case "$*" in
*"-m pip --version") test -e "$here/pip" ;;
*"-m pip install"*) test -e "$here/pip" && test ! -e {fails} ;;
*"-m ensurepip") test -e {wheels} && touch "$here/pip" ;;
*"-m venv"*)
    rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python || exit 1
    test -e {wheels} && touch .venv/bin/pip ;;
*print*) echo python3.11-venv ;;
esac
"""


@pytest.fixture
def machine(repository, tmp_path):
    """A checkout of which only the set-up matters, and a Python that only pretends."""
    folder = tmp_path / "my checkout"
    (folder / "requirements").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements/runtime.lock"):
        shutil.copy(repository / name, folder / name)
    (tmp_path / "wheels").touch()
    paths = {name: f"'{tmp_path / name}'" for name in ("calls", "fails", "wheels")}
    (folder / "python").write_text(PYTHON.format(**paths), "utf-8")
    (folder / "python").chmod(0o755)

    def make(**variables):
        (tmp_path / "calls").write_text("", "utf-8")
        return subprocess.run(
            ["make", "PYTHON=./python", ".venv/runtime"],
            cwd=folder,
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )

    return SimpleNamespace(folder=folder, make=make, tmp=tmp_path)


def installs(machine):
    calls = (machine.tmp / "calls").read_text("utf-8").splitlines()
    return sum("-m pip install" in call for call in calls)


def test_a_set_up_is_made_once(machine):
    assert machine.make().returncode == 0
    assert installs(machine) == 2
    assert machine.make().returncode == 0
    assert installs(machine) == 0


def unfinished(machine):
    """An interrupted one: packages are still to come."""
    (machine.tmp / "fails").touch()
    assert machine.make().returncode != 0
    (machine.tmp / "fails").unlink()


def without_pip(machine):
    """What Debian leaves without python3-venv, and what `uv venv` makes."""
    machine.make()
    (machine.folder / ".venv" / "bin" / "pip").unlink()
    (machine.folder / ".venv" / "runtime").unlink()


def without_pip_after_all_was_done(machine):
    machine.make()
    (machine.folder / ".venv" / "bin" / "pip").unlink()


def with_a_python_that_is_gone(machine):
    machine.make()
    python = machine.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python3.10")


def empty(machine):
    (machine.folder / ".venv").mkdir()


@pytest.mark.parametrize(
    "begun",
    [unfinished, without_pip, without_pip_after_all_was_done, with_a_python_that_is_gone, empty],
)
def test_a_set_up_that_was_begun_is_mended(machine, begun):
    begun(machine)
    done = machine.make()
    assert done.returncode == 0, done.stderr
    assert installs(machine) == 2
    assert (machine.folder / ".venv" / "runtime").exists()
    assert machine.make().returncode == 0
    assert installs(machine) == 0


def test_what_python_lacks_is_named(machine):
    (machine.tmp / "wheels").unlink()
    for _ in range(2):
        done = machine.make()
        assert done.returncode != 0
        assert "apt install python3.11-venv" in done.stderr
        assert "No module named" not in done.stderr
    (machine.tmp / "wheels").touch()
    assert machine.make().returncode == 0, "once it is installed"


PIP_CONF = """
[install]
user = true
target = {folder}/target
prefix = {folder}/prefix
root = {folder}/root
no-deps = true
no-binary = :all:
require-hashes = true
dry-run = true
"""
BACKEND = """
def build_editable(directory, settings=None, metadata=None):
    import zipfile
    with zipfile.ZipFile(f"{directory}/own-1.0-py3-none-any.whl", "w") as file:
        for name, text in WHEEL("own", "").items():
            file.writestr(name, text)
    return "own-1.0-py3-none-any.whl"
"""


def wheel(name, needs=()):
    about = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return {
        f"{name}.py": "",
        f"{about}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in needs),
        f"{about}/WHEEL": kind,
        f"{about}/RECORD": "",
    }


@pytest.mark.long
def test_settings_of_pip_and_python_do_not_count(repository, tmp_path):
    """Only those of the index do, of which there is none here but a folder."""
    folder, wheels = tmp_path / "my checkout", tmp_path / "wheels"
    (folder / "requirements").mkdir(parents=True)
    wheels.mkdir()
    shutil.copy(repository / "Makefile", folder)
    for name, needs in {"tiny": ["tinier"], "tinier": []}.items():
        with zipfile.ZipFile(wheels / f"{name}-1.0-py3-none-any.whl", "w") as file:
            for path, text in wheel(name, needs).items():
                file.writestr(path, text)
    (folder / "requirements" / "runtime.lock").write_text("tiny==1.0\n", "utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "own"\nversion = "1.0"\n',
        "utf-8",
    )
    own = f"def WHEEL(*_):\n    return {wheel('own')!r}\n{BACKEND}"
    (folder / "backend.py").write_text(own, "utf-8")
    (tmp_path / "pip.conf").write_text(PIP_CONF.format(folder=tmp_path), "utf-8")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tinier.py").touch()
    elsewhere = {f"PIP_{each}": str(tmp_path / each) for each in ("TARGET", "PREFIX", "ROOT")}
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}", ".venv/runtime"],
        cwd=folder,
        env=os.environ
        | elsewhere
        | {
            "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_USER": "1",
            "PIP_CONSTRAINT": str(tmp_path / "absent"),
            "PIP_NO_BUILD_ISOLATION": "1",
            "PIP_REQUIRE_HASHES": "1",
            "PYTHONPATH": str(tmp_path / "modules"),
            "PYTHONHOME": str(tmp_path),
            "PYTHONWARNINGS": "error",
            "SNAKEMAKE_PROFILE": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [packages] = (folder / ".venv" / "lib").glob("python*/site-packages")
    for name in ("tiny", "tinier", "own"):
        assert (packages / f"{name}.py").exists(), name


# ---- The script that Snakemake runs in a new conda environment ------------------------------


@pytest.fixture
def deploy(repository, tmp_path):
    """Run the script in a folder with a `python` that only says what it was told."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "python").write_text('#!/bin/sh\necho "python $*"\n')
    (bin / "python").chmod(0o755)

    def run(folder, **variables):
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            ["bash", repository / "envs" / "spikereach.post-deploy.sh"],
            cwd=folder,
            env={
                "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
                "CONDA_PREFIX": "/env",
                **variables,
            },
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def elsewhere(tmp_path):
    """A checkout with a space in its name."""
    package = tmp_path / "my checkout" / "src" / "spikereach"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return tmp_path / "my checkout"


def test_package_is_installed_from_around_the_run_folder(deploy, elsewhere):
    for folder in (elsewhere, elsewhere / "runs" / "demo"):
        done = deploy(folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("python -I -m pip install ")
        assert done.stdout.endswith(f" --prefix=/env --root=/ --no-deps --editable {elsewhere}\n")


def test_package_is_installed_from_the_given_checkout(deploy, elsewhere, tmp_path):
    done = deploy(tmp_path / "run", SPIKEREACH_CHECKOUT=str(elsewhere))
    assert done.stdout.endswith(f"--editable {elsewhere}\n")


def test_run_folder_without_checkout_says_what_to_do(deploy, tmp_path):
    done = deploy(tmp_path / "run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "SPIKEREACH_CHECKOUT" in done.stderr
    assert str(tmp_path / "run") in done.stderr


# ---- The container ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps(repository):
    """(instruction, arguments) of the Containerfile, continued lines joined."""
    text = (repository / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_container_installs_the_lock_file_and_the_package(steps):
    commands = [arguments for instruction, arguments in steps if instruction == "RUN"]
    assert any("--requirement requirements/runtime.lock" in each for each in commands)
    assert any("--no-deps --editable ." in each for each in commands)


def test_container_copies_all_that_the_workflow_reads(repository, steps):
    """All of the repository's files that exist for running, and none that is left out above."""
    copied = [
        source
        for instruction, arguments in steps
        if instruction == "COPY"
        for source in arguments.split()[:-1]
    ]
    assert {"Snakefile", "config.yaml", "workflow", "profiles", "envs", "src"} <= set(copied)
    ignored = (repository / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for source in copied:
        assert (repository / source).exists(), source
        assert f"!{source}" in ignored, "not sent to the build"


def test_container_is_pinned_and_runs_without_privileges(steps):
    [image] = [arguments for instruction, arguments in steps if instruction == "FROM"]
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", image)
    users = [arguments for instruction, arguments in steps if instruction == "USER"]
    assert users
    assert users[-1] not in {"root", "0"}


def test_container_has_a_home_for_any_user(steps):
    """Caches of Snakemake, numba, matplotlib and Triton lie there."""
    [variables] = [arguments.split() for instruction, arguments in steps if instruction == "ENV"]
    assert "HOME=/home/spikereach" in variables
    assert "PYTHONNOUSERSITE=1" in variables
    commands = [arguments for instruction, arguments in steps if instruction == "RUN"]
    assert "chmod 777 /home/spikereach" in commands[-1]


def test_line_ends_are_the_same_in_every_checkout(repository, tmp_path):
    """Also where the user has git convert them."""
    files = [".ci/run", "Makefile", "envs/spikereach.post-deploy.sh", "docs/images/trajectory.png"]
    folder = tmp_path / "first"
    for name in (*files, ".gitattributes"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, folder / name)
    environment = os.environ | {"GIT_CONFIG_GLOBAL": str(tmp_path / "settings")}
    settings = "[core]\n autocrlf = true\n eol = crlf\n[user]\n name = a\n email = a@b.c\n"
    (tmp_path / "settings").write_text(settings, "utf-8")

    def git(*command):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "x")
    git("clone", "--quiet", ".", tmp_path / "second")
    for name in files:
        assert (tmp_path / "second" / name).read_bytes() == (repository / name).read_bytes(), name
