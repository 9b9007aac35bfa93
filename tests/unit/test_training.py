"""The training loop: it learns, it repeats itself bit by bit, and it survives interruption."""

import errno
import logging
import math
import os
import random
import signal
import sys

import numpy as np
import pytest
import torch

from spikereach import progress
from spikereach.data.errors import SessionError
from spikereach.data.windows import Windows
from spikereach.evaluation.metrics import r2
from spikereach.files import WriteError
from spikereach.ops.common.record import recording
from spikereach.training.errors import TrainingError
from spikereach.training.fit import fit
from spikereach.training.loop import COLUMNS, train
from spikereach.training.scoring import score
from training_cases import (
    CHANNELS,
    NAMES,
    TinyGRU,
    bits,
    fit_tiny,
    rsnn,
    run_options,
    session,
    stage,
    system,
)

SESSION = session()


def train_tiny(folder, recipe=None, *, sessions=(SESSION,), mask=None, sizes=None, **changes):
    torch.manual_seed(1)
    decoder = TinyGRU(channels=CHANNELS, **(sizes or {}))
    recipe = recipe or stage()
    history = train(
        decoder,
        list(sessions),
        training=system(finetune=recipe).training,
        stage=recipe,
        areas=("M1",),
        mask=mask,
        **run_options(folder) | changes,
    )
    return decoder, history


def reproducible(history):
    return history.drop(columns="seconds")


# ---- Learning ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    recipe = stage(epochs=12, batch=4, learning_rate=0.03)
    return fit_tiny(tmp_path_factory.mktemp("learned"), recipe=recipe)


def test_it_learns_a_session_it_can_decode(learned):
    trained, history = learned
    assert list(history.columns) == list(COLUMNS)
    assert history.epoch.tolist() == list(range(1, 13))
    assert history.train_loss.iloc[-1] < 0.5 * history.train_loss.iloc[0]
    assert history.val_r2.max() > 0.4
    assert (history.learning_rate.diff().dropna() < 0).all()
    assert trained.areas == ("M1",) * CHANNELS
    assert trained.monkey == "indy"


def test_the_best_epoch_is_kept(learned):
    trained, history = learned
    training = system(finetune=stage()).training
    options = {"training": training, "areas": ("M1",)}
    loss, found = score(trained.decoder, [SESSION], part="val", **options)
    best = history.loc[history.val_r2.idxmax()]
    assert found == best.val_r2
    assert loss == best.val_loss


def test_val_r2_is_neurobenchs_of_the_continuous_part_in_session_units(learned):
    trained, history = learned
    part = SESSION.split("neurobench").val
    spikes = torch.tensor(SESSION.spikes[part.start : part.stop]).float().unsqueeze(1)
    with torch.no_grad():
        velocity = trained.decoder.decode(spikes)[:, 0]
    true = SESSION.velocity[part.start : part.stop]
    assert history.val_r2.max() == pytest.approx(r2(velocity, true), abs=1e-5)


def test_standardisation_knows_the_training_part_only(tmp_path):
    tampered = session()
    part = tampered.split("neurobench").train
    tampered.velocity[part.stop :] = 1000 * tampered.velocity[part.stop :] + 5
    expected = SESSION.velocity[part.start : part.stop].astype(np.float64)
    for one in (SESSION, tampered):
        decoder, _ = train_tiny(tmp_path, stage(epochs=1), sessions=[one])
        assert decoder.standardisation.scale == pytest.approx(expected.std(axis=0), rel=1e-6)
        assert decoder.standardisation.offset == pytest.approx(expected.mean(axis=0), rel=1e-6)


def test_early_stopping(tmp_path):
    _, history = train_tiny(tmp_path, stage(epochs=40, patience=2, learning_rate=0.1))
    assert len(history) < 40
    assert len(history) - 1 - history.val_r2.idxmax() == 2


def test_updates_per_epoch_and_batches(tmp_path, monkeypatch):
    sizes = []
    batch = Windows.batch

    def counting(self, indices, **options):
        sizes.append(len(indices))
        return batch(self, indices, **options)

    monkeypatch.setattr(Windows, "batch", counting)
    train_tiny(tmp_path, stage(epochs=2, updates_per_epoch=5))
    assert sizes == [8] * 10
    sizes.clear()
    train_tiny(tmp_path, stage(epochs=1))
    windows = Windows([SESSION], "train", "neurobench", ("M1",), 50, 25)
    assert sum(sizes) == len(windows)
    assert len(sizes) == math.ceil(len(windows) / 8)


