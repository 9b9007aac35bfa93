"""What surrounds the code: citation, changelog, checks before a commit, metadata."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


# ---- Citation and changelog -------------------------------------------------------------


@pytest.fixture(scope="module")
def citation(repository):
    return yaml.safe_load((repository / "CITATION.cff").read_text())


def test_citation_has_what_the_format_requires(citation):
    """https://github.com/citation-file-format, 1.2.0."""
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in {"software", "dataset"}
    reference = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= reference.keys()
    for author in (*citation["authors"], *reference["authors"]):
        assert author.keys() <= {"name", "family-names", "given-names", "orcid", "affiliation"}
        assert ("name" in author) != ("family-names" in author), "an entity or a person"
    assert 2000 < reference["year"] <= date.today().year
    assert "name" in reference["conference"]
    for each in (citation, reference):
        assert each.get("url", "https://").startswith("https://")


def test_citation_is_of_this_package(citation, project):
    assert citation["title"] == project["name"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_changelog_has_the_version(repository, project):
    versions = re.findall(r"^## (.+)$", (repository / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == "Unreleased"
    for version in versions[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", version)
    released = [version.split()[0] for version in versions[1:]]
    assert released == sorted(released, key=lambda v: [*map(int, v.split("."))], reverse=True)
    assert not released or released[0] == project["version"]


# ---- The gate elsewhere -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "command"), [("ci", ".ci/run"), ("nightly", "make test-long")])
def test_server_runs_the_gate_and_the_long_tests(repository, name, command):
    workflow = yaml.safe_load((repository / ".github" / "workflows" / f"{name}.yml").read_text())
    [job] = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": command}
    assert os.access(repository / ".ci" / "run", os.X_OK)
    assert workflow["permissions"] == {"contents": "read"}
    for step in job["steps"]:
        assert re.search(r"@v\d+$", step.get("uses", "@v0")), "pinned to a version"


def test_workflow_catalogue(repository):
    """Keys as the catalogue documents them; a standardised workflow has its files in place."""
    usage = yaml.safe_load((repository / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} <= usage.keys()
    assert usage["mandatory-flags"].keys() == {"desc", "flags"}
    assert all(isinstance(each, bool) for each in usage["software-stack-deployment"].values())
    for path in ("workflow/Snakefile", "config/README.md", "LICENSE"):
        assert (repository / path).is_file(), path
    used = re.findall(r"\b(?:envs|docs)/[\w./-]+\w", usage["mandatory-flags"]["desc"])
    assert all((repository / path).exists() for path in used)


# ---- Checks before a commit -------------------------------------------------------------

GOOD = {
    "good.py": '"""A colour."""\n\nCOLOUR = "grey"\n',
    "good.smk": "rule all:\n    input:\n        [],\n",
    "Containerfile": "FROM python:3.11.13-slim-bookworm\nUSER 1000\n",
    "notes.md": "The behaviour of Makin et al. is normalised.\n",
}


@pytest.fixture
def commit(repository, tmp_path):
    """Commit files in a new repository with the hooks; returns the finished process."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / ".venv").symlink_to(BIN.parent)
    for name in (".pre-commit-config.yaml", "pyproject.toml", ".gitignore"):
        shutil.copy(repository / name, folder)
    environment = os.environ | {
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "HTTPS_PROXY": "http://127.0.0.1:9",  # no hook needs the network
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@localhost"}

    def run(*command):
        return subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    assert run("git", "init", "--quiet").returncode == 0
    assert run(BIN / "pre-commit", "install").returncode == 0

    def commit(files):
        for name, text in files.items():
            (folder / name).write_text(text)
        run("git", "add", "--", *files)
        return run("git", "commit", "--quiet", "--message", "Test")

    return commit


def test_good_files_are_committed(commit):
    done = commit(GOOD)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") == 6, "each hook had something to look at"


# Each wrong in the eyes of one hook alone.
BAD = {
    "ruff check": ("unused.py", "import os\n"),
    "ruff format": ("quoted.py", "COLOUR = 'grey'\n"),
    "snakefmt": ("bad.smk", "rule all:\n  input: []\n"),
    "codespell": ("bad.md", "They rec" + "ieve it.\n"),
    "hadolint": ("Containerfile", "FROM python\n"),
    "no large files (data and results are DVC's)": ("data.txt", "0" * 1_100_000),
}


def test_every_hook_refuses_what_is_wrong_in_its_eyes(commit):
    """All in one commit: that the linters find such things is theirs, that they are asked ours."""
    done = commit(dict(BAD.values()))
    assert done.returncode != 0
    failed = re.findall(r"^(.*?)\.*(?:\(.*\))?Failed$", done.stdout, re.M)
    assert sorted(failed) == sorted(BAD), done.stdout


def test_hooks_and_linters_are_the_same_programs(repository):
    """What a commit passes, `make lint` passes."""
    config = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())
    hooks = {
        hook["entry"].split()[0].removeprefix(".venv/bin/")
        for source in config["repos"]
        for hook in source["hooks"]
    }
    makefile = (repository / "Makefile").read_text()
    [recipe] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.M)
    linters = set(re.findall(r"\$\(BIN\)/([\w-]+)", recipe))
    assert hooks - {"check-added-large-files"} == linters - {"snakemake"}
