"""The table and the figure of decoders in the loop."""

import pytest

import handmade_results
from spikereach.evaluation.records import Control, Loop, Recalibrated
from spikereach.reporting.collect import ResultError, collect, read_loop
from spikereach.reporting.plots.closed_loop import closed_loop as drawn
from spikereach.reporting.tables.closed_loop import closed_loop

SESSIONS = ("synthetic_indy_1", "synthetic_loco_1")
BITS = {"arm": (2.0, 3.0), "SNN2": (0.5, 1.0), "sRTnet": (1.25, 1.5)}
"""Of the two sessions."""
PROVENANCE = {"commit": "0123456789abcdef", "dirty": False}


def control(bits, **changes):
    fields = {
        "task": "random",
        "feedback": "moving",
        "added_delay_ms": 0,
        "trials": 7,
        "success_rate": 0.5,
        "time_to_target_s": 2.0,
        "dial_in_s": None,
        "path_efficiency": 0.75,
        "throughput_bit_s": bits,
    }
    return Control(**fields | changes)


@pytest.fixture
def loops():
    return [
        Loop(
            system=system,
            session=session,
            seed=0,
            gain=1.5,
            lookahead_ms=0,
            controls=[
                control(bits),
                control(bits / 2, task="centre-out"),
                *([control(bits / 4, feedback="silent")] if "loco" in session else []),
                control(bits / 10, added_delay_ms=200),
            ],
            provenance=PROVENANCE,
        )
        for system, each in BITS.items()
        for session, bits in zip(SESSIONS, each, strict=True)
    ]


@pytest.fixture
def systems(repository):
    from spikereach import config

    known = config.read(repository / "config.yaml").systems
    return {name: known[name] for name in ("SNN2", "sRTnet")}


@pytest.fixture
def frame(tmp_path):
    return collect(
        handmade_results.write(
            tmp_path, systems=("SNN2", "sRTnet"), sessions=SESSIONS, seeds=(0,), source="synthetic"
        )
    )


def test_means_over_sessions_stand_beside_the_arm(frame, loops, systems):
    table = closed_loop(frame, loops, systems)
    rows = table.values.set_index("system")
    assert list(rows.index) == ["SNN2", "sRTnet", "the arm itself"]
    assert rows["throughput_bit_s"].tolist() == [0.75, 1.375, 2.5]
    assert rows["throughput_centre_out"].tolist() == [0.375, 0.6875, 1.25]
    assert rows["throughput_silent"].tolist() == [0.25, 0.375, 0.75]  # Loco alone has S1
    assert rows["throughput_seen"].isna().all()
    printed = table.files()[".md"].decode()
    assert "users and brains are simulated" in printed
    assert "over the sessions that have S1 only" in printed
    assert "not real neurons" in printed
    assert "Published" not in printed


def test_recalibrated_decoders_stand_beside_themselves(frame, loops, systems):
    assert "ecalibrated" not in closed_loop(frame, loops, systems).files()[".md"].decode()
    later = [
        each.model_copy(
            update={
                "recalibrated": Recalibrated(
                    gain=2, **control(each.controls[0].throughput_bit_s + 1).model_dump()
                )
            }
        )
        if each.system == "sRTnet"
        else each
        for each in loops
    ]
    table = closed_loop(frame, later, systems)
    rows = table.values.set_index("system")
    assert rows["throughput_bit_s"].tolist() == [0.75, 1.375, 2.5]
    assert rows["throughput_bit_s_recalibrated"].tolist()[1] == 2.375
    assert rows["gain_recalibrated"].isna().tolist() == [True, False, True]
    printed = {(each.group, each.heading): each.cells for each in table.columns}
    assert printed["Bit/s", "before"] == ["0.75", "1.38", "2.50"]
    assert printed["Bit/s", "recalibrated"] == ["–", "2.38", "–"]
    assert printed["Path", "recalibrated"] == ["–", "75%", "–"]
    assert printed["Gain", "recalibrated"] == ["–", "2.00", "–"]
    assert "Gilja et al. 2012" in table.caption
    assert drawn(frame, later, systems, "sRTnet").data.equals(
        drawn(frame, loops, systems, "sRTnet").data
    )


def test_a_decoder_without_a_loop_is_named(frame, loops, systems):
    with pytest.raises(ResultError, match=r"sRTnet/synthetic_loco_1/0 has no loop\.json"):
        closed_loop(frame, loops[:-1], systems)


def test_the_figure_draws_systems_delays_and_the_arm(frame, loops, systems):
    plot = drawn(frame, loops, systems, "sRTnet")
    data = plot.data.set_index(["system", "added_delay_ms"])
    bits = {"SNN2": 0.75, "sRTnet": 1.375, "arm": 2.5}  # means over sessions; a tenth if delayed
    found = data["throughput_bit_s"].to_dict()
    expected = {
        (system, ms): b / (1 + 9 * (ms > 0)) for system, b in bits.items() for ms in (0, 200)
    }
    assert found == pytest.approx(expected)
    assert data["latency_ms"].unstack().diff(axis=1)[200].tolist() == [200] * 3
    assert data.loc[("arm", 0), "latency_ms"] == 0
    left, right = plot.figure.axes
    titles = left.get_title("left"), right.get_title("right")
    assert titles == ("users and brains are simulated", "synthetic data")


def test_the_figure_is_drawn_without_a_delayed_decoder(frame, loops, systems):
    plot = drawn(frame, loops[:4], {"SNN2": systems["SNN2"]}, "sRTnet")
    [legend] = plot.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "SNN2", "the arm itself, delayed", "100 ms",
    ]  # fmt: skip


def test_a_damaged_record_is_named(tmp_path, loops):
    loops[0].write(path := tmp_path / "loop.json")
    assert read_loop(path) == loops[0]
    path.write_text(path.read_text().replace('"gain"', '"other"'))
    with pytest.raises(ResultError, match=r"loop\.json: lacks gain; delete it and run it again"):
        read_loop(path)