def test_masked_weights_stay_zero(tmp_path):
    mask = {"cell.weight_ih": torch.rand(24, CHANNELS) < 0.5, "readout.weight": torch.zeros(2, 8)}
    decoder, _ = train_tiny(tmp_path, mask=mask)
    parameters = dict(decoder.named_parameters())
    for name, kept in mask.items():
        assert torch.equal(parameters[name] != 0, kept.bool())
    assert (parameters["cell.weight_hh"] != 0).all()


def test_spike_penalty_silences_a_spiking_decoder(tmp_path):
    counts = []
    for weight in (0.0, 10.0):
        recipe = rsnn(epochs=2, penalties={"spike_sum": weight})
        trained, _ = fit(recipe, [SESSION], **NAMES | run_options(tmp_path))
        with recording(trained.decoder) as record:
            trained.decoder(torch.tensor(SESSION.spikes[:400]).float().unsqueeze(1))
        counts.append(record.spikes["hidden"].sum().item())
    assert counts[1] < 0.5 * counts[0]


@pytest.mark.parametrize(
    "changes", [{"optimiser": "smorms3"}, {"optimiser": "adamw", "weight_decay": 0.1},
                {"loss": "rmse"}, {"clip_norm": 0.01}, {"schedule": "constant"},
                {"stride": 10}, {"loss_weight": 3.0, "optimiser": "smorms3", "weight_decay": 0.1},
                {"placement": "tiled"}, {"select": "last"}, {"cosine_epochs": 9},
                {"part": "train+val"}],
    ids=str,
)  # fmt: skip
def test_every_part_of_a_recipe_matters(tmp_path, changes):
    plain, _ = train_tiny(tmp_path / "plain")
    changed, history = train_tiny(tmp_path / "changed", stage(**changes))
    assert bits(plain) != bits(changed)
    assert np.isfinite(reproducible(history)).all(axis=None)


# ---- Repeating --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_bits(tmp_path, seed):
    (one, first), (two, second), (other, _) = (
        fit_tiny(tmp_path / str(number), seed=number_seed)
        for number, number_seed in enumerate((seed, seed, seed + 1))
    )
    assert bits(one.decoder) == bits(two.decoder) != bits(other.decoder)
    assert reproducible(first).equals(reproducible(second))


def test_global_random_state_plays_no_part_and_is_left_alone(tmp_path):
    one, _ = fit_tiny(tmp_path / "one")
    torch.manual_seed(99)
    before = torch.get_rng_state()
    two, _ = fit_tiny(tmp_path / "two")
    assert torch.equal(torch.get_rng_state(), before)
    assert bits(one.decoder) == bits(two.decoder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    decoder, history = train_tiny(
        tmp_path_factory.mktemp("uninterrupted"), stage(optimiser="smorms3")
    )
    return bits(decoder), reproducible(history)


UPDATES = math.ceil(31 / 8)


@pytest.mark.parametrize("update", [0, 1, UPDATES - 1, UPDATES, UPDATES + 2, 3 * UPDATES - 1])
def test_sigterm_saves_and_the_next_run_continues(tmp_path, monkeypatch, uninterrupted, update):
    recipe = stage(optimiser="smorms3")
    batch, calls = Windows.batch, []

    def terminated(self, *args, **options):
        if len(calls) == update:
            os.kill(os.getpid(), signal.SIGTERM)
        calls.append(None)
        return batch(self, *args, **options)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Windows, "batch", terminated)
        with pytest.raises(SystemExit) as stopped:
            train_tiny(tmp_path, recipe)
    assert stopped.value.code == 143
    assert len(calls) == update + 1  # the update under way is finished, no other begun
    assert signal.getsignal(signal.SIGTERM) is handler
    decoder, history = train_tiny(tmp_path, recipe)
    assert bits(decoder) == uninterrupted[0]
    assert reproducible(history).equals(uninterrupted[1])


def test_an_exception_at_any_update_is_survived(tmp_path, monkeypatch, uninterrupted):
    recipe = stage(optimiser="smorms3")
    failures = random.Random(0).sample(range(1, 3 * UPDATES), 4)
    batch, calls = Windows.batch, []

    def failing(self, *args, **options):
        calls.append(None)
        if len(calls) in failures:
            raise KeyboardInterrupt
        return batch(self, *args, **options)

    monkeypatch.setattr(Windows, "batch", failing)
    for _ in failures:
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path, recipe)
    decoder, history = train_tiny(tmp_path, recipe)
    assert bits(decoder) == uninterrupted[0]
    assert reproducible(history).equals(uninterrupted[1])


