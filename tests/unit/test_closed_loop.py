"""The closed loop: limits that any decoder keeps to, and the open loop inside it."""

import base64
import dataclasses
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import spikereach
from spikereach import config
from spikereach.cli import app
from spikereach.closed_loop import loop, result
from spikereach.closed_loop.brain import EXECUTION_S, Brain
from spikereach.closed_loop.control import InLoop, in_loop
from spikereach.closed_loop.loop import play
from spikereach.closed_loop.measures import control
from spikereach.closed_loop.task import Rules, Trial
from spikereach.closed_loop.user import Habits, User
from spikereach.config.sessions import Session
from spikereach.data.binning import bin_session
from spikereach.data.matfile import STEP_S
from spikereach.data.synthetic import generate, random_stream
from spikereach.evaluation.errors import EvaluationError
from spikereach.identity import file_checksum
from spikereach.kinds import Kind, kind_of
from spikereach.models.checkpoint import Checkpoint, save
from spikereach.models.linear import Wiener
from spikereach.reporting.view.packing import packed
from spikereach.workflow.manifest import Manifest, ManifestError

SESSION = Session("synthetic_loco_1", "synthetic_loco", {"M1": 32, "S1": 32})
FEW = Rules(trials=5)
LEAD = round(EXECUTION_S / STEP_S)


@pytest.fixture(scope="module")
def binned(tmp_path_factory):
    path = tmp_path_factory.mktemp("loop") / "synthetic_loco_1.mat"
    generate(SESSION, path, duration_s=60, seed=3)
    return bin_session(path, SESSION)


@pytest.fixture(scope="module")
def checkpoint(binned, repository):
    sizes = {"lags": 10, "width": 8}
    decoder = Wiener(channels=64, **sizes)
    part = slice(binned.split("neurobench").train.stop)
    spikes = torch.from_numpy(binned.spikes[part]).float()
    assert decoder.fit_closed_form(spikes, torch.from_numpy(binned.velocity[part]))
    system = config.read(repository / "config.yaml").systems["Wiener"]
    system = system.model_copy(update={"sizes": sizes})
    names = binned.name, binned.monkey, binned.areas
    return Checkpoint(decoder.eval(), system, "Wiener", *names, 0)


@pytest.fixture(scope="module")
def decoder(checkpoint, binned):
    return in_loop(checkpoint, binned, 3)


def silent():
    decoder = Wiener(channels=64, lags=10, width=8)
    for parameter in decoder.parameters():
        torch.nn.init.zeros_(parameter)
    return decoder


def measured(played):
    return control(played.trials, FEW, feedback="moving", added_delay=0)


def bits(played):
    return measured(played).throughput_bit_s


def reading(decoder):
    """What the decoder does with spikes, from the beginning."""
    stream = spikereach.Stream(decoder.checkpoint)
    return lambda spikes: decoder.gain * stream(spikes).astype(float)


def test_a_perfect_decoder_controls_as_the_arm_does(decoder, monkeypatch):
    wanted = deque([np.zeros(2)] * LEAD)

    class Told(Brain):
        def __call__(self, ahead, *rest):
            wanted.extend(ahead)
            return super().__call__(ahead, *rest)

    monkeypatch.setattr(loop, "Brain", Told)
    found = play(decoder.population, lambda _: wanted.popleft() * STEP_S, rules=FEW)
    arm = play(decoder.population, None, rules=FEW)
    np.testing.assert_allclose(found.cursor, arm.cursor, atol=1e-9)
    assert bits(found) == bits(arm) > 1
    assert measured(arm).success_rate == 1


def test_a_decoder_of_zeros_never_arrives(decoder):
    played = play(decoder.population, lambda _: np.zeros(2), rules=Rules(trials=3))
    found = measured(played)
    assert (found.success_rate, found.throughput_bit_s) == (0, 0)
    assert found.time_to_target_s is found.dial_in_s is found.path_efficiency is None
    assert len(played.cursor) == 3 * 6 * 250


@pytest.mark.parametrize(("arm", "delays"), [(True, (0, 50, 150)), (False, (0, 100))])
def test_delay_never_helps(decoder, arm, delays):
    """On average over seeds, for the arm itself and for a decoder."""
    decode = {True: lambda: None, False: lambda: reading(decoder)}[arm]
    found = [
        np.mean([
            bits(play(decoder.population, decode(), added_delay=delay, rules=FEW, seed=seed))
            for seed in range(3)
        ])
        for delay in delays
    ]  # fmt: skip
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.2 * found[-1]


def test_a_decoder_controls_and_one_of_shuffled_channels_does_not(decoder):
    order = np.random.default_rng(0).permutation(64)
    played = decoder.play(feedback="moving", rules=FEW)
    shuffled = dataclasses.replace(decoder, columns=order).play(feedback="moving", rules=FEW)
    assert measured(played).success_rate >= 0.5
    assert measured(shuffled).success_rate <= 0.2  # by chance at most one of five
    assert 0.8 < decoder.gain < 2


