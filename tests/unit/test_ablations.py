"""Ablations: channels of each area, energy per number format, tables and figures."""

import json
from itertools import pairwise

import pytest
import torch
import yaml

import handmade_results as handmade
from spikereach.compression import compress
from spikereach.config import FixedPoint, System, validate
from spikereach.evaluation.energy import operation_pj
from spikereach.evaluation.footprint import deployment
from spikereach.models import checkpoint
from spikereach.models.zoo import build
from spikereach.reporting.collect import ResultError, collect
from spikereach.reporting.make import write
from spikereach.reporting.plots.ablations import compression as compression_plot
from spikereach.reporting.plots.ablations import fusion as fusion_plot
from spikereach.reporting.plots.ablations import latency as latency_plot
from spikereach.reporting.tables.ablations import compression as compression_table
from spikereach.reporting.tables.ablations import compression_values
from spikereach.reporting.tables.ablations import cortex as cortex_table
from spikereach.reporting.tables.ablations import fusion as fusion_table
from spikereach.reporting.tables.ablations import latency as latency_table
from spikereach.training.fit import fit
from training_cases import CHANNELS, run_options, session, stage, system

SIZES = {
    "blocks": 1, "kernel": 3, "conv_channels": 3, "lif_layers": 1, "lif_units": 4, "dropout": 0.0,
}  # fmt: skip


# ---- Areas -----------------------------------------------------------------------------


@pytest.mark.parametrize("merge", ["pre-LIF", "post-LIF"])
def test_areas_of_the_session_reach_the_decoder_and_its_checkpoint(tmp_path, merge):
    areas = ("M1",) * 2 + ("S1",) * (CHANNELS - 2)
    recipe = stage(epochs=1, window=48)
    entry = system("hybrid", sizes=SIZES | {"merge": merge}, finetune=recipe, areas=("M1", "S1"))
    trained, _ = fit(
        entry,
        [session(areas=areas)],
        system_name="tiny",
        dataset="indy_test",
        stage="finetune",
        **run_options(tmp_path),
    )
    checkpoint.save(trained, tmp_path / "c.safetensors")
    again = checkpoint.load(tmp_path / "c.safetensors").decoder
    for decoder in (trained.decoder, again):
        assert [conv[0].conv.in_channels for conv in decoder.convs] == [2, CHANNELS - 2]
    spikes = (torch.rand(40, 1, CHANNELS) < 0.2).float()
    with torch.no_grad():
        assert torch.equal(trained.decoder.eval().decode(spikes), again.decode(spikes))


def test_decoder_of_parted_areas_needs_them():
    entry = system("hybrid", sizes=SIZES | {"merge": "pre-LIF"}, areas=("M1", "S1"))
    with pytest.raises(ValueError, match="area_channels"):
        build(entry, CHANNELS)


def test_configured_ablations_are_what_the_paper_compares(repository):
    config = validate(yaml.safe_load((repository / "config.yaml").read_text()))
    systems = {each.label: config.systems[each.system] for each in config.ablations["cortex"]}
    assert {label: s.areas for label, s in systems.items()} == {
        "M1": ("M1",), "S1": ("S1",),
        "M1+S1": None, "pre-LIF": ("M1", "S1"), "post-LIF": ("M1", "S1"),
    }  # fmt: skip
    assert len({s.training.model_dump_json() for s in systems.values()}) == 1
    kinds = [
        [step.kind for step in config.systems[each.system].compression]
        for each in config.ablations["compression"]
    ]
    assert kinds[0] == []
    assert all(len(a) <= len(b) for a, b in pairwise(kinds))


# ---- Number formats --------------------------------------------------------------------