def test_a_finished_run_returns_at_once(tmp_path, monkeypatch, uninterrupted):
    recipe = stage(optimiser="smorms3")
    train_tiny(tmp_path, recipe)
    monkeypatch.setattr(Windows, "batch", None)
    decoder, history = train_tiny(tmp_path, recipe)
    assert bits(decoder) == uninterrupted[0]
    assert reproducible(history).equals(uninterrupted[1])


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 5},
        {"sessions": [session(seed=7)]},
        {"recipe": stage(learning_rate=0.011)},
        {"sizes": {"dropout": 0.3}},
        {"mask": {"readout.weight": torch.zeros(2, 8)}},
    ],
    ids=["seed", "data", "recipe", "dropout", "mask"],
)
def test_a_resume_file_of_another_run_is_ignored(tmp_path, caplog, other):
    train_tiny(tmp_path, stage(epochs=1))
    caplog.set_level(logging.WARNING)
    options = {"recipe": stage(epochs=1)} | other
    resumed, _ = train_tiny(tmp_path, **options)
    assert "belongs to other data, settings or seed" in caplog.text
    fresh, _ = train_tiny(tmp_path / "fresh", **options)
    assert bits(resumed) == bits(fresh)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign"])
def test_a_damaged_resume_file_is_ignored(tmp_path, caplog, damage):
    decoder, _ = train_tiny(tmp_path)
    path = tmp_path / "resume.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[-10] ^= 1
    else:
        data = b"PK\x03\x04 a zip file, perhaps"
    path.write_bytes(data)
    caplog.set_level(logging.WARNING)
    again, _ = train_tiny(tmp_path)
    assert "training starts anew" in caplog.text
    assert str(path) in caplog.text
    assert bits(again) == bits(decoder)


def test_a_full_disk_keeps_the_last_state(tmp_path, monkeypatch, uninterrupted):
    recipe = stage(optimiser="smorms3")
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(None)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match=r"No space left on device.*free disk space"):
            train_tiny(tmp_path, recipe)
    assert os.listdir(tmp_path) == ["resume.safetensors"]
    decoder, history = train_tiny(tmp_path, recipe)
    assert bits(decoder) == uninterrupted[0]
    assert reproducible(history).equals(uninterrupted[1])


# ---- Errors -----------------------------------------------------------------------------


def test_exploding_training_is_an_error(tmp_path):
    recipe = stage(learning_rate=1e30, schedule="constant")
    with pytest.raises(
        TrainingError, match=r"tiny on indy_test, seed 0: .*epoch 1 at learning rate 1e\+30"
    ):
        fit_tiny(tmp_path, recipe=recipe)


def test_too_short_a_session_is_the_datas_error(tmp_path):
    with pytest.raises(SessionError, match="window"):
        fit_tiny(tmp_path, recipe=stage(window=5000))


def test_channels_must_fit(tmp_path):
    areas = ("M1",) * 4 + ("S1",) * 2
    with pytest.raises(TrainingError, match="has 4 channels in the areas read, the decoder"):
        train_tiny(tmp_path, sessions=[session(areas=areas)])
    with pytest.raises(TrainingError, match="differ in monkey"):
        fit_tiny(tmp_path, sessions=[SESSION, session(areas=areas)])
    with pytest.raises(TrainingError, match="differ in monkey"):
        fit_tiny(tmp_path, sessions=[SESSION, session(monkey="loco")])


def test_still_velocities_are_an_error(tmp_path):
    still = session()
    still.velocity[: still.split("neurobench").train.stop, 1] = 2.0
    with pytest.raises(SessionError, match=r"train part .* velocity of y never varies"):
        train_tiny(tmp_path, sessions=[still])


# ---- What one sees ----------------------------------------------------------------------


def test_progress_goes_to_stderr_and_is_off_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", None)  # no terminal
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    train_tiny(tmp_path / "quiet", stage(epochs=1))
    assert capsys.readouterr() == ("", "")
    train_tiny(tmp_path / "shown", stage(epochs=1), progress=True, name="tiny on x")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "tiny on x epoch 1/1" in shown.err


def test_event_files_hold_the_history(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, history = train_tiny(tmp_path, events=tmp_path / "events")
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert set(events.Tags()["scalars"]) == set(COLUMNS) - {"epoch"}
    found = [(event.step, event.value) for event in events.Scalars("val_r2")]
    expected = zip(history.epoch.tolist(), history.val_r2.tolist(), strict=True)
    assert found == [(step, pytest.approx(value, abs=1e-6)) for step, value in expected]
