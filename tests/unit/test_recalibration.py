"""Recalibration in the loop: what the user is taken to have wanted, and the training with it."""

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spikereach.closed_loop import conditions, recalibration
from spikereach.closed_loop.control import InLoop, gain_of
from spikereach.closed_loop.errors import LoopError
from spikereach.closed_loop.recalibration import as_session, intended, recalibrated
from spikereach.closed_loop.task import Rules, Trial
from spikereach.compression import fixed_point, half
from spikereach.config import FixedPoint, Half, Prune, System, Training
from spikereach.config.sessions import Session
from spikereach.data.matfile import STEP_S
from spikereach.data.population import Population, population
from spikereach.data.synthetic import Unit
from spikereach.models.checkpoint import Checkpoint
from spikereach.models.decoder import Timing
from spikereach.models.linear import Wiener
from spikereach.models.zoo import build
from training_cases import CHANNELS, bits, checkpoint, rsnn, session, stage

WIDTH = 15.0
BRIEF = partial(Rules, timeout_s=0.4)
"""Trials of a hundred steps."""
HALF = Half(kind="half")
AREAS = ("M1",) * CHANNELS


@pytest.fixture(scope="module")
def units():
    """Those of the first channels of a session."""
    made = Session("synthetic_indy_1", "synthetic_indy", {"M1": 32})
    whole, _ = population(made, duration_s=20, seed=0)
    kept = whole.channel < CHANNELS
    columns = {name: np.asarray(value)[..., kept] for name, value in vars(whole.units).items()}
    return Population(AREAS, whole.channel[kept], Unit(**columns), whole.rate_hz[kept])


@pytest.fixture(scope="module")
def binned():
    return session()


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr(recalibration, "Rules", BRIEF)
    monkeypatch.setattr(conditions, "Rules", BRIEF)


def recipe(**changes):
    """Trials, and the training."""
    return 4, stage(epochs=1, part="train+val", **changes)


def played(target, cursor, decoded, trials=()):
    fields = {"target": target, "cursor": cursor, "decoded": decoded}
    spikes = np.eye(len(cursor), dtype=np.uint8)
    arrays = {name: np.array(value, float) for name, value in fields.items()}
    return SimpleNamespace(**arrays, spikes=spikes, trials=trials)


def in_hand(units, binned, start):
    columns = np.arange(CHANNELS)
    return InLoop(start, units, columns, gain_of(start, binned, columns))


# ---- What the user wanted ---------------------------------------------------------------


def test_the_velocity_is_turned_to_the_target_at_its_speed():
    found = intended(played([[30, 40]] * 2, [[0, 0], [30, 10]], [[0, 10], [-3, 4]]), WIDTH)
    np.testing.assert_allclose(found, [[6, 8], [0, 5]])


def test_nothing_is_wanted_within_the_target():
    inside, outside = [7.4, -7.4], [7.6, 0]
    found = intended(played([[0, 0]] * 3, [inside, outside, [0, 0]], [[3, 4]] * 3), WIDTH)
    np.testing.assert_allclose(found, [[0, 0], [-5, 0], [0, 0]], atol=1e-12)


def test_speed_is_kept_and_only_the_way_counts():
    random = np.random.default_rng(0)
    target, cursor, decoded = random.normal(scale=[[[10.0]], [[10.0]], [[100.0]]], size=(3, 500, 2))
    found = intended(played(target, cursor, decoded), WIDTH)
    way = target - cursor
    outside = np.abs(way).max(axis=1) >= WIDTH / 2
    assert 10 < (~outside).sum() < 490
    assert not found[~outside].any()
    np.testing.assert_allclose(np.hypot(*found[outside].T), np.hypot(*decoded[outside].T))
    angle = np.arctan2(*way.T) - np.arctan2(*found.T)
    np.testing.assert_allclose(np.cos(angle[outside]), 1)
    again = intended(played(target, cursor, found), WIDTH)
    np.testing.assert_allclose(again, found, atol=1e-9)


