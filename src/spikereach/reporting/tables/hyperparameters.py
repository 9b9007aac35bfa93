"""The table of hyperparameters, straight from the configuration (Krausse et al. 2025, table I)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from spikereach.config import System
from spikereach.provenance import repository_state, short_commit
from spikereach.reporting.cells import bits
from spikereach.reporting.render import MISSING, Column, Table

_STAGE = (
    *("window", "stride", "placement", "part", "batch", "last_batch", "updates_per_epoch"),
    *("epochs", "optimiser", "learning_rate", "weight_decay", "schedule", "cosine_epochs"),
    *("loss", "loss_weight", "clip_norm", "validate_on", "validation_stride", "select", "patience"),
)


def hyperparameters(systems: Mapping[str, System]) -> Table:
    """One column per system, one row per parameter that any of them has.

    Args:
        systems: columns, in order. A system with a `base` shows the training of that base
            where it is among them, and only its name otherwise.
    """
    commit = short_commit(*repository_state())
    columns = {name: _parameters(system, systems) for name, system in systems.items()}
    keys = list(dict.fromkeys(key for parameters in columns.values() for key in parameters))
    order = ["Network", "Training", "Pretraining", "Fine-tuning", "Compression"]
    keys.sort(key=lambda key: order.index(key[0]))
    sections, parameters = zip(*keys, strict=True)
    values = pd.DataFrame({"section": sections, "parameter": parameters}, dtype=object)
    for name, found in columns.items():
        values[name] = pd.Series([found.get(key) for key in keys], dtype=object)
    shown = list(values["section"].mask(values["section"].duplicated(), ""))
    return Table(
        name="hyperparameters",
        caption=(
            "Hyperparameters, from the configuration. Windows, strides, intervals and kernels in "
            "steps of 4 ms; fixed-point numbers have sign + integer + fractional bits. No "
            f"recording enters this table; commit {commit}."
        ),
        comment=("source: the configuration; no sessions, no seeds", f"commit: {commit}"),
        values=values,
        columns=[
            Column("", shown, align="l"),
            Column("Parameter", [each.replace("_", " ") for each in parameters], align="l"),
            *(Column(n, [_text(p.get(key)) for key in keys]) for n, p in columns.items()),
        ],
        stub=2,
    )


def _parameters(system: System, systems: Mapping[str, System]) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {("Network", "architecture"): system.architecture}
    found[("Network", "areas")] = ", ".join(system.areas) if system.areas else "all"
    found |= {("Network", key): value for key, value in system.sizes.items()}
    if "blocks" in system.sizes:  # each block halves the rate
        found[("Network", "keypoint interval")] = 2 ** system.sizes["blocks"]
    found[("Training", "starts from")] = system.base or "scratch"
    origin = systems.get(system.base, system)
    if training := origin.training:
        found[("Training", "split")] = training.split
        found[("Training", "standardised")] = training.standardise
        stages = {"Pretraining": training.pretrain, "Fine-tuning": training.finetune}
        for section, stage in stages.items():
            if stage is not None:
                values = {key: getattr(stage, key) for key in _STAGE} | dict(stage.penalties)
                found |= {(section, key): value for key, value in values.items() if value}
    found |= {("Compression", "weights"): "float32", ("Compression", "buffers"): "float32"}
    for step in system.compression:
        printed = (f if isinstance(f, str) else f"{bits(f)} bits" for f in step.formats or ())
        values = dict(zip(("weights", "buffers"), printed, strict=False)) | step.listed
        found |= {("Compression", key): value for key, value in values.items()}
    return found


def _text(value: Any) -> str:
    """A configured value; a dash where a system has no such parameter or it is null."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(item, (list, tuple)) for item in value)
        return ("; " if nested else ", ").join(map(_text, value))
    return str(value)
