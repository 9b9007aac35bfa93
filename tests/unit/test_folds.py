"""Cross-validation over blocks in time: folds as sessions, against steps counted by hand."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from spikereach.config import Stage, System
from spikereach.data.binning import BinnedSession, Fold, velocity_of
from spikereach.data.errors import SessionError
from spikereach.data.folds import fold
from spikereach.data.windows import Windows
from spikereach.models import linear
from spikereach.models.zoo import build
from spikereach.training.fit import fit
from spikereach.training.state import digest_of

BITS = 12


def session(lengths):
    """Segments of these lengths; the spikes of a step are its number in binary, plus one."""
    ends = np.cumsum(lengths)
    steps = int(ends[-1])
    numbers = np.arange(1, steps + 1)
    position = np.random.default_rng(0).normal(size=(steps, 2)).cumsum(0).astype(np.float32)
    return BinnedSession(
        name="x",
        monkey="m",
        spikes=(numbers[:, None] >> np.arange(BITS) & 1).astype(np.uint8),
        velocity=velocity_of(position),
        position=position,
        areas=("M1",) * BITS,
        start_s=7.0,
        segments=np.stack([ends - lengths, ends], axis=1),
        provenance={"source": "x.mat"},
    )


def numbers(made, steps):
    """Steps of the recording that a fold's steps are."""
    return (made.spikes[steps.start : steps.stop].astype(int) << np.arange(BITS)).sum(1) - 1


def wiener(lags=2, width=3):
    """A Wiener filter of so many counts."""
    return System(
        architecture="wiener",
        sizes={"lags": lags, "width": width},
        areas=("M1",),
        spiking=False,
        training={"split": "neurobench", "standardise": False, "pretrain": None, "finetune": None},
    )


LENGTHS = st.lists(st.integers(3, 40), min_size=6, max_size=60)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, folds=st.integers(3, 6), gap=st.integers(0, 12))
@example(lengths=[6, 6, 6, 6, 6, 3], folds=6, gap=4)  # a gap longer than the last block
def test_each_segment_is_tested_once_and_nothing_beside_it_is_in_training(lengths, folds, gap):
    whole = session(lengths)
    try:
        made = [fold(whole, n, folds, gap * 0.004) for n in range(1, folds + 1)]
    except SessionError:  # blocks shorter than a gap
        assume(False)
    tested = [numbers(each, each.split("neurobench").test) for each in made]
    assert np.concatenate(tested).tolist() == list(range(sum(lengths)))
    starts = set(whole.segments[:, 0])
    per_block = [len(starts.intersection(each)) for each in tested]
    assert max(per_block) - min(per_block) <= 1, "blocks of equally many segments"
    for each, test, earlier in zip(made, tested, [tested[-1], *tested], strict=False):
        split = each.split("liu2024")
        train, val = numbers(each, split.train), numbers(each, split.val)
        assert test[0] in starts
        assert (np.diff(val) == 1).all()
        assert set(val) <= set(earlier), "validated on the block before"
        expected = {
            step for step in range(sum(lengths)) if step < test[0] - gap or step > test[-1] + gap
        }
        assert {*train, *val} == expected
        assert len(train) + len(val) == len(expected)
        # what is in training and in the block before the tested one is nothing
        assert not set(train) & set(earlier)


@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS)
def test_the_last_of_four_folds_without_a_gap_is_neurobenchs_split(lengths):
    whole = session(lengths)
    try:
        last = fold(whole, 4, 4, 0.0)
    except SessionError:
        assume(False)
    assert last.split("neurobench") == whole.split("neurobench")
    for name in ("spikes", "velocity", "position", "segments"):
        np.testing.assert_array_equal(getattr(last, name), getattr(whole, name))


WHOLE = session([20, 31, 26, 44, 23, 37, 29, 40, 33, 27, 35, 30])
MIDDLE = fold(WHOLE, 3, 5, 0.02)


def test_a_fold_is_the_recording_turned_in_time(tmp_path):
    order = numbers(MIDDLE, range(len(WHOLE.spikes)))
    joint = MIDDLE.fold.joint
    assert order[joint] == 0
    assert sorted(order) == list(range(len(order)))
    np.testing.assert_array_equal(MIDDLE.position, WHOLE.position[order])
    np.testing.assert_allclose(MIDDLE.time_s, WHOLE.time_s[order])
    # Positions of one side tell nothing of the other: differences are one-sided there.
    ends = [0, joint - 1, joint, len(order) - 1]
    inner = np.setdiff1d(np.arange(len(order)), ends)
    np.testing.assert_array_equal(MIDDLE.velocity[inner], WHOLE.velocity[order[inner]])
    for first, second, end in ((0, 1, 0), (joint - 2, joint - 1, 1), (joint, joint + 1, 0)):
        step = MIDDLE.position[second] - MIDDLE.position[first]
        np.testing.assert_array_equal(MIDDLE.velocity[[first, second][end]], step)
    # Segments are those of the recording, from another one on.
    assert MIDDLE.segments[0, 0] == 0
    assert (MIDDLE.segments[1:, 0] == MIDDLE.segments[:-1, 1]).all()
    assert set(order[MIDDLE.segments[:, 0]]) == set(WHOLE.segments[:, 0])

    MIDDLE.save(tmp_path / "x.fold3.h5")
    again = BinnedSession.load(tmp_path / "x.fold3.h5")
    for field in dataclasses.fields(BinnedSession):
        np.testing.assert_equal(getattr(again, field.name), getattr(MIDDLE, field.name))
    assert again.name == "x.fold3"