def test_trials_become_segments_and_a_look_ahead_comes_off():
    """Each velocity stands beside the bin that it belongs to."""
    trials = [Trial((0.0, 60.0), 0, 3, True, 1, 1, 60.0, 60.0, 60.0)]
    trials.append(trials[0]._replace(first=3))
    loop = played([[0, 60]] * 6, [[0, 0]] * 6, [[speed, 0] for speed in range(6)], trials)
    decoder = SimpleNamespace(timing=Timing(lookahead=2))
    start = SimpleNamespace(decoder=decoder, dataset="any", monkey="indy")
    found = as_session(loop, InLoop(start, SimpleNamespace(areas=AREAS), None, 1.0), Rules())
    expected = [[0, speed * STEP_S] for speed in (2, 3, 4, 5)]
    np.testing.assert_allclose(found.velocity, expected, rtol=1e-6)
    assert np.array_equal(found.spikes, loop.spikes[:4])
    assert found.segments.tolist() == [[0, 3], [3, 4]]


# ---- The training -----------------------------------------------------------------------


def rounded():
    """A pruned RSNN in half precision."""
    steps = Prune(
        kind="prune", start=0.5, step=0, fine_step=0, stop=0.5, max_drop=None, retrain=stage()
    )
    entry = rsnn().model_copy(update={"compression": (steps, HALF)})
    torch.manual_seed(1)
    made = checkpoint(build(entry, CHANNELS), entry)
    with torch.no_grad():
        made.decoder.recurrent.weight[::2] = 0
    half.apply(SimpleNamespace(decoder=made.decoder, name="small"), HALF)
    return made


def on_grid():
    """An RSNN in fixed point, which has no training of its own."""
    step = FixedPoint(kind="fixed_point", weight_bits=(1, 7), buffer_bits=(2, 7), retrain=stage())
    changes = {"training": None, "base": "whole", "compression": (step,)}
    entry = rsnn().model_copy(update=changes)
    torch.manual_seed(1)
    made = checkpoint(build(entry, CHANNELS), entry)
    run = SimpleNamespace(decoder=made.decoder, mask={}, retrain=lambda stage: None)
    fixed_point.apply(run, step)
    return made


STARTS = {"float32": checkpoint, "half, pruned": rounded, "fixed point": on_grid}


@pytest.mark.parametrize("name", sorted(STARTS))
def test_no_learning_changes_nothing(name, units, binned, tmp_path):
    start = STARTS[name]()
    before = in_hand(units, binned, start)
    after = recalibrated(before, binned, *recipe(learning_rate=1e-30), seed=0, resume=tmp_path)
    torch.testing.assert_close(
        after.checkpoint.decoder.state_dict(), start.decoder.state_dict(), rtol=0, atol=1e-20
    )
    assert after.checkpoint.decoder.standardisation == start.decoder.standardisation
    assert after.gain == pytest.approx(before.gain)
    rules = BRIEF(trials=1)
    one, two = (each.play(feedback="moving", rules=rules).decoded for each in (before, after))
    np.testing.assert_allclose(one, two)


@pytest.mark.parametrize("name", ["fixed point", "half, pruned"])
def test_learning_is_repeatable_and_keeps_zeros_and_formats(name, units, binned, tmp_path):
    start = STARTS[name]()
    untouched = copy.deepcopy(start.decoder)
    before, found = in_hand(units, binned, start), []
    for folder in ("one", "two"):
        resume = tmp_path / folder
        resume.mkdir()
        found.append(recalibrated(before, binned, *recipe(), seed=0, resume=resume))
    after, again = (bits(each.checkpoint.decoder) for each in found)
    assert after == again
    assert after != bits(start.decoder)
    assert bits(untouched) == bits(start.decoder)
    decoder = found[0].checkpoint.decoder
    assert (decoder.weight_format, decoder.buffer_format) == (
        start.decoder.weight_format,
        start.decoder.buffer_format,
    )
    if name == "half, pruned":
        assert not decoder.recurrent.weight[::2].any()
        assert decoder.recurrent.weight.dtype == torch.float16
    if name == "fixed point":
        stored = [each for key, each in decoder.named_parameters() if key not in decoder.unstored]
        grid = torch.cat([each.flatten() for each in stored]) * 2**7
        assert torch.equal(grid, grid.round())
    assert not decoder.training