def test_equal_seeds_give_equal_bytes(checkpoint, binned):
    threads = torch.get_num_threads()
    rules, found = Rules(trials=2), []
    for number, seed in ((1, 0), (2, 0), (1, 1)):
        torch.set_num_threads(number)
        decoder = in_loop(checkpoint, binned, 3)
        found.append((decoder.gain, decoder.play(feedback="seen", rules=rules, seed=seed)))
        assert torch.get_num_threads() == number
    torch.set_num_threads(threads)
    one, two, other = (
        (gain, played.cursor.tobytes(), played.spikes.tobytes()) for gain, played in found
    )
    assert one == two
    assert one[1:] != other[1:]


def test_movement_replayed_gives_the_ordinary_r2(checkpoint, decoder, binned):
    """The user's feedback off: the brain is driven with the session's own movement."""
    part = binned.split("neurobench").test

    def replayed(lead):
        """Spikes, where an arm moves that much later than wanted."""
        velocity = binned.velocity[lead:].astype(float) / STEP_S
        brain = Brain(decoder.population, "moving", len(velocity), random_stream("replay"))
        return brain(velocity, binned.position[lead:].astype(float), np.zeros_like(velocity))

    def r2(spikes):
        found = spikereach.decode(checkpoint, spikes)[part.start :]
        true = binned.velocity[part.start :][: len(found)]
        return 1 - ((found - true) ** 2).sum() / ((true - true.mean(0)) ** 2).sum()

    ordinary, spikes = r2(binned.spikes), replayed(LEAD)
    assert spikes.mean() == pytest.approx(binned.spikes.mean(), rel=0.1)
    assert ordinary > 0.5
    assert r2(spikes) == pytest.approx(ordinary, abs=0.05)
    assert r2(replayed(0)) < ordinary - 0.2  # and no other timing does


@pytest.mark.parametrize("feedback", ["moving", "seen"])
def test_user_and_brain_do_not_know_how_many_bins_they_are_asked_for(decoder, feedback):
    rng = np.random.default_rng(0)
    targets, cursors, velocities = 100 * rng.normal(size=(3, 40, 2))

    def asked(*counts):
        user = User(Habits(), 25, np.ones((40, 2)))
        brain = Brain(decoder.population, feedback, 40, random_stream("asked"))
        first, found = 0, []
        for count in counts:
            part = slice(first, first := first + count)
            wanted, believed = user(targets[part], cursors[part])
            spikes = brain(wanted, believed, velocities[part])
            found.append(np.hstack([wanted, believed, spikes]))
        return np.concatenate(found)

    np.testing.assert_array_equal(asked(40), asked(1, 26, 13))


def test_what_s1_hears_of_matters_to_s1_alone(decoder):
    spikes = {
        feedback: play(decoder.population, None, feedback=feedback, rules=Rules(trials=2)).spikes
        for feedback in ("moving", "silent", "seen")
    }
    m1 = [each[:, :32] for each in spikes.values()]
    assert all(np.array_equal(each, m1[0]) for each in m1)
    s1 = [each[:, 32:].tobytes() for each in spikes.values()]
    assert len(set(s1)) == 3


def test_measures_of_trials_by_hand():
    rules = Rules(trials=2, width_mm=15.0)
    won = Trial((45.0, 0.0), 0, 500, True, 300, 400, 45.0, 37.5, 75.0)
    lost = Trial((0.0, 0.0), 500, 1500, False, None, None, 45.0, 20.0, 90.0)
    found = control([won, lost], rules, feedback="moving", added_delay=25)
    assert found.success_rate == 0.5
    assert found.time_to_target_s == 2.0
    assert found.dial_in_s == pytest.approx(0.4)
    assert found.path_efficiency == 0.5  # 37.5 mm of 75 mm
    assert found.throughput_bit_s == pytest.approx(2 / 8)  # log2(1 + 45 / 15) in 8 s
    assert found.added_delay_ms == 100


