"""What the jobs of tables, figures and documents read and depend on: the registry, in a plan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from spikereach.config import ConfigError, Table
from spikereach.identity import canonical, code_digest
from spikereach.reporting.registry import REGISTRY, Entry
from spikereach.workflow.plan import Plan

_code_digest = cache(code_digest)


@dataclass(frozen=True, eq=False)
class Reports:
    """The registry in a plan; ``kind`` is tables, figures or documents.

    Methods raise a ConfigError for what the configuration does not have.
    """

    plan: Plan

    def inputs(self, kind: str, name: str) -> dict[str, list[str]]:
        """The files of a job, by the names under which its function takes them."""
        plan = self.plan
        match self._entry(kind, name).inputs:
            case "results":
                systems = self._systems(kind, name)
                return {
                    "metrics": plan.evaluations(systems),
                    "realtime": plan.evaluations(systems, "realtime.json"),
                }
            case "ablation":
                return {"metrics": plan.ablation_results(_ablation(name))}
            case "predictions":
                return {"predictions": plan.trajectory_inputs(name.removeprefix(_TRAJECTORY))}
            case "trials":
                return {"trials": plan.all_trials()}
            case "tables":
                return {"tables": [f"paper_tables/{name}.tex" for name in self.written()]}
            case "values":
                return {"tables": [f"paper_tables/{name}.csv" for name in self.compared()]}
        return {}

    def job(self, kind: str, name: str) -> dict[str, str]:
        """What a job depends on beside its files: Snakemake reruns it when one of them changes."""
        entry = self._entry(kind, name)
        module, _, _ = entry.target.partition(":")
        return {
            "function": entry.target,
            "settings": json.dumps(self._settings(kind, name)),  # in the configuration's order
            "caption": self._caption(entry, name),
            "code": _code_digest(self.plan.script("report"), module),
        }

    def labels(self, kind: str, name: str) -> dict[str, str]:
        """How the workflow's report lists a table or figure."""
        if name.startswith(_TRAJECTORY):
            return {"figure": "trajectory", "session": name.removeprefix(_TRAJECTORY)}
        return {kind.removesuffix("s"): name}

    def written(self) -> list[str]:
        """The tables of a run, without those of ablations."""
        further = [
            name
            for name, entry in REGISTRY["tables"].items()
            if name not in get_args(Table) and entry.inputs != "ablation"
        ]
        return [*self.plan.written_tables(), *further]

    def ablations(self) -> list[str]:
        """The tables and figures of those ablations that the configuration has."""
        return [f"{name}_ablation" for name in self.plan.made_ablations()]

    def compared(self) -> list[str]:
        """The tables that hold results."""
        made = [*self.written(), *self.ablations()]
        return [name for name in made if REGISTRY["tables"][name].inputs != "systems"]

    def drawn(self) -> list[str]:
        """The figures of a run, without those that are targets of their own."""
        names = []
        for name, entry in REGISTRY["figures"].items():
            if entry.inputs == "predictions":
                names += [f"{name}_{session}" for session in self.plan.config.sessions]
            elif entry.inputs not in ("ablation", "trials"):
                names.append(name)
        return names

    def _entry(self, kind: str, name: str) -> Entry:
        if name.startswith(_TRAJECTORY):
            name = "trajectory"
        if name not in REGISTRY[kind]:
            known = ", ".join(REGISTRY[kind])
            raise ConfigError(f"there is no {kind.removesuffix('s')} {name!r}; known: {known}")
        return REGISTRY[kind][name]

    def _systems(self, kind: str, name: str) -> Iterable[str]:
        """Those of a table; all of them in a figure, and in a table without a list of its own."""
        listed = kind == "tables" and name in get_args(Table)
        return self.plan.table(name) if listed else self.plan.tabled_systems()

    def _settings(self, kind: str, name: str) -> dict[str, Any]:
        plan, config = self.plan, self.plan.config
        match self._entry(kind, name).inputs:
            case "results":
                return {"systems": self._pairs(self._systems(kind, name))}
            case "systems":
                convolutional = kind == "figures"
                systems = plan.convolutional_systems() if convolutional else plan.table(name)
                return {"systems": self._pairs(systems)}
            case "ablation":
                labels = plan.ablation_systems(_ablation(name))
                return {"labels": labels, "systems": self._pairs(labels.values())}
            case "predictions":
                trajectory = config.trajectory.model_dump(mode="json")
                return {"trajectory": trajectory, "source": config.source}
            case "trials":
                search = plan.search.model_dump(mode="json")
                systems = self._pairs([plan.search.system])
                return {"search": search, "systems": systems, "source": config.source}
            case "tables":
                return {"where_made": self.ablations()}
            case "config":
                return {"config": json.loads(canonical(config))}
        return {}

    def _pairs(self, systems: Iterable[str]) -> list[list[Any]]:
        return [[name, self.plan.system(name).model_dump(mode="json")] for name in systems]

    def _caption(self, entry: Entry, name: str) -> str:
        config = self.plan.config
        text = re.sub(r"\[(.*?)\]", "" if self.plan.source.apart else r"\1", entry.caption)
        if not self.plan.source.real and entry.inputs not in ("systems", "config", "nothing"):
            text += " The data are synthetic."
        seeds, sessions = ", ".join(map(str, config.seeds)), ", ".join(config.sessions)
        return text.format(name=name, seeds=seeds, sessions=sessions, search=config.search)


_TRAJECTORY = "trajectory_"


def _ablation(name: str) -> str:
    return name.removesuffix("_ablation")
