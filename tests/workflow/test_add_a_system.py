"""docs/add-a-system.md, done: its files and commands are taken from the document itself."""

import csv
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import markdown
from spikereach import config
from spikereach.evaluation import neurobench, realtime
from spikereach.evaluation.describe import describe
from spikereach.evaluation.errors import EvaluationError
from spikereach.export.engine import Engine
from spikereach.export.program import program
from spikereach.models.contract import ContractError
from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.common.record import active

RESULTS = "results/{}/LeakySpikes/synthetic_indy_1/seed0"


@pytest.fixture(scope="module")
def document(repository):
    return repository / "docs" / "add-a-system.md"


@pytest.fixture(scope="module")
def finished(make_checkout, tmp_path_factory, document):
    """A checkout in which a reader has followed the document, on the tiny sessions."""
    checkout = make_checkout(tmp_path_factory.mktemp("add_a_system"))
    mine = checkout.folder / "mine"
    mine.mkdir()
    for name, text in markdown.files(document).items():
        (checkout.folder / name).write_text(text)
    checkout.run_folder = checkout.folder / "runs" / "mine"
    checkout.overlays.append(mine / "leaky_spikes.yaml")
    checkout.python_path.append(mine)
    script = "\n".join(["set -e", *markdown.commands(document)])
    for old, new in {
        "workflow/presets/demo.yaml": checkout.overlay.name,
        "PYTHONPATH=$PWD/mine": f"PYTHONPATH=$PWD/mine:{checkout.python_path[0]}",
    }.items():
        assert script.count(old) == 1
        script = script.replace(old, new)
    if shutil.which("cc") is None:
        script = script.replace("make -C runs/mine/decoder check", "")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    checkout.printed = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout.folder,
        env=os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert checkout.printed.returncode == 0, checkout.printed.stdout
    return checkout


@pytest.mark.slow
def test_commands_print_what_a_reader_expects(finished):
    printed = finished.printed.stdout
    hidden = 32
    assert f"parameters         {97 * hidden + 2 * hidden + 2:,}" in printed
    assert "look-ahead         0 steps measured, 0 declared" in printed
    if shutil.which("cc") is not None:
        assert "bins: all velocities agree to the last bit" in printed


@pytest.mark.slow
def test_the_system_is_compressed_and_measured(finished):
    folder = finished.run_folder / RESULTS.format("evaluate")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["connection_sparsity"] >= 0.5
    assert metrics["weight_format"] == [1, 7]
    # 9 bits per parameter, 12 per membrane and velocity
    assert metrics["weights_bytes"] == pytest.approx(3170 * 9 / 8, abs=2)
    assert metrics["states_bytes"] == 32 * 12 // 8 + 2 * 12 // 8
    assert metrics["r2"] > 0.05, "it has learned something"
    checked = json.loads((folder / "realtime.json").read_text())
    assert checked["realtime"] is True
    with (finished.run_folder / RESULTS.format("compress") / "history.csv").open() as file:
        steps = [row["step"] for row in csv.DictReader(file)]
    assert list(dict.fromkeys(steps)) == ["1-prune", "2-fixed_point"]


@pytest.mark.slow
def test_the_system_is_in_every_table_and_figure(finished):
    overlay = yaml.safe_load(finished.overlays[-1].read_text())
    defaults = yaml.safe_load((finished.folder / "config.yaml").read_text())
    missing = defaults["tables"].keys() - overlay["tables"].keys()
    assert missing <= {"imported", "deployment", "closed_loop", "blocked", "frontier"}, (
        "the document fills every table but those of published weights, firmware, the loop and ours"
    )
    tables = [f"paper_tables/{name}.tex" for name in overlay["tables"]]
    figures = ["figures/pareto.pdf", "figures/trajectory_synthetic_indy_1.pdf"]
    done = finished.snakemake(*tables, *figures, "--cores", "2")
    assert done.returncode == 0, done.stdout
    for path in tables:
        for kind in (".tex", ".csv", ".md"):
            assert "LeakySpikes" in (finished.run_folder / path).with_suffix(kind).read_text(), path
    for path in figures:
        assert "LeakySpikes" in (finished.run_folder / path).with_suffix(".csv").read_text(), path


@pytest.mark.slow
def test_an_edit_of_the_file_repeats_the_jobs_of_the_system(finished):
    target = "paper_tables/coopt.tex"
    module = finished.folder / "mine" / "leaky_spikes.py"
    text = module.read_text()
    assert text.count("fast_sigmoid(5.0)") == 1
    try:
        module.write_text(text.replace("fast_sigmoid(5.0)", "fast_sigmoid(6.0)"))
        planned = finished.planned(target)
    finally:
        module.write_text(text)
    folders = {Path(path).parent.as_posix() for rule in planned.values() for path in rule}
    stages = ("train", "compress", "evaluate")
    assert folders == {RESULTS.format(stage) for stage in stages} | {"paper_tables"}