@pytest.mark.parametrize(
    "change",
    [{"joint": 1}, {"joint": "200"}, {"val": range(9)}, {"test": range(300, 310)}],
    ids=str,
)
def test_a_file_whose_fold_does_not_fit_is_refused(tmp_path, change):
    joint = change.pop("joint", MIDDLE.fold.joint)
    split = dataclasses.replace(MIDDLE.fold.split, **change)
    wrong = dataclasses.replace(MIDDLE, fold=Fold(split, joint))
    wrong.save(tmp_path / "x.h5")
    with pytest.raises(SessionError, match=r"x\.h5.* tells of a fold that does not fit"):
        BinnedSession.load(tmp_path / "x.h5")


@pytest.mark.parametrize("part", ["train", "train+val", "val", "test"])
@pytest.mark.parametrize("placement", ["every", "tiled"])
def test_no_window_crosses_the_joint(part, placement):
    cut = Windows([WHOLE, MIDDLE], part, "neurobench", None, 20, 5, placement)
    spikes, _ = cut.batch(range(len(cut)))
    steps = (spikes.astype(int) << np.arange(BITS)).sum(2) - 1
    assert (np.diff(steps, axis=0) == 1).all()
    owners, _ = cut.locate(range(len(cut)))
    joint = MIDDLE.fold.joint
    split = MIDDLE.split("neurobench")
    stop = split.val.stop if part == "train+val" else getattr(split, part.split("+")[0]).stop
    start = getattr(split, part.split("+")[0]).start
    pieces = [(start, joint), (joint, stop)] if start < joint < stop else [(start, stop)]
    if placement == "every":
        assert (owners == 1).sum() == sum((b - a - 20) // 5 + 1 for a, b in pieces)


def test_a_killed_training_goes_on_with_the_parts_that_it_began_with():
    """The steps of folds that differ in their gap alone are the same."""
    system = wiener()
    decoder = build(system, BITS, areas=("M1",) * BITS)
    stage = Stage(
        epochs=1, batch=1, window=9, stride=9, optimiser="adam", learning_rate=0.1,
        schedule="constant", loss="mse",
    )  # fmt: skip
    known = {
        digest_of(decoder, [each], system.training, stage, None, 0, torch.device("cpu"), None)
        for each in (MIDDLE, fold(WHOLE, 3, 5, 0.02), fold(WHOLE, 3, 5, 0.024), WHOLE)
    }
    assert len(known) == 3


def test_a_recording_that_is_too_short_names_the_remedy():
    with pytest.raises(
        SessionError, match=r"12 segments .* take fewer `folds` or a shorter `gap_s`"
    ):
        fold(WHOLE, 1, 5, 1.0)
    with pytest.raises(SessionError, match="take fewer `folds`"):
        fold(session([30, 30, 30, 30]), 2, 5, 0.0)


def test_a_closed_form_is_that_of_the_training_steps(monkeypatch):
    """Ridge regression in plain NumPy: counts of one side of the joint alone, every fourth row."""
    monkeypatch.setattr(linear, "PENALTIES", (0.03,))
    lags, width, reach = 2, 3, 5
    system = wiener(lags, width)
    checkpoint, history = fit(
        system, [MIDDLE], system_name="W", dataset=MIDDLE.name, stage="finetune", seed=0
    )
    train = MIDDLE.split("neurobench").train
    joint = MIDDLE.fold.joint - train.start
    assert 0 < joint < len(train)
    order = numbers(MIDDLE, train)
    spikes, velocity = WHOLE.spikes[order], MIDDLE.velocity[train.start : train.stop]

    def counts(row):
        return [spikes[row - lag * width - width + 1 : row - lag * width + 1].sum(0)
                for lag in range(lags)]  # fmt: skip

    folds = np.linspace(reach, len(train), linear.FOLDS + 1).astype(int)
    rows = []
    for start, stop in pairwise(folds):
        rows += [*range(start, min(stop, joint), 4)]
        rows += [*range(max(start, joint + reach), stop, 4)]
    assert all((np.diff(order[row - reach : row + 1]) == 1).all() for row in rows)
    x = np.array([np.concatenate(counts(row)) for row in rows], float)
    y = velocity[rows].astype(float)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    penalty = 0.03 * np.linalg.eigvalsh(covariance).mean()
    weight = np.linalg.solve(covariance + penalty * np.eye(len(covariance)), centred.T @ y / len(x))
    fitted = checkpoint.decoder.linear
    np.testing.assert_allclose(fitted.weight.detach().numpy(), weight.T, atol=1e-5)
    bias = y.mean(0) - x.mean(0) @ weight
    np.testing.assert_allclose(fitted.bias.detach().numpy(), bias, atol=1e-5)

    # Its R2 on the training part: two streams, each begun without a past.
    predicted = []
    for stretch in (spikes[:joint], spikes[joint:]):
        padded = np.concatenate([np.zeros((reach, BITS)), stretch])
        for end in range(reach, len(padded)):
            lagged = [padded[end - lag * width - width + 1 : end - lag * width + 1].sum(0)
                      for lag in range(lags)]  # fmt: skip
            predicted.append(np.concatenate(lagged) @ weight + bias)
    errors = ((np.array(predicted) - velocity) ** 2).sum(0)
    r2 = 1 - errors / ((velocity - velocity.mean(0)) ** 2).sum(0)
    assert history["train_r2"].item() == pytest.approx(r2.mean(), abs=1e-4)
