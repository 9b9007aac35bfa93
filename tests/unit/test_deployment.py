"""The table and the figure of decoders on microcontrollers."""

import re

import pytest

import handmade_results
from spikereach.config import System
from spikereach.export.firmware.errors import FirmwareError
from spikereach.export.firmware.machines import MACHINES
from spikereach.export.firmware.record import Firmware, Item, Measured
from spikereach.reporting.collect import ResultError, collect
from spikereach.reporting.plots.deployment import deployment as drawn
from spikereach.reporting.tables.deployment import deployment

CLOCK_HZ = 64e6
WORST = {"SNN2": (900, 700), "sRTnet": (200_000, 300_000)}
"""Of the two sessions."""
SESSIONS = handmade_results.SESSIONS[:2]


def measured(worst, **changes):
    fields = {
        "instructions_median": worst / 4,
        "instructions_p99": worst / 2,
        "instructions_worst": worst,
        "worst_bin": 3,
        "weights_bytes": 1000,
        "code_bytes": 300,
        "state_bytes": 80,
        "stack_bytes": 44,
        "items": (
            Item(section=".decoder_code", name="decoder_step", bytes=300),
            *(Item(section=".decoder_state", name=f"m{n}", bytes=n) for n in range(16, 8, -1)),
        ),
        "compiler": "gcc",
        "flags": "-O2",
        "emulator": "QEMU",
    }
    return Measured(**fields | changes)


@pytest.fixture
def firmware():
    return [
        Firmware(
            system=system,
            session=session,
            seed=0,
            bins=500,
            machines={name: measured(worst + 8 * number) for number, name in enumerate(MACHINES)},
            provenance={},
        )
        for system, each in WORST.items()
        for session, worst in zip(SESSIONS, each, strict=True)
    ]


@pytest.fixture
def frame(tmp_path):
    paths = handmade_results.write(tmp_path, systems=tuple(WORST), sessions=SESSIONS, seeds=(0,))
    return collect([path for path in paths if path.name == "metrics.json"])


@pytest.fixture
def systems():
    return {
        name: System.model_construct(spiking=True, published=name, architecture="any")
        for name in WORST
    }


def test_the_worst_bin_of_any_session_decides(frame, firmware, systems):
    table = deployment(frame, firmware, systems, CLOCK_HZ)
    values = table.values.set_index("system")
    for name, worst in WORST.items():
        row = values.loc[name]
        assert row["cortex-m4_instructions_worst"] == max(worst)
        assert row["rv32imc_instructions_worst"] == max(worst) + 8
        assert row["cortex-m4_instructions_median"] == sum(worst) / 8
        assert row["load"] == pytest.approx(max(worst) * 250 / CLOCK_HZ)
        assert row["in_time"] == (max(worst) <= CLOCK_HZ / 250)
        assert row["deployment_bytes"] == frame[frame["system"] == name]["deployment_bytes"].mean()
    assert "load of the worst bin on the Cortex-M4 at 64 MHz" in table.caption
    printed = {f"{column.group} {column.heading}".strip(): column.cells for column in table.columns}
    assert printed["In time"] == ["yes", "no"]
    assert printed["Load"] == ["0.4%", "117.2%"]
    assert printed["Footprint publ."][1] == "105,269"
    assert printed["Flash weights"] == ["1,000", "1,000"]


def test_differences_from_the_computed_footprint_add_up(frame, firmware, systems):
    _, text = deployment(frame, firmware, systems, CLOCK_HZ).notes
    for name, part in frame.groupby("system"):
        said = re.search(
            rf"{name}: [\d,]+ bytes .*? linked, (\S+) \(.*?: (\S+) of w.*?, (\S+) of", text
        )
        whole, weights, states = (int(n.replace("−", "-").replace(",", "")) for n in said.groups())
        computed = part[["weights_bytes", "buffers_bytes", "states_bytes"]].mean()
        assert weights == pytest.approx(1000 - computed["weights_bytes"], abs=0.6)
        assert states == pytest.approx(80 - computed[1:].sum(), abs=0.6)
        assert "m16 16, m15 15, m14 14, m13 13, m12 12, m11 11, others 19." in text
        assert whole == pytest.approx(weights + states, abs=1)


def test_every_decoder_needs_both_files(frame, firmware, systems):
    with pytest.raises(ResultError, match="sRTnet/indy_20170131_02/0 has a"):
        deployment(frame, firmware[:-1], systems, CLOCK_HZ)


def test_the_figure_has_the_numbers_of_the_table(frame, firmware, systems):
    values = deployment(frame, firmware, systems, CLOCK_HZ).values.set_index("system")
    plot = drawn(frame, firmware, systems, CLOCK_HZ)
    assert plot.files().keys() == {".pdf", ".png", ".csv"}
    for row in plot.data.itertuples():
        assert row.r2 == values.loc[row.system, "r2"]
        assert row.flash_kb == 1.3
        assert row.ram_kb == 0.124
        assert row.instructions_worst == values.loc[row.system, "cortex-m4_instructions_worst"]


def test_a_record_is_read_back_and_damage_is_named(tmp_path, firmware):
    path = tmp_path / "firmware.json"
    firmware[0].write(path)
    assert Firmware.read(path) == firmware[0]
    path.write_text(path.read_text().replace('"bins"', '"bin"'))
    with pytest.raises(FirmwareError, match=r"firmware.json: damaged, .* measure again"):
        Firmware.read(path)
