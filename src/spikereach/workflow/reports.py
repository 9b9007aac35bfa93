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
        (entry, _), (_, settings) = self._entry(kind, name), self._given(kind, name)
        if kind == "tables" and self.plan.config.remark:
            settings["remark"] = self.plan.config.remark
        module, _, _ = entry.target.partition(":")
        source = type(self.plan.source).__module__  # whose words captions have
        return {
            "function": entry.target,
            "settings": json.dumps(settings),  # in the order of the configuration
            "caption": self._caption(entry, name),
            "code": code_digest(self.plan.script("report"), module, source),
        }

    def labels(self, kind: str, name: str) -> dict[str, str]:
        """How the workflow's report lists a table or figure."""
        _, session = self._entry(kind, name)
        of_session = {"session": session} if session else {}
        return {kind.removesuffix("s"): name.removesuffix(f"_{session}")} | of_session

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
        if config.search is None:
            left_out |= {name for name in entries if entries[name].inputs == "trials"}
        if not any(map(evaluation_session, config.sessions)):
            left_out.add("imported")
        return [name for name in dict.fromkeys([*listed, *entries]) if name not in left_out]

    def ablations(self) -> list[str]:
        """The tables and figures of those ablations that the configuration has."""
        return [f"{name}_ablation" for name in self.plan.made_ablations()]

    def drawn(self) -> list[str]:
        """The figures of a run, without those that are targets of their own."""
        names, left_out = [], {"ablation", "trials"}
        if "deployment" not in self.written():
            left_out.add("firmware")
        if "closed_loop" not in self.written():
            left_out.add("loop")
        for name, entry in REGISTRY["figures"].items():
            if entry.inputs == "predictions":
                names += [f"{name}_{session}" for session in self.plan.config.sessions]
            elif entry.inputs not in left_out:
                names.append(name)
        return names

    def _entry(self, kind: str, name: str) -> tuple[Entry, str]:
        """The entry of a name, and the session that stands at its end, if it has one."""
        entries = REGISTRY[kind]
        if name in entries and entries[name].inputs != "predictions":
            return entries[name], ""
        for known, entry in entries.items():
            if entry.inputs == "predictions" and name.startswith(f"{known}_"):
                return entry, name.removeprefix(f"{known}_")
        raise ConfigError(
            f"there is no {kind.removesuffix('s')} {name!r}; {nearest(name, entries)}"
        )

    def _given(self, kind: str, name: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """The files and the settings of a job."""
        plan, config = self.plan, self.plan.config
        entry, session = self._entry(kind, name)
        # a figure, and a table without a list of its own, has all systems
        listed = kind == "tables" and name in get_args(Table)
        match entry.inputs:
            case "results":
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
                files = {"predictions": plan.trajectory_inputs(session)}
                trajectory = config.trajectory.model_dump(mode="json")
                return files, {"trajectory": trajectory, "source": config.source}
            case "trials":
                search = plan.search.model_dump(mode="json")
                system = plan.system(plan.search.system).model_dump(mode="json")
                settings = {"search": search, "systems": [[plan.search.system, system]]}
                return {"trials": plan.all_trials()}, settings | {"source": config.source}
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

    def _caption(self, entry: Entry, name: str) -> str:
        config = self.plan.config
        text = re.sub(r"\[(.*?)\]", "" if self.plan.source.apart else r"\1", entry.caption)
        if not self.plan.source.real and entry.inputs not in ("systems", "config", "nothing"):
            text += " The data are synthetic."
        seeds, sessions = ", ".join(map(str, config.seeds)), ", ".join(config.sessions)
        text = text.format(name=name, seeds=seeds, sessions=sessions, search=config.search)
        return f"{text} {config.remark}" if config.remark else text
