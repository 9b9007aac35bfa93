"""One list of pins: lock files, conda environment, container and metadata agree."""

import os
import re
import subprocess
import tomllib

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
            env={"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", **variables},
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
        assert done.stdout == f"python -m pip install --quiet --no-deps --editable {elsewhere}\n"


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
