"""What the cortex areas and the steps of a compression bring, in numbers.

Numbers are the mean over the sessions for each seed, then mean and population standard
deviation over the seeds; published ones stand beside those of the Zenodo recordings alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from spikereach.published import figures as published
from spikereach.reporting.cells import Systems, bits, spread
from spikereach.reporting.collect import check_present, source_of
from spikereach.reporting.energy import energy_nj, formats


def cortex(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """R2 per session and input, mean and deviation over seeds (Krausse et al. 2025, figure 5).

    Args:
        frame: from `collect`.
        labels: label of the input (M1, S1, M1+S1, pre-LIF, post-LIF) -> system, in order.
    """
    check_present(frame, labels.values())
    printed = {} if source_of(frame).apart else published.cortex_ablation()
    rows = []
    for session in sorted(frame["session"].unique()):
        for label, name in labels.items():
            part = frame[(frame["session"] == session) & (frame["system"] == name)]["r2"]
            theirs = printed.get(session, {}).get(label, (math.nan, math.nan))
            rows.append((session, label, name, *spread(part), *theirs))
    columns = ["session", "input", "system", "r2", "r2_std", "r2_published", "r2_std_published"]
    return pd.DataFrame(rows, columns=columns)


def compression(frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems) -> pd.DataFrame:
    """One row per step: accuracy, deployment footprint, sparsity, operations, energy.

    The footprint is that of the deployment; weights are stored whole or, where that is smaller,
    as a bitmap of the zeros and the others. Energy is that of the effective operations in the
    formats of weights and buffers (see `energy`). Published values are those of the system of the
    step.

    Args:
        frame: from `collect`.
        labels: what each step adds -> system, in order.
        systems: their entries of the configuration.
    """
    check_present(frame, labels.values())
    rows = []
    for step, name in labels.items():
        part = frame[frame["system"] == name]
        weights, buffers = formats(part)
        costs = [
            energy_nj(macs, acs, weights, buffers)
            for macs, acs in zip(part["macs"], part["acs"], strict=True)
        ]
        bitmap = part["parameters"] / 8 + (1 - part["connection_sparsity"]) * part["weights_bytes"]
        saved = (part["weights_bytes"] - bitmap).clip(lower=0)
        row = {"step": step, "system": name, "weights": bits(weights), "buffers": bits(buffers)}
        by_seed = part.assign(
            energy_nj=costs, footprint_bytes=part["deployment_bytes"] - saved
        ).groupby("seed")
        metrics = ("r2", "footprint_bytes", "connection_sparsity", "macs", "acs", "energy_nj")
        for metric in metrics:
            row[metric], row[f"{metric}_std"] = spread(by_seed[metric].mean())
        theirs = systems[name].published
        if theirs and not source_of(frame).apart:
            figures = published.system(theirs)
            row |= {"r2_published": figures.r2, "footprint_bytes_published": figures.footprint}
            if None not in (figures.macs, figures.acs):
                printed = energy_nj(figures.macs, figures.acs, weights, buffers)
                row["energy_nj_published"] = printed
        rows.append(row)
    further = [f"{key}_published" for key in ("r2", "footprint_bytes", "energy_nj")]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*rows[0], *further])))
