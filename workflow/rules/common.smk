"""The plan of the configured run, and how rules ask it."""

import re
import sys
from inspect import signature
from pathlib import Path

from snakemake.exceptions import WorkflowError

from spikereach.config import ConfigError, validate
from spikereach.data.errors import SessionError
from spikereach.kinds import Kind, mistaken
from spikereach.workflow.encoding import check_encoding
from spikereach.workflow.here import settle
from spikereach.workflow.job import ERRORS, print_errors
from spikereach.workflow.linked import make_own
from spikereach.workflow.plan import Plan
from spikereach.workflow.runfolder import RunFolderError, claim, sign

# The folder of the repository that is run, whatever --directory is: one's own where this
# workflow is a module of another.
home = Path(workflow.basedir)
home = home.parent if home.name == "workflow" else home
try:
    holder = None
    if workflow.is_main_process:
        holder = claim()
        make_own()
    check_encoding(config)
    run = validate(config)
    settle(config, home)
    run = validate(config)
except (ConfigError, RunFolderError) as error:
    sys.exit(f"error: {error}")

plan = Plan(run, lambda name: workflow.source_path(f"../scripts/{name}.py"))
# On this machine only: a scheduler counts the GPUs of its nodes itself.
if workflow.is_main_process and workflow.local_exec and plan.device == "cuda":
    asked = workflow.global_resources.get("gpu").value
    workflow.register_resource("gpu", plan.gpu_places(asked))


wildcard_constraints:
    system=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    session=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    dataset=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    search=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    seed=r"\d+",


def place_of(folder):
    """A folder of the run, and so in that of a module's prefix."""
    return Path(workflow.modifier.path_modifier.replace_prefix(f"{folder}/"))


def files_of(folder, pattern):
    """Names of files that lie in a folder of the run."""
    place = place_of(folder)
    return [
        path.relative_to(place).as_posix()
        for path in place.glob(pattern)
        if path.exists()
    ]


def only(names):
    """The constraint of a wildcard to these values."""
    return f"(?:{'|'.join(map(re.escape, names))})" if names else r"(?!)"


def but(names, pattern):
    """The constraint of a wildcard to a pattern, and the file name that it begins to other names
    than these."""
    return rf"(?!{only(names)}$){pattern}"


def ask(answer, **known):
    """What a method of the plan says to the wildcards of a job, those that it takes."""
    taken = signature(answer).parameters.keys()

    def asked(wildcards):
        given = dict(wildcards.items()) | known
        try:
            return answer(**{name: given[name] for name in taken & given.keys()})
        except (ConfigError, SessionError) as error:
            raise WorkflowError(str(error)) from None

    return asked


def grows(amount):
    """A resource that every further attempt gets more of: a number, or a method of the plan."""
    if not callable(amount):
        return lambda wildcards, attempt: attempt * amount
    if "input_mb" not in signature(amount).parameters:
        return lambda wildcards, attempt: attempt * ask(amount)(wildcards)
    return lambda wildcards, input, attempt: (
        attempt * ask(amount, input_mb=input.size_mb)(wildcards)
    )
