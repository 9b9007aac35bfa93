"""Decoders as C on microcontrollers, beside the footprint that is computed."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from spikereach.data.matfile import STEP_S
from spikereach.export.firmware.machines import MACHINES
from spikereach.export.firmware.record import Firmware
from spikereach.reporting import cells
from spikereach.reporting.cells import Rows, Systems, count, yes
from spikereach.reporting.collect import ResultError
from spikereach.reporting.render import Table

FIRST = next(iter(MACHINES))
"""The machine whose memory and load are printed; of the others, instructions."""
SHOWN = 6
"""Members of a state that are named, the largest."""


def deployment_frame(
    frame: pd.DataFrame, firmware: Sequence[Firmware], clock_hz: float
) -> pd.DataFrame:
    """A row per system, session and seed: its metrics, and per machine what was measured there.

    Columns are named by machine and field, such as ``cortex-m4_code_bytes``; ``load`` and
    ``in_time`` are of the worst bin, with one cycle per instruction.

    Raises:
        ResultError: a decoder has metrics and no firmware, or the other way round.
    """
    rows = [
        {"system": each.system, "session": each.session, "seed": each.seed, "bins": each.bins}
        | {
            f"{name}_{field}": value
            for name, measured in each.machines.items()
            for field, value in measured.model_dump(exclude={"items"}).items()
        }
        | {
            f"{name}_{field}": getattr(measured, field)
            for name, measured in each.machines.items()
            for field in ("flash_bytes", "ram_bytes")
        }
        for each in firmware
    ]
    key = ["system", "session", "seed"]
    both = frame.merge(pd.DataFrame(rows), on=key, how="outer", indicator=True)
    for each in both[both["_merge"] != "both"].itertuples():
        raise ResultError(
            f"{each.system}/{each.session}/{each.seed} has a metrics.json or a firmware.json, and "
            "not the other: give both"
        )
    both["load"] = both[f"{FIRST}_instructions_worst"] / (clock_hz * STEP_S)
    both["in_time"] = both["load"] <= 1
    return both.drop(columns="_merge")


def deployment(
    frame: pd.DataFrame, firmware: Sequence[Firmware], systems: Systems, clock_hz: float
) -> Table:
    """Accuracy, memory and instructions of the linked image; one cycle per instruction is assumed.

    Args:
        frame: from `collect`.
        firmware: of the same decoders.
        systems: rows, in order.
        clock_hz: of the microcontroller.
    """
    whole = deployment_frame(frame, firmware, clock_hz)
    fields = ("weights_bytes", "code_bytes", "state_bytes", "stack_bytes")
    counts = [
        f"{name}_instructions_{kind}" for name in MACHINES for kind in ("median", "p99", "worst")
    ]
    rows = Rows(
        whole,
        systems,
        beside=["r2", "footprint"],
        further=[
            *(f"{name}_{field}" for name in MACHINES for field in fields),
            *counts,
            "load",
            "in_time",
            "weights_bytes",
            "buffers_bytes",
            "states_bytes",
            "deployment_bytes",
        ],
    )
    machines = {name: machine.title for name, machine in MACHINES.items()}
    bins = f"{whole['bins'].min():,}"
    return rows.table(
        "deployment",
        "Fixed-point decoders as integer C, compiled and run in QEMU on the first bins of each "
        f"test part ({bins}), where every velocity equals that of the reference in integers. R² "
        f"over the whole test split; bytes of the linked image on the {machines[FIRST]} and, for "
        "the stack, measured in its run, means over the sessions; instructions per bin, the "
        "median as the mean over the sessions and the worst of all; load of the worst bin on "
        f"the {machines[FIRST]} at {clock_hz / 1e6:g} MHz with one cycle per "
        f"instruction, and whether it ends within the {1000 * STEP_S:g} ms of a bin; footprint "
        "where deployed as computed from bit widths, and as published (publ.)",
        [
            rows.names()[0],
            rows.column("R²", "", cells.r2, "r2"),
            rows.column("weights", "Flash", count, f"{FIRST}_weights_bytes"),
            rows.column("code", "Flash", count, f"{FIRST}_code_bytes"),
            rows.column("state", "RAM", count, f"{FIRST}_state_bytes"),
            rows.column("stack", "RAM", count, f"{FIRST}_stack_bytes"),
            *(
                rows.column(kind, title, count, f"{name}_instructions_{kind}")
                for name, title in machines.items()
                for kind in ("median", "worst")
            ),
            rows.column("Load", "", cells.number("{:.1%}"), "load"),
            rows.column("In time", "", yes, "in_time", align="c"),
            rows.column("computed", "Footprint", count, "deployment_bytes"),
            rows.column("publ.", "Footprint", count, "footprint_published"),
        ],
        notes=(_cycles(rows.rows), _differences(rows.rows, firmware)),
    )


def _cycles(rows: Sequence[dict[str, Any]]) -> str:
    """What the verdict rests on."""
    room = ", ".join(f"{row['system']} {1 / row['load']:.3g}" for row in rows)
    return (
        "An emulator counts instructions, not cycles. How many cycles an instruction may take on "
        f"average for the worst bin to end in time: {room}. A Cortex-M4 takes one cycle for most "
        "instructions, two for a load that is not followed by another and two to four for a taken "
        "branch, and waits for a flash that is slower than its clock."
    )


def _differences(rows: Sequence[dict[str, Any]], firmware: Sequence[Firmware]) -> str:
    """The linked memories against the computed footprint, item by item."""
    sentences = []
    for row in rows:
        weights, states = row[f"{FIRST}_weights_bytes"], row[f"{FIRST}_state_bytes"]
        more_weights = weights - row["weights_bytes"]
        more_states = states - row["buffers_bytes"] - row["states_bytes"]
        more = more_weights + more_states
        share = cells.minus(f"{more / (weights + states - more):+.1%}")
        sentences.append(
            f"{row['system']}: {count(weights + states)} bytes of weights, buffers and states are "
            f"linked, {_signed(more)} ({share}) beside those computed: {_signed(more_weights)} of "
            f"weights, {_signed(more_states)} of buffers and states; the latter are, in "
            f"{_largest_state(row['system'], firmware)}."
        )
    return " ".join(
        [
            *sentences,
            "Each row of packed weights begins at a byte; decays per neuron, frames and membranes "
            "lie in whole bytes; counters, and keypoints between which velocities are "
            "interpolated, come on top, and so do code and stack, which no computed footprint "
            "holds.",
        ]
    )


def _largest_state(system: str, firmware: Sequence[Firmware]) -> str:
    """The session with the largest state, and the members of that state."""
    own = [each for each in firmware if each.system == system]
    record = max(own, key=lambda each: each.machines[FIRST].state_bytes)
    items = [item for item in record.machines[FIRST].items if item.section == ".decoder_state"]
    shown = [f"{item.name} {item.bytes}" for item in items[:SHOWN]]
    if rest := sum(item.bytes for item in items[SHOWN:]):
        shown.append(f"others {rest}")
    return f"{record.session}, {', '.join(shown)}"


def _signed(value: float) -> str:
    return cells.minus(f"{value:+,.0f}")
