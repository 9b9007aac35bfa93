"""The command line, and the evaluation behind it."""

import csv
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import session_files
from spikereach import __version__, config
from spikereach.cli import app
from spikereach.config import sessions
from spikereach.config.sessions import Session
from spikereach.data import synthetic
from spikereach.data.binning import BinnedSession, bin_session
from spikereach.evaluation import evaluate, metrics
from spikereach.evaluation.errors import EvaluationError
from spikereach.evaluation.evaluate import write_predictions
from spikereach.evaluation.records import Metrics
from spikereach.kinds import Kind, kind_of
from spikereach.models import zoo
from spikereach.models.checkpoint import Checkpoint, load, save
from spikereach.models.decoder import Standardisation, Timing
from spikereach.models.passes import PassError


@pytest.fixture(scope="module")
def settings(repository):
    return config.read(repository / "config.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def recording(folder):
    """A session file outside the catalogue."""
    path = folder / "mine.mat"
    session = Session("synthetic_indy_1", "synthetic_indy", {"M1": 96})
    synthetic.generate(session, path, duration_s=60.0, seed=0)
    return path


@pytest.fixture(scope="module")
def binned(recording):
    return bin_session(recording, Session("mine", "somebody", {"M1": 96}))


@pytest.fixture(scope="module")
def binned_file(binned, folder):
    binned.save(folder / "mine.h5")
    return folder / "mine.h5"


def checkpoint_of(name, settings, areas=("M1",) * 96):
    torch.manual_seed(0)
    decoder = zoo.build(settings.systems[name], len(areas)).eval()
    decoder.standardisation = Standardisation((2.0, 3.0), (0.5, -0.5))
    return Checkpoint(decoder, settings.systems[name], name, "mine", "somebody", areas, 0)


@pytest.fixture(scope="module")
def checkpoint_file(settings, folder):
    save(checkpoint_of("RTnet", settings), folder / "RTnet.safetensors")
    return folder / "RTnet.safetensors"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(*arguments):
    """The one line that a failing command prints."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


OPTIONS = ("--monkey", "somebody", "--areas", "M1=96")


@pytest.mark.parametrize("command", ["check", "bin"])
@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"samples": 1999}, "t: gives 2000 samples, known of indy_20160915_01 are 1999"),
        ({"segments": 51}, "target_pos: gives 50 segments, known of indy_20160915_01 are 51"),
        ({"areas": {"M1": 4}}, "spikes: has 3 channels, session indy_20160915_01 has 4"),
        ({"areas": {"M1": 3}, "samples": 2000, "segments": 50}, None),
    ],
)
def test_a_published_file_is_compared_with_what_is_known(
    tmp_path, monkeypatch, command, known, told
):
    """By its name alone."""
    name = "indy_20160915_01"
    session = Session(name, "indy", **{"areas": {"M1": 3}} | known)
    monkeypatch.setitem(sessions.ZENODO, name, session)
    file = session_files.random_session(tmp_path / f"{name}.mat", channels=3, steps=2000)
    arguments = [command, file, *[tmp_path / "out.h5"] * (command == "bin")]
    if told is None:
        assert run(*arguments).exit_code == 0
    else:
        assert f"{file}: {told}; " in fails(*arguments)
        assert not (tmp_path / "out.h5").exists()


def test_help_teaches_every_command():
    text = run("--help").output
    commands = typer.main.get_command(app).commands
    assert {"describe", "check", "bin", "decode", "evaluate", "verify"} <= commands.keys()
    for command in commands:
        assert command in text
        assert f"spikereach {command}" in run(command, "--help").output


def test_every_command_prints_text_unless_json_is_asked_for():
    for name, command in typer.main.get_command(app).commands.items():
        flags = {flag: each for each in command.params for flag in each.opts}
        assert "--text" not in flags, name
        if "--json" in flags:
            assert flags["--json"].default is False, name


def test_version():
    done = run("--version")
    assert done.exit_code == 0
    assert re.fullmatch(rf"spikereach {__version__}(, commit [0-9a-f]{{12}}\+?)?\n", done.stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("spikereach de", {"describe", "decode"}), ("spikereach describe --ch", {"--channels"})],
)
def test_shell_completes_commands_and_options(words, expected):
    """As the function asks that `--show-completion` prints for bash."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    asked["_SPIKEREACH_COMPLETE"] = "complete_bash"
    done = CliRunner().invoke(app, [], prog_name="spikereach", env=asked)
    assert set(done.stdout.split()) == expected


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from spikereach.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([name for name in ('torch', 'h5py', 'numpy', 'pydantic') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("system", "channels", "expected"),
    [
        # Krausse et al. 2025, Vasilache et al. 2024, Liu et al. 2024, Yik et al. 2025
        ("RTnet", 96, {"parameters": 75_202, "receptive_field": 46, "latency_ms": 96}),
        ("RTnet", 192, {"parameters": 109_762, "execution_rate_hz": 62.5, "realtime": True}),
        ("GRU-t2", 96, {"footprint": 20_808, "dense": 3507.24609375, "latency_ms": 4096}),
        ("GRU-t2", 192, {"footprint": 32_328, "dense": 6387.24609375, "realtime": False}),
        ("tinyRSNN", 96, {"footprint": 21_000, "dense": 10_368, "lookahead": 0}),
        ("tinyRSNN", 192, {"footprint": 33_288, "dense": 16_512, "receptive_field": None}),
        ("SNN2", 96, {"footprint": 19_648, "dense": 4_900, "latency_ms": 4, "realtime": True}),
        ("ANN2", 192, {"footprint": 33_496, "dense": 7_776, "latency_ms": 200}),
    ],
)
def test_describe_gives_the_published_figures(system, channels, expected, repository):
    result = run(
        "describe", system, "--channels", channels, "--json", "--config", repository / "config.yaml"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {key: found[key] for key in expected} == expected


def test_describe_counts_the_bits_of_a_compressed_system(repository):
    path = repository / "config.yaml"
    full, fixed = (
        json.loads(run("describe", name, "--channels", 96, "--json", "--config", path).stdout)
        for name in ("RTnet", "sRTnet")
    )
    assert full["deployment"]["weights_bytes"] == 75_202 * 2
    assert fixed["deployment"]["weights_bytes"] == pytest.approx(75_202 * 9 / 8, abs=7)
    assert fixed["deployment"]["weight_format"] == [1, 7]


def test_describe_reads_laid_over_configurations(repository, folder):
    overlay = folder / "overlay.yaml"
    overlay.write_text("systems: {RTnet: {sizes: {lif_units: 28}}}\n")
    result = run(
        "describe", "RTnet", "--channels", 96,
        "--config", repository / "config.yaml", "--config", overlay,
    )  # fmt: skip
    assert "real time          yes" in result.output
    assert "75,202" not in result.output


def test_check_tells_what_is_in_a_session(recording, binned_file):
    for found in (run("check", recording, *OPTIONS), run("check", binned_file)):
        assert found.exit_code == 0, found.output
        assert "mine of monkey somebody" in found.stdout
        assert "96 (96 M1)" in found.stdout
        assert "15,000 steps of 4 ms (60.0 s)" in found.stdout


def test_check_names_suspicious_channels_and_draws(binned, folder):
    spikes = binned.spikes.copy()
    spikes[:, 7], spikes[:, 30] = spikes[:, 50], 0
    path, figure = folder / "suspicious.h5", folder / "suspicious.png"
    BinnedSession(**(vars(binned) | {"spikes": spikes})).save(path)
    done = run("check", path, "--figure", figure)
    assert done.exit_code == 0, done.output
    assert "96 (96 M1), 1 silent (30)\n" in done.stdout
    assert "\nsuspicious 7 and 50 identical (100 % of their spikes in common)\n" in done.stdout
    assert done.stdout.endswith(f"wrote {figure}\n")
    assert kind_of(figure) is Kind.FIGURE


def test_bin_writes_what_the_library_bins(recording, binned, folder):
    out = folder / "out.h5"
    assert run("bin", recording, out, *OPTIONS).exit_code == 0
    found = BinnedSession.load(out)
    np.testing.assert_array_equal(found.spikes, binned.spikes)
    assert found.monkey == "somebody"


def test_decode_writes_the_same_velocities_as_csv_and_hdf5(
    checkpoint_file, binned_file, recording, settings, binned, folder
):
    table, image = folder / "velocity.csv", folder / "velocity.h5"
    assert run("decode", checkpoint_file, recording, "--out", table, *OPTIONS).exit_code == 0
    assert run("decode", checkpoint_file, binned_file, "--out", image).exit_code == 0
    assert kind_of(table) is kind_of(image) is Kind.VELOCITIES
    with h5py.File(image) as file:
        velocity = file["velocity"][()]
        assert file.attrs["dt_s"] == 0.004
        assert file.attrs["start_s"] == session_files.read(recording).t[0]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    written = np.array([[float(row["velocity_x"]), float(row["velocity_y"])] for row in rows])
    np.testing.assert_array_equal(written.astype(np.float32), velocity)
    np.testing.assert_array_equal([int(row["step"]) for row in rows], range(len(rows)))
    time = [float(row["time_s"]) for row in rows]
    np.testing.assert_allclose(time, session_files.read(recording).t, rtol=0, atol=1e-6)
    decoder = checkpoint_of("RTnet", settings).decoder
    with torch.no_grad():
        whole = decoder.decode(torch.as_tensor(binned.spikes).float()[:, None])
    np.testing.assert_allclose(velocity, whole[:, 0], atol=1e-3)


def test_check_looks_at_every_split(tmp_path):
    """What one trains on, another may not."""
    path = session_files.random_session(tmp_path / "a.mat", channels=3, steps=3000)
    val = bin_session(path, Session("a", "m", {"M1": 3})).split("liu2024").val
    with h5py.File(path, "r+") as file:
        file["cursor_pos"][0, val.start - 2 : val.stop + 2] = 1.0
    bin_session(path, Session("a", "m", {"M1": 3})).split("neurobench")
    done = CliRunner().invoke(app, ["check", str(path), "--monkey", "m", "--areas", "M1=3"])
    assert done.exit_code == 1
    assert "in the val part of split 'liu2024'" in done.output
    assert "the velocity of x never varies" in done.output


def test_evaluate_prints_metrics_as_strict_json(checkpoint_file, binned_file, binned):
    result = run("evaluate", checkpoint_file, binned_file, "--neurobench-steps", 300, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["test_steps"] == len(binned.split("neurobench").test)
    assert found["verified_steps"] == 300
    assert found["r2"] == pytest.approx((found["r2_x"] + found["r2_y"]) / 2, rel=1e-6)
    text = run("evaluate", checkpoint_file, binned_file, "--neurobench-steps", 300)
    assert f"R2                 {found['r2']:.4f}" in text.stdout


def test_stream_prints_the_verdict(checkpoint_file, binned_file):
    result = run("stream", checkpoint_file, binned_file, "--steps", 200)
    assert result.exit_code == 0, result.output
    assert "real time          yes" in result.stdout
    found = json.loads(run("stream", checkpoint_file, binned_file, "--json").stdout)
    assert found["lookahead_measured"] <= found["lookahead_declared"] == 26


@pytest.mark.parametrize(
    ("system", "name", "seed", "footprint"),
    [
        ("ANN2", "neurobench/ANN2-indy_20160622_01.pth", 0, 20_824),
        ("SNN2", "neurobench/SNN2-loco_20170210_03.pt", 0, 38_848),
        ("tinyRSNN", "tinyRSNN/indy_20160622_01-seed2.pth", 2, 21_000),
    ],
)
def test_published_weights_become_a_checkpoint(
    system, name, seed, footprint, shared, repository, folder
):
    out = folder / f"{system}.safetensors"
    weights = shared / "reference" / "weights" / name
    result = run("import-weights", system, weights, out, "--config", repository / "config.yaml")
    assert result.exit_code == 0, result.output
    found = load(out)
    assert found.dataset in name
    assert found.seed == seed
    assert metrics.footprint(found.decoder) == footprint


def test_imported_weights_decode_as_published(shared, repository, folder):
    out = folder / "published.safetensors"
    weights = shared / "reference" / "weights" / "neurobench" / "ANN2-indy_20160622_01.pth"
    run("import-weights", "ANN2", weights, out, "--config", repository / "config.yaml")
    vectors = np.load(shared / "reference" / "vectors.npz")
    spikes = np.unpackbits(vectors["spikes_indy"], axis=1)
    with torch.no_grad():
        velocity = load(out).decoder.decode(torch.as_tensor(spikes).float()[:, None])[:, 0]
    np.testing.assert_allclose(velocity, vectors["ANN2_indy_20160622_01_velocity"], atol=1e-5)


def test_weights_that_do_not_fit_the_sizes_are_an_error(shared, repository, folder):
    overlay = folder / "sizes.yaml"
    overlay.write_text("systems: {SNN2: {sizes: {hidden: 49}}}\n")
    weights = shared / "reference" / "weights" / "neurobench" / "SNN2-indy_20160622_01.pt"
    configs = ("--config", repository / "config.yaml", "--config", overlay)
    line = fails("import-weights", "SNN2", weights, folder / "no.safetensors", *configs)
    assert "systems.SNN2.sizes are not the published ones" in line
    assert "fc1.weight has shape (50, 96), expected (49, 96)" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("describe", "RTnett", "--channels", "96"),
            "unknown system 'RTnett'; did you mean RTnet?",
        ),
        (("describe", "RTnet", "--channels", "96", "--config", "no.yaml"), "no.yaml: no such file"),
        (("check", "nothing.h5"), "nothing.h5"),
        (("check", "nothing.mat"), "nothing.mat: does not exist; check the path"),
        (("check", "{recording}"), "--monkey NAME --areas"),
        (("check", "{recording}", "--monkey", "x"), "give both"),
        (("check", "{recording}", "--monkey", "x", "--areas", "M1=x"), "like M1=96,S1=96"),
        (("check", "{recording}", "--monkey", "x", "--areas", "=96"), "like M1=96,S1=96"),
        (("check", "{recording}", "--monkey", "x", "--areas", "M1=9,M1=9"), "like M1=96,S1=96"),
        (("check", "{recording}", "--monkey", "x", "--areas", "M1=95"), "has 96 channels"),
        (("check", "{checkpoint}"), "is a checkpoint, not a session file"),
        (("check", "{binned}", "--figure", "{folder}/x.pdf"), "written as .png"),
        (("bin", "{recording}", "/proc/no/out.h5", *OPTIONS), "/proc/no/out.h5"),
        (("decode", "{binned}", "{binned}", "--out", "{folder}/x.csv"), "not a checkpoint"),
        (("decode", "{checkpoint}", "{binned}", "--out", "{folder}/x.mat"), ".csv, .h5 or .nwb"),
        (("decode", "{checkpoint}", "{binned}", "--out", "/proc/no/x.csv"), "cannot be written"),
        (("decode", "{checkpoint}", "{two}", "--out", "{folder}/x.csv"), "trained on 96 M1"),
        (("evaluate", "{checkpoint}", "{two}"), "somebody, session two has 40 M1 + 40 S1"),
        (("stream", "{folder}/none.safetensors", "{binned}"), "does not exist"),
        (("import-weights", "RTnet", "{binned}", "{folder}/x"), "no published weights for"),
        (("import-weights", "SNN2", "{binned}", "{folder}/x"), "is a binned session, not a"),
    ],
)
def test_expected_errors_are_one_line(
    arguments,
    expected,
    recording,
    binned_file,
    binned,
    checkpoint_file,
    folder,
    repository,
    monkeypatch,
):
    monkeypatch.chdir(repository)
    two = folder / "two.h5"
    fewer = {"areas": ("M1",) * 40 + ("S1",) * 40, "spikes": binned.spikes[:, :80]}
    BinnedSession(**(vars(binned) | {"name": "two"} | fewer)).save(two)
    paths = {
        "recording": recording,
        "binned": binned_file,
        "checkpoint": checkpoint_file,
        "two": two,
        "folder": folder,
    }
    before = sorted(folder.iterdir())
    assert expected in fails(*(argument.format(**paths) for argument in arguments))
    assert sorted(folder.iterdir()) == before


def test_what_the_workflow_refuses_the_command_line_refuses(repository, folder):
    overlay = folder / "wrong.yaml"
    overlay.write_text("pretrain_sessions: {indy: [loco_20170210_03]}")
    configs = ("--config", repository / "config.yaml", "--config", overlay)
    result = run("describe", "RTnet", "--channels", "96", *configs)
    assert result.exit_code == 1
    assert "pretrain_sessions.indy: loco_20170210_03 is a session of loco" in result.stderr


def test_bugs_keep_their_traceback(binned_file, checkpoint_file, monkeypatch):
    monkeypatch.setattr(evaluate, "stream", lambda *_: 1 / 0)
    result = run("stream", checkpoint_file, binned_file)
    assert isinstance(result.exception, ZeroDivisionError)


# ---- evaluation.evaluate ------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(settings, binned):
    return evaluate.measure(checkpoint_of("RTnet", settings), binned, 200)


def test_an_evaluation_is_over_the_whole_test_part(result, settings, binned):
    test = binned.split("neurobench").test
    assert (result.first_step, result.metrics.test_steps) == (test.start, len(test))
    np.testing.assert_array_equal(result.velocity, binned.velocity[test.start : test.stop])
    np.testing.assert_array_equal(result.position, binned.position[test.start : test.stop])
    assert result.metrics.r2 == metrics.r2(result.predicted, result.velocity)
    streamed = evaluate.stream(checkpoint_of("RTnet", settings), binned, 200)
    assert streamed.realtime is True
    for key in ("system", "session", "seed"):
        assert getattr(result.metrics, key) == getattr(streamed, key)


@pytest.mark.parametrize("steps", [100, 1500])
def test_windowed_decoders_are_evaluated_on_whole_windows(steps, settings, binned):
    found = evaluate.measure(checkpoint_of("GRU-t2", settings), binned, steps)
    whole = len(binned.split("neurobench").test) // 1024 * 1024
    assert found.metrics.test_steps == len(found.predicted) == whole
    assert found.metrics.verified_steps == 1024


def test_batch_norms_of_an_uncompressed_decoder_are_folded_for_evaluation(settings, binned):
    checkpoint = checkpoint_of("RTnet", settings)
    generator = torch.Generator().manual_seed(0)
    norms = [m for m in checkpoint.decoder.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    for norm in norms:
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
    found = evaluate.measure(checkpoint, binned, 100)
    # The published parameters of RTnet; NeuroBench counts them and no statistics beside.
    assert found.metrics.parameters == 75_202
    assert found.metrics.footprint == 4 * 75_202
    assert found.metrics.weights_bytes == 4 * 75_202
    assert evaluate.stream(checkpoint, binned, 50).realtime is True
    assert not checkpoint.decoder.folded, "the checkpoint can still be trained"
    unfolded, _ = metrics.measure(checkpoint.decoder, found.spikes, found.velocity)
    assert found.metrics.r2 == pytest.approx(unfolded["r2"], abs=1e-3)
    assert unfolded["footprint"] > 4 * 75_202


def test_a_test_part_shorter_than_a_window_is_an_error(settings, binned):
    decoder = checkpoint_of("GRU-t2", settings)
    decoder.decoder.timing = Timing(whole_windows=10**6)
    with pytest.raises(PassError, match="too few for a decoder that needs whole windows"):
        evaluate.measure(decoder, binned, 100)


def test_predictions_keep_truth_spikes_and_time(result, binned, tmp_path):
    write_predictions(result, tmp_path / "predictions.h5")
    assert kind_of(tmp_path / "predictions.h5") is Kind.PREDICTIONS
    with h5py.File(tmp_path / "predictions.h5") as file:
        channels = int(file.attrs["channels"])
        spikes = np.unpackbits(file["spikes"][()], axis=1, count=channels)
        np.testing.assert_array_equal(spikes, result.spikes)
        np.testing.assert_array_equal(file["predicted"][()], result.predicted)
        rows = np.arange(len(result.predicted))
        time = file.attrs["start_s"] + rows * file.attrs["dt_s"]
        np.testing.assert_allclose(time, binned.time_s[file.attrs["first_step"] :][rows], atol=1e-9)
        assert file.attrs["r2"] == metrics.r2(file["predicted"][()], file["velocity"][()])


def test_results_are_strict_json_and_read_as_what_they_were(result, tmp_path):
    path = tmp_path / "metrics.json"
    provenance = {"commit": None, "dirty": None, "python": "3"}
    record = Metrics(**dict(result.metrics), source="synthetic", provenance=provenance)
    record.write(path)
    assert kind_of(path) is Kind.METRICS
    assert Metrics.model_validate(json.loads(path.read_text())) == record
    assert json.loads(path.read_text())["provenance"] == provenance
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan")])
def test_number_that_is_none_is_not_recorded(value, settings, binned, monkeypatch):
    def measured(*arguments):
        counted, predicted = metrics.measure(*arguments)
        return counted | {"activation_sparsity": value}, predicted

    monkeypatch.setattr(
        evaluate, "metrics", SimpleNamespace(**vars(metrics) | {"measure": measured})
    )
    with pytest.raises(EvaluationError, match=r"activation_sparsity: .*finite number"):
        evaluate.measure(checkpoint_of("RTnet", settings), binned, 100)
