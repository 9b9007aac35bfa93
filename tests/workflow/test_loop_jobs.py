"""The jobs that put decoders into the hands of a simulated user."""

import csv
import json

import pytest
import yaml

TABLE, FIGURE = "paper_tables/closed_loop.csv", "figures/closed_loop.csv"


@pytest.fixture
def looping(checkout):
    tiny = yaml.safe_load(checkout.overlay.read_text())
    tiny["tables"]["closed_loop"] = ["Wiener"]
    tiny["closed_loop"] = {
        "trials": 1,
        "delayed": "Wiener",
        "added_delays_ms": [40],
        "recalibration": {"systems": ["Wiener"], "trials": 4},
    }
    checkout.overlay.write_text(yaml.safe_dump(tiny))
    return checkout


@pytest.mark.long
def test_a_decoder_and_the_arm_reach_the_table(looping):
    done = looping.snakemake(TABLE, FIGURE, "--cores", "2")
    assert done.returncode == 0, done.stdout
    folder = looping.run_folder / "results" / "closed_loop"
    loops = {
        system: json.loads(
            (folder / system / "synthetic_indy_1" / "seed0" / "loop.json").read_bytes()
        )
        for system in ("arm", "Wiener")
    }
    rows = list(csv.DictReader((looping.run_folder / TABLE).read_text().splitlines()))
    found = [float(row["throughput_bit_s"]) for row in rows]
    assert found == [
        loops[system]["controls"][0]["throughput_bit_s"] for system in ("Wiener", "arm")
    ]
    for found in loops.values():
        assert [each["added_delay_ms"] for each in found["controls"]] == [0, 0, 40]
    assert loops["arm"]["recalibrated"] is None
    assert loops["Wiener"]["recalibrated"]["throughput_bit_s"] == float(
        rows[0]["throughput_bit_s_recalibrated"]
    )
    assert looping.planned(TABLE, FIGURE) == {}


@pytest.mark.slow
def test_recordings_have_no_brain_to_drive(looping):
    tiny = yaml.safe_load(looping.overlay.read_text())
    tiny |= {"source": "zenodo", "sessions": ["indy_20160622_01"], "pretrain_sessions": {}}
    looping.overlay.write_text(yaml.safe_dump(tiny))
    done = looping.snakemake("tables", "figures", "--dry-run", "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert "closed_loop" not in done.stdout
    done = looping.snakemake(TABLE, "--dry-run", "--cores", "1")
    assert done.returncode != 0
    assert "a brain can be driven on synthetic sessions only" in done.stdout
