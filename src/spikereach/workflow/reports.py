"""What the jobs of tables, figures and documents read and depend on: the registry, in a plan."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

from spikereach.config import ConfigError, Table
from spikereach.config.nearest import nearest
from spikereach.config.sessions import evaluation_session
from spikereach.identity import canonical, code_digest
from spikereach.reporting.registry import REGISTRY, Entry
from spikereach.workflow.plan import ARM, Plan

LISTED = {"firmware": "deployment", "loop": "closed_loop", "frontier": "frontier"}
"""Inputs of those systems alone that a table lists."""
OF = {"predictions": "session", "trials": "search"}
"""Of which there is a figure each: by the inputs of the registry, what stands for {of} there."""


@dataclass(frozen=True, eq=False)
class Reports:
    """The registry in a plan; ``kind`` is tables, figures or documents.

    Methods raise a ConfigError for what the configuration does not have.
    """

    plan: Plan

    def inputs(self, kind: str, name: str) -> dict[str, list[str]]:
        """The files of a job, by the names under which its function takes them."""
        return self._given(kind, name)[0]

    def job(self, kind: str, name: str) -> dict[str, str]:
        """What a job depends on beside its files: Snakemake reruns it when one of them changes."""
        (entry, of), (_, settings) = self._entry(kind, name), self._given(kind, name)
        if kind == "tables" and self.plan.config.remark:
            settings["remark"] = self.plan.config.remark
        module, _, _ = entry.target.partition(":")
        source = type(self.plan.source).__module__  # whose words captions have
        return {
            "function": entry.target,
            "settings": json.dumps(settings),  # in the order of the configuration
            "caption": self._caption(entry, name, of),
            "code": code_digest(self.plan.script("report"), module, source),
        }

    def labels(self, kind: str, name: str) -> dict[str, str]:
        """How the workflow's report lists a table or figure."""
        entry, of = self._entry(kind, name)
        return {kind.removesuffix("s"): name.removesuffix(f"_{of}")} | (
            {OF[entry.inputs]: of} if of else {}
        )

    def written(self) -> list[str]:
        """The tables of a run: those that list systems, and those that have no list.

        `imported` only where a session has published weights; those of ablations are apart. In
        an order of their own: that of the configuration's keys changes with overlays.
        """
        config, entries, listed = self.plan.config, REGISTRY["tables"], get_args(Table)
        left_out = {name for name in entries if entries[name].inputs == "ablation"}
        left_out |= {name for name in listed if not config.tables.get(name)}
        if config.firmware is None:
            left_out |= {name for name in entries if entries[name].inputs == "firmware"}
        if not self.plan.loops:
            left_out |= {name for name in entries if entries[name].inputs == "loop"}
        left_out |= {name for name in entries if entries[name].inputs == "trials"}
        if not any(map(evaluation_session, config.sessions)):
            left_out.add("imported")
        return [name for name in dict.fromkeys([*listed, *entries]) if name not in left_out]

    def ablations(self) -> list[str]:
        """The tables and figures of those ablations that the configuration has."""
        return [f"{name}_ablation" for name in self.plan.made_ablations()]

    def drawn(self) -> list[str]:
        """The figures of a run, without those that are targets of their own, and without those of
        a table that is not written."""
        names, left_out = [], {"ablation", "trials"}
        left_out |= {inputs for inputs, table in LISTED.items() if table not in self.written()}
        for name, entry in REGISTRY["figures"].items():
            if entry.inputs == "predictions":
                names += [name.format(of=session) for session in self.plan.config.sessions]
            elif entry.inputs not in left_out:
                names.append(name)
        return names

    def _entry(self, kind: str, name: str) -> tuple[Entry, str]:
        """The entry of a name, and the session or search that it is of, if it is of one."""
        entries = REGISTRY[kind]
        for known, entry in entries.items():
            pattern = re.escape(known).replace(r"\{of\}", "(.+)")
            if found := re.fullmatch(pattern, name):
                return entry, "".join(found.groups())
        raise ConfigError(
            f"there is no {kind.removesuffix('s')} {name!r}; {nearest(name, entries)}"
        )

    def _given(self, kind: str, name: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """The files and the settings of a job."""
        plan, config = self.plan, self.plan.config
        entry, of = self._entry(kind, name)
        # a figure, and a table without a list of its own, has all systems
        listed = kind == "tables" and name in get_args(Table)
        match entry.inputs:
            case "results" | "frontier":
                listed |= entry.inputs == "frontier"
                systems = plan.table(name) if listed else plan.tabled_systems()
                files = {
                    file: plan.evaluations(systems, f"{file}.json")
                    for file in ("metrics", "realtime")
                }
                return files, {"systems": self._pairs(systems)}
            case "firmware":
                decoders = plan.deployed()
                files = {
                    "metrics": [plan.evaluation(*each) for each in decoders],
                    "firmware": [plan.measured(*each) for each in decoders],
                }
                systems = self._pairs(plan.table("deployment"))
                return files, {"systems": systems, "clock_hz": plan.firmware.clock_hz}
            case "loop":
                decoders = plan.looped()
                arms = [(ARM, *each) for each in product(config.sessions, config.seeds[:1])]
                files = {
                    "metrics": [plan.evaluation(*each) for each in decoders],
                    "realtime": [plan.evaluation(*each, "realtime.json") for each in decoders],
                    "loops": [plan.loop(*each) for each in [*arms, *decoders]],
                }
                settings = {"systems": self._pairs(plan.table("closed_loop"))}
                return files, settings | {"delayed": config.closed_loop.delayed}
            case "folds":
                settings = {"systems": self._pairs(plan.table("blocked")), **dict(config.blocked)}
                return {"metrics": [plan.evaluation(*each) for each in plan.blocked()]}, settings
            case "ablation":
                ablation = name.removesuffix("_ablation")
                labels = plan.ablation_systems(ablation)
                settings = {"labels": labels, "systems": self._pairs(labels.values())}
                files = {
                    file: plan.ablation_results(ablation, f"{file}.json")
                    for file in ("metrics", "realtime")
                }
                return files, settings
            case "predictions":
                files = {"predictions": plan.trajectory_inputs(of)}
                trajectory = config.trajectory.model_dump(mode="json")
                return files, {"trajectory": trajectory, "source": config.source}
            case "trials":
                search = plan.search(of)
                system = plan.system(search.system).model_dump(mode="json")
                settings = {"name": of, "search": search.model_dump(mode="json")}
                settings |= {"systems": [[search.system, system]], "source": config.source}
                return {"trials": plan.all_trials(of)}, settings
            case "systems":
                if kind == "figures":
                    systems = plan.convolutional_systems()
                else:
                    systems = plan.table(name) if listed else plan.tabled_systems()
                return {}, {"systems": self._pairs(systems)}
            case "tables":
                files = [f"paper_tables/{table}.tex" for table in self.written()]
                return {"tables": files}, {"where_made": self.ablations()}
            case "values":
                files = [
                    f"paper_tables/{table}.csv"
                    for table in (*self.written(), *self.ablations())
                    if REGISTRY["tables"][table].inputs != "systems"  # these hold no results
                ]
                return {"tables": files}, {}
            case "config":
                return {}, {"config": json.loads(canonical(config))}
        return {}, {}

    def _pairs(self, systems: Iterable[str]) -> list[list[Any]]:
        """Names and entries; keys in an order of their own, which overlays do not change."""
        return [[name, json.loads(canonical(self.plan.system(name)))] for name in systems]

    def _caption(self, entry: Entry, name: str, of: str) -> str:
        config = self.plan.config
        text = re.sub(r"\[(.*?)\]", "" if self.plan.source.apart else r"\1", entry.caption)
        if not self.plan.source.real and entry.inputs not in ("systems", "config", "nothing"):
            text += " The data are synthetic."
        seeds, sessions = ", ".join(map(str, config.seeds)), ", ".join(config.sessions)
        search = self.plan.search(of) if entry.inputs == "trials" else None
        text = text.format(name=name, of=of, seeds=seeds, sessions=sessions, search=search)
        return f"{text} {config.remark}" if config.remark else text