# ---- What is said when something is wrong ---------------------------------------------------


@pytest.fixture
def LeakySpikes(document, tmp_path, monkeypatch):  # noqa: N802
    text = markdown.files(document)["mine/leaky_spikes.py"]
    (tmp_path / "leaky_spikes.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("leaky_spikes").LeakySpikes
    del sys.modules["leaky_spikes"]


@pytest.fixture
def system(LeakySpikes, document):  # noqa: N803
    entry = yaml.safe_load(markdown.files(document)["mine/leaky_spikes.yaml"])["systems"]
    return config.System.model_validate(entry["LeakySpikes"])


@pytest.fixture
def spikes():
    return (np.random.default_rng(0).random((300, 6)) < 0.2).astype(np.uint8)


def trained(kind):
    """Weights with which neurons spike."""
    torch.manual_seed(0)
    decoder = kind(channels=6, hidden=8).eval()
    with torch.no_grad():
        decoder.input.weight.mul_(3)
    return decoder


def test_the_document_compresses_as_described(system):
    found = describe(system, 96)
    assert found["deployment"]["weight_format"] == (1, 7)
    assert found["dense"] == 32 * (96 + 2)
    half = system.model_copy(update={"compression": (config.Half(kind="half"),)})
    assert describe(half, 96)["footprint"] == 2 * found["parameters"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "leaky_spike:LeakySpikes"}, "No module named 'leaky_spike'; is the abs"),
        ({"architecture": "leaky_spikes:LeakySpike"}, r"leaky_spikes\.py has no LeakySpike$"),
        ({"architecture": "leaky_spikes:State"}, "State is no Decoder: derive it from"),
        ({"architecture": "leaky_spikes"}, "unknown architecture 'leaky_spikes', and no path"),
        ({"sizes": {}}, "needs the size 'hidden'; known: hidden, readout_tau_ms, tau_ms"),
        ({"sizes": {"hidden": 3, "tau": 5}}, "has no size 'tau'; .*did you mean tau_ms"),
    ],
)
def test_a_wrong_entry_is_named(system, change, message):
    with pytest.raises(config.ConfigError, match=message):
        describe(system.model_copy(update=change), 96)


def test_missing_buffer_sizes_are_named_before_training(LeakySpikes, system, monkeypatch):  # noqa: N803
    monkeypatch.delattr(LeakySpikes, "buffer_sizes")
    with pytest.raises(ContractError, match=r"LeakySpikes has no buffer_sizes\(\)"):
        describe(system, 96)


def test_a_wrong_shape_is_named_before_training(LeakySpikes, system, monkeypatch):  # noqa: N803
    forward = LeakySpikes.forward

    def last_step(self, *arguments, **options):
        velocity, state = forward(self, *arguments, **options)
        return velocity[-1], state

    monkeypatch.setattr(LeakySpikes, "forward", last_step)
    with pytest.raises(ContractError, match=r"shape \(3, 2\) for .*: expected .* \(1, 3, 2\)"):
        describe(system, 96)


def test_the_exported_integers_are_the_stream(LeakySpikes, spikes):  # noqa: N803
    decoder = trained(LeakySpikes)
    decoder.weight_format, decoder.buffer_format = (1, 7), (3, 8)
    for parameter in decoder.parameters():
        parameter.data = quantise(parameter.data, 1, 7)
    made = program(decoder)
    integers = Engine(made).run(spikes)
    assert integers.any()
    step = decoder.standardised_streamer()
    assert np.array_equal(integers * made.unit, [step(each) for each in spikes])


def test_a_hidden_look_ahead_is_found(LeakySpikes, spikes):  # noqa: N803
    class Early(LeakySpikes):
        def forward(self, spikes, state=None):
            silence = spikes.new_zeros(3, *spikes.shape[1:])
            return super().forward(torch.cat([spikes[3:], silence]), state)

    with pytest.raises(EvaluationError, match=r"look-ahead: .* declares 0 steps.* 3 steps"):
        realtime.check(trained(Early), spikes, 100)


def test_a_forgotten_state_is_found(LeakySpikes, spikes):  # noqa: N803
    class Forgetful(LeakySpikes):
        def forward(self, spikes, state=None):
            return super().forward(spikes, None)

    with pytest.raises(EvaluationError, match=r"stream: .* the state does not carry all"):
        realtime.check(trained(Forgetful), spikes, 100)


def test_a_record_that_tells_something_else_is_found(LeakySpikes, spikes):  # noqa: N803
    class Forgetful(LeakySpikes):
        def forward(self, spikes, state=None):
            output = super().forward(spikes, state)
            if (record := active()) is not None:
                record.calls.pop()
            return output

    velocity = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    with pytest.raises(EvaluationError, match=r"counted exactly, .* by NeuroBench"):
        neurobench.verify(trained(Forgetful), spikes, velocity)
    neurobench.verify(trained(LeakySpikes), spikes, velocity)