BAD_INPUT = {
    "another seed": (
        {"seed": 4},
        "session synthetic_loco_1 was not made with synthetic.seed 4: give the configuration of "
        "the run that it comes from (--config)",
    ),
    "a recording": (
        {"session": {"name": "loco_20170210_03", "monkey": "loco"}},
        "session loco_20170210_03 is of monkey loco, whose brain cannot be driven: close the loop "
        "on a synthetic session",
    ),
    "other channels": (
        {"checkpoint": {"areas": ("M1",) * 96, "decoder": Wiener(channels=96, lags=10, width=8)}},
        "channels: Wiener was trained on 96 M1 of monkey synthetic_loco, session synthetic_loco_1 "
        "has 32 M1 + 32 S1 of monkey synthetic_loco: use a decoder trained on this monkey",
    ),
    "untrained": (
        {"checkpoint": {"decoder": silent()}},
        "Wiener decodes no movement on the training part of synthetic_loco_1: train it",
    ),
    "part of a bin": ({"options": ["--added-delay-ms=6"]}, "give a multiple of 4 ms, one bin"),
    "no picture": ({"options": ["--figure=loop.pdf"]}, "the figure is written as .png"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_said_in_a_sentence(case, command, checkpoint, binned):
    changes, message = BAD_INPUT[case]
    done = command(
        *changes.get("options", ()),
        checkpoint=dataclasses.replace(checkpoint, **changes.get("checkpoint", {})),
        session=dataclasses.replace(binned, **changes.get("session", {})),
        seed=changes.get("seed", 3),
    )
    assert done.exit_code == 1
    assert message in done.output
    assert "Traceback" not in done.output


@pytest.fixture
def command(checkpoint, binned, tmp_path, repository):
    """Plays one trial of the checkpoint on the session, or on what is given instead."""

    def run(*options, checkpoint=checkpoint, session=binned, seed=3):
        save(checkpoint, tmp_path / "checkpoint.safetensors")
        session.save(tmp_path / "session.h5")
        (tmp_path / "seed.yaml").write_text(f"synthetic: {{seed: {seed}}}")
        files = (tmp_path / name for name in ("checkpoint.safetensors", "session.h5"))
        configs = (repository / "config.yaml", tmp_path / "seed.yaml")
        named = (f"--config={path}" for path in configs)
        return CliRunner().invoke(
            app, ["closed-loop", *map(str, files), "--trials=1", *options, *named]
        )

    return run


@pytest.mark.parametrize(
    ("option", "largest"), [("--trials", 10_000), ("--added-delay-ms", 60_000)]
)
def test_more_than_memory_holds_is_refused(option, largest, command):
    done = command(f"{option}={10**20}")
    assert done.exit_code == 2
    assert f"less than or equal to {largest}" in " ".join(done.output.split())


def test_the_command_draws_over_its_own_figure_only(command, tmp_path):
    figure = tmp_path / "loop.png"
    for _ in range(2):
        done = command(f"--figure={figure}")
        assert done.exit_code == 0, done.output
        assert kind_of(figure) is Kind.FIGURE
    figure.write_text("mine")
    assert command(f"--figure={figure}").exit_code == 1
    assert figure.read_text() == "mine"


def evaluated(checkpoint, binned):
    """A result folder of a run in the working directory, as far as the loop needs it."""
    Path("results").mkdir()
    save(checkpoint, Path("results/checkpoint.safetensors"))
    binned.save(Path("results/binned.h5"))
    Path("results/metrics.json").write_text("{}", encoding="utf-8")
    names = ["results/checkpoint.safetensors", "results/binned.h5"]
    inputs = {name: file_checksum(Path(name)) for name in names}
    outputs = {"results/metrics.json": file_checksum(Path("results/metrics.json"))}
    Manifest(rule="evaluate_decoder", outputs=outputs, inputs=inputs, conditions={}).write()
    return Path("results")


def test_a_result_is_played_with_what_it_was_measured_with(
    checkpoint, binned, decoder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = evaluated(checkpoint, binned)
    kept = []
    simply = InLoop.play
    monkeypatch.setattr(
        InLoop, "play", lambda *args, **options: kept.append(simply(*args, **options)) or kept[0]
    )
    found = result.play(folder, targets=2, synthetic_seed=3)
    [played] = kept
    assert found.gain == decoder.gain
    assert found.trials is played.trials
    first, both = found.throughput_bit_s
    assert both == bits(played)
    trial = played.trials[0]
    bit = np.log2(1 + trial.distance_mm / 15) * trial.success
    assert first == pytest.approx(bit / (trial.steps * STEP_S))
    # The page has no cursor: it sums up what was decoded, as int16, and keeps to the edge.
    coded = packed(found.decoded)
    decoded = np.frombuffer(base64.b64decode(coded["data"]), "<i2").reshape(-1, 2) * coded["scale"]
    cursor, now = [], np.zeros(2)
    for velocity in decoded:
        now = np.clip(now + velocity * STEP_S, -found.edge_mm, found.edge_mm)
        cursor.append(now)
    np.testing.assert_allclose(cursor, played.cursor, atol=0.05)

    save(dataclasses.replace(checkpoint, seed=1), folder / "checkpoint.safetensors")
    with pytest.raises(ManifestError, match=r"checkpoint\.safetensors: is missing, or another one"):
        result.play(folder, targets=2, synthetic_seed=3)


def test_a_decoder_of_other_channels_is_not_played(checkpoint, binned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep = [area == "M1" for area in binned.areas]
    areas = tuple(area for area in binned.areas if area == "M1")
    few = dataclasses.replace(binned, spikes=binned.spikes[:, keep], areas=areas)
    folder = evaluated(checkpoint, few)
    with pytest.raises(
        EvaluationError, match=r"trained on 32 M1 \+ 32 S1 .*, session .* has 32 M1 of"
    ):
        result.play(folder, targets=2, synthetic_seed=3)