@pytest.fixture
def wiener(binned):
    decoder = Wiener(channels=CHANNELS, lags=2, width=5)
    velocity = torch.from_numpy(binned.velocity)
    assert decoder.fit_closed_form(torch.from_numpy(binned.spikes).float(), velocity)
    recipe = Training(split="neurobench", standardise=False, pretrain=None, finetune=None)
    entry = {"architecture": "wiener", "sizes": {"lags": 2, "width": 5}, "spiking": False}
    entry = System(**entry, training=recipe)
    return Checkpoint(decoder.eval(), entry, "Wiener", binned.name, "indy", AREAS, 0)


def test_a_closed_form_is_fitted_to_the_trials_too(wiener, units, binned, tmp_path):
    before = in_hand(units, binned, wiener)
    after = recalibrated(before, binned, *recipe(), seed=3, resume=tmp_path)
    rules = BRIEF(trials=4)
    found = as_session(before.play(feedback="moving", rules=rules, seed=-4), before, rules)
    parts = [(each, each.split("neurobench").train.stop) for each in (binned, found)]
    spikes = np.concatenate([each.spikes[:stop] for each, stop in parts]).astype(np.float32)
    velocity = np.concatenate([each.velocity[:stop] for each, stop in parts])
    expected = Wiener(channels=CHANNELS, lags=2, width=5)
    joints = [parts[0][1]]
    assert expected.fit_closed_form(*map(torch.from_numpy, (spikes, velocity)), joints)
    assert bits(after.checkpoint.decoder) == bits(expected)
    assert after.gain == gain_of(after.checkpoint, binned, before.columns) != before.gain


def test_no_decoder_is_judged_by_targets_that_it_was_trained_on(wiener, units, binned, tmp_path):
    seeds, play = [], InLoop.play

    class Watched(InLoop):
        def play(self, *, seed, **options):
            seeds.append(seed)
            return play(self, seed=seed, **options)

    before = in_hand(units, binned, wiener)
    watched = Watched(**vars(before))
    for seed in range(2):
        recalibrated(watched, binned, *recipe(), seed=seed, resume=tmp_path)
    assert max(seeds) < 0  # decoders are judged by those of 0 or more
    assert len(set(seeds)) == 2


def test_it_is_played_again_only_where_it_is_asked_for(
    wiener, units, binned, tmp_path, monkeypatch
):
    monkeypatch.setattr(conditions, "in_loop", lambda *_: in_hand(units, binned, wiener))
    settings = {"trials": 1, "added_delays_ms": [], "synthetic_seed": 0, "architecture": "wiener"}
    trials, training = recipe()
    given = [None, {"trials": trials, "stage": training.model_dump(mode="json")}]
    made = {"commit": None, "dirty": None}
    off, on = (
        conditions.played_by_decoder(
            wiener, binned, 0, settings | {"recalibration": each}, made, tmp_path
        )
        for each in given
    )
    assert off.recalibrated is None
    assert off.controls == on.controls
    assert on.recalibrated.trials == 1
    assert on.recalibrated.gain != on.gain


# ---- What cannot be ---------------------------------------------------------------------


def test_too_few_trials_are_named(units, binned, tmp_path):
    few = recipe(window=1000)
    message = r"recalibration\.trials: 4 are too few to train on \(.* a window needs 1000"
    with pytest.raises(LoopError, match=message):
        recalibrated(in_hand(units, binned, checkpoint()), binned, *few, seed=0, resume=tmp_path)


def test_a_closed_form_that_was_rounded_is_refused(wiener, units, binned, tmp_path):
    wiener.system = wiener.system.model_copy(update={"compression": (HALF,)})
    with pytest.raises(LoopError, match="Wiener is fitted in closed form and half after it"):
        recalibrated(in_hand(units, binned, wiener), binned, *recipe(), seed=0, resume=tmp_path)
