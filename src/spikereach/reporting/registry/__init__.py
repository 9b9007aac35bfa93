"""The tables, figures and documents there are, from ``entries.yaml``.

Functions are named there and not imported: the workflow's plan reads the registry without
drawing anything, and a change of one function reruns no other.
"""

from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

Inputs = Literal[
    "results",  # frame, systems: those of the table; all tabled ones where it lists none
    "frontier",  # frame, systems: those of the table frontier
    "ablation",  # frame, labels, systems
    "predictions",  # predictions, trajectory, source: a figure per session
    "firmware",  # frame, firmware, systems, clock_hz: those of the table deployment, first seed
    "loop",  # frame, loops, systems, delayed: those of the table closed_loop, first seed
    "folds",  # frame, systems, folds, gap_s: the table blocked
    "trials",  # trials, name, search, systems, source: of each search
    "systems",  # systems: their configuration alone
    "tables",  # tables: LaTeX files, where_made: names of those that may be there
    "values",  # tables: CSV files of those with results
    "config",  # config
    "nothing",
]
"""What a function is called with, by the names of its arguments; `workflow.reports` finds it."""


class Entry(BaseModel):
    """How something is made, and what the workflow's report says about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str
    inputs: Inputs
    caption: str = ""

    @property
    def target(self) -> str:
        return f"spikereach.reporting.{self.function}"


_TEXT = resources.files(__package__).joinpath("entries.yaml").read_text("utf-8")

REGISTRY = TypeAdapter(dict[str, dict[str, Entry]]).validate_python(yaml.safe_load(_TEXT))
"""tables, figures, documents (these by their files, without suffix) -> name -> entry.

``{of}`` in a name stands for that of a session or of a search, of which there is one each."""