def test_fixed_point_weights_with_half_precision_buffers(tmp_path):
    recipe = stage(epochs=1, window=48)
    entry = system("hybrid", sizes=SIZES, finetune=recipe)
    trained, _ = fit(
        entry, [session()], system_name="t", dataset="d", stage="finetune", **run_options(tmp_path)
    )
    step = FixedPoint(kind="fixed_point", weight_bits=(1, 7), buffer_bits=None, retrain=recipe)
    options = run_options(tmp_path, resume=tmp_path / "compress")
    entry = entry.model_copy(update={"compression": (step,)})
    compressed, _ = compress(trained, [session()], entry, system_name="s", **options)
    for name, value in compressed.decoder.named_parameters():
        assert torch.equal(value * 2**7, (value * 2**7).round()), name
    found = deployment(compressed.decoder)
    widths = {"weights": 9, "input": 1, "buffer": 16, "state": 16}
    for part in found["parts"]:
        assert part["bytes"] == -(-part["values"] * widths[part["kind"]] // 8), part


@pytest.mark.parametrize(
    ("weights", "activations", "mac", "ac"),
    [
        # Horowitz 2014, figure 1.1.9: FP32 3.7 + 0.9, FP16 1.1 + 0.4, INT32 3.1 + 0.1 pJ;
        # an 8-bit product 0.2, added to 32 bits 0.1
        ("float32", "float32", 4.6, 0.9),
        ("float16", "float16", 1.5, 0.4),
        ((0, 31), (0, 31), 3.2, 0.1),
        ((0, 7), (0, 7), 0.3, 0.1),
        (8, (0, 7), 0.3, 0.1),
        ((1, 7), "float16", 1.5, 0.4),
        ("float16", "float32", 4.6, 0.9),
    ],
)
def test_energy_of_operations(weights, activations, mac, ac):
    assert operation_pj(weights, activations) == pytest.approx((mac, ac), rel=0.03)


# ---- Tables and figures ----------------------------------------------------------------

STEPS = {"half precision": "RTnet", "fixed point": "sRTnet", "pruning": "sRTnet-pruned"}
LOCO = ("loco_20170210_03", "loco_20170215_02", "loco_20170301_05")


def entries(names):
    return {
        name: System(
            architecture="any:Any", sizes={}, areas=("M1",), spiking=True, base="RTnet",
            published=name if name in ("RTnet", "sRTnet") else None,
        )
        for name in names
    }  # fmt: skip


def results(folder, systems, *, source="zenodo", changes=()):
    paths = handmade.write(folder, systems=systems, sessions=LOCO, source=source)
    metrics = [path for path in paths if path.name == "metrics.json"]
    for path in metrics:
        content = json.loads(path.read_text())
        for values in changes:
            content |= values(content["system"])
        path.write_text(json.dumps(content))
    return collect(metrics)


def deployed(name):
    fixed = name != "RTnet"
    return {
        "weights_bytes": 900 if fixed else 1600,
        "buffers_bytes": 80,
        "states_bytes": 20,
        "deployment_bytes": 1000 if fixed else 1700,
        "weight_format": [1, 7] if fixed else "float16",
        "buffer_format": [1, 4] if fixed else "float16",
    }


def counted(name):
    sparsity = {"RTnet": 0.0, "sRTnet": 0.05, "sRTnet-pruned": 0.6}[name]
    return {"connection_sparsity": sparsity, "macs": 1000.0, "acs": 100.0}


@pytest.fixture
def frame(tmp_path):
    found = results(tmp_path, STEPS.values(), changes=[deployed, counted])
    return found.assign(parameters=800)


def test_compression_by_hand(frame):
    values = compression_values(frame, STEPS, entries(STEPS.values())).set_index("system")
    # a bitmap of 800 bits costs 100 bytes: it pays from a sparsity of 100 / 900 on
    assert values["footprint_bytes"].tolist() == [1700, 1000, pytest.approx(560)]
    half = (1000 * 1.5 + 100 * 0.4) / 1e3
    fixed = (1000 * (3.1 / 1024 * 9 * 6 + 0.1) + 100 * 0.1) / 1e3
    assert values["energy_nj"].tolist() == pytest.approx([half, fixed, fixed])
    assert values.loc["sRTnet", ["weights", "buffers"]].tolist() == ["1+1+7", "1+1+4"]
    assert values.loc["sRTnet", "r2_published"] == 0.675
    assert values.loc["sRTnet", "footprint_bytes_published"] == 105269
    by_seed = frame[frame["system"] == "RTnet"].groupby("seed")["r2"].mean()
    assert values.loc["RTnet", "r2"] == pytest.approx(by_seed.mean())
    assert values.loc["RTnet", "r2_std"] == pytest.approx(by_seed.std(ddof=0))


def test_compression_files(frame, tmp_path):
    systems = entries(STEPS.values())
    table = compression_table(frame, STEPS, systems)
    plot = compression_plot(frame, STEPS, systems)
    write(table.files(), tmp_path / "tables" / table.name)
    write(plot.files(), tmp_path / "figures" / table.name)
    tex = (tmp_path / "tables" / "compression_ablation.tex").read_text()
    assert tex.index("half precision") < tex.index("fixed point &") < tex.index("pruning &")
    assert "0.675" in tex
    assert plot.data.equals(table.values)


def test_compression_without_published_figures_on_other_data(tmp_path):
    found = results(tmp_path, STEPS.values(), source="synthetic", changes=[deployed])
    table = compression_table(found, STEPS, entries(STEPS.values()))
    assert "publ." not in [column.heading for column in table.columns]
    assert table.values["r2_published"].isna().all()


def test_mixed_formats_are_refused(frame):
    mixed = frame.copy()
    mixed.at[mixed.index[0], "weight_format"] = "float32"
    with pytest.raises(ResultError, match="different number formats"):
        compression_values(mixed, STEPS, entries(STEPS.values()))


def test_cortex_table_prints_published_values_beside(tmp_path):
    inputs = {"M1": "BMnet-M1", "M1+S1": "BMnet"}
    found = results(tmp_path, inputs.values())
    table = cortex_table(found, inputs)
    first = [column for column in table.columns if column.group == "loco_20170210_03"]
    assert [column.heading for column in first] == ["ours", "publ."]
    assert first[1].cells == ["0.617 ± 0.008", "0.639 ± 0.015"]
    part = found[(found["system"] == "BMnet") & (found["session"] == "loco_20170210_03")]
    assert first[0].cells[1].startswith(f"{part['r2'].mean():.3f} ±")


def test_fusion_by_hand(tmp_path):
    """Without S1 the gate keeps half of each R2; a decoder of one area has no other value. Without
    M1 it is far below zero, which the figure has no room for."""
    inputs = {"M1": "RTnet-M1", "gate": "RTnet-gate"}
    found = results(tmp_path, inputs.values())
    joint = found["system"] == "RTnet-gate"
    found["silenced"] = [
        {"M1": -2.0, "S1": r2 / 2} if heard else {}
        for heard, r2 in zip(joint, found["r2"], strict=True)
    ]
    table, plot = fusion_table(found, inputs), fusion_plot(found, inputs)
    gate = table.values[table.values["input"] == "gate"]
    assert gate["r2_S1_silent"].tolist() == pytest.approx((gate["r2"] / 2).tolist())
    assert gate["r2_std_S1_silent"].tolist() == pytest.approx((gate["r2_std"] / 2).tolist())
    assert gate["r2_M1_silent"].tolist() == pytest.approx([-2.0] * len(LOCO))
    assert table.values[table.values["input"] == "M1"]["r2_S1_silent"].isna().all()
    assert [column.heading for column in table.columns[1:4]] == ["all", "no M1", "no S1"]
    assert plot.data.equals(table.values)
    (legend,) = plot.figure.legends
    shown = {*inputs, "M1 silent", "S1 silent", "below zero"}
    assert {text.get_text() for text in legend.get_texts()} == shown
    assert -0.1 < plot.figure.axes[0].get_ylim()[0] < 0


def test_latency_ablation_in_order_of_latency(tmp_path):
    labels = {"centred": "RTnet", "0": "RTnet-causal-0"}
    found = collect(handmade.write(tmp_path, systems=labels.values(), sessions=LOCO[:2]))
    found["latency_ms"] = found["system"].map({"RTnet": 96.0, "RTnet-causal-0": 4.0})
    table, plot = (
        latency_table(found, labels, entries(labels.values())),
        latency_plot(found, labels),
    )
    assert plot.data.equals(table.values)
    assert table.values["decoder"].tolist() == ["0", "centred"]
    by_seed = found[found["system"] == "RTnet"].groupby("seed")["r2"].mean()
    assert table.values["r2"].iloc[1] == pytest.approx(by_seed.mean())
    (line, limit) = plot.figure.axes[0].lines[0], plot.figure.axes[0].lines[-1]
    assert line.get_xdata().tolist() == [4, 96]
    assert limit.get_xdata() == [100, 100]
    assert {".pdf", ".png", ".csv"} == plot.files().keys()
